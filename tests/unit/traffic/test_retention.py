"""What is removed, in which order, and that the rest stays."""

from __future__ import annotations

import os
from datetime import timedelta

import pytest
from sqlmodel import Session

from quarterdeck.traffic import batches, retention, segments
from quarterdeck.traffic.compaction import compact
from quarterdeck.traffic.labelling import add_labels
from quarterdeck.traffic.queries import totals
from quarterdeck.traffic.recording import record, record_unanswered, record_unrecorded
from quarterdeck.traffic.retention import retain, used_bytes
from quarterdeck.traffic.window import first_events, read_window
from quarterdeck.workspace import Workspace
from tests.unit.traffic.stories import START, held, prediction, set_clock, with_settings

DAY = timedelta(days=1)


def files(workspace: Workspace) -> int:
    return len(list(segments.folder(workspace).glob("*.parquet")))


def test_what_came_longer_ago_than_keep_goes_from_files_and_tables(workspace: Workspace) -> None:
    for day in range(10):
        set_clock(workspace, START + day * DAY)
        record(workspace, [prediction(10 * day + i, workspace.now()) for i in range(3)])
        add_labels(workspace, "payments", [{"reference": f"p{10 * day}", "value": 1}])
        record_unanswered(workspace, "payments", 1, reason="failed", count=1)
        record_unrecorded(workspace, ("payments", 1, "champion"), worker="gateway/0", count=1, reason="queue full")
    compact(workspace)
    done = retain(with_settings(workspace, traffic={"keep": "3d"}))
    assert (done.expired.predictions, done.expired.labels, bool(done.crowded_out)) == (21, 7, False)
    assert (totals(workspace).predictions, totals(workspace).labels) == (9, 3)
    assert (held(workspace, table="unanswered"), held(workspace, table="unrecorded")) == (3, 3)
    assert first_events(workspace, "payments", None, 1) == [START + 7 * DAY + timedelta(microseconds=1)]
    assert "21 predictions and 7 labels removed that came longer ago than 3 days" in str(done)
    assert files(workspace) == held(workspace, table="segment")


def test_age_counts_from_arrival(workspace: Workspace) -> None:
    set_clock(workspace, START + 100 * DAY)
    record(workspace, [prediction(0, workspace.now(), event_time=START)])
    assert not retain(workspace).expired
    assert totals(workspace).predictions == 1


def test_the_oldest_segments_go_first_until_the_rest_fits(workspace: Workspace) -> None:
    for day in range(6):
        set_clock(workspace, START + day * DAY)
        inputs = [f"{day}-{n}" for n in range(100)]
        record(workspace, [prediction(100 * day + i, workspace.now(), inputs=inputs) for i in range(50)])
        add_labels(workspace, "payments", [{"reference": f"p{100 * day}", "value": 1}])
    set_clock(workspace, START + 7.5 * DAY)
    assert compact(workspace).files == 5
    limit = used_bytes(workspace) - held(workspace, "bytes", "segment ORDER BY id LIMIT 1") - 1
    done = retain(with_settings(workspace, traffic={"max_bytes": limit}))
    # The first file is not enough, by one byte.
    assert (done.crowded_out.predictions, done.bytes <= limit) == (100, True)
    # Labels that came before all predictions that are left are of none of them.
    assert done.crowded_out.labels == 2
    (first,) = first_events(workspace, "payments", None, 1)
    assert first > START + 2 * DAY
    assert totals(workspace).predictions == 200


def test_then_the_oldest_rows_go(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "FIRST_ROWS", 60)
    monkeypatch.setattr(batches, "MOST_ROWS", 60)
    empty = used_bytes(workspace)
    inputs = ["x" * 1000]
    rows = [
        prediction(i, START + timedelta(seconds=i), inputs=inputs, deployment=("a", "b")[i % 2]) for i in range(1000)
    ]
    record(workspace, rows)
    add_labels(workspace, "a", [{"reference": "p0", "value": 1}])
    limit = (empty + used_bytes(workspace)) // 2
    done = retain(with_settings(workspace, traffic={"max_bytes": limit}))
    assert done.bytes <= limit
    left = [read_window(workspace, name, START, START + DAY) for name in ("a", "b")]
    numbers = sorted(int(id_[1:]) for rows in left for id_ in rows.ids)
    assert numbers == list(range(done.crowded_out.predictions, 1000))
    assert 0 < done.crowded_out.predictions < 1000


def test_a_limit_that_nothing_can_keep_removes_all_and_ends(workspace: Workspace) -> None:
    record(workspace, [prediction(i) for i in range(10)])
    add_labels(workspace, "payments", [{"reference": f"p{i}", "value": 1} for i in range(10)])
    done = retain(with_settings(workspace, traffic={"max_bytes": 0}))
    assert (done.crowded_out.predictions, done.crowded_out.labels) == (10, 10)
    assert totals(workspace).predictions == 0


def test_a_removal_that_was_killed_before_the_file_was_gone_is_finished(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*arguments: object) -> None:
        raise KeyboardInterrupt

    record(workspace, [prediction(0)])
    set_clock(workspace, START + 4 * DAY)
    compact(workspace)
    set_clock(workspace, START + 200 * DAY)
    monkeypatch.setattr(retention, "_unlink", killed)
    with pytest.raises(KeyboardInterrupt):
        retain(workspace)
    # Given up already for every read, although the file is there.
    assert (files(workspace), read_window(workspace, "payments", START, START + DAY).n) == (1, 0)
    assert (totals(workspace).predictions, first_events(workspace, "payments", None, 1)) == (0, [])
    monkeypatch.undo()
    assert compact(workspace).strays == ()
    retain(workspace)
    assert (files(workspace), held(workspace, table="segment")) == (0, 0)


def test_a_file_goes_only_when_the_disk_knows_that_it_is_given_up(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(workspace, [prediction(0)])
    set_clock(workspace, START + 4 * DAY)
    compact(workspace)
    set_clock(workspace, START + 200 * DAY)
    sync, seen = os.fsync, []

    def noted(handle: int) -> None:
        seen.append((os.path.basename(os.readlink(f"/proc/self/fd/{handle}")), files(workspace)))
        sync(handle)

    monkeypatch.setattr(os, "fsync", noted)
    retain(workspace)
    assert seen == [("traffic.db-wal", 1), ("traffic", 0)]


def test_a_read_under_way_while_a_segment_is_removed_looks_again(workspace: Workspace) -> None:
    record(workspace, [prediction(0)])
    set_clock(workspace, START + 4 * DAY)
    compact(workspace)
    set_clock(workspace, START + 200 * DAY)
    seen = []

    def read_while_it_is_removed(tx: Session) -> list[segments.Row]:
        found = segments.find(tx, "payments", "1")
        seen.append(len(found))
        retain(workspace)
        return [row for segment in found for row in segments.rows_of(workspace, segment, ("id",))]

    assert segments.snapshot(workspace, read_while_it_is_removed) == []
    assert seen == [1, 0]
