"""Missing values at a real gateway: imputed, refused, or answered by a constant, a rule or another version."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from typing import Any

import pytest

from quarterdeck import bootstrap
from quarterdeck.deployments import rollout
from quarterdeck.workspace import Workspace
from tests.gateways import GatewayProcess, add_classifier, add_regressor, infer_body, running_gateway
from tests.waiting import wait_for

SETTINGS = """
[deployments.fraud.columns.age]
missing = "impute"
[deployments.fraud.columns.balance]
missing = "impute"
value = -0.25
[deployments.fraud.columns.amount]
missing = "fallback"
[deployments.fraud.columns.n_last_day]
missing = "reject"
[deployments.fraud.fallback]
constant = "no"

[deployments.cost.columns.amount]
missing = "fallback"
[deployments.cost.fallback]
rule = "rules.cost:estimate"

[deployments.staged.columns.amount]
missing = "fallback"
[deployments.staged.fallback]
version = 1

[deployments.lost.columns.amount]
missing = "fallback"
[deployments.lost.fallback]
rule = "rules.cost:nowhere"

[deployments.odd.columns.amount]
missing = "fallback"
[deployments.odd.fallback]
constant = "perhaps"
"""
RULE = """
from rules import prices  # a neighbour

def estimate(row):
    if row["age"] is None:
        raise ValueError("no age")
    return prices.BASE + row["age"]
