"""A real gateway process over HTTP: good requests are answered and recorded, bad ones told why."""

from __future__ import annotations

import gzip
import json
import socket
import sqlite3
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from quarterdeck import bootstrap
from quarterdeck.deployments import rollout
from quarterdeck.deployments.deployment import ServedBy
from quarterdeck.workspace import Workspace
from tests.gateways import GatewayProcess, add_classifier, add_regressor, infer_body, running_gateway
from tests.waiting import wait_for

LIMIT = 200_000


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    root = tmp_path_factory.mktemp("gateway") / "workspace"
    root.mkdir()
    (root / "quarterdeck.toml").write_text(f"[gateway]\nmax_body_bytes = {LIMIT}\n")
    workspace = bootstrap.create_workspace(root, actor="tester")
    rollout.deploy(workspace, "fraud", model="fraud", version=add_classifier(workspace))
    rollout.deploy(workspace, "cost", model="cost", version=add_regressor(workspace))
    elsewhere = add_classifier(workspace, "churn", format="external", artifact=None)
    rollout.deploy(workspace, "churn", model="churn", version=elsewhere, served_by=ServedBy.EXTERNAL)
    yield workspace
    workspace.close()


@pytest.fixture(scope="module")
def gateway(workspace: Workspace) -> Iterator[GatewayProcess]:
    with running_gateway(workspace.root) as gateway:
        yield gateway


def recorded(path: Path, sql: str, *values: object) -> list[tuple[Any, ...]]:
    connection = sqlite3.connect(path)
    try:
        return connection.execute(sql, values).fetchall()
    finally:
        connection.close()


def test_a_classifier_answers_and_says_which_version_and_revision_it_was(gateway: GatewayProcess) -> None:
    response = gateway.infer("fraud", infer_body(2, amount=[3.0, -3.0], id="c1"))
    assert response.status_code == 200
    assert (response.headers["x-model-version"], response.headers["x-revision"]) == ("1", "1")
    content = response.json()
    assert (content["model_name"], content["model_version"], content["id"]) == ("fraud", "1", "c1")
    predict, proba = content["outputs"]
    assert predict == {"name": "predict", "datatype": "BYTES", "shape": [2], "data": ["yes", "no"]}
    assert (proba["datatype"], proba["shape"]) == ("FP64", [2, 2])
    assert sum(proba["data"][:2]) == pytest.approx(1)


def test_a_regressor_answers_numbers(gateway: GatewayProcess) -> None:
    (output,) = gateway.infer("cost", infer_body(amount=[2.0])).json()["outputs"]
    assert (output["name"], output["datatype"], output["shape"]) == ("predict", "FP64", [1])
    assert output["data"][0] == pytest.approx(7, abs=0.5)


def test_nulls_are_missing_values_in_every_column(gateway: GatewayProcess) -> None:
    for rows in (1, 3):
        nulls: list[Any] = [None] * rows
        response = gateway.infer("fraud", infer_body(rows, amount=nulls, age=nulls, channel=nulls))
        assert response.status_code == 200, response.text


def test_inputs_key_and_event_time_are_recorded(workspace: Workspace, gateway: GatewayProcess) -> None:
    body = infer_body(2, id="rec", amount=[1.5, None], payment=["p1", "p2"])
    body["parameters"] = {"event_time": "2026-03-01T08:00:00+01:00"}
    assert gateway.infer("fraud", body).status_code == 200
    sql = (
        "SELECT id, key, event_time, revision, version, variant, inputs, prediction, latency_us > 0, probe "
        "FROM prediction WHERE deployment = 'fraud' AND id LIKE 'rec:%' ORDER BY id"
    )
    first, second = wait_for(lambda: recorded(workspace.traffic.path, sql))
    assert first[:6] == ("rec:0", "p1", "2026-03-01T07:00:00.000000Z", 1, 1, "champion")
    assert first[6:] == ('[1.5,0.5,0.5,0.5,"app"]', '"yes"', 1, 0)
    assert second[1] == "p2"
    assert second[6] == '[null,0.5,0.5,0.5,"app"]'


