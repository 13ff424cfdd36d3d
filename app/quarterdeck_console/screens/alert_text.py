"""The words about an alert: its line, its evidence, its suspects, what one can do."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rich.text import Text

from quarterdeck_console import alert_words
from quarterdeck_console.formatting import DASH, Page, clean, day, duration, moment, number, text
from quarterdeck_console.screens import rollback_text
from quarterdeck_console.themes import ACCENT, BAD, FAINT, GOOD, MUTED, STRONG, WARN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quarterdeck.deployments.analysis import RollbackPlan
    from quarterdeck.monitoring.incident import Incident
    from quarterdeck.monitoring.kpis import KpiAround
    from quarterdeck.monitoring.queries import AlertRow
    from quarterdeck.monitoring.suspects import Suspect
    from quarterdeck.settings.monitoring import MonitorSettings

SEVERITIES = {"page": ("✖", "page", BAD), "warning": ("▲", "warn", WARN), "informational": ("○", "info", MUTED)}
SIGNS = {"acknowledged": "✓", "silenced": "◌", "resolved": "●"}
"""In place of the severity's own sign, where somebody has it, it tells nobody, or it is over."""
STATES = {"open": BAD, "acknowledged": WARN, "silenced": MUTED, "resolved": GOOD}
METRICS = ("quality", "estimate")
"""Kinds that are about one metric, and not about columns."""
OF_INPUTS = ("drift", "missing", "unseen")
"""Kinds that are about columns of what comes in."""
VERBS = {
    "missing": "missing",
    "unseen": "never seen before",
    "quality": "worse",
    "estimate": "worse (estimated)",
    "fairness": "treated differently",
    "across": "sees the columns moved together",
    "slo": "budget burns",
    "skew": "served with another value",
    "outage": "took the gateway along",
}
MOST_KPIS = 6
SIGNALS = {
    "volume": "volume not as usual",
    "rejections": "more rejections",
    "errors": "more errors",
    "labels": "labels are late",
    "age": "the model is old",
    "fallbacks": "more answers of the fallback",
    "silence": "nothing comes any more",
}
"""What is wrong with the traffic, by its signal."""
QUESTION = "Would a rollback help?"
ACTIONS = (
    ("R", "plan a rollback: changes nothing"),
    ("A", "take it on, as real or noise"),
    ("S", "let it tell nobody for a while"),
    ("C", "write something down"),
    ("b", "Evidently's report, by browser"),
    ("v", "the newest predictions"),
)
ACTION_WIDTH = 36
OF_OPEN_ONES = ("R", "A", "S")
"""What there is no use for once an alert is resolved."""


def severity(row: AlertRow) -> Text:
    sign, word, style = SEVERITIES.get(row.severity, ("·", clean(row.severity), ""))
    return Text(f"{SIGNS.get(row.state, sign)} {word}", style, no_wrap=True)


def what(row: AlertRow, *, beside_cost: bool = False) -> Text:
    """What is wrong: `amount (channel=app)`, `roc_auc worse`, `volume not as usual`.

    `beside_cost` leaves out that a metric is worse where the cost says by how much.
    """
    if row.kind == "outage":
        return text(f"v{row.version} {VERBS['outage']}")
    named = [SIGNALS.get(column, column) for column in row.columns] if row.kind == "traffic" else row.columns
    words = ", ".join(clean(column) for column in named)
    line = Text(words, STRONG, no_wrap=True)
    if row.slice:
        line.append(f" ({clean(row.slice)})", WARN)
    told = beside_cost and row.kind in METRICS and row.cost is not None and row.cost.a_day is None
    if row.kind in VERBS and not told:
        line.append(f" {VERBS[row.kind]}")
    if row.also:
        line.append(f" +{len(row.also)}", WARN)
    return line


def since(row: AlertRow, *, now: datetime | None = None) -> Text:
    """The onset, in event time; without the year where that is this one."""
    words = day(row.onset)
    year = f"{(now or datetime.now(UTC)).year}-"
    return text(words.removeprefix(year))


