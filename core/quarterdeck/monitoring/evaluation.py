"""One evaluation of a monitor: judge every window that can be judged by now, oldest first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any

from sqlmodel import Session, col, select

from quarterdeck.database import LAST_WRITE_PATIENCE_SECONDS
from quarterdeck.errors import NotFoundError
from quarterdeck.monitoring.alerting import resolve_for_other_versions, update_alerts
from quarterdeck.monitoring.estimates import Expectation
from quarterdeck.monitoring.inputs import Reference, judge_inputs, window_columns
from quarterdeck.monitoring.monitor import Monitor, Span, find_monitor
from quarterdeck.monitoring.quality import judge_quality
from quarterdeck.monitoring.reading import load_window_reference, read_span
from quarterdeck.monitoring.result import Aspect, Result, Verdict
from quarterdeck.monitoring.serving import Serving, what_serves
from quarterdeck.registry.version import ModelVersion, find_version
from quarterdeck.traffic.prediction import NO_VERSION
from quarterdeck.traffic.window import WindowRows, first_events, label_coverage, watermark
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
        self._versions: dict[int, ModelVersion | None] = {}
        self._references: dict[tuple[int, Span | None], Reference | None] = {}
        self._expectations: dict[int, Expectation | None] = {}

    def inputs(self) -> None:
        newest = self._watermark()
        window = self._newest_judged()
        events = partial(first_events, self.workspace, self.deployment)
        while newest is not None:
            window = self.monitor.next_window(window, events)
            if window is None or not self.monitor.is_closed(window, newest):
                return
            self._judge_inputs(window)

    def _watermark(self) -> datetime | None:
        # A clock that runs ahead somewhere must not close windows that are still filling.
        newest = watermark(self.workspace, self.deployment)
        return None if newest is None else min(newest, self.workspace.now())

    def _newest_judged(self) -> Span | None:
        with self.workspace.state.read() as tx:
            query = select(Result.window_start, Result.window_end).where(
                Result.monitor == self.monitor.name, Result.aspect == Aspect.INPUTS, col(Result.served).is_(True)
            )
            found = tx.exec(query.order_by(col(Result.window_end).desc()).limit(1)).first()
        return None if found is None else Span(*found)

    def _read(self, span: Span, *, version: int | None = None) -> WindowRows:
        """The predictions of a span that the monitor watches."""
        return read_span(self.workspace, self.monitor, span, version=version)

    def _judge_inputs(self, window: Span) -> None:
        rows = self._read(window)
        if not rows.n:
            return  # There is traffic, and all of it in hours that are not watched.
        # What a constant or a rule answered was sent to the version that serves, and tells of what comes in.
        answered = rows
        versions = [self.serving.version if version == NO_VERSION else version for version in rows.versions]
        rows = replace(rows, versions=versions)
        served = [version for version, _ in Counter(rows.versions).most_common()]
        results = [self._inputs_of(version, window, rows.of_version(version), served=True) for version in served]
        results += [
            self._inputs_of(version, window, rows, served=False) for version in self._earlier_versions(set(served))
        ]
        answers = [one for version in served for one in self._answers_of(version, window, answered.of_version(version))]
        with self.workspace.state.write(f"monitor {self.monitor.name}", patience=LAST_WRITE_PATIENCE_SECONDS) as tx:
            self.fence(tx)
            if self._is_judged(tx, results[0]):
                return
            tx.add_all([*results, *answers])
            tx.flush()
            resolve_for_other_versions(tx, self.workspace, self.monitor, self.serving.version)
            # The version with the most rows speaks for the window: alerts on inputs are about what comes in.
            update_alerts(tx, self.workspace, self.monitor, results[0])
            for result in answers:
                if result.version == self.serving.version:
                    update_alerts(tx, self.workspace, self.monitor, result)
        self.done.results += [*results, *answers]

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
        reference = self._reference(version, window)
        scores = []
        if reference is not None:
            scores = judge_inputs(self.monitor, reference, window_columns(reference.signature, rows.inputs))
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
            verdict=_of_columns(scores),
            scores=scores,
            evaluated_at=self.workspace.now(),
        )

    def _answers_of(self, version: int, window: Span, rows: WindowRows) -> list[Result]:
        """What can be said of a version's answers before their labels come."""
        expectation = self._expectation(version)
        if expectation is None:
            return []
        estimate = expectation.quality(self.monitor, rows)
        moved = expectation.answers(self.monitor, rows)
        for row in moved:
            # What an estimate knows of the consequence is worth more than the distance.
            row["severity"] = row["effect"] if estimate is None else max(estimate["loss"], 0.0)
        common: dict[str, Any] = {
            "monitor": self.monitor.name,
            "deployment": self.deployment,
            "version": version,
            "served": True,
            "window_start": window.start,
            "window_end": window.end,
            "n_reference": expectation.rows,
            "n_current": rows.n,
            "evaluated_at": self.workspace.now(),
        }
        found = []
        if estimate is not None:
            found.append(
                Result(aspect=Aspect.ESTIMATE, verdict=_OF_METRIC[estimate["verdict"]], scores=[estimate], **common)
            )
        if moved:
            found.append(Result(aspect=Aspect.PREDICTIONS, verdict=_of_columns(moved), scores=moved, **common))
        return found

    def _expectation(self, version: int) -> Expectation | None:
        if version not in self._expectations:
            known = self._version(version)
            expectation = None if known is None else Expectation(self.workspace, self.monitor, known)
            self._expectations[version] = expectation
        return self._expectations[version]

    def _reference(self, version: int, window: Span) -> Reference | None:
        # Of past weeks it is another one for each window; else it is the same for all.
        place = (version, window if self.monitor.settings.reference == "calendar" else None)
        if place not in self._references:
            known = self._version(version)
            self._references = {kept: found for kept, found in self._references.items() if kept[1] in (None, window)}
            self._references[place] = (
                None if known is None else load_window_reference(self.workspace, self.monitor, known, window)
            )
        return self._references[place]

    def _version(self, number: int) -> ModelVersion | None:
        """None for a version that an outside system named and that is not registered here."""
        if number not in self._versions:
            with self.workspace.state.read() as tx:
                try:
                    self._versions[number] = find_version(tx, self.serving.model, number)
                except NotFoundError:
                    self._versions[number] = None
        return self._versions[number]

    def _earlier_versions(self, served: set[int]) -> list[int]:
        with self.workspace.state.read() as tx:
            query = select(Result.version).where(Result.monitor == self.monitor.name, col(Result.served).is_(True))
            known = set(tx.exec(query.distinct())) | {self.serving.version}
        return sorted(known - served, reverse=True)[:COMPARED_VERSIONS]

    def quality(self) -> None:
        for result in self._windows_without_quality():
            if self._coverage(result) >= self.monitor.settings.label_coverage:
                self._judge_quality(result)

    def _coverage(self, result: Result) -> float:
        """The share of a window's predictions that have a label."""
        if self.monitor.settings.hours is not None:
            rows = self._read(Span(result.window_start, result.window_end), version=result.version)
            return rows.labelled / max(rows.n, 1)
        n, labelled = label_coverage(
            self.workspace, self.deployment, result.window_start, result.window_end, version=result.version
        )
        return labelled / max(n, 1)

    def _windows_without_quality(self) -> list[Result]:
        with self.workspace.state.read() as tx:
            mine = select(Result).where(Result.monitor == self.monitor.name, col(Result.served).is_(True))
            newest = col(Result.window_end).desc()
            inputs = tx.exec(mine.where(Result.aspect == Aspect.INPUTS).order_by(newest).limit(QUALITY_WINDOWS)).all()
            judged = tx.exec(mine.where(Result.aspect == Aspect.QUALITY).order_by(newest).limit(QUALITY_WINDOWS)).all()
        known = {(row.window_start, row.version) for row in judged}
        return [row for row in reversed(inputs) if (row.window_start, row.version) not in known]

    def _judge_quality(self, inputs: Result) -> None:
        rows = self._read(Span(inputs.window_start, inputs.window_end), version=inputs.version)
        version = self._version(inputs.version)
        if version is None:
            return
        row = judge_quality(self.monitor, version, rows)
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
            verdict=_OF_METRIC[row["verdict"]],
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


_OF_METRIC = {"worse": Verdict.FOUND, "quiet": Verdict.QUIET, "inconclusive": Verdict.INCONCLUSIVE}


def _of_columns(scores: list[dict[str, Any]]) -> Verdict:
    """What the columns of a window say together."""
    verdicts = {row["verdict"] for row in scores} | {row["missing_verdict"] for row in scores}
    if "drifted" in verdicts:
        return Verdict.FOUND
    return Verdict.INCONCLUSIVE if "inconclusive" in verdicts or not scores else Verdict.QUIET
