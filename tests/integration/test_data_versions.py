"""Datasets in a workspace: versions, events, lineage, and what changes nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from quarterdeck import events, lineage
from quarterdeck.bootstrap import open_workspace
from quarterdeck.datasets.frames import load_frame
from quarterdeck.datasets.ingestion import add
from quarterdeck.datasets.queries import datasets, versions
from quarterdeck.errors import ArtifactError, DataError, NotFoundError, ReadOnlyError, UsageError
from quarterdeck.workspace import Workspace
from tests.fakes import fake_ports


def kinds(workspace: Workspace) -> list[str]:
    with workspace.state.read() as tx:
        return [event.kind for event in events.after(tx, 0)]


def test_each_change_of_the_bytes_is_a_version_with_its_event_and_lineage(workspace: Workspace, tmp_path: Path) -> None:
    source = tmp_path / "rows.csv"
    source.write_text("a,b\n1,x\n")
    first = add(workspace, "rows", source, actor="ann")
    source.write_text("a,b\n1,x\n2,\n")
    second = add(workspace, "rows", source)
    assert [(added.number, added.rows, added.columns, added.new) for added in (first, second)] == [
        (1, 1, 2, True),
        (2, 2, 2, True),
    ]
    with workspace.state.read() as tx:
        event = next(event for event in events.after(tx, 0) if event.kind == "data.added")
        (origin,) = lineage.upstream(tx, "data/rows@1")
    assert (event.subject, event.actor, event.data["rows"]) == ("data/rows@1", "ann", 1)
    assert origin == f"source/{event.data['digest'][:12]}"
    assert [(row.name, row.versions, row.newest, row.rows) for row in datasets(workspace)] == [("rows", 2, 2, 2)]
    assert [row.number for row in versions(workspace, "rows")] == [2, 1]


def test_the_same_bytes_again_change_nothing(workspace: Workspace, tmp_path: Path) -> None:
    source = tmp_path / "rows.csv"
    source.write_text("a\n1\n")
    add(workspace, "rows", source)
    before = kinds(workspace)
    again = add(workspace, "rows", source)
    assert (again.number, again.new) == (1, False)
    assert kinds(workspace) == before


def test_the_same_bytes_read_otherwise_are_another_version(workspace: Workspace, tmp_path: Path) -> None:
    source = tmp_path / "rows.csv"
    source.write_text("a\n1\n?\n")
    add(workspace, "rows", source)
    workspace.settings_file.write_text('[datasets.rows]\nmissing = ["?"]\n')
    reopened = open_workspace(workspace.root, ports=fake_ports(), actor="tester")
    assert add(reopened, "rows", source).number == 2
    reopened.close()


def test_a_file_that_cannot_be_read_leaves_no_trace(workspace: Workspace, tmp_path: Path) -> None:
    source = tmp_path / "rows.csv"
    source.write_text("a,b\n1\n")
    before = kinds(workspace)
    with pytest.raises(DataError):
        add(workspace, "rows", source)
    with pytest.raises(UsageError, match="is not a name"):
        add(workspace, "two words", source)
    assert kinds(workspace) == before
    assert datasets(workspace) == []


def test_a_read_only_workspace_refuses(workspace: Workspace, tmp_path: Path) -> None:
    source = tmp_path / "rows.csv"
    source.write_text("a\n1\n")
    settings = workspace.settings.model_copy(
        update={"workspace": workspace.settings.workspace.model_copy(update={"read_only": True})}
    )
    with pytest.raises(ReadOnlyError):
        add(replace(workspace, settings=settings), "rows", source)


def test_a_table_comes_back_as_it_was_read(workspace: Workspace, tmp_path: Path) -> None:
    source = tmp_path / "rows.csv"
    source.write_text("a,b,c\n1,x,true\n2,,false\n")
    add(workspace, "rows", source)
    version, frame = load_frame(workspace, "rows")
    assert version.number == 1
    assert frame["a"].tolist() == [1, 2]
    assert frame["b"].isna().tolist() == [False, True]
    assert str(frame["c"].dtype) == "bool"
    with pytest.raises(NotFoundError, match="Known: 1"):
        load_frame(workspace, "rows", 7)
    with pytest.raises(NotFoundError, match="Known: rows"):
        load_frame(workspace, "row")


def test_a_damaged_table_is_never_returned(workspace: Workspace, tmp_path: Path) -> None:
    source = tmp_path / "rows.csv"
    source.write_text("a\n1\n")
    add(workspace, "rows", source)
    stored = workspace.artifacts.path(versions(workspace, "rows")[0].artifact)
    stored.chmod(0o600)
    stored.write_bytes(stored.read_bytes()[:-1] + b"!")
    with pytest.raises(ArtifactError, match="damaged"):
        load_frame(workspace, "rows")
