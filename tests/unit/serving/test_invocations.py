"""MLflow's scoring protocol: its forms all mean the same rows, and what is none of them is told so."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.registry.signature import Feature, Signature
from quarterdeck.serving import invocations
from quarterdeck.serving.columns import BadInput
from quarterdeck.serving.inputs import Inputs
from quarterdeck.serving.protocol import ParsedRequest

NOW = datetime(2026, 1, 6, tzinfo=UTC)
SIGNATURE = Signature(
    (
        Feature("amount", "number", nullable=True),
        Feature("visits", "integer", nullable=True),
        Feature("channel", "text", nullable=True),
        Feature("member", "boolean", nullable=True),
    ),
    target="fraud",
    classes=("no", "yes"),
    time="at",
    key="payment",
)
INPUTS = Inputs.of(SIGNATURE)
ONE = Inputs.of(Signature((Feature("x", "number", nullable=True),), "y", None))
COLUMNS: dict[str, list[Any]] = {
    "amount": [1.5, None],
    "visits": [3, 4],
    "channel": ["app", None],
    "member": [True, False],
}
ROWS = [list(row) for row in zip(*COLUMNS.values(), strict=True)]
RECORDS = [dict(zip(COLUMNS, row, strict=True)) for row in ROWS]


def parse(content: object, inputs: Inputs = INPUTS) -> ParsedRequest:
    return invocations.parse(json.dumps(content).encode(), inputs, NOW, "application/json")


def csv(text: str, inputs: Inputs = INPUTS) -> ParsedRequest:
    return invocations.parse(text.encode(), inputs, NOW, "Text/CSV; charset=utf-8")


@pytest.mark.parametrize(
    "content",
    [
        {"dataframe_split": {"columns": list(COLUMNS), "data": ROWS}},
        {"dataframe_split": {"columns": list(COLUMNS), "index": [7, 8], "data": ROWS}},
        {"dataframe_records": RECORDS},
        {"dataframe_records": [RECORDS[0], {"visits": 4, "member": False}]},
        {"instances": RECORDS},
        {"instances": ROWS},
        {"inputs": COLUMNS},
        {"inputs": {name: [[value] for value in values] for name, values in COLUMNS.items()}},
        {"inputs": ROWS},
        {"inputs": RECORDS},
    ],
)
def test_every_form_means_the_same_rows(content: dict[str, Any]) -> None:
    parsed = parse(content)
    assert parsed.columns == COLUMNS
    assert list(parsed.columns) == list(SIGNATURE.names)
    assert parsed.rows == 2
    assert len(parsed.ids) == 2


def test_csv_has_the_types_of_the_signature() -> None:
    text = "visits,channel,amount,member\r\n3,app,1.5,true\r\n4,,,False\r\n"
    assert csv(text).columns == COLUMNS
    assert csv("\ufeff" + text).columns == COLUMNS
    assert csv('amount,visits,channel,member\n-1e3,+9007199254740993,"a ""b"",\nc",TRUE\n').columns == {
        "amount": [-1000.0],
        "visits": [9007199254740993],
        "channel": ['a "b",\nc'],
        "member": [True],
    }
    assert csv("amount,visits,channel,member\nNaN,3.0,NaN,false\n").columns["amount"] == [None]


def test_scalars_of_inputs_are_one_row_and_a_single_column_needs_no_lists() -> None:
    assert parse({"inputs": RECORDS[0]}).columns["channel"] == ["app"]
    assert parse({"instances": [1, 2.5]}, ONE).columns == {"x": [1, 2.5]}
    assert parse({"inputs": [[1], [2]]}, ONE).columns == {"x": [1, 2]}


def test_key_time_and_extra_columns_are_told_apart() -> None:
    more = {"payment": "p1", "at": "2026-01-05T12:00:00Z", "weather": "fair"}
    parsed = parse({"dataframe_records": [{**RECORDS[0], **more}]})
    assert parsed.keys == ["p1"]
    assert parsed.event_times == [datetime(2026, 1, 5, 12, tzinfo=UTC)]
    assert parsed.extra_columns == ("weather",)
    given_apart = parse({"dataframe_records": RECORDS, "params": {"event_time": ["2026-01-05T10:00:00Z", None]}})
    assert given_apart.event_times == [datetime(2026, 1, 5, 10, tzinfo=UTC), None]


def test_a_column_without_a_name_is_an_extra_one() -> None:
    assert parse({"inputs": {"": [True], "x": [1]}}, ONE).extra_columns == ("",)
    assert csv(",x\n0,1.5\n", ONE).columns == {"x": [1.5]}


def test_nan_as_python_writes_it_is_a_missing_value() -> None:
    body = json.dumps({"dataframe_records": [{**RECORDS[0], "amount": float("nan"), "channel": "NaN"}]}).encode()
    assert b"NaN" in body
    columns = invocations.parse(body, INPUTS, NOW).columns
    assert (columns["amount"], columns["channel"]) == ([None], ["NaN"])


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({}, "Send exactly one of dataframe_split, dataframe_records, instances, inputs; the request has none"),
        ({"columns": [], "data": []}, "the request has none"),
        ({"instances": ROWS, "inputs": ROWS}, "the request has instances, inputs"),
        ([], "Expected `object`"),
        ({"dataframe_split": {"columns": ["amount"]}}, "missing required field `data`"),
        ({"dataframe_split": {"columns": ["a", "b"], "data": [[1, 2], [1]]}}, "Row 1 of dataframe_split has 1 values"),
        ({"dataframe_split": {"columns": ["a", "a"], "data": [[1, 2]]}}, "Column 'a' is there twice"),
        ({"dataframe_split": {"columns": list(COLUMNS), "data": []}}, "There are no rows"),
        ({"dataframe_records": []}, "There are no rows"),
        ({"dataframe_records": [{}]}, "There are no rows"),
        ({"dataframe_records": [[1]]}, "Expected `object`"),
        ({"dataframe_records": [{**RECORDS[0], "amount": "much"}]}, "'amount' takes numbers .* row 0 has 'much'"),
        ({"dataframe_records": [{"amount": 1}]}, "Missing columns: visits, channel, member"),
        ({"dataframe_records": [{**RECORDS[0], "visits": 1.5}]}, "'visits' takes whole numbers"),
        ({"dataframe_records": [{**RECORDS[0], "member": 1}]}, "'member' takes true or false"),
        ({"instances": [[1, 2]]}, r"Row 0 of instances is \[1, 2\]: send an object, or a list of 4 values"),
        ({"instances": [1]}, "Row 0 of instances is 1"),
        ({"inputs": [RECORDS[0], 1]}, "Row 0 of inputs"),
        ({"inputs": {"amount": [1], "visits": 2}}, "Column 'visits' of inputs is no list"),
        ({"inputs": {"amount": [1], "visits": [1, 2]}}, "unequal numbers of rows"),
        ({"instances": ROWS, "params": {"event_time": ["2026-01-05"]}}, "has 1 values for 2 rows"),
    ],
)
def test_what_is_none_of_the_forms_is_told_so(content: object, expected: str) -> None:
    with pytest.raises(BadInput, match=expected):
        parse(content)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "There are no rows"),
        ("amount,visits,channel,member\n", "There are no rows"),
        ("amount,visits,channel,member\n1,2,a\n", "Row 1 of the CSV has 3 fields, and the header 4"),
        ("amount,amount\n1,2\n", "Column 'amount' is there twice"),
        ('amount,visits,channel,member\n1,2,"a,true\n', "The body is not CSV"),
        ("amount,visits,channel,member\nmuch,2,a,true\n", "'amount' takes numbers .* row 0 has 'much'"),
        ("amount,visits,channel,member\n1_000,2,a,true\n", "row 0 has '1_000'"),
        ("amount,visits,channel,member\ninf,2,a,true\n", "row 0 has 'inf'"),
        ("amount,visits,channel,member\n1,2.5,a,true\n", "'visits' takes whole numbers .* row 0 has 2.5"),
        ("amount,visits,channel,member\n1,2,a,1\n", "'member' takes true or false .* row 0 has '1'"),
        ("visits,channel,member\n2,a,true\n", "Missing columns: amount"),
    ],
)
def test_csv_that_does_not_fit_is_told_so(text: str, expected: str) -> None:
    with pytest.raises(BadInput, match=expected):
        csv(text)


@pytest.mark.parametrize(
    "body", [b"", b"\xff\xfe", b"[" * 100_000, b"NaN", b"[NaN" * 50_000, b'{"inputs": [Infinity, NaN]}']
)
def test_a_body_that_is_no_request_is_bad_input(body: bytes) -> None:
    with pytest.raises(BadInput):
        invocations.parse(body, INPUTS, NOW)
    with pytest.raises(BadInput):
        invocations.parse(body, INPUTS, NOW, "text/csv")


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from([*COLUMNS, "x"]), inner, max_size=4),
    max_leaves=12,
)
forms = st.sampled_from(["dataframe_split", "dataframe_records", "instances", "inputs", "params"])
splits = st.fixed_dictionaries({"columns": st.lists(st.sampled_from([*COLUMNS, "x"]), max_size=5), "data": values})


@given(st.dictionaries(forms, values | splits, max_size=3) | values)
def test_whatever_json_arrives_it_is_parsed_or_bad_input(content: object) -> None:
    for inputs in (INPUTS, ONE):
        try:
            parsed = parse(content, inputs)
        except BadInput:
            continue
        assert {len(column) for column in parsed.columns.values()} == {parsed.rows}
        assert len(parsed.keys) == len(parsed.event_times) == len(parsed.ids) == parsed.rows


@given(st.text(max_size=80) | st.lists(st.sampled_from(["amount", '"', ",", "\n", "1", "x"])).map("".join))
def test_whatever_csv_arrives_it_is_parsed_or_bad_input(text: str) -> None:
    try:
        parsed = invocations.parse(text.encode("utf-8", "surrogatepass"), ONE, NOW, "text/csv")
    except BadInput:
        return
    assert len(parsed.columns["x"]) == parsed.rows


def test_the_answer_is_the_predictions_alone_unless_there_is_something_to_say() -> None:
    def answered(request: ParsedRequest) -> Any:
        content = invocations.answer(
            request, deployment="d", version=3, signature=SIGNATURE, values=["no", "yes"], probabilities=None
        )
        return json.loads(content.body)

    assert answered(parse({"instances": ROWS})) == {"predictions": ["no", "yes"]}
    extra = [{**record, "weather": "fair"} for record in RECORDS]
    said = answered(parse({"instances": extra}))["parameters"]
    assert said == {"ignored_columns": "weather", "ignored_count": 1}
