"""The protocol in JSON: good requests become columns, everything else a BadInput that says what was expected."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.registry.signature import Feature, Signature
from quarterdeck.serving import protocol
from quarterdeck.serving.columns import BadInput
from quarterdeck.serving.inputs import Inputs

MIXED = Signature(
    (
        Feature("amount", "number", nullable=True),
        Feature("count", "integer", nullable=False),
        Feature("channel", "text", nullable=True, categories=("app", "web")),
        Feature("known", "boolean", nullable=True),
    ),
    target="fraud",
    classes=("no", "yes"),
    time="at",
    key="payment",
)
NUMERIC = Signature(
    (Feature("a", "number", nullable=True), Feature("b", "number", nullable=True)), target="y", classes=None
)

NOW = datetime(2026, 1, 6, tzinfo=UTC)


def tensor(name: str, datatype: str, data: list[Any], shape: list[int] | None = None) -> dict[str, Any]:
    return {"name": name, "shape": shape or [len(data)], "datatype": datatype, "data": data}


def good(**replaced: dict[str, Any] | None) -> dict[str, Any]:
    inputs: dict[str, dict[str, Any] | None] = {
        "amount": tensor("amount", "FP64", [1.5, None]),
        "count": tensor("count", "INT64", [3, 4]),
        "channel": tensor("channel", "BYTES", ["app", None]),
        "known": tensor("known", "BOOL", [True, False]),
    }
    inputs.update(replaced)
    return {"id": "r1", "inputs": [sent for sent in inputs.values() if sent is not None]}


def parse(content: object, signature: Signature = MIXED) -> protocol.ParsedRequest:
    return protocol.parse(json.dumps(content).encode(), Inputs.of(signature), NOW)


def test_columns_come_in_the_order_of_the_signature_whatever_the_order_sent() -> None:
    sent = good()
    sent["inputs"].reverse()
    parsed = parse(sent)
    assert list(parsed.columns) == list(MIXED.names)
    assert parsed.columns["amount"] == [1.5, None]
    assert parsed.columns["channel"] == ["app", None]
    assert parsed.rows == 2
    assert parsed.ids == ["r1:0", "r1:1"]


def test_one_row_has_the_id_of_its_request_and_a_request_without_id_gets_one() -> None:
    sent = {"inputs": [tensor("a", "FP64", [1]), tensor("b", "FP64", [2])]}
    assert parse({**sent, "id": "mine"}, NUMERIC).ids == ["mine"]
    first, second = parse(sent, NUMERIC), parse(sent, NUMERIC)
    assert first.id != second.id


def test_nested_data_of_the_shape_rows_by_one_are_taken() -> None:
    parsed = parse(good(count=tensor("count", "INT64", [[3], [4]], [2, 1])))
    assert parsed.columns["count"] == [3, 4]


def test_whole_numbers_may_come_as_floats_and_numbers_as_integers() -> None:
    parsed = parse(good(count=tensor("count", "FP64", [3.0, 4.0]), amount=tensor("amount", "INT32", [1, 2])))
    assert parsed.columns["count"] == [3, 4]
    assert parsed.columns["amount"] == [1, 2]


@pytest.mark.parametrize("data", [[1, 2, 3, 4], [[1, 2], [3, 4]]])
def test_one_tensor_of_two_dimensions_holds_all_columns_of_a_numeric_model(data: list[Any]) -> None:
    parsed = parse({"inputs": [tensor("x", "FP32", data, [2, 2])]}, NUMERIC)
    assert parsed.columns == {"a": [1, 3], "b": [2, 4]}


def test_key_and_extra_columns_may_stand_beside_a_tensor_of_all_columns() -> None:
    keyed = Signature(NUMERIC.features, "y", None, key="payment")
    sent = [tensor("payment", "BYTES", ["p1", "p2"]), tensor("x", "INT32", [1, 2, 3, 4], [2, 2])]
    parsed = parse({"inputs": [*sent, tensor("weather", "BYTES", ["fair", "foul"])]}, keyed)
    assert parsed.columns == {"a": [1, 3], "b": [2, 4]}
    assert (parsed.keys, parsed.extra_columns) == (["p1", "p2"], ("weather",))
    with pytest.raises(BadInput, match="'payment' has 1 rows and the tensor of several columns 2"):
        parse({"inputs": [tensor("payment", "BYTES", ["p1"]), sent[1]]}, keyed)


def test_a_tensor_of_two_dimensions_is_refused_where_a_feature_is_text() -> None:
    with pytest.raises(BadInput, match="channel, known are no numbers"):
        parse({"inputs": [tensor("x", "FP64", [1, 2, 3, 4], [1, 4])]})


def test_key_and_time_columns_and_extra_columns_are_told_apart() -> None:
    parsed = parse(
        good(
            payment=tensor("payment", "BYTES", ["p1", "p2"]),
            at=tensor("at", "BYTES", ["2026-01-05T12:00:00Z", "2026-01-05 13:00:00"]),
            weather=tensor("weather", "BYTES", ["fair", "foul"]),
        )
    )
    assert parsed.keys == ["p1", "p2"]
    assert parsed.event_times == [datetime(2026, 1, 5, 12, tzinfo=UTC), datetime(2026, 1, 5, 13, tzinfo=UTC)]
    assert parsed.extra_columns == ("weather",)


def test_a_key_is_text_or_a_whole_number() -> None:
    assert parse(good(payment=tensor("payment", "INT64", [7, None]))).keys == ["7", None]
    assert parse(good(payment=tensor("payment", "FP64", [7.0, None]))).keys == ["7", None]


def test_the_event_time_parameter_is_one_for_all_rows_or_one_for_each() -> None:
    moment = datetime(2026, 1, 5, 10, tzinfo=UTC)
    one = parse({**good(), "parameters": {"event_time": "2026-01-05T12:00:00+02:00"}})
    each = parse({**good(), "parameters": {"event_time": ["2026-01-05T10:00:00Z", None]}})
    assert one.event_times == [moment, moment]
    assert each.event_times == [moment, None]


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (good(amount=None), "Missing columns: amount. The model takes amount, count, channel, known"),
        (good(amount=tensor("amount", "BYTES", ["1", "2"])), r"'amount' takes numbers .* not BYTES"),
        (good(amount=tensor("amount", "FP64", [1, "2"])), r"'amount' takes numbers .*; row 1 has '2'"),
        (good(amount=tensor("amount", "FP64", [True, 2])), "row 0 has True"),
        (good(count=tensor("count", "FP64", [1.5, 2])), r"'count' takes whole numbers .* row 0 has 1.5"),
        (good(count=tensor("count", "INT64", [10**30, 2])), "a number of more than 64 bits"),
        (good(amount=tensor("amount", "FP64", [10**400, 2])), "a number of more than 64 bits"),
        (good(channel=tensor("channel", "BYTES", ["app", 3])), r"'channel' takes text .* row 1 has 3"),
        (good(known=tensor("known", "BOOL", [1, 0])), r"'known' takes true or false .* row 0 has 1"),
        (good(count=tensor("count", "INT128", [1, 2])), "datatype 'INT128'. Known: BF16, BOOL, BYTES"),
        (good(count=tensor("count", "INT64", [1])), "'count' has 1 rows and column 'amount' 2"),
        (good(count=tensor("count", "INT64", [1, 2, 3], [2])), r"shape \[2\] and 3 values"),
        (good(count=tensor("count", "INT64", [[1], [2, 3]], [2, 1])), "not every row has 1 values"),
        (good(count=tensor("count", "INT64", [1, 2], [2, 1, 1])), r"send \[rows\] or \[rows, 1\]"),
        (good(again=tensor("amount", "FP64", [1, 2])), "'amount' is there twice"),
        ({"inputs": []}, "'inputs' is empty"),
        ({"inputs": [tensor("amount", "FP64", [], [0])]}, "at least one row"),
        ({"inputs": [tensor("amount", "FP64", [], [-1])]}, "at least one row"),
        ({"inputs": [tensor("amount", "FP64", [1], [10**40])]}, "and 1 values"),
        ({"inputs": 3}, r"Expected `array`, got `int` - at `\$.inputs`"),
        ({}, "missing required field `inputs`"),
        ([], "Expected `object`"),
        ({**good(), "parameters": {"event_time": "yesterday"}}, "'event_time' takes a time as ISO 8601 text"),
        ({**good(), "parameters": {"event_time": "0001-01-01T00:00:00+14:00"}}, "takes a time"),
        ({**good(), "parameters": {"event_time": "2026-01-07T00:00:01Z"}}, "more than a day ahead of now"),
        ({**good(), "parameters": {"event_time": "1969-12-31T23:59:59Z"}}, "before 1970"),
        ({**good(), "parameters": {"event_time": []}}, "0 values for 2 rows"),
        ({**good(), "outputs": [{"name": "score"}]}, "no output 'score'. Known: predict, predict_proba"),
        ({**good(), "id": "x" * 300}, "'id' has 300 characters"),
        (good(payment=tensor("payment", "FP64", [1.5, 2.5])), "'payment' takes text or a whole number"),
    ],
)
def test_a_bad_request_is_told_what_was_expected(sent: object, expected: str) -> None:
    with pytest.raises(BadInput, match=expected):
        parse(sent)


@pytest.mark.parametrize("body", [b"", b"\x80\x02garbage", b"[" * 100_000, b'{"inputs": [NaN]}', b"null", b'"\\ud800"'])
def test_a_body_that_is_no_request_is_bad_input(body: bytes) -> None:
    with pytest.raises(BadInput):
        protocol.parse(body, Inputs.of(MIXED), NOW)


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=4), max_leaves=8)
names = st.sampled_from(["amount", "count", "channel", "known", "at", "payment", "x"]) | st.text(max_size=3)
tensors = st.fixed_dictionaries(
    {
        "name": names,
        "shape": st.lists(st.integers(-2, 4), max_size=3) | values,
        "datatype": st.sampled_from(["FP64", "INT64", "BYTES", "BOOL"]) | values,
        "data": st.lists(values, max_size=4) | values,
    }
)
requests = st.fixed_dictionaries(
    {"inputs": st.lists(tensors, max_size=6) | values},
    optional={
        "id": values,
        "parameters": st.dictionaries(st.sampled_from(["event_time", "x"]), values) | values,
        "outputs": values,
    },
)


@given(requests | values | st.dictionaries(st.text(max_size=8), values))
def test_whatever_json_arrives_it_is_parsed_or_bad_input(content: object) -> None:
    for signature in (MIXED, NUMERIC):
        try:
            parsed = parse(content, signature)
        except BadInput:
            continue
        else:
            assert {len(column) for column in parsed.columns.values()} == {parsed.rows}
            assert len(parsed.keys) == len(parsed.event_times) == len(parsed.ids) == parsed.rows


@given(st.binary(max_size=300))
def test_whatever_bytes_arrive_they_are_bad_input(body: bytes) -> None:
    with pytest.raises(BadInput):
        protocol.parse(body, Inputs.of(MIXED), NOW)


def answered(request: protocol.ParsedRequest, **named: Any) -> dict[str, Any]:
    arguments: dict[str, Any] = {"deployment": "d", "version": 3, "signature": MIXED, **named}
    content: dict[str, Any] = json.loads(protocol.answer(request, **arguments).body)
    return content


def test_a_classifier_answers_its_labels_and_the_probabilities_of_all_classes() -> None:
    content = answered(parse(good()), values=["no", "yes"], probabilities=[[0.9, 0.1], [0.2, 0.8]])
    assert (content["model_name"], content["model_version"], content["id"]) == ("d", "3", "r1")
    assert content["outputs"] == [
        {"name": "predict", "datatype": "BYTES", "shape": [2], "data": ["no", "yes"]},
        {"name": "predict_proba", "datatype": "FP64", "shape": [2, 2], "data": [0.9, 0.1, 0.2, 0.8]},
    ]


def test_only_the_wanted_outputs_are_sent_and_ignored_columns_are_named() -> None:
    sent = {**good(extra=tensor("extra", "FP64", [1, 2])), "outputs": [{"name": "predict"}]}
    content = answered(parse(sent), values=["no", "yes"], probabilities=[[0.9, 0.1], [0.2, 0.8]])
    assert [output["name"] for output in content["outputs"]] == ["predict"]
    assert content["parameters"] == {"ignored_columns": "extra", "ignored_count": 1}


@pytest.mark.parametrize(
    ("classes", "datatype"),
    [(None, "FP64"), ((0, 1), "INT64"), ((False, True), "BOOL"), (("a", "b"), "BYTES")],
)
def test_the_datatype_of_the_answer_follows_the_classes(classes: Any, datatype: str) -> None:
    signature = Signature(NUMERIC.features, "y", classes)
    assert protocol.target_datatype(signature) == datatype
    assert protocol.metadata("d", 1, "skops", signature)["outputs"][0]["datatype"] == datatype
