"""What happened in the demo, told from the events; and whether every part of it did."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from quarterdeck import events
from quarterdeck.deployments.queries import operations
from quarterdeck.monitoring.queries import alerts
from quarterdeck.registry.queries import models
from quarterdeck.workspace import Workspace
from quarterdeck_console.demo.world import Customers

Line = str | None


def line_of(event: events.Event) -> Line:
    """One line for people about an event; None for those that do not belong to the story."""
    data, subject = event.data, event.subject
    if event.kind == "data.added":
        return f"{subject}: {data['rows']:,} labelled payments exported"
    if event.kind == "run.queued":
        return f"{subject}: training is queued"
    if event.kind == "version.registered":
        return f"{subject}: registered, gate {data['gate']}, roc_auc {data['metrics'].get('roc_auc', float('nan')):.3f}"
    if event.kind == "run.held":
        return f"{subject}: a gate refused the version"
    if event.kind == "run.failed":
        return f"{subject}: failed: {data.get('error')}"
    if event.kind in ("deployment.deployed", "deployment.rolled_back", "deployment.undone"):
        verb = event.kind.partition(".")[2].replace("_", " ")
        return f"{subject}: {verb} by {event.actor}: version {data['version']} ({data['reason']})"
    if event.kind == "deployment.verified":
        return f"{subject}: version {data['version']} verified by traffic after {data['milliseconds']:.0f} ms"
    if event.kind in ("alert.opened", "alert.escalated", "alert.resolved"):
        what = event.kind.partition(".")[2]
        return f"{subject}: {what}, {data['severity']}: {data['summary']}"
    if event.kind == "alert.reported":
        return f"{subject}: a full drift report hangs on it"
    return None


@dataclass(slots=True)
class Narrator:
    """Tells each event once."""

    workspace: Workspace
    _last: int = 0

    def news(self) -> list[tuple[events.Event, Line]]:
        """The events since the last call, each with its line."""
        with self.workspace.state.read() as tx:
            found = events.after(tx, self._last)
        if found:
            self._last = found[-1].id or self._last
        return [(event, line_of(event)) for event in found]


@dataclass(slots=True)
class Part:
    """Something that has to happen in the story."""

    what: str
    happened: bool


@dataclass(slots=True)
class Outcome:
    """The story's end, as the one JSON object that the demo prints last."""

    figures: dict[str, Any]
    parts: list[Part] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        return all(part.happened for part in self.parts)


def outcome_of(workspace: Workspace, customers: Customers, plan: tuple[str, str] | None, seconds: float) -> Outcome:
    """Read the end of the story from the workspace.

    `plan` is what the plan of the first paging alert said to "would it help?", and why.
    """
    with workspace.state.read() as tx:
        count = events.verify(tx)
    found = sorted(alerts(workspace, all=True), key=lambda alert: alert.id)
    rollback = next((row for row in operations(workspace) if row.kind == "rollback" and row.state == "verified"), None)
    versions = sum(model.versions for model in models(workspace))
    drift = [alert for alert in found if alert.kind == "drift" and alert.severity == "page"]
    quality = [alert for alert in found if alert.kind == "quality" and alert.severity == "page"]
    figures = {
        "versions": versions,
        "predictions": customers.answered,
        "alerts": [
            {"columns": list(a.columns), "slice": a.slice, "kind": a.kind, "severity": a.severity} for a in found
        ],
        "rollback": {
            "verified_ms": rollback.milliseconds if rollback else None,
            "failed_requests": customers.failed,
            "misrouted": customers.misrouted,
        },
        "events": count,
        "chain_ok": True,
        "seconds": round(seconds, 1),
    }
    parts = [
        Part("two versions were trained", versions == 2),
        Part("a shift without consequence was informational", any(a.severity == "informational" for a in found)),
        Part("a page named a column and its slice", any(a.columns and a.slice for a in drift)),
        Part("its plan said that a rollback would not help", plan is not None and plan[0] == "no"),
        Part("a full drift report hangs on it", any(a.report for a in drift)),
        Part("a page told of worse predictions", bool(quality)),
        Part(
            "a page named the slice in which the fraud itself changed", any(a.slice for a in quality if a.version == 1)
        ),
        Part("the rollback was verified by traffic", rollback is not None),
        Part("no request failed", customers.failed == 0),
        Part("no request was misrouted", customers.misrouted == 0),
    ]
    return Outcome(figures, parts)
