"""The frame that a model takes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from quarterdeck.errors import DataError
from quarterdeck.registry.inputs import as_inputs, inputs_frame
from quarterdeck.registry.inspection import example_rows, infer_signature
from quarterdeck.registry.signature import Signature
from tests.registry_models import FEATURES, table

SIGNATURE = infer_signature(table()[[*FEATURES, "label"]], target="label")


def test_a_signature_is_found_in_the_frame() -> None:
    found = {feature.name: feature for feature in SIGNATURE.features}
    assert {name: feature.type for name, feature in found.items()} == {
        "amount": "number",
        "age": "number",
        "visits": "integer",
        "channel": "text",
        "member": "boolean",
    }
    assert [name for name, feature in found.items() if feature.nullable] == ["age", "channel"]
    assert found["channel"].categories == ("app", "pos", "web")
    assert SIGNATURE.classes == ("no", "yes")
    assert SIGNATURE.positive == "yes"
    assert Signature.from_dict(SIGNATURE.as_dict()) == SIGNATURE


def test_time_key_and_excluded_columns_are_no_features() -> None:
    frame = pd.DataFrame({"at": pd.to_datetime(["2026-01-01"]), "id": ["a"], "note": ["x"], "x": [1.0], "y": [2.5]})
    signature = infer_signature(frame, target="y", time="at", key="id", exclude=("note",))
    assert signature.names == ("x",)
    assert signature.classes is None
    with pytest.raises(DataError, match="Column 'at'"):
        infer_signature(frame, target="y")
    with pytest.raises(DataError, match="'z' is missing"):
        infer_signature(frame, target="z")


def test_one_row_and_many_rows_hold_the_same_values() -> None:
    frame = table(20)
    many = as_inputs(frame, SIGNATURE)
    assert [str(dtype) for dtype in many.dtypes] == ["float64", "float64", "float64", "object", "bool"]
    for row in range(len(frame)):
        columns = {name: [None if pd.isna(value) else value] for name, value in frame.iloc[row].items()}
        one = inputs_frame(SIGNATURE, {str(name): value for name, value in columns.items()})
        assert list(one.columns) == list(many.columns)
        for expected, given in zip(many.iloc[row], one.iloc[0], strict=True):
            assert given == expected or (pd.isna(given) and pd.isna(expected))


def test_numbers_alone_are_one_float_block() -> None:
    signature = infer_signature(table()[["amount", "visits"]], target=None)
    frame = inputs_frame(signature, {"visits": [1, None], "amount": [2.5, 3], "more": ["ignored", "too"]})
    assert list(frame.columns) == ["amount", "visits"]
    assert frame.to_numpy().dtype == np.float64
    assert np.isnan(frame["visits"].iloc[1])


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("amount", "1.5", "'amount', row 1: '1.5' is not a number"),
        ("channel", 3, "'channel', row 1: 3 is not a text"),
        ("member", "true", "'member', row 1: 'true' is not true or false"),
    ],
)
def test_nothing_is_coerced_silently(column: str, value: Any, words: str) -> None:
    row: dict[str, list[Any]] = {
        "amount": [1.0], "age": [1.0], "visits": [1], "channel": ["app"], "member": [True],
    }  # fmt: skip
    with pytest.raises(DataError) as caught:
        inputs_frame(SIGNATURE, {**row, column: [value]})
    assert words in str(caught.value)
    del row[column]
    with pytest.raises(DataError, match=f"'{column}' is missing"):
        inputs_frame(SIGNATURE, row)


def test_examples_are_plain_values_without_gaps_where_possible() -> None:
    rows = example_rows(table()[FEATURES])
    assert len(rows) == 5
    assert all(type(value) in (float, int, str, bool) for row in rows for value in row.values())
    assert example_rows(pd.DataFrame({"x": [None, "a"]})) == [{"x": None}, {"x": "a"}]
