"""What a gateway that is killed takes along is counted, and what it counts is told to scrapers."""

from __future__ import annotations

import sqlite3
from functools import partial
from pathlib import Path

import httpx
import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from quarterdeck import bootstrap
from quarterdeck.deployments import rollout
from quarterdeck.serving.recorder import KILLED
from quarterdeck.workspace import Workspace
from tests.gateways import add_classifier, infer_body, running_gateway
from tests.waiting import wait_for


@pytest.fixture
def real(tmp_path: Path) -> Workspace:
    workspace = bootstrap.create_workspace(tmp_path / "workspace", actor="tester")
    rollout.deploy(workspace, "fraud", model="fraud", version=add_classifier(workspace))
    return workspace


def total(workspace: Workspace, sql: str) -> int:
    connection = sqlite3.connect(workspace.traffic.path)
    try:
        return int(connection.execute(sql).fetchone()[0] or 0)
    finally:
        connection.close()


def recorded(workspace: Workspace) -> int:
    return total(workspace, "SELECT count(*) FROM prediction WHERE NOT probe")


def recorded_are(workspace: Workspace, count: int) -> bool:
    return recorded(workspace) == count


def probes_are(workspace: Workspace, count: int) -> bool:
    return total(workspace, "SELECT count(*) FROM prediction WHERE probe") == count


def lost(workspace: Workspace) -> int:
    return total(workspace, f"SELECT sum(count) FROM unrecorded WHERE reason = '{KILLED}'")


def test_each_prediction_that_went_with_a_killed_worker_is_counted(real: Workspace) -> None:
    for round in (1, 2):  # A third one would find its revision withheld.
        with running_gateway(real.root) as gateway:
            for _ in range(20):
                assert gateway.infer("fraud", infer_body(3)).status_code == 200
            wait_for(partial(recorded_are, real, 60 * round), what="the recording")
            wait_for(partial(probes_are, real, round), what="the recording of the probe")
            with real.traffic.lock.held("someone else"):
                for _ in range(20):
                    assert gateway.infer("fraud", infer_body(3)).status_code == 200
                gateway.process.kill()
                gateway.process.wait()
        assert (recorded(real), lost(real)) == (60 * round, 60 * (round - 1))  # The last worker's are not known of yet.
    with running_gateway(real.root):
        wait_for(lambda: lost(real) == 120, what="the count of what was lost")
        assert recorded(real) == 120
    real.close()


def test_a_gateway_tells_its_counts(real: Workspace) -> None:
    with running_gateway(real.root) as gateway:
        for _ in range(5):
            gateway.infer("fraud", infer_body(2))
        assert gateway.infer("fraud", infer_body(1, amount=["much"])).status_code == 400
        wait_for(lambda: recorded(real) == 10, what="the recording")
        answer = httpx.get(
            f"http://127.0.0.1:{gateway.port}/metrics", headers={"accept": "application/openmetrics-text"}
        )
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    families: list[Metric] = list(text_string_to_metric_families(answer.text))  # type: ignore[no-untyped-call]  # untyped
    samples = {(s.name, *sorted(s.labels.items())): s.value for family in families for s in family.samples}
    route = (("deployment", "fraud"), ("variant", "champion"), ("version", "1"))
    assert samples["quarterdeck_requests_total", *route] == 5
    assert samples["quarterdeck_predictions_total", *route] == 10
    assert samples["quarterdeck_request_seconds_count", *route] == 5
    assert samples["quarterdeck_recorded_total", *route] >= 10
    reason = (("deployment", "fraud"), ("reason", "rejected"), *route[1:])
    assert samples["quarterdeck_errors_total", *reason] == 1
    real.close()