def test_the_time_column_is_the_event_time(workspace: Workspace, gateway: GatewayProcess) -> None:
    body = infer_body(id="timed", at=["2026-04-01T00:00:00"])
    assert gateway.infer("fraud", body).status_code == 200
    sql = "SELECT event_time FROM prediction WHERE deployment = 'fraud' AND id = 'timed'"
    assert wait_for(lambda: recorded(workspace.traffic.path, sql)) == [("2026-04-01T00:00:00.000000Z",)]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (infer_body(amount=["much"]), "Column 'amount' takes numbers"),
        (infer_body(channel=[3]), "Column 'channel' takes text"),
        (infer_body(age=None), "Missing columns: age"),
        (infer_body(at=["noon"]), "Column 'at' takes a time as ISO 8601 text"),
        ({"inputs": []}, "'inputs' is empty"),
        ({"instances": [[1]]}, "missing required field `inputs`"),
    ],
)
def test_a_bad_request_is_a_400_that_says_what_was_expected(
    gateway: GatewayProcess, body: object, expected: str
) -> None:
    response = gateway.infer("fraud", body)
    assert response.status_code == 400
    assert expected in response.json()["error"]


def test_a_request_that_got_an_error_is_counted_with_its_revision(
    workspace: Workspace, gateway: GatewayProcess
) -> None:
    sql = "SELECT coalesce(sum(count), 0) FROM unanswered WHERE revision = 1 AND reason = 'rejected'"
    ((before,),) = recorded(workspace.traffic.path, sql)
    assert gateway.infer("fraud", infer_body(amount=["much"])).status_code == 400
    wait_for(lambda: recorded(workspace.traffic.path, sql)[0][0] > before, what="the count of the error")


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"{", b"[" * 50_000, b"null"])
def test_garbage_is_a_400(gateway: GatewayProcess, content: bytes) -> None:
    response = gateway.client.post("/v2/models/fraud/infer", content=content)
    assert response.status_code == 400
    assert "Traceback" not in response.text


def test_extra_columns_are_ignored_and_named(gateway: GatewayProcess) -> None:
    response = gateway.infer("fraud", infer_body(weather=["fair"]))
    assert response.status_code == 200
    assert response.json()["parameters"] == {"ignored_columns": "weather", "ignored_count": 1}


def test_an_unknown_deployment_is_a_404_that_names_those_that_are_known(gateway: GatewayProcess) -> None:
    for path in ("infer", "predictions", "labels"):
        response = gateway.client.post(f"/v2/models/fruad/{path}", json=infer_body())
        assert response.status_code == 404
        assert "fraud" in response.json()["error"]
    assert gateway.client.get("/v2/models/fruad").status_code == 404
    assert gateway.client.get("/nothing").json()["error"].startswith("There is nothing at /nothing")
    assert gateway.client.get("/v2/models/fraud/infer").status_code == 405


def test_a_body_over_the_limit_is_a_413_whether_it_says_its_length_or_not(gateway: GatewayProcess) -> None:
    large = b" " * (LIMIT + 1)
    for content in (large, iter([large[:1000], large[1000:]])):
        response = gateway.client.post("/v2/models/fraud/infer", content=content)
        assert response.status_code == 413
        assert f"larger than {LIMIT} bytes" in response.json()["error"]
    assert gateway.infer("fraud", infer_body()).status_code == 200


def test_what_is_no_http_does_not_disturb_the_gateway(gateway: GatewayProcess) -> None:
    with socket.create_connection(("127.0.0.1", gateway.port)) as connection:
        connection.sendall(b"\x16\x03\x01 this is not HTTP\r\n\r\n")
        assert b"Traceback" not in connection.recv(4096)
    assert gateway.infer("fraud", infer_body()).status_code == 200


def test_metadata_and_health_are_the_protocol_s(gateway: GatewayProcess) -> None:
    get = gateway.client.get
    assert get("/v2").json()["name"] == "quarterdeck"
    assert get("/v2").json()["extensions"] == ["binary_tensor_data"]
    assert get("/v2/health/live").status_code == get("/v2/health/ready").status_code == 200
    for path in ("/v2/health/live", "/v2/health/ready"):
        assert (gateway.client.head(path).status_code, gateway.client.head(path).content) == (200, b"")
    assert get("/metrics").headers["content-type"].count("charset") == 1
    assert get("/v2/models/fraud/ready").headers["x-revision"] == "1"
    metadata = get("/v2/models/fraud").json()
    assert (metadata["name"], metadata["versions"], metadata["platform"]) == ("fraud", ["1"], "skops")
    assert {"name": "channel", "datatype": "BYTES", "shape": [-1]} in metadata["inputs"]
    assert [output["name"] for output in metadata["outputs"]] == ["predict", "predict_proba"]


