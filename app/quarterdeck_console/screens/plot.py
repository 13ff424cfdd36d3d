"""Small plots as text: a column beside its reference, a metric over its windows, windows with what was changed."""

from __future__ import annotations

import math
from bisect import bisect_right
from typing import TYPE_CHECKING

from rich.text import Text

from quarterdeck_console.formatting import DASH, Page, clean, day, number
from quarterdeck_console.screens.monitors import STRIP
from quarterdeck_console.themes import ACCENT, BAD, FAINT, GOOD, MUTED, STRONG, WARN

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from quarterdeck.monitoring.kpis import KpiAround
    from quarterdeck.monitoring.portrait import Portrait
    from quarterdeck.monitoring.queries import ResultRow
    from quarterdeck.monitoring.timeline import Timeline

NAME = 12
"""Columns for the names of lines."""
EIGHTHS = " ▁▂▃▄▅▆▇█"
LYING = " ▏▎▍▌▋▊▉█"
HIGH = 2
"""Lines of a histogram."""
BAR = 16
SCALE = 24
"""Columns of a metric's scale."""
STRIP_WIDTH = 64
NARROW = 36
"""The same in the detail beside a table."""
MOST_MARKS = 12
ASPECTS = ("inputs", "skew", "across", "traffic", "fairness", "predictions", "estimate", "quality")
"""What is said of a window, in the order of the strips."""


def portrait(page: Page, one: Portrait) -> None:
    """Reference above the window, to one scale; of categories a line each."""
    place = f" in {one.slice}" if one.slice else ""
    start, end = one.window
    page.heading(f"{clean(one.column)}{clean(place)}: reference of v{one.version} and {day(start)} to {day(end)}")
    if one.levels:
        _levels(page, one)
    elif one.edges:
        _histogram(page, one)
    else:
        page.line("Not one usable value on either side.", MUTED)
    told = []
    for name, n, missing in (
        ("reference", one.n_reference, one.missing_reference),
        ("window", one.n_current, one.missing_current),
    ):
        told.append(f"{name} n={n:,}, {missing:.1%} missing")
    page.line("; ".join(told) + "; a sample, of more than can be held" * one.sampled, MUTED)


def _histogram(page: Page, one: Portrait) -> None:
    highest = max(*one.reference, *one.current, 1e-9)
    for name, shares, median, style in (
        ("reference", one.reference, one.median_reference, MUTED),
        ("window", one.current, one.median_current, ACCENT),
    ):
        lines = _bars(shares, highest)
        notes = ("median", DASH if median is None else number(median))
        for index, line in enumerate(lines):
            label = name if index == HIGH - 1 else ""
            page.line(Text.assemble((f"{label:<{NAME}}", style), (line, style), (f"  {notes[index]}", MUTED)))
    low, high = number(one.edges[0]), number(one.edges[-1])
    scale = "logarithmic" if one.logarithmic else ""
    width = len(one.reference)
    middle = f"{scale:^{max(0, width - len(low) - len(high))}}"
    page.line(" " * NAME + f"{low}{middle}{high}", MUTED)


def _bars(shares: Sequence[float], highest: float) -> list[str]:
    """Shares as bars two lines high; what is not zero is never blank."""
    eighths = [math.ceil(share / highest * HIGH * 8) for share in shares]
    return ["".join(EIGHTHS[min(max(one - 8 * line, 0), 8)] for one in eighths) for line in reversed(range(HIGH))]


def _levels(page: Page, one: Portrait) -> None:
    wide = min(max(len(clean(level.name)) for level in one.levels), 18)
    largest = max(max(level.reference, level.current) for level in one.levels) or 1.0
    page.line(f"{'':<{wide}}  {'reference':<{BAR + 6}}  window", MUTED)
    for level in one.levels:
        name = Text(clean(level.name))
        name.truncate(wide, overflow="ellipsis", pad=True)
        line = Text.assemble(name, "  ")
        for share, style in ((level.reference, MUTED), (level.current, ACCENT)):
            line.append(f"{_lying(share / largest):<{BAR}}", style).append(f"{share:>5.0%}   ", style)
        page.line(line)


