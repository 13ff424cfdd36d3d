"""What a benchmark reports: rows with their budgets, and which answers count as misrouted or as wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from bench import contenders, idle, jitter, processes, start, writers
from bench.contenders import Contender
from bench.engine import make_workspace
from bench.jitter import Tick
from bench.load import Answer, probabilities_of
from bench.peers import forgiving
from bench.rollback import Change, differing, misrouted
from bench.rows import Budget, Row, append, as_table, middle, percentile

FORM = {"bench", "case", "ours", "unit", "peer", "theirs", "ratio", "budget", "met"}
CHANGES = [
    Change(revision=1, version=1, planned=0.0, verified=1.0),
    Change(revision=2, version=2, planned=10.0, verified=11.0),
    Change(revision=3, version=1, planned=20.0, verified=21.0),
]


def answer(sent: float, answered: float, revision: int, version: int, **fields: object) -> Answer:
    values = {"due": sent, "input": 0, "status": 200, "probabilities": [0.2, 0.8], **fields}
    return Answer(sent=sent, answered=answered, revision=revision, version=version, **values)  # type: ignore[arg-type]


def test_a_row_is_written_in_the_form_that_the_design_gives(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    row = Row("console", "first paint", 0.5, "s", Budget("under", 0.7), "harlequin 2.17", 1.5)
    append([row, row], {"machine": {"cpus": 2}, "date": "2026-01-05", "commit": "abc"}, path)
    append([row], {"machine": {"cpus": 2}, "date": "2026-01-06", "commit": "abc"}, path)
    written = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert len(written) == 3
    assert written[0].keys() >= FORM | {"machine", "date", "commit"}
    assert written[0]["ratio"] == pytest.approx(3.0)
    assert (written[0]["budget"], written[0]["met"]) == ("under 0.7 s", True)


@pytest.mark.parametrize(
    ("budget", "kept", "broken"),
    [(Budget("under", 250), 249.9, 250), (Budget("at most", 0), 0, 1), (Budget("at least", 196), 196, 195.9)],
)
def test_a_budget_is_met_or_it_is_not(budget: Budget, kept: float, broken: float) -> None:
    assert Row("rollback", "case", kept, "", budget).met
    assert not Row("rollback", "case", broken, "", budget).met


def test_what_could_not_be_measured_meets_no_budget() -> None:
    assert not Row("console", "first paint", None, "s", Budget("under", 0.7)).met
    assert Row("console", "first paint", None, "s").met


def test_a_row_without_peer_has_no_ratio_and_the_table_says_what_was_missed() -> None:
    row = Row("cli", "--help", 0.4, "s", Budget("under", 0.3), note="0.10 s of CPU")
    assert row.ratio is None
    assert row.as_dict()["peer"] is None
    assert "NO" in as_table([row]).splitlines()[1].split()


def test_percentiles_of_few_values_are_the_largest_ones() -> None:
    values = [float(value) for value in range(1, 21)]
    assert percentile(values, 0.99) == 20
    assert percentile(values, 0.5) == 10
    assert middle([1.0, None]) is None
    assert middle([1.0, 3.0]) == 2.0


def test_an_answer_by_what_was_verified_is_not_misrouted() -> None:
    assert misrouted([answer(5, 5.01, 1, 1), answer(12, 12.01, 2, 2), answer(30, 30.01, 3, 1)], CHANGES) == []


def test_while_a_change_is_under_way_both_sides_may_answer() -> None:
    assert misrouted([answer(10.1, 10.2, 1, 1), answer(10.1, 10.2, 2, 2), answer(9.9, 10.1, 2, 2)], CHANGES) == []


def test_an_answer_by_another_version_after_the_proof_is_misrouted() -> None:
    late = answer(11.5, 11.6, 1, 1)
    assert misrouted([late], CHANGES) == [late]


def test_an_answer_before_its_revision_was_wanted_is_misrouted() -> None:
    early = answer(5, 6, 2, 2)
    assert misrouted([early], CHANGES) == [early]


def test_an_old_revision_of_the_right_version_is_misrouted() -> None:
    stale = answer(25, 25.01, 1, 1)
    assert misrouted([stale], CHANGES) == [stale]


def test_a_failed_request_is_not_misrouted_too() -> None:
    failed = Answer(due=25, sent=25, answered=26, input=0, status=503)
    assert misrouted([failed], CHANGES) == []
    assert differing([failed], {}) == []


def test_an_output_that_the_named_version_does_not_give_is_found() -> None:
    expected = {1: np.array([[0.2, 0.8]]), 2: np.array([[0.6, 0.4]])}
    right, wrong = answer(5, 6, 1, 1), answer(5, 6, 2, 2)
    nothing = answer(5, 6, 1, 1, probabilities=None)
    unknown = answer(5, 6, 9, 9)
    assert differing([right, wrong, nothing, unknown], expected) == [wrong, nothing, unknown]


def test_probabilities_are_read_from_the_protocol() -> None:
    outputs = [{"name": "predict", "data": ["yes"]}, {"name": "predict_proba", "data": [0.25, 0.75]}]
    assert probabilities_of({"outputs": outputs}) == [0.25, 0.75]
    assert probabilities_of({"outputs": outputs[:1]}) is None


def test_sizes_are_read_from_what_the_kernel_prints() -> None:
    text = "00400000-7ffc ---p 00000000 00:00 0    [rollup]\nRss:     2048 kB\nPss:     1024 kB\nPss_Anon:   512 kB\n"
    assert processes.field_of_smaps(text, "Pss") == 1024 * 1024
    with pytest.raises(ValueError, match="Swap"):
        processes.field_of_smaps(text, "Swap")


def test_a_process_that_lives_has_a_size_and_cpu_time_and_one_that_is_gone_no_family() -> None:
    assert processes.pss_bytes(os.getpid()) > 1_000_000
    assert processes.cpu_of_family(os.getpid())[os.getpid()] > 0
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait(30)
    assert processes.family(ended.pid) == []
    assert processes.pss_of_family(ended.pid) == 0


def test_what_a_benchmark_starts_ends_with_the_block_and_so_do_its_children(tmp_path: Path) -> None:
    script = (
        "import signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "print('ready', flush=True)\n"
        "time.sleep(600)\n"
    )
    log = tmp_path / "log"
    with processes.started([sys.executable, "-c", script], log, stop=signal.SIGKILL) as process:
        processes.wait_for_word(process, log, "ready", 30.0)
        members = processes.family(process.pid)
        assert len(members) == 2
    # A child is reaped by the machine's first process, in its own time.
    processes.wait_for(lambda: all(is_gone(member) for member in members), 10.0, "the children to end")


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_a_process_that_ends_instead_of_getting_ready_says_why(tmp_path: Path) -> None:
    log = tmp_path / "log"
    command = [sys.executable, "-c", "raise SystemExit('no such port')"]
    with (
        processes.started(command, log) as process,
        pytest.raises(RuntimeError, match="no such port"),
    ):
        processes.wait_for_word(process, log, "ready", 30.0)


def test_a_peer_that_fails_is_a_note() -> None:
    with forgiving("huey") as attempt:
        processes.wait_for(lambda: False, 0.0, "first line\nthe database")
    assert attempt.why_not == "huey: the database: not within 0 s"
    with forgiving("huey") as attempt:
        pass
    assert attempt.why_not == ""


def test_a_contender_that_fails_has_no_more_turns_and_ours_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(start, "BETWEEN_SECONDS", 0.0)
    asked: list[str] = []

    def queue(name: str, path: Path) -> float:
        asked.append(name)
        if name == "broken":
            raise RuntimeError("it is not there")
        path.write_text("12.5\n")
        return 12.25

    mine, broken = (Contender(name, partial(queue, name)) for name in ("quarterdeck", "broken"))
    times = start.take_turns(mine, [broken], tmp_path)
    assert times[mine] == [250.0] * start.TIMES
    rows = start.report(times, ["procrastinate could not be installed"])
    assert [(row.ours, row.theirs, row.ratio) for row in rows] == [(250.0, None, None)] * 2
    assert "no more turns" in rows[0].note
    assert "could not be installed" in rows[0].note
    assert asked.count("broken") < asked.count("quarterdeck")


def test_a_stamp_is_read_once_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "stamp"
    path.write_text("17")
    with pytest.raises(RuntimeError, match="the task: not within"):
        contenders.stamp_of(path, 0.05)
    path.write_text("17.5\n")
    assert contenders.stamp_of(path, 0.05) == 17.5


def test_the_ticks_that_have_to_come_are_counted() -> None:
    first = datetime(2026, 1, 5, tzinfo=UTC)
    spread = jitter.INTERVAL / jitter.SCHEDULES
    assert sum(1 for _ in jitter.moments(first, spread, first + timedelta(seconds=12))) == 1200
    assert sum(1 for _ in jitter.moments(first, timedelta(0), first + timedelta(seconds=14))) == 2000


def test_late_ticks_break_the_budget_and_missing_ones_too() -> None:
    due = datetime(2026, 1, 5, tzinfo=UTC)
    ticks = [Tick(due, created=0.5, seen=0.6)] * 98 + [Tick(due, created=1.5, seen=2.0)] * 2
    rows = {row.case: row for row in jitter.report_burst((ticks, 100), {("memory", "burst"): [0.1, 0.2]})}
    assert not rows["1000 at once, late p99"].met
    assert rows["1000 at once, fired"].ours == pytest.approx(500)
    assert rows["1000 at once, missing or too many"].met
    beside = rows[f"1000 at once, fired, {jitter.in_store('memory')}"]
    assert beside.theirs == pytest.approx(10)
    assert beside.ratio == pytest.approx(50)
    nothing = {row.case: row for row in jitter.report_spread(([], 100), {})}
    assert not nothing["1000 spread over 10 s, missing or too many"].met
    assert not nothing["1000 spread over 10 s, late p99"].met


def test_writers_are_added_up_and_a_lost_update_is_found() -> None:
    one = {"waits": [0.1, 0.2], "holds": [0.01, 0.01], "refused": []}
    other = {"waits": [0.3], "holds": [0.02], "refused": [[5.0, "database is locked"]]}
    outcome = writers.outcome_of([one, other], counted=2)
    assert outcome.commits == pytest.approx([110, 210, 320])
    assert (outcome.lost, outcome.most, outcome.fewest, outcome.refusals) == (1, 2, 1, [5000.0])
    rows = {row.case: row for row in writers.report(outcome, None)}
    assert not rows["lost updates"].met
    assert not rows["refused as locked"].met
    assert rows["asked to committed p99"].ours == 5000.0


@pytest.mark.parametrize("script", [writers.OURS, writers.PLAIN])
def test_two_writers_lose_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    monkeypatch.setattr(writers, "WRITERS", 2)
    root = tmp_path / "bench"
    workspace = make_workspace(root, contenders.SETTINGS)
    workspace.close()
    place = root if script is writers.OURS else workspace.state.path
    outcome = writers.run(script, place, workspace.state.path, seconds=0.2)
    assert len(outcome.commits) > 2
    assert (outcome.lost, outcome.refusals) == (0, [])


def test_budgets_of_an_idle_runner_and_of_memory_are_held() -> None:
    light, heavy = idle.Use(0.5, 100.0, 3), idle.Use(1.5, 500.0, 3)
    assert all(row.met for row in [*idle.report_runner(light, {}, []), *idle.report_deck(light, light)])
    assert [row.met for row in idle.report_runner(heavy, {}, [])] == [False, False]
    assert [row.met for row in idle.report_deck(heavy, heavy)] == [False, True, False]
    (*_, cpu, memory) = idle.report_runner(light, {"huey 3.5": heavy}, [])
    assert (cpu.theirs, memory.theirs) == (1.5, 500.0)
