"""Verbs on jobs and schedules: what they print, what they refuse, and with which exit code."""

from __future__ import annotations

import json
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import Session, col, select

from quarterdeck import bootstrap
from quarterdeck.freezing import in_force
from quarterdeck.pipelines.pausing import pauses
from quarterdeck.pipelines.queries import run
from quarterdeck.pipelines.run import RunState
from quarterdeck.runner.job import Job, JobKind, JobState
from quarterdeck.runner.queries import job
from quarterdeck.workspace import Workspace
from quarterdeck_console.cli import verbs
from quarterdeck_console.cli.schedules import LETTERS
from tests.console.board_seeding import RESULTS, make_job, make_run, seed_board, seed_holds
from tests.console.seeding import PIPELINE, add_runner
from tests.waiting import wait_for

SETTINGS = '[workspace]\nname = "payments"\n[pools.gpu]\nslots = 1\n'


@dataclass(frozen=True)
class Said:
    """How a verb ended, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def value(self) -> Any:
        return json.loads(self.out)


Call = Callable[..., Said]


@pytest.fixture
def workspace(tmp_path: Path, empty_workspace: Path) -> Iterator[Workspace]:
    folder = shutil.copytree(empty_workspace, tmp_path / "payments")
    (folder / "pipelines").mkdir()
    (folder / "quarterdeck.toml").write_text(SETTINGS, encoding="utf-8")
    (folder / "pipelines" / "train.py").write_text(PIPELINE, encoding="utf-8")
    workspace = bootstrap.open_workspace(folder, actor="tester")
    yield workspace
    workspace.close()


@pytest.fixture
def board(workspace: Workspace) -> dict[str, int]:
    add_runner(workspace)
    return seed_board(workspace)


@pytest.fixture
def call(workspace: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    def called(*arguments: str) -> Said:
        monkeypatch.setattr(sys, "argv", ["quarterdeck", "-w", str(workspace.root), *arguments])
        capsys.readouterr()
        code = verbs.run()
        printed = capsys.readouterr()
        return Said(code, printed.out, printed.err)

    return called


def test_jobs_prints_each_section_and_json_the_same(call: Call, board: dict[str, int]) -> None:
    text = call("jobs").out
    places = [text.index(f"{title}\n") for title in ("running", "queued", "needs a person", "schedules", "ended")]
    assert places == sorted(places)
    assert "pool gpu full (1 of 1)" in text
    assert "3/5" in text
    value = call("jobs", "--json").value
    assert [row["id"] for row in value["running"]] == [board["running"]]
    assert [row["id"] for row in value["queued"]] == [board["pool"], board["again"]]
    assert board["dead"] in {row["id"] for row in value["needs_a_person"]}
    assert value["runner"]["alive"] is True
    assert value["running"][0]["progress"] == [3, 5]
    assert {row["name"] for row in value["schedules"]} >= {"hourly", "weekly"}


def test_jobs_says_why_paused_and_frozen_jobs_wait(call: Call, workspace: Workspace, board: dict[str, int]) -> None:
    holds = seed_holds(workspace)
    waiting = {row["id"]: row["waiting"] for row in call("jobs", "--json").value["queued"]}
    assert waiting[holds["paused"]] == "paused by bob"
    assert waiting[holds["frozen"]].startswith("frozen by carol until ")


def test_jobs_without_a_runner_says_how_to_start_one(call: Call) -> None:
    said = call("jobs")
    assert (said.code, said.out) == (0, "none\n")
    assert "quarterdeck up" in said.err


def test_jobs_of_one_state_and_of_one_schedule(call: Call, workspace: Workspace, board: dict[str, int]) -> None:
    def numbers(*arguments: str) -> set[int]:
        value = call("jobs", "--json", *arguments).value
        parts = ("running", "queued", "needs_a_person", "ended")
        return {row["id"] for part in parts for row in value[part]}

    assert numbers("--state", "queued") == {board["pool"], board["again"]}
    assert numbers("--state", "running", "--state", "lost") >= {board["running"], board["lost"]}
    with workspace.state.read() as tx:
        hourly = set(tx.exec(select(Job.id).where(Job.schedule == "hourly")))
    assert numbers("--schedule", "hourly") == hourly
    assert numbers("--schedule", "hourly", "--limit", "1") < hourly
    assert call("jobs", "--schedule", "hourly", "--json").value["schedules"][0]["name"] == "hourly"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("jobs", "--state", "broken"), 2, "a job is queued, running"),
        (("jobs", "--schedule", "none"), 2, "There is no schedule 'none'. `quarterdeck schedules`"),
        (("jobs", "--limit", "0"), 2, "--help"),
        (("retry", "seven"), 2, "write 3, run/3 or job/7"),
        (("retry", "job/999"), 2, "There is no job 999"),
        (("retry", "run/999"), 2, "999"),
        (("cancel", "deployment/fraud"), 2, "write 3, run/3 or job/7"),
        (("cancel", "job/999"), 2, "There is no job 999"),
        (("cancel", "999"), 2, "999"),
        (("pause", "nightly"), 2, "Write schedule/NAME or pipeline/NAME"),
        (("pause", "pipeline/none"), 2, "nightly"),
        (("pause", "schedule/weekly"), 3, "paused already, by alice"),
        (("resume", "schedule/hourly"), 3, "There is nothing to resume"),
        (("resume", "schedule/off"), 3, "[schedules.off]"),
        (("freeze", "soon"), 2, "quarterdeck freeze 2h"),
        (("freeze", "0s"), 2, "from 1s to 30d"),
        (("freeze", "31d"), 2, "from 1s to 30d"),
        (("freeze",), 2, "--help"),
        (("thaw",), 3, "no freeze to end"),
        (("run",), 2, "--schedule NAME"),
        (("run", "nightly", "--schedule", "hourly"), 2, "one of the two"),
        (("run", "--schedule", "hourly", "--seed", "7"), 2, "--set and --seed go with a pipeline"),
        (("run", "--schedule", "none"), 2, "There is no schedule 'none'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_bad_input_is_refused_with_the_next_step(
    call: Call, board: dict[str, int], arguments: tuple[str, ...], code: int, words: str
) -> None:
    said = call(*arguments)
    assert (said.code, said.out) == (code, "")
    assert words in said.err
    assert "Traceback" not in said.err


def test_schedules_lists_the_next_tick_the_results_and_who_paused(call: Call, board: dict[str, int]) -> None:
    text = call("schedules").out
    lines = {line.split()[0]: line for line in text.splitlines()}
    assert "".join(LETTERS[result] for result in RESULTS) in lines["hourly"]
    assert "paused by alice" in lines["weekly"]
    assert "every 1h30m" in lines["off"]
    assert set(LETTERS) == {str(state) for state in JobState}
    assert len(set(LETTERS.values())) == len(LETTERS)
    rows = {row["name"]: row for row in call("schedules", "--json").value}
    assert rows["hourly"]["results"] == list(RESULTS)
    assert rows["weekly"]["state"] == "paused"
    fires = [datetime.fromisoformat(fire) for fire in rows["hourly"]["next_fires"]]
    assert len(fires) == 5
    assert fires == sorted(fires)
    assert fires[0] > datetime.now(UTC)


def test_schedules_of_an_empty_workspace_says_what_makes_one(call: Call) -> None:
    said = call("schedules")
    assert (said.code, said.out) == (0, "none\n")
    assert "quarterdeck.toml" in said.err


def test_retry_takes_a_job_and_a_run_by_either_name(call: Call, workspace: Workspace, board: dict[str, int]) -> None:
    assert call("retry", f"job/{board['dead']}", "--json").value["state"] == "queued"
    for written in ("run/{}", "{}"):
        number = make_run(workspace, RunState.FAILED)
        values: dict[str, Any] = {"kind": JobKind.RUN, "payload": {"run": number}, "pipeline": "nightly"}
        failed = make_job(workspace, f"run/{number}", JobState.FAILED, **values)
        said = call("retry", written.format(number))
        assert (said.code, said.out) == (0, f"job/{failed} (run/{number} nightly) is queued again.\n")
        assert run(workspace, number).state == "queued"


def test_retry_of_what_did_not_fail_is_refused(call: Call, board: dict[str, int]) -> None:
    said = call("retry", f"job/{board['running']}")
    assert said.code == 3
    assert "is running" in said.err


def test_retry_of_a_run_whose_job_is_gone_says_how_to_start_another(call: Call, workspace: Workspace) -> None:
    number = make_run(workspace, RunState.FAILED)
    said = call("retry", f"run/{number}")
    assert said.code == 2
    assert "`quarterdeck run nightly`" in said.err


def test_cancel_takes_a_job_and_still_a_run(call: Call, workspace: Workspace, board: dict[str, int]) -> None:
    assert call("cancel", f"job/{board['again']}").out == f"job/{board['again']}: cancelled\n"
    assert call("cancel", f"job/{board['running']}").out == f"job/{board['running']}: will be cancelled\n"
    for written in ("run/{}", "{}"):
        number = make_run(workspace, RunState.QUEUED)
        assert call("cancel", written.format(number), "--json").value["id"] == number
        assert run(workspace, number).state == "cancelled"
    assert call("cancel", f"job/{board['dead']}").code == 3


@pytest.mark.parametrize("subject", ["schedule/hourly", "pipeline/nightly"])
def test_pause_keeps_the_reason_and_resume_ends_it(
    call: Call, workspace: Workspace, board: dict[str, int], subject: str
) -> None:
    kind, _, name = subject.partition("/")
    assert f"`quarterdeck resume {subject}`" in call("pause", subject, "--reason", "the source moves").out
    with workspace.state.read() as tx:
        assert pauses(tx, kind)[name].reason == "the source moves"
    assert call("resume", subject, "--json").value == {"subject": subject, "paused_by": None}
    with workspace.state.read() as tx:
        assert name not in pauses(tx, kind)


def test_freeze_says_until_when_and_thaw_ends_it(call: Call, workspace: Workspace) -> None:
    value = call("freeze", "1h30m", "--reason", "release", "--json").value
    left = datetime.fromisoformat(value["until"]) - datetime.now(UTC)
    assert timedelta(minutes=80) < left <= timedelta(minutes=90)
    with workspace.state.read() as tx:
        row = in_force(tx, workspace.now())
        assert row is not None
        assert row.reason == "release"
    assert "quarterdeck thaw" in call("freeze", "2h").out
    assert call("thaw").code == 0
    with workspace.state.read() as tx:
        assert in_force(tx, workspace.now()) is None


def test_run_starts_what_a_schedule_starts(call: Call, workspace: Workspace, board: dict[str, int]) -> None:
    value = call("run", "--schedule", "weekly", "--detach", "--json").value
    assert (value["pipeline"], value["state"], value["trigger"]) == ("nightly", "queued", "manual")
    value = call("run", "--schedule", "housekeeping:backup", "--detach", "--json").value
    assert (value["kind"], value["state"], value["schedule"]) == ("housekeeping", "queued", "housekeeping:backup")


def test_run_of_a_schedule_whose_work_goes_on_is_refused_and_names_the_job(
    call: Call, workspace: Workspace, board: dict[str, int]
) -> None:
    assert call("run", "--schedule", "hourly", "--detach").code == 0
    with workspace.state.read() as tx:
        newest = tx.exec(select(Job.id).order_by(col(Job.id).desc())).first()
    said = call("run", "--schedule", "hourly", "--detach")
    assert said.code == 3
    assert f"job/{newest}" in said.err
    assert job(workspace, newest or 0).state == "queued"


@pytest.mark.parametrize(("state", "code"), [(JobState.SUCCEEDED, 0), (JobState.FAILED, 1)])
def test_run_of_a_schedule_follows_the_job_to_its_end(
    call: Call, workspace: Workspace, board: dict[str, int], state: JobState, code: int
) -> None:
    def mine(tx: Session) -> Job | None:
        return tx.exec(select(Job).where(Job.schedule == "housekeeping:backup")).first()

    def end_it() -> None:
        wait_for(_queued, seconds=30, what="the job")
        with workspace.state.write("test") as tx:
            job = mine(tx)
            assert job is not None
            job.state, job.error = state, "no room" if code else None

    def _queued() -> bool:
        with workspace.state.read() as tx:
            return mine(tx) is not None

    ending = threading.Thread(target=end_it)
    ending.start()
    said = call("run", "--schedule", "housekeeping:backup")
    ending.join()
    assert said.code == code
    assert said.out.rstrip().endswith(": no room" if code else ": succeeded")
