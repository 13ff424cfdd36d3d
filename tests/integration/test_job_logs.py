"""Logs that real processes write: killed, forked, flooded, continued in fresh files, and read by the verb."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from quarterdeck.logs import Follower, Line, rotated, tail
from quarterdeck.pipelines import submission
from quarterdeck.pipelines.run import RunState
from quarterdeck.runner import queue
from quarterdeck.runner.job import JobKind
from quarterdeck.runner.job_logs import job_of_run
from quarterdeck.runner.queue import Work
from quarterdeck.runner.terms import Terms
from quarterdeck.workspace import Workspace
from tests.integration.runner_harness import jobs, make_workspace, notes, run_of, running
from tests.waiting import wait_for

SECRET = "hunter2hunter2"
VERB = [sys.executable, "-c", "from quarterdeck_console.cli import main; main()"]
PIPELINES = """\
import logging
import os
import subprocess
import time
import warnings
from pathlib import Path

from quarterdeck.pipelines import pipeline, step

HERE = Path(__file__).parent.parent


@step
def talk():
    print("from print")
    logging.getLogger("shop").info("from logging")
    warnings.warn("from warnings")
    subprocess.run("echo from a subprocess; echo $KEY", shell=True)
    print("the key is", os.environ["KEY"])
    return 1


@step
def wait():
    print("waits", flush=True)
    with (HERE / "waits").open("a") as file:
        file.write(f"{os.getpid()}\\n")
    while not (HERE / "go").exists():
        time.sleep(0.02)
    print("goes on")
    return 1


talking = pipeline("talking", [talk])
waiting = pipeline("waiting", [wait])
"""


def process(path: Path, source: str, *, max_bytes: int = 0, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Python code in a process whose output the log has taken over, to its end; what still came to its pipes."""
    begin = (
        "import os, sys, threading, subprocess; from pathlib import Path; from quarterdeck import logs\n"
        f"logs.take_over(Path({str(path)!r}), secrets=[{SECRET!r}], max_bytes={max_bytes})\n"
    )
    return subprocess.run([sys.executable, "-c", begin + source], capture_output=True, text=True, check=check)


def texts(lines: list[Line]) -> list[str]:
    return [line.text for line in lines]


def whole(path: Path) -> list[Line]:
    return tail(path, 1 << 40)


def test_the_last_line_before_a_kill_is_there(tmp_path: Path) -> None:
    path = tmp_path / "log"
    done = process(path, "print('the last line'); os.kill(os.getpid(), 9)", check=False)
    assert done.returncode == -signal.SIGKILL
    assert texts(whole(path)) == ["the last line"]


def test_nothing_goes_anywhere_else_and_everything_has_its_level(tmp_path: Path) -> None:
    path = tmp_path / "log"
    source = """
import contextlib, faulthandler, io, logging, warnings
print("out")
print("err", file=sys.stderr)
logging.getLogger("a").warning("log")
warnings.warn("warn")
with contextlib.redirect_stdout(io.StringIO()) as kept:
    print("kept")
logging.basicConfig(level=logging.DEBUG)
logging.debug("debug " + kept.getvalue().strip())
subprocess.run(["sh", "-c", "echo raw; echo raw err >&2"])
os.write(1, b"from C\\n")
faulthandler.dump_traceback()
sys.stderr.write("\\r1%")
sys.stderr.write("\\r100%")
print("half", end="")
"""
    done = process(path, source)
    assert (done.stdout, done.stderr) == ("", "")
    lines = whole(path)
    assert [(line.level, line.text) for line in lines[:3]] == [("OUT", "out"), ("ERR", "err"), ("WARNING", "a: log")]
    assert ("DEBUG", "debug kept") in [(line.level, line.text) for line in lines]
    assert any(line.level == "WARNING" and line.text.endswith("UserWarning: warn") for line in lines)
    assert [line.text for line in lines if line.level is None][:3] == ["raw", "raw err", "from C"]
    assert any("most recent call first" in line.text for line in lines)
    assert [line.text for line in lines[-3:]] in (["1%", "100%", "half"], ["1%", "half", "100%"])


def test_tracebacks_of_threads_stay_together(tmp_path: Path) -> None:
    path = tmp_path / "log"
    source = """
import traceback
def work():
    for _ in range(100):
        try:
            raise ValueError("mine")
        except ValueError:
            traceback.print_exc()
        print("between")
threads = [threading.Thread(target=work) for _ in range(4)]
[t.start() for t in threads]; [t.join() for t in threads]
raise RuntimeError("the end")
"""
    assert process(path, source, check=False).returncode == 1
    found = texts(whole(path))
    places = [place for place, text in enumerate(found) if text == "ValueError: mine"]
    assert len(places) == 400
    assert all(found[place - 2].startswith("Traceback") for place in places)
    assert found[-1] == "RuntimeError: the end"


