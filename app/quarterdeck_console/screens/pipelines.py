"""Pane 2: pipelines, their runs, and the steps of a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from rich.text import Text

from quarterdeck_console.formatting import Page, between, clean, duration, metrics, moment, number, state, text
from quarterdeck_console.screens.pane import Pane, TextPage
from quarterdeck_console.themes import ACCENT, BAD, MUTED, WARN
from quarterdeck_console.widgets.table import Column

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quarterdeck.workspace import Workspace


def next_tick(row: Any) -> Text:
    """When a pipeline starts next, or who has paused it."""
    if row.paused_by or row.held_by:
        return text(f"paused by {row.paused_by}" if row.paused_by else f"held by {row.held_by}", WARN)
    return text(moment(row.next_tick))


def describe_run(workspace: Workspace, run_id: int) -> Text:
    """Everything that was recorded about a run."""
    from quarterdeck.pipelines.queries import run

    row = run(workspace, run_id)
    page = Page().title(f"run {row.id} of {row.pipeline}", state(row.state))
    page.field("asked for by", f"{row.requested_by} ({row.trigger})").field("queued", moment(row.queued_at))
    page.field("started", moment(row.started_at)).field("took", duration(row.seconds))
    page.field("version", row.version, ACCENT)
    if row.error:
        page.field("error", row.error, BAD)
    if row.metrics:
        page.heading("Metrics").fields(row.metrics)
    page.heading("Steps")
    for step in row.steps:
        reads = ", ".join(row.graph.get(step.name, ())) or "nothing"
        words = Text.assemble(state(step.state), f"  {clean(step.name)}", (f"  <- {clean(reads)}", MUTED))
        page.line(words.append(f"  {duration(step.wall_seconds)}", MUTED))
        if step.error:
            page.line(f"    {step.error}", BAD)
    if row.parameters or row.inputs:
        page.heading("Given").fields({**row.inputs, **row.parameters})
    if row.git:
        page.heading("Code").fields({k: row.git[k] for k in ("commit", "branch", "dirty") if k in row.git})
    page.heading("Environment").fields(
        {name: value for name, value in row.environment.items() if name in ("python", "platform", "host")}
    )
    return page.field("packages", len(row.environment)).field("seed", row.seed).text


class PipelinesPane(Pane):
    name = "pipelines"
    title = "Pipelines"
    has_logs = True
    empty = (
        "No pipelines yet.\n"
        "Write pipelines/train.py with @step functions and pipeline(...),\n"
        "or see one with `quarterdeck demo`."
    )
    keys = (
        "move.enter",
        "write.execute",
        "write.hold",
        "row.describe",
        "row.logs",
        "go.filter",
        "go.command",
        "go.help",
    )
    columns: ClassVar[tuple[Column, ...]] = (
        Column("PIPELINE", lambda r: text(r.name, BAD if r.error else ""), least=10),
        Column("LAST RUN", lambda r: state(r.last_state) if r.last_state else state("never")),
        Column("RUN", lambda r: text(r.last_run, MUTED), right=True, priority=3),
        Column("FINISHED", lambda r: text(moment(r.last_finished)), priority=2),
        Column("RUNS", lambda r: text(r.runs), right=True, priority=3),
        Column("NEXT", next_tick, priority=2),
        Column("STEPS", lambda r: text(" -> ".join(r.steps), MUTED), priority=4, least=16),
        Column("", lambda r: text(r.error or " ", BAD), priority=5, least=8),
    )

    def read(self, workspace: Workspace, limit: int) -> Sequence[Any]:
        from quarterdeck.pipelines.queries import pipelines

        return pipelines(workspace)

    def key(self, row: Any) -> str:
        return f"pipeline/{row.name}"

    def enter(self, row: Any) -> Pane:
        return RunsPane(row.name)

    def pipeline(self, row: Any) -> str | None:
        return str(row.name)

    def log(self, workspace: Workspace, row: Any) -> Path | None:
        from quarterdeck.runner.queries import run_log_path

        return run_log_path(workspace, row.last_run) if row.last_run else None

    def detail(self, workspace: Workspace, row: Any) -> Text:
        page = Page().title(row.name).field("defined in", f"{row.file}:{row.line}")
        if row.error:
            return page.field("error", row.error, BAD).text
        page.field("schedule", row.schedule).field("next", moment(row.next_tick))
        if row.paused_by:
            page.field("paused", f"by {row.paused_by}: its runs wait. H resumes it.", WARN)
        page.heading("Steps")
        for name in row.steps:
            page.line(f"  {name}")
        if row.parameters:
            page.heading("Parameters")
            for name in row.parameters:
                page.line(f"  {name}")
        if row.last_run is None:
            return page.heading("Runs").line("None yet: press E to run it now.", MUTED).text
        page.line("")
        page.text.append_text(describe_run(workspace, row.last_run))
        return page.text


class RunsPane(Pane):
    name = "runs"
    title = "Runs"
    has_logs = True
    empty = "No runs yet. Press Esc, then E on the pipeline, or `quarterdeck run PIPELINE`."
    keys = ("move.enter", "row.logs", "row.describe", "write.execute", "write.cancel", "go.back", "go.help")
    columns = (
        Column("RUN", lambda r: text(r.id), right=True),
        Column("STATE", lambda r: state(r.state)),
        Column("VERSION", lambda r: text(r.version, ACCENT)),
        Column("STARTED", lambda r: text(moment(r.started_at or r.queued_at))),
        Column("TOOK", lambda r: text(duration(r.seconds)), right=True, priority=2),
        Column("BY", lambda r: text(r.requested_by, MUTED), priority=3),
        Column("TRIGGER", lambda r: text(r.trigger, MUTED), priority=4),
        Column("ERROR", lambda r: text(r.error or " ", BAD), priority=2, least=10),
    )

    def __init__(self, pipeline: str) -> None:
        self._pipeline = pipeline

    @property
    def crumb(self) -> str:
        return self._pipeline

    def read(self, workspace: Workspace, limit: int) -> Sequence[Any]:
        from quarterdeck.pipelines.queries import runs

        return runs(workspace, self._pipeline, limit)

    def key(self, row: Any) -> str:
        return f"run/{row.id}"

    def enter(self, row: Any) -> Pane:
        return StepsPane(row.id)

    def pipeline(self, row: Any) -> str | None:
        return str(row.pipeline)

    def run(self, row: Any) -> int | None:
        return int(row.id)

    def log(self, workspace: Workspace, row: Any) -> Path | None:
        from quarterdeck.runner.queries import run_log_path

        return run_log_path(workspace, row.id)

    def detail(self, workspace: Workspace, row: Any) -> Text:
        return describe_run(workspace, row.id)


class StepsPane(Pane):
    name = "steps"
    title = "Steps"
    has_logs = True
    empty = "No steps yet: the run is waiting for a runner (`quarterdeck up` starts one)."
    keys = ("move.enter", "row.logs", "write.cancel", "go.back", "go.help")
    columns = (
        Column("#", lambda r: text(r.position + 1, MUTED), right=True, priority=3),
        Column("STEP", lambda r: text(r.name)),
        Column("STATE", lambda r: state(r.state)),
        Column("STARTED", lambda r: text(moment(r.started_at)), priority=2),
        Column("WALL", lambda r: text(duration(r.wall_seconds)), right=True),
        Column("CPU", lambda r: text(duration(r.cpu_seconds)), right=True, priority=3),
        Column("PEAK", lambda r: text(memory(r.peak_memory_bytes)), right=True, priority=3),
        Column("PARAMETERS", lambda r: text(metrics(r.parameters, 6) or " ", MUTED), priority=4, least=10),
        Column("ERROR", lambda r: text(r.error or " ", BAD), priority=2, least=10),
    )

    def __init__(self, run_id: int) -> None:
        self._run = run_id

    @property
    def crumb(self) -> str:
        return f"run {self._run}"

    def read(self, workspace: Workspace, limit: int) -> Sequence[Any]:
        from quarterdeck.pipelines.queries import run

        return run(workspace, self._run).steps

    def key(self, row: Any) -> str:
        return f"run/{self._run}/{row.name}"

    def run(self, row: Any) -> int | None:
        return self._run

    def enter(self, row: Any) -> TextPage:
        return TextPage(str(row.name), lambda workspace: self._step(row))

    def log(self, workspace: Workspace, row: Any) -> Path | None:
        from quarterdeck.runner.queries import run_log_path

        return run_log_path(workspace, self._run)

    def detail(self, workspace: Workspace, row: Any) -> Text:
        return describe_run(workspace, self._run)

    def _step(self, row: Any) -> Text:
        page = Page().title(row.name, state(row.state))
        page.field("started", moment(row.started_at)).field("took", between(row.started_at, row.finished_at))
        page.field("cpu", duration(row.cpu_seconds)).field("peak memory", memory(row.peak_memory_bytes))
        page.field("output", f"{row.output_type} {row.output}" if row.output else None)
        if row.parameters:
            page.heading("Parameters").fields(row.parameters)
        if row.error:
            page.heading("Error").line(row.error, BAD).line("Press l on the step for the log.", MUTED)
        return page.text


def memory(size: int | None) -> str:
    """A size in megabytes; nothing for None."""
    return "" if size is None else f"{number(round(size / 1e6))} MB"
