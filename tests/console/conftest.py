"""The console on a seeded workspace, driven without a terminal."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from textual.pilot import Pilot

from quarterdeck import bootstrap
from quarterdeck.workspace import Workspace
from quarterdeck_console.app import QuarterdeckApp
from tests.console.board_seeding import seed_board
from tests.console.driving import settled
from tests.console.seeding import clock_of, seed
from tests.fakes import fake_ports

SETTINGS = """\
[workspace]
name = "payments"
[deployments.fraud]
probation = "1m"
[deployments.churn]
protected = true
probation = "1m"
probation_requests = 0
[monitors.fraud]
deployment = "fraud"
[pools.gpu]
slots = 1
"""
Console = Callable[..., AbstractAsyncContextManager[Pilot[int]]]


@pytest.fixture
def empty(tmp_path: Path, empty_workspace: Path) -> Iterator[Workspace]:
    folder = shutil.copytree(empty_workspace, tmp_path / "payments")
    (folder / "quarterdeck.toml").write_text(SETTINGS, encoding="utf-8")
    workspace = bootstrap.open_workspace(folder, ports=fake_ports(), actor="tester")
    clock_of(workspace).moment = datetime.now(UTC) - timedelta(hours=1, minutes=11)
    yield workspace
    workspace.close()


@pytest.fixture
def seeded(empty: Workspace) -> Workspace:
    seed(empty)
    return empty


@pytest.fixture
def board(seeded: Workspace) -> dict[str, int]:
    """Jobs in every state beside the rest; the numbers of some, by what they are."""
    return seed_board(seeded)


@pytest.fixture
def console() -> Console:
    """`async with console(workspace) as pilot`: opened, and its first rows read."""

    @asynccontextmanager
    async def opened(workspace: Workspace, size: tuple[int, int] = (140, 40)) -> AsyncIterator[Pilot[int]]:
        app = QuarterdeckApp(workspace.root, open_workspace=lambda *_: workspace)
        async with app.run_test(size=size) as pilot:
            await settled(pilot, lambda: app.workspace is not None and app.liveness is not None)
            yield pilot

    return opened
