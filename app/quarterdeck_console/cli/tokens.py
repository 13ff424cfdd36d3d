"""Verbs on tokens."""

from __future__ import annotations

from typing import Annotated

import typer

from quarterdeck_console.cli.output import JsonFlag, emit, say, table
from quarterdeck_console.cli.session import opened

TokenName = Annotated[str, typer.Argument(metavar="NAME", help="The token's name, such as the client's.")]


def create(
    name: TokenName,
    deployments: Annotated[
        list[str] | None,
        typer.Option("--deployment", "-d", help="What it may ask; may be given often. Everything by default."),
    ] = None,
    as_data: JsonFlag = False,
) -> None:
    """Make a token and print it, this once: only its digest is kept."""
    from quarterdeck.deployments.token import create_token

    with opened() as workspace:
        token = create_token(workspace, name, deployments or [])
        asked_for = workspace.settings.gateway.require_token
    emit({"name": name, "token": token, "deployments": deployments or []}, token, as_data=as_data)
    if not asked_for:
        say("The gateway asks for no token yet: set require_token = true under [gateway], and start it again.")


def list_tokens(as_data: JsonFlag = False) -> None:
    """The tokens by name, and what each may ask."""
    from quarterdeck.deployments.token import tokens

    with opened() as workspace:
        rows = tokens(workspace)
    lines = [
        (row.name, ", ".join(row.deployments) or "everything", row.created_by, row.created_at, row.revoked_at)
        for row in rows
    ]
    emit(rows, table(("token", "for", "by", "created", "revoked"), lines), as_data=as_data)


def revoke(name: TokenName, as_data: JsonFlag = False) -> None:
    """Let a token open nothing any more."""
    from quarterdeck.deployments.token import revoke_token

    with opened() as workspace:
        revoke_token(workspace, name)
    emit({"name": name, "revoked": True}, f"Token {name} opens nothing any more.", as_data=as_data)
