"""Which kind of model lies at a path."""

from __future__ import annotations

import gzip
import io
import pickle
import zipfile
from pathlib import Path

import joblib
import pytest

from quarterdeck.errors import UsageError
from quarterdeck.registry.detection import detect
from quarterdeck.registry.version import Format


def zipped(*names: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name in names:
            archive.writestr(name, "{}")
    return content.getvalue()


def joblib_bytes(compress: int | tuple[str, int]) -> bytes:
    content = io.BytesIO()
    joblib.dump({"a": 1}, content, compress=compress)
    return content.getvalue()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (pickle.dumps({"a": 1}, protocol=2), Format.PICKLE),
        (pickle.dumps({"a": 1}), Format.PICKLE),
        (joblib_bytes(0), Format.PICKLE),
        (joblib_bytes(3), Format.PICKLE),
        (joblib_bytes(("gzip", 3)), Format.PICKLE),
        (joblib_bytes(("xz", 3)), Format.PICKLE),
        (gzip.compress(pickle.dumps(1)), Format.PICKLE),
        (zipped("schema.json"), Format.SKOPS),
        (b'{"learner":{"attributes":{}', Format.XGBOOST),
        (b"{L\0\0\0\0\0\0\0\x07learner{L", Format.XGBOOST),
        (b"tree\nversion=v4\n", Format.LIGHTGBM),
        (b"\x08\x0a\x12\x08skl2onnx", Format.ONNX),
    ],
    ids=lambda value: str(value) if isinstance(value, Format) else "bytes",  # Compressed bytes hold the time.
)
def test_content_says_what_a_misnamed_file_is(tmp_path: Path, content: bytes, expected: Format) -> None:
    for name in ("model", "model.skops", "model.pkl"):
        (tmp_path / name).write_bytes(content)
        assert detect(tmp_path / name, None) is expected


def test_a_folder_with_mlmodel_is_mlflow_and_one_with_the_module_is_code(tmp_path: Path) -> None:
    (tmp_path / "MLmodel").touch()
    (tmp_path / "serve").mkdir()
    (tmp_path / "serve" / "model.py").touch()
    assert detect(tmp_path, None) is Format.MLFLOW
    assert detect(tmp_path, "serve.model:predict") is Format.ENTRY
    assert detect(tmp_path / "serve", "model:Model.predict") is Format.ENTRY
    assert detect(tmp_path / "serve" / "model.py", "model:predict") is Format.ENTRY


@pytest.mark.parametrize(
    ("name", "content", "entry", "words"),
    [
        ("missing", None, None, "does not exist"),
        ("model.bin", b"x", None, "no kind that can be adopted"),
        ("model.pt", zipped("model/data.pkl"), None, "saved by torch"),
        ("model.zip", zipped("readme"), None, "no kind that can be adopted"),
        ("model.py", b"", "other:predict", "is not the module 'other'"),
        ("model.py", b"", "model", "takes module:function"),
        ("model.py", b"", "model:", "takes module:function"),
        ("", b"", None, "without an MLmodel file"),
        ("", b"", "absent:predict", "has no module 'absent'"),
    ],
)
def test_what_is_no_model_says_what_is(
    tmp_path: Path, name: str, content: bytes | None, entry: str | None, words: str
) -> None:
    if name and content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError, match=words):
        detect(tmp_path / name, entry)
