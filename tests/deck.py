"""A whole deck of real processes, driven as a person drives it: by verbs, over HTTP, with signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pandas as pd

from quarterdeck.bootstrap import open_workspace
from quarterdeck.deployments.queries import gateway_state
from quarterdeck.runner.queries import runner_state
from quarterdeck.workspace import Workspace
from tests.gateways import add_classifier
from tests.waiting import wait_for

MARK = "ACCEPTANCE_DECK"
"""In the environment of all that a deck starts: unlike a command line, every descendant inherits it."""
QUARTERDECK = str(Path(sys.executable).parent / "quarterdeck")
ENVIRONMENT = {**os.environ, "DO_NOT_TRACK": "1"}
START_SECONDS = 90.0


@dataclass
class Deck:
    """One workspace, and `quarterdeck up` on it once it was started."""

    root: Path
    mark: str = field(default_factory=lambda: uuid4().hex)
    _workspace: Workspace | None = field(default=None, repr=False)
    _up: subprocess.Popen[bytes] | None = field(default=None, repr=False)
    _client: httpx.Client | None = field(default=None, repr=False)

    def run(self, *arguments: str, expect: int | None = 0, seconds: float = 180) -> subprocess.CompletedProcess[str]:
        """`quarterdeck ARGUMENTS` on this workspace, to its end; fails when the exit code is not the expected one."""
        done = subprocess.run(
            [QUARTERDECK, "-w", str(self.root), *arguments],
            capture_output=True,
            text=True,
            timeout=seconds,
            env=self.environment,
            cwd=self.root,
        )
        if expect is not None:
            assert done.returncode == expect, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    @property
    def environment(self) -> dict[str, str]:
        return {**ENVIRONMENT, MARK: self.mark}

    @property
    def workspace(self) -> Workspace:
        """The workspace, opened in this process."""
        if self._workspace is None:
            self._workspace = open_workspace(self.root, actor="tester")
        return self._workspace

    def processes(self) -> list[int]:
        """Every living process that this deck's verbs have started, with all their descendants."""
        return marked_processes(self.mark)

    def json(self, *arguments: str, expect: int | None = 0) -> Any:
        """The JSON document that a verb prints."""
        return json.loads(self.run(*arguments, "--json", expect=expect).stdout)

    def status(self) -> Any:
        return self.json("status")

    @property
    def url(self) -> str:
        gateway = gateway_state(self.workspace)
        return f"http://{gateway.host}:{gateway.port}"

    def start(self) -> None:
        """Start runner and gateway, and wait until both are there."""
        self._forget_client()
        before = self._working()
        with (self.root / "up.log").open("ab") as log:
            self._up = subprocess.Popen(
                [QUARTERDECK, "-w", str(self.root), "up"],
                stdout=log,
                stderr=log,
                env=self.environment,
                start_new_session=True,
            )
        wait_for(lambda: self._is_up(before), seconds=START_SECONDS, what="runner and gateway")

    def _is_up(self, before: set[int]) -> bool:
        assert self._up is not None
        assert self._up.poll() is None, (self.root / "up.log").read_text()
        working = self._working()
        return len(working) >= 2 and not working & before

    def _working(self) -> set[int]:
        """The process ids of the runner and the gateway's workers that live, where there are both."""
        runner = runner_state(self.workspace)
        workers = {row.pid for row in gateway_state(self.workspace).workers if row.alive}
        return {runner.pid or 0, *workers} if runner.alive and workers else set()

    def kill(self) -> None:
        """`kill -9` of `quarterdeck up` itself."""
        assert self._up is not None
        self._up.kill()
        self._up.wait()
        self._up = None

    def stop_supervisor(self) -> None:
        """End `quarterdeck up` as a person does; it ends the rest."""
        if self._up is not None:
            self._up.send_signal(signal.SIGTERM)
            self._up.wait(60)
            self._up = None

    def stop(self) -> None:
        """End everything that was started."""
        self._forget_client()
        self.stop_supervisor()
        for pid in self.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if self._workspace is not None:
            self._workspace.close()
            self._workspace = None

    def _forget_client(self) -> None:
        # The address is another one after each start.
        if self._client is not None:
            self._client.close()
            self._client = None

    def infer(self, deployment: str, frame: pd.DataFrame, *, event_time: datetime | None = None) -> httpx.Response:
        """Ask for predictions of the rows of a frame."""
        body: dict[str, Any] = {"inputs": [tensor(name, frame[name]) for name in frame.columns]}
        if event_time is not None:
            body["parameters"] = {"event_time": event_time.isoformat()}
        return self._post(f"/v2/models/{deployment}/infer", body)

    def label(self, deployment: str, references: Sequence[str], values: Sequence[Any]) -> None:
        rows = [{"reference": r, "value": v} for r, v in zip(references, values, strict=True)]
        self._post(f"/v2/models/{deployment}/labels", {"labels": rows}).raise_for_status()

    def _post(self, path: str, body: dict[str, Any]) -> httpx.Response:
        if self._client is None:
            self._client = httpx.Client(base_url=self.url, timeout=60)
        return self._client.post(path, json=body)


def marked_processes(mark: str) -> list[int]:
    """The living processes that have `mark` in their environment."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            with suppress(OSError):
                if f"{MARK}={mark}".encode() in (folder / "environ").read_bytes():
                    found.append(int(folder.name))
    return found


def tensor(name: str, column: pd.Series[Any]) -> dict[str, Any]:
    """One column as a tensor of the Open Inference Protocol."""
    numeric = pd.api.types.is_numeric_dtype(column)
    values = [None if pd.isna(v) else (float(v) if numeric else str(v)) for v in column]
    return {"name": name, "datatype": "FP64" if numeric else "BYTES", "shape": [len(values)], "data": values}


@contextmanager
def new_deck(folder: Path, settings: str, pipelines: dict[str, str] | None = None) -> Iterator[Deck]:
    """A workspace with that quarterdeck.toml and those pipeline files; what was started is ended with the block."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "quarterdeck.toml").write_text(settings, encoding="utf-8")
    for name, source in (pipelines or {}).items():
        (folder / "pipelines").mkdir(exist_ok=True)
        (folder / "pipelines" / name).write_text(source, encoding="utf-8")
    deck = Deck(folder)
    subprocess.run([QUARTERDECK, "init", str(folder)], check=True, capture_output=True, env=ENVIRONMENT)
    try:
        yield deck
    finally:
        deck.stop()


TWO_VERSIONS = """\
[workspace]
name = "acceptance"
[gateway]
port = 0
[deployments.fraud]
probation = "1ms"
probation_requests = 0
"""


@contextmanager
def serving_deck(folder: Path, pipelines: dict[str, str] | None = None, *, settings: str = "") -> Iterator[Deck]:
    """A deck whose deployment `fraud` serves version 2 in revision 2; revision 1, of version 1, is known good."""
    with new_deck(folder, TWO_VERSIONS + settings, pipelines) as deck:
        deck.start()
        for number in (1, 2):
            assert add_classifier(deck.workspace, shift=0.5 * number) == number
            deployed = deck.json("deploy", "fraud", "--version", str(number), "--reason", f"version {number}")
            assert deployed["state"] == "verified"
        yield deck
