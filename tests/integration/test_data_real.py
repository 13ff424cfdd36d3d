"""Real files, from the folder that QUARTERDECK_TEST_DATA names."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from quarterdeck.datasets.ingestion import read_table
from quarterdeck.settings.making import DatasetSettings

FOLDER = os.environ.get("QUARTERDECK_TEST_DATA")
pytestmark = pytest.mark.skipif(FOLDER is None, reason="QUARTERDECK_TEST_DATA does not name the folder of real data")
DATA = Path(FOLDER or ".")
AWKWARD = [
    "comma_in_quotes",
    "empty",
    "empty_crlf",
    "escaped_quotes",
    "json",
    "newlines",
    "newlines_crlf",
    "quotes_and_newlines",
    "simple",
    "simple_crlf",
    "utf8",
]
ADULT = DatasetSettings(
    header=(
        "age", "workclass", "fnlwgt", "education", "education_num", "marital_status", "occupation", "relationship",
        "race", "sex", "capital_gain", "capital_loss", "hours", "country", "income",
    ),
    strip=True,
    missing=("?",),
    replace={"income": {"<=50K.": "<=50K", ">50K.": ">50K"}},
)  # fmt: skip


def as_text(value: Any) -> str:
    """As the expectations have it: all values are text, and a missing one is empty."""
    if value is None or value != value:
        return ""
    return str(int(value)) if isinstance(value, float) else str(value)


@pytest.mark.parametrize("name", AWKWARD)
def test_an_awkward_csv_is_read_as_expected(name: str) -> None:
    frame = read_table(DATA / "csv_spectrum" / "csvs" / f"{name}.csv", DatasetSettings())
    expected = json.loads((DATA / "csv_spectrum" / "expected" / f"{name}.json").read_text())
    assert [{key: as_text(value) for key, value in row.items()} for row in frame.to_dict("records")] == expected


def test_adult_is_mended_by_its_settings() -> None:
    train = read_table(DATA / "adult_census" / "adult-train.csv", ADULT)
    test = read_table(DATA / "adult_census" / "adult-test.csv", ADULT)
    assert (train.shape, test.shape) == ((32_561, 15), (16_281, 15))
    assert train.dtypes.to_dict() == test.dtypes.to_dict()
    assert set(train["income"]) == set(test["income"]) == {"<=50K", ">50K"}
    assert int(train.isna().sum().sum()) == 4_262
    assert "?" not in set(train["workclass"].dropna())
    assert train["education"].iloc[0] == "Bachelors"


def test_elec2_and_bike_sharing_keep_their_types() -> None:
    elec2 = read_table(DATA / "elec2" / "electricity-normalized.csv", DatasetSettings())
    assert elec2.shape == (45_312, 9)
    assert set(elec2["class"]) == {"UP", "DOWN"}
    assert elec2["transfer"].iloc[:17_424].nunique() == 1
    bike = read_table(DATA / "bike_sharing" / "hour.csv", DatasetSettings())
    assert bike.shape == (17_379, 17)
    assert str(bike["dteday"].dtype).startswith("datetime64")
    assert str(bike["cnt"].dtype) == "int64"
