"""Adopting models: what it leaves in quarterdeck.toml, and what it refuses before it leaves anything."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from quarterdeck.deployments.adoption import adopt
from quarterdeck.errors import ReadOnlyError
from quarterdeck.settings import load_settings
from quarterdeck.settings.host import WorkspaceSettings
from quarterdeck.workspace import Workspace


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    rows = "".join(f"{number},{number % 2}\n" for number in range(40))
    (tmp_path / "rows.csv").write_text(f"amount,label\n{rows}", encoding="utf-8")
    return tmp_path / "rows.csv"


def test_models_that_are_adopted_at_once_are_all_watched(workspace: Workspace, sample: Path) -> None:
    names = [f"model{number}" for number in range(6)]
    with ThreadPoolExecutor(len(names)) as threads:
        list(threads.map(lambda name: adopt(workspace, name, path=None, sample=sample, target="label"), names))
    assert set(load_settings(workspace.settings_file).monitors) == set(names)


def test_a_read_only_workspace_takes_nothing_in(workspace: Workspace, sample: Path) -> None:
    settings = workspace.settings.model_copy(update={"workspace": WorkspaceSettings(read_only=True)})
    closed = dataclasses.replace(workspace, settings=settings)
    before = sorted(workspace.folder.rglob("*"))
    with pytest.raises(ReadOnlyError):
        adopt(closed, "fraud", path=None, sample=sample, target="label")
    assert sorted(workspace.folder.rglob("*")) == before
