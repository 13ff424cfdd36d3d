"""The doctor on healthy and on broken workspaces: each check says what it found, and the others still run."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlmodel import select

from quarterdeck import bootstrap, events
from quarterdeck.disk import mount_of
from quarterdeck.doctor import CHECKS, Finding, State, contents, examine, files, find_patient
from quarterdeck.doctor.finding import every_file
from quarterdeck.doctor.machine import fits
from quarterdeck.errors import NotFoundError
from quarterdeck.events import Entry
from quarterdeck.migrations import TRAFFIC
from quarterdeck.processes import ProcessIdentity, here, identity_of
from quarterdeck.runner import queue
from quarterdeck.runner.job import Job, JobKind, JobState, RunnerLease
from quarterdeck.runner.queue import Work
from quarterdeck.runner.supervision import Health, Supervised, Supervision, write_supervision
from quarterdeck.runner.terms import terms_of
from quarterdeck.workspace import Workspace
from tests.deck import QUARTERDECK
from tests.gateways import add_classifier
from tests.integration.runner_harness import running
from tests.waiting import wait_for
from tests.watched import rows, serve

HOLDER = """\
import fcntl, os, sys
with open(sys.argv[1], "r+") as file:
    fcntl.flock(file, fcntl.LOCK_EX)
    file.write(f"{os.getpid()} hog".ljust(120))
    file.flush()
    print("has it", flush=True)
    input()
