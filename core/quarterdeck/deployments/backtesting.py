"""Asking for a backtest, and making it: keep, roll back and retrain on the same labelled traffic."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlmodel import Session, col, select

from quarterdeck.database import LAST_WRITE_PATIENCE_SECONDS, timestamp
from quarterdeck.deployments import knowngood, labelled
from quarterdeck.deployments.backtest import Backtest, BacktestVerdict
from quarterdeck.deployments.deployment import Deployment, find_deployment
from quarterdeck.deployments.labelled import Evidence
from quarterdeck.deployments.refitting import LEAST_ROWS, refit
from quarterdeck.deployments.revision import find_revision
from quarterdeck.deployments.watching import followed_by, metric_of
from quarterdeck.deployments.weighing import KEEP, RETRAIN, ROLL_BACK, Comparison, Weighed, compare, weigh
from quarterdeck.errors import NotFoundError, QuarterdeckError, RefusedError
from quarterdeck.monitoring.alert import BY_THE_CLOCK, find_alert
from quarterdeck.registry.inputs import inputs_frame
from quarterdeck.registry.signature import Signature
from quarterdeck.registry.truth import truth_and_score
from quarterdeck.registry.version import ModelVersion, find_version
from quarterdeck.workspace import Workspace

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from quarterdeck.registry.answers import Predictions

CONFIDENCE = 0.95
GIVEN_UP = timedelta(days=1)
"""One that is not finished by then never will be: its job died."""


def request(workspace: Workspace, deployment: str, *, actor: str | None = None) -> int:
    """Ask for a backtest of a deployment; return its number. One that is not finished is returned again.

    Raises:
        NotFoundError: there is no such deployment.
        RefusedError: nothing was ever deployed there.
        ReadOnlyError: the workspace is read-only.
    """
    with workspace.change("backtest") as tx:
        return request_in(tx, workspace, deployment, actor=actor)


def request_in(
    tx: Session, workspace: Workspace, deployment: str, *, alert: int | None = None, actor: str | None = None
) -> int:
    """`request`, inside a transaction that does more; `alert` is the one for which a policy asks."""
    found = find_deployment(tx, deployment)
    if found.desired_revision is None or found.id is None:
        raise RefusedError(f"Nothing was ever deployed as '{deployment}', so there is nothing to compare with.")
    version = find_revision(tx, found.id, found.desired_revision).version
    waiting = select(Backtest.id).where(
        Backtest.deployment_id == found.id,
        Backtest.version == version,
        col(Backtest.finished_at).is_(None),
        col(Backtest.requested_at) > workspace.now() - GIVEN_UP,
    )
    known = tx.exec(waiting).first()
    if known is not None:
        return known
    asked = Backtest(
        deployment_id=found.id,
        version=version,
        alert=alert,
        requested_by=actor or workspace.actor,
        requested_at=workspace.now(),
    )
    tx.add(asked)
    tx.flush()
    data = {"deployment": deployment, "version": version, "alert": alert}
    workspace.record(tx, "backtest.requested", asked.reference, data, actor=actor)
    assert asked.id is not None
    return asked.id


def make_backtest(workspace: Workspace, backtest_id: int, *, fence: Callable[[Session], None] | None = None) -> None:
    """Make a backtest that was asked for, in a job process; one that is finished is left alone.

    What goes wrong with a candidate is the outcome, not an error of this job.

    Raises:
        NotFoundError: there is no such backtest.
    """
    with workspace.state.read() as tx:
        asked = find_backtest(tx, backtest_id)
        if asked.finished_at is not None:
            return
        deployment = tx.get_one(Deployment, asked.deployment_id)
        stage = _set_up(tx, workspace, deployment, asked)
    verdict: BacktestVerdict | None = None
    outcome: dict[str, Any]
    try:
        weighed, facts = _Bench(workspace, stage).judge()
        verdict, outcome = weighed.verdict, {**asdict(weighed), **facts}
    except (QuarterdeckError, ValueError) as error:
        # A ValueError is of labels or answers that the metric cannot take, such as a text for a number.
        outcome = {"error": str(error)}
    with workspace.state.write("backtest", patience=LAST_WRITE_PATIENCE_SECONDS) as tx:
        if fence is not None:
            fence(tx)
        asked = find_backtest(tx, backtest_id)
        asked.outcome, asked.verdict, asked.finished_at = outcome, verdict, workspace.now()
        said: dict[str, Any] = {name: outcome[name] for name in ("because", "missing", "error") if name in outcome}
        data = {"deployment": stage.name, "version": asked.version, "alert": asked.alert, "verdict": verdict, **said}
        workspace.record(tx, "backtest.finished", asked.reference, data)


def find_backtest(tx: Session, backtest_id: int) -> Backtest:
    """The backtest of that number.

    Raises:
        NotFoundError: there is none.
    """
    found = tx.get(Backtest, backtest_id)
    if found is None:
        raise NotFoundError(f"There is no backtest {backtest_id}. Ask for one with `quarterdeck backtest DEPLOYMENT`.")
    return found


@dataclass(frozen=True, slots=True)
class BacktestRow:
    """A backtest, as the command line and panes show it."""

    id: int
    deployment: str
    version: int
    alert: int | None
    requested_by: str
    requested_at: datetime
    finished_at: datetime | None
    verdict: str | None
    """None before it is finished, and where it failed."""
    outcome: dict[str, Any]


def backtest(workspace: Workspace, backtest_id: int) -> BacktestRow:
    """One backtest.

    Raises:
        NotFoundError: there is none of that number.
    """
    with workspace.state.read() as tx:
        found = find_backtest(tx, backtest_id)
        name = tx.get_one(Deployment, found.deployment_id).name
        kept = {name: getattr(found, name) for name in BacktestRow.__dataclass_fields__ if name != "deployment"}
        return BacktestRow(**kept, deployment=name)


@dataclass(frozen=True, slots=True)
class _Stage:
    """What is compared."""

    name: str
    monitor: str | None
    """The monitor of the alert that it is about: what that follows is compared."""
    serving: ModelVersion
    back: ModelVersion | None
    """The last known-good version; None where there is none."""
    back_revision: int | None
    others: list[int]
    """Earlier versions whose labelled rows may be learnt from."""
    onset: datetime | None
    """Since when something is wrong, in event time; None where a person asks, and for what was seen in no window."""


def _set_up(tx: Session, workspace: Workspace, deployment: Deployment, asked: Backtest) -> _Stage:
    assert deployment.id is not None
    serving = find_version(tx, deployment.model, asked.version)
    revision = knowngood.last_known_good(tx, workspace, deployment.name)
    back = None
    if revision is not None:
        back = find_version(tx, deployment.model, find_revision(tx, deployment.id, revision).version)
    others = labelled.compatible_versions(tx, deployment, serving)
    alert = None if asked.alert is None else find_alert(tx, asked.alert)
    monitor = None if alert is None else alert.monitor
    onset = None if alert is None or alert.kind in BY_THE_CLOCK else alert.onset
    return _Stage(deployment.name, monitor, serving, back, revision, others, onset)


@dataclass(slots=True)
class _Bench:
    """One comparison, while it is made."""

    workspace: Workspace
    stage: _Stage
    cannot: dict[str, str] = field(default_factory=dict)
    """For each candidate that could not be tried the reason, in words that end a sentence."""
    scores: dict[str, NDArray[np.float64]] = field(default_factory=dict)

    def judge(self) -> tuple[Weighed, dict[str, Any]]:
        """The verdict, and what it rests on."""
        name, serving = self.stage.name, self.stage.serving
        settings = followed_by(self.workspace, name, self.stage.monitor)
        metric = metric_of(settings, serving)
        others, least, onset = self.stage.others, settings.minimum_rows, self.stage.onset
        evidence = labelled.gather(self.workspace, name, serving.number, others, least, onset)
        facts = _facts(evidence, metric)
        refused = self._too_little(evidence, settings.minimum_rows)
        if refused is not None:
            return Weighed(BacktestVerdict.UNDECIDED, "nothing could be compared", (refused,)), facts
        truth = self._keep(evidence, metric)
        self._roll_back(evidence, metric)
        facts |= self._retrain(evidence, metric)
        found = [
            compare(of, against, metric, truth, self.scores, settings.worth)
            for of, against in ((RETRAIN, KEEP), (ROLL_BACK, KEEP), (RETRAIN, ROLL_BACK))
            if of in self.scores and against in self.scores
        ]
        comparisons = [one for one in found if one is not None]
        if len(comparisons) < len(found):
            why = f"labels of both classes among the {evidence.held.n:,} compared rows: {metric} is undefined without"
            return Weighed(BacktestVerdict.UNDECIDED, "nothing could be compared", (why,)), facts
        facts |= {
            "candidates": [self._figures(one, metric, truth) for one in (KEEP, ROLL_BACK, RETRAIN)],
            "comparisons": [_comparison(one) for one in comparisons],
        }
        weighed = weigh(comparisons, self.cannot)
        unlearnt = self._unlearnt(evidence)
        if unlearnt is None or weighed.verdict is BacktestVerdict.RETRAIN:
            return weighed, facts
        # It did not gain because it could not know yet: that speaks neither for nor against it.
        known = [one for one in comparisons if one.of != RETRAIN]
        return weigh(known, {**self.cannot, RETRAIN: unlearnt}), facts

    def _unlearnt(self, evidence: Evidence) -> str | None:
        """Why a retrain cannot have learnt yet what is wrong, in words that end a sentence; None where it can."""
        onset = self.stage.onset
        if onset is None or RETRAIN in self.cannot:
            return None
        since = evidence.recent.at(lambda time: time >= onset).n
        if since >= LEAST_ROWS:
            return None
        return (
            f"{since:,} labelled rows since the onset ({onset:%Y-%m-%d %H:%M} UTC) lie before the compared ones, and "
            f"{LEAST_ROWS} are needed to learn what changed"
        )

    def _too_little(self, evidence: Evidence, least: int) -> str | None:
        omitted = self.workspace.settings.deployment(self.stage.name).omit
        features = Signature.from_dict(self.stage.serving.signature).names
        unseen = [one for one in features if one in omitted]
        if unseen:
            return f"the values of {', '.join(unseen)}, which `omit` under [deployments] keeps from being recorded"
        if evidence.held.n < least:
            number = self.stage.serving.number
            return f"{least:,} labelled predictions of version {number} to compare on; there are {evidence.held.n:,}"
        return None

    def _keep(self, evidence: Evidence, metric: str) -> NDArray[np.float64]:
        """What the serving version answered, as it was recorded; returns the truth."""
        held, signature = evidence.held, Signature.from_dict(self.stage.serving.signature)
        truth, score = truth_and_score(signature, metric, held.labels, held.predictions, held.probabilities)
        self.scores[KEEP] = score
        return truth

    def _roll_back(self, evidence: Evidence, metric: str) -> None:
        from quarterdeck.registry.predictor import load_predictor

        back, held = self.stage.back, evidence.held
        if back is None:
            return
        signature = Signature.from_dict(back.signature)
        names = Signature.from_dict(self.stage.serving.signature).names
        try:
            with closing(load_predictor(self.workspace, back)) as predictor:
                columns = {name: [row[i] for row in held.inputs] for i, name in enumerate(names)}
                answers = predictor.predict(inputs_frame(signature, columns))
        except Exception as error:  # a model's own code may raise anything
            self.cannot[ROLL_BACK] = (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
            return
        self.scores[ROLL_BACK] = _scored(signature, metric, held.labels, answers)

    def _retrain(self, evidence: Evidence, metric: str) -> dict[str, Any]:
        serving, held = self.stage.serving, evidence.held
        try:
            made = refit(self.workspace, serving, evidence.recent, held, metric, evidence.behind)
        except QuarterdeckError as error:
            self.cannot[RETRAIN] = str(error).rstrip(".")
            return {}
        self.scores[RETRAIN] = _scored(Signature.from_dict(serving.signature), metric, held.labels, made.answers)
        return {
            "trained_on": made.trained_on,
            "trained_on_because": made.why,
            "trained_rows": made.rows,
            "warned": list(made.warned),
        }

    def _figures(self, name: str, metric: str, truth: NDArray[np.float64]) -> dict[str, Any]:
        from quarterdeck.statistics.quality import bootstrap_interval

        version = {KEEP: self.stage.serving, ROLL_BACK: self.stage.back}.get(name)
        found: dict[str, Any] = {"name": name, "version": None if version is None else version.number}
        if name == ROLL_BACK:
            found["revision"] = self.stage.back_revision
        if name not in self.scores:
            nowhere = "there is no last known-good version"
            return {**found, "value": None, "low": None, "high": None, "why_not": self.cannot.get(name, nowhere)}
        low, value, high = bootstrap_interval(metric, truth, self.scores[name], confidence=CONFIDENCE)
        return {**found, "value": value, "low": low, "high": high, "why_not": None}


def _scored(signature: Signature, metric: str, labels: list[Any], answers: Predictions) -> NDArray[np.float64]:
    shares = [None] * len(labels) if answers.probabilities is None else answers.probabilities.tolist()
    return truth_and_score(signature, metric, labels, answers.values.tolist(), shares)[1]


def _facts(evidence: Evidence, metric: str) -> dict[str, Any]:
    times = evidence.held.event_times
    return {
        "metric": metric,
        "rows": evidence.held.n,
        "from": timestamp(times[0]) if times else None,
        "to": timestamp(times[-1]) if times else None,
        "recent_rows": evidence.recent.n,
        "label_coverage": evidence.coverage,
        "labels_behind_seconds": evidence.behind.total_seconds(),
    }


def _comparison(one: Comparison) -> dict[str, Any]:
    return {**asdict(one), "side": one.side}
