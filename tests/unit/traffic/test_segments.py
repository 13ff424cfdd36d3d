"""Reads answer the same wherever predictions are: in traffic.db or in files."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quarterdeck.errors import ArtifactError
from quarterdeck.traffic import compaction, segments
from quarterdeck.traffic.compaction import compact
from quarterdeck.traffic.labelling import add_labels
from quarterdeck.traffic.recording import record
from quarterdeck.traffic.window import newest_window, read_window
from quarterdeck.workspace import Workspace
from tests.unit.traffic.stories import HOUR, START, all_reads, forget_everything, held, prediction, set_clock

NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=4)
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(),
    st.sampled_from(["1", "1.0", "null", "true", "NaN", "", "ä\0b"]),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
)
# Few moments, so that many rows share one.
MOMENTS = st.integers(0, 40).map(lambda n: START + n * timedelta(minutes=47))


@st.composite
def stories(draw: st.DrawFn) -> list[dict[str, Any]]:
    ids = draw(st.lists(NAMES, unique=True, max_size=25))
    return [
        prediction(
            0,
            deployment=draw(st.sampled_from(["payments", "payments", "churn"])),
            id=id_,
            key=draw(st.none() | NAMES),
            received_at=draw(MOMENTS),
            event_time=draw(MOMENTS),
            revision=draw(st.sampled_from([1, 2, None])),
            version=draw(st.integers(1, 2)),
            variant=draw(st.sampled_from(["champion", "challenger"])),
            inputs=draw(st.lists(VALUES, max_size=4)),
            prediction=draw(VALUES),
            probabilities=draw(st.none() | st.lists(st.floats(0, 1), max_size=2)),
            latency_us=draw(st.integers(0, 3000)),
            probe=draw(st.integers(0, 9)) == 0,
        )
        for id_ in ids
    ]


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    rows=stories(),
    late=stories(),
    labels=st.lists(st.tuples(st.integers(0, 200), VALUES), max_size=12),
    cut=st.integers(0, 60),
    sizes=st.sampled_from([(10_000, 200_000, 10_000), (1, 5, 2)]),
)
def test_every_read_answers_the_same_before_and_after_compaction(
    workspace: Workspace,
    monkeypatch: pytest.MonkeyPatch,
    rows: list[dict[str, Any]],
    late: list[dict[str, Any]],
    labels: list[tuple[int, Any]],
    cut: int,
    sizes: tuple[int, int, int],
) -> None:
    references = [name for row in [*rows, *late] for name in (row["id"], row["key"]) if name is not None]
    forget_everything(workspace)
    for name, size in zip(("WORTH_A_FILE", "FILE_ROWS", "ROW_GROUP"), sizes, strict=True):
        monkeypatch.setattr(compaction, name, size)
    record(workspace, rows)
    for number, value in labels:
        if references and value is not None:
            add_labels(workspace, "payments", [{"reference": references[number % len(references)], "value": value}])
    moments = [START, START + 11 * HOUR, START + 48 * HOUR]
    for more in ([], late):
        record(workspace, more)
        before = all_reads(workspace, moments)
        set_clock(workspace, START + timedelta(days=2) + cut * HOUR)
        compact(workspace)
        assert all_reads(workspace, moments) == before


def test_what_is_moved_is_no_longer_in_the_database(workspace: Workspace) -> None:
    record(workspace, [prediction(i, START + i * HOUR) for i in range(5)] + [prediction(9, START, probe=True)])
    set_clock(workspace, START + timedelta(days=4))
    assert compact(workspace).predictions == 5
    assert (held(workspace), held(workspace, "sum(rows)", "segment")) == (1, 5)


def test_a_window_reads_over_several_files_and_the_database(workspace: Workspace) -> None:
    record(workspace, [prediction(i, START + i * HOUR) for i in range(96)])
    add_labels(workspace, "payments", [{"reference": "p3", "value": 1}, {"reference": "p90", "value": 1}])
    set_clock(workspace, START + timedelta(days=5))
    assert compact(workspace).files == 3
    rows = read_window(workspace, "payments", START + 2 * HOUR, START + 95 * HOUR)
    assert rows.ids == [f"p{i}" for i in range(2, 95)]
    assert [i for i, label in zip(rows.ids, rows.labels, strict=True) if label == 1] == ["p3", "p90"]
    assert newest_window(workspace, "payments", 1, 4).ids == ["p90", "p93", "p94", "p95"]
    # The label of p3 is the 93rd newest: seen among ten times ten, and not among ten times nine.
    assert newest_window(workspace, "payments", 1, 10).ids[:2] == ["p3", "p87"]
    assert newest_window(workspace, "payments", 1, 9).ids[:2] == ["p87", "p88"]


def test_many_labels_of_others_do_not_matter(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "AT_ONCE", 3)
    record(workspace, [prediction(i, key=f"k{i}") for i in range(10)])
    rows = [{"reference": f"{'p' if i % 2 else 'k'}{i}", "value": i} for i in range(60)]
    add_labels(workspace, "payments", rows)
    set_clock(workspace, START + timedelta(days=4))
    compact(workspace)
    assert read_window(workspace, "payments", START, START + HOUR).labels == list(range(10))


def test_a_label_by_id_goes_before_one_by_key(workspace: Workspace) -> None:
    record(workspace, [prediction(0, key="order-7"), prediction(1, key="order-7")])
    add_labels(workspace, "payments", [{"reference": "order-7", "value": 0}, {"reference": "p0", "value": "1"}])
    set_clock(workspace, START + timedelta(days=4))
    compact(workspace)
    assert read_window(workspace, "payments", START, START + HOUR).labels == ["1", 0]


def test_a_missing_file_is_named_and_not_passed_over(workspace: Workspace) -> None:
    record(workspace, [prediction(0)])
    set_clock(workspace, START + timedelta(days=4))
    compact(workspace)
    (file,) = segments.folder(workspace).glob("*.parquet")
    file.unlink()
    with pytest.raises(ArtifactError, match=file.name):
        read_window(workspace, "payments", START, START + HOUR)


def test_a_damaged_file_is_named_and_new_predictions_of_its_time_are_recorded_nevertheless(
    workspace: Workspace,
) -> None:
    record(workspace, [prediction(0)])
    set_clock(workspace, START + timedelta(days=4))
    compact(workspace)
    (file,) = segments.folder(workspace).glob("*.parquet")
    file.write_bytes(b"PAR1 is not enough PAR1")
    with pytest.raises(ArtifactError, match=file.name):
        read_window(workspace, "payments", START, START + HOUR)
    assert record(workspace, [prediction(1)]) == 1
