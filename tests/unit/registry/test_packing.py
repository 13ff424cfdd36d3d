"""Folders as artifacts."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

from quarterdeck.errors import ArtifactError, UsageError
from quarterdeck.registry.packing import UNPACKED, pack, remove_unused, unpacked
from quarterdeck.workspace import Workspace


def filled(folder: Path, names: list[str]) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"content of {name}")
    return folder


def test_the_same_files_are_the_same_bytes_whatever_their_times_and_order(workspace: Workspace, tmp_path: Path) -> None:
    names = ["model.py", "weights/a.bin", "weights/b.bin"]
    first, second = filled(tmp_path / "first", names), filled(tmp_path / "second", names[::-1])
    filled(second, ["__pycache__/model.cpython-311.pyc", ".git/HEAD"])
    os.utime(second / "model.py", (1, 1))
    assert pack(workspace, first) == pack(workspace, second)
    (second / "model.py").chmod(0o755)
    assert pack(workspace, first) != pack(workspace, second)
    assert not list(workspace.folder.glob("packing-*"))


def test_what_was_packed_is_unpacked_once_with_its_modes(workspace: Workspace, tmp_path: Path) -> None:
    source = filled(tmp_path / "source", ["model.py", "deep/in/run.sh"])
    (source / "deep/in/run.sh").chmod(0o700)
    digest = pack(workspace, source)
    folder = unpacked(workspace, digest)
    assert (folder / "model.py").read_text() == "content of model.py"
    assert os.access(folder / "deep/in/run.sh", os.X_OK)
    (folder / "mark").touch()
    assert (unpacked(workspace, digest) / "mark").exists()


def test_a_single_file_is_a_folder_with_it(workspace: Workspace, tmp_path: Path) -> None:
    filled(tmp_path, ["model.py"])
    assert [path.name for path in unpacked(workspace, pack(workspace, tmp_path / "model.py")).iterdir()] == ["model.py"]


def test_a_linked_folder_and_an_empty_one_are_refused(workspace: Workspace, tmp_path: Path) -> None:
    source = filled(tmp_path / "source", ["model.py"])
    (source / "linked").symlink_to(tmp_path)
    with pytest.raises(UsageError, match="linked is a link to a folder"):
        pack(workspace, source)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="holds no files"):
        pack(workspace, tmp_path / "empty")


def test_nothing_is_unpacked_outside_its_folder_or_from_damaged_bytes(workspace: Workspace) -> None:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("../outside"), io.BytesIO())
    digest = workspace.artifacts.put(content.getvalue())
    with pytest.raises(ArtifactError, match="outside"):
        unpacked(workspace, digest)
    with pytest.raises(ArtifactError, match="cannot be unpacked"):
        unpacked(workspace, workspace.artifacts.put(b"no tar file"))
    place = workspace.artifacts.path(digest)
    place.chmod(0o600)
    place.write_bytes(b"spoilt")
    with pytest.raises(ArtifactError, match="damaged"):
        unpacked(workspace, digest)
    assert not (workspace.folder / "outside").exists()
    assert not list((workspace.folder / "unpacked").iterdir())


def test_what_was_unpacked_and_is_used_no_more_is_removed_and_made_again_when_needed(
    workspace: Workspace, tmp_path: Path
) -> None:
    digests = {name: pack(workspace, filled(tmp_path / name, [f"{name}.py"])) for name in ("old", "running", "new")}
    folders = {name: unpacked(workspace, digest) for name, digest in digests.items()}
    abandoned = folders["old"].with_name("staged-by-one-that-died")
    abandoned.mkdir()
    for folder in (folders["old"], folders["running"], abandoned):
        os.utime(folder, (1, 1))
    command = [sys.executable, "-c", "print(flush=True); input()"]
    with subprocess.Popen(command, cwd=folders["running"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        running.stdout.readline()
        assert remove_unused(workspace, time.time() - 3600) == 2
        running.communicate(b"\n")
    kept = {folder.name for folder in (workspace.folder / UNPACKED).iterdir()}
    assert kept == {digests["running"], digests["new"]}
    assert (unpacked(workspace, digests["old"]) / "old.py").exists()
    assert unpacked(workspace, digests["running"]) == folders["running"]
    assert remove_unused(workspace, time.time() - 3600) == 0
