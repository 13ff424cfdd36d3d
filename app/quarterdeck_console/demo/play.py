"""The demo's processes: the deck, the player, and on a terminal the console; all are ended on every way out."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from quarterdeck_console.cli.output import as_json, say
from quarterdeck_console.demo.sample import copy_sample

if TYPE_CHECKING:
    from quarterdeck_console.demo.story import Outcome

LINE_FILE = "demo-line.txt"
STOP_SECONDS = 20.0
LEFT = """\
The workspace is left in {folder} (remove it with: rm -r {folder}).
Look around in it:            {command} -w {folder}
Bring a model of your own:    {command} init my-deck
                              {command} -w my-deck adopt model.skops --sample rows.csv   (or model.onnx)
                              {command} -w my-deck up"""


def play(folder: Path | None, *, auto: bool) -> int:
    """Play the demo in a copy of the sample. Returns the exit code: 0 only if every part of the story happened."""
    signal.signal(signal.SIGTERM, _leave)
    signal.signal(signal.SIGHUP, _leave)
    root = copy_sample(folder)
    try:
        _make_workspace(root)
        with _process("up", "--until-eof", "--workspace", str(root), log=root / "up.log"):
            if sys.stdin.isatty() and sys.stdout.isatty():
                return _with_console(root, auto=auto)
            outcome = _printed(root)
    finally:
        say(LEFT.format(folder=_short(root), command=_command()))
    _print(as_json(outcome.figures))
    return 0 if outcome.complete else 1


def play_behind_console(root: Path, *, auto: bool) -> int:
    """Play the story in this process, with the line for the person in a file that the console reads."""
    from quarterdeck.bootstrap import open_workspace
    from quarterdeck_console.demo.player import Player
    from quarterdeck_console.demo.world import read_history

    signal.signal(signal.SIGTERM, _leave)
    threading.Thread(target=_end_with_input, daemon=True).start()
    workspace = open_workspace(root)
    line = workspace.folder / LINE_FILE
    player = Player(workspace, read_history(root), auto=auto, tell=say, press=lambda text: _replace(line, text))
    outcome = player.play()
    (workspace.folder / "demo-outcome.json").write_text(as_json(outcome.figures), encoding="utf-8")
    return 0 if outcome.complete else 1


def _command() -> str:
    """How to call Quarterdeck from here: by its name where the shell finds it, else by its path."""
    return "quarterdeck" if shutil.which("quarterdeck") else _short(Path(sys.argv[0]).resolve())


def _printed(root: Path) -> Outcome:
    from quarterdeck.bootstrap import open_workspace
    from quarterdeck_console.demo.player import Player
    from quarterdeck_console.demo.world import read_history

    workspace = open_workspace(root)
    player = Player(workspace, read_history(root), auto=True, tell=_print, press=lambda text: None)
    outcome = player.play()
    for part in outcome.parts:
        if not part.happened:
            say(f"This did not happen: {part.what}.")
    return outcome


def _with_console(root: Path, *, auto: bool) -> int:
    from quarterdeck_console.app import run_console

    line = root / ".quarterdeck" / LINE_FILE
    arguments = ["--workspace", str(root), *(["--auto"] if auto else [])]
    with _process("demo-player", *arguments, log=root / "demo.log"):
        return run_console(root, banner_source=lambda: _read(line))


def _make_workspace(root: Path) -> None:
    from quarterdeck.bootstrap import create_workspace

    create_workspace(root).close()


@contextlib.contextmanager
def _process(*arguments: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process of ours in a session of its own, so that a Ctrl-C reaches us first; ended when the block is left.

    It also ends when its standard input does: that is what is left to us when we are killed.
    """
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", _module_of(arguments[0]), *arguments],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        process.terminate()
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _end_with_input() -> None:
    sys.stdin.buffer.read()
    os._exit(1)


def _module_of(command: str) -> str:
    return "quarterdeck_console.demo" if command == "demo-player" else "quarterdeck"


def _leave(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def _print(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _short(folder: Path) -> str:
    with contextlib.suppress(ValueError):
        return str(folder.relative_to(Path.cwd()))
    return str(folder)


def _replace(path: Path, text: str) -> None:
    temporary = path.with_suffix(".new")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