"""


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """One with a model, artifacts and events, that no process uses."""
    folder = tmp_path / "workspace"
    folder.mkdir()
    (folder / "quarterdeck.toml").write_text("[workspace]\nname = 'test'\n[gateway]\nport = 0\n")
    workspace = bootstrap.create_workspace(folder, actor="tester")
    for shift in (0.5, 1.0):
        add_classifier(workspace, shift=shift)
    workspace.close()
    return workspace


def found(workspace: Workspace, name: str, *, full: bool = False) -> Finding:
    findings = examine(workspace.root, full=full)
    assert [finding.name for finding in findings] == [name for name, _ in CHECKS]
    assert all(finding.advice for finding in findings if finding.state is not State.OK)
    return next(finding for finding in findings if finding.name == name)


def problems(workspace: Workspace) -> dict[str, Finding]:
    return {finding.name: finding for finding in examine(workspace.root) if finding.state is State.PROBLEM}


def doctor(workspace: Workspace, *words: str) -> subprocess.CompletedProcess[str]:
    command = [QUARTERDECK, "-w", str(workspace.root), "doctor", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def everything(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """Every file, with its times and bytes."""
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.stat().st_mode, path.read_bytes())
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_healthy_workspace_has_no_problem_and_nothing_in_it_is_touched(workspace: Workspace) -> None:
    before = everything(workspace.root)
    done = doctor(workspace, "--json", "--full")
    assert done.returncode == 0, done.stdout
    value = json.loads(done.stdout)
    assert value["problems"] == 0
    assert {check["state"] for check in value["checks"]} <= {"ok", "warning"}
    assert everything(workspace.root) == before
    text = doctor(workspace).stdout
    assert "ok       audit chain: " in text
    assert f"{len(CHECKS)} checks: 0 problems" in text


def test_a_damaged_state_database_is_told_and_the_other_checks_still_run(workspace: Workspace) -> None:
    (workspace.folder / "state.db").write_bytes(b"no database at all " * 1000)
    done = doctor(workspace, "--json")
    assert done.returncode == 1
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert "not a database" in checks["state.db"]["found"]
    assert "restore the newest" in checks["state.db"]["advice"]
    assert checks["traffic.db"]["state"] == checks["disk"]["state"] == checks["port"]["state"] == "ok"
    assert "Traceback" not in done.stderr


def test_a_page_that_was_overwritten_is_found(workspace: Workspace) -> None:
    path = workspace.folder / "state.db"
    with path.open("r+b") as file:
        file.seek(path.stat().st_size - 8000)
        file.write(b"\xff" * 8000)
    assert found(workspace, "state.db").state is State.PROBLEM


@pytest.mark.parametrize("text", ["[workspace\n", "[gateway]\nport = 'eighty'\n", None])
def test_settings_that_cannot_be_read_are_told_and_the_other_checks_still_run(
    workspace: Workspace, text: str | None
) -> None:
    if text is None:
        workspace.settings_file.unlink()
    else:
        workspace.settings_file.write_text(text)
    assert find_patient(workspace.root / ".quarterdeck" / "logs") == workspace.root
    assert list(problems(workspace)) == ["settings"]
    assert "quarterdeck.toml" in problems(workspace)["settings"].found
    assert doctor(workspace).returncode == 1


@pytest.mark.parametrize("missing", ["", "artifacts", "logs"])
def test_a_missing_folder_is_told(workspace: Workspace, missing: str) -> None:
    shutil.rmtree(workspace.folder / missing)
    assert "folder" in problems(workspace)
    assert doctor(workspace).returncode == 1


def test_a_folder_without_a_workspace_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="quarterdeck init"):
        find_patient(tmp_path)


def test_a_schema_that_is_newer_or_older_is_told(workspace: Workspace) -> None:
    oldest, *_, newest = TRAFFIC.revisions
    for version, state in (("9999", State.PROBLEM), (oldest, State.WARNING), (newest, State.OK)):
        connection = sqlite3.connect(workspace.folder / "traffic.db")
        connection.execute("UPDATE alembic_version SET version_num = ?", (version,))
        connection.commit()
        connection.close()
        assert found(workspace, "schema of traffic.db").state is state


def test_a_changed_event_breaks_the_chain(workspace: Workspace) -> None:
    connection = sqlite3.connect(workspace.folder / "state.db")
    connection.execute("UPDATE event SET actor = 'somebody else' WHERE id = 1")
    connection.commit()
    connection.close()
    finding = found(workspace, "audit chain")
    assert finding.state is State.PROBLEM
    assert "event 1" in finding.found


def test_a_missing_and_a_damaged_artifact_are_named(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    artifacts = sorted(contents.artifact_files(workspace.folder / "artifacts"))
    assert len(artifacts) >= 2
    assert found(workspace, "artifacts").state is State.OK
    artifacts[0].chmod(0o600)
    with artifacts[0].open("ab") as file:
        file.write(b" ")
    artifacts[1].unlink()
    finding = found(workspace, "artifacts")
    assert "1 missing: " in finding.found
    assert "1 damaged: " in finding.found
    assert artifacts[0].parent.name + artifacts[0].name[:10] in finding.found

    monkeypatch.setattr(contents, "SAMPLE_BYTES", 0)
    assert "damaged" not in found(workspace, "artifacts").found
    assert "1 damaged: " in found(workspace, "artifacts", full=True).found


def test_files_that_nothing_refers_to_are_listed_once_they_are_a_day_old(workspace: Workspace) -> None:
    assert found(workspace, "orphans").state is State.OK
    lost = [
        workspace.folder / "artifacts" / "ab" / ("c" * 62),
        workspace.folder / "artifacts" / "staging" / "tmp1234",
        workspace.folder / "logs" / "jobs" / "99-1.log",
    ]
    for path in lost:
        path.parent.mkdir(exist_ok=True)
        path.write_text("lost")
    assert found(workspace, "orphans").state is State.OK
    for path in every_file(workspace.folder):
        os.utime(path, (0, 0))
    finding = found(workspace, "orphans")
    assert finding.state is State.WARNING
    assert finding.found.startswith("3 files (12 bytes)")


def test_a_file_of_moved_traffic_that_is_missing_or_short_is_named(workspace: Workspace) -> None:
    path = workspace.folder / "traffic" / "fraud-2026-01-05-abc.parquet"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"PAR1 and rows PAR1")
    connection = sqlite3.connect(workspace.folder / "traffic.db")
    moment = "2026-01-05T00:00:00.000000Z"
    values = ("fraud", path.name, 1, path.stat().st_size, moment, moment, moment, moment, "{}", "{}")
    columns = (
        "deployment, file, rows, bytes, first_event, last_event, first_received, last_received, versions, revisions"
    )
    connection.execute(f"INSERT INTO segment ({columns}) VALUES ({', '.join('?' * len(values))})", values)
    connection.commit()
    connection.close()
    assert found(workspace, "traffic files").state is State.OK
    path.write_bytes(b"PAR1")
    assert "is damaged" in found(workspace, "traffic files").found
    path.unlink()
    assert "is missing" in found(workspace, "traffic files").found


def test_a_process_of_a_job_that_lives_without_a_runner_is_named(workspace: Workspace) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True) as process:
        identity = identity_of(process.pid)
        assert identity is not None
        moment = datetime.now(UTC)
        with workspace.state.write("test") as tx:
            job = Job(
                kind=JobKind.RUN,
                key="run/1",
                subject="run/1",
                payload={},
                state=JobState.RUNNING,
                not_before=moment,
                created_at=moment,
            )
            job.process_group, job.process_started, job.boot_id = identity.pid, identity.started, identity.boot_id
            tx.add(job)
        finding = found(workspace, "processes of jobs")
        process.kill()
    assert finding.state is State.PROBLEM
    assert str(process.pid) in finding.found
    assert found(workspace, "processes of jobs").state is State.OK


def test_who_holds_the_write_lock_for_long_is_named_and_whether_it_is_stopped(workspace: Workspace) -> None:
    lock = workspace.folder / "state.lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        assert found(workspace, "write lock of state.db").state is State.OK
        long_ago = time.time() - 60
        os.utime(lock, (long_ago, long_ago))
        holder.send_signal(signal.SIGSTOP)
        wait_for(lambda: Path(f"/proc/{holder.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T")
        finding = found(workspace, "write lock of state.db")
        holder.kill()
    assert finding.state is State.PROBLEM
    assert f"process {holder.pid} (hog)" in finding.found
    assert f"kill -CONT {holder.pid}" in finding.advice


def test_events_from_the_future_mean_a_clock_that_was_set_back(workspace: Workspace) -> None:
    with workspace.state.write("test") as tx:
        events.record(tx, Entry(datetime.now(UTC) + timedelta(hours=2), "tester", "test.made", "test"))
    finding = found(workspace, "clock")
    assert finding.state is State.PROBLEM
    assert "in the future" in finding.found


def test_rights_and_owners_that_do_not_fit_are_told(workspace: Workspace) -> None:
    workspace.folder.chmod(0o755)
    assert "chmod 700" in found(workspace, "folder").advice
    os.chown(workspace.folder / "state.db", 1, 1)
    finding = found(workspace, "owner")
    assert finding.state is State.PROBLEM
    assert "state.db" in finding.found


def test_a_network_file_system_is_a_problem(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    mount, kind = mount_of(workspace.root)
    assert str(workspace.root).startswith(mount)
    monkeypatch.setattr(files, "NETWORK_FILE_SYSTEMS", frozenset({kind}))
    assert found(workspace, "file system").state is State.PROBLEM


def test_a_disk_with_too_little_room_is_told_by_the_settings(workspace: Workspace) -> None:
    text = workspace.settings_file.read_text()
    workspace.settings_file.write_text(f"{text}[disk]\nstop_recording = '900TB'\nstop_jobs = '1MB'\n")
    assert "predictions are not recorded" in found(workspace, "disk").found
    workspace.settings_file.write_text(f"{text}[disk]\nstop_recording = '900TB'\nstop_jobs = '900TB'\n")
    assert "no job starts" in found(workspace, "disk").found


def test_a_port_that_another_program_has_is_told(workspace: Workspace) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        text = workspace.settings_file.read_text().replace("port = 0", f"port = {port}")
        workspace.settings_file.write_text(text)
        finding = found(workspace, "port")
    assert finding.state is State.PROBLEM
    assert f"another program listens on 127.0.0.1:{port}" in finding.found
    assert found(workspace, "port").state is State.OK


def test_backups_that_are_missing_or_old_are_told(workspace: Workspace) -> None:
    assert found(workspace, "backups").found == "none yet"
    copy = workspace.folder / "backups" / "state.db"
    copy.parent.mkdir()
    copy.write_text("a copy")
    assert found(workspace, "backups").state is State.OK
    os.utime(copy, (0, 0))
    assert found(workspace, "backups").state is State.WARNING


def test_a_lease_that_a_living_runner_does_not_renew_is_a_problem(workspace: Workspace) -> None:
    me, moment = here(), datetime.now(UTC)
    with workspace.state.write("test") as tx:
        tx.add(
            RunnerLease(
                pid=me.pid,
                process_started=me.started,
                boot_id=me.boot_id,
                started_at=moment,
                lease_until=moment - timedelta(seconds=9),
            )
        )
    assert found(workspace, "runner").state is State.PROBLEM


def test_a_supervisor_whose_runner_is_down_is_a_problem(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "broken" / "apscheduler"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise ImportError('broken')\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(package.parent), os.environ.get("PYTHONPATH")])))
    with running(workspace, "up") as up:
        wait_for(lambda: "times in a row" in up.said, seconds=60, what="a few tries")
        finding = wait_for(
            lambda: next((f for f in [found(workspace, "supervisor")] if f.state is State.PROBLEM), None), seconds=60
        )
        assert finding is not None
        assert "runner is down (ended (exit status 1))" in finding.found
        assert up.stop(25) == 0
    assert found(workspace, "supervisor").state is State.WARNING


@pytest.mark.parametrize(
    ("version", "wanted", "fit"),
    [
        ("2.3.1", ">=2.3,<3.1", True),
        ("3.1", "<3.1,>=2.3", False),
        ("3.0.6", "<3.1", True),
        ("1.10", ">=1.9", True),
        ("7", "", True),
        ("2.0", "==2", True),
    ],
)
def test_versions_are_compared_by_their_numbers(version: str, wanted: str, fit: bool) -> None:
    assert fits(version, wanted) is fit


def test_schedules_that_name_what_is_not_there_are_told(workspace: Workspace) -> None:
    folder = workspace.root / "pipelines"
    folder.mkdir()
    (folder / "train.py").write_text(
        "from quarterdeck.pipelines import pipeline, step\n\n\n@step\ndef fit(*, depth: int = 3):\n    return depth\n"
        '\n\ntrain = pipeline("train", [fit])\n'
    )
    with workspace.settings_file.open("a") as file:
        for name, rest in {
            "good": 'pipeline = "train"\nparameters = {"fit.depth" = 4}\nevery = "1h"',
            "lost": 'pipeline = "trian"\nevery = "1h"',
            "odd": 'pipeline = "train"\nparameters = {"fit.width" = 4}\nevery = "1h"',
            "deaf": 'pipeline = "train"\non_data = "payments"',
        }.items():
            file.write(f"\n[schedules.{name}]\n{rest}\n")
    finding = found(workspace, "schedules")
    assert finding.state is State.WARNING
    for words in ("'trian', which is not there", "'fit.width'", "deaf waits for data 'payments'"):
        assert words in finding.found
    assert "good" not in finding.found


def test_a_gateway_that_a_killed_supervisor_left_is_not_taken_for_a_stranger(workspace: Workspace) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        settings = workspace.settings_file.read_text().replace("port = 0", f"port = {port}")
        workspace.settings_file.write_text(settings)
        assert "another program" in found(workspace, "port").found
        gone = ProcessIdentity(1, 0.0, "an earlier boot")
        left = Supervised("gateway-0", Health.HEALTHY, here())
        write_supervision(workspace.folder, Supervision(gone, datetime.now(UTC), f"http://127.0.0.1:{port}", (left,)))
        finding = found(workspace, "port")
    assert (finding.state, "gateway-0" in finding.found) == (State.OK, True)


def test_names_of_deployments_that_are_not_there_are_told(workspace: Workspace) -> None:
    opened = bootstrap.open_workspace(workspace.root)
    try:
        serve(opened, rows(100, seed=1))
    finally:
        opened.close()
    with workspace.settings_file.open("a") as file:
        file.write("[deployments.misspelt.slo]\navailability = 0.9\n[deployments.d]\nprotected = true\n")
        file.write('[monitors.m]\ndeployment = "other"\n[monitors.n]\ndeployment = "d"\n')
    finding = found(workspace, "names")
    assert finding.state is State.WARNING
    assert finding.found == (
        "nothing is deployed as [deployments.misspelt], [monitors.m] (deployment = 'other') names it; there are: d"
    )


def test_what_a_monitor_is_asked_for_and_cannot_judge_without_a_holdout_is_told(workspace: Workspace) -> None:
    opened = bootstrap.open_workspace(workspace.root)
    try:
        serve(opened, rows(100, seed=1))
    finally:
        opened.close()
    with workspace.settings_file.open("a") as file:
        file.write('[monitors.m]\ndeployment = "d"\nslices = ["channel"]\ncosts.matrix.1.0 = 2\n')
    finding = found(workspace, "monitors")
    assert finding.state is State.WARNING
    assert finding.found == "m: slices and costs cannot be judged, since version 1 has no holdout"


def test_a_webhook_s_secret_that_is_not_set_is_told(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    with workspace.settings_file.open("a") as file:
        file.write('[[notifications.webhooks]]\nname = "ops"\nurl = "http://h"\nsecret = "THE_DECK_S_SECRET"\n')
        file.write('[[notifications.webhooks]]\nurl = "http://h"\n')
    finding = found(workspace, "webhooks")
    assert (finding.state, finding.found) == (
        State.WARNING,
        "not set in this environment: THE_DECK_S_SECRET of ops",
    )
    monkeypatch.setenv("THE_DECK_S_SECRET", "x")
    assert found(workspace, "webhooks").state is State.OK


def test_a_monitor_that_fails_whenever_it_looks_is_told_until_it_does_not(workspace: Workspace) -> None:
    with workspace.settings_file.open("a") as file:
        file.write('[monitors.again]\ndeployment = "d"\n')
    opened = bootstrap.open_workspace(workspace.root)

    def look(state: JobState, error: str | None = None) -> None:
        with opened.state.write("test") as tx:
            terms, payload = terms_of(opened), {"monitor": "again"}
            work = Work(JobKind.MONITOR, f"again:{state}", "monitor/again", payload, terms, "monitor:again")
            queue.enqueue(tx, opened, work)
            job = tx.exec(select(Job).where(Job.key == work.key)).one()
            job.state, job.error = state, error
            tx.add(job)

    try:
        look(JobState.FAILED, "`slices` of a monitor names chanel")
        assert "again: `slices` of a monitor names chanel" in found(workspace, "monitors").found
        assert found(workspace, "monitors").state is State.PROBLEM
        look(JobState.SUCCEEDED)
        assert found(workspace, "monitors").state is State.OK
    finally:
        opened.close()


def test_a_kpi_that_nobody_could_fetch_is_told_until_somebody_could(workspace: Workspace) -> None:
    assert found(workspace, "kpis").found == "none is fetched"
    with workspace.settings_file.open("a") as file:
        file.write('[deployments.d.kpis.sales]\nquery = "select 1, 2"\ndatabase = "sqlite:///shop.db"\n')
    opened = bootstrap.open_workspace(workspace.root)
    try:
        for number, (state, error) in enumerate(((JobState.FAILED, "there is no file shop.db"), (JobState.LOST, None))):
            _ended(opened, f"kpi:{number}", state, error)
            finding = found(workspace, "kpis")
            assert (finding.state, finding.found) == (
                State.PROBLEM,
                f"not fetched: d/sales: {error or 'its process died'}",
            )
        _ended(opened, "kpi:2", JobState.SUCCEEDED, None)
        assert found(workspace, "kpis").state is State.OK
    finally:
        opened.close()


def _ended(workspace: Workspace, key: str, state: JobState, error: str | None) -> None:
    with workspace.state.write("test") as tx:
        work = Work(JobKind.KPI, key, "kpi/d/sales", {"kpi": "d/sales"}, terms_of(workspace), schedule="kpi:d/sales")
        queue.enqueue(tx, workspace, work)
        job = tx.exec(select(Job).where(Job.key == key)).one()
        job.state, job.error = state, error
        tx.add(job)