"""
PROFILE = [{"name": "age", "type": "numeric", "quantiles": [value / 10 for value in range(21)], "categories": None}]
LACKING: dict[str, Any] = {"amount": [None]}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    root = tmp_path_factory.mktemp("policies") / "workspace"
    (root / "rules").mkdir(parents=True)
    (root / "rules" / "__init__.py").write_text("")
    (root / "rules" / "prices.py").write_text("BASE = 40\n")
    (root / "rules" / "cost.py").write_text(RULE)
    (root / "quarterdeck.toml").write_text(SETTINGS)
    workspace = bootstrap.create_workspace(root, actor="tester")
    rollout.deploy(workspace, "fraud", model="fraud", version=add_classifier(workspace, profile=PROFILE))
    rollout.deploy(workspace, "cost", model="cost", version=add_regressor(workspace))
    add_classifier(workspace, "staged", shift=-1.5)
    rollout.deploy(workspace, "staged", model="staged", version=add_classifier(workspace, "staged", shift=0.0))
    rollout.deploy(workspace, "lost", model="cost", version=1)
    rollout.deploy(workspace, "odd", model="fraud", version=1)
    yield workspace
    workspace.close()


@pytest.fixture(scope="module")
def gateway(workspace: Workspace) -> Iterator[GatewayProcess]:
    with running_gateway(workspace.root) as gateway:
        yield gateway


def recorded(workspace: Workspace, deployment: str, id: str) -> tuple[Any, ...]:
    """Version, variant, inputs and prediction of a recorded prediction."""
    sql = "SELECT version, variant, inputs, prediction FROM prediction WHERE deployment = ? AND id = ?"

    def look() -> tuple[Any, ...] | None:
        connection = sqlite3.connect(workspace.traffic.path)
        try:
            row = connection.execute(sql, (deployment, id)).fetchone()
        finally:
            connection.close()
        return None if row is None else (row[0], row[1], json.loads(row[2]), json.loads(row[3]))

    found = wait_for(look)
    assert found is not None
    return found


def test_imputed_values_are_counted_in_the_answer_and_recorded(workspace: Workspace, gateway: GatewayProcess) -> None:
    response = gateway.infer("fraud", infer_body(id="i1", age=None, balance=[None]))
    assert response.status_code == 200
    assert response.json()["parameters"] == {"imputed_columns": "age,balance", "imputed_count": 2}
    assert "x-variant" not in response.headers
    assert recorded(workspace, "fraud", "i1")[:3] == (1, "champion", [0.5, 1.0, -0.25, 0.5, "app"])
    plain = gateway.infer("fraud", infer_body(age=[1.0], balance=[-0.25])).json()
    assert response.json()["outputs"] == plain["outputs"]
    assert 'quarterdeck_imputed_values_total{column="age",deployment="fraud"} 1.0' in metrics_of(gateway)


def metrics_of(gateway: GatewayProcess) -> str:
    return gateway.client.get("/metrics").text


def test_ignored_columns_are_counted(gateway: GatewayProcess) -> None:
    assert gateway.infer("fraud", infer_body(weather=["fair"], moon=["full"])).status_code == 200
    assert 'quarterdeck_ignored_columns_total{deployment="fraud"} 2.0' in metrics_of(gateway)


def test_a_column_whose_policy_is_reject_is_named(gateway: GatewayProcess) -> None:
    response = gateway.infer("fraud", infer_body(n_last_day=[None]))
    assert response.status_code == 400
    assert "Column 'n_last_day' is missing in row 0" in response.json()["error"]
    renamed = gateway.infer("fraud", infer_body(n_last_day=None, n_lastday=[1.0]))
    assert "Hint: did 'n_lastday' mean 'n_last_day'?" in renamed.json()["error"]


@pytest.mark.parametrize("change", [{"amount": None}, {"amount": [None]}])
def test_a_constant_answers_for_a_request_that_lacks_a_column(
    workspace: Workspace, gateway: GatewayProcess, change: dict[str, Any]
) -> None:
    id = f"c{change['amount']}"
    response = gateway.infer("fraud", infer_body(id=id, **change))
    assert response.status_code == 200
    assert response.headers["x-variant"] == "fallback"
    assert "x-model-version" not in response.headers
    content = response.json()
    assert "model_version" not in content
    assert content["parameters"] == {"variant": "fallback", "fallback_columns": "amount"}
    assert content["outputs"] == [{"name": "predict", "datatype": "BYTES", "shape": [1], "data": ["no"]}]
    assert recorded(workspace, "fraud", id) == (0, "fallback", [None, 0.5, 0.5, 0.5, "app"], "no")


def test_a_rule_of_the_workspace_answers_and_its_failure_is_the_fallback_s(
    workspace: Workspace, gateway: GatewayProcess
) -> None:
    response = gateway.infer("cost", infer_body(2, id="r1", amount=[None, 1.0], age=[2.0, 3.0]))
    assert response.status_code == 200, response.text
    assert response.json()["outputs"][0]["data"] == [42.0, 43.0]
    assert recorded(workspace, "cost", "r1:1")[:2] == (0, "fallback")
    failed = gateway.infer("cost", infer_body(amount=[None], age=[None]))
    assert failed.status_code == 503
    assert "the rule rules.cost:estimate, failed: ValueError: no age" in failed.json()["error"]


def test_another_version_answers_and_is_named(workspace: Workspace, gateway: GatewayProcess) -> None:
    plain = gateway.infer("staged", infer_body(amount=[-3.0]))
    assert (plain.headers["x-model-version"], plain.json()["outputs"][0]["data"]) == ("2", ["no"])
    response = gateway.infer("staged", infer_body(id="v1", amount=[None], balance=[-3.0]))
    assert response.status_code == 200, response.text
    assert (response.headers["x-model-version"], response.headers["x-variant"]) == ("1", "fallback")
    assert response.json()["model_version"] == "1"
    assert [output["name"] for output in response.json()["outputs"]] == ["predict", "predict_proba"]
    assert recorded(workspace, "staged", "v1")[:2] == (1, "fallback")


@pytest.mark.parametrize(
    ("deployment", "expected"),
    [("lost", "cost.py has no function 'nowhere'"), ("odd", "constant 'perhaps' is none of the classes no, yes")],
)
def test_a_fallback_that_cannot_be_had_is_a_503_and_the_model_answers_on(
    gateway: GatewayProcess, deployment: str, expected: str
) -> None:
    response = gateway.infer(deployment, infer_body(**LACKING))
    assert response.status_code == 503
    assert f"The fallback of deployment '{deployment}' cannot answer: " in response.json()["error"]
    assert expected in response.json()["error"]
    assert gateway.infer(deployment, infer_body()).status_code == 200


def test_mlflow_s_protocol_has_the_same_policies(workspace: Workspace, gateway: GatewayProcess) -> None:
    record = {"amount": 3.0, "balance": 1.0, "n_last_day": 0.5, "channel": "app", "payment": "p1"}
    response = gateway.client.post("/invocations/fraud", json={"dataframe_records": [record]})
    assert response.status_code == 200
    assert response.json() == {
        "predictions": ["yes"],
        "parameters": {"imputed_columns": "age", "imputed_count": 1},
    }
    assert (response.headers["x-model-version"], response.headers["x-revision"]) == ("1", "1")
    assert recorded(workspace, "fraud", response.headers["x-request-id"])[1:3] == (
        "champion",
        [3.0, 1.0, 1.0, 0.5, "app"],
    )
    lacking = gateway.client.post("/invocations/fraud", json={"dataframe_records": [{**record, "amount": None}]})
    assert (lacking.json()["predictions"], lacking.headers["x-variant"]) == (["no"], "fallback")
    refused = gateway.client.post("/invocations/fraud", json={"dataframe_records": [{**record, "channel": 3}]})
    assert (refused.status_code, "Column 'channel' takes text" in refused.text) == (400, True)
    unknown = gateway.client.post("/invocations/fruad", json={"dataframe_records": [record]})
    assert (unknown.status_code, "Known: " in unknown.json()["error"]) == (404, True)
