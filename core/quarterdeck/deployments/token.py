"""Tokens: who may ask the gateway, and for which deployments. Only their digests are kept."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlmodel import Field, col, select

from quarterdeck.database import Entity, json_column, time_column
from quarterdeck.deployments.deployment import find_deployment
from quarterdeck.errors import NotFoundError, RefusedError, UsageError
from quarterdeck.values import check_name
from quarterdeck.workspace import Workspace

PREFIX = "qd_"
"""By which people and scanners for leaked secrets know one."""


class Token(Entity, table=True):
    name: str = Field(primary_key=True)
    digest: str = Field(unique=True)
    """SHA-256 of the token, in hexadecimal: it is 256 random bits, so no salt and no stretching would add to it."""
    deployments: list[str] = Field(sa_column=json_column())
    """What it may ask; everything when empty."""
    created_by: str
    created_at: datetime = Field(sa_column=time_column(required=True))
    revoked_at: datetime | None = Field(default=None, sa_column=time_column())


@dataclass(frozen=True, slots=True)
class TokenRow:
    """A token as it is listed: never itself."""

    name: str
    deployments: tuple[str, ...]
    created_by: str
    created_at: datetime
    revoked_at: datetime | None


def create_token(workspace: Workspace, name: str, deployments: Sequence[str] = (), *, actor: str | None = None) -> str:
    """Make a token for `deployments` (all where there are none) and return it. It cannot be read again.

    Raises:
        UsageError: the name cannot be one.
        NotFoundError: there is no such deployment.
        RefusedError: there is or was a token of that name.
        ReadOnlyError: the workspace is read-only.
    """
    try:
        check_name(name)
    except ValueError as error:
        raise UsageError(f"{str(error).capitalize()}.") from None
    token = PREFIX + secrets.token_urlsafe(32)
    with workspace.change("token create") as tx:
        for deployment in deployments:
            find_deployment(tx, deployment)
        if tx.get(Token, name) is not None:
            raise RefusedError(f"There is or was a token '{name}' (`quarterdeck token list`): take another name.")
        tx.add(
            Token(
                name=name,
                digest=digest_of(token),
                deployments=sorted(set(deployments)),
                created_by=actor or workspace.actor,
                created_at=workspace.now(),
            )
        )
        workspace.record(tx, "token.created", f"token/{name}", {"deployments": list(deployments)}, actor=actor)
    return token


def revoke_token(workspace: Workspace, name: str, *, actor: str | None = None) -> None:
    """Let a token open nothing any more; the gateway's workers hear of it within milliseconds.

    Raises:
        NotFoundError: there is none of that name.
        RefusedError: it was revoked before.
        ReadOnlyError: the workspace is read-only.
    """
    with workspace.change("token revoke") as tx:
        token = tx.get(Token, name)
        if token is None:
            raise NotFoundError(f"There is no token '{name}'. `quarterdeck token list` has them.")
        if token.revoked_at is not None:
            raise RefusedError(f"Token '{name}' was revoked already, at {token.revoked_at:%Y-%m-%d %H:%M} UTC.")
        token.revoked_at = workspace.now()
        workspace.record(tx, "token.revoked", f"token/{name}", actor=actor)


def tokens(workspace: Workspace) -> list[TokenRow]:
    """All tokens, by name; revoked ones too."""
    with workspace.state.read() as tx:
        return [
            TokenRow(one.name, tuple(one.deployments), one.created_by, one.created_at, one.revoked_at)
            for one in tx.exec(select(Token).order_by(Token.name))
        ]


def valid_tokens(workspace: Workspace) -> dict[str, frozenset[str]]:
    """By digest what each token may ask that was not revoked; an empty set means everything."""
    with workspace.state.read() as tx:
        found = tx.exec(select(Token).where(col(Token.revoked_at).is_(None)))
        return {one.digest: frozenset(one.deployments) for one in found}


def digest_of(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