def sure(row: AlertRow) -> Text:
    """How sure it is: the corrected chance of so large a shift, or where the metric lies with 95%."""
    return text(alert_words.sure(row))


def cost(row: AlertRow) -> Text:
    """What it costs: the model's relative loss of quality, by labels or by expectation."""
    return _cost(row, alert_words.cost(row))


def _cost(row: AlertRow, words: str | None) -> Text:
    if words is None:
        return text(None if row.state == "resolved" else "not known", FAINT)
    if alert_words.costs_nothing(row):
        return text(words, GOOD)
    return text(words, BAD if row.severity == "page" else WARN)


def standing(row: AlertRow) -> Text:
    if row.state == "silenced" and row.silenced_until is not None:
        return text(f"tells nobody until {moment(row.silenced_until)}", MUTED)
    words = f"{row.state}: {row.judgement}" if row.judgement and row.state == "acknowledged" else row.state
    informational = row.severity == "informational" and row.state == "open"
    return text(words, MUTED if informational else STATES.get(row.state, ""))


def head(page: Page, row: AlertRow) -> None:
    """What, since when, how sure, what it costs."""
    number_ = Text(f"alert/{row.id}", MUTED)
    place = Text(clean(f"{row.deployment} v{row.version}"), ACCENT)
    page.line(Text("  ").join([number_, severity(row), what(row), place]))
    facts = [Text(f"since {day(row.onset)}"), sure(row), _cost(row, alert_words.cost_in_full(row)), standing(row)]
    page.line(Text("   ").join([fact for fact in facts if fact.plain != DASH]))
    page.line(clean(row.summary), MUTED)
    if row.also:
        page.line(f"It stands for the same in {len(row.also)} more: {clean(', '.join(row.also))}", WARN)
    if row.cause is not None:
        page.line(f"The same began elsewhere: alert {row.cause} stands for it", WARN)


def evidence(
    page: Page, row: AlertRow, settings: MonitorSettings | None, chosen: str | None = None, *, narrow: bool = False
) -> None:
    """The newest scores, a line for each column; `chosen` is the one that is plotted. `narrow` leaves the half out."""
    columns = [(name, score) for name, score in row.evidence.items() if isinstance(score, dict) and "effect" in score]
    metrics = [score for score in row.evidence.values() if isinstance(score, dict) and "baseline" in score]
    apart = [score for score in row.evidence.values() if isinstance(score, dict) and "different" in score]
    if not columns and not metrics and not apart:
        return
    from quarterdeck.monitoring.sampled import judged_by

    page.heading("Evidence, in the newest window that showed it")
    by = judged_by([score for _, score in columns] + metrics)
    if by:
        page.line(f"Too many rows to be held: judged by {by}.", WARN)
    if columns:
        _columns(page, row, columns, settings, chosen, shown=(0, 1, 3) if narrow else range(7))
        if row.slice:
            page.line(Text.assemble("  the shift is in ", (clean(row.slice), WARN), ": all other rows did not move"))
    for score in metrics:
        how = "estimated" if "how" in score else "by labels"
        figure = f"{number(score['value']) or DASH} ({number(score.get('low'))} to {number(score.get('high'))})"
        tolerance = "" if settings is None else f" (a finding from {settings.tolerance:.0%} on)"
        page.line(
            f"{clean(score['metric'])} {how}: {figure}, {number(score['baseline']) or DASH} on its holdout: "
            f"{alert_words.against_holdout(score.get('loss') or 0.0)}{tolerance}"
        )
        _where(page, score)
    skewed(page, apart)


