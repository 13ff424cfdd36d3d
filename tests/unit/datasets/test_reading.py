"""Files as tables: what is read, and what is refused with which words."""

from __future__ import annotations

import gzip
import zipfile
from pathlib import Path

import pandas as pd
import pytest

from quarterdeck.datasets.ingestion import read_table
from quarterdeck.datasets.reading import read_bytes
from quarterdeck.errors import DataError, SettingsError
from quarterdeck.settings.making import DatasetSettings

PLAIN = DatasetSettings()


def read(path: Path, content: bytes, settings: DatasetSettings = PLAIN) -> pd.DataFrame:
    path.write_bytes(content)
    return read_table(path, settings)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("empty.csv", b"", "is empty"),
        ("blank.csv", b"\n \n", "is empty"),
        ("header.csv", b"a,b\n", "no rows"),
        ("binary.csv", b"\x7fELF\x00\x00\x01", "binary file"),
        ("latin.csv", "a,b\n1,\u00e9\n".encode("latin-1"), "line 2: byte 0xe9"),
        ("long.csv", b"a,b\n1,2\n3,4,5\n", "row 3: 3 values where 2 columns"),
        ("short.csv", b"a,b\n1,2\n3\n", "row 3: 1 values where 2 columns"),
        ("twice.csv", b"a,b,a\n1,2,3\n", "columns 1 and 3 are both called 'a'"),
        ("nameless.csv", b"a,,c\n1,2,3\n", "column 2 has no name"),
        ("bad.zip", b"no archive", "cannot be unpacked"),
        ("bad.csv.gz", b"\x1f\x8bno", "cannot be unpacked"),
        ("bad.parquet", b"PAR1no", "cannot be read as Parquet"),
        ("bad.jsonl", b'{"a": 1}\n{"a": \n', "cannot be read as JSON lines"),
        ("nested.jsonl", b'{"a": {"b": 1}}\n', "column 'a' holds lists or objects"),
    ],
)
def test_a_file_that_is_no_table_is_refused_by_name_and_place(
    tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    with pytest.raises(DataError) as caught:
        read(tmp_path / name, content)
    assert words in str(caught.value)
    assert name in str(caught.value)


def test_a_missing_file_and_a_directory_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        read_table(tmp_path / "nowhere.csv", PLAIN)
    with pytest.raises(DataError, match="is a directory"):
        read_table(tmp_path, PLAIN)


def test_the_row_is_named_even_far_down_a_large_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="row 300002"):
        read(tmp_path / "large.csv", b"a,b\n" + b"1,2\n" * 300_000 + b"1,2,3\n")


def test_each_column_becomes_what_all_its_values_are(tmp_path: Path) -> None:
    frame = read(
        tmp_path / "types.csv",
        b"whole,part,flag,zoned,plain,zip,long,text\n"
        b"+1,1.5,true,2026-01-01T00:00:00Z,2026-01-01,08123,12345678901234567890,a\n"
        b"-2,1e3,FALSE,2026-01-01T02:00:00+02:00,2026-01-02 03:04:05,10115,1,2026-02-31\n",
    )
    kinds = {name: str(dtype) for name, dtype in frame.dtypes.items()}
    assert kinds["whole"] == "int64"
    assert kinds["part"] == "float64"
    assert kinds["flag"] == "bool"
    assert frame["zoned"].nunique() == 1
    assert frame["plain"].dt.hour.tolist() == [0, 3]
    # Neither a leading zero nor a digit is lost.
    assert frame["zip"].tolist() == ["08123", "10115"]
    assert frame["long"].tolist() == ["12345678901234567890", "1"]
    assert frame["text"].tolist() == ["a", "2026-02-31"]


def test_blanks_missing_values_and_replacements_are_mended_in_that_order(tmp_path: Path) -> None:
    settings = DatasetSettings(header=("n", "label"), strip=True, missing=("?",), replace={"label": {"no.": "no"}})
    frame = read(tmp_path / "raw.csv", b"1, no.\n ?, yes\n3, ?\n", settings)
    assert frame["n"].isna().tolist() == [False, True, False]
    assert str(frame["n"].dtype) == "float64"
    assert frame["label"].tolist()[:2] == ["no", "yes"]
    assert frame["label"].isna().tolist() == [False, False, True]


def test_replacing_in_a_column_that_is_not_there_is_a_mistake_in_the_settings(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="'lable'"):
        read(tmp_path / "a.csv", b"label\nx\n", DatasetSettings(replace={"lable": {"x": "y"}}))


def test_replacing_in_a_column_that_is_not_text_is_a_mistake_in_the_settings(tmp_path: Path) -> None:
    pd.DataFrame({"age": [1, 2]}).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(SettingsError, match="'age', which holds int64, not text"):
        read_table(tmp_path / "a.parquet", DatasetSettings(replace={"age": {"1": "2"}}))


def test_a_zip_is_unpacked_from_the_bytes_that_were_read_and_not_from_the_disk_again(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "t.zip", "w") as archive:
        archive.writestr("t.csv", "a\n1\n")
    content = (tmp_path / "t.zip").read_bytes()
    (tmp_path / "t.zip").unlink()
    assert read_bytes(tmp_path / "t.zip", content, PLAIN)[0]["a"].tolist() == [1]


def test_a_number_that_is_none_leaves_text_and_a_warning_with_its_row(tmp_path: Path) -> None:
    frame, warnings = read_bytes(tmp_path / "a.csv", b"a,b\n1,1\n2,1\nn/a,1\n", PLAIN)
    assert frame["a"].tolist() == ["1", "2", "n/a"]
    assert len(warnings) == 1
    assert "'n/a' in data row 3" in warnings[0]


@pytest.mark.parametrize(
    ("content", "columns"),
    [
        (b"a;b\n1,5;2\n", ["a", "b"]),
        (b"a\tb\n1\t2\n", ["a", "b"]),
        (b'"a,x"|b\n1|2\n', ["a,x", "b"]),
        (b"\xef\xbb\xbfa,b\r1,2\r", ["a", "b"]),
        ("a,b\n1,\u00e9\n".encode("utf-16"), ["a", "b"]),
    ],
)
def test_separators_and_encodings_are_found_out(tmp_path: Path, content: bytes, columns: list[str]) -> None:
    frame = read(tmp_path / "found.csv", content)
    assert list(frame.columns) == columns
    assert len(frame) == 1


def test_compressed_parquet_and_json_give_the_same_table(tmp_path: Path) -> None:
    content = b"a,b\n1,x\n2,y\n"
    expected = read(tmp_path / "t.csv", content)
    packed = read(tmp_path / "t.csv.gz", gzip.compress(content))
    with zipfile.ZipFile(tmp_path / "t.zip", "w") as archive:
        archive.writestr("inner.csv", content)
    expected.to_parquet(tmp_path / "t.parquet")
    lines = read(tmp_path / "t.jsonl", b'{"a": 1, "b": "x"}\n{"a": 2, "b": "y"}\n')
    zipped = read_table(tmp_path / "t.zip", PLAIN)
    for other in (packed, zipped, read_table(tmp_path / "t.parquet", PLAIN), lines):
        pd.testing.assert_frame_equal(other, expected)
