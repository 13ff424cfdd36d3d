"""Plays the later days of the sample over HTTP, and watches what the deck makes of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlmodel import col, select

from quarterdeck import events
from quarterdeck.datasets.ingestion import add as add_dataset_version
from quarterdeck.deployments.analysis import plan as plan_rollback
from quarterdeck.deployments.queries import deployments, gateway_state, operations
from quarterdeck.deployments.rollout import roll_back
from quarterdeck.errors import QuarterdeckError
from quarterdeck.pipelines.run import ENDED, Run
from quarterdeck.runner.job import Job, JobKind, JobState, RunnerLease
from quarterdeck.traffic.queries import totals
from quarterdeck.workspace import Workspace
from quarterdeck_console.demo.story import Narrator, Outcome, outcome_of
from quarterdeck_console.demo.world import Customers, History, batches

DAY = timedelta(days=1)
PIECE = timedelta(hours=6)
# The world waits for the deck at noon of every second day, so that no window is judged days late only because a
# day here takes less than a second. Noon: a window that ended at midnight can be judged from six o'clock on.
CATCH_UP_EVERY = 2 * DAY
CATCH_UP_AT = timedelta(hours=12)
# One by one, this many a second, while a person decides: a world at high speed would be over before.
PATIENT_RATE = 5.0
# The deck gets this long to catch up with what it was sent before the demo calls it a failure.
CATCH_UP_SECONDS = 240.0
LOOK_SECONDS = 0.02
# What a person can press next; at most 78 characters, so that it fits the narrowest terminal.
PRESS_TRAINING = "Version 1 is being trained. 8 shows its job, 2 the pipeline, ? all keys."
PRESS_SERVES = "Version 1 serves, days go by. 1 shows all at a glance, 4 the alerts."
PRESS_INPUTS = "A page: press 4 and read it. R there says why a rollback would not help."
PRESS_WORSE = "Version {version} got worse: press 5, then R on {deployment}, to roll back."
PRESS_CHANGED = "The fraud itself has changed: press 4, then Enter, and read where."
PRESS_DONE = "Rolled back, verified after {milliseconds:.0f} ms. 5, then U would undo it; q quits."


class StoryError(QuarterdeckError):
    """The demo did not get on."""


@dataclass(slots=True)
class Player:
    """One play of the demo, from the first export to the last payment."""

    workspace: Workspace
    history: History
    auto: bool
    tell: Callable[[str], None]
    """Takes a line of the story."""
    press: Callable[[str], None]
    """Takes the line that says what a person can press next."""
    started: float = field(default_factory=time.monotonic)
    now: datetime = field(init=False)
    narrator: Narrator = field(init=False)
    customers: Customers = field(init=False)
    plan: tuple[str, str] | None = None
    rolled_back: bool = False
    _quality_alert: int | None = None

    def __post_init__(self) -> None:
        self.now = self.history.timetable.begins
        self.narrator = Narrator(self.workspace)

    def play(self) -> Outcome:
        """Play the whole story.

        Raises:
            StoryError: the deck did not catch up in time; the message says with what.
        """
        self.press(PRESS_TRAINING)
        self._export()
        self._wait(self._quiet, "the first training, and for its version to be verified")
        self._wait(lambda: gateway_state(self.workspace).alive > 0, "the gateway")
        gateway = gateway_state(self.workspace)
        self.customers = Customers(f"http://{gateway.host}:{gateway.port}", self.history.timetable.deployment)
        self.press(PRESS_SERVES)
        try:
            while self.now < self.history.ends:
                self._play_piece()
            self._catch_up()
            self._wait(self._reports_are_made, "the reports of the alerts")
            if not self.rolled_back:
                self._let_them_decide([])
        finally:
            self.customers.close()
        return outcome_of(self.workspace, self.customers, self.plan, time.monotonic() - self.started)

    def _play_piece(self) -> None:
        end = self.now + PIECE
        export = next((at for at in self.history.timetable.exports[1:] if self.now <= at < end), None)
        self._pay(self.now, export or end)
        if export is not None:
            self.now = export
            self._export()
            self._catch_up()
            self._pay(export, end)
        self.now = end
        if end.hour == 0:
            labelled = self.history.labelled(end - DAY, end)
            if labelled:
                self.customers.label(labelled)
        if (end - self.history.timetable.begins) % CATCH_UP_EVERY == CATCH_UP_AT:
            self._catch_up()
        self._tell_news()

    def _pay(self, start: datetime, end: datetime) -> None:
        payments = self.history.paid(start, end)
        if self._quality_alert is not None and not self.rolled_back:
            self._let_them_decide(payments)
        elif payments:
            self.customers.pay(payments)

    def _export(self) -> None:
        dataset = self.history.timetable.dataset
        path = self.workspace.root / "exports" / f"{dataset}-{self.now:%Y-%m-%d}.csv"
        self.history.write_export(self.now, path)
        add_dataset_version(self.workspace, dataset, path, actor="warehouse")
        self._tell_news()

    def _let_them_decide(self, payments: list[dict[str, str]]) -> None:
        """Payments come one by one until the person (or `--auto`) has rolled back."""
        deployment = self.history.timetable.deployment
        if self.auto and not operations(self.workspace, open_only=True):
            roll_back(self.workspace, deployment, reason=f"alert/{self._quality_alert}", actor="demo")
        for batch in batches(payments, 1):
            self._look_for_the_rollback()
            if self.rolled_back:
                rest = payments[payments.index(batch[0]) :]
                self.customers.pay(rest)
                return
            self.customers.pay(batch)
            time.sleep(1 / PATIENT_RATE)
        while not payments and not self.rolled_back:
            self._look_for_the_rollback()
            time.sleep(LOOK_SECONDS)

    def _look_for_the_rollback(self) -> None:
        done = [row for row in operations(self.workspace) if row.kind == "rollback" and row.state == "verified"]
        if done:
            self.rolled_back = True
            self.customers.must_be = done[0].version
            self.press(PRESS_DONE.format(milliseconds=done[0].milliseconds))
        self._tell_news()

    def _catch_up(self) -> None:
        """Wait until the deck has recorded, judged and delivered everything that it was sent so far."""
        self._wait(lambda: totals(self.workspace).predictions >= self.customers.answered, "recording")
        since = self.workspace.now()
        self._wait(lambda: self._quiet() and self._monitor_ran(since), "monitors and runs")

    def _quiet(self) -> bool:
        """Nothing is under way: no run, no change of a deployment, no event that the runner has not read."""
        with self.workspace.state.read() as tx:
            busy = tx.exec(select(Run.id).where(col(Run.state).not_in(ENDED))).first()
            read = tx.exec(select(RunnerLease.events_read)).first()
            if busy is not None or read != events.last_id(tx):
                return False
        return bool(deployments(self.workspace)) and not operations(self.workspace, open_only=True)

    def _monitor_ran(self, since: datetime) -> bool:
        with self.workspace.state.read() as tx:
            query = select(Job.id).where(
                Job.kind == JobKind.MONITOR, Job.state == JobState.SUCCEEDED, col(Job.started_at) > since
            )
            return tx.exec(query).first() is not None

    def _reports_are_made(self) -> bool:
        with self.workspace.state.read() as tx:
            busy = select(Job.id).where(
                Job.kind == JobKind.REPORT, col(Job.state).in_([JobState.QUEUED, JobState.RUNNING])
            )
            return tx.exec(busy).first() is None

    def _wait(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + CATCH_UP_SECONDS
        while not condition():
            self._tell_news()
            if time.monotonic() > deadline:
                raise StoryError(
                    f"The demo waited {CATCH_UP_SECONDS:.0f} s for {what}. "
                    f"Look into {self.workspace.logs}, or at `quarterdeck -w {self.workspace.root} runs`."
                )
            time.sleep(LOOK_SECONDS)
        self._tell_news()

    def _tell_news(self) -> None:
        for event, line in self.narrator.news():
            if line is not None:
                self.tell(f"{self.now:%Y-%m-%d %H:%M}  {line}")
            if event.kind == "alert.opened" and event.data["severity"] == "page":
                self._page(
                    event.id or 0, int(event.subject.partition("/")[2]), event.data["kind"], event.data["version"]
                )

    def _page(self, event_id: int, alert_id: int, kind: str, version: int) -> None:
        deployment = self.history.timetable.deployment
        if kind == "quality":
            self._quality_alert = alert_id
            self.press(
                PRESS_CHANGED if self.rolled_back else PRESS_WORSE.format(version=version, deployment=deployment)
            )
        else:
            self.press(PRESS_INPUTS)
        plan = plan_rollback(self.workspace, deployment, alert=alert_id)
        self.tell(f"{'':16}  would a rollback help? {plan.would_help}, because {plan.because}")
        if self.plan is None:
            self.plan = (plan.would_help, plan.because)