def skewed(page: Page, scores: Sequence[dict[str, Any]]) -> None:
    """In how many rows columns were served with another value than the data for training has, and one such row."""
    if not scores:
        return
    told = []
    for one in sorted(scores, key=lambda one: (one["verdict"] != "drifted", -one["share"])):
        example = one["example"]
        row = "" if example is None else f"{example['key']}: {_value(example['served'])}, {_value(example['stored'])}"
        told.append([one["column"], one["verdict"], f"{one['different']:,} of {one['n']:,}", row])
    page.table(("COLUMN", "VERDICT", "DIFFERENT", "KEY: SERVED, STORED"), told)


def _value(value: object) -> str:
    return "nothing" if value is None else number(value) if isinstance(value, float) else clean(str(value))


def _where(page: Page, score: dict[str, Any]) -> None:
    """In which slice the answers got worse, and since when."""
    named = next((one for one in score.get("slices", ()) if one["slice"] == score.get("slice")), None)
    if named is not None:
        rows = f"{named['n_current']:,} rows ({named['share']:.0%})"
        # What a slice carries is known only where all rows together lost something.
        if named["carries"] is not None and math.isfinite(named["carries"]):
            rows += f", {named['carries']:.0%} of the loss"
        page.line(Text.assemble("  in ", (clean(named["slice"]), WARN), f": {rows}"))
    if score.get("change") is not None:
        page.line(f"  the errors rose on {day(datetime.fromisoformat(score['change']['at']))}")


def _columns(
    page: Page,
    row: AlertRow,
    columns: Sequence[tuple[str, dict[str, Any]]],
    settings: MonitorSettings | None,
    chosen: str | None,
    *,
    shown: Sequence[int],
) -> None:
    titles = ("  COLUMN", "EFFECT", "LIMIT", "CHANCE", "ROWS", "MISSING", "WEIGHT")
    lines = [titles]
    for name, score in columns:
        missing = score.get("missing_current")
        former = score.get("missing_reference")
        weight = score.get("importance")
        effect, limit, q_value = _effect(row.kind if name in row.columns else "drift", score, settings)
        lines.append(
            (
                ("> " if name == chosen else "  ") + _short(name, 20),
                effect,
                limit,
                DASH if q_value is None else alert_words.chance(q_value),
                number(score.get("n_current")),
                DASH if missing is None else f"{missing:.0%}" + (f", was {former:.0%}" if former else ""),
                DASH if weight is None else f"{weight:.0%}",
            )
        )
    widths = [max(len(line[i]) for line in lines) for i in range(len(titles))]
    for index, line in enumerate(lines):
        parts = [line[i].ljust(widths[i]) for i in shown]
        page.line("  ".join(parts).rstrip(), STRONG if line[0].startswith(">") else "" if index else MUTED)
    page.line("  " + alert_words.legend(str(score.get("measure")) for _, score in columns), MUTED)


def _effect(kind: str, score: dict[str, Any], settings: MonitorSettings | None) -> tuple[str, str, float | None]:
    """What an alert of this kind goes by, the limit from which on it counts, and the chance of it."""
    if kind == "missing" and score.get("missing_reference") is not None:
        more = score["missing_current"] - score["missing_reference"]
        return f"{more:+.0%} missing", "" if settings is None else f"{settings.threshold:.0%}", score.get("missing_q")
    if kind == "unseen" and score.get("unseen") is not None:
        return f"{score['unseen']:.1%} new", "" if settings is None else f"{settings.unseen:.0%}", score.get("unseen_q")
    effect = f"{score['effect']:.3g} {alert_words.UNITS.get(score.get('measure', ''), '')}".rstrip()
    effect += f" +-{score['error']:.2g}" if score.get("error") else ""
    return effect, "" if settings is None else number(settings.threshold), score.get("q_value")


def _short(words: str, width: int) -> str:
    words = clean(words)
    return words if len(words) <= width else words[: width - 1] + "…"


