"""Compaction and retention in processes that are killed, and beside a writer."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from datetime import timedelta
from typing import Any

import pytest

from quarterdeck import bootstrap
from quarterdeck.traffic import batches, compaction, segments
from quarterdeck.traffic.compaction import compact
from quarterdeck.traffic.labelling import add_labels
from quarterdeck.traffic.queries import totals
from quarterdeck.traffic.recording import record
from quarterdeck.traffic.retention import retain
from quarterdeck.traffic.window import read_window
from quarterdeck.workspace import Workspace
from tests.fakes import fake_ports
from tests.unit.traffic.stories import START, at_day, everything, held, rows

DAY = timedelta(days=1)
ROWS = 3000
# At each step the process kills itself, as `kill -9` does: nothing is flushed, closed or cleaned up.
KILLED = """
import os, signal, sys
from pathlib import Path
from quarterdeck import bootstrap
from quarterdeck.traffic import batches, compaction, files, parquet, retention
from tests.fakes import fake_ports
from tests.unit.traffic.stories import at_day

def die(*arguments, **named):
    os.kill(os.getpid(), signal.SIGKILL)

def die_after(calls, work):
    left = [calls]
    def counted(*arguments, **named):
        if left[0] == 0:
            die()
        left[0] -= 1
        return work(*arguments, **named)
    return counted

workspace = bootstrap.open_workspace(Path(sys.argv[1]), ports=fake_ports())
compaction.FILE_ROWS, compaction.ROW_GROUP, batches.MOST_ROWS = 1000, 300, 250
at_day(workspace, float(sys.argv[2]))
{kill}
compaction.compact(workspace)
retention.retain(workspace)
"""
KILLS = {
    "before anything is written": "parquet.written_whole = die",
    "while the file is written": "compaction.write_file = lambda path, *rest: die(Path(f'{path}.tmp').write_text('x'))",
    "before the file has its name": "files.os.replace = die",
    "after the file has its name": "compaction._move = die",
    "while the first rows are taken out": "compaction._take_out = die",
    "after the rows are deleted, before they are counted": (
        "take = compaction._take_out; compaction._take_out = lambda *a: die(take(*a))"
    ),
    "between two transactions": "compaction._take_out = die_after(2, compaction._take_out)",
    "between two files": "compaction.write_file = die_after(1, compaction.write_file)",
    "after the last file": "retention.retain = die",
}
REMOVALS = {
    "before the segments are given up": "retention._remove_segments = die",
    "before the files are gone": "retention._unlink = die",
    "before their rows are gone": "unlink = retention._unlink; retention._unlink = lambda *a: die(unlink(*a))",
}


def run_killed(workspace: Workspace, day: float, kill: str) -> None:
    script = KILLED.format(kill=kill)
    done = subprocess.run(
        [sys.executable, "-c", script, str(workspace.root), str(day)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == -signal.SIGKILL, done.stderr


@pytest.mark.parametrize("kill", KILLS.values(), ids=KILLS)
def test_a_compaction_that_is_killed_loses_nothing_and_repeats_nothing(workspace: Workspace, kill: str) -> None:
    record(workspace, rows(range(ROWS)))
    add_labels(workspace, "payments", [{"reference": "p7", "value": 1}])
    before = read_window(workspace, "payments", START, START + DAY)
    run_killed(workspace, 4, kill)
    assert read_window(workspace, "payments", START, START + DAY) == before
    assert totals(workspace).predictions == ROWS
    assert record(workspace, rows(range(ROWS))) == 0

    at_day(workspace, 4)
    assert compact(workspace).strays == ()
    assert read_window(workspace, "payments", START, START + DAY) == before
    assert (totals(workspace).predictions, held(workspace)) == (ROWS, 0)
    files = [path for path in segments.folder(workspace).iterdir() if path.name != "housekeeping.lock"]
    assert len(files) == held(workspace, table="segment") == held(workspace, "count(DISTINCT file)", "segment")


@pytest.mark.parametrize("kill", REMOVALS.values(), ids=REMOVALS)
def test_a_removal_that_is_killed_leaves_no_read_that_fails(workspace: Workspace, kill: str) -> None:
    record(workspace, [*rows(range(10)), *rows(range(10, 20), at=START + 150 * DAY)])
    at_day(workspace, 4)
    compact(workspace)
    run_killed(workspace, 200, kill)
    assert everything(workspace)[-10:] == [f"p{i}" for i in range(10, 20)]
    at_day(workspace, 200)
    assert compact(workspace).strays == ()
    retain(workspace)
    assert everything(workspace) == [f"p{i}" for i in range(10, 20)]
    files = list(segments.folder(workspace).glob("*.parquet"))
    assert len(files) == held(workspace, table="segment") == 1


def test_a_writer_during_compaction_loses_nothing(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    record(workspace, rows(range(ROWS)))
    at_day(workspace, 4)
    stopping = threading.Event()
    written: list[int] = []
    other = bootstrap.open_workspace(workspace.root, ports=fake_ports())

    def write() -> None:
        number = ROWS
        while not stopping.is_set():
            # Some of now, some of the very hours that are moved.
            late = {**rows(range(number, number + 1), at=START + 4 * DAY)[0], "event_time": START + DAY / 8}
            record(other, [late, *rows(range(number + 1, number + 5), at=START + 4 * DAY)])
            written.extend(range(number, number + 5))
            number += 5

    thread = threading.Thread(target=write)
    describe, take_out = compaction._described, compaction._take_out
    seen = []

    def begin_writing(table: Any) -> dict[str, Any]:
        if not thread.is_alive():
            thread.start()
        return describe(table)

    def look_who_came(*arguments: Any) -> None:
        seen.append(len(written))
        take_out(*arguments)

    monkeypatch.setattr(compaction, "_described", begin_writing)
    monkeypatch.setattr(compaction, "_take_out", look_who_came)
    monkeypatch.setattr(batches, "MOST_ROWS", 100)
    try:
        done = compact(workspace)
    finally:
        stopping.set()
        thread.join()
        other.close()
    assert done.predictions == ROWS
    assert sorted(everything(workspace)) == sorted(f"p{i}" for i in [*range(ROWS), *written])
    assert held(workspace) == len(written)
    # It was let in between the transactions, again and again.
    assert len(set(seen)) > 3
