"""The words about an alert: its line, its evidence, its suspects, what one can do."""

from __future__ import annotations

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
    from quarterdeck.monitoring.queries import AlertRow
    from quarterdeck.monitoring.suspects import Suspect
    from quarterdeck.settings.monitoring import MonitorSettings

SEVERITIES = {"page": ("✖", "page", BAD), "warning": ("▲", "warn", WARN), "informational": ("○", "info", MUTED)}
SIGNS = {"acknowledged": "✓", "silenced": "◌", "resolved": "●"}
"""In place of the severity's own sign, where somebody has it, it tells nobody, or it is over."""
STATES = {"open": BAD, "acknowledged": WARN, "silenced": MUTED, "resolved": GOOD}
METRICS = ("quality", "estimate")
"""Kinds that are about one metric, and not about columns."""
UNITS = {"wasserstein_normed": " sigma", "jensen_shannon": " JS", "share_moved": " moved"}
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
    "outage": "took the gateway along",
}
QUESTION = "Would a rollback help?"
ACTIONS = (
    ("R", "plan a rollback; nothing changes by that"),
    ("A", "take it on, as real or as noise"),
    ("S", "let it tell nobody for a while (:silence)"),
    ("C", "write something down (:note)"),
    ("b", "Evidently's full report, in a browser"),
    ("v", "the newest predictions"),
)


def severity(row: AlertRow) -> Text:
    sign, word, style = SEVERITIES.get(row.severity, ("·", clean(row.severity), ""))
    return Text(f"{SIGNS.get(row.state, sign)} {word}", style, no_wrap=True)


def what(row: AlertRow) -> Text:
    """What is wrong: `amount (channel=app)`, `roc_auc worse`."""
    if row.kind == "outage":
        return text(f"v{row.version} {VERBS['outage']}")
    words = ", ".join(clean(column) for column in row.columns)
    line = Text(words, STRONG, no_wrap=True)
    if row.slice:
        line.append(f" ({clean(row.slice)})", WARN)
    if row.kind in VERBS:
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
    words = alert_words.cost(row)
    if words is None:
        return text(None if row.state == "resolved" else "not known", FAINT)
    if words.endswith("none"):
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
    page.line(Text("  ").join([severity(row), what(row), Text(clean(f"{row.deployment} v{row.version}"), ACCENT)]))
    facts = [Text(f"since {day(row.onset)}"), sure(row), cost(row), standing(row)]
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
    if not columns and not metrics:
        return
    from quarterdeck.monitoring.sampled import judged_by

    page.heading("Evidence, in the newest window that showed it")
    by = judged_by([score for _, score in columns] + metrics)
    if by:
        page.line(f"Too many rows to be held: judged by {by}.", WARN)
    if columns:
        _columns(page, columns, settings, chosen, shown=(0, 1, 3) if narrow else range(7))
        if row.slice:
            page.line(Text.assemble("  the shift is in ", (clean(row.slice), WARN), ": all other rows did not move"))
    for score in metrics:
        how = "estimated" if "how" in score else "by labels"
        figure = f"{number(score['value']) or DASH} ({number(score.get('low'))} to {number(score.get('high'))})"
        tolerance = "" if settings is None else f", found from {settings.tolerance:.0%} on"
        page.line(
            f"{clean(score['metric'])} {how}: {figure}, {number(score['baseline']) or DASH} on its holdout: "
            f"{score.get('loss') or 0.0:+.0%} loss{tolerance}"
        )
        _where(page, score)


def _where(page: Page, score: dict[str, Any]) -> None:
    """In which slice the answers got worse, and since when."""
    named = next((one for one in score.get("slices", ()) if one["slice"] == score.get("slice")), None)
    if named is not None:
        rows = f"{named['n_current']:,} rows ({named['share']:.0%}), {named['carries']:.0%} of the loss"
        page.line(Text.assemble("  in ", (clean(named["slice"]), WARN), f": {rows}"))
    if score.get("change") is not None:
        page.line(f"  the errors rose on {day(datetime.fromisoformat(score['change']['at']))}")


def _columns(
    page: Page,
    columns: Sequence[tuple[str, dict[str, Any]]],
    settings: MonitorSettings | None,
    chosen: str | None,
    *,
    shown: Sequence[int],
) -> None:
    titles = ("  COLUMN", "SCORE", "FROM", "CHANCE", "ROWS", "MISSING", "WEIGHT")
    lines = [titles]
    for name, score in columns:
        missing = score.get("missing_current")
        former = score.get("missing_reference")
        weight = score.get("importance")
        lines.append(
            (
                ("> " if name == chosen else "  ") + _short(name, 20),
                f"{score['effect']:.3g}{UNITS.get(score.get('measure', ''), '')}" + _off(score),
                "" if settings is None else number(settings.threshold),
                alert_words.chance(score["q_value"]) if score.get("q_value") is not None else DASH,
                number(score.get("n_current")),
                DASH if missing is None else f"{missing:.0%}" + (f", was {former:.0%}" if former else ""),
                DASH if weight is None else f"{weight:.0%}",
            )
        )
    widths = [max(len(line[i]) for line in lines) for i in range(len(titles))]
    for index, line in enumerate(lines):
        parts = [line[i].ljust(widths[i]) for i in shown]
        page.line("  ".join(parts).rstrip(), STRONG if line[0].startswith(">") else "" if index else MUTED)


def _off(score: dict[str, Any]) -> str:
    """What a sketched effect may be off by."""
    return f" +-{score['error']:.2g}" if score.get("error") else ""


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
                (f"  {one.score:.2f}  {day(one.when)}, {ahead}", MUTED),
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


def actions(page: Page, row: AlertRow) -> None:
    page.heading("What to do")
    for key, words in ACTIONS:
        page.line(Text.assemble((f"{key}  ", BAD if key.isupper() else ACCENT), words))
    if row.severity == "informational":
        page.line("It tells nobody: what moved has no weight in this model's answers.", MUTED)


def reactions(page: Page, lines: Sequence[str]) -> None:
    """What policies did about it, or would do; nothing where nobody set any."""
    for line in lines:
        page.line(Text.assemble(("by itself  ", MUTED), clean(line)))


def people(page: Page, row: AlertRow) -> None:
    """Who has it, and where else it is dealt with."""
    page.line("")
    page.field("owner", row.owner).field("runbook", row.runbook, ACCENT).field("ticket", row.ticket, ACCENT)
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
