"""A folder as one artifact: the same files make the same bytes, wherever and whenever they are packed."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from quarterdeck.errors import ArtifactError, UsageError
from quarterdeck.processes import working_folders
from quarterdeck.workspace import Workspace

LEFT_OUT = frozenset({"__pycache__", ".git", ".venv", "venv", ".ipynb_checkpoints", ".mypy_cache", ".pytest_cache"})
UNPACKED, REMOVED = "unpacked", "removed-"


def pack(workspace: Workspace, place: Path) -> str:
    """Store the folder `place`, or a folder with that one file, as a tar file; return its digest.

    Names, bytes and whether a file is executable count; times, owners and the order on the disk do not.

    Raises:
        UsageError: it cannot be read, is empty, or links lead out of it.
    """
    handle, temporary = tempfile.mkstemp(dir=workspace.folder, prefix="packing-")
    try:
        with os.fdopen(handle, "wb") as out, tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
            count = 0
            for name, file in sorted(_files(place)):
                _add(tar, name, file)
                count += 1
        if count == 0:
            raise UsageError(f"{place} holds no files. Name the folder with the model.")
        return workspace.artifacts.put_file(Path(temporary))
    except OSError as error:
        raise UsageError(f"{error.filename or place} cannot be read: {error.strerror}.") from error
    finally:
        os.unlink(temporary)


def unpacked(workspace: Workspace, digest: str) -> Path:
    """The folder that was packed as `digest`, unpacked beside the artifacts; made the first time it is asked for.

    Raises:
        ArtifactError: the artifact is missing, damaged, or not what `pack` makes.
    """
    folder = workspace.folder / UNPACKED / digest
    with _guarded(folder.parent, fcntl.LOCK_SH):
        if folder.is_dir():
            note_use(folder)
            return folder
    if not workspace.artifacts.verify(digest):
        workspace.artifacts.path(digest)
        raise ArtifactError(f"Artifact {digest[:12]} is damaged: its bytes do not match its name. Restore a backup.")
    staged = Path(tempfile.mkdtemp(dir=folder.parent, prefix="staged-"))
    try:
        with tarfile.open(workspace.artifacts.path(digest)) as tar:
            for member in tar:
                _extract(tar, member, staged)
        os.rename(staged, folder)
    except OSError as error:
        shutil.rmtree(staged, ignore_errors=True)
        if not folder.is_dir():  # Another process may have been first.
            raise ArtifactError(f"Artifact {digest[:12]} cannot be unpacked: {error}.") from error
    except (tarfile.TarError, ArtifactError) as error:
        shutil.rmtree(staged, ignore_errors=True)
        raise ArtifactError(f"Artifact {digest[:12]} cannot be unpacked: {error}") from error
    return folder


def note_use(folder: Path) -> None:
    """Keep an unpacked folder from being removed as unused, for a while."""
    with contextlib.suppress(FileNotFoundError):
        os.utime(folder)


def remove_unused(workspace: Workspace, horizon: float) -> int:
    """Remove what was unpacked, and what somebody died over while unpacking, and not used since `horizon` (Unix time).

    Folders in which a process runs are in use. What is needed again is unpacked again. Returns how many there were.
    """
    place, unused = workspace.folder / UNPACKED, []
    if not place.is_dir():
        return 0
    with _guarded(place, fcntl.LOCK_EX):
        busy = working_folders()
        for folder in place.iterdir():
            if folder.stat().st_mtime < horizon and folder not in busy:
                unused.append(Path(tempfile.mkdtemp(dir=place, prefix=REMOVED)) / folder.name)
                os.rename(folder, unused[-1])
    for folder in unused:
        shutil.rmtree(folder.parent, ignore_errors=True)
    return len(unused)


@contextlib.contextmanager
def _guarded(place: Path, how: int) -> Iterator[None]:
    """Nobody removes while others look whether a folder is there."""
    place.mkdir(parents=True, exist_ok=True)
    handle = os.open(place, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, how)
        yield
    finally:
        os.close(handle)


def _files(place: Path) -> Iterator[tuple[str, Path]]:
    if place.is_file():
        yield place.name, place
        return
    for folder, folders, names in os.walk(place):
        folders[:] = [name for name in folders if name not in LEFT_OUT]
        for name in folders:
            if (linked := Path(folder) / name).is_symlink():
                raise UsageError(f"{linked} is a link to a folder: put the folder itself there.")
        for name in names:
            file = Path(folder) / name
            if file.suffix != ".pyc" and file.is_file():
                yield file.relative_to(place).as_posix(), file


def _add(tar: tarfile.TarFile, name: str, file: Path) -> None:
    entry = tarfile.TarInfo(name)
    with file.open("rb") as content:
        status = os.fstat(content.fileno())
        entry.size = status.st_size
        entry.mode = 0o755 if status.st_mode & 0o100 else 0o644
        tar.addfile(entry, content)


def _extract(tar: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    name = PurePosixPath(member.name)
    content = tar.extractfile(member) if member.isfile() else None
    if content is None or name.is_absolute() or ".." in name.parts:
        raise ArtifactError(f"it holds '{member.name}', which is no plain file in a folder.")
    target = folder / name
    target.parent.mkdir(parents=True, exist_ok=True)
    with content, target.open("wb") as out:
        shutil.copyfileobj(content, out)
    target.chmod(member.mode)
