"""The words of the rollback screen: the answer, the comparison, the watch."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from rich.text import Text

from quarterdeck_console.formatting import DASH, Page, clean, duration, moment, number, state, text
from quarterdeck_console.themes import ACCENT, BAD, FAINT, GOOD, MUTED, STRONG, WARN
from quarterdeck_console.widgets.table import Column, Row

if TYPE_CHECKING:
    from quarterdeck.deployments.analysis import CandidateDetail, RollbackPlan
    from quarterdeck.deployments.rows import OperationRow, RevisionRow

ANSWERS = {"yes": GOOD, "no": BAD, "unknown": WARN}

CANDIDATES = (
    Column("REV", lambda r: text(r.revision), right=True),
    Column("VERSION", lambda r: text(f"v{r.version}", ACCENT)),
    Column("", lambda r: text("last known-good" if r.last_known_good else " ", GOOD)),
    Column("SINCE", lambda r: text(moment(r.since)), priority=2),
    Column("SERVED", lambda r: text(duration(r.served_seconds) if r.served_seconds else ""), right=True, priority=2),
    Column("REQUESTS", lambda r: text(number(r.requests)), right=True, priority=4),
    Column("HEALTH THEN", lambda r: text(r.why_not or r.health_then, WARN if r.why_not else ""), least=16),
    Column("BY", lambda r: text(r.by, MUTED), priority=5),
    Column("REASON", lambda r: text(r.reason or " ", MUTED), priority=6, least=8),
)


def candidate_row(row: Any) -> Row:
    return Row(f"revision/{row.revision}", tuple(c.cell(row) for c in CANDIDATES), row, dim=not row.can_serve)


def title(plan: RollbackPlan, undone: RevisionRow | None) -> Text:
    """What is about to be planned, and on what."""
    if undone is None:
        line = Text.assemble((f" Roll back {clean(plan.deployment)}", STRONG))
    else:
        line = Text.assemble((f" Undo revision {undone.number} of {clean(plan.deployment)}", STRONG))
        line.append(f"  ({undone.kind} by {clean(undone.actor)}, {moment(undone.created_at)})", MUTED)
    line.append(f"   serves {clean(plan.model)}@{plan.version}, revision {plan.expected}", MUTED)
    if plan.protected:
        line.append("   PROTECTED", f"bold {WARN}")
    return line


def outlook(plan: RollbackPlan, question: str = "Would it help?") -> Text:
    """The first line: would it help? With the alternatives below."""
    words = Text.assemble(
        (f"{question}  ", STRONG),
        (plan.would_help, f"bold {ANSWERS.get(plan.would_help, '')}"),
        (f", because {clean(plan.because)}.", ""),
    )
    for index, alternative in enumerate(plan.alternatives):
        words.append("\n").append("Instead  " if index == 0 else "         ", MUTED).append(clean(alternative), MUTED)
    for other in plan.others:
        words.append(
            f"\n{clean(other.actor)} on {clean(other.host)} has this plan open since {moment(other.opened_at)}", WARN
        )
    return words


def comparison(detail: CandidateDetail, *, full: bool, gateway: bool) -> Text:
    """How the candidate differs from what serves; `full` adds all that differs in signature and settings."""
    page = Page().title(
        f"v{detail.from_version} -> v{detail.to_version}",
        f"revision {detail.from_revision} -> a new one like {detail.to_revision}",
    )
    if not gateway and detail.served_by in ("gateway", "process"):
        page.line("No gateway is alive: the change is written and waits. `quarterdeck up` starts one.", WARN)
    page.table(
        ["", f"now v{detail.from_version}", f"then v{detail.to_version}"],
        [
            [row.name, row.now or DASH, row.then or DASH]
            for row in (detail.replayed, detail.realised, detail.p95_ms, detail.errors)
        ],
    )
    page.line("")
    page.table(
        ["each on its own holdout", "now", "then"],
        [[row.name, row.now or DASH, row.then or DASH] for row in detail.metrics],
    )
    page.line("")
    for change in (detail.drift, detail.data):
        if change.now == change.then:
            page.field(change.name, change.now and f"{change.now}, both")
        else:
            page.field(f"{change.name} now", change.now).field(f"{change.name} then", change.then)
    page.field("signature", detail.compatible or _count(detail.signature), BAD if detail.compatible else "")
    page.field("settings", _count(detail.settings))
    page.field("affects", f"{detail.requests_per_second:.1f} requests/s")
    verified = {True: "there, its bytes verified", False: "damaged or missing", None: "not stored here"}
    page.field("artifact", verified[detail.artifact_verified], "" if detail.artifact_verified is not False else BAD)
    page.field("undone by", detail.undone_by[0] if detail.undone_by else "nothing: only people change it")
    for line in detail.undone_by[1:]:
        page.field("", line)
    page.field("same as", detail.command, ACCENT)
    if full:
        for heading, changes in (("Signature", detail.signature), ("Settings", detail.settings)):
            page.heading(heading)
            if not changes:
                page.line("The same.", MUTED)
            for change in changes:
                page.line(clean(change.name), STRONG)
                page.line(f"  now   {clean(change.now or 'not there')}", "").line(
                    f"  then  {clean(change.then or 'not there')}"
                )
    return page.text


def _count(changes: Sequence[object]) -> str:
    return "the same" if not changes else f"{len(changes)} differ{'s' * (len(changes) == 1)} (d shows all)"


def replay(outcome: dict[str, Any], other: int, serving: int) -> str:
    """One line of what a replay found."""
    if outcome.get("error"):
        return f"What if: {outcome['error']}"
    words = f"What if: on {number(outcome.get('rows'))} recorded predictions v{other} agrees with v{serving} on "
    agreement = outcome.get("agreement")
    words += f"{agreement:.1%}" if isinstance(agreement, float) else "an unknown share"
    if outcome.get("low") is not None and outcome.get("high") is not None:
        words += (
            f"; {outcome['metric']} {number(outcome['other'])} against {number(outcome['serving'])}"
            f" ({outcome['low']:+.3f} to {outcome['high']:+.3f}, {number(outcome.get('labelled'))} labelled)"
        )
    return words + "."


def watching(operation: OperationRow) -> Text:
    """planned -> routed -> verified, with times and each worker's proof."""
    o = operation
    verb = {"rollback": "Rollback", "undo": "Undo", "deploy": "Deployment"}[str(o.kind)]
    page = Page().title(f"{verb} of {o.deployment} to v{o.version}", state(o.state))
    before = f"v{o.from_version}, revision {o.from_revision}" if o.from_revision else "nothing"
    page.field("asked for by", f"{o.actor}, {moment(o.planned_at)}").field("reason", o.reason)
    page.field("from", before).field("to", f"v{o.version}, revision {o.to_revision}", ACCENT).line("")
    _step(page, "planned", o.planned_at, o.planned_at, o.state)
    by_workers = o.served_by in ("gateway", "process")
    if o.served_by != "batch":
        _step(page, "routed" if by_workers else "commanded", o.routed_at, o.planned_at, o.state)
    _step(page, "verified", o.verified_at, o.planned_at, o.state)
    if by_workers:
        page.heading("Proof of each gateway worker")
    for proof in o.proofs:
        line = Text(f"worker {proof.slot}  ")
        if proof.error:
            line.append(f"✖ {clean(proof.error)}", BAD)
        elif proof.served_at is None:
            line.append("○ nothing yet" if proof.alive else "○ gone", MUTED)
        else:
            line.append(f"● served at {_exact(proof.served_at)}", GOOD)
            who = "asked itself: no traffic" if proof.probe else f"request {clean(proof.request_id)}"
            line.append(f"  {who}", MUTED)
        page.line(line)
    if o.outputs:
        page.heading(f"Written by v{o.from_version}")
        for output in o.outputs:
            page.line(f"{clean(output.output)}  {number(output.rows)} rows, {moment(output.at)}")
        page.line("S scores them again by the version that is wanted now.", ACCENT)
    if by_workers and not o.workers:
        page.line("No gateway is alive, so nobody can serve it yet. Start one with `quarterdeck up`;", WARN)
        page.line("the operation is written, waits for it, and is verified then.", WARN)
    page.line("").line(_next_step(o), MUTED)
    return page.text


