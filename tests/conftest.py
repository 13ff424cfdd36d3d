"""Fixtures that every test may use."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from quarterdeck import bootstrap
from quarterdeck.workspace import Workspace
from tests.fakes import fake_ports

# Two workers and all that they start share the processors, and the threads of OpenMP turn in circles while they wait
# for each other. In force before numpy is imported, and in every process that a test starts.
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")

# No test fails for being slow, as on a machine that does other things too.
settings.register_profile("unhurried", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")


@pytest.fixture(scope="session")
def empty_workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a workspace in which nothing has happened yet: to be copied, which spares most of its making."""
    folder = tmp_path_factory.mktemp("empty") / "workspace"
    bootstrap.create_workspace(folder, ports=fake_ports(), actor="tester").close()
    return folder


@pytest.fixture
def workspace(tmp_path: Path, empty_workspace: Path) -> Iterator[Workspace]:
    """A fresh workspace on real SQLite files, with the outside world faked."""
    folder = shutil.copytree(empty_workspace, tmp_path / "workspace")
    workspace = bootstrap.open_workspace(folder, ports=fake_ports(), actor="tester")
    yield workspace
    workspace.close()
