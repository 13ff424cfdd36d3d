"""The clients of the field, with their defaults and in environments of their own, against a real gateway."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from quarterdeck import bootstrap
from quarterdeck.deployments import rollout
from quarterdeck.registry.signature import Feature, Signature
from quarterdeck.workspace import Workspace
from tests.environments import environment
from tests.gateways import NUMBERS, GatewayProcess, add_classifier, add_linear, infer_body, running_gateway

TRITON = """
import json, sys
import numpy as np
import tritonclient.http as http
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

def given(columns):
    inputs = []
    for name, values in columns.items():
        inputs.append(http.InferInput(name, list(values.shape), np_to_triton_dtype(values.dtype)))
        inputs[-1].set_data_from_numpy(values)
    return inputs

client = http.InferenceServerClient(sys.argv[1])
numbers = {name: np.array([3.0, -3.0]) for name in sys.argv[2].split(",")}
columns = {**numbers, "channel": np.array(["app", "web"], dtype=object)}
plain = client.infer("fraud", given(columns), request_id="t1")
said = {"proba": plain.as_numpy("predict_proba").tolist(), "id": plain.get_response()["id"]}
said["labels"] = [label.decode() for label in plain.as_numpy("predict")]
said["version"] = plain.get_response()["model_version"]
one = http.InferRequestedOutput("predict", binary_data=False)
said["json"] = client.infer("fraud", given(columns), model_version="1", outputs=[one]).get_output("predict")["data"]
for algorithm in ("gzip", "deflate"):
    packed = client.infer("fraud", given(columns), request_compression_algorithm=algorithm,
                          response_compression_algorithm="gzip")
    said[algorithm] = [label.decode() for label in packed.as_numpy("predict")]
many = {name: np.repeat(values, 500) for name, values in columns.items()}
large = client.infer("fraud", given(many), response_compression_algorithm="gzip")
said["rows"] = large.as_numpy("predict_proba").shape[0]
matrix = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
for dtype in ("float16", "float32", "float64", "int8", "int32", "int64", "uint8", "uint64"):
    answer = client.infer("sum", given({"x": matrix.astype(dtype)}))
    said[dtype] = [round(value) for value in answer.as_numpy("predict")]
said["live"] = client.is_server_live() and client.is_server_ready() and client.is_model_ready("fraud", "1")
said["other"] = client.is_model_ready("fraud", "7")
said["extensions"] = client.get_server_metadata()["extensions"]
said["inputs"] = [one["name"] for one in client.get_model_metadata("fraud", "1")["inputs"]]
try:
    client.infer("fraud", given(columns)[1:])
except InferenceServerException as error:
    said["error"] = error.message()
print(json.dumps(said))
"""
KSERVE = """
import asyncio, json, sys
import numpy as np
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig

async def main():
    client, base = InferenceRESTClient(RESTConfig(protocol="v2")), "http://" + sys.argv[1]
    said = {"live": await client.is_server_live(base), "ready": await client.is_model_ready(base, "fraud")}
    for binary in (True, False):
        inputs = []
        for name in sys.argv[2].split(","):
            inputs.append(InferInput(name, [2], "FP64"))
            inputs[-1].set_data_from_numpy(np.array([3.0, -3.0]), binary_data=binary)
        inputs.append(InferInput("channel", [2], "BYTES"))
        inputs[-1].set_data_from_numpy(np.array(["app", "web"], dtype=object), binary_data=binary)
        answer = await client.infer(base, InferRequest("fraud", inputs, request_id="k1"), model_name="fraud")
        said[str(binary)] = {output.name: output.data for output in answer.outputs}
    print(json.dumps(said))

asyncio.run(main())
"""


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    root = tmp_path_factory.mktemp("clients") / "workspace"
    workspace: Workspace = bootstrap.create_workspace(root, actor="tester")
    rollout.deploy(workspace, "fraud", model="fraud", version=add_classifier(workspace))
    features = tuple(Feature(name, "number", nullable=False) for name in "abc")
    rollout.deploy(workspace, "sum", model="sum", version=add_linear(workspace, Signature(features, "y", None)))
    workspace.close()
    with running_gateway(root) as gateway:
        yield gateway


def said_by(name: str, program: str, gateway: GatewayProcess) -> dict[str, Any]:
    """What a client's program prints, run in its own environment."""
    python = environment(name)
    command = [str(python), "-c", program, f"127.0.0.1:{gateway.port}", ",".join(NUMBERS)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def plainly(gateway: GatewayProcess) -> list[dict[str, Any]]:
    """The outputs of what the clients ask, when it is asked in JSON."""
    columns: dict[str, Any] = {name: [3.0, -3.0] for name in NUMBERS}
    outputs: list[dict[str, Any]] = gateway.infer("fraud", infer_body(2, **columns, channel=["app", "web"])).json()[
        "outputs"
    ]
    return outputs


def test_triton_s_client_works_with_its_defaults(gateway: GatewayProcess) -> None:
    said = said_by("tritonclient", TRITON, gateway)
    labels, shares = (output["data"] for output in plainly(gateway))
    assert said["labels"] == said["json"] == said["gzip"] == said["deflate"] == labels
    assert [share for row in said["proba"] for share in row] == shares
    assert (said["id"], said["version"], said["rows"]) == ("t1", "1", 1000)
    for dtype in ("float16", "float32", "float64", "int8", "int32", "int64", "uint8", "uint64"):
        assert said[dtype] == [6, 15], dtype
    assert (said["live"], said["other"]) == (True, False)
    assert "binary_tensor_data" in said["extensions"]
    assert said["inputs"] == [*NUMBERS, "channel"]
    assert "Missing columns: amount" in said["error"]


def test_kserve_s_client_sends_bytes_and_json(gateway: GatewayProcess) -> None:
    said = said_by("kserve", KSERVE, gateway)
    expected = {output["name"]: output["data"] for output in plainly(gateway)}
    assert said == {"live": True, "ready": True, "True": expected, "False": expected}


def curl(gateway: GatewayProcess, path: str, *more: str) -> str:
    command = ["curl", "--silent", "--show-error", "--noproxy", "*", f"http://127.0.0.1:{gateway.port}{path}", *more]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_curl_sends_json_and_csv_and_compressed_files(gateway: GatewayProcess, tmp_path: Path) -> None:
    row = infer_body()
    assert json.loads(curl(gateway, "/v2/models/fraud/infer", "-d", json.dumps(row)))["model_name"] == "fraud"
    header = ",".join((*NUMBERS, "channel"))
    (tmp_path / "rows.csv").write_text(f"{header}\n3,3,3,3,app\n-3,,-3,-3,web\n")
    csv = ("--header", "Content-Type: text/csv", "--data-binary", f"@{tmp_path}/rows.csv")
    assert json.loads(curl(gateway, "/invocations/fraud", *csv)) == {"predictions": ["yes", "no"]}
    split = {"dataframe_split": {"columns": ["a", "b", "c"], "data": [[1, 2, 3]]}}
    answer = curl(gateway, "/invocations/sum", "-d", json.dumps(split), "--header", "Content-Type: application/json")
    assert json.loads(answer)["predictions"] == [pytest.approx(6)]
    many = json.dumps(infer_body(400))
    (tmp_path / "rows.json").write_text(many)
    subprocess.run(["gzip", "-k", str(tmp_path / "rows.json")], check=True)
    packed = ("--header", "Content-Encoding: gzip", "--data-binary", f"@{tmp_path}/rows.json.gz", "--compressed")
    assert json.loads(curl(gateway, "/v2/models/fraud/infer", *packed))["outputs"][0]["shape"] == [400]
