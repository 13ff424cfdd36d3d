"""Verbs on what follows from alerts: backtests and reactions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from quarterdeck_console.cli.output import Detach, JsonFlag, emit, say, table
from quarterdeck_console.cli.places import alert_number
from quarterdeck_console.cli.session import opened, runner_is_alive, wait_until

if TYPE_CHECKING:
    from quarterdeck.deployments.backtesting import BacktestRow
    from quarterdeck.workspace import Workspace

A_DAY_SECONDS = 24 * 3600.0


def backtest(
    name: Annotated[str, typer.Argument(metavar="DEPLOYMENT", help="The deployment.")],
    detach: Detach = False,
    as_data: JsonFlag = False,
) -> None:
    """Compare keeping, rolling back and retraining on recent labelled predictions; ends with 1 if that is no verdict.

    With --detach, or without a live runner, it ends with 0 once it is queued.
    """
    from quarterdeck.deployments.backtesting import backtest as read_backtest
    from quarterdeck.deployments.backtesting import request

    with opened() as workspace:
        number = request(workspace, name)
        say(f"backtest/{number} of {name} is queued.")
        if not detach and runner_is_alive(workspace):
            wait_until(workspace, lambda: _has_ended(workspace, number), seconds=A_DAY_SECONDS)
        row = read_backtest(workspace, number)
    emit(row, backtest_text(row), as_data=as_data)
    if row.finished_at is not None and row.verdict in (None, "not enough evidence"):
        raise typer.Exit(1)


def reactions(
    alert: Annotated[
        int | None,
        typer.Option(
            "--alert",
            metavar="ALERT",
            parser=alert_number,
            help="Only what follows this alert: 3 or alert/3.",
            show_default=False,
        ),
    ] = None,
    as_data: JsonFlag = False,
) -> None:
    """What follows from alerts by itself: each policy, when it fired last, what holds it, when it may fire again."""
    from quarterdeck.runner.reaction_queries import policy_rows, reactions_to

    with opened() as workspace:
        if alert is not None:
            found = reactions_to(workspace, alert)
            text = "\n".join(row.line for row in found) or f"No policy follows alert/{alert}."
            emit(found, text, as_data=as_data)
            return
        rows = policy_rows(workspace)
    text = table(
        ("policy", "on", "state", "alert", "may fire", "last fired", "result", "why"),
        [
            (
                row.policy,
                row.on,
                row.state,
                row.alert,
                row.may_fire_at,
                row.last_fired_at,
                row.last_result,
                row.reason,
            )
            for row in rows
        ],
        empty="No reactions. [[monitors.NAME.reactions]] in quarterdeck.toml says what follows from alerts.",
    )
    emit(rows, text, as_data=as_data)


def _has_ended(workspace: Workspace, number: int) -> bool | None:
    from quarterdeck.deployments.backtesting import backtest as read_backtest
    from quarterdeck.errors import QuarterdeckError
    from quarterdeck.runner.queries import job_of

    if read_backtest(workspace, number).finished_at is not None:
        return True
    job = job_of(workspace, f"backtest/{number}")
    if job is not None and not job.state.under_way:
        raise QuarterdeckError(
            f"backtest/{number} came to no end: job/{job.id} is {job.state}{f': {job.error}' if job.error else ''}. "
            f"`quarterdeck logs job/{job.id}` tells more, `quarterdeck retry job/{job.id}` tries it again."
        )
    return None


def backtest_text(row: BacktestRow) -> str:
    """A backtest as lines for people."""
    if row.finished_at is None:
        return f"backtest/{row.id} of {row.deployment} waits for a runner."
    found = row.outcome
    if row.verdict is None:
        return f"backtest/{row.id} of {row.deployment} failed: {found.get('error')}"
    lines = [f"backtest/{row.id} of {row.deployment}, version {row.version}: {row.verdict}", found["because"]]
    lines += [f"missing: {one}" for one in found["missing"]]
    if "candidates" in found:
        lines += ["", _candidates(found), "", _basis(found)]
    return "\n".join(lines)


def _candidates(found: dict[str, Any]) -> str:
    return table(
        ("candidate", "version", found["metric"], "low", "high", "why not"),
        [
            (one["name"], one["version"], one["value"], one["low"], one["high"], one["why_not"])
            for one in found["candidates"]
        ],
    )


def _basis(found: dict[str, Any]) -> str:
    text = (
        f"On the {found['rows']:,} newest labelled predictions, {found['from'][:16]} to {found['to'][:16]} UTC "
        f"({found['label_coverage']:.0%} of the predictions of that time have a label)."
    )
    if "trained_on" in found:
        text += (
            f"\nRetrained on {found['trained_on']}: {found['trained_rows']:,} rows that end before the compared ones; "
            f"{found['trained_on_because']}."
        )
    return text + "".join(f"\nFitting warned: {one}" for one in found.get("warned", []))
