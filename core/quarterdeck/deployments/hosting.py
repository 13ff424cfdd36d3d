"""What to add to a service elsewhere, so that it reports its predictions here."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import dataclass
from pathlib import Path

from quarterdeck.deployments.queries import gateway_state
from quarterdeck.registry.version import ModelVersion
from quarterdeck.workspace import Workspace

REPORTER = "quarterdeck_reporter"


@dataclass(frozen=True, slots=True)
class HostLines:
    """The lines to add, each for another kind of service."""

    install: str
    """Brings the package with the middleware to the service; it needs nothing but Python's standard library."""
    wsgi: str
    """Flask, Django and others."""
    asgi: str
    """FastAPI, Starlette and others."""
    python: str
    """Anything else in Python: one call for each prediction."""
    curl: str
    """Anything else."""

    @property
    def text(self) -> str:
        parts = (
            ("Report its predictions here. Copy the package beside your service:", self.install),
            ("Flask and other WSGI applications:", self.wsgi),
            ("FastAPI and other ASGI applications:", self.asgi),
            ("Or wherever it predicts:", self.python),
            ("Or from any other language:", self.curl),
        )
        return "\n\n".join(f"{head}\n" + "\n".join(f"    {line}" for line in body.splitlines()) for head, body in parts)


def host_lines(workspace: Workspace, name: str, version: ModelVersion) -> HostLines:
    """The lines for deployment `name` whose service answers by `version`."""
    settings, state = workspace.settings.gateway, gateway_state(workspace)
    host, port = state.host or settings.host, state.port or settings.port or 8480
    url = f"http://{'[' + host + ']' if ':' in host else host}:{port}"
    make = f'Reporter("{url}", "{name}", version={version.number})'
    row = {"id": "ID", "inputs": version.example[0], "prediction": "ANSWER", "version": version.number}
    body = json.dumps({"predictions": [row]}, ensure_ascii=False).replace("'", "'\\''")
    return HostLines(
        install=f"cp -r {_package()} .",
        wsgi=f"from {REPORTER} import Reporter, WsgiMiddleware\napp.wsgi_app = WsgiMiddleware(app.wsgi_app, {make})",
        asgi=f"from {REPORTER} import AsgiMiddleware, Reporter\napp.add_middleware(AsgiMiddleware, reporter={make})",
        python=f"from {REPORTER} import Reporter\nreporter = {make}\nreporter.report(inputs, prediction)",
        curl=f"curl {url}/v2/models/{name}/predictions -d '{body}'",
    )


def _package() -> Path:
    found = importlib.util.find_spec(REPORTER)
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent
