"""The verb on webhooks: how they fare, and a test of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from quarterdeck_console.cli.output import JsonFlag, cell, emit, say, table
from quarterdeck_console.cli.session import opened

if TYPE_CHECKING:
    from quarterdeck.runner.webhooks import WebhookState


def webhooks(
    test: Annotated[
        bool,
        typer.Option("--test", help="Send each a test, and say what it answered; ends with 1 if one did not take it."),
    ] = False,
    as_data: JsonFlag = False,
) -> None:
    """The webhooks: whether they take what they are told, what waits, and what was given up."""
    from quarterdeck.runner.webhooks import read_webhooks, try_webhooks

    with opened() as workspace:
        answers = try_webhooks(workspace) if test else []
        rows = read_webhooks(workspace)
    text = webhooks_table(rows)
    if answers:
        told = [(one.name, one.error if one.status is None else f"took the test: {one.status}") for one in answers]
        text += "\n\n" + "\n".join(f"{name}: {words}" for name, words in told)
    value: Any = [as_row(row) for row in rows]
    emit({"webhooks": value, "answers": answers} if test else value, text, as_data=as_data)
    tell_of_trouble(rows)
    if any(answer.status is None for answer in answers):
        raise typer.Exit(1)


def as_row(row: WebhookState) -> dict[str, Any]:
    """One webhook as scripts see it."""
    return {**asdict(row), "next": row.advice}


def webhooks_table(rows: Sequence[WebhookState]) -> str:
    headings = ("webhook", "format", "told of", "state", "since", "last taken", "waiting", "given up")
    cells = [
        (row.name, row.format, row.severities, row.state, row.since, row.last_taken, row.waiting, row.given_up)
        for row in rows
    ]
    return table(headings, cells, empty="No webhooks. [notifications] in quarterdeck.toml says who is told of alerts.")


def tell_of_trouble(rows: Sequence[WebhookState]) -> None:
    """What is wrong with them, and the next step, on stderr."""
    for row in rows:
        if row.state.ill:
            say(f"{row.name} takes nothing since {cell(row.since)} UTC: {row.error}")
        if row.advice:
            say(f"{row.name}: {row.advice}.")
