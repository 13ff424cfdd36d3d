"""Fixtures that every test may use."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from quarterdeck import bootstrap
from quarterdeck.workspace import Workspace
from tests.fakes import fake_ports


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    """A fresh workspace on real SQLite files, with the outside world faked."""
    workspace = bootstrap.create_workspace(tmp_path / "workspace", ports=fake_ports(), actor="tester")
    yield workspace
    workspace.close()
