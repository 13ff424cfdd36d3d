"""Pane 8: what runs, what waits and why, what needs a person, the schedules, and what ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from quarterdeck_console.board import RESULTS, Board, Scheduled, Section, read_board, timing, what_of
from quarterdeck_console.formatting import between, clean, moment, state, text
from quarterdeck_console.screens.job_text import (
    RunnerUse,
    describe_job,
    describe_schedule,
    elapsed_of,
    lasting,
)
from quarterdeck_console.screens.pane import Pane
from quarterdeck_console.screens.pipelines import memory
from quarterdeck_console.themes import ACCENT, BAD, BUSY, GOOD, MUTED, WARN
from quarterdeck_console.widgets.table import Column

if TYPE_CHECKING:
    from quarterdeck.runner.queries import JobRow
    from quarterdeck.workspace import Workspace

STRIP = {
    "succeeded": ("●", GOOD),
    "failed": ("✖", BAD),
    "dead": ("■", BAD),
    "lost": ("?", BAD),
    "cancelled": ("○", MUTED),
    "running": ("◐", BUSY),
    "queued": ("·", MUTED),
}
"""One result in a schedule's strip: its shape says it without the colour too."""


@dataclass(frozen=True, slots=True)
class Work:
    """A job or a schedule, as one row of the table."""

    key: str
    section: Section
    row: Any
    """A JobRow or a ScheduleRow."""
    state: str
    elapsed: int | None = None
    """Seconds for which it has been running, in whole steps."""
    results: tuple[str, ...] = ()

    @property
    def job(self) -> JobRow | None:
        return None if self.section is Section.SCHEDULES else self.row


def rows_of(board: Board) -> list[Work]:
    """The board as rows, section by section."""
    parts = ((Section.RUNNING, board.running), (Section.QUEUED, board.queued), (Section.TROUBLED, board.troubled))
    rows = [_of_job(section, job, board.now) for section, jobs in parts for job in jobs]
    rows += [_of_schedule(each) for each in board.schedules]
    return rows + [_of_job(Section.ENDED, job, board.now) for job in board.ended]


def _of_job(section: Section, job: JobRow, now: datetime) -> Work:
    elapsed = elapsed_of(job, now) if section is Section.RUNNING else None
    return Work(f"job/{job.id}", section, job, str(job.state), elapsed)


def _of_schedule(each: Scheduled) -> Work:
    return Work(f"schedule/{each.row.name}", Section.SCHEDULES, each.row, each.state, results=each.results)


def strip(results: Sequence[str]) -> Text:
    """Results as one character each, the newest to the right."""
    line = Text(" " * (RESULTS - len(results)), no_wrap=True)
    for result in results:
        line.append(*STRIP.get(result, ("·", MUTED)))
    return line


def _what(work: Work) -> Text:
    return text(work.row.name, ACCENT) if work.job is None else text(what_of(work.job))


def _when(work: Work) -> Text:
    job = work.job
    if job is None:
        return text("" if work.state == "paused" else moment(work.row.next_tick))
    if work.section is Section.QUEUED:
        return text(moment(job.created_at), MUTED)
    return text(moment(job.started_at if work.section is Section.RUNNING else job.finished_at))


def _took(work: Work) -> Text:
    return text(" " if work.job is None else between(work.job.started_at, work.job.finished_at) or " ")


def _note(work: Work) -> Text:
    job = work.job
    if job is None:
        who = work.row.paused_by or ("settings" if work.row.paused else "")
        words = Text(f"paused by {clean(who)}", WARN) if who else Text(clean(timing(work.row)), MUTED)
        if work.state == "held":
            words = Text(f"held while {work.row.held_by} is open: its ticks retrain nothing", WARN)
        return strip(work.results).append("  ").append_text(words)
    if work.section is Section.RUNNING:
        steps = f"{job.progress[0]}/{job.progress[1]} steps" if job.progress else ""
        stop = f"asked to stop by {job.cancel_requested_by}" if job.cancel_requested_by else ""
        return text(", ".join(filter(None, (stop, steps, lasting(work.elapsed)))), WARN if stop else BUSY)
    if work.section is Section.QUEUED:
        return text(job.waiting or " ", WARN)
    return text(job.error or " ", BAD if work.section is Section.TROUBLED else MUTED)


def _attempt(work: Work) -> Text:
    job = work.job
    return text(" " if job is None or not job.attempt else f"{job.attempt}/{job.max_attempts}", MUTED)


class JobsPane(Pane):
    name = "jobs"
    title = "Jobs"
    has_logs = True
    empty = (
        "No schedules and no jobs yet.\n"
        "[schedules.NAME] and [monitors.NAME] in quarterdeck.toml make schedules;\n"
        "`quarterdeck up` starts the runner that works the queue."
    )
    keys = (
        "row.logs",
        "write.execute",
        "write.hold",
        "write.cancel",
        "row.describe",
        "go.filter",
        "go.command",
        "go.help",
    )
    columns = (
        Column("STATE", lambda w: state(w.state)),
        Column("WHAT", _what, least=14),
        Column("WHEN", _when),
        Column("TOOK", _took, right=True, priority=2),
        Column("NOTE", _note, least=30),
        Column("JOB", lambda w: text(w.job.id if w.job else " ", MUTED), right=True, priority=3),
        Column("ATTEMPT", _attempt, right=True, priority=4),
        Column("PEAK", lambda w: text(memory(w.job and w.job.peak_memory_bytes) or " ", MUTED), right=True, priority=5),
    )

    def __init__(self) -> None:
        self.under_way = False
        """Whether a job runs: then time passes on the screen."""
        self._runner = RunnerUse()

    def read(self, workspace: Workspace, limit: int) -> Sequence[Work]:
        rows = rows_of(read_board(workspace, limit))
        self.under_way = any(row.section is Section.RUNNING for row in rows)
        return rows

    def key(self, row: Any) -> str:
        return str(row.key)

    def dim(self, row: Any) -> bool:
        return row.section is Section.ENDED

    def log(self, workspace: Workspace, row: Any) -> Path | None:
        from quarterdeck.runner.queries import job_log_path, started_jobs

        if row.job is not None:
            return job_log_path(workspace, row.job.id)
        newest = started_jobs(workspace, row.row.name, 1)
        return job_log_path(workspace, newest[0].id) if newest else None

    def detail(self, workspace: Workspace, row: Any) -> Text:
        if row.job is not None:
            return describe_job(workspace, row.job.id, self._runner)
        return describe_schedule(workspace, row.row, self._runner)
