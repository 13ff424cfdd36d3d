"""KPIs by a real runner from a SQLite file that somebody else writes: fetched as it grows, and seen where it fails."""

from __future__ import annotations

import json
import sqlite3
import subprocess
from pathlib import Path

from quarterdeck.monitoring.kpis import kpis
from quarterdeck.runner.job import Job, JobKind, JobState
from quarterdeck.workspace import Workspace
from tests.business import sell
from tests.deck import ENVIRONMENT, QUARTERDECK
from tests.integration.runner_harness import jobs, make_workspace, running
from tests.waiting import wait_for

SETTINGS = """\
[deployments.shop.kpis.sales]
query = "select at, amount from sales where at >= :since"
database = "sqlite:///outside/shop.db"
every = "1s"
"""


def ended(workspace: Workspace) -> list[Job]:
    return [job for job in jobs(workspace) if job.kind is JobKind.KPI and not job.state.under_way]


def known(workspace: Workspace) -> int:
    (row,) = kpis(workspace, "shop")
    return row.points


def quarterdeck(workspace: Workspace, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [QUARTERDECK, "-w", str(workspace.root), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, env=ENVIRONMENT)


def failed_with(workspace: Workspace, words: str) -> Job | None:
    return next((job for job in ended(workspace) if words in (job.error or "")), None)


def test_a_runner_fetches_what_is_new_and_tells_of_a_database_that_is_gone_or_talks_nonsense(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path / "w", settings=SETTINGS)
    outside = workspace.root / "outside"
    with running(workspace, "runner") as runner:
        runner.wait_until_ready()
        wait_for(lambda: failed_with(workspace, "there is no file"), seconds=60, what="a failed job")
        outside.mkdir()
        shop = sell(outside / "shop.db", [("2026-01-01T00:00:00Z", 10), ("2026-01-02T00:00:00Z", 20)])
        wait_for(lambda: known(workspace) == 2, seconds=60, what="the first points")
        sell(shop, [("2026-01-03T00:00:00Z", 30)])
        wait_for(lambda: known(workspace) == 3, seconds=60, what="the third point")
        sell(shop, [("2026-01-04T00:00:00Z", "a lot"), ("2026-01-05T00:00:00Z", 50)])
        wait_for(lambda: failed_with(workspace, "'a lot', which is no number"), seconds=60, what="nonsense")
        # Not even what is right in an answer that is wrong.
        assert known(workspace) == 3
        shown = json.loads(quarterdeck(workspace, "doctor", "--json").stdout)
        (kpi,) = [check for check in shown["checks"] if check["name"] == "kpis"]
        assert (kpi["state"], "'a lot', which is no number" in kpi["found"]) == ("problem", True)
        connection = sqlite3.connect(shop)
        with connection:
            connection.execute("DELETE FROM sales WHERE amount = 'a lot'")
        connection.close()
        wait_for(lambda: known(workspace) == 4, seconds=60, what="the last point")
        runner.kill()
    first = failed_with(workspace, "there is no file")
    assert first is not None
    assert (first.state, first.subject) == (JobState.FAILED, "kpi/shop/sales")
    assert first.error is not None
    assert f"[deployments.shop.kpis.sales] in {workspace.settings_file}" in first.error
    listed = quarterdeck(workspace, "jobs")
    assert "kpi/shop/sales" in listed.stdout
    # The same answer again, by hand, after a runner that was killed: nothing comes twice.
    assert quarterdeck(workspace, "kpi", "fetch", "shop").stdout == "sales: 1 row. 0 points added. 1 known already.\n"
    assert known(workspace) == 4
    workspace.close()
