"""A runner on the clock that can be set: `python -m tests.chaos.runner ROOT`."""

from __future__ import annotations

import sys
from pathlib import Path

from quarterdeck.runner.loop import run_runner
from tests.chaos.clock import open_workspace

if __name__ == "__main__":
    run_runner(Path(sys.argv[1]), open_workspace)
