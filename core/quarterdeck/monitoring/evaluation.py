"""One evaluation of a monitor: judge every window that can be judged by now, oldest first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from sqlmodel import Session, col, select

from quarterdeck.database import LAST_WRITE_PATIENCE_SECONDS
from quarterdeck.errors import NotFoundError
from quarterdeck.monitoring.alerting import resolve_for_other_versions, update_alerts
from quarterdeck.monitoring.inputs import Reference, judge_inputs, load_reference, window_columns
from quarterdeck.monitoring.monitor import Monitor, Span, find_monitor
from quarterdeck.monitoring.quality import judge_quality
from quarterdeck.monitoring.result import Aspect, Result, Verdict
from quarterdeck.monitoring.serving import Serving, what_serves
from quarterdeck.registry.version import ModelVersion, find_version
from quarterdeck.traffic.window import WindowRows, first_event, label_coverage, read_window, watermark
from quarterdeck.workspace import Workspace

Fence = Callable[[Session], None]

# Versions that served earlier are judged on the same window too, so that a plan can say whether going back would
# help; more than this many would cost more than they tell.
COMPARED_VERSIONS = 2
# Labels that come later than this many windows no longer change a judgement.
QUALITY_WINDOWS = 60


def no_fence(tx: Session) -> None:
    """For callers that are not attempts of a job."""


@dataclass(slots=True)
class Evaluation:
    """What one evaluation did: the results it wrote, in order."""

    monitor: str
    results: list[Result] = field(default_factory=list)
    nothing_deployed: bool = False
    """There is nothing to judge yet: nothing was ever deployed under the name that the monitor watches."""


def evaluate(workspace: Workspace, name: str, *, fence: Fence = no_fence) -> Evaluation:
    """Judge all closed windows of a monitor that were not judged yet: inputs, then quality where labels arrived.

    Each window is one transaction: its results, and what they do to the alerts. Runs in a job process; repeating it
    judges nothing twice.

    Raises:
        NotFoundError: there is no such monitor.
    """
    monitor = find_monitor(workspace, name)
    with workspace.state.read() as tx:
        serving = what_serves(tx, monitor.settings.deployment)
    if serving is None:
        return Evaluation(monitor.name, nothing_deployed=True)
    pass_ = _Pass(workspace, monitor, serving, fence)
    pass_.inputs()
    pass_.quality()
    return pass_.done


class _Pass:
    """One evaluation under way: references are loaded once for all of its windows."""

    def __init__(self, workspace: Workspace, monitor: Monitor, serving: Serving, fence: Fence) -> None:
        self.workspace = workspace
        self.monitor = monitor
        self.serving = serving
        self.deployment = monitor.settings.deployment
        self.fence = fence
        self.done = Evaluation(monitor.name)
        self._references: dict[int, Reference | None] = {}

    def inputs(self) -> None:
        newest = self._watermark()
        start = self._next_start()
        while newest is not None:
            first = first_event(self.workspace, self.deployment, since=start)
            if first is None:
                return
            window = self.monitor.window_at(first)
            if not self.monitor.is_closed(window, newest):
                return
            self._judge_inputs(window)
            start = window.end

    def _watermark(self) -> datetime | None:
        # A clock that runs ahead somewhere must not close windows that are still filling.
        newest = watermark(self.workspace, self.deployment)
        return None if newest is None else min(newest, self.workspace.now())

    def _next_start(self) -> datetime | None:
        with self.workspace.state.read() as tx:
            query = select(Result.window_end).where(
                Result.monitor == self.monitor.name, Result.aspect == Aspect.INPUTS, col(Result.served).is_(True)
            )
            return tx.exec(query.order_by(col(Result.window_end).desc()).limit(1)).first()

    def _judge_inputs(self, window: Span) -> None:
        rows = read_window(self.workspace, self.deployment, window.start, window.end)
        served = [version for version, _ in Counter(rows.versions).most_common()]
        results = [self._inputs_of(version, window, rows.of_version(version), served=True) for version in served]
        results += [
            self._inputs_of(version, window, rows, served=False) for version in self._earlier_versions(set(served))
        ]
        with self.workspace.state.write(f"monitor {self.monitor.name}", patience=LAST_WRITE_PATIENCE_SECONDS) as tx:
            self.fence(tx)
            if self._is_judged(tx, results[0]):
                return
            tx.add_all(results)
            tx.flush()
            resolve_for_other_versions(tx, self.workspace, self.monitor, self.serving.version)
            # The version with the most rows speaks for the window: alerts on inputs are about what comes in.
            update_alerts(tx, self.workspace, self.monitor, results[0])
        self.done.results += results

    def _is_judged(self, tx: Session, result: Result) -> bool:
        """Whether somebody else judged that window meanwhile."""
        query = select(Result.id).where(
            Result.monitor == result.monitor,
            Result.window_start == result.window_start,
            Result.aspect == result.aspect,
            Result.version == result.version,
        )
        return tx.exec(query).first() is not None

    def _inputs_of(self, version: int, window: Span, rows: WindowRows, *, served: bool) -> Result:
        reference = self._reference(version)
        scores = []
        if reference is not None:
            scores = judge_inputs(self.monitor, reference, window_columns(reference.signature, rows.inputs))
        verdicts = {row["verdict"] for row in scores} | {row["missing_verdict"] for row in scores}
        if "drifted" in verdicts:
            verdict = Verdict.FOUND
        else:
            verdict = Verdict.INCONCLUSIVE if "inconclusive" in verdicts or not scores else Verdict.QUIET
        return Result(
            monitor=self.monitor.name,
            deployment=self.deployment,
            aspect=Aspect.INPUTS,
            version=version,
            served=served,
            window_start=window.start,
            window_end=window.end,
            n_reference=max((c.rows for c in reference.prepared), default=0) if reference else 0,
            n_current=rows.n,
            verdict=verdict,
            scores=scores,
            evaluated_at=self.workspace.now(),
        )

    def _reference(self, version: int) -> Reference | None:
        if version not in self._references:
            known = self._version(version)
            self._references[version] = None if known is None else self._load(known)
        return self._references[version]

    def _load(self, version: ModelVersion) -> Reference | None:
        monitor = self.monitor.settings
        omitted = self.workspace.settings.deployment(monitor.deployment).omit
        return load_reference(self.workspace, version, monitor.columns, omitted=omitted)

    def _version(self, number: int) -> ModelVersion | None:
        """None for a version that an outside system named and that is not registered here."""
        with self.workspace.state.read() as tx:
            try:
                return find_version(tx, self.serving.model, number)
            except NotFoundError:
                return None

    def _earlier_versions(self, served: set[int]) -> list[int]:
        with self.workspace.state.read() as tx:
            query = select(Result.version).where(Result.monitor == self.monitor.name, col(Result.served).is_(True))
            known = set(tx.exec(query.distinct())) | {self.serving.version}
        return sorted(known - served, reverse=True)[:COMPARED_VERSIONS]

    def quality(self) -> None:
        for result in self._windows_without_quality():
            n, labelled = label_coverage(
                self.workspace, self.deployment, result.window_start, result.window_end, version=result.version
            )
            if n and labelled / n >= self.monitor.settings.label_coverage:
                self._judge_quality(result)

    def _windows_without_quality(self) -> list[Result]:
        with self.workspace.state.read() as tx:
            mine = select(Result).where(Result.monitor == self.monitor.name, col(Result.served).is_(True))
            newest = col(Result.window_end).desc()
            inputs = tx.exec(mine.where(Result.aspect == Aspect.INPUTS).order_by(newest).limit(QUALITY_WINDOWS)).all()
            judged = tx.exec(mine.where(Result.aspect == Aspect.QUALITY).order_by(newest).limit(QUALITY_WINDOWS)).all()
        known = {(row.window_start, row.version) for row in judged}
        return [row for row in reversed(inputs) if (row.window_start, row.version) not in known]

    def _judge_quality(self, inputs: Result) -> None:
        rows = read_window(
            self.workspace, self.deployment, inputs.window_start, inputs.window_end, version=inputs.version
        )
        version = self._version(inputs.version)
        if version is None:
            return
        row = judge_quality(self.monitor, version, rows)
        verdicts = {"worse": Verdict.FOUND, "quiet": Verdict.QUIET, "inconclusive": Verdict.INCONCLUSIVE}
        result = Result(
            monitor=self.monitor.name,
            deployment=self.deployment,
            aspect=Aspect.QUALITY,
            version=inputs.version,
            served=True,
            window_start=inputs.window_start,
            window_end=inputs.window_end,
            n_reference=0,
            n_current=rows.n,
            n_labelled=rows.labelled,
            verdict=verdicts[row["verdict"]],
            scores=[row],
            evaluated_at=self.workspace.now(),
        )
        with self.workspace.state.write(f"monitor {self.monitor.name}", patience=LAST_WRITE_PATIENCE_SECONDS) as tx:
            self.fence(tx)
            if self._is_judged(tx, result):
                return
            tx.add(result)
            tx.flush()
            if inputs.version == self.serving.version:
                update_alerts(tx, self.workspace, self.monitor, result)
        self.done.results.append(result)
