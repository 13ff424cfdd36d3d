"""Moving closed hours to files: what is moved, when, and what a kill leaves."""

from __future__ import annotations

import stat
from datetime import timedelta

import pytest

from quarterdeck.errors import BusyError, ConflictError, DiskError
from quarterdeck.traffic import batches, compaction, segments
from quarterdeck.traffic.compaction import compact
from quarterdeck.traffic.queries import totals
from quarterdeck.traffic.recording import add_predictions, record
from quarterdeck.traffic.window import read_window
from quarterdeck.workspace import Workspace
from tests.unit.traffic.stories import HOUR, START, held, prediction, set_clock

DAY = timedelta(days=1)


def test_only_closed_hours_are_moved_and_small_ones_wait_for_their_day(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(workspace, [prediction(i, START + i * HOUR) for i in range(30)])
    set_clock(workspace, START + 2 * DAY + 6.5 * HOUR)
    assert compact(workspace).predictions == 0
    monkeypatch.setattr(compaction, "WORTH_A_FILE", 6)
    assert compact(workspace).predictions == 6
    monkeypatch.undo()
    set_clock(workspace, START + 3 * DAY)
    assert compact(workspace).predictions == 18
    assert held(workspace, "min(event_time)") == "2026-01-06T00:00:00.000000Z"


def test_an_hour_into_which_something_came_lately_waits(workspace: Workspace) -> None:
    record(workspace, [prediction(0), prediction(1, START + 5 * DAY, event_time=START)])
    set_clock(workspace, START + 6 * DAY)
    assert compact(workspace).predictions == 0
    set_clock(workspace, START + 8 * DAY)
    assert compact(workspace).predictions == 2


def test_late_predictions_make_a_further_segment(workspace: Workspace) -> None:
    record(workspace, [prediction(0), prediction(2, START + HOUR)])
    set_clock(workspace, START + 4 * DAY)
    compact(workspace)
    record(workspace, [prediction(1, START + 4 * DAY, event_time=START + timedelta(minutes=5))])
    set_clock(workspace, START + 8 * DAY)
    assert compact(workspace).files == 1
    assert read_window(workspace, "payments", START, START + DAY).ids == ["p0", "p1", "p2"]
    assert held(workspace) == 0


def test_files_are_for_their_owner_only(workspace: Workspace) -> None:
    record(workspace, [prediction(0, deployment="a b/c")])
    set_clock(workspace, START + 4 * DAY)
    compact(workspace)
    folder = segments.folder(workspace)
    (file,) = folder.glob("*.parquet")
    assert (stat.S_IMODE(folder.stat().st_mode), stat.S_IMODE(file.stat().st_mode)) == (0o700, 0o600)
    assert read_window(workspace, "a b/c", START, START + DAY).ids == ["p0"]


def test_many_rows_make_several_files(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "FILE_ROWS", 40)
    monkeypatch.setattr(compaction, "ROW_GROUP", 7)
    monkeypatch.setattr(batches, "FIRST_ROWS", 9)
    record(workspace, [prediction(i, START + timedelta(seconds=i)) for i in range(100)])
    set_clock(workspace, START + 4 * DAY)
    assert compact(workspace).files == 3
    span = START + timedelta(seconds=20), START + timedelta(seconds=90)
    assert read_window(workspace, "payments", *span).ids == [f"p{i}" for i in range(20, 90)]


def test_a_prediction_that_was_moved_is_known_when_it_is_reported_again(workspace: Workspace) -> None:
    rows = [prediction(i, START + i * HOUR, event_time=START + i * HOUR) for i in range(4)]
    add_predictions(workspace, "payments", rows)
    set_clock(workspace, START + 4 * DAY)
    compact(workspace)
    again = [{**row, "received_at": workspace.now()} for row in rows]
    new = prediction(9, workspace.now(), event_time=START + HOUR)
    taken = add_predictions(workspace, "payments", [*again, new])
    assert (taken.accepted, taken.duplicates) == (1, 4)
    assert record(workspace, [*again, prediction(10, workspace.now())]) == 1
    assert totals(workspace).predictions == 6


def test_a_compaction_between_the_look_and_the_writing_lets_no_repetition_through(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = prediction(0)
    record(workspace, [row, prediction(1, START + DAY)])
    set_clock(workspace, START + 3.5 * DAY)
    compact(workspace)
    read = segments.rows_of

    def read_while_others_compact(*arguments: object, **named: object) -> list[segments.Row]:
        found = read(*arguments, **named)  # type: ignore[arg-type]  # handed on as it came
        set_clock(workspace, START + 5 * DAY)
        monkeypatch.undo()
        compact(workspace)
        return found

    monkeypatch.setattr(segments, "rows_of", read_while_others_compact)
    late = [prediction(i, START + 5 * DAY, event_time=START + i * DAY) for i in range(2)]
    assert record(workspace, late) == 0


def test_rows_that_somebody_else_removed_are_not_counted_as_moved(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(workspace, [prediction(i, START + timedelta(seconds=i)) for i in range(5)])
    set_clock(workspace, START + 4 * DAY)
    take_out = compaction._take_out

    def after_another(tx: object, deployment: str, ids: list[str]) -> None:
        tx.connection().exec_driver_sql("DELETE FROM prediction WHERE id = 'p3'")  # type: ignore[attr-defined]
        take_out(tx, deployment, ids)  # type: ignore[arg-type]  # a Session

    monkeypatch.setattr(compaction, "_take_out", after_another)
    with pytest.raises(ConflictError, match="removed by somebody else"):
        compact(workspace)
    assert (held(workspace), held(workspace, table="segment")) == (5, 0)
    monkeypatch.undo()
    assert compact(workspace).predictions == 5
    assert len(list(segments.folder(workspace).glob("*.parquet"))) == 1


def test_a_file_that_nothing_knows_is_left_alone_and_named(workspace: Workspace) -> None:
    record(workspace, [prediction(0)])
    set_clock(workspace, START + 4 * DAY)
    compact(workspace)
    with workspace.traffic.write("test") as tx:
        tx.connection().exec_driver_sql("DELETE FROM segment")
    (file,) = segments.folder(workspace).glob("*.parquet")
    assert compact(workspace).strays == (file.name,)
    assert file.exists()


def test_a_second_compaction_waits_and_names_the_first(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quarterdeck.traffic.batches.PATIENCE_SECONDS", 0.05)
    with batches.alone(workspace, "compact"), pytest.raises(BusyError, match=r"housekeeping.lock.*compact"):
        compact(workspace)


def test_a_full_disk_fails_cleanly(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    record(workspace, [prediction(0)])
    set_clock(workspace, START + 4 * DAY)
    monkeypatch.setattr("quarterdeck.traffic.files.os.fsync", full)
    with pytest.raises(DiskError, match="No space left"):
        compact(workspace)
    assert held(workspace) == 1
    assert [path.name for path in segments.folder(workspace).iterdir()] == ["housekeeping.lock"]


def test_deployments_are_found_without_reading_all_rows(workspace: Workspace) -> None:
    record(workspace, [prediction(i, deployment=name) for name in ("b", "a", "c") for i in range(3)])
    with workspace.traffic.read() as tx:
        assert batches.deployments(tx) == ["a", "b", "c"]
