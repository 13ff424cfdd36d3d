"""One evaluation of a monitor: judge every window that can be judged by now, oldest first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from sqlmodel import Session, col, select

from quarterdeck.database import LAST_WRITE_PATIENCE_SECONDS
from quarterdeck.errors import ArtifactError
from quarterdeck.monitoring.alerting import resolve_for_other_versions, update_alerts
from quarterdeck.monitoring.arrivals import judge_silence
from quarterdeck.monitoring.fitting import check_settings
from quarterdeck.monitoring.judging import Judge
from quarterdeck.monitoring.monitor import Monitor, Span, find_monitor
from quarterdeck.monitoring.result import Aspect, Result
from quarterdeck.monitoring.serving import Serving, what_serves
from quarterdeck.monitoring.skew import is_compared, newest_rows, note_compared
from quarterdeck.statistics.threads import one_thread
from quarterdeck.traffic.prediction import NO_VERSION
from quarterdeck.traffic.window import WindowRows, first_events, label_coverage
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
    open_window: Span | None = None
    """The next one to judge, which is not complete yet; None without traffic for it, or where its end is not known."""
    troubles: tuple[str, ...] = ()
    """What could not be judged, and why, as sentences: a file is missing or damaged. All else was judged."""

    def raise_for_troubles(self) -> None:
        """Raises ArtifactError: something could not be judged."""
        if self.troubles:
            raise ArtifactError(f"Monitor {self.monitor} cannot judge everything. {' '.join(self.troubles)}")


def evaluate(workspace: Workspace, name: str, *, fence: Fence = no_fence) -> Evaluation:
    """Judge all closed windows of a monitor that were not judged yet: inputs, then quality where labels arrived.

    Each window is one transaction: its results, and what they do to the alerts. Runs in a job process; repeating it
    judges nothing twice.

    Raises:
        NotFoundError: there is no such monitor.
        SettingsError: what it is told to look at does not fit the version that serves, whether or not there is a
            window to judge.
    """
    monitor = find_monitor(workspace, name)
    with workspace.state.read() as tx:
        serving = what_serves(tx, monitor.settings.deployment)
    if serving is None:
        return Evaluation(monitor.name, nothing_deployed=True)
    pass_ = _Pass(workspace, monitor, serving, fence)
    pass_.check()
    with one_thread():
        for judge in (pass_.inputs, pass_.quality, pass_.silence, pass_.skew):
            pass_.attempt(judge)
    return pass_.done


class _Pass:
    """One evaluation under way."""

    def __init__(self, workspace: Workspace, monitor: Monitor, serving: Serving, fence: Fence) -> None:
        self.workspace = workspace
        self.monitor = monitor
        self.serving = serving
        self.deployment = monitor.settings.deployment
        self.judge = Judge(workspace, monitor, serving)
        self.fence = fence
        self.done = Evaluation(monitor.name)

    def check(self) -> None:
        """Whether the settings fit the version that serves; one that is not registered here says nothing of itself."""
        version = self.judge.version(self.serving.version)
        if version is not None:
            check_settings(self.workspace, self.monitor, version)

    def attempt(self, judge: Callable[[], None]) -> None:
        """Judge what can be judged, and note what a file that is missing or damaged keeps from it."""
        try:
            judge()
        except ArtifactError as error:
            self.judge.troubles.append(str(error))
        self.done.troubles = tuple(dict.fromkeys(self.judge.troubles))

    def inputs(self) -> None:
        newest = self.judge.watermark()
        window = self._newest_judged()
        events = partial(first_events, self.workspace, self.deployment)
        while newest is not None:
            window = self.monitor.next_window(window, events)
            if window is None or not self.monitor.is_closed(window, newest):
                self.done.open_window = window
                return
            self._judge_inputs(window, newest)

    def _newest_judged(self) -> Span | None:
        with self.workspace.state.read() as tx:
            query = select(Result.window_start, Result.window_end).where(
                Result.monitor == self.monitor.name, Result.aspect == Aspect.INPUTS, col(Result.served).is_(True)
            )
            found = tx.exec(query.order_by(col(Result.window_end).desc()).limit(1)).first()
        return None if found is None else Span(*found)

    def _judge_inputs(self, window: Span, newest: datetime) -> None:
        rows = self.judge.read(window)
        if not rows.n:
            return  # There is traffic, and all of it in hours that are not watched.
        # What a constant or a rule answered was sent to the version that serves, and tells of what comes in.
        answered, serving = rows, self.serving.version
        rows = rows.taken_as(lambda version: serving if version == NO_VERSION else version)
        served = [version for version, _ in rows.by_version.most_common()]
        judge, beside = self.judge, self._earlier_versions(set(served))
        # The version with the most rows speaks for the window: alerts on inputs are about what comes in.
        results = [judge.inputs_of(version, window, rows.of_version(version), served=True) for version in served]
        speaking = [results[0], *judge.across_of(window, rows.of_version(served[0]), results[0])]
        results += speaking[1:] + [self._beside(version, window, rows) for version in beside]
        for version in served:
            answers = judge.answers_of(version, window, answered.of_version(version))
            results += answers
            speaking += answers if version == self.serving.version else []
        traffic = judge.traffic_of(window, rows.n, newest)
        self._store([*results, traffic], [*speaking, traffic])

    def _beside(self, version: int, window: Span, rows: WindowRows) -> Result:
        return self.judge.inputs_of(version, window, rows.taken_as(lambda _: version), served=False)

    def _store(self, results: list[Result], speaking: list[Result]) -> None:
        """Write down what was judged together, and what those that speak for the window do to the alerts."""
        with self.workspace.state.write(f"monitor {self.monitor.name}", patience=LAST_WRITE_PATIENCE_SECONDS) as tx:
            self.fence(tx)
            if self._is_judged(tx, results[0]):
                return
            tx.add_all(results)
            tx.flush()
            resolve_for_other_versions(tx, self.workspace, self.monitor, self.serving.version)
            for result in speaking:
                update_alerts(tx, self.workspace, self.monitor, result)
        self.done.results += results

    def silence(self) -> None:
        """Where traffic came as it happened, and comes no more, that is one long window without a row."""
        newest = self.judge.watermark()
        with self.workspace.state.read() as tx:
            mine = select(Result).where(Result.monitor == self.monitor.name, Result.aspect == Aspect.INPUTS)
            judged = tx.exec(mine.order_by(col(Result.window_end).desc()).limit(1)).first()
        if newest is None or judged is None:
            return
        row = judge_silence(self.monitor, newest, self.workspace.now(), judged)
        if row is None:
            return
        result = self.judge.result_of_traffic(Span(newest, self.workspace.now()), 0, [row])
        self._store([result], [result])

    def skew(self) -> None:
        """Compare windows with the data for training: all that wait where that is new, else those just judged."""
        settings = self.monitor.settings.skew
        if settings is None:
            return
        stored = newest_rows(self.workspace, self.monitor, settings)
        with self.workspace.state.read() as tx:
            known = is_compared(tx, self.monitor, stored)
            waiting = self._windows_without(tx, Aspect.SKEW)
        just = {result.window_start for result in self.done.results}
        compared = [self.judge.skew_of(one, stored) for one in waiting if not known or one.window_start in just]
        for result in compared:
            if result is not None:
                self._store([result], [result])
        if not known:
            with self.workspace.state.write(f"monitor {self.monitor.name}", patience=LAST_WRITE_PATIENCE_SECONDS) as tx:
                self.fence(tx)
                note_compared(tx, self.workspace, self.monitor, stored, sum(one is not None for one in compared))

    def _windows_without(self, tx: Session, aspect: Aspect) -> list[Result]:
        """The newest windows, oldest first, of which that aspect was not judged, by the version with most rows."""
        mine = select(Result).where(Result.monitor == self.monitor.name, col(Result.served).is_(True))
        newest = col(Result.window_end).desc()
        inputs = tx.exec(mine.where(Result.aspect == Aspect.INPUTS).order_by(newest).limit(QUALITY_WINDOWS)).all()
        judged = tx.exec(mine.where(Result.aspect == aspect).order_by(newest).limit(QUALITY_WINDOWS)).all()
        done = {row.window_start for row in judged}
        windows: dict[datetime, Result] = {}
        for row in sorted(inputs, key=lambda row: (row.window_start, -row.n_current)):
            if row.window_start not in done:
                windows.setdefault(row.window_start, row)
        return list(windows.values())

    def _is_judged(self, tx: Session, result: Result) -> bool:
        """Whether somebody else judged that window meanwhile."""
        query = select(Result.id).where(
            Result.monitor == result.monitor,
            Result.window_start == result.window_start,
            Result.aspect == result.aspect,
            Result.version == result.version,
        )
        return tx.exec(query).first() is not None

    def _earlier_versions(self, served: set[int]) -> list[int]:
        with self.workspace.state.read() as tx:
            query = select(Result.version).where(Result.monitor == self.monitor.name, col(Result.served).is_(True))
            known = set(tx.exec(query.distinct())) | {self.serving.version}
        return sorted(known - served, reverse=True)[:COMPARED_VERSIONS]

    def quality(self) -> None:
        for result in self._windows_without_quality():
            if self._coverage(result) < self.monitor.settings.label_coverage:
                continue
            judged = self.judge.quality_of(result)
            if judged:
                self._store(judged, judged if result.version == self.serving.version else [])

    def _coverage(self, result: Result) -> float:
        """The share of a window's predictions that have a label."""
        if self.monitor.settings.hours is not None:
            span = Span(result.window_start, result.window_end)
            rows = self.judge.read(span, version=result.version, labelled=True)
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
