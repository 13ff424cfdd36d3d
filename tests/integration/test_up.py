"""`up` on an ops box: what hangs is replaced, what is detached stays, what is killed leaves nothing unknown."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

import httpx
import pexpect
import pytest

from quarterdeck.events import newest
from quarterdeck.processes import here
from quarterdeck.runner.detaching import stop_running
from quarterdeck.runner.health import write_lock_holder
from quarterdeck.runner.queries import runner_state
from quarterdeck.runner.supervision import Health, Supervision, read_supervision, supervising_pid, write_supervision
from quarterdeck.workspace import Workspace
from tests.deck import MARK, QUARTERDECK, marked_processes
from tests.integration.runner_harness import START_SECONDS, is_gone, make_workspace, running
from tests.integration.supervised import address, both_work, children, end_children, pid_of, rows, supervised
from tests.waiting import wait_for

PATIENCE = 2.0
LEASE = 4.0
IDLE_MEGABYTES = 40


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    workspace = make_workspace(tmp_path / "workspace", lease=f"{LEASE:g}s")
    yield workspace
    workspace.close()


@pytest.fixture
def mark(monkeypatch: pytest.MonkeyPatch) -> str:
    """In the environment of whatever this test starts, so that all of it can be found."""
    mark = uuid4().hex
    monkeypatch.setenv(MARK, mark)
    return mark


@pytest.fixture
def without_runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installation in which the scheduler's library is broken: the runner fails as it begins."""
    package = tmp_path / "broken" / "apscheduler"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise ImportError('this installation is broken')\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(package.parent), os.environ.get("PYTHONPATH")])))


def quarterdeck(workspace: Workspace, *words: str, expect: int = 0) -> subprocess.CompletedProcess[str]:
    command = [QUARTERDECK, "-w", str(workspace.root), *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180)
    assert done.returncode == expect, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


@contextmanager
def detached(workspace: Workspace) -> Iterator[int]:
    """`up --detach`; the supervisor's process."""
    try:
        yield int(json.loads(quarterdeck(workspace, "up", "--detach", "--json").stdout)["pid"])
    finally:
        stop_running(workspace.folder)


def passed(seconds: float) -> None:
    """Let time pass: what is shown is that nothing happens meanwhile."""
    until = time.monotonic() + seconds
    wait_for(lambda: time.monotonic() > until, seconds=seconds + 10)


def test_what_hangs_is_killed_and_replaced_and_what_slept_is_not(workspace: Workspace) -> None:
    with supervised(workspace, "--patience", f"{PATIENCE:g}") as up:
        before = children(workspace)
        # The whole machine sleeps, for longer than anybody's patience, and wakes.
        for pid in (up.popen.pid, *before):
            os.kill(pid, signal.SIGSTOP)
        passed(LEASE + PATIENCE)
        for pid in (up.popen.pid, *before):
            os.kill(pid, signal.SIGCONT)
        passed(PATIENCE)
        wait_for(lambda: both_work(workspace), seconds=30)
        assert children(workspace) == before

        worker, runner = pid_of(workspace, "gateway-0"), pid_of(workspace, "runner")
        os.kill(worker, signal.SIGSTOP)
        wait_for(lambda: is_gone(worker), seconds=30, what="the end of the stopped worker")
        with httpx.Client(timeout=60) as client:
            assert client.get(f"{address(up)}/v2/health/live").is_success
        assert "gateway-0 was killed: it gave no sign of life for" in up.said

        os.kill(runner, signal.SIGSTOP)
        wait_for(lambda: is_gone(runner), seconds=30, what="the end of the stopped runner")
        wait_for(lambda: both_work(workspace), seconds=START_SECONDS, what="the next runner")
        assert "runner was killed: it has not renewed its lease for" in up.said
        assert {name: row.restarts for name, row in rows(workspace).items()} == {"runner": 1, "gateway-0": 1}

        found = json.loads(quarterdeck(workspace, "status", "--json").stdout)
        assert found["supervisor"]["pid"] == up.popen.pid
        row = next(row for row in found["processes"] if row["name"] == "runner")
        assert row["alive"]
        assert row["health"] == "healthy"
        assert row["pid"] == runner_state(workspace).pid
        assert row["restarts"] == 1
        assert "lease" in row["last_end"]
        assert "was killed: it gave no sign of life" in quarterdeck(workspace, "status").stdout
        assert up.stop(25) == 0


