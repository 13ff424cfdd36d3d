"""Would going back help? Judged from what was measured: open alerts, windows against both versions, replays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from quarterdeck.monitoring.alert import OF_INPUTS, AlertKind, Severity
from quarterdeck.monitoring.queries import AlertRow, ResultRow
from quarterdeck.monitoring.result import moved
from quarterdeck.settings.monitoring import MonitorSettings
from quarterdeck.workspace import Workspace

Answer = Literal["yes", "no", "unknown"]


@dataclass(frozen=True, slots=True)
class Outlook:
    """The first line of a plan."""

    answer: Answer
    because: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known about going from the serving version to the target."""

    serving: int
    target: int
    alerts: Sequence[AlertRow]
    """Open or acknowledged ones of the deployment, the one that the plan is about first."""
    serving_window: ResultRow | None
    """The newest window of inputs, judged against the serving version."""
    target_window: ResultRow | None
    """The same against the target; None also where it is of an older window, and says nothing about now."""
    target_findings: frozenset[str]
    """Columns of weight for the target that are found against it in that window."""
    target_found: frozenset[str]
    """All columns that are found against it."""
    replay: dict[str, Any] | None


def judge(evidence: Evidence) -> Outlook:
    """Answer whether going to the target would help; *unknown* whenever the measurements do not settle it."""
    inputs = _worst(evidence.alerts, OF_INPUTS)
    quality = _worst(evidence.alerts, (AlertKind.QUALITY,)) or _worst(evidence.alerts, (AlertKind.ESTIMATE,))
    primary = next((alert for alert in (*evidence.alerts[:1], inputs, quality) if alert is not None), None)
    for outlook in (
        _same_input(evidence, inputs, primary),
        _replayed(evidence),
        _worse_predictions(evidence, quality),
        _quiet_there(evidence, inputs),
    ):
        if outlook is not None:
            return outlook
    return Outlook("unknown", _why_unknown(evidence, primary))


def findings(workspace: Workspace, result: ResultRow | None, *, of_weight: bool) -> frozenset[str]:
    """The columns that a window found; `of_weight` leaves out those that matter too little to warn anybody."""
    if result is None:
        return frozenset()
    floor = workspace.settings.monitors.get(result.monitor, _DEFAULTS).warning if of_weight else 0.0
    return frozenset(str(score["column"]) for score in result.scores if moved(score, floor))


_DEFAULTS = MonitorSettings(deployment="any")


def place(alert: AlertRow) -> str:
    """What an alert on inputs is about: `amount in channel=app`."""
    columns = ", ".join(alert.columns)
    return f"{columns} in {alert.slice}" if alert.slice else columns


def _worst(alerts: Sequence[AlertRow], kinds: Sequence[AlertKind]) -> AlertRow | None:
    """The worst alert of those kinds that somebody was told of: the first, as they come ordered."""
    told = [alert for alert in alerts if alert.kind in kinds and alert.severity != Severity.INFORMATIONAL]
    return told[0] if told else None


def _same_input(evidence: Evidence, inputs: AlertRow | None, primary: AlertRow | None) -> Outlook | None:
    # An alert of no consequence is judged too when it is the one that the plan was opened for.
    alert = inputs or (primary if primary is not None and primary.kind in OF_INPUTS else None)
    if alert is None or not set(alert.columns) & evidence.target_found:
        return None
    shared = [column for column in alert.columns if column in evidence.target_found]
    where = ", ".join(shared) + (f" in {alert.slice}" if alert.slice else "")
    verb = "is" if len(shared) == 1 else "are"
    return Outlook(
        "no", f"the earlier version sees the same input: {where} {verb} as foreign to version {evidence.target}"
    )


def _replayed(evidence: Evidence) -> Outlook | None:
    replay = evidence.replay
    if replay is None or replay.get("low") is None or replay.get("high") is None:
        return None
    sign = 1 if replay["greater_is_better"] else -1
    gain_low, gain_high = sorted((sign * replay["low"], sign * replay["high"]))
    figures = (
        f"on {replay['labelled']:,} labelled predictions version {evidence.target} would have reached "
        f"{replay['metric']} {replay['other']:.3f} against {replay['serving']:.3f} "
        f"(difference {replay['low']:+.3f} to {replay['high']:+.3f})"
    )
    if gain_low > 0:
        return Outlook("yes", figures)
    return Outlook("no", figures) if gain_high < 0 else None


def _worse_predictions(evidence: Evidence, quality: AlertRow | None) -> Outlook | None:
    if quality is None or quality.version != evidence.serving:
        return None
    if evidence.target_window is None or evidence.target_findings or evidence.target_window.verdict == "inconclusive":
        return None
    verb = "predicts" if quality.kind == AlertKind.QUALITY else "is estimated to predict"
    return Outlook(
        "yes",
        f"version {evidence.serving} {verb} worse than on its holdout ({quality.summary.rstrip('.')}), "
        f"and what comes in is familiar to version {evidence.target}",
    )


def _quiet_there(evidence: Evidence, inputs: AlertRow | None) -> Outlook | None:
    if evidence.target_window is None or evidence.target_window.verdict != "quiet":
        return None
    if evidence.serving_window is None or evidence.serving_window.verdict != "found" or inputs is None:
        return None
    verb = "is" if len(inputs.columns) == 1 else "are"
    return Outlook(
        "yes",
        f"{place(inputs)} {verb} foreign to version {evidence.serving} and familiar to version {evidence.target}",
    )


def _why_unknown(evidence: Evidence, primary: AlertRow | None) -> str:
    if primary is None:
        return f"no alert is open: nothing measured speaks against version {evidence.serving}"
    if evidence.target_window is None:
        return f"the newest window was not judged against version {evidence.target} yet"
    if evidence.target_window.verdict == "inconclusive":
        return f"the newest window has too few rows ({evidence.target_window.n_current:,}) to judge by"
    if evidence.replay is not None and evidence.replay.get("error"):
        return f"the replay could not compare them: {str(evidence.replay['error']).rstrip('.')}"
    if evidence.replay is not None and evidence.replay.get("low") is not None:
        return f"a replay of {evidence.replay['labelled']:,} labelled predictions shows no clear difference"
    if evidence.target_findings:
        columns = ", ".join(sorted(evidence.target_findings))
        verb = "is" if len(evidence.target_findings) == 1 else "are"
        return f"{columns} {verb} foreign to version {evidence.target}, which the alert does not explain"
    return f"nothing measured tells version {evidence.target} from version {evidence.serving} here: replay traffic"
