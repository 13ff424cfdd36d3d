"""Ticks of schedules: what they put into the queue, and what becomes of them while earlier work goes on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from sqlmodel import Session, col, select

from quarterdeck.errors import NotFoundError, RefusedError
from quarterdeck.events import Event
from quarterdeck.monitoring.alert import Alert
from quarterdeck.pipelines import pausing, submission
from quarterdeck.pipelines.holding import held_pipelines
from quarterdeck.pipelines.run import Run
from quarterdeck.pipelines.schedule import Overlap, Schedule, Target
from quarterdeck.pipelines.submission import MANUAL, Wanted
from quarterdeck.runner import control, queue
from quarterdeck.runner.job import UNDER_WAY, Job, JobKind
from quarterdeck.runner.queue import Work
from quarterdeck.runner.terms import terms_of, terms_of_run
from quarterdeck.workspace import Workspace

TRIGGER = "schedule/"
"""How the trigger of a run begins that a tick has asked for."""
HELD = "schedule.held"
"""A tick that starts nothing, since an alert on inputs is open."""


_TASKS = {
    Target.MONITOR: (JobKind.MONITOR, "monitor"),
    Target.HOUSEKEEPING: (JobKind.HOUSEKEEPING, "task"),
    Target.PROBE: (JobKind.PROBE, "deployment"),
    Target.SCORE: (JobKind.SCORE, "deployment"),
    Target.KPI: (JobKind.KPI, "kpi"),
}
"""For each target that is no pipeline the kind of job, and what its payload calls the target."""


@dataclass(frozen=True, slots=True)
class Start:
    """One time that a schedule starts its work."""

    row: Schedule
    moment: datetime
    trigger: str
    actor: str

    @property
    def subject(self) -> str:
        return f"{self.row.target_kind}/{self.row.target}"

    @property
    def starts_run(self) -> bool:
        return self.row.target_kind is Target.PIPELINE

    @property
    def retrains(self) -> bool:
        """Whether nobody but the schedule wants it, so that it is held while what comes in may not be learnt."""
        return self.starts_run and self.trigger != MANUAL

    @property
    def stands_alone(self) -> bool:
        """Whether only its own earlier work counts as an overlap: two schedules may run one pipeline, or score into
        two files.
        """
        return self.row.target_kind in (Target.PIPELINE, Target.SCORE)


def fire(tx: Session, workspace: Workspace, *ticks: tuple[Schedule, datetime]) -> int:
    """Start what is due at each moment; returns how many were queued.

    Left out are ticks that were there already, or a later one of the same schedule was, those whose work the overlap
    policy leaves out, and those that would learn from what may be contaminated: see `pipelines.holding`. The work and
    the note of the tick are one transaction, so a tick happens once whoever repeats it.
    """
    wanted = []
    for row, moment in ticks:
        if row.last_tick is None or row.last_tick < moment:
            row.last_tick = moment
            wanted.append(Start(row, moment, f"{TRIGGER}{row.name}", row.name))
    return start(tx, workspace, *wanted)


def release(tx: Session, workspace: Workspace, alert: Alert) -> None:
    """Start once, now, each schedule whose last tick was held because of an alert that holds nothing any more."""
    mine = select(Event).where(Event.kind == HELD, col(Event.at) >= alert.opened_at)
    last = {event.subject: event.data for event in tx.exec(mine.order_by(col(Event.id)))}
    paused = pausing.pauses(tx, "schedule")
    for row in tx.exec(select(Schedule).where(col(Schedule.paused).is_(False)).order_by(Schedule.name)):
        held = last.get(f"schedule/{row.name}")
        if held is None or held["because"] != alert.reference or row.name in paused or row.last_tick is None:
            continue
        if row.last_tick.isoformat() == held["tick"]:
            row.last_tick = workspace.now()
            start(tx, workspace, Start(row, row.last_tick, f"{TRIGGER}{row.name}", row.name))


def run_now(workspace: Workspace, name: str, *, actor: str | None = None) -> int:
    """Start what schedule `name` starts, now and whatever it waits for; returns the number of the job.

    Raises:
        NotFoundError: there is no such schedule.
        RefusedError: its earlier work goes on, and its overlap policy leaves others out.
        ReadOnlyError: the workspace is read-only.
    """
    with workspace.change("run now") as tx:
        row = tx.exec(select(Schedule).where(Schedule.name == name)).first()
        if row is None:
            raise NotFoundError(f"There is no schedule '{name}'. `quarterdeck schedules` lists them.")
        now = Start(row, workspace.now(), MANUAL, actor or workspace.actor)
        if not start(tx, workspace, now):
            (earlier, *_) = _under_way(tx, [now])[name]
            raise RefusedError(f"job/{earlier.id} of schedule '{name}' goes on ({earlier.state}). Wait, or cancel it.")
        job = tx.exec(select(Job).where(Job.schedule == name).order_by(col(Job.id).desc())).first()
        assert job is not None
        workspace.record(tx, "schedule.run_now", f"schedule/{name}", {"job": job.id}, actor=actor)
        return job.id or 0


def start(tx: Session, workspace: Workspace, *wanted: Start) -> int:
    """Queue what schedules start, unless earlier work goes on and the overlap policy leaves it out; how many."""
    return sum(_start_together(tx, workspace, wave) for wave in _waves(wanted))


def _waves(wanted: Sequence[Start]) -> list[list[Start]]:
    """In order, and such that in none of them a start finds the work of another one of the same wave under way."""
    waves: list[list[Start]] = []
    taken: set[str] = set()
    for one in wanted:
        mine = {one.row.name} if one.stands_alone else {one.row.name, one.subject}
        if not waves or mine & taken:
            waves.append([])
            taken = set()
        waves[-1].append(one)
        taken |= mine
    return waves


def _start_together(tx: Session, workspace: Workspace, wave: Sequence[Start]) -> int:
    under_way = _under_way(tx, wave)
    held = held_pipelines(tx) if any(one.retrains for one in wave) else {}
    going = []
    for one in wave:
        earlier = under_way[one.row.name]
        if one.retrains and one.row.target in held:
            because = {"tick": one.moment.isoformat(), "because": held[one.row.target].reference}
            workspace.record(tx, HELD, f"schedule/{one.row.name}", because)
            continue
        if earlier and one.row.overlap is Overlap.SKIP:
            if one.stands_alone:
                because = {"tick": one.moment.isoformat(), "because": f"job/{earlier[0].id}"}
                workspace.record(tx, "schedule.skipped", f"schedule/{one.row.name}", because)
            continue
        if earlier:
            _replace(tx, workspace, one, earlier)
        going.append(one)
    runs = iter(submission.submit_in(tx, workspace, *(_wanted_run(one) for one in going if one.starts_run)))
    works = [_run_work(workspace, one, next(runs)) if one.starts_run else _task_work(workspace, one) for one in going]
    return queue.enqueue(tx, workspace, *works)


def _replace(tx: Session, workspace: Workspace, one: Start, earlier: Sequence[Job]) -> None:
    for job in earlier:
        control.cancel_in(tx, workspace, job, f"schedule/{one.row.name}")
    data = {"tick": one.moment.isoformat(), "cancelled": [f"job/{job.id}" for job in earlier]}
    workspace.record(tx, "schedule.replaced", f"schedule/{one.row.name}", data)


def _wanted_run(one: Start) -> Wanted:
    return Wanted(one.row.target, one.row.parameters, one.trigger, one.actor)


def _run_work(workspace: Workspace, one: Start, run: Run) -> Work:
    terms = terms_of_run(workspace, one.row.target, automatic=one.trigger != MANUAL)
    name = run.reference
    return Work(JobKind.RUN, name, name, {"run": run.id}, terms, schedule=one.row.name, tick=one.moment)


def _task_work(workspace: Workspace, one: Start) -> Work:
    kind, named = _TASKS[one.row.target_kind]
    payload = {named: one.row.target, **_files(one)}
    # One attempt: the next tick does the same work. A score that died leaves nothing but its own table to make.
    terms = terms_of(workspace, max_attempts=2 if kind is JobKind.SCORE else 1)
    key = f"{one.row.name}@{one.moment:%FT%T.%f}Z"
    return Work(kind, key, one.subject, payload, terms, schedule=one.row.name, tick=one.moment)


def _files(one: Start) -> dict[str, str]:
    """What a score reads and writes, with the day of the tick filled in."""
    if one.row.target_kind is not Target.SCORE:
        return {}
    day = f"{one.moment.astimezone(ZoneInfo(one.row.timezone)):%Y-%m-%d}"
    return {name: str(one.row.parameters[name]).replace("{date}", day) for name in ("input", "output")}


def _under_way(tx: Session, wanted: Sequence[Start]) -> dict[str, list[Job]]:
    """For each schedule the jobs, oldest first, that the overlap policy looks at."""
    # Work that queues waits by the rule of admission: there is nothing to look for.
    looking = [one for one in wanted if one.row.overlap is not Overlap.QUEUE]
    subjects = {one.subject for one in looking if not one.stands_alone}
    ours = col(Job.schedule).in_([one.row.name for one in looking]) | col(Job.subject).in_(subjects)
    jobs = tx.exec(select(Job).where(ours, col(Job.state).in_(UNDER_WAY)).order_by(col(Job.id))).all()
    found: dict[str, list[Job]] = {one.row.name: [] for one in wanted}
    for one in looking:
        subject = None if one.stands_alone else one.subject
        found[one.row.name] = [job for job in jobs if job.schedule == one.row.name or job.subject == subject]
    return found
