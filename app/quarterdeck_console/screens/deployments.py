"""Pane 5: deployments, their revisions, and the predictions they answered."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from rich.text import Text

from quarterdeck_console.formatting import Page, clean, day, duration, moment, number, state, text
from quarterdeck_console.screens.pane import Pane, RollbackTarget, TextPage
from quarterdeck_console.themes import ACCENT, BAD, GOOD, MUTED, WARN
from quarterdeck_console.widgets.table import Column

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quarterdeck.deployments.rows import DeploymentRow
    from quarterdeck.traffic.queries import TrafficRow
    from quarterdeck.workspace import Workspace

TRAFFIC_SINCE = timedelta(seconds=60)


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
    keys = ("move.enter", "write.roll_back", "write.undo", "row.describe", "go.filter", "go.command", "go.help")
    live_traffic = True
    columns: ClassVar[tuple[Column, ...]] = (
        Column("DEPLOYMENT", lambda r: text(r.name), least=10),
        Column("VERSION", lambda r: text(f"{r.deployment.model}@{r.deployment.version}", ACCENT), least=8),
        Column("STATE", lambda r: state(r.deployment.state)),
        Column("REV", lambda r: text(r.deployment.desired_revision), right=True, priority=2),
        Column("LAST CHANGE", lambda r: text(r.deployment.kind), priority=2),
        Column("AT", changed),
        Column("BY", lambda r: text(r.deployment.changed_by, MUTED), priority=3),
        Column("TRAFFIC", rate, right=True),
        Column("P95", lambda r: text(_ms(r.traffic.p95_ms)), right=True, priority=3),
        Column("SERVED BY", lambda r: text(r.deployment.served_by, MUTED), priority=5),
        Column("", lambda r: text("protected" if r.deployment.protected else " ", WARN), priority=4),
    )

    def read(self, workspace: Workspace, limit: int) -> Sequence[Served]:
        return read_served(workspace)

    def key(self, row: Any) -> str:
        return f"deployment/{row.name}"

    def enter(self, row: Any) -> Pane:
        return RevisionsPane(row.name)

    def rollback_target(self, workspace: Workspace, row: Any) -> RollbackTarget:
        return RollbackTarget(row.name)

    def detail(self, workspace: Workspace, row: Any) -> Text:
        from quarterdeck.deployments.queries import gateway_state, intervals
        from quarterdeck.monitoring.queries import alerts

        d, t = row.deployment, row.traffic
        page = Page().title(d.name, state(d.state)).field("serves", f"{d.model}@{d.version}", ACCENT)
        page.field("revision", f"{d.desired_revision} ({d.kind} by {d.changed_by}, {moment(d.changed_at)})")
        page.field("reason", d.reason)
        page.field("protected", "yes: asks for name and reason" if d.protected else "no")
        gateway = gateway_state(workspace)
        where = (
            f"{workspace.settings.gateway.scheme}://{gateway.host}:{gateway.port}/v2/models/{d.name}/infer"
            if gateway.alive
            else None
        )
        if d.served_by == "external":
            page.field("served by", "a system elsewhere, which reports its predictions")
        else:
            page.field("answers at", where or "no gateway runs: `quarterdeck up` starts one", "" if where else BAD)
        page.heading("Last minute")
        page.field("predictions", number(t.requests)).field("latency", _latency(t))
        page.field("by version", "  ".join(f"v{v}: {n:,}" for v, n in sorted(t.versions.items())))
        page.field("unrecorded", number(t.unrecorded), BAD if t.unrecorded else "")
        page.heading("Open alerts")
        found = alerts(workspace, deployment=d.name)
        for alert in found:
            page.line(Text.assemble(state(alert.severity), f"  {clean(alert.summary)}"))
        if not found:
            page.line("None.", GOOD)
        page.heading("Served")
        for span in reversed(intervals(workspace, d.name)[-8:]):
            end = moment(span.end) if span.end else "now"
            page.line(f"v{span.version:<4} revision {span.revision:<4} {moment(span.start)} to {end}")
        return page.text


class RevisionsPane(Pane):
    name = "revisions"
    title = "Revisions"
    empty = "No revisions."
    keys = ("move.enter", "write.roll_back", "write.undo", "row.describe", "go.back", "go.help")
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

    def __init__(self, deployment: str) -> None:
        self._deployment = deployment

    @property
    def crumb(self) -> str:
        return self._deployment

    def read(self, workspace: Workspace, limit: int) -> Sequence[Any]:
        from quarterdeck.deployments.queries import revisions

        return revisions(workspace, self._deployment)

    def key(self, row: Any) -> str:
        return f"deployment/{self._deployment}@{row.number}"

    def enter(self, row: Any) -> Pane:
        return PredictionsPane(self._deployment)

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
        if row.operation:
            done = operation(workspace, row.operation)
            page.heading("Proofs").field("took", duration(done.milliseconds / 1000) if done.milliseconds else None)
            for proof in done.proofs:
                what = proof.error or (f"served {moment(proof.served_at)}" if proof.served_at else "nothing yet")
                page.line(
                    f"worker {proof.slot}: {what}{' (asked itself)' if proof.probe else ''}", BAD * bool(proof.error)
                )
        return page.text


class PredictionsPane(Pane):
    name = "predictions"
    title = "Predictions"
    empty = "No predictions recorded yet."
    keys = ("move.enter", "row.raw", "go.filter", "go.back", "go.help")
    live_traffic = True
    columns = (
        Column("RECEIVED", lambda r: text(moment(r.received_at))),
        Column("EVENT TIME", lambda r: text(day(r.event_time)), priority=3),
        Column("VERSION", lambda r: text(f"v{r.version}", ACCENT)),
        Column("PREDICTION", lambda r: text(number(r.prediction))),
        Column("SCORE", lambda r: text(number(r.probabilities[-1]) if r.probabilities else ""), right=True, priority=2),
        Column("LABEL", lambda r: _label(r)),
        Column("MS", lambda r: text(f"{r.latency_ms:.2f}" if r.latency_ms else ""), right=True, priority=3),
        Column("KEY", lambda r: text(r.key, MUTED), priority=2, least=8),
        Column("", lambda r: text("probe" if r.probe else " ", MUTED), priority=4),
    )

    def __init__(self, deployment: str) -> None:
        self._deployment = deployment

    @property
    def crumb(self) -> str:
        return "predictions"

    def read(self, workspace: Workspace, limit: int) -> Sequence[Any]:
        from quarterdeck.traffic.queries import recent

        return recent(workspace, self._deployment, min(limit, 500))

    def key(self, row: Any) -> str:
        return f"prediction/{row.id}"

    def dim(self, row: Any) -> bool:
        return bool(row.probe)

    def enter(self, row: Any) -> TextPage:
        return TextPage(str(row.key or row.id), lambda workspace: self.detail(workspace, row))

    def rollback_target(self, workspace: Workspace, row: Any) -> RollbackTarget:
        return RollbackTarget(self._deployment)

    def detail(self, workspace: Workspace, row: Any) -> Text:
        from quarterdeck.deployments.queries import deployments
        from quarterdeck.registry.queries import version

        model = next(d.model for d in deployments(workspace) if d.name == self._deployment)
        signature = version(workspace, model, row.version).signature
        names = [feature["name"] for feature in signature["features"]]
        page = Page().title(number(row.prediction), f"{model}@{row.version}, revision {row.revision}")
        page.field("label", number(row.label) or "not known yet").field("id", row.id).field("key", row.key)
        page.field("received", moment(row.received_at)).field("event time", day(row.event_time))
        if row.probabilities:
            page.heading("Probabilities").fields(dict(zip(signature["classes"] or (), row.probabilities, strict=False)))
        page.heading("Inputs").fields(dict(zip(names, row.inputs, strict=False)))
        return page.text


def _label(row: Any) -> Text:
    if row.label is None:
        return text(None)
    return text(number(row.label), GOOD if row.label == row.prediction else BAD)


def _ms(value: float | None) -> str:
    return "" if value is None else f"{value:.1f} ms"


def _latency(traffic: TrafficRow) -> str:
    parts = [("p50", traffic.p50_ms), ("p95", traffic.p95_ms), ("p99", traffic.p99_ms)]
    return "  ".join(f"{name} {_ms(value)}" for name, value in parts if value is not None)
