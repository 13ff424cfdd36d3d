"""The business of a deployment for tests: a database of somebody else's, and the settings that fetch KPIs from it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from quarterdeck.settings import Settings
from quarterdeck.workspace import Workspace

SALES = "select at, amount from sales where at >= :since"


def sell(path: Path, rows: Iterable[tuple[Any, Any]]) -> Path:
    """Put rows of time and amount into the table `sales` of a SQLite file."""
    connection = sqlite3.connect(path)
    with connection:
        connection.execute("CREATE TABLE IF NOT EXISTS sales (at, amount)")
        connection.executemany("INSERT INTO sales VALUES (?, ?)", rows)
    connection.close()
    return path


def fetching(workspace: Workspace, deployment: str = "shop", **kpi: Any) -> Workspace:
    """The workspace with a KPI `sales`, by a query of `shop.db` in its folder unless that is said otherwise."""
    settings = {"query": SALES, "database": "sqlite:///shop.db", **kpi}
    deployments = {deployment: {"kpis": {"sales": settings}}}
    kept = {"monitors": workspace.settings.monitors}
    return replace(workspace, settings=Settings.model_validate({**kept, "deployments": deployments}))
