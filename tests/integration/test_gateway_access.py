"""Tokens and TLS at a real gateway."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from quarterdeck import bootstrap
from quarterdeck.deployments import rollout, token
from quarterdeck.errors import UsageError
from quarterdeck.serving.certificate import check_certificate
from quarterdeck.settings.host import GatewaySettings
from quarterdeck.workspace import Workspace
from tests.gateways import GatewayProcess, add_classifier, infer_body, running_gateway
from tests.waiting import wait_for


def make(root: Path, settings: str) -> Workspace:
    root.mkdir()
    (root / "quarterdeck.toml").write_text(f"[gateway]\n{settings}", encoding="utf-8")
    workspace = bootstrap.create_workspace(root, actor="tester")
    rollout.deploy(workspace, "fraud", model="fraud", version=add_classifier(workspace))
    rollout.deploy(workspace, "churn", model="churn", version=add_classifier(workspace, "churn"))
    return workspace


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    workspace = make(tmp_path_factory.mktemp("access") / "deck", "require_token = true\n")
    yield workspace
    workspace.close()


@pytest.fixture(scope="module")
def gateway(workspace: Workspace) -> Iterator[GatewayProcess]:
    with running_gateway(workspace.root) as gateway:
        yield gateway


def ask(gateway: GatewayProcess, deployment: str, secret: str | None) -> httpx.Response:
    headers = {} if secret is None else {"authorization": f"Bearer {secret}"}
    url = f"http://127.0.0.1:{gateway.port}/v2/models/{deployment}/infer"
    return httpx.post(url, json=infer_body(), headers=headers)


def test_nobody_is_answered_without_a_token_but_health_is_told(gateway: GatewayProcess) -> None:
    answer = ask(gateway, "fraud", None)
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert "quarterdeck token create" in answer.json()["error"]
    for secret in ("qd_wrong", "Basic x"):
        assert ask(gateway, "fraud", secret).status_code == 401
    base = f"http://127.0.0.1:{gateway.port}"
    assert httpx.get(f"{base}/v2/health/ready").status_code == 200
    assert httpx.get(f"{base}/metrics").status_code == 401
    assert httpx.get(f"{base}/v2/models/fraud").status_code == 401


def test_a_token_opens_its_deployments_at_once_and_nothing_once_it_is_revoked(
    workspace: Workspace, gateway: GatewayProcess
) -> None:
    scoped = token.create_token(workspace, "shop", ["fraud"])
    wide = token.create_token(workspace, "ops")
    wait_for(lambda: ask(gateway, "fraud", scoped).status_code == 200, what="the new token")
    assert ask(gateway, "churn", wide).status_code == 200
    other = ask(gateway, "churn", scoped)
    assert (other.status_code, other.json()) == (403, {"error": "This token is not for deployment 'churn'."})
    token.revoke_token(workspace, "shop")
    wait_for(lambda: ask(gateway, "fraud", scoped).status_code == 401, what="the end of the token")
    assert ask(gateway, "fraud", wide).status_code == 200


def test_no_token_is_written_down(workspace: Workspace) -> None:
    secret = token.create_token(workspace, "written")
    for file in (*workspace.folder.glob("*.db*"), *workspace.folder.glob("logs/*")):
        assert secret.encode() not in file.read_bytes()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificate")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    command += ["-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    command += ["-keyout", str(folder / "key.pem"), "-out", str(folder / "certificate.pem")]
    subprocess.run(command, check=True, capture_output=True)
    return folder


def test_with_a_certificate_the_gateway_speaks_https_alone(tmp_path: Path, certificate: Path) -> None:
    settings = f'tls_certificate = "{certificate}/certificate.pem"\ntls_key = "{certificate}/key.pem"\n'
    workspace = make(tmp_path / "deck", settings)
    trusting = ssl.create_default_context(cafile=str(certificate / "certificate.pem"))
    with running_gateway(workspace.root, tls=trusting) as gateway:
        url = f"https://127.0.0.1:{gateway.port}/v2/models/fraud/infer"
        assert httpx.post(url, json=infer_body(), verify=trusting).status_code == 200
        with pytest.raises(httpx.HTTPError):
            httpx.get(f"http://127.0.0.1:{gateway.port}/v2/health/live")
    workspace.close()


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_certificate_that_cannot_be_used_is_told_before_anything_listens(
    tmp_path: Path, certificate: Path, content: Any
) -> None:
    if content is not None:
        (tmp_path / "c.pem").write_text(content)
    settings = GatewaySettings(tls_certificate=Path("c.pem"), tls_key=certificate / "key.pem")
    with pytest.raises(UsageError, match=r"c\.pem with the key .* cannot be used"):
        check_certificate(tmp_path, settings)