def test_a_runner_that_cannot_renew_because_somebody_else_holds_the_write_lock_is_left_alone(
    workspace: Workspace,
) -> None:
    with supervised(workspace) as up:
        runner = pid_of(workspace, "runner")
        with workspace.state.lock.held("long work"):
            holder = write_lock_holder(workspace.folder / "state.lock")
            assert holder == (os.getpid(), "long work")
            wait_for(lambda: rows(workspace)["runner"].health is Health.WAITING, seconds=60, what="waiting")
        wait_for(lambda: both_work(workspace), seconds=30, what="the runner's own end of waiting")
        assert pid_of(workspace, "runner") == runner
        assert up.stop(25) == 0


def test_the_supervisor_is_small(workspace: Workspace) -> None:
    with supervised(workspace) as up:
        status = Path(f"/proc/{up.popen.pid}/status").read_text()
        resident = re.search(r"VmRSS:\s+(\d+) kB", status)
        assert resident is not None
        assert int(resident[1]) < IDLE_MEGABYTES * 1024
        assert up.stop(25) == 0


# Each step of a start, in order: a child is started, written down, let go; the runner, then the gateway's worker.
DIES = """\
import os, signal, sys
from quarterdeck.__main__ import main
from quarterdeck.runner import supervisor
from quarterdeck.runner.children import Child

left = int(sys.argv.pop(1))

def step(function):
    def stepped(*arguments):
        global left
        result = function(*arguments)
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return result
    return stepped

Child.start, Child.let_go = step(Child.start), step(Child.let_go)
supervisor.write_supervision = step(supervisor.write_supervision)
main(sys.argv[1:])
"""


@pytest.mark.parametrize("steps", range(1, 7))
def test_a_supervisor_that_is_killed_at_any_step_leaves_nobody_unknown(
    workspace: Workspace, mark: str, tmp_path: Path, steps: int
) -> None:
    folder = workspace.folder
    plan = {
        "root": str(workspace.root),
        "folder": str(folder),
        "host": "127.0.0.1",
        "scheme": "http",
        "port": 0,
        "workers": 1,
        "lease_seconds": LEASE,
        "max_log_bytes": 0,
        "gateway_patience": 15.0,
    }
    words = [str(steps), "up", "--workspace", str(workspace.root), "--plan", json.dumps(plan)]
    with (tmp_path / "said").open("wb") as output:
        killed = subprocess.run([sys.executable, "-P", "-c", DIES, *words], stderr=output, timeout=60)
    try:
        assert killed.returncode == -signal.SIGKILL, (tmp_path / "said").read_text()
        # Whoever was not written down ends by itself; whoever was can be ended.
        wait_for(lambda: set(marked_processes(mark)) <= known(workspace), seconds=60, what="no unknown process")
        assert supervising_pid(folder) is None
        assert stop_running(folder) is None
        wait_for(lambda: not marked_processes(mark), seconds=30, what="the end of all")
    finally:
        for pid in marked_processes(mark):
            os.kill(pid, signal.SIGKILL)


def known(workspace: Workspace) -> set[int]:
    """The processes in the groups that are written down: a runner's fork server is in its runner's group."""
    groups = set(children(workspace))
    found = set()
    for name in os.listdir("/proc"):
        try:
            if name.isdecimal() and os.getpgid(int(name)) in groups:
                found.add(int(name))
        except ProcessLookupError:
            continue
    return found


def test_what_is_written_down_of_another_boot_is_nobody(workspace: Workspace) -> None:
    supervision = Supervision(here(), workspace.now(), "http://127.0.0.1:1")
    write_supervision(workspace.folder, supervision)
    assert read_supervision(workspace.folder) == supervision
    text = (workspace.folder / "processes.json").read_text()
    (workspace.folder / "processes.json").write_text(text.replace(here().boot_id, "another boot"))
    found = read_supervision(workspace.folder)
    assert found is not None
    assert not found.alive
    (workspace.folder / "processes.json").write_text(text[:20])
    assert read_supervision(workspace.folder) is None
    assert stop_running(workspace.folder) is None


def test_what_is_detached_outlives_its_terminal_and_ends_when_told(workspace: Workspace, mark: str) -> None:
    shell = pexpect.spawn("/bin/sh", encoding="utf-8", timeout=START_SECONDS, dimensions=(40, 200))
    try:
        shell.sendline(f"'{QUARTERDECK}' -w '{workspace.root}' up --detach")
        shell.expect(r"process (\d+), gateway on (http://\S+), log (\S+)")
        assert isinstance(shell.match, re.Match)
        pid, url, log = int(shell.match[1]), shell.match[2], shell.match[3]
    finally:
        shell.close(force=True)
    try:
        assert both_work(workspace)
        assert httpx.get(f"{url}/v2/health/live").is_success
        os.kill(pid, signal.SIGHUP)
        passed(1.5)
        assert supervising_pid(workspace.folder) == pid
        assert "gateway on" in Path(log).read_text()

        second = quarterdeck(workspace, "up", "--detach", expect=3)
        assert f"(process {pid})" in second.stderr
        assert json.loads(quarterdeck(workspace, "up", "--stop", "--json").stdout) == {"stopped": pid}
        wait_for(lambda: not marked_processes(mark), what="the end of all")
        assert "did not run" in quarterdeck(workspace, "up", "--stop").stdout
    finally:
        stop_running(workspace.folder)