def test_processes_that_share_a_log_lose_no_line_when_it_is_continued_in_fresh_files(tmp_path: Path) -> None:
    path = tmp_path / "log"
    source = """
children = []
print("begun before the forks", end="")
for name in "abc":
    child = os.fork()
    if not child:
        for number in range(2000):
            print(name, number, "x" * 50)
        os._exit(0)
    children.append(child)
print(end="\\n")
for number in range(2000):
    print("p", number, "x" * 50)
[os.waitpid(child, 0) for child in children]
subprocess.run(["sh", "-c", "echo raw at the end"])
"""
    process(path, source, max_bytes=400_000)
    found = texts(whole(path))
    assert found.count("begun before the forks") == 1
    # In the old file, if the parent has not looked since another one began a fresh one.
    assert found.count("raw at the end") == 1
    said = [match for text in found if (match := re.fullmatch(r"([abcp]) (\d+) x{50}", text))]
    assert len(said) == len(found) - 2
    for name in "abcp":
        assert [int(match[2]) for match in said if match[1] == name] == list(range(2000))
    # Whoever is interrupted between two looks writes a little more into the old file.
    assert 400_000 <= rotated(path).stat().st_size < 500_000
    assert len(list(tmp_path.iterdir())) == 2


def test_a_follower_goes_along_with_a_real_writer(tmp_path: Path) -> None:
    path = tmp_path / "log"
    source = f"""
from quarterdeck import logs; from pathlib import Path
logs.take_over(Path({str(path)!r}), max_bytes=100_000)
for number in range(6000):
    print(number)
"""
    followed = Follower(path)
    seen: list[str] = []

    def look(writer: subprocess.Popen[bytes]) -> bool:
        over = writer.poll() is not None
        seen.extend(line.text for line in followed.read())
        return over

    with subprocess.Popen([sys.executable, "-c", source]) as writer:
        wait_for(lambda: look(writer), seconds=60)
    followed.close()
    assert rotated(path).exists()
    assert seen == [str(number) for number in range(6000)]


def test_secrets_are_masked_but_for_what_subprocesses_write(tmp_path: Path) -> None:
    path = tmp_path / "log"
    source = f"""
sys.stdout.write({SECRET[:5]!r}); sys.stdout.write({SECRET[5:]!r} + "\\n")
sys.stderr.write("https://u:{SECRET}@host/\\nmore\\n")
raise SystemExit(subprocess.call(["echo", {SECRET!r}]))
"""
    process(path, source)
    assert texts(whole(path)) == ["***", "https://u:***@host/", "more", SECRET]
    assert texts(tail(path, 1 << 20, secrets=[SECRET]))[-1] == "***"


@pytest.fixture(scope="module")
def deck(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """A runner that works, and keeps its own log."""
    folder = tmp_path_factory.mktemp("logs") / "workspace"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KEY", SECRET)
        workspace = make_workspace(folder, settings='[logs]\nmask = ["KEY"]\n')
        (workspace.root / "pipelines" / "talking.py").write_text(PIPELINES)
        log = workspace.logs / "runner.log"
        with running(workspace, "runner", "--log", str(log)) as runner:
            wait_for(lambda: "ready" in "".join(texts(whole(log))), seconds=100, what="the runner")
            assert runner.said == ""
            yield workspace
        workspace.close()


def verb(workspace: Workspace, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*VERB, "-w", str(workspace.root), *arguments], capture_output=True, text=True)


def ended(workspace: Workspace, run_id: int) -> RunState:
    wait_for(lambda: run_of(workspace, run_id).finished_at, seconds=60, what=f"the end of run {run_id}")
    return run_of(workspace, run_id).state


def test_the_log_of_a_run_holds_what_it_said_in_every_way_without_the_secret(deck: Workspace) -> None:
    run_id = submission.submit(deck, "talking")
    assert ended(deck, run_id) is RunState.SUCCEEDED
    shown = verb(deck, "logs", str(run_id))
    assert shown.returncode == 0
    assert SECRET not in shown.stdout
    said = [json.loads(line) for line in verb(deck, "logs", f"run/{run_id}", "--json").stdout.splitlines()]
    found = {line["text"]: (line["level"], line["attempt"]) for line in said}
    assert found["from print"] == ("OUT", 1)
    assert found["shop: from logging"] == ("INFO", 1)
    assert found["from a subprocess"] == (None, 1)
    # As a reader shows it, or as the runner has left it in the file by now.
    assert any(not text.strip("*") and found[text] == (None, 1) for text in found)
    assert found["the key is ***"] == ("OUT", 1)
    assert any(text.endswith("from warnings") and found[text][0] == "WARNING" for text in found)
    assert any(f"(run/{run_id})" in text for text in found)
    last = verb(deck, "logs", f"job/{job_of_run(deck, run_id)}", "--lines", "2").stdout.splitlines()
    assert last == shown.stdout.splitlines()[-2:]


