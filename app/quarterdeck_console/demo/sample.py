"""The sample workspace: where it lies, and a copy of it to play with."""

from __future__ import annotations

import shutil
from pathlib import Path

from quarterdeck.errors import UsageError

SAMPLE = Path("sample_data", "payments")
DEFAULT_FOLDER = "quarterdeck-demo"


def sample_folder() -> Path:
    """The sample as it was installed: inside the package, or beside it in a source checkout."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / SAMPLE, package.parents[1] / SAMPLE):
        if folder.is_dir():
            return folder
    raise UsageError("The sample workspace is not part of this installation. Install quarterdeck again.")


def copy_sample(folder: Path | None) -> Path:
    """Copy the sample to `folder`, or to the first free of ./quarterdeck-demo, ./quarterdeck-demo-2, ...

    Raises:
        UsageError: `folder` is there already and is not empty, or cannot be written.
    """
    target = folder.resolve() if folder is not None else _free_folder(Path.cwd())
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UsageError(f"{target} is there already. Name an empty or a new folder: `quarterdeck demo FOLDER`.")
    try:
        shutil.copytree(sample_folder(), target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    except OSError as error:
        raise UsageError(
            f"{target} cannot be written: {error}. Name another folder: `quarterdeck demo FOLDER`."
        ) from error
    return target


def _free_folder(parent: Path) -> Path:
    number = 1
    while (folder := parent / (DEFAULT_FOLDER if number == 1 else f"{DEFAULT_FOLDER}-{number}")).exists():
        number += 1
    return folder
