"""What the detail tells about a job, a schedule and the runner."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from rich.text import Text

from quarterdeck_console.board import RESULTS, next_fires, span, timing
from quarterdeck_console.formatting import Page, between, clean, duration, moment, state
from quarterdeck_console.screens.pipelines import memory
from quarterdeck_console.themes import ACCENT, BAD, MUTED, WARN

if TYPE_CHECKING:
    from quarterdeck.pipelines.queries import ScheduleRow
    from quarterdeck.runner.queries import JobRow
    from quarterdeck.workspace import Workspace

ELAPSED_STEP = 5
"""Seconds by which the time that a job has run so far moves on: a terminal is written to no more often for it."""


def elapsed_of(job: JobRow, now: datetime) -> int:
    """Seconds for which a job has been running, in whole steps."""
    lived = (now - (job.started_at or now)).total_seconds()
    return max(0, int(lived)) // ELAPSED_STEP * ELAPSED_STEP


def lasting(seconds: int | None) -> str:
    """Whole seconds below a minute: `35 s`."""
    return f"{seconds} s" if seconds is not None and seconds < 60 else duration(seconds)


def describe_job(workspace: Workspace, job_id: int, runner: RunnerUse) -> Text:
    """Everything about a job, and the runner that works on it."""
    from quarterdeck.runner.queries import job, job_log_path

    row = job(workspace, job_id)
    page = Page().title(f"job/{row.id}", state(row.state))
    if row.error:
        page.line(row.error, BAD)
    _advise(page, row)
    page.field("kind", row.kind).field("for", row.subject, ACCENT)
    if row.pipeline:
        page.field("pipeline", row.pipeline)
    if row.schedule:
        page.field("schedule", row.schedule).field("tick", moment(row.tick))
    if row.waiting:
        page.field("waits", row.waiting, WARN)
    if row.cancel_requested_by:
        page.field("asked to stop", f"by {row.cancel_requested_by}", WARN)
    page.field("attempt", f"{row.attempt} of {row.max_attempts}")
    if row.failures or row.retries:
        page.field("failed", f"{row.failures} times; {row.retries} times it is tried again by itself")
    page.field("pool", row.pool or "none").field("priority", row.priority)
    page.field("timeout", "none" if row.timeout_seconds is None else span(row.timeout_seconds))
    page.field("memory limit", memory(row.memory_limit_bytes) or "none")
    page.heading("Times").field("asked for", moment(row.created_at))
    page.field("started", moment(row.started_at))
    if row.state != "running":  # How long so far moves on in the table: here it would draw the whole text anew.
        page.field("ended", moment(row.finished_at)).field("took", between(row.started_at, row.finished_at))
    if row.progress:
        page.field("progress", f"{row.progress[0]} of {row.progress[1]} steps")
    page.heading("Use").field("cpu", duration(row.cpu_seconds))
    page.field("memory", memory(row.memory_bytes)).field("peak memory", memory(row.peak_memory_bytes))
    path = job_log_path(workspace, job_id)
    page.heading("Log").line(path or "none yet: no attempt has started", MUTED)
    return runner.add_to(page, workspace).text


def _advise(page: Page, row: JobRow) -> None:
    if row.state == "dead":
        page.line(f"It failed as often as it may. E tries it again, as `quarterdeck retry job/{row.id}` does.", MUTED)


def describe_schedule(workspace: Workspace, known: ScheduleRow, runner: RunnerUse) -> Text:
    """Everything about a schedule: when it fires, and how its newest jobs ended."""
    from quarterdeck.pipelines.pausing import pauses
    from quarterdeck.pipelines.queries import schedules
    from quarterdeck.runner.queries import started_jobs

    row = next((each for each in schedules(workspace) if each.name == known.name), known)
    with workspace.state.read() as tx:
        pause = pauses(tx, "schedule").get(row.name)
    paused = row.paused or pause is not None
    page = Page().title(row.name, state("paused" if paused else "held" if row.held_by else "waiting"))
    page.field("starts", f"{row.target_kind} {row.target}", ACCENT)
    page.field("when", timing(row)).field("time zone", row.timezone)
    if row.paused:
        page.field("paused", f"by [schedules.{row.name}] in quarterdeck.toml", WARN)
    if pause is not None:
        page.field("paused", f"by {pause.actor}, {moment(pause.at)}", WARN).field("because", pause.reason)
    if row.held_by:
        page.field("held", f"{row.held_by} on inputs is open: what came in must not be learnt", WARN)
    page.field("overlap", row.overlap).field("misfire", row.misfire).field("grace", span(row.grace_seconds))
    page.field("last tick", moment(row.last_tick))
    _fires(page, workspace, row, paused=paused)
    if row.parameters:
        page.heading("Parameters").fields(row.parameters)
    page.heading("Last results")
    newest = started_jobs(workspace, row.name, RESULTS)
    for job in newest:
        words = state(job.state)
        words.pad_right(max(0, 12 - len(words)))
        at = moment(job.finished_at or job.started_at or job.created_at)
        words.append(f"{at}  job/{job.id}", MUTED).append(f"  {between(job.started_at, job.finished_at)}", MUTED)
        page.line(words)
        if job.error:
            page.line(f"    {job.error}", BAD)
    if not newest:
        page.line("None yet: it has not fired. E runs it now.", MUTED)
    return runner.add_to(page, workspace).text


def _fires(page: Page, workspace: Workspace, row: ScheduleRow, *, paused: bool) -> None:
    from quarterdeck.errors import UsageError

    page.heading("Next fires")
    try:
        fires = next_fires(row, workspace.now())
    except UsageError as error:
        page.line(error, BAD)
        return
    for fire in fires:
        page.line(f"  {moment(fire)}")
    if paused:
        page.line("None while it is paused: H resumes it.", MUTED)
    elif not fires:
        page.line(f"With the next version of {clean(row.on_data)}.", MUTED)


class RunnerUse:
    """What the runner itself uses, looked at once for each runner: its figures move with every heartbeat, and a screen
    on which nothing else happens is to stay as it is."""

    def __init__(self) -> None:
        self._pid: int | None = None
        self._words: tuple[str, str] = ("", "")
        self._at = ""

    def add_to(self, page: Page, workspace: Workspace) -> Page:
        """Put it at the end of a page."""
        from quarterdeck.runner.queries import runner_state

        runner, now = runner_state(workspace), workspace.now()
        page.heading("Runner")
        if not runner.alive or runner.since is None:
            return page.line("Down: `quarterdeck up` starts it.", BAD)
        if self._pid != runner.pid:
            share = 100 * runner.cpu_seconds / max(1.0, (now - runner.since).total_seconds())
            self._words = f"{share:.1f}% of a core since then", memory(runner.memory_bytes)
            self._pid = runner.pid
            self._at = moment(now)
        page.field("process", f"{runner.pid} since {moment(runner.since)}").field("cpu", self._words[0])
        return page.field("memory", self._words[1]).field("as of", self._at, MUTED)
