"""Two tables, column by column."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from quarterdeck.errors import DataError, UsageError
from quarterdeck.monitoring.sketches import compare_sketched
from quarterdeck.monitoring.tables import ComparedTables, compare_tables, preset_figures
from quarterdeck.statistics.drift import Column, score_columns
from quarterdeck_console.cli import verbs
from tests.tables import frame, write

Compare = Callable[..., ComparedTables]


def verdicts(found: ComparedTables) -> dict[str, tuple[str, str]]:
    return {one.score.column: (one.score.verdict, one.score.missing_verdict) for one in found.columns}


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_the_verdict_is_that_of_a_monitor_whatever_the_file(tmp_path: Path, suffix: str) -> None:
    before, after = frame(2_000, 1), frame(700, 2)
    after["amount"] *= 1.5
    after.loc[after.index % 5 < 3, "age"] = np.nan
    found = compare_tables(write(tmp_path / f"a.{suffix}", before), write(tmp_path / f"b.{suffix}", after))
    assert (found.n_reference, found.n_current) == (2_000, 700)
    assert verdicts(found) == {
        "amount": ("drifted", "quiet"),
        "age": ("quiet", "drifted"),
        "channel": ("quiet", "quiet"),
        "member": ("quiet", "quiet"),
    }
    assert found.drifted == ("amount", "age")
    numbers = [
        [Column(name, "numeric", table[name].to_numpy(dtype=np.float64)) for name in ("amount", "age")]
        for table in (before, after)
    ]
    texts = [
        [Column(name, "categorical", table[name].astype(str).to_numpy(dtype=object)) for name in ("channel", "member")]
        for table in (before, after)
    ]
    assert [one.score for one in found.columns] == score_columns(numbers[0] + texts[0], numbers[1] + texts[1])


def test_what_cannot_be_compared_is_declined_by_name(tmp_path: Path) -> None:
    rows = 3_000
    more = {
        "at": [datetime(2026, 1, 1)] * rows,
        "note": [f"said {number}" for number in range(rows)],
        "tags": [["a"]] * rows,
        "only": 1.0,
    }
    before = write(tmp_path / "a.parquet", frame(rows, 1, **more))
    after = write(tmp_path / "b.parquet", frame(rows, 2, **{name: more[name] for name in ("at", "note", "tags")}))
    found = compare_tables(before, after)
    assert set(found.declined) == {"at", "note", "tags", "only"}
    assert "dates or times" in found.declined["at"]
    assert "free text" in found.declined["note"]
    assert "lists" in found.declined["tags"]
    assert "does not have it" in found.declined["only"]
    assert len(found.columns) == 4
    with pytest.raises(UsageError, match=r"can be compared: at, gone\. There are: amount, age, channel"):
        compare_tables(before, after, watched=("at", "gone", "age"))
    assert [one.score.column for one in compare_tables(before, after, watched=("age",)).columns] == ["age"]


def test_edges_are_defined(tmp_path: Path) -> None:
    before = frame(1_500, 1, empty=np.nan, constant=7.0)
    one_row = frame(1, 2, empty=1.0, constant=7.0)
    none = frame(0, 3, empty=np.nan, constant=7.0)
    wild = frame(400, 4, empty=np.nan, constant=7.0)
    wild.loc[0, "amount"], wild.loc[1, "amount"], wild.loc[2, "amount"] = 1e9, np.inf, -np.inf
    path = write(tmp_path / "a.parquet", before)
    for table, verdict in ((one_row, "inconclusive"), (none, "inconclusive"), (wild, "quiet")):
        found = compare_tables(path, write(tmp_path / "b.parquet", table))
        assert found.drifted == () or verdict == "inconclusive"
        assert verdicts(found)["amount"] == (verdict, verdict)
        assert next(one.preset for one in found.columns if one.score.column == "empty") is None


def test_figures_alone_are_those_of_the_whole_comparison(tmp_path: Path) -> None:
    paths = [write(tmp_path / f"{seed}.parquet", frame(1_200, seed)) for seed in (1, 2)]
    whole = compare_tables(*paths)
    assert preset_figures(*paths) == [one.preset for one in whole.columns]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("gone.parquet", None, "gone.parquet does not exist"),
        ("bad.parquet", b"PAR1 and then nothing", "bad.parquet is no Parquet file, or damaged"),
        ("empty.csv", b"", "empty.csv is empty"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str, content: bytes | None, says: str) -> None:
    good = write(tmp_path / "good.parquet", frame(10, 1))
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=says):
        compare_tables(good, tmp_path / name)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
@pytest.mark.parametrize("compare", [compare_tables, compare_sketched])
def test_a_column_of_another_type_is_a_finding_and_the_rest_is_compared(
    tmp_path: Path, compare: Compare, suffix: str
) -> None:
    day = datetime(2026, 1, 5)
    before = write(tmp_path / f"a.{suffix}", frame(500, 1, at=day, code="x7", gone=2.0))
    after = write(tmp_path / f"b.{suffix}", frame(500, 1, at="monday", code=7, gone=None, age="old"))
    found = compare(before, after)
    assert found.retyped == {
        "age": "numbers in the reference, text or true/false now",
        "at": "dates or times in the reference, text or true/false now",
        "code": "text or true/false in the reference, numbers now",
    }
    assert found.declined == {}
    assert verdicts(found) == {
        "amount": ("quiet", "quiet"),
        "channel": ("quiet", "quiet"),
        "member": ("quiet", "quiet"),
        "gone": ("inconclusive", "drifted"),
    }
    assert found.drifted == ("gone", "age", "at", "code")
    alone = compare(before, after, watched=("age",))
    assert (alone.columns, alone.drifted, alone.n_reference, alone.n_current) == ((), ("age",), 500, 500)


def test_a_column_without_a_value_is_of_the_other_table_s_type(tmp_path: Path) -> None:
    empty = write(tmp_path / "a.csv", frame(400, 1, channel=None, age=np.nan))
    full = write(tmp_path / "b.csv", frame(400, 1))
    for pair in ((empty, full), (full, empty)):
        found = compare_tables(*pair)
        assert found.retyped == {}
        assert found.drifted == ("age", "channel")
        assert compare_sketched(*pair).drifted == found.drifted


def test_a_typed_column_of_parquet_without_a_value_is_of_the_other_table_s_type(tmp_path: Path) -> None:
    table = pa.Table.from_pandas(frame(400, 1), preserve_index=False)
    full, empty = tmp_path / "full.parquet", tmp_path / "empty.parquet"
    pq.write_table(table, full, row_group_size=150)
    for name, type_ in (("age", pa.string()), ("channel", pa.float64()), ("amount", pa.timestamp("us"))):
        table = table.set_column(table.column_names.index(name), name, pa.nulls(400, type_))
    pq.write_table(table, empty, row_group_size=150)
    for compare in (compare_tables, compare_sketched):
        for pair in ((empty, full), (full, empty)):
            found = compare(*pair)
            assert (found.retyped, found.declined) == ({}, {})
            assert set(found.drifted) == {"age", "channel", "amount"}


def test_the_verb_tells_by_its_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before, moved = frame(1_500, 1), frame(1_500, 2)
    moved["amount"] *= 2
    a, b, c = (write(tmp_path / f"{name}.csv", table) for name, table in (("a", before), ("b", moved), ("c", before)))

    def said(*arguments: object, expect: int) -> str:
        monkeypatch.setattr(sys, "argv", ["quarterdeck", "drift", *map(str, arguments)])
        assert verbs.run() == expect
        captured = capsys.readouterr()
        return captured.out + captured.err

    columns = json.loads(said(a, b, "--json", expect=1))["columns"]
    assert [one["score"]["column"] for one in columns if one["score"]["verdict"] == "drifted"] == ["amount"]
    assert "quiet" in said(a, c, expect=0)
    said(a, b, "--rule", "evidently", expect=1)
    said(a, b, "--column", "age", expect=0)
    other = write(tmp_path / "other.csv", before.assign(age="old"))
    for rule in ("quarterdeck", "evidently"):
        text = said(a, other, "--rule", rule, expect=1)
        assert re.search(r"age +other type +numbers in the reference, text or true/false now", text)
        assert re.search(r"amount +quiet", text)
    assert "does not exist" in said(a, tmp_path / "gone.csv", expect=2)
