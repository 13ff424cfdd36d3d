"""What is said of one window: each aspect of it as a result, by what was loaded once for many windows."""

from __future__ import annotations

from datetime import datetime
from functools import cached_property
from typing import Any

from sqlmodel import col, select

from quarterdeck.errors import ArtifactError, NotFoundError
from quarterdeck.monitoring.across import judge_across
from quarterdeck.monitoring.arrivals import arrived_in, judge_arrivals, past_results
from quarterdeck.monitoring.errors import Errors
from quarterdeck.monitoring.estimates import Expectation
from quarterdeck.monitoring.inputs import Reference, judge_inputs, window_columns
from quarterdeck.monitoring.monitor import Monitor, Span
from quarterdeck.monitoring.quality import judge_quality
from quarterdeck.monitoring.reading import load_window_reference, read_span
from quarterdeck.monitoring.result import VERDICTS, Aspect, Result, Verdict, moved
from quarterdeck.monitoring.serving import Serving
from quarterdeck.monitoring.skew import StoredRows, judge_skew
from quarterdeck.registry.model import Model
from quarterdeck.registry.version import ModelVersion, find_version
from quarterdeck.traffic.window import WindowRows, watermark
from quarterdeck.workspace import Workspace


class Judge:
    """Judges the windows of one monitor. References and holdouts are loaded once."""

    def __init__(self, workspace: Workspace, monitor: Monitor, serving: Serving) -> None:
        self.workspace = workspace
        self.monitor = monitor
        self.serving = serving
        self.deployment = monitor.settings.deployment
        self.troubles: list[str] = []
        """What kept aspects from being judged, as sentences."""
        self._versions: dict[int, ModelVersion | None] = {}
        self._references: dict[tuple[int, Span | None], Reference | None] = {}
        self._expectations: dict[int, Expectation | None] = {}

    def watermark(self) -> datetime | None:
        """The newest event time that has arrived; None without traffic."""
        # A clock that runs ahead somewhere must not close windows that are still filling.
        newest = watermark(self.workspace, self.deployment)
        return None if newest is None else min(newest, self.workspace.now())

    def read(self, span: Span, *, version: int | None = None, labelled: bool = False) -> WindowRows:
        """The predictions of a span that the monitor watches; see `read_spans` for one too large to be held.

        With `labelled` for what labels tell, otherwise for what came in.
        """
        return read_span(
            self.workspace, self.monitor, span, self._like, version=version, labelled=labelled, sketched=not labelled
        )

    @cached_property
    def _like(self) -> ModelVersion | None:
        """A version that takes what all of the deployment take; None where none is registered here."""
        found = self.version(self.serving.version)
        if found is not None:
            return found
        newest = select(ModelVersion).join(Model).where(Model.name == self.serving.model)
        with self.workspace.state.read() as tx:
            return tx.exec(newest.order_by(col(ModelVersion.number).desc()).limit(1)).first()

    def inputs_of(self, version: int, window: Span, rows: WindowRows, *, served: bool) -> Result:
        """What came in, against the reference of a version that served the window or is judged beside.

        The rows are taken for that version's own.
        """
        reference = self._reference(version, window)
        scores = []
        if reference is not None:
            current = window_columns(reference.signature, rows.inputs)
            scores = judge_inputs(self.monitor, reference, current, (rows.whole or {}).get(version))
        n = 0 if reference is None else reference.rows
        verdict = _of_columns(scores)
        return self._result(Aspect.INPUTS, version, window, rows, verdict, scores, n_reference=n, served=served)

    def across_of(self, window: Span, rows: WindowRows, inputs: Result) -> list[Result]:
        """The columns together, beyond what `inputs` says of each; nothing where nothing can be compared."""
        reference = self._reference(inputs.version, window)
        if reference is None:
            return []
        found = judge_across(self.monitor, reference, window_columns(reference.signature, rows.inputs), inputs.scores)
        if not found:
            return []
        verdict, n = _of_signals(found), inputs.n_reference
        return [self._result(Aspect.ACROSS, inputs.version, window, rows, verdict, found, n_reference=n)]

    def answers_of(self, version: int, window: Span, rows: WindowRows) -> list[Result]:
        """What can be said of a version's answers before their labels come."""
        expectation = self._expectation(version)
        if expectation is None:
            return []
        estimate = expectation.quality(self.monitor, rows, window.end - window.start)
        answers = [] if expectation.answers is None else expectation.answers.judge(self.monitor, rows)
        if estimate is not None:
            # What an estimate knows of the consequence is worth more than the distance.
            answers = [{**row, "severity": max(estimate["severity"], 0.0)} for row in answers]
        found, n = [], expectation.rows
        if estimate is not None:
            verdict = _OF_METRIC[estimate["verdict"]]
            found.append(self._result(Aspect.ESTIMATE, version, window, rows, verdict, [estimate], n_reference=n))
        found += self._fairness_of(version, window, rows, labelled=False)
        if answers:
            verdict = _of_columns(answers)
            found.append(self._result(Aspect.PREDICTIONS, version, window, rows, verdict, answers, n_reference=n))
        return found

    def _fairness_of(self, version: int, window: Span, rows: WindowRows, *, labelled: bool) -> list[Result]:
        """How groups are treated, where that is bounded and can be said with or without labels."""
        expectation = self._expectation(version)
        watch = None if expectation is None else expectation.fairness
        if watch is None or watch.needs_labels != labelled:
            return []
        scores = watch.judge(rows)
        if not scores:
            return []
        return [self._result(Aspect.FAIRNESS, version, window, rows, _of_signals(scores), scores)]

    def _expectation(self, version: int) -> Expectation | None:
        if version not in self._expectations:
            known, expectation = self.version(version), None
            try:
                expectation = None if known is None else Expectation(self.workspace, self.monitor, known)
            except ArtifactError as error:
                # What rests on it cannot be judged; all else can, and must not wait for somebody to mend it.
                self.troubles.append(f"The holdout of version {version} cannot be read. {error}")
            self._expectations[version] = expectation
        return self._expectations[version]

    def _reference(self, version: int, window: Span) -> Reference | None:
        # Of past weeks it is another one for each window; else it is the same for all.
        place = (version, window if self.monitor.settings.reference == "calendar" else None)
        if place not in self._references:
            known = self.version(version)
            self._references = {kept: found for kept, found in self._references.items() if kept[1] in (None, window)}
            self._references[place] = (
                None if known is None else load_window_reference(self.workspace, self.monitor, known, window)
            )
        return self._references[place]

    def version(self, number: int) -> ModelVersion | None:
        """None for a version that an outside system named and that is not registered here."""
        if number not in self._versions:
            with self.workspace.state.read() as tx:
                try:
                    self._versions[number] = find_version(tx, self.serving.model, number)
                except NotFoundError:
                    self._versions[number] = None
        return self._versions[number]

    def traffic_of(self, window: Span, n: int, newest: datetime) -> Result:
        """Whether what should come comes. `newest` is the watermark."""
        version = self.version(self.serving.version)
        since = None if version is None else version.created_at
        arrived = arrived_in(self.workspace, self.monitor, window, n, newest, since)
        past = past_results(self.workspace, self.monitor, window)
        return self.result_of_traffic(window, n, judge_arrivals(self.monitor, window, arrived, past))

    def result_of_traffic(self, window: Span, n: int, rows: list[dict[str, Any]]) -> Result:
        return self._row(Aspect.TRAFFIC, self.serving.version, window, n, _of_signals(rows), rows)

    def quality_of(self, inputs: Result) -> list[Result]:
        """What labels tell of the window and version of a judged result; nothing of a version not registered here."""
        version, window = self.version(inputs.version), Span(inputs.window_start, inputs.window_end)
        if version is None:
            return []
        rows = self.read(window, version=inputs.version, labelled=True)
        row = judge_quality(self.monitor, version, rows, self._errors(inputs, rows))
        newest = self.watermark()
        if newest is not None:
            row["lag"] = (newest - window.end).total_seconds()
        verdict = _OF_METRIC[row["verdict"]]
        result = self._result(Aspect.QUALITY, inputs.version, window, rows, verdict, [row])
        result.n_labelled = rows.labelled
        return [result, *self._fairness_of(inputs.version, window, rows, labelled=True)]

    def skew_of(self, inputs: Result, stored: StoredRows) -> Result | None:
        """What was served in the window of a judged result, against the data for training.

        None while that lacks too many of its rows (`label_coverage`), and for a version not registered here.
        """
        version, window = self.version(inputs.version), Span(inputs.window_start, inputs.window_end)
        if version is None:
            return None
        rows = read_span(self.workspace, self.monitor, window, self._like)
        matched, scores = judge_skew(self.workspace, self.monitor, version, rows, stored)
        if not scores or matched < self.monitor.settings.label_coverage * len(rows.ids):
            return None
        return self._result(Aspect.SKEW, inputs.version, window, rows, _of_signals(scores), scores, n_reference=matched)

    def _errors(self, inputs: Result, rows: WindowRows) -> Errors | None:
        """What the errors of a window say, and those of the windows in which a finding has to persist."""
        expectation = self._expectation(inputs.version)
        if expectation is None or expectation.errors is None:
            return None
        with self.workspace.state.read() as tx:
            query = select(Result.window_start).where(
                Result.monitor == self.monitor.name,
                Result.aspect == Aspect.INPUTS,
                Result.version == inputs.version,
                col(Result.served).is_(True),
                col(Result.window_start) <= inputs.window_start,
            )
            newest = query.order_by(col(Result.window_start).desc()).limit(self.monitor.settings.persistence[1])
            first = min(tx.exec(newest).all())
        stream = rows
        if first < inputs.window_start:
            stream = self.read(Span(first, inputs.window_end), version=inputs.version, labelled=True)
        return expectation.errors.judge(rows, inputs.window_end - inputs.window_start, stream)

    def _result(
        self,
        aspect: Aspect,
        version: int,
        window: Span,
        rows: WindowRows,
        verdict: Verdict,
        scores: list[dict[str, Any]],
        *,
        n_reference: int = 0,
        served: bool = True,
    ) -> Result:
        """Where the rows are a sample, every score says how many those are."""
        if rows.sampled is not None:
            scores = [{**row, "sampled": rows.sampled} for row in scores]
        return self._row(aspect, version, window, rows.n, verdict, scores, n_reference=n_reference, served=served)

    def _row(
        self,
        aspect: Aspect,
        version: int,
        window: Span,
        n: int,
        verdict: Verdict,
        scores: list[dict[str, Any]],
        *,
        n_reference: int = 0,
        served: bool = True,
    ) -> Result:
        return Result(
            monitor=self.monitor.name,
            deployment=self.deployment,
            aspect=aspect,
            version=version,
            served=served,
            window_start=window.start,
            window_end=window.end,
            n_reference=n_reference,
            n_current=n,
            verdict=verdict,
            scores=scores,
            evaluated_at=self.workspace.now(),
        )


_OF_METRIC = {"worse": Verdict.FOUND, "quiet": Verdict.QUIET, "inconclusive": Verdict.INCONCLUSIVE}


def _of_signals(rows: list[dict[str, Any]]) -> Verdict:
    """What signals say together: one that can be told is enough to be quiet."""
    verdicts = {row["verdict"] for row in rows}
    if "drifted" in verdicts:
        return Verdict.FOUND
    return Verdict.QUIET if "quiet" in verdicts else Verdict.INCONCLUSIVE


def _of_columns(scores: list[dict[str, Any]]) -> Verdict:
    """What the columns of a window say together."""
    if any(map(moved, scores)):
        return Verdict.FOUND
    verdicts = {row[name] for row in scores for name in VERDICTS}
    return Verdict.INCONCLUSIVE if "inconclusive" in verdicts or not scores else Verdict.QUIET
