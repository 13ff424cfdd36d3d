"""The one list of verbs, and how a verb ends."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from quarterdeck_console.cli import (
    alerting,
    comparing,
    data,
    delivery,
    demonstration,
    elsewhere,
    jobs,
    kpis,
    monitoring,
    objectives,
    operations,
    pipelines,
    predictions,
    reactions,
    registry,
    schedules,
    session,
    tokens,
    webhooks,
    workspace,
)
from quarterdeck_console.cli.output import say

app = typer.Typer(
    name="quarterdeck",
    help="The command deck for models in production. Without a verb the console opens.",
    no_args_is_help=False,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
data_app = typer.Typer(help="Datasets and their versions.", no_args_is_help=True)
predictions_app = typer.Typer(help="Recorded predictions.", no_args_is_help=True)
label_app = typer.Typer(help="The truth, when it arrives.", no_args_is_help=True)
kpi_app = typer.Typer(help="Business KPIs.", no_args_is_help=True)
monitor_app = typer.Typer(help="Monitors.", no_args_is_help=True)
audit_app = typer.Typer(help="The event log.", no_args_is_help=True)
service_app = typer.Typer(help="`up` as a service of systemd.", no_args_is_help=True)

token_app = typer.Typer(help="Who may ask the gateway.", no_args_is_help=True)

app.command("init")(workspace.init)
app.command("demo")(demonstration.demo)
app.command("up")(workspace.up)
app.command("status")(workspace.status)
app.command("doctor")(operations.doctor)
app.command("open")(workspace.open_at)
app.command("adopt")(delivery.adopt)
app.command("run")(pipelines.run)
app.command("runs")(pipelines.runs)
app.command("jobs")(jobs.jobs)
app.command("retry")(jobs.retry)
app.command("cancel")(jobs.cancel)
app.command("schedules")(schedules.schedules)
app.command("pause")(schedules.pause)
app.command("resume")(schedules.resume)
app.command("freeze")(schedules.freeze)
app.command("thaw")(schedules.thaw)
app.command("logs")(pipelines.logs)
app.command("models")(registry.models)
app.command("versions")(registry.versions)
app.command("lineage")(registry.lineage)
app.command("deploy")(delivery.deploy)
app.command("rollback")(delivery.rollback)
app.command("undo")(delivery.undo)
app.command("history")(delivery.history)
app.command("explain")(predictions.explain)
app.command("probe")(elsewhere.probe)
app.command("score")(elsewhere.score)
app.command("slo")(objectives.slo)
app.command("backtest")(reactions.backtest)
app.command("reactions")(reactions.reactions)
app.command("alerts")(monitoring.alerts)
app.command("drift")(comparing.drift)
app.command("ack")(monitoring.ack)
app.command("silence")(monitoring.silence)
app.command("unsilence")(monitoring.unsilence)
app.command("note")(monitoring.note)
app.command("ticket")(monitoring.ticket)
app.command("suspects")(alerting.suspects)
app.command("incident")(monitoring.incident)
app.command("report")(alerting.report)
app.command("webhooks")(webhooks.webhooks)
data_app.command("add")(data.add)
data_app.command("list")(data.list_versions)
predictions_app.command("add")(elsewhere.add_predictions)
predictions_app.command("list")(predictions.list_predictions)
label_app.command("add")(elsewhere.add_labels)
# A figure may be negative, and is no option then.
kpi_app.command("add", context_settings={"ignore_unknown_options": True})(kpis.add)
kpi_app.command("import")(kpis.import_points)
kpi_app.command("list")(kpis.listed)
kpi_app.command("show")(kpis.show)
kpi_app.command("fetch")(kpis.fetch)
monitor_app.command("list")(monitoring.listed)
monitor_app.command("run")(monitoring.run)
audit_app.command("verify")(workspace.verify)
audit_app.command("list")(workspace.events)
token_app.command("create")(tokens.create)
token_app.command("list")(tokens.list_tokens)
token_app.command("revoke")(tokens.revoke)
service_app.command("install")(operations.install)
service_app.command("uninstall")(operations.uninstall)
service_app.command("status")(operations.service_status)
for name, group in (
    ("data", data_app),
    ("predictions", predictions_app),
    ("label", label_app),
    ("kpi", kpi_app),
    ("monitor", monitor_app),
    ("audit", audit_app),
    ("service", service_app),
    ("token", token_app),
):
    app.add_typer(group, name=name)


@app.callback(invoke_without_command=True)
def quarterdeck(
    context: typer.Context,
    folder: Annotated[
        Path | None,
        typer.Option(
            "--workspace", "-w", help="A folder in the workspace; by default the current one.", show_default=False
        ),
    ] = None,
) -> None:
    """The command deck for models in production. Without a verb the console opens."""
    session.choose(folder)
    if context.invoked_subcommand is None:
        raise typer.Exit(workspace.console(None))


def run() -> int:
    """Run the command line and return the exit code: 0 done, 1 failed, 2 bad usage, 3 refused, 4 it moved."""
    # The telemetry of libraries that the engine uses stays off, whoever calls.
    os.environ.setdefault("DO_NOT_TRACK", "1")
    from quarterdeck.errors import QuarterdeckError

    try:
        # A `typer.Exit` that a verb raises comes back as its code; verbs that just end give None.
        return app(standalone_mode=False) or 0
    except QuarterdeckError as error:
        say(str(error))
        return error.exit_code
    except typer.Abort:
        say("Stopped.")
        return 130
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read our output has enough; Python would complain once more while it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0
    except typer.TyperException as error:
        # What Typer itself finds wrong: the parameter is named in this text only, the command in the context only.
        context = getattr(error, "ctx", None)
        command = context.command_path if context is not None else "quarterdeck"
        words = error.format_message().rstrip(".")
        say(f"{words}{'' if words.endswith('?') else '.'} See `{command} --help`.")
        return 2
