"""The artifact store: files by the SHA-256 of their bytes, written whole or not at all, never changed afterwards."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from quarterdeck.errors import ArtifactError

CHUNK = 1 << 20


class ArtifactStore:
    def __init__(self, root: Path) -> None:
        self.root = root

    def put(self, content: bytes) -> str:
        """Store `content` and return its digest (64 hexadecimal digits). The same bytes are stored once."""
        digest = hashlib.sha256(content).hexdigest()
        if not self.has(digest):
            with self._staged() as (file, temporary):
                file.write(content)
                _to_disk(file)
                self._settle(temporary, digest)
        return digest

    def put_file(self, source: Path) -> str:
        """Store a copy of the file at `source` and return its digest."""
        with source.open("rb") as file, self._staged() as (target, temporary):
            shutil.copyfileobj(file, target, CHUNK)
            _to_disk(target)
            digest = file_digest(temporary)
            self._settle(temporary, digest)
        return digest

    def path(self, digest: str) -> Path:
        """Where the artifact lies.

        Raises:
            ArtifactError: it is not there.
        """
        place = self._place(digest)
        if not place.is_file():
            raise ArtifactError(
                f"Artifact {digest[:12]} is missing from {self.root}. Restore that folder from a backup."
            )
        return place

    def read(self, digest: str) -> bytes:
        """The artifact's bytes, checked against its digest.

        Raises:
            ArtifactError: it is missing, or its bytes are not those that were stored.
        """
        content = self.path(digest).read_bytes()
        if hashlib.sha256(content).hexdigest() != digest:
            raise ArtifactError(
                f"Artifact {digest[:12]} in {self.root} is damaged: its bytes do not match its name. "
                "Restore it from a backup."
            )
        return content

    def has(self, digest: str) -> bool:
        return self._place(digest).is_file()

    def verify(self, digest: str) -> bool:
        """Whether the artifact is there with exactly the bytes that were stored."""
        place = self._place(digest)
        return place.is_file() and file_digest(place) == digest

    def _place(self, digest: str) -> Path:
        return self.root / digest[:2] / digest[2:]

    @contextmanager
    def _staged(self) -> Iterator[tuple[BinaryIO, Path]]:
        """A temporary file to fill and settle; it does not stay behind when that fails."""
        staging = self.root / "staging"
        staging.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=staging)
        try:
            with os.fdopen(handle, "wb") as file:
                yield file, Path(name)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise

    def _settle(self, temporary: Path, digest: str) -> None:
        place = self._place(digest)
        place.parent.mkdir(parents=True, exist_ok=True)
        temporary.chmod(0o440)
        os.replace(temporary, place)
        folder = os.open(place.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _to_disk(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
