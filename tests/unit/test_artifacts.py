"""The artifact store."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quarterdeck.artifacts import ArtifactStore
from quarterdeck.errors import ArtifactError


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(content=st.binary(max_size=2000))
def test_what_was_put_comes_back_by_its_digest(tmp_path: Path, content: bytes) -> None:
    store = ArtifactStore(tmp_path)
    digest = store.put(content)
    assert digest == hashlib.sha256(content).hexdigest()
    assert store.read(digest) == content
    assert store.put(content) == digest


def test_a_file_is_stored_under_the_digest_of_its_bytes(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path / "store")
    (tmp_path / "f").write_bytes(b"content")
    assert store.put_file(tmp_path / "f") == store.put(b"content")


def test_a_missing_artifact_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="aaaaaaaaaaaa is missing"):
        ArtifactStore(tmp_path).read("a" * 64)


def test_a_damaged_artifact_is_never_handed_out(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    digest = store.put(b"content")
    store.path(digest).chmod(0o600)
    store.path(digest).write_bytes(b"changed")
    assert not store.verify(digest)
    with pytest.raises(ArtifactError, match="damaged"):
        store.read(digest)


def test_nothing_half_written_is_left_among_the_artifacts(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    store.put(b"content")
    assert list((tmp_path / "staging").iterdir()) == []


def test_a_write_that_fails_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    store = ArtifactStore(tmp_path / "store")
    (tmp_path / "f").write_bytes(b"content")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        store.put(b"content")
    with pytest.raises(OSError, match="No space"):
        store.put_file(tmp_path / "f")
    assert list((tmp_path / "store" / "staging").iterdir()) == []