def post(gateway: GatewayProcess, path: str, content: object) -> httpx.Response:
    return gateway.client.post(f"/v2/models/{path}", json=content)


def test_labels_are_attached_by_id_or_key_and_a_bad_one_takes_none(
    workspace: Workspace, gateway: GatewayProcess
) -> None:
    good = {"reference": "rec:0", "value": "yes", "labelled_at": "2026-04-01T00:00:00Z"}
    response = post(gateway, "fraud/labels", {"labels": [good, {"reference": "p9", "value": "no"}]})
    assert (response.status_code, response.json()) == (200, {"accepted": 2, "duplicates": 0, "contradicting": 0})
    bad = post(gateway, "fraud/labels", {"labels": [{"reference": "x1", "value": "no"}, {"reference": "x2"}]})
    assert bad.status_code == 400
    assert "Label 2 for 'fraud' has no 'value'" in bad.json()["error"]
    sql = "SELECT reference, value FROM label WHERE deployment = 'fraud' ORDER BY reference"
    assert recorded(workspace.traffic.path, sql) == [("p9", '"no"'), ("rec:0", '"yes"')]


def test_an_external_deployment_takes_predictions_idempotently_and_answers_none(
    workspace: Workspace, gateway: GatewayProcess
) -> None:
    inputs = {"amount": 1, "age": None, "balance": 2.5, "n_last_day": 0, "channel": "web"}
    row = {"id": "e1", "inputs": inputs, "prediction": "no", "probabilities": [0.8, 0.2], "key": "k1"}
    row["event_time"] = "2026-01-01T00:00:00Z"
    assert post(gateway, "churn/predictions", {"predictions": [row]}).json() == {"accepted": 1, "duplicates": 0}
    assert post(gateway, "churn/predictions", {"predictions": [row]}).json() == {"accepted": 0, "duplicates": 1}
    lacking = post(gateway, "churn/predictions", {"predictions": [{**row, "id": "e2", "inputs": {"amount": 1}}]})
    assert lacking.status_code == 400
    assert "lacks the input age" in lacking.json()["error"]
    odd = post(gateway, "churn/predictions", {"predictions": [{**row, "id": "e3", "latency_us": "slow"}]})
    assert odd.status_code == 400
    for change in ({"inputs": {**inputs, "amount": "abc"}}, {"version": 99}, {"event_time": "2999-01-01T00:00:00Z"}):
        refused = post(gateway, "churn/predictions", {"predictions": [{**row, "id": "e4", **change}]})
        assert (refused.status_code, "Prediction 1 for 'churn'" in refused.json()["error"]) == (400, True)
    sql = "SELECT id, version, key, inputs FROM prediction WHERE deployment = 'churn'"
    assert recorded(workspace.traffic.path, sql) == [("e1", 1, "k1", '[1,null,2.5,0,"web"]')]
    unanswered = gateway.infer("churn", infer_body())
    assert (unanswered.status_code, "it is served elsewhere" in unanswered.json()["error"]) == (404, True)
    refused = post(gateway, "fraud/predictions", {"predictions": [row]})
    assert (refused.status_code, "served here" in refused.json()["error"]) == (409, True)


def test_a_version_may_be_in_the_path_and_another_one_is_a_404_that_names_what_is_there(
    gateway: GatewayProcess,
) -> None:
    path = "/v2/models/fraud/versions/1"
    for plain, versioned in (("/v2/models/fraud", path), ("/v2/models/fraud/ready", f"{path}/ready")):
        assert gateway.client.get(versioned).json() == gateway.client.get(plain).json()
    response = gateway.client.post(f"{path}/infer", json=infer_body(id="versioned"))
    assert (response.status_code, response.json()["model_version"]) == (200, "1")
    for other in ("2", "01", "latest"):
        for answer in (
            gateway.client.get(f"/v2/models/fraud/versions/{other}"),
            gateway.client.get(f"/v2/models/fraud/versions/{other}/ready"),
            gateway.client.post(f"/v2/models/fraud/versions/{other}/infer", json=infer_body()),
        ):
            assert answer.status_code == 404
            assert "answers with version 1 now" in answer.json()["error"]


