"""A native model file is read once by a process that is thrown away: a damaged one may end whoever reads it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from quarterdeck.errors import ArtifactError
from quarterdeck.registry.version import Format

SECONDS = 120.0
_READERS = {
    Format.ONNX: "from quarterdeck.registry.onnx import OnnxGraph as read",
    Format.XGBOOST: "from quarterdeck.registry.boosters import XgboostBooster as read",
    Format.LIGHTGBM: "from quarterdeck.registry.boosters import LightgbmBooster as read",
}
_SURVIVED = 0
_READ = """\
import sys
{reader}
from quarterdeck.errors import QuarterdeckError
with open(sys.argv[1], "rb") as file:
    content = file.read()
try:
    read(content)
except QuarterdeckError:
    pass  # Whoever reads it next says so.
"""


def survive_reading(model_format: Format, path: Path) -> None:
    """Read `path` by its format's library in another process; formats that are not read by native code are not.

    Raises:
        ArtifactError: that process did not survive it.
    """
    reader = _READERS.get(model_format)
    if reader is None:
        return
    command = [sys.executable, "-P", "-c", _READ.format(reader=reader), str(path)]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        raise ArtifactError(f"It was not read within {SECONDS:g} s: it is damaged, or far too large.") from None
    if done.returncode != _SURVIVED:
        raise ArtifactError(
            f"It is damaged: a process that read it as {model_format} did not survive that. Export it again."
        )
