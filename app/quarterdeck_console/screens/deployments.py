"""Pane 5: deployments of every kind, and their revisions."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from rich.text import Text

from quarterdeck_console.formatting import Page, clean, duration, moment, number, state, text
from quarterdeck_console.screens import kpis
from quarterdeck_console.screens.pane import Pane, RollbackTarget
from quarterdeck_console.screens.predictions import PredictionsPane
from quarterdeck_console.themes import ACCENT, BAD, GOOD, MUTED, WARN
from quarterdeck_console.widgets.table import Column

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quarterdeck.deployments.rows import DeploymentRow, RevisionRow
    from quarterdeck.traffic.queries import TrafficRow
    from quarterdeck.workspace import Workspace

TRAFFIC_SINCE = timedelta(seconds=60)
LATELY = timedelta(minutes=5)
SERVED_BY = {
    "gateway": "the gateway",
    "process": "a process of its own, behind the gateway",
    "external": "a system elsewhere, which reports its predictions",
    "batch": "nobody at any time: `quarterdeck score` writes its predictions",
}
BEHIND_THE_GATEWAY = frozenset({"gateway", "process"})


@dataclass(frozen=True, slots=True)
class Served:
    """A deployment with its last minute of traffic."""

    deployment: DeploymentRow
    traffic: TrafficRow

    @property
    def name(self) -> str:
        return self.deployment.name


def read_served(workspace: Workspace) -> list[Served]:
    from quarterdeck.deployments.queries import deployments
    from quarterdeck.traffic.queries import traffic

    since = workspace.now() - TRAFFIC_SINCE
    return [Served(row, traffic(workspace, row.name, since)) for row in deployments(workspace)]


def rate(row: Served) -> Text:
    requests = row.traffic.requests
    return text(
        f"{row.traffic.per_second:.0f}/s" if row.traffic.per_second >= 1 else f"{requests}/min", MUTED * (not requests)
    )


def changed(row: Served) -> Text:
    d = row.deployment
    return text(f"{moment(d.changed_at)}")


class DeploymentsPane(Pane):
    name = "deployments"
    title = "Deployments"
    empty = (
        "No deployments yet.\n"
        "quarterdeck deploy NAME --model MODEL --version N   serves a registered version\n"
        "quarterdeck adopt model.skops --sample rows.csv     brings one from elsewhere"
    )
    keys = (
        "move.enter",
        "row.predictions",
        "write.roll_back",
        "write.undo",
        "row.describe",
        "go.filter",
        "go.command",
        "go.help",
    )
    live_traffic = True
    columns: ClassVar[tuple[Column, ...]] = (
        Column("DEPLOYMENT", lambda r: text(r.name), least=10),
        Column("VERSION", lambda r: text(f"{r.deployment.model}@{r.deployment.version}", ACCENT), least=12),
        Column("STATE", lambda r: state(r.deployment.state)),
        Column("SERVED BY", lambda r: text(r.deployment.served_by, MUTED), priority=2),
        Column("TRAFFIC", rate, right=True),
        Column("P95", lambda r: text(_ms(r.traffic.p95_ms)), right=True, priority=2),
        Column("ERRORS", lambda r: _errors(r), right=True, priority=2),
        Column("SINCE", changed, priority=3),
        Column("REV", lambda r: text(r.deployment.desired_revision), right=True, priority=4),
        Column("LAST CHANGE", lambda r: text(r.deployment.kind), priority=5),
        Column("BY", lambda r: text(r.deployment.changed_by, MUTED), priority=6),
        Column("P50", lambda r: text(_ms(r.traffic.p50_ms)), right=True, priority=7),
        Column("P99", lambda r: text(_ms(r.traffic.p99_ms)), right=True, priority=7),
        Column("", lambda r: text("protected" if r.deployment.protected else " ", WARN), priority=6),
    )

    def read(self, workspace: Workspace, limit: int) -> Sequence[Served]:
        return read_served(workspace)

    def key(self, row: Any) -> str:
        return f"deployment/{row.name}"

    def deployment(self, row: Any) -> str | None:
        return None if row is None else str(row.name)

    def enter(self, row: Any) -> Pane:
        return RevisionsPane(row.name, by_version=row.deployment.served_by not in BEHIND_THE_GATEWAY)

    def rollback_target(self, workspace: Workspace, row: Any) -> RollbackTarget:
        return RollbackTarget(row.name)

    def detail(self, workspace: Workspace, row: Any) -> Text:
        page = Page()
        _serving(page, workspace, row.deployment)
        _lately(page, workspace, row.name)
        _objectives(page, workspace, row.name)
        kpis.newest(page, workspace, row.name)
        if row.deployment.served_by in BEHIND_THE_GATEWAY:
            _workers(page, workspace, row.deployment)
        _alerts(page, workspace, row.name)
        _intervals(page, workspace, row.name)
        return page.text


def _serving(page: Page, workspace: Workspace, d: DeploymentRow) -> None:
    from quarterdeck.registry.queries import version

    page.title(d.name, state(d.state)).field(
        "wanted" if d.state == "withheld" else "serves", f"{d.model}@{d.version}", ACCENT
    )
    if d.state == "withheld":
        page.line("It took gateway workers along and is not loaded: the last known-good revision answers, if any.", BAD)
    page.field("revision", f"{d.desired_revision} ({d.kind} by {d.changed_by}, {moment(d.changed_at)})")
    page.field("reason", d.reason).field("served by", SERVED_BY[d.served_by])
    if d.served_by in BEHIND_THE_GATEWAY:
        page.field("answers at", _address(workspace, d.name))
    if d.served_by == "external":
        page.field("answers at", d.url)
        seen = "  ".join(f"v{number}" for number in d.seen)
        page.field("seen there", seen, BAD if d.state == "contradicted" else "")
    page.field("runtime", version(workspace, d.model, d.version).runtime)
    page.field("protected", "yes: asks for name and reason" if d.protected else "no")


def _address(workspace: Workspace, name: str) -> Text:
    from quarterdeck.deployments.queries import gateway_state

    gateway = gateway_state(workspace)
    if not gateway.alive:
        return text("no gateway runs: `quarterdeck up` starts one", BAD)
    base = f"{workspace.settings.gateway.scheme}://{gateway.host}:{gateway.port}"
    return text(f"{base} /v2/models/{name}/infer")


def _intervals(page: Page, workspace: Workspace, name: str) -> None:
    from quarterdeck.deployments.queries import intervals

    page.heading("Served")
    for span in reversed(intervals(workspace, name)[-8:]):
        end = moment(span.end) if span.end else "now"
        asked = f"revision {span.revision:<4}" if span.revision else "not asked for"
        page.line(f"v{span.version:<4} {asked} {moment(span.start)} to {end}")


def _workers(page: Page, workspace: Workspace, d: DeploymentRow) -> None:
    from quarterdeck.deployments.observation import observed_revisions

    page.heading("Gateway workers")
    found = observed_revisions(workspace, d.name)
    for worker in found:
        behind = worker.revision != d.desired_revision
        seen = f"revision {worker.revision} since {moment(worker.since)}" if worker.revision else "nothing proved yet"
        page.field(f"worker {worker.slot}", seen, WARN if behind else GOOD)
        if worker.error:
            page.field("", f"cannot serve revision {d.desired_revision}: {worker.error}", BAD)
    if not found:
        page.line("None is alive.", MUTED)


def _lately(page: Page, workspace: Workspace, name: str) -> None:
    from quarterdeck.traffic.queries import recent, traffic

    t = traffic(workspace, name, workspace.now() - LATELY)
    newest = recent(workspace, name, 1)
    page.heading("Last 5 minutes").field("predictions", f"{t.requests:,}, {number(t.per_second)}/s").field(
        "latency", _latency(t)
    )
    page.field("by version", "  ".join(f"v{v}: {n:,}" for v, n in sorted(t.versions.items())))
    counts = ", ".join(f"{n:,} {reason}" for reason, n in t.unanswered.items())
    page.field("errors", counts or "none", BAD if counts else "")
    page.field("unrecorded", number(t.unrecorded), BAD if t.unrecorded else "")
    page.field("newest", moment(newest[0].received_at) if newest else "none is recorded")


def _objectives(page: Page, workspace: Workspace, name: str) -> None:
    from quarterdeck.monitoring import wording
    from quarterdeck.monitoring.standing import standings

    if workspace.settings.deployment(name).slo is None:
        return
    found = standings(workspace, name)
    page.heading(f"Objectives over {found[0].period}")
    for row in found:
        wanted = wording.target(row.target) + (f" ({row.within})" if row.within else "")
        line = state(row.standing).append(" " * (8 - len(row.standing)))
        if row.total:
            line.append(f"{wording.measured(row.budget)} of {wanted}".ljust(23))
            left = wording.remaining(row.budget, row.unit)
            line.append(left if row.left < 0 else f"{left} left", BAD if row.left < 0 else "")
        else:
            line.append(f"{wanted} wanted")
        page.field(row.objective, line)


def _alerts(page: Page, workspace: Workspace, name: str) -> None:
    from quarterdeck.monitoring.queries import alerts

    page.heading("Open alerts")
    found = alerts(workspace, deployment=name)
    for alert in found:
        page.line(Text.assemble(state(alert.severity), f"  {clean(alert.summary)}"))
    if not found:
        page.line("None.", GOOD)


class RevisionsPane(Pane):
    name = "revisions"
    title = "Revisions"
    empty = "No revisions."
    keys = (
        "move.enter",
        "row.predictions",
        "write.roll_back",
        "write.undo",
        "row.describe",
        "go.back",
        "go.command",
        "go.help",
    )
    columns = (
        Column("REV", lambda r: text(r.number), right=True),
        Column("VERSION", lambda r: text(f"v{r.version}", ACCENT)),
        Column("WHAT", lambda r: text(r.kind)),
        Column("STATE", lambda r: state(r.state)),
        Column("SINCE", lambda r: text(moment(r.created_at))),
        Column(
            "UNTIL",
            lambda r: text("now" if r.desired else moment(r.replaced_at), GOOD if r.desired else ""),
            priority=2,
        ),
        Column("BY", lambda r: text(r.actor, MUTED), priority=2),
        Column("REASON", lambda r: text(r.reason or " ", MUTED), priority=2, least=10),
    )

    def __init__(self, deployment: str, *, by_version: bool = False) -> None:
        """`by_version`: predictions name the version that answered, and no revision."""
        self._deployment = deployment
        self._by_version = by_version

    @property
    def crumb(self) -> str:
        return self._deployment

    def read(self, workspace: Workspace, limit: int) -> Sequence[Any]:
        from quarterdeck.deployments.queries import revisions

        return revisions(workspace, self._deployment)

    def key(self, row: Any) -> str:
        return f"deployment/{self._deployment}@{row.number}"

    def deployment(self, row: Any) -> str | None:
        return self._deployment

    def enter(self, row: Any) -> Pane:
        if self._by_version:
            return PredictionsPane(self._deployment, version=row.version)
        return PredictionsPane(self._deployment, revision=row.number)

    def rollback_target(self, workspace: Workspace, row: Any) -> RollbackTarget:
        return RollbackTarget(self._deployment, revision=None if row.desired else row.number)

    def detail(self, workspace: Workspace, row: Any) -> Text:
        from quarterdeck.deployments.queries import operation

        page = Page().title(f"revision {row.number} of {self._deployment}", state(row.state))
        page.field("version", f"v{row.version}", ACCENT).field("made by", f"{row.kind} by {row.actor}")
        page.field("reason", row.reason).field("since", moment(row.created_at))
        page.field("verified", moment(row.verified_at)).field(
            "until", "now" if row.desired else moment(row.replaced_at)
        )
        if row.goes_back_to:
            page.field("repeats", f"revision {row.goes_back_to}")
        _answered(page, workspace, self._deployment, row)
        if row.operation:
            done = operation(workspace, row.operation)
            page.heading("Proofs").field("took", duration(done.milliseconds / 1000) if done.milliseconds else None)
            for proof in done.proofs:
                what = proof.error or (f"served {moment(proof.served_at)}" if proof.served_at else "nothing yet")
                page.line(
                    f"worker {proof.slot}: {what}{' (asked itself)' if proof.probe else ''}", BAD * bool(proof.error)
                )
        return page.text


def _answered(page: Page, workspace: Workspace, name: str, row: RevisionRow) -> None:
    from quarterdeck.traffic.queries import latency_p95, requests_by_revision, unanswered

    count = requests_by_revision(workspace, name, only=row.number).get(row.number, 0)
    page.heading("Answered").field("predictions", number(count))
    page.field("p95", _ms(latency_p95(workspace, name, row.number, since=row.created_at, until=row.replaced_at)))
    counts = ", ".join(f"{n:,} {reason}" for reason, n in unanswered(workspace, name, row.number).items())
    page.field("errors", counts or "none", BAD if counts else "")


def _errors(row: Served) -> Text:
    count = sum(row.traffic.unanswered.values())
    return text(f"{count:,}" if count else "", BAD)


def _ms(value: float | None) -> str:
    return "" if value is None else f"{value:.1f} ms"


def _latency(traffic: TrafficRow) -> str:
    parts = [("p50", traffic.p50_ms), ("p95", traffic.p95_ms), ("p99", traffic.p99_ms)]
    return "  ".join(f"{name} {_ms(value)}" for name, value in parts if value is not None)
