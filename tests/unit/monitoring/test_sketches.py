"""Two tables by sketches: files and folders of files, what is declined, and what the verb says."""

from __future__ import annotations

import json
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from quarterdeck.errors import DataError, UsageError
from quarterdeck.monitoring import sketches
from quarterdeck.monitoring.sketches import compare_sketched, fit_whole
from quarterdeck.monitoring.tables import ComparedTables, compare_tables
from quarterdeck_console.cli import verbs
from tests.tables import frame, write


def shards(folder: Path, table: pd.DataFrame, *suffixes: str) -> Path:
    """The table in several files, some of them in folders below."""
    for number, rows in enumerate(np.array_split(np.arange(len(table)), len(suffixes))):
        write(folder / f"day={number % 2}" / f"part-{number}{suffixes[number]}", table.iloc[rows])
    return folder


def scores(found: ComparedTables) -> list[Any]:
    return [one.score for one in found.columns]


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".csv.gz", ".jsonl"])
def test_small_tables_give_the_same_scores_as_whole_ones(tmp_path: Path, suffix: str) -> None:
    before, after = frame(2_000, 1), frame(700, 2)
    after["amount"] *= 1.5
    paths = [write(tmp_path / f"{name}{suffix}", table) for name, table in (("a", before), ("b", after))]
    found, whole = compare_sketched(*paths), compare_tables(*paths)
    assert scores(found) == scores(whole)
    assert (found.sketched, found.n_reference, found.n_current) == (True, 2_000, 700)
    assert {one.error for one in found.columns} == {0.0}


def test_a_folder_is_one_table_whatever_its_files(tmp_path: Path) -> None:
    before, after = frame(3_000, 1), frame(2_000, 2)
    whole = compare_tables(write(tmp_path / "a.parquet", before), write(tmp_path / "b.parquet", after))
    (tmp_path / "many").mkdir()
    (tmp_path / "many" / "_SUCCESS").touch()
    (tmp_path / "many" / ".part.parquet").write_bytes(b"being written")
    (tmp_path / "many" / "readme.txt").write_text("not a table")
    many = shards(tmp_path / "many", after, ".parquet", ".parquet", ".parquet", ".parquet", ".parquet")
    assert scores(compare_sketched(tmp_path / "a.parquet", many)) == scores(whole)


def test_what_holds_nothing_in_one_file_is_missing_there(tmp_path: Path) -> None:
    before = frame(2_000, 1)
    after = frame(2_000, 2)
    write(tmp_path / "b" / "1.parquet", after.iloc[:1_000])
    write(tmp_path / "b" / "2.parquet", after.iloc[1_000:].assign(amount=None, channel=None))
    found = compare_sketched(write(tmp_path / "a.parquet", before), tmp_path / "b")
    by_name = {one.score.column: one.score for one in found.columns}
    assert by_name["amount"].missing_current == by_name["channel"].missing_current == 0.5
    assert by_name["age"].missing_current == 0.0


def test_what_cannot_be_compared_is_declined_by_name(tmp_path: Path) -> None:
    rows = 30_000
    more = {"at": [datetime(2026, 1, 1)] * rows, "note": [f"said {i}" for i in range(rows)], "id": np.arange(rows)}
    before = write(tmp_path / "a.parquet", frame(rows, 1, **more))
    some = shards(tmp_path / "b", frame(rows, 2, **{name: more[name] for name in ("at", "note")}), ".parquet")
    write(tmp_path / "b" / "other.parquet", frame(rows, 3, **{name: more[name] for name in ("at", "note")}, extra=1.0))
    found = compare_sketched(before, some)
    assert set(found.declined) == {"at", "note", "id", "extra"}
    assert "dates or times" in found.declined["at"]
    assert "free text" in found.declined["note"]
    assert "does not have it" in found.declined["id"]
    assert "not every file" in found.declined["extra"]
    assert [one.score.column for one in found.columns] == ["amount", "age", "channel", "member"]
    with pytest.raises(UsageError, match=r"can be compared: at\. There are: amount, age"):
        compare_sketched(before, some, watched=("at", "age"))
    with pytest.raises(DataError, match=r"no column that can be compared. note: it is free text"):
        compare_sketched(before, some, watched=("note",))


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({}, "holds no table"),
        ({"1.parquet": b"PAR1 and then nothing"}, "1.parquet is no Parquet file, or damaged"),
        ({"1.csv": b"age\n1\n2\n", "2.csv": b"age\n3\nold\n"}, "holds numbers in some files and text in others"),
        ({"1.csv": b"age\n" + b"1\n" * 6_000_000 + b"old\n"}, r"1.csv, column 'age': 'old' is no number"),
    ],
    ids=["nothing", "damaged", "mixed", "late"],
)
def test_a_table_that_cannot_be_read_is_named(tmp_path: Path, files: dict[str, bytes], says: str) -> None:
    good = write(tmp_path / "good.csv", frame(50, 1)[["age"]])
    (tmp_path / "bad").mkdir()
    for name, content in files.items():
        (tmp_path / "bad" / name).write_bytes(content)
    with pytest.raises(DataError, match=says):
        compare_sketched(good, tmp_path / "bad")
    with pytest.raises(DataError, match=r"gone.parquet does not exist"):
        compare_sketched(good, tmp_path / "gone.parquet")


