"""What the console may load: the first screen only Textual, all panes no data frames and no estimators."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HEAVY = ("pandas", "sklearn", "evidently", "numpy")
FIRST_SCREEN = """
import asyncio, sys
from pathlib import Path
from quarterdeck_console.app import QuarterdeckApp

class Stopped(QuarterdeckApp):
    def _start_engine(self): pass

async def main():
    async with Stopped(Path(".")).run_test() as pilot:
        await pilot.pause()

asyncio.run(main())
"""
FINDING = """
import sys
from pathlib import Path
from quarterdeck_console.cli import session, verbs
import quarterdeck_console.app
session.choose(Path(sys.argv[1]))
print(session.root())
"""
ALL_PANES = """
import sys
from pathlib import Path
from quarterdeck.bootstrap import create_workspace
from quarterdeck_console.screens.panes import PANES
from quarterdeck_console.screens.pulse import read_pulse
from quarterdeck_console.summary import read_summary
from quarterdeck_console.watcher import read_liveness
import quarterdeck_console.screens.rollback
import quarterdeck.deployments.analysis, quarterdeck.deployments.rollout, quarterdeck.pipelines.submission
workspace = create_workspace(Path(sys.argv[1]))
for pane in PANES.values():
    pane().read(workspace, 10)
read_pulse(workspace), read_summary(workspace), read_liveness(workspace)
"""


def loaded(program: str, *arguments: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", program + "\nprint(*sys.modules)", *arguments],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.split())


def test_the_first_screen_loads_no_engine() -> None:
    modules = loaded(FIRST_SCREEN)
    assert "textual" in modules
    assert not modules & {*HEAVY, "sqlmodel", "sqlalchemy", "pydantic"}


def test_the_command_finds_the_workspace_without_the_engine(tmp_path: Path) -> None:
    (tmp_path / "quarterdeck.toml").touch()
    modules = loaded(FINDING, str(tmp_path))
    assert str(tmp_path) in modules
    assert not modules & {*HEAVY, "sqlmodel", "sqlalchemy", "pydantic"}


def test_no_pane_loads_data_frames_or_estimators(tmp_path: object) -> None:
    modules = loaded(ALL_PANES, f"{tmp_path}/workspace")
    assert "sqlmodel" in modules
    assert not modules & {"pandas", "sklearn", "evidently"}
