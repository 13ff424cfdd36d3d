"""Which kind of model lies at a path: told by what is in it, and by its name only where bytes say nothing."""

from __future__ import annotations

import zipfile
from pathlib import Path

from quarterdeck.errors import UsageError
from quarterdeck.registry.version import Format

HEAD_BYTES = 4096
PICKLED = (".joblib", ".pkl", ".pickle")
# What joblib compresses with, and how pickles of protocol 2 and newer begin.
_COMPRESSED = (
    b"\x1f\x8b",
    b"\x78\x01",
    b"\x78\x5e",
    b"\x78\x9c",
    b"\x78\xda",
    b"BZh",
    b"\xfd7zXZ",
    b"\x04\x22\x4d\x18",
)
_PICKLE = tuple(b"\x80" + bytes([protocol]) for protocol in range(2, 6))
KINDS = "a skops, ONNX, joblib, pickle, XGBoost (JSON, UBJ) or LightGBM (text) file, or an MLflow folder"


def detect(path: Path, entry: str | None) -> Format:
    """The format of the model at `path`; with an `entry` it is a file or a folder of Python code.

    Raises:
        UsageError: there is nothing, it cannot be read, or it is of no kind that can be adopted.
    """
    if not path.exists():
        raise UsageError(f"{path} does not exist. Check the path.")
    if entry is not None:
        return _code(path, entry)
    if path.is_dir():
        if (path / "MLmodel").is_file():
            return Format.MLFLOW
        raise UsageError(
            f"{path} is a directory without an MLmodel file, so it is no MLflow model. Name {KINDS}; for a folder of "
            "code add --entry module:predict."
        )
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from error
    found = _by_content(path, head) or _by_name(path)
    if found is None:
        raise UsageError(f"{path} is of no kind that can be adopted: {KINDS} is. Export it as one.")
    return found


def _code(path: Path, entry: str) -> Format:
    module, _, name = entry.partition(":")
    if not module or not all(part.isidentifier() for part in (*module.split("."), *name.split("."))):
        raise UsageError(f"--entry takes module:function, such as model:predict, not '{entry}'.")
    if path.is_file() and path.name != f"{module}.py":
        raise UsageError(f"{path} is not the module '{module}' of --entry {entry}. Name its file or its folder.")
    place = path.joinpath(*module.split(".")) if path.is_dir() else path
    if path.is_dir() and not place.with_suffix(".py").is_file() and not (place / "__init__.py").is_file():
        raise UsageError(f"{path} has no module '{module}', which --entry {entry} names.")
    return Format.ENTRY


def _by_content(path: Path, head: bytes) -> Format | None:
    if head.startswith(b"tree\n"):
        return Format.LIGHTGBM
    if head.startswith(b"{") and b"learner" in head[:64]:
        return Format.XGBOOST
    if head.startswith(_PICKLE) or head.startswith(_COMPRESSED):
        return Format.PICKLE
    if head.startswith(b"PK\x03\x04"):
        return _zipped(path)
    # A protocol buffer has no mark of its own: ONNX begins with the number of its version, then its producer.
    if head[:1] == b"\x08" and b"\x12" in head[:4]:
        return Format.ONNX
    return None


def _zipped(path: Path) -> Format | None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except zipfile.BadZipFile:
        return None
    if any(name.endswith("data.pkl") for name in names):
        raise UsageError(
            f"{path} was saved by torch. Put a module beside it that loads it and answers, and name the folder with "
            "--entry module:predict."
        )
    return Format.SKOPS if "schema.json" in names else None


def _by_name(path: Path) -> Format | None:
    suffix = path.suffix.lower()
    if suffix in PICKLED:
        return Format.PICKLE
    return {".skops": Format.SKOPS, ".onnx": Format.ONNX}.get(suffix)