def test_what_stands_in_a_text_file_is_read_as_the_exact_comparison_reads_it(tmp_path: Path) -> None:
    rows = 2_500
    days = pd.date_range("2026-01-05", periods=rows, freq="h")
    more = {
        "day": days.strftime("%Y-%m-%d"),
        "at": days.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "postcode": [f"0{number % 90:04}" for number in range(rows)],
        "key": [f"{10**19 + number % 90}" for number in range(rows)],
        "kept": [str(number % 2 == 0).lower() for number in range(rows)],
    }
    a, b = (write(tmp_path / f"{seed}.csv", frame(rows, seed, **more)) for seed in (1, 2))
    found, whole = compare_sketched(a, b), compare_tables(a, b)
    assert set(found.declined) == {"day", "at"}
    assert found.declined == whole.declined
    assert {one.score.column: one.score.kind for one in found.columns} == {
        one.score.column: one.score.kind for one in whole.columns
    }


def test_what_fits_is_compared_whole_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = (write(tmp_path / name, frame(1_000, 1)) for name in ("a.parquet", "b.csv"))
    assert fit_whole(a, b)
    assert fit_whole(a, tmp_path / "gone.csv")
    assert not fit_whole(a, tmp_path)
    monkeypatch.setattr(sketches, "WHOLE_ROWS", 999)
    assert not fit_whole(a, a)
    assert fit_whole(b, b)
    monkeypatch.setattr(sketches, "WHOLE_BYTES", 999)
    assert not fit_whole(b, b)


def test_the_verb_labels_what_is_sketched_and_states_the_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before, moved = frame(150_000, 1), frame(150_000, 2)
    moved["amount"] *= 1.5
    a = write(tmp_path / "a.parquet", before)
    folder = shards(tmp_path / "b", moved, ".parquet", ".parquet", ".parquet")

    def said(*arguments: object, expect: int) -> tuple[str, str]:
        monkeypatch.setattr(sys, "argv", ["quarterdeck", "drift", *map(str, arguments)])
        assert verbs.run() == expect
        captured = capsys.readouterr()
        return captured.out, captured.err

    out, err = said(a, folder, expect=1)
    assert "by sketches" in err
    (amount,) = [line for line in out.splitlines() if line.startswith("amount")]
    assert "drifted" in amount
    assert "sigma, sketched, +-0.00" in amount
    document = json.loads(said(a, folder, "--json", expect=1)[0])
    assert document["sketched"] is True
    errors = {one["score"]["column"]: one["error"] for one in document["columns"]}
    assert 0 < errors["amount"] < 0.01
    assert errors["channel"] == errors["member"] == 0.0
    (moments,) = [one["moments"] for one in document["columns"] if one["score"]["column"] == "age"]
    assert (moments[0]["minimum"], moments[1]["maximum"]) == (18.0, 79.0)
    assert json.loads(said(a, a, "--json", expect=0)[0])["sketched"] is False
    assert "sketched, +-" in said(a, a, "--sketch", expect=0)[0]
    assert "leave out --exact" in said(a, folder, "--exact", expect=2)[1]
    refused = said(a, folder, "--rule", "evidently", expect=2)[1]
    assert f"{folder} is a folder, which is compared by sketches only: leave out --rule evidently." in refused
    assert "leave out --sketch" not in refused
    assert "leave out --sketch, or --rule" in said(a, a, "--sketch", "--rule", "evidently", expect=2)[1]
    monkeypatch.setattr(sketches, "WHOLE_ROWS", 999)
    assert "by sketches" in said(a, a, expect=0)[1]
    assert json.loads(said(a, a, "--rule", "evidently", "--json", expect=0)[0])["sketched"] is False
