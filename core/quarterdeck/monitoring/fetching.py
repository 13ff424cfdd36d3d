"""Fetching a business KPI from the database that its settings name."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from sqlmodel import Session

from quarterdeck.errors import DataError, NotFoundError, UsageError
from quarterdeck.settings.kpis import KpiSettings
from quarterdeck.traffic.moments import EARLIEST
from quarterdeck.traffic.series import Taken, add_points, checked_points, newest_points
from quarterdeck.workspace import Workspace

if TYPE_CHECKING:
    from sqlalchemy import URL

    from quarterdeck.ports import Answer


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a query answered, and what became of it."""

    deployment: str
    name: str
    since: datetime
    """What stood for `:since`: the time of the last point that was known, 1970 where none was."""
    rows: int
    taken: Taken


def fetch(
    workspace: Workspace, deployment: str, name: str, *, fence: Callable[[Session], None] | None = None
) -> Fetched:
    """Ask the query of a KPI, and take the points that it answers; all of them are checked before one is taken.

    Raises:
        NotFoundError: the settings name no such KPI.
        UsageError: it has no query, or the environment lacks its secret.
        DataError: the database does not answer, or not with points; the message names the KPI and its settings.
        ReadOnlyError: the workspace is read-only, and no job asks.
    """
    if fence is None:  # A person asks: what processes observe is recorded all the same.
        workspace.refuse_if_read_only("kpi fetch")
    settings, place = _settings(workspace, deployment, name)
    since = _since(workspace, deployment, name)
    try:
        answer = workspace.ports.querier.ask(
            _url(workspace, settings, place),
            settings.query or "",
            since=since if settings.timezone is None else _local(since, settings.timezone),
            most=settings.rows,
            seconds=settings.timeout.total_seconds(),
        )
        points = checked_points(_rows(answer, settings), "its query's answer", workspace.now())
    except DataError as error:
        raise DataError(
            f"KPI '{name}' of deployment '{deployment}' was not fetched: {error} Mend that, or {place}, and try "
            f"it: `quarterdeck kpi fetch {deployment} {name}`."
        ) from error
    if fence is not None:
        with workspace.state.read() as tx:
            fence(tx)
    taken = add_points(workspace, deployment, name, points, verb="kpi fetch")
    return Fetched(deployment, name, since, len(answer.rows), taken)


def _settings(workspace: Workspace, deployment: str, name: str) -> tuple[KpiSettings, str]:
    """The KPI's settings, and where they are."""
    place = f"[deployments.{deployment}.kpis.{name}] in {workspace.settings_file}"
    kpis = workspace.settings.deployment(deployment).kpis
    if name not in kpis:
        known = ", ".join(sorted(kpis)) or "none yet"
        raise NotFoundError(
            f"The settings name no KPI '{name}' of deployment '{deployment}'. Known: {known}. Add {place} with a query "
            "and a database."
        )
    if kpis[name].query is None:
        raise UsageError(
            f"KPI '{name}' of deployment '{deployment}' has no query. Give {place} a query and a database; its points "
            "come by `quarterdeck kpi add` and `quarterdeck kpi import` until then."
        )
    return kpis[name], place


def _since(workspace: Workspace, deployment: str, name: str) -> datetime:
    with workspace.traffic.read() as tx:
        newest = newest_points(tx, deployment, name, 1)
    return newest[0].at if newest else EARLIEST


def _local(moment: datetime, zone: str) -> datetime:
    """As the database has it, which names no zone."""
    return moment.astimezone(ZoneInfo(zone)).replace(tzinfo=None)


def _url(workspace: Workspace, settings: KpiSettings, place: str) -> URL:
    from sqlalchemy import make_url

    url = make_url(settings.database or "")
    if url.get_backend_name() == "sqlite":
        return url.set(database=str(workspace.root / (url.database or "")))
    if settings.secret is None:
        return url
    password = os.environ.get(settings.secret)
    if not password:
        raise UsageError(
            f"The environment variable {settings.secret}, which {place} names as its secret, is not set here. Set it "
            "where the runner runs and start the runner again; `quarterdeck kpi fetch` needs it, too."
        )
    return url.set(password=password)


def _rows(answer: Answer, settings: KpiSettings) -> Iterator[tuple[Any, Any]]:
    """Times, with their zones, and values."""
    if len(answer.columns) != 2:
        raise DataError(
            f"its query answers {len(answer.columns)} columns ({', '.join(answer.columns)}); a point has two, its time "
            "and its value."
        )
    for number, (at, value) in enumerate(answer.rows, start=1):
        yield _zoned(at, settings.timezone, number), value


def _zoned(at: Any, zone: str | None, number: int) -> Any:
    """`at` with its zone; whatever is no time as it is."""
    found = at
    if isinstance(found, str):
        try:
            found = datetime.fromisoformat(found)
        except ValueError:
            return at
    if isinstance(found, date) and not isinstance(found, datetime):
        found = datetime.combine(found, time())
    if not isinstance(found, datetime) or found.tzinfo is not None:
        return found
    if zone is None:
        raise DataError(
            f"Row {number} of its query's answer has the time {at}, which names no zone. Select it with its zone, or "
            'say what it is in: timezone = "UTC".'
        )
    return found.replace(tzinfo=ZoneInfo(zone))
