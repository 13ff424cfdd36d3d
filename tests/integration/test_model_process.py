"""A model in a process of its own: whatever it does there, whoever asked it hears of it and goes on."""

from __future__ import annotations

import ast
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest

from quarterdeck.processes import identity_of, is_alive
from quarterdeck.registry import model_host
from quarterdeck.registry.answers import Predictions
from quarterdeck.registry.hosted import HostedPredictor, Limits, ModelDownError, ModelTimeoutError, Plan
from quarterdeck.registry.isolation import IsolatedProcess
from quarterdeck.registry.signature import Feature, Signature
from quarterdeck.registry.version import Format, Task
from tests.environments import environment
from tests.waiting import wait_for

FEATURES = (Feature("amount", "number", nullable=True), Feature("channel", "text", nullable=True))
SIGNATURE = Signature(FEATURES, target=None, classes=None)
LIMITS = Limits(load=60, request=30, memory=None)
PATIENCE = 60.0

DOUBLE = """
def predict(rows):
    return [2 * row["amount"] for row in rows]
"""
MOODY = """
import os, sys, time
def predict(rows):
    mood = rows[0]["channel"]
    if mood == "abort":
        print("about to abort", file=sys.stderr, flush=True)
        os.abort()
    if mood == "hang":
        open("hangs", "w").close()
        time.sleep(600)
    if mood == "leak":
        kept = []
        while True:
            kept.append(bytearray(os.urandom(1 << 20)))
    if mood == "raise":
        raise ValueError("no answer to that\\nand more of it")
    if mood == "short":
        return []
    return [row["amount"] for row in rows]
"""


@contextmanager
def hosted(folder: Path, source: str, *, limits: Limits = LIMITS, python: str = "empty") -> Iterator[HostedPredictor]:
    """The function of a module, in an environment with nothing but Python."""
    folder.mkdir(exist_ok=True)
    (folder / "model.py").write_text(source)
    plan = Plan("moody@1", str(environment(python)), folder, Format.ENTRY, "model:predict")
    predictor = HostedPredictor(plan, limits)
    try:
        predictor.take(SIGNATURE, Task.REGRESSION)
        yield predictor
    finally:
        predictor.close()


def asked(predictor: HostedPredictor, mood: str = "app") -> Predictions:
    return predictor.predict_columns({"amount": [2.0], "channel": [mood]})


def again(predictor: HostedPredictor) -> bool:
    try:
        return bool(asked(predictor).values[0] == 2.0)
    except ModelDownError:
        return False


def process_of(predictor: HostedPredictor) -> IsolatedProcess:
    process = predictor._process
    assert process is not None
    return process


def test_the_host_needs_no_more_than_the_standard_library_of_an_old_python() -> None:
    source = Path(model_host.__file__).read_text()
    tree = ast.parse(source, feature_version=(3, 8))
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.col_offset == 0}
    imported |= {alias.name for node in tree.body if isinstance(node, ast.Import) for alias in node.names}
    assert {str(name).partition(".")[0] for name in imported} <= sys.stdlib_module_names


def test_a_function_answers_without_any_library(tmp_path: Path) -> None:
    with hosted(tmp_path / "code", DOUBLE) as predictor:
        found = predictor.predict(pd.DataFrame({"amount": [1.0, 2.5], "channel": ["app", None]}))
        assert found.values.tolist() == [2.0, 5.0]
        assert found.probabilities is None
        assert predictor.memory() > 1_000_000


def test_what_the_model_raises_arrives_and_it_goes_on(tmp_path: Path) -> None:
    with hosted(tmp_path / "code", MOODY) as predictor:
        identity = process_of(predictor).identity
        with pytest.raises(ValueError, match=r"^no answer to that$"):
            asked(predictor, "raise")
        with pytest.raises(ValueError, match="it gave 0 answers for 1 rows"):
            asked(predictor, "short")
        assert asked(predictor).values.tolist() == [2.0]
        assert process_of(predictor).identity == identity


def test_a_model_that_aborts_is_told_of_with_its_last_words_and_started_again(tmp_path: Path) -> None:
    with hosted(tmp_path / "code", MOODY) as predictor:
        with pytest.raises(ModelDownError, match=r"SIGABRT, as os.abort\(\) does; it last wrote: about to abort"):
            asked(predictor, "abort")
        wait_for(lambda: again(predictor), seconds=PATIENCE, what="the process to be there again")


def test_a_model_that_hangs_is_killed_in_time_and_started_again(tmp_path: Path) -> None:
    with hosted(tmp_path / "code", MOODY, limits=Limits(60, 0.5, None)) as predictor:
        identity = process_of(predictor).identity
        with pytest.raises(ModelTimeoutError, match=r"did not answer within 0.5 s"):
            asked(predictor, "hang")
        wait_for(lambda: not is_alive(identity), what="the end of the one that hung")
        wait_for(lambda: again(predictor), seconds=PATIENCE, what="the process to be there again")


