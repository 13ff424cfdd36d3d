"""Files that appear whole or not at all, and are on the disk when they do."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from quarterdeck.errors import DiskError

TEMPORARY = ".tmp"


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A fresh temporary file, readable by its owner only, that becomes `path` when the block ends without an error.

    Raises:
        DiskError: the disk is full or failed; nothing is left behind.
    """
    temporary = path.with_name(path.name + TEMPORARY)
    try:
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
        sync_folder(path.parent)
    except OSError as error:
        raise DiskError(f"{path} cannot be written: {error}. Make room or mend the disk, then try again.") from error
    finally:
        temporary.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Have what the folder lists on the disk: names that were given, and names that were taken away."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def megabytes(size: int) -> str:
    """A number of bytes as people read it."""
    return f"{size / 1e6:,.1f} MB"
