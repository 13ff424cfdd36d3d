"""Room on the disk, and a reserve of it that is given up when there is none: a rollback must still be written."""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

RESERVE_FILE = "reserve"
LAST_BYTES = 8 * 1024 * 1024
"""With less room than this the next write may fail: the reserve goes."""


def free_bytes(folder: Path) -> int:
    """What is left on the file system of `folder` for whoever asks."""
    at = os.statvfs(folder)
    return at.f_bavail * at.f_frsize


def mount_of(path: Path) -> tuple[str, str]:
    """Mount point and kind of the file system on which `path` lies."""
    target, best, kind = os.path.realpath(path), "", "unknown"
    for line in Path("/proc/mounts").read_text(encoding="utf-8", errors="surrogateescape").splitlines():
        _, mount, file_system, *_ = line.split(" ")
        # Blanks, tabs, line breaks and backslashes stand there as octal numbers.
        mount = re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), mount)
        inside = target == mount or target.startswith(mount.rstrip("/") + "/")
        if inside and len(mount) >= len(best):
            best, kind = mount, file_system
    return best, kind


@dataclass(frozen=True, slots=True)
class Reserve:
    """A file in `folder` that holds room on the disk."""

    folder: Path

    @property
    def path(self) -> Path:
        return self.folder / RESERVE_FILE

    def release_if_needed(self) -> None:
        """Give the reserve up when the disk is all but full. Costs a look of microseconds when it is not."""
        if free_bytes(self.folder) < LAST_BYTES:
            with contextlib.suppress(OSError):
                self.path.unlink()

    def fill(self, size: int, *, leave: int) -> None:
        """Take `size` bytes, unless it has them or the disk would then have less than `leave` bytes.

        Raises:
            OSError: the file system did not give them after all.
        """
        present = self.path.stat().st_size if self.path.exists() else 0
        if present == size or free_bytes(self.folder) + present < size + leave:
            return
        handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(handle, 0)
            if size:
                os.posix_fallocate(handle, 0, size)
        except OSError:
            self.path.unlink()
            raise
        finally:
            os.close(handle)
