"""Python environments that are not Quarterdeck's: made once for each checkout, then only used.

`make environments` makes them all, so that nothing is fetched while a test runs.
"""

from __future__ import annotations

import fcntl
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / ".environments"
REQUIREMENTS: dict[str, tuple[str, ...]] = {
    "empty": (),
    "sklearn-1.4": ("scikit-learn==1.4.2", "numpy==1.26.4", "scipy==1.12.0", "pandas==2.2.3", "joblib==1.4.2"),
    "mlflow": (
        "mlflow-skinny==3.4.0",
        "scikit-learn==1.5.2",
        "numpy==1.26.4",
        "scipy==1.13.1",
        "pandas==2.2.3",
        "cloudpickle==3.1.1",
    ),
    "flask": ("flask==3.1.2", "gunicorn==23.0.0"),
    "tritonclient": ("tritonclient[http]==2.73.0", "numpy==2.4.6"),
    "kserve": ("kserve==0.21.0", "numpy==2.4.6"),
    "schemathesis": ("schemathesis==4.32.5",),
}
"""What is installed in each, beside what that needs itself."""
MADE_SECONDS = 600


def environment(name: str) -> Path:
    """The interpreter of the environment called `name`, which is made first where it is missing or out of date.

    Raises:
        KeyError: there is no such environment.
        subprocess.CalledProcessError: it cannot be made, for want of a network for example.
    """
    wanted = REQUIREMENTS[name]
    digest = sha256("\n".join((sys.version, *wanted)).encode()).hexdigest()
    place = FOLDER / name
    python, made = place / "bin" / "python", place / "made"
    FOLDER.mkdir(exist_ok=True)
    with (FOLDER / f"{name}.lock").open("w") as lock:
        # Several tests, in processes of their own, may ask for it at once.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists() or made.read_text() != digest:
            _make(place, python, wanted)
            made.write_text(digest)
    return python


def _make(place: Path, python: Path, wanted: tuple[str, ...]) -> None:
    uv = str(Path(sys.executable).parent / "uv")
    _run(uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(place))
    if wanted:
        _run(uv, "pip", "install", "--quiet", "--python", str(python), *wanted)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, timeout=MADE_SECONDS, cwd=ROOT)


if __name__ == "__main__":
    for name in REQUIREMENTS:
        print(environment(name))
