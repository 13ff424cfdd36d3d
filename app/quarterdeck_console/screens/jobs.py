"""Pane 8: schedules with their next tick, and the queue."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from quarterdeck_console.formatting import Page, between, duration, moment, raw, state, text
from quarterdeck_console.screens.pane import Pane
from quarterdeck_console.themes import ACCENT, BAD, MUTED
from quarterdeck_console.widgets.table import Column

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quarterdeck.pipelines.queries import ScheduleRow
    from quarterdeck.workspace import Workspace

BROKEN = frozenset({"failed", "lost"})


@dataclass(frozen=True, slots=True)
class Work:
    """A schedule or a job, in the words of one table."""

    key: str
    kind: str
    subject: str
    state: str
    at: datetime | None
    """When it fires next, or when it started or will start."""
    took: str
    attempt: str
    error: str | None
    source: Any
    job: int | None = None
    run: int | None = None


def of_schedule(row: ScheduleRow) -> Work:
    when = row.cron or (f"every {duration(row.every_seconds)}" if row.every_seconds else f"on data {row.on_data}")
    words = "paused" if row.paused else "waiting"
    return Work(f"schedule/{row.name}", "schedule", row.name, words, row.next_tick, when, "", None, row)


def of_job(row: Any) -> Work:
    subject = str(row.subject)
    run = int(subject.removeprefix("run/")) if subject.startswith("run/") and row.kind == "run" else None
    return Work(
        key=f"job/{row.id}",
        kind=str(row.kind),
        subject=subject,
        state=str(row.state),
        at=row.started_at or row.created_at,
        took=between(row.started_at, row.finished_at),
        attempt=f"{row.attempt}/{row.max_attempts}" if row.attempt else "",
        error=row.error or (f"waits for {row.waits_for}" if row.waits_for else None),
        source=row,
        job=row.id,
        run=run,
    )


class JobsPane(Pane):
    name = "jobs"
    title = "Jobs"
    empty = (
        "No schedules and no jobs yet.\n"
        "[schedules.NAME] and [monitors.NAME] in quarterdeck.toml make schedules;\n"
        "`quarterdeck up` starts the runner that works the queue."
    )
    keys = ("move.enter", "row.logs", "write.cancel", "row.raw", "go.filter", "go.command", "go.help")
    columns = (
        Column("KIND", lambda w: text(w.kind, MUTED if w.kind != "schedule" else ACCENT)),
        Column("WHAT", lambda w: text(w.subject), least=10),
        Column("STATE", lambda w: state(w.state)),
        Column("AT", lambda w: text(moment(w.at))),
        Column("TOOK", lambda w: text(w.took or " "), priority=2),
        Column("ATTEMPT", lambda w: text(w.attempt or " ", MUTED), priority=4),
        Column("JOB", lambda w: text(w.job or " ", MUTED), right=True, priority=4),
        Column("NOTE", lambda w: text(w.error or " ", BAD if w.state in BROKEN else MUTED), priority=3, least=10),
    )

    def read(self, workspace: Workspace, limit: int) -> Sequence[Work]:
        from quarterdeck.pipelines.queries import schedules
        from quarterdeck.runner.queries import jobs

        return [*map(of_schedule, schedules(workspace)), *map(of_job, jobs(workspace, limit))]

    def key(self, row: Any) -> str:
        return str(row.key)

    def run(self, row: Any) -> int | None:
        return None if row.run is None else int(row.run)

    def log(self, workspace: Workspace, row: Any) -> Path | None:
        from quarterdeck.runner.queries import job_log_path

        return None if row.job is None else job_log_path(workspace, row.job)

    def detail(self, workspace: Workspace, row: Any) -> Text:
        page = Page().title(row.subject, state(row.state))
        if row.job is None:
            s = row.source
            page.field("starts", f"{s.target_kind} {s.target}", ACCENT).field("when", row.took)
            page.field("time zone", s.timezone).field("last tick", moment(s.last_tick))
            page.field("next tick", moment(s.next_tick))
            if s.parameters:
                page.heading("Parameters").fields(s.parameters)
            return page.text
        page.field("kind", row.kind).field("attempt", row.attempt).field("created", moment(row.source.created_at))
        page.field("started", moment(row.source.started_at)).field("took", row.took)
        if row.error:
            page.heading("Note").line(row.error, BAD if row.state in BROKEN else "")
        page.heading("Row")
        for line in raw(row.source).splitlines():
            page.line(line, MUTED)
        return page.text
