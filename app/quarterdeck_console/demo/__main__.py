"""`python -m quarterdeck_console.demo demo-player --workspace FOLDER [--auto]`: the player in a process of its own."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from quarterdeck.errors import QuarterdeckError
from quarterdeck_console.demo.play import play_behind_console

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("command", choices=["demo-player"])
parser.add_argument("--workspace", type=Path, required=True)
parser.add_argument("--auto", action="store_true")
arguments = parser.parse_args()
try:
    sys.exit(play_behind_console(arguments.workspace, auto=arguments.auto))
except QuarterdeckError as error:
    sys.exit(str(error))