def suspects(page: Page, found: Sequence[Suspect], *, limit: int | None = None) -> None:
    """What may be behind it, the likeliest first."""
    page.heading("Suspects, the likeliest first")
    if not found:
        page.line("Nothing is known that was changed, or came in otherwise, before it began.", MUTED)
    for number_, one in enumerate(found[:limit], start=1):
        columns = f": {clean(', '.join(one.columns))}" if one.columns else ""
        ahead = f"{duration(one.seconds_before)} before the onset" if one.seconds_before else "at the onset"
        page.line(
            Text.assemble(
                (f"{number_}. ", STRONG),
                (clean(one.reference), ACCENT),
                (columns, STRONG),
                (f"  score {one.score:.2f} of 1  {day(one.when)}, {ahead}", MUTED),
            )
        )
        page.line(f"  {clean(one.what)}")
        page.line(f"  {clean(one.why)}", MUTED)


def rollback(page: Page, plan: RollbackPlan | str | None) -> None:
    """The answer of the rollback's plan, with what can be done instead."""
    if plan is None:
        return
    page.line("")
    if isinstance(plan, str):
        page.line(Text.assemble((f"{QUESTION}  ", STRONG), (clean(plan), MUTED)))
    else:
        page.line(rollback_text.outlook(plan, QUESTION))


def actions(page: Page, row: AlertRow, *, in_a_line: int = 1) -> None:
    """The keys that act on it, so many in a line."""
    page.heading("What to do")
    offered = [(key, words) for key, words in ACTIONS if row.state != "resolved" or key not in OF_OPEN_ONES]
    for first in range(0, len(offered), in_a_line):
        line = Text()
        for key, words in offered[first : first + in_a_line]:
            line.append(f"{key}  ", BAD if key.isupper() else ACCENT).append(f"{words:<{ACTION_WIDTH}}")
        line.rstrip()
        page.line(line)
    if row.runbook:
        page.line(Text.assemble("Runbook: ", (clean(row.runbook), ACCENT)))
    if row.severity == "informational":
        page.line("It tells nobody: what moved has no weight in this model's answers.", MUTED)


def reactions(page: Page, lines: Sequence[str]) -> None:
    """What policies did about it, or would do; nothing where nobody set any."""
    for line in lines:
        page.line(Text.assemble(("by itself  ", MUTED), clean(line)))


def business(page: Page, found: Sequence[KpiAround], alert_id: int) -> None:
    """How the business stood before and since: figures, and no cause."""
    from quarterdeck.monitoring.kpis import words

    for one in found[:MOST_KPIS]:
        page.line(Text.assemble(("business   ", MUTED), clean(words(one))))
    if len(found) > MOST_KPIS:
        page.line(f"           and {len(found) - MOST_KPIS} more: `quarterdeck incident {alert_id}` has them", MUTED)


def people(page: Page, row: AlertRow) -> None:
    """Who has it, and where else it is dealt with."""
    page.line("")
    page.field("owner", row.owner or f"nobody is named under [monitors.{row.monitor}]", "" if row.owner else MUTED)
    if row.ticket:
        page.field("ticket", row.ticket, ACCENT)
    if row.acknowledged_by:
        page.field("taken on by", f"{row.acknowledged_by}: {row.judgement}")
    if row.silenced_until:
        page.field("tells nobody", f"until {moment(row.silenced_until)}", WARN)
    if row.reopened:
        page.field("came back", "once" if row.reopened == 1 else f"{row.reopened} times")
    if row.resolved_at:
        page.field("resolved", moment(row.resolved_at))
    page.field("monitor", row.monitor).field("opened", moment(row.opened_at))
    page.field("report", "made: b opens it" if row.report else "not made yet: b asks for it")


def happened(page: Page, found: Incident) -> None:
    """What happened to it, notes among it, and around it."""
    page.heading("What happened, and notes")
    for one in found.timeline:
        words = Text.assemble((f"{moment(one.at):<17} ", MUTED), (f"{clean(one.actor):<10} ", MUTED))
        page.line(words.append(clean(one.what), "" if one.own else MUTED))