def test_bytes_after_the_json_are_taken_and_sent(gateway: GatewayProcess) -> None:
    amounts = struct.pack("<2f", 3.0, -3.0)
    inputs = infer_body(2)["inputs"]
    inputs[0] = {"name": "amount", "shape": [2], "datatype": "FP32", "parameters": {"binary_data_size": 8}}
    head = json.dumps({"id": "b1", "inputs": inputs, "parameters": {"binary_data_output": True}}).encode()
    headers = {"Inference-Header-Content-Length": str(len(head))}
    response = gateway.client.post("/v2/models/fraud/infer", content=head + amounts, headers=headers)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/octet-stream"
    length = int(response.headers["inference-header-content-length"])
    labels, shares = json.loads(response.content[:length])["outputs"]
    assert labels["parameters"] == {"binary_data_size": 13}
    assert response.content[length : length + 13] == b"\x03\0\0\0yes\x02\0\0\0no"
    assert len(response.content) == length + 13 + shares["parameters"]["binary_data_size"]
    broken = gateway.client.post("/v2/models/fraud/infer", content=head + amounts[:7], headers=headers)
    assert (broken.status_code, "7 bytes are left" in broken.json()["error"]) == (400, True)


@pytest.mark.parametrize(("coding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_a_compressed_body_is_taken_and_a_bomb_is_a_413(
    gateway: GatewayProcess, coding: str, pack: Callable[[bytes], bytes]
) -> None:
    def send(content: bytes, path: str = "/v2/models/fraud/infer") -> httpx.Response:
        return gateway.client.post(path, content=pack(content), headers={"Content-Encoding": coding})

    assert send(json.dumps(infer_body()).encode()).status_code == 200
    assert send(b'{"labels": [{"reference": "z", "value": "no"}]}', "/v2/models/fraud/labels").status_code == 200
    bomb = send(b" " * 100 * LIMIT)
    assert (bomb.status_code, f"larger than {LIMIT} bytes" in bomb.json()["error"]) == (413, True)
    broken = gateway.client.post("/v2/models/fraud/infer", content=b"{}", headers={"Content-Encoding": coding})
    assert (broken.status_code, "not compressed by" in broken.json()["error"]) == (400, True)
    unknown = gateway.client.post("/v2/models/fraud/infer", content=b"{}", headers={"Content-Encoding": "br"})
    assert (unknown.status_code, "Known: gzip, deflate" in unknown.json()["error"]) == (415, True)


def test_only_large_answers_are_compressed_and_only_for_those_who_ask(gateway: GatewayProcess) -> None:
    def send(rows: int, accept: str) -> httpx.Response:
        body = json.dumps(infer_body(rows))
        return gateway.client.post("/v2/models/fraud/infer", content=body, headers={"Accept-Encoding": accept})

    plain, packed = send(200, "identity"), send(200, "gzip")
    assert packed.headers["content-encoding"] == "gzip"
    assert int(packed.headers["content-length"]) < len(plain.content)
    assert packed.json()["outputs"] == plain.json()["outputs"]
    assert "content-encoding" not in plain.headers
    assert "content-encoding" not in send(1, "gzip").headers


def test_the_openapi_document_has_every_route_and_what_each_version_takes(gateway: GatewayProcess) -> None:
    document = gateway.client.get("/openapi.json").json()
    routes = {path for path in document["paths"] if "{" in path or path.startswith(("/v2/health", "/metrics"))}
    model = "/v2/models/{deployment}"
    assert routes == {
        *("/v2/health/live", "/v2/health/ready", "/metrics", "/invocations/{deployment}"),
        *(model + end for end in ("", "/ready", "/infer", "/predictions", "/labels")),
        *(f"{model}/versions/{{version}}{end}" for end in ("", "/ready", "/infer")),
    }
    row = document["components"]["schemas"]["fraud.Row"]
    assert row["required"] == ["amount", "age", "balance", "n_last_day", "channel"]
    assert row["properties"]["channel"] == {"type": ["string", "null"]}
    for path in ("/v2/models/fraud/infer", "/invocations/fraud"):
        example = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["example"]
        assert gateway.client.post(path, json=example).status_code == 200
