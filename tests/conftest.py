"""Fixtures that every test may use."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from quarterdeck import bootstrap
from quarterdeck.workspace import Workspace
from tests.fakes import fake_ports

# No test fails for being slow, as on a machine that does other things too.
settings.register_profile("unhurried", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    """A fresh workspace on real SQLite files, with the outside world faked."""
    workspace = bootstrap.create_workspace(tmp_path / "workspace", ports=fake_ports(), actor="tester")
    yield workspace
    workspace.close()