def test_detach_sees_a_gateway_whose_certificate_nobody_else_trusts(workspace: Workspace) -> None:
    key, made = workspace.root / "key.pem", workspace.root / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    command += ["-days", "2", "-subj", "/CN=models.example", "-keyout", str(key), "-out", str(made)]
    subprocess.run(command, check=True, capture_output=True)
    settings = workspace.settings_file.read_text()
    assert "[gateway]" in settings
    tls = '[gateway]\ntls_certificate = "certificate.pem"\ntls_key = "key.pem"\n'
    workspace.settings_file.write_text(settings.replace("[gateway]\n", tls))
    with detached(workspace):
        assert both_work(workspace)


def test_what_is_attached_stops_cleanly_when_its_terminal_goes(workspace: Workspace, mark: str) -> None:
    terminal = pexpect.spawn(QUARTERDECK, ["-w", str(workspace.root), "up"], encoding="utf-8")
    try:
        wait_for(lambda: both_work(workspace), seconds=START_SECONDS, what="both children")
    finally:
        os.close(terminal.child_fd)
    wait_for(lambda: not [pid for pid in marked_processes(mark) if not is_gone(pid)], seconds=30, what="the end of all")
    assert not children(workspace)
    assert not runner_state(workspace).alive
    with workspace.state.read() as tx:
        assert "runner.stopped" in {event.kind for event in newest(tx)}


def test_stop_ends_what_a_killed_supervisor_left(workspace: Workspace, mark: str) -> None:
    with detached(workspace) as pid:
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: is_gone(pid))
        assert len(children(workspace)) == 2
        done = quarterdeck(workspace, "up", "--stop")
        assert "ending 2 processes" in done.stderr
        assert not marked_processes(mark)


@pytest.mark.usefixtures("without_runner")
def test_the_gateway_serves_without_a_runner(workspace: Workspace) -> None:
    with running(workspace, "up") as up:
        try:
            with httpx.Client(timeout=60) as client:
                assert client.get(f"{address(up)}/v2/health/live").is_success
                wait_for(lambda: rows(workspace)["runner"].restarts >= 3, seconds=60, what="a few tries")
                assert client.get(f"{address(up)}/v2/health/live").is_success
            assert rows(workspace)["gateway-0"].restarts == 0
            assert rows(workspace)["runner"].last_end == "ended (exit status 1)"
            assert up.said.count("ImportError: this installation is broken") == 1
            assert up.stop(25) == 0
        finally:
            end_children(workspace)


@pytest.mark.usefixtures("without_runner")
def test_detach_that_does_not_get_ready_says_who_is_not_and_leaves_nothing(workspace: Workspace, mark: str) -> None:
    done = quarterdeck(workspace, "up", "--detach", "--wait", "6", expect=1)
    assert "Not everything worked within 6 s" in done.stderr
    assert "runner is " in done.stderr
    assert "this installation is broken" in done.stderr
    assert "Traceback" not in done.stderr.partition("The end of its log")[0]
    assert not marked_processes(mark)


def test_detach_that_is_refused_says_why(workspace: Workspace) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        file = workspace.settings_file
        file.write_text(file.read_text().replace("port = 0", f"port = {port}"))
        done = quarterdeck(workspace, "up", "--detach", expect=2)
        assert f"cannot listen on 127.0.0.1:{port}" in done.stderr


def test_a_service_manager_hears_that_it_is_ready_and_lives_and_stops(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(60)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        with running(workspace, "up") as up:
            try:
                heard = [manager.recv(4096).decode()]
                assert heard == ["READY=1"]
                while heard.count("WATCHDOG=1") < 2 or not heard[-1].startswith("STATUS=runner:"):
                    heard.append(manager.recv(4096).decode())
                child = Path(f"/proc/{pid_of(workspace, 'gateway-0')}/environ").read_bytes()
                assert b"NOTIFY_SOCKET" not in child
                assert up.stop(30) == 0
                manager.setblocking(False)
                with suppress(BlockingIOError):
                    while True:
                        heard.append(manager.recv(4096).decode())
                assert "STOPPING=1" in heard
            finally:
                end_children(workspace)