def _step(page: Page, name: str, at: datetime | None, start: datetime, reached: str) -> None:
    if at is None:
        failed = reached == "failed"
        page.line(Text.assemble(("✖ " if failed else "○ ", BAD if failed else FAINT), (name, BAD if failed else MUTED)))
        return
    took = f"   after {(at - start).total_seconds() * 1000:.0f} ms" if at != start else ""
    page.line(Text.assemble(("● ", GOOD), (f"{name:<10}", STRONG), _exact(at), (took, MUTED)))


def _exact(at: datetime) -> str:
    return at.astimezone().strftime("%H:%M:%S.%f")[:-3]


def _next_step(operation: OperationRow) -> str:
    match str(operation.state):
        case "verified":
            return "It serves. U undoes it; Esc leaves."
        case "failed" if operation.served_by == "external":
            return f"It failed: {_ending(operation.error or 'the command failed')} `:job` has its log. R plans another."
        case "planned" if operation.served_by == "external":
            return "Waiting for the rollback_command, which a runner runs as a job. It goes on without this screen."
        case "unproven" if operation.served_by == "batch":
            return "The next score uses it, and verifies it. Esc leaves."
        case "unproven" if str(operation.kind) != "deploy":
            return (
                "The command ended well. The first prediction or probe that names the version verifies it. Esc leaves."
            )
        case "failed":
            return (
                f"It failed: {_ending(operation.error or 'a worker could not serve it')} What served before goes on "
                "serving there. U takes it back; R plans another."
            )
        case "unproven":
            return (
                "It is served elsewhere: change it there too. It is verified by the first prediction of that version. "
                "Esc leaves."
            )
        case "superseded":
            return "Another change came before it was verified. R plans again from what is desired now."
        case _:
            return "Waiting for the gateway. The operation goes on without this screen: Esc leaves."


def _ending(words: str) -> str:
    """An error as a sentence, however it ends."""
    return f"{clean(words).rstrip('.')}."