def test_following_goes_on_with_the_next_attempt_and_ends_with_the_job(deck: Workspace) -> None:
    (deck.root / "go").unlink(missing_ok=True)
    before = len(notes(deck, "waits"))
    run_id = submission.submit(deck, "waiting")
    follower = subprocess.Popen(
        [*VERB, "-w", str(deck.root), "logs", "-f", str(run_id)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_for(lambda: len(notes(deck, "waits")) == before + 1, seconds=60, what="the first attempt")
        assert follower.stdout is not None
        # It follows from here on: what it has not seen begin it would not tell of.
        begun = [next(line for line in follower.stdout if "waits" in line)]
        os.kill(notes(deck, "waits")[-1], signal.SIGKILL)
        wait_for(lambda: len(notes(deck, "waits")) == before + 2, seconds=60, what="the second attempt")
        (deck.root / "go").touch()
        rest, told = follower.communicate(timeout=60)
    finally:
        follower.kill()
        follower.wait()
    out = "".join([*begun, rest])
    assert follower.returncode == 0
    assert [line.split(" ", 2)[2].split()[0] for line in out.splitlines() if "waits" in line or "goes on" in line] == [
        "waits",
        "waits",
        "goes",
    ]
    assert "attempt 2" in told
    job_id = job_of_run(deck, run_id)
    first = verb(deck, "logs", f"job/{job_id}", "--attempt", "1").stdout
    *_, waits, why = first.splitlines()
    assert waits.endswith("waits")
    assert why.endswith("Its process was killed (SIGKILL).")
    assert "goes on" not in first
    none = verb(deck, "logs", f"job/{job_id}", "--attempt", "3")
    assert (none.returncode, none.stdout) == (2, "")
    assert "there is no attempt 3 yet" in none.stderr


def test_an_interrupted_follower_ends_quietly(deck: Workspace) -> None:
    (deck.root / "go").unlink(missing_ok=True)
    before = len(notes(deck, "waits"))
    run_id = submission.submit(deck, "waiting")
    wait_for(lambda: len(notes(deck, "waits")) > before, seconds=60, what="the run")
    follower = subprocess.Popen(
        [*VERB, "-w", str(deck.root), "logs", "-f", str(run_id)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert follower.stdout is not None
        assert "attempt 1" in follower.stdout.readline()
        follower.send_signal(signal.SIGINT)
        _, told = follower.communicate(timeout=30)
    finally:
        follower.kill()
        follower.communicate()
        (deck.root / "go").touch()
    assert (follower.returncode, told) == (130, "")
    assert ended(deck, run_id) is RunState.SUCCEEDED


def test_what_has_no_log_says_why(deck: Workspace) -> None:
    for place, words in (
        ("job/9999", "no job 9999"),
        ("run/9999", "no run 9999"),
        ("nonsense/1", "runner, gateway or up"),
        ("gateway", "quarterdeck up"),
    ):
        shown = verb(deck, "logs", place)
        assert (shown.returncode, shown.stdout) == (2, ""), place
        assert words in shown.stderr


def test_the_runner_has_a_log_with_time_and_level(deck: Workspace) -> None:
    shown = verb(deck, "logs", "runner", "--json")
    lines = [json.loads(line) for line in shown.stdout.splitlines()]
    (ready,) = (line for line in lines if line["text"] == "runner: ready")
    assert (ready["level"], ready["attempt"]) == ("INFO", None)
    assert ready["time"] is not None


def test_a_run_and_a_job_that_wait_have_no_log_yet(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path / "workspace")
    run_id = submission.submit(workspace, "quick")
    with workspace.state.write("test") as tx:
        queue.enqueue(tx, workspace, Work(JobKind.NOTIFY, "notify", "alert/1", {}, Terms()))
    for place in (str(run_id), f"job/{jobs(workspace)[0].id}"):
        shown = verb(workspace, "logs", place)
        assert (shown.returncode, shown.stdout) == (2, "")
        assert "has no log yet" in shown.stderr
        assert "quarterdeck jobs" in shown.stderr
    workspace.close()
