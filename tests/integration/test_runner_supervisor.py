"""`up`: two kinds of processes kept running, one address held for them, one supervisor at a time."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from quarterdeck.runner.queries import runner_state
from quarterdeck.workspace import Workspace
from tests.integration.runner_harness import is_gone, make_workspace, running
from tests.integration.supervised import address, children, gateways, supervised
from tests.waiting import wait_for


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    workspace = make_workspace(tmp_path / "workspace")
    yield workspace
    workspace.close()


def test_connections_wait_while_a_killed_gateway_worker_is_replaced(workspace: Workspace) -> None:
    with supervised(workspace) as up:
        url = f"{address(up)}/v2/health/live"
        with httpx.Client(timeout=60) as client:
            assert client.get(url).is_success
        (worker,) = gateways(workspace)
        os.kill(worker, signal.SIGKILL)
        with httpx.Client(timeout=60) as client:
            assert client.get(url).is_success
        assert gateways(workspace) != [worker]
        assert "gateway-0 ended (SIGKILL)" in up.said

        pid = runner_state(workspace).pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: runner_state(workspace).pid != pid and runner_state(workspace).alive, seconds=30)

        with running(workspace, "up") as second:
            assert second.popen.wait(30) == 3
            assert f"(process {up.popen.pid})" in second.said

        started = children(workspace)
        assert len(started) == 2
        assert up.stop(25) == 0
        assert all(is_gone(pid) for pid in started)
        assert not children(workspace)
        assert not gateways(workspace)
        with pytest.raises(httpx.ConnectError):
            httpx.get(url)


def test_the_next_up_replaces_what_a_killed_one_left(workspace: Workspace) -> None:
    with supervised(workspace) as first:
        left = children(workspace)
        assert len(left) == 2
        first.kill()
        assert not any(is_gone(pid) for pid in left)
        with supervised(workspace) as second:
            assert "ending 2 processes" in second.said
            assert all(is_gone(pid) for pid in left)
            assert second.stop(25) == 0


def test_a_port_in_use_is_named_with_the_next_step(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        workspace = make_workspace(tmp_path / "workspace")
        file = workspace.settings_file
        file.write_text(file.read_text().replace("port = 0", f"port = {port}"))
        with running(workspace, "up") as up:
            assert up.popen.wait(30) == 2
            assert f"cannot listen on 127.0.0.1:{port}" in up.said
            assert "set another `port` under [gateway]" in up.said
            assert "Traceback" not in up.said
        workspace.close()