def _lying(part: float) -> str:
    eighths = math.ceil(part * BAR * 8)
    return "█" * (eighths // 8) + (LYING[eighths % 8] if eighths % 8 else "")


def series(page: Page, title: str, windows: Sequence[ResultRow], key: str, name: str) -> None:
    """The figure `key` of the column or metric `name` over the windows, with its interval and baseline if known."""
    page.heading(title)
    scores = [(window, score) for window in windows for score in window.scores]
    rows = [
        (window, score)
        for window, score in scores
        if name in (score.get("column"), score.get("metric")) and _is_number(score, key)
    ]
    if not rows:
        page.line("No window says anything of it.", MUTED)
        return
    known = [score[name] for _, score in rows for name in (key, "low", "high", "baseline") if _is_number(score, name)]
    low, high = min(known), max(known)
    for window, score in rows:
        line = Text.assemble((f"{day(window.window_start):<17}", MUTED), (f"v{window.version:<3} ", ACCENT))
        line.append_text(_place(score, key, low, high, BAD if window.verdict == "found" else GOOD))
        line.append(f"  {number(score[key])}")
        if _is_number(score, "low"):
            line.append(f" ({number(score['low'])} to {number(score['high'])})", MUTED)
        page.line(line)
    if _is_number(rows[-1][1], "baseline"):
        page.line("| is each version's quality on its holdout", MUTED)


def _is_number(score: Mapping[str, object], name: str) -> bool:
    value = score.get(name)
    return isinstance(value, int | float) and math.isfinite(value)


def _place(score: dict[str, float], key: str, low: float, high: float, style: str) -> Text:
    """A dot for the value, a line for its interval, a bar for its baseline."""

    def column(value: float) -> int:
        return round((value - low) / (high - low) * (SCALE - 1)) if high > low else 0

    marks = {}
    if _is_number(score, "low") and _is_number(score, "high"):
        marks = dict.fromkeys(range(column(score["low"]), column(score["high"]) + 1), ("─", style))
    if _is_number(score, "baseline"):
        marks[column(score["baseline"])] = ("|", STRONG)
    marks[column(score[key])] = ("●", style)
    return Text.assemble(*(marks.get(at, ("·", FAINT)) for at in range(SCALE)))


def timeline(page: Page, found: Timeline, *, width: int = STRIP_WIDTH) -> None:
    """The windows around the onset as strips, oldest left, with letters where something was changed."""
    head = Text.assemble(("Timeline, in event time", ACCENT))
    if width > NARROW:
        head.append("   ● quiet ", GOOD).append("✖ found ", BAD).append("▲ inconclusive", WARN)
    page.line("").line(head)
    windows = found.windows
    if not windows:
        page.line("No window was judged yet.", MUTED)
        return
    cell = max(1, min(4, width // len(windows)))
    starts = [window.start for window in windows]
    onset = _column(found.onset, starts, windows[-1].end, cell)
    page.line(_onset(found, onset, width))
    for aspect in ASPECTS:
        if any(aspect in window.verdicts for window in windows):
            line = Text(f"{aspect:<{NAME}}", MUTED)
            for window in windows:
                sign, style = STRIP.get(window.verdicts.get(aspect, ""), ("·", FAINT))
                line.append(sign, style).append(" " * (cell - 1))
            page.line(line)
    for one in found.kpis:
        if any(window.n for window in one.windows):
            page.line(_kpi_strip(one, cell))
    line = Text(f"{'version':<{NAME}}", MUTED)
    before = None
    for window in windows:
        label = "" if window.version == before else str(window.version)
        line.append(f"{label[:cell]:<{cell}}", ACCENT)
        before = window.version
    page.line(line)
    _marks(page, found, starts, cell)
    first, last = day(windows[0].start), day(windows[-1].end)
    gap = max(2, len(windows) * cell - len(first) - len(last))
    page.line(f"{'':<{NAME}}{first}{' ' * gap}{last}", MUTED)


def _kpi_strip(one: KpiAround, cell: int) -> Text:
    """The mean of each window between the lowest and the highest of them; a dot where no point is known."""
    known = [window.value for window in one.windows if window.value is not None]
    low, high = min(known), max(known)
    line = Text(f"{_short(one.name):<{NAME}}", MUTED)
    for window in one.windows:
        if window.value is None:
            line.append("·", FAINT)
        else:
            part = (window.value - low) / (high - low) if high > low else 0.5
            line.append(EIGHTHS[1 + round(part * 7)], ACCENT)
        line.append(" " * (cell - 1))
    return line


def _short(name: str) -> str:
    name = clean(name)
    return name if len(name) < NAME else f"{name[: NAME - 2]}…"


def _onset(found: Timeline, place: int, width: int) -> Text:
    """The onset's mark in its place, its words to the left of it where there is no room to the right."""
    words = f"onset {day(found.onset)}"
    if place + len(words) + 2 <= width:
        return Text(" " * (NAME + place) + f"▼ {words}", WARN)
    return Text(f"{words} ▼".rjust(NAME + place + 1), WARN)


def _marks(page: Page, found: Timeline, starts: Sequence[datetime], cell: int) -> None:
    nearest = sorted(found.marks, key=lambda mark: abs(mark.when - found.onset))[:MOST_MARKS]
    marks = sorted(nearest, key=lambda mark: mark.when)
    if not marks:
        page.line(f"{'changes':<{NAME}}none among these windows", MUTED)
        return
    letters = "abcdefghijklmnopqrstuvwxyz"
    taken: dict[int, str] = {}
    for letter, mark in zip(letters, marks, strict=False):
        at = _column(mark.when, starts, found.windows[-1].end, cell)
        while at in taken:
            at += 1
        taken[at] = letter
    strip = "".join(taken.get(at, " ") for at in range(max(taken) + 1))
    page.line(Text.assemble((f"{'changes':<{NAME}}", MUTED), (strip, STRONG)))
    for letter, mark in zip(letters, marks, strict=False):
        page.line(Text.assemble((f"  {letter} ", STRONG), (f"{day(mark.when):<17}", MUTED), clean(mark.what)))
    if len(found.marks) > len(marks):
        page.line(f"    and {len(found.marks) - len(marks)} more, further from the onset", MUTED)


def _column(when: datetime, starts: Sequence[datetime], end: datetime, cell: int) -> int:
    """Where a moment lies in a strip of windows that are `cell` columns wide each."""
    index = max(bisect_right(starts, when) - 1, 0)
    until = starts[index + 1] if index + 1 < len(starts) else end
    part = (when - starts[index]) / (until - starts[index]) if until > starts[index] else 0.0
    return index * cell + int(min(max(part, 0.0), 0.999) * cell)
