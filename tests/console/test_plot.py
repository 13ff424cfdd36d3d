"""Plots as text: they fit 80 columns, and say what they are made of."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from quarterdeck.monitoring.kpis import KpiAround, KpiWindow
from quarterdeck.monitoring.portrait import BINS, Level, Portrait
from quarterdeck.monitoring.queries import ResultRow
from quarterdeck.monitoring.result import Aspect
from quarterdeck.monitoring.timeline import WINDOWS, Mark, Timeline, Window
from quarterdeck.traffic.series import Mean
from quarterdeck_console.formatting import Page
from quarterdeck_console.screens import alert_text, plot
from tests.watched import HOUR, START

ROOM = 78


def lines_of(page: Page) -> list[str]:
    lines = page.text.plain.splitlines()
    assert max(len(line) for line in lines) <= ROOM
    return lines


def numeric(reference: tuple[float, ...], current: tuple[float, ...], **changes: Any) -> Portrait:
    values: dict[str, Any] = {
        "column": "amount",
        "slice": "channel=app",
        "version": 2,
        "window": (START, START + HOUR),
        "n_reference": 1000,
        "n_current": 300,
        "missing_reference": 0.0,
        "missing_current": 0.125,
        "edges": tuple(float(edge) for edge in range(len(reference) + 1)),
        "logarithmic": False,
        "reference": reference,
        "current": current,
        "median_reference": 12.5,
        "median_current": None,
        "levels": (),
    }
    return Portrait(**{**values, **changes})


def test_a_histogram_has_one_scale_for_both_sides_and_no_row_is_lost() -> None:
    reference = (0.5, 0.25, 0.25, *[0.0] * (BINS - 3))
    current = (*[0.0] * (BINS - 1), 0.001)
    page = Page()
    plot.portrait(page, numeric(reference, current))
    lines = lines_of(page)
    top, bottom = lines[2].removeprefix(" " * plot.NAME), lines[3].removeprefix(f"{'reference':<{plot.NAME}}")
    # Half of the rows reach the top of two lines, a quarter that of one.
    assert (top[0], bottom[:3]) == ("█", "███")
    assert top[1] == " "
    assert lines[5].removeprefix(f"{'window':<{plot.NAME}}")[:BINS] == " " * (BINS - 1) + "▁"
    assert lines[1] == "amount in channel=app: reference of v2 and 2026-01-05 to 2026-01-05 01:00"
    assert lines[-1] == "reference n=1,000, 0.0% missing; window n=300, 12.5% missing"
    assert lines[6].split() == ["0", "48"]


def test_nothing_to_draw_is_said() -> None:
    page = Page()
    plot.portrait(page, numeric((), (), edges=(), n_current=0, n_reference=0))
    assert "Not one usable value on either side." in lines_of(page)


def test_categories_have_a_line_each_with_both_shares() -> None:
    levels = (
        Level("web", 0.75, 0.25),
        Level("a name that is longer than its column", 0.25, 0.0),
        Level("new", 0, 0.75),
    )
    page = Page()
    plot.portrait(page, numeric((), (), edges=(), levels=levels))
    _, _, titles, web, long, new, _ = lines_of(page)
    assert titles.split() == ["reference", "window"]
    assert web.split() == ["web", "█" * plot.BAR, "75%", "█" * 5 + "▍", "25%"]
    assert long.startswith("a name that is lo…")
    assert new.split() == ["new", "0%", "█" * plot.BAR, "75%"]


def test_a_metric_stands_on_a_scale_with_its_interval_and_its_baseline() -> None:
    def window(hour: int, **score: Any) -> ResultRow:
        return ResultRow(
            monitor="m",
            deployment="d",
            aspect="quality",
            version=1,
            served=True,
            window_start=START + hour * HOUR,
            window_end=START + (hour + 1) * HOUR,
            n_reference=0,
            n_current=300,
            n_labelled=300,
            verdict="found" if hour else "quiet",
            scores=({"metric": "roc_auc", **score},),
            evaluated_at=START,
        )

    windows = (
        window(0, value=0.9, low=0.8, high=1.0, baseline=0.95),
        window(1, value=0.5, low=None, high=None, baseline=0.95),
        window(2, value=None, low=None, high=None, baseline=0.95),
    )
    page = Page()
    plot.series(page, "roc_auc", windows, "value", "roc_auc")
    lines = lines_of(page)
    assert len(lines) == 5
    assert lines[2].endswith("·────●──|──  0.9 (0.8 to 1)")
    assert "●····················|··  0.5" in lines[3]
    page = Page()
    plot.series(page, "other", windows, "value", "other")
    assert lines_of(page)[-1] == "No window says anything of it."


def windows(count: int) -> tuple[Window, ...]:
    return tuple(
        Window(START + hour * HOUR, START + (hour + 1) * HOUR, 1 + hour // 12, {"inputs": "found" if hour else "quiet"})
        for hour in range(count)
    )


def test_a_timeline_marks_changes_in_their_places_and_none_hides_another() -> None:
    shown = windows(WINDOWS)
    marks = tuple(Mark(START + hour * HOUR, "revision", f"change at {hour}") for hour in (0, 0, 12.5, 23.9))
    page = Page()
    plot.timeline(page, Timeline(START + 12 * HOUR, shown, marks))
    lines = lines_of(page)
    by_name = {line[: plot.NAME].strip(): line[plot.NAME :] for line in lines[2:]}
    assert lines[2].index("▼") - plot.NAME == 24
    assert by_name["inputs"].split() == ["●", *["✖"] * 23]
    assert (by_name["version"].index("1"), by_name["version"].index("2")) == (0, 24)
    assert {letter: by_name["changes"].index(letter) for letter in "abcd"} == {"a": 0, "b": 1, "c": 25, "d": 47}
    assert "  c 2026-01-05 12:30 change at 12.5" in lines


@pytest.mark.parametrize("width", [plot.STRIP_WIDTH, plot.NARROW])
@pytest.mark.parametrize("hour", [0, 3, WINDOWS - 1])
def test_the_onset_is_marked_in_its_place_and_its_words_stay_on_the_line(width: int, hour: int) -> None:
    page = Page()
    plot.timeline(page, Timeline(START + hour * HOUR, windows(WINDOWS), ()), width=width)
    line = lines_of(page)[2]
    assert "onset 2026-01-05" in line
    assert line.index("▼") == plot.NAME + hour * (width // WINDOWS)
    assert len(line) <= plot.NAME + width


def test_the_strips_are_named_as_panes_and_json_name_what_was_judged() -> None:
    verdicts = {str(aspect): "quiet" for aspect in Aspect}
    page = Page()
    plot.timeline(page, Timeline(START, (Window(START, START + HOUR, 1, verdicts),), ()))
    assert {line.split()[0] for line in lines_of(page)[3:-3]} == set(Aspect)


def test_of_many_changes_the_nearest_to_the_onset_are_named_and_the_others_counted() -> None:
    marks = tuple(Mark(START + timedelta(minutes=10 * step), "data", f"change {step}") for step in range(40))
    page = Page()
    plot.timeline(page, Timeline(START + 6 * HOUR, windows(8), marks))
    lines = lines_of(page)
    named = [line for line in lines if "change " in line]
    assert len(named) == plot.MOST_MARKS
    assert any(line.endswith("change 36") for line in named)
    assert f"    and {40 - plot.MOST_MARKS} more, further from the onset" in lines


def test_without_windows_the_timeline_says_so() -> None:
    page = Page()
    plot.timeline(page, Timeline(START, (), ()))
    assert "No window was judged yet." in lines_of(page)


def kpi(name: str, *means: float | None, unit: str | None = None) -> KpiAround:
    spans = [
        KpiWindow(START + hour * HOUR, START + (hour + 1) * HOUR, 0 if mean is None else 1, mean)
        for hour, mean in enumerate(means)
    ]
    return KpiAround(name, unit, None, Mean(2, 0.9), Mean(1, 0.8), None, tuple(spans))


def test_a_kpi_stands_below_its_windows_from_its_lowest_mean_to_its_highest() -> None:
    found = (
        kpi("approval_rate", 0.9, 0.9, None, 0.8, unit="share"),
        kpi("orders", 5.0, None, 5.0, 5.0),
        kpi("refunds", None, None, None, None),
    )
    page = Page()
    plot.timeline(page, Timeline(START + 3 * HOUR, windows(4), (), found))
    by_name = {line[: plot.NAME].strip(): line[plot.NAME :] for line in lines_of(page)[2:]}
    # Each window is four columns wide, and so is its place in the strip of what was said of it.
    assert by_name["approval_r…"] == "█   █   ·   ▁   "
    assert by_name["inputs"] == "●   ✖   ✖   ✖   "
    assert by_name["orders"] == "▅   ·   ▅   ▅   "
    assert "refunds" not in by_name


def test_what_a_name_of_a_kpi_holds_is_shown_and_not_obeyed() -> None:
    page = Page()
    plot.timeline(page, Timeline(START, windows(2), (), (kpi("[red]", 1.0, 2.0),)))
    assert any(line.startswith("[red]") for line in lines_of(page))


def test_of_many_kpis_the_first_are_told_and_the_others_counted() -> None:
    page = Page()
    alert_text.business(page, [kpi(f"kpi{number}\x1b", 1.0) for number in range(9)], 7)
    lines = lines_of(page)
    assert lines[0] == "business   kpi0\\x1b 0.9 -> 0.8 since the onset (n=2, 1)"
    assert lines[alert_text.MOST_KPIS :] == ["           and 3 more: `quarterdeck incident 7` has them"]