def test_a_model_that_leaks_is_ended_at_its_limit(tmp_path: Path) -> None:
    with hosted(tmp_path / "code", MOODY, limits=Limits(60, 60, 200_000_000)) as predictor:
        with pytest.raises(ModelDownError, match=r"it took [\d,]+ MB of memory, and may take 200 MB"):
            asked(predictor, "leak")
        wait_for(lambda: again(predictor), seconds=PATIENCE, what="the process to be there again")


@pytest.mark.parametrize("how", ["close", "abort"])
def test_what_it_started_ends_with_it_even_in_a_session_of_its_own(tmp_path: Path, how: str) -> None:
    # Started by a child that has ended: nothing but its environment tells whose it is.
    source = """\
import os, subprocess, sys
from pathlib import Path

SLEEPER = "import os, time; open('child', 'w').write(str(os.getpid())); time.sleep(600)"
STARTER = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {SLEEPER!r}], start_new_session=True)"
subprocess.run([sys.executable, "-c", STARTER], check=True)
while not (Path("child").exists() and Path("child").read_text()):
    pass

def predict(rows):
    if rows[0]["channel"] == "abort":
        os.abort()
    return [row["amount"] for row in rows]
"""
    with hosted(tmp_path / "code", source) as predictor:
        child = identity_of(int((tmp_path / "code" / "child").read_text()))
        assert child is not None
        if how == "abort":
            with pytest.raises(ModelDownError):
                asked(predictor, "abort")
            wait_for(lambda: not is_alive(child), what="the end of what it had started")
    wait_for(lambda: not is_alive(child), what="the end of what it had started")


def test_one_that_is_killed_while_it_answers_is_told_of_and_started_again(tmp_path: Path) -> None:
    with hosted(tmp_path / "code", MOODY) as predictor:
        told: list[Exception] = []

        def ask() -> None:
            try:
                asked(predictor, "hang")
            except ModelDownError as error:
                told.append(error)

        asking = threading.Thread(target=ask)
        asking.start()
        wait_for(lambda: (tmp_path / "code" / "hangs").exists(), seconds=PATIENCE, what="the model to be at work")
        os.kill(process_of(predictor).identity.pid, signal.SIGKILL)
        asking.join()
        assert "SIGKILL" in str(told[0])
        wait_for(lambda: again(predictor), seconds=PATIENCE, what="the process to be there again")


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("import os\nos.abort()", "SIGABRT"),
        ("import time\ntime.sleep(600)", r"did not load within 1 s"),
        ("kept = bytearray(b'x') * 10**9", r"it took [\d,]+ MB of memory, and may take 300 MB|MemoryError"),
        ("import absent", "No module named 'absent'"),
        ("predict = 3", "it holds a int, which has no predict"),
    ],
)
def test_one_that_cannot_be_loaded_says_why_and_leaves_no_process(tmp_path: Path, source: str, words: str) -> None:
    limits = Limits(1 if "sleep" in source else 60, 30, 300_000_000)
    if "bytearray" in source:
        source += "\nimport time\ntime.sleep(600)"
    with pytest.raises(ModelDownError, match=words), hosted(tmp_path / "code", source, limits=limits):
        pass
    assert not hosts_in(tmp_path)


def test_it_ends_with_whoever_started_it_even_while_it_hangs(tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "model.py").write_text(MOODY)
    program = (
        "import sys\nfrom pathlib import Path\n"
        "from quarterdeck.registry.hosted import HostedPredictor, Limits, Plan\n"
        "from quarterdeck.registry.version import Format, Task\n"
        "from tests.integration.test_model_process import SIGNATURE\n"
        "plan = Plan('moody@1', sys.argv[1], Path(sys.argv[2]), Format.ENTRY, 'model:predict')\n"
        "predictor = HostedPredictor(plan, Limits(60, 600, None))\n"
        "predictor.take(SIGNATURE, Task.REGRESSION)\n"
        "predictor.predict_columns({'amount': [1.0], 'channel': ['hang']})\n"
    )
    command = [sys.executable, "-c", program, str(environment("empty")), str(tmp_path / "code")]
    owner = subprocess.Popen(command, cwd=Path(__file__).parent.parent.parent)
    try:
        wait_for(lambda: (tmp_path / "code" / "hangs").exists(), seconds=PATIENCE, what="the model to hang")
        assert hosts_in(tmp_path)
    finally:
        owner.kill()
        owner.wait()
    wait_for(lambda: not hosts_in(tmp_path), what="the end of the model's process")


def hosts_in(folder: Path) -> list[int]:
    """The processes that work in a folder below `folder`."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdecimal():
            try:
                working = os.readlink(process / "cwd")
            except OSError:
                continue
            if working.startswith(str(folder)):
                found.append(int(process.name))
    return found
