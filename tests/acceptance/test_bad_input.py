"""Bad input at the real command line: one message that names the thing, its place and the next step; no change."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from quarterdeck.bootstrap import open_workspace
from quarterdeck.registry.version import GateVerdict
from quarterdeck_console.cli import main
from tests.deck import ENVIRONMENT, QUARTERDECK, Deck, new_deck
from tests.gateways import add_classifier, add_regressor
from tests.waiting import wait_for

pytestmark = pytest.mark.timeout(120)
SETTINGS = """\
[workspace]
name = "bad-input"
[gateway]
port = 0
[deployments.vault]
protected = true
"""
ROWS = "amount,age,balance,n_last_day,channel\n" + "1.0,30,2.0,0,app\n2.0,40,1.0,1,web\n" * 20
PIPELINE = """\
from quarterdeck.pipelines import pipeline, step


@step
def look(*, depth: int = 3):
    return depth


train = pipeline("train", [look])
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What people name by mistake."""
    folder = tmp_path_factory.mktemp("files")
    (folder / "rows.csv").write_text(ROWS)
    (folder / "answers.csv").write_text("id,score\na,0.5\n")
    (folder / "empty.csv").write_bytes(b"")
    (folder / "binary.csv").write_bytes(bytes(range(256)) * 8)
    (folder / "ragged.csv").write_text("a,b\n1,2\n3,4,5\n")
    (folder / "folder").mkdir()
    for name in ("model.skops", "model.onnx", "model.joblib"):
        (folder / name).write_bytes(b"\x00\x01 this is no model")
    return folder


@pytest.fixture(scope="module")
def deck(tmp_path_factory: pytest.TempPathFactory, files: Path) -> Iterator[Deck]:
    """`fraud` and the protected `vault` serve a version; version 2 of `fraud` was refused by its gate."""
    folder = tmp_path_factory.mktemp("bad-input") / "deck"
    with new_deck(folder, SETTINGS, {"train.py": PIPELINE}) as deck:
        workspace = open_workspace(deck.root, actor="tester")
        add_classifier(workspace)
        add_classifier(workspace, gate=GateVerdict.FAILED)
        add_regressor(workspace, "vault")
        workspace.close()
        deck.run("deploy", "fraud", "--version", "1")
        deck.run("deploy", "vault", "--version", "1", "--confirm", "vault", "--reason", "first")
        deck.run("adopt", "--external", "--name", "elsewhere", "--sample", str(files / "rows.csv"))
        yield deck


def contents(root: Path) -> dict[str, str]:
    """Every row of the databases and every other file, as digests."""
    found = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if path.suffix == ".db":
            connection = sqlite3.connect(path)
            found[name] = digest("\n".join(connection.iterdump()).encode())
            connection.close()
        elif path.is_file() and path.suffix != ".lock" and not name.endswith(("-wal", "-shm")):
            found[name] = digest(path.read_bytes())
    return found


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def refused(
    root: Path,
    arguments: Sequence[str],
    code: int,
    words: Sequence[str],
    *,
    folder: Path | None = None,
    prefix: Sequence[str] = (),
) -> None:
    """Run it as a process: it is refused as `as_refused` says, and nothing changed."""
    before = contents(root)
    done = subprocess.run(
        [*prefix, QUARTERDECK, *arguments],
        capture_output=True,
        text=True,
        timeout=90,
        env=ENVIRONMENT,
        cwd=folder or root,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == code, done.stdout + done.stderr
    as_refused(done.stdout, done.stderr, words)
    assert contents(root) == before


def as_refused(out: str, err: str, words: Sequence[str]) -> None:
    """A message of one line with every one of the words, and nothing on stdout."""
    assert "Traceback" not in err
    assert out == ""
    # What a verb is doing is told on stderr too, in lines that end so.
    message = [line for line in err.splitlines() if not line.endswith(" ...")]
    assert len(message) == 1, err
    for word in words:
        assert word in message[0]


@dataclass(frozen=True)
class Case:
    """One mistake."""

    command: str
    words: tuple[str, ...]
    code: int = 2


CASES = [
    Case("data add d missing.csv", ("missing.csv", "does not exist", "Check the path")),
    Case("data add d folder", ("folder", "is a directory", "Name a file")),
    Case("data add d empty.csv", ("empty.csv", "is empty", "needs a header")),
    Case("data add d binary.csv", ("binary.csv", "binary file", "CSV")),
    Case("data add d ragged.csv", ("ragged.csv, row 3", "3 values where 2", "Mend that row")),
    Case("data add a/b rows.csv", ("'a/b' is not a name", "use letters")),
    Case("data list nothing", ("no dataset 'nothing'", "quarterdeck data add nothing")),
    Case("predictions add elsewhere missing.csv", ("missing.csv", "does not exist", "Check the path")),
    Case("predictions add elsewhere binary.csv", ("binary.csv", "binary file", "CSV")),
    Case("predictions add elsewhere ragged.csv", ("ragged.csv, row 3", "Mend that row")),
    Case("predictions add elsewhere rows.csv", ("rows.csv", "no column", "prediction", "--help")),
    Case("predictions add nothing rows.csv", ("no deployment 'nothing'", "fraud", "quarterdeck deploy")),
    Case("label add fraud folder", ("folder", "is a directory", "Name a file")),
    Case("label add fraud answers.csv", ("answers.csv", "no column label", "id, score", "--help")),
    Case("adopt missing.skops --sample rows.csv", ("missing.skops", "does not exist", "Check the path")),
    Case("adopt model.skops --sample rows.csv", ("model.skops", "cannot be adopted", "again")),
    Case("adopt model.onnx --sample rows.csv", ("model.onnx", "cannot be adopted", "again")),
    Case("adopt model.joblib --sample rows.csv", ("model.joblib", "pickle", "--trust-pickle"), 3),
    Case("adopt model.onnx --sample empty.csv", ("empty.csv", "is empty")),
    Case("adopt --external --name x --sample rows.csv --target nothing", ("Column 'nothing'", "There are: amount")),
    Case("versions nothing", ("no model 'nothing'", "fraud", "quarterdeck models")),
    Case("deploy fraud --model nothing", ("no model 'nothing'", "quarterdeck models")),
    Case("deploy fraud --version 99", ("'fraud'", "99", "Known: 1, 2")),
    Case("rollback nothing", ("no deployment 'nothing'", "fraud")),
    Case("rollback fraud --to 99", ("fraud", "99", "quarterdeck history fraud")),
    Case("undo nothing", ("no deployment 'nothing'", "fraud")),
    Case("history nothing", ("no deployment 'nothing'", "fraud")),
    Case("alerts --deployment nothing", ("no deployment 'nothing'", "fraud")),
    Case("run nothing", ("no pipeline 'nothing'", "pipelines", "train")),
    Case("runs nothing", ("no pipeline 'nothing'", "pipelines", "train")),
    Case("run train --set look.width=1", ("look", "width", "train.py", "depth")),
    Case("run train --set depth", ("--set depth", "STEP.PARAMETER=VALUE")),
    Case("logs 99", ("no run 99", "quarterdeck runs")),
    Case("cancel 99", ("no run 99", "quarterdeck runs")),
    Case("ack 99", ("no alert 99", "quarterdeck alerts")),
    Case("monitor run nothing", ("no monitor 'nothing'", "elsewhere", "quarterdeck.toml")),
    Case("launch", ("No such command 'launch'", "quarterdeck --help")),
    Case("data throw", ("No such command 'throw'", "quarterdeck data --help")),
    Case("status --quickly", ("--quickly", "quarterdeck status --help")),
    Case("deploy fraud --version two", ("'--version'", "integer", "quarterdeck deploy --help")),
    Case("data add", ("name", "quarterdeck data add --help")),
    Case("deploy fraud --version 2", ("fraud", "2", "gate"), 3),
    Case("deploy vault --version 1", ("'vault' is protected", "--confirm vault"), 3),
    Case("rollback vault", ("'vault' is protected", "--confirm vault"), 3),
    Case("undo vault --confirm volt", ("'vault' is protected", "--confirm vault"), 3),
    Case("rollback fraud --to 1 --expected 7", ("fraud", "7", "revision 1"), 4),
    Case("deploy fraud --version 1 --expected 7", ("fraud", "7", "revision 1"), 4),
]
BY_PROCESS = [
    Case("", ("needs a terminal", "quarterdeck status --json")),
    *(case for case in CASES if case.command in ("launch", "adopt model.joblib --sample rows.csv", "undo nothing")),
    CASES[-1],
]
"""One of each way to end."""


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.command)
def test_a_mistake_is_named_and_changes_nothing(
    deck: Deck, files: Path, case: Case, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(deck.root)
    monkeypatch.chdir(files)
    monkeypatch.setattr(sys, "argv", ["quarterdeck", "-w", str(deck.root), *case.command.split()])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == case.code
    as_refused(*capsys.readouterr(), case.words)
    assert contents(deck.root) == before


@pytest.mark.parametrize("case", BY_PROCESS, ids=lambda case: case.command or "no verb")
def test_a_process_that_is_refused_says_so_and_ends_with_its_code(deck: Deck, files: Path, case: Case) -> None:
    refused(deck.root, ["-w", str(deck.root), *case.command.split()], case.code, case.words, folder=files)


def test_outside_a_workspace(deck: Deck, tmp_path: Path) -> None:
    refused(deck.root, ["status"], 2, ("quarterdeck.toml", str(tmp_path), "quarterdeck init"), folder=tmp_path)
    refused(deck.root, ["-w", str(tmp_path / "no"), "up"], 2, (str(tmp_path / "no"), "quarterdeck init"))
    assert list(tmp_path.iterdir()) == []


@contextmanager
def settings(deck: Deck, text: str) -> Iterator[None]:
    """Another quarterdeck.toml for the block."""
    file = deck.root / "quarterdeck.toml"
    kept = file.read_text()
    file.write_text(text)
    try:
        yield
    finally:
        file.write_text(kept)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[workspace\n", ("not valid TOML", "line 1")),
        ('[gateway]\nprot = 1\n[workspace]\nname = "x"\n', ("gateway.prot", "docs/settings.md")),
        ('[monitors.fraud]\ndeployment = "fraud"\nevery = "soon"\n', ("monitors.fraud.every", "30s, 15m")),
    ],
)
def test_settings_that_do_not_fit_name_the_file_and_the_key(deck: Deck, text: str, words: tuple[str, ...]) -> None:
    with settings(deck, text):
        for verb in ("status", "up"):
            refused(deck.root, ["-w", str(deck.root), verb], 2, (str(deck.root / "quarterdeck.toml"), *words))


def test_a_read_only_workspace_refuses_every_write(deck: Deck, files: Path) -> None:
    with settings(deck, SETTINGS.replace("[gateway]", "read_only = true\n[gateway]")):
        for command in ("data add d rows.csv", "run train --detach", "deploy fraud --version 1", "undo elsewhere"):
            arguments = ["-w", str(deck.root), *command.split()]
            refused(deck.root, arguments, 3, ("read_only", "quarterdeck.toml", "false"), folder=files)


def test_a_port_in_use(deck: Deck) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with settings(deck, SETTINGS.replace("port = 0", f"port = {port}")):
            words = (f"cannot listen on 127.0.0.1:{port}", "`port` under [gateway]")
            refused(deck.root, ["-w", str(deck.root), "up"], 2, words)


def test_a_second_up(deck: Deck) -> None:
    log = deck.root.parent / "up.log"
    with log.open("wb") as output:
        first = subprocess.Popen(
            [QUARTERDECK, "-w", str(deck.root), "up"], stderr=output, env=deck.environment, start_new_session=True
        )
    try:
        wait_for(lambda: b"gateway on" in log.read_bytes(), seconds=60, what="the first up")
        second = deck.run("up", expect=3)
        assert f"(process {first.pid})" in second.stderr
        assert f"kill {first.pid}" in second.stderr
        assert first.poll() is None
    finally:
        first.send_signal(signal.SIGTERM)
        assert first.wait(60) == 0
    wait_for(lambda: not deck.processes(), what="the end of every process")


@pytest.mark.parametrize("name", ["state", "traffic"])
def test_a_workspace_of_a_newer_schema(deck: Deck, tmp_path: Path, name: str) -> None:
    newer = tmp_path / "newer"
    shutil.copytree(deck.root, newer)
    connection = sqlite3.connect(newer / ".quarterdeck" / f"{name}.db")
    connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.commit()
    connection.close()
    for verb in ("status", "up"):
        refused(newer, ["-w", str(newer), verb], 3, (f"{name}.db", "9999", "later one", "Nothing was changed"))


def test_a_database_that_is_none(deck: Deck, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged"
    shutil.copytree(deck.root, damaged)
    for suffix in ("-wal", "-shm"):
        (damaged / ".quarterdeck" / f"state.db{suffix}").unlink(missing_ok=True)
    place = damaged / ".quarterdeck" / "state.db"
    place.write_bytes(b"no database at all " * 1000)
    done = Deck(damaged).run("status", expect=None)
    assert done.returncode in (1, 2, 3)
    assert "Traceback" not in done.stderr
    assert str(place) in done.stderr
    assert place.read_bytes() == b"no database at all " * 1000


def test_a_read_only_folder(deck: Deck, files: Path) -> None:
    # Root writes anywhere but here: a mount of this test's own, in a namespace of its own.
    script = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$@"'
    read_only = ["unshare", "--mount", "sh", "-c", script, str(deck.root)]
    tried = subprocess.run([*read_only, "touch", str(deck.root / "x")], capture_output=True, text=True, timeout=60)
    assert "Read-only file system" in tried.stderr, "this test needs the right to mount"
    state = str(deck.root / ".quarterdeck")
    for command in ("data add d rows.csv", "status", "up", "deploy fraud --version 1"):
        arguments = ["-w", str(deck.root), *command.split()]
        refused(deck.root, arguments, 2, (state, "cannot be written", "copy"), folder=files, prefix=read_only)
    fresh = str(deck.root / "fresh")
    refused(deck.root, ["init", fresh], 2, (fresh, "Read-only", "another folder"), prefix=read_only)
    refused(deck.root, ["demo", fresh], 2, (fresh, "Read-only", "another folder"), prefix=read_only)
    assert not os.path.exists(fresh)
