"""Tensors as bytes: whatever is sent comes back the same, and what does not add up is a BadInput that says why."""

from __future__ import annotations

import json
import math
import struct
from datetime import UTC, datetime
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.registry.signature import Feature, Signature
from quarterdeck.serving import binary, protocol
from quarterdeck.serving.columns import DATATYPES, FLOATS, BadInput
from quarterdeck.serving.inputs import Inputs

NOW = datetime(2026, 1, 6, tzinfo=UTC)
SIGNATURE = Signature(
    (
        Feature("amount", "number", nullable=True),
        Feature("channel", "text", nullable=True),
        Feature("known", "boolean", nullable=True),
    ),
    target="fraud",
    classes=("no", "yes"),
)
INPUTS = Inputs.of(SIGNATURE)
WIDTHS: dict[str, Literal[16, 32, 64]] = {"FP16": 16, "FP32": 32, "FP64": 64}


def elements(datatype: str) -> st.SearchStrategy[Any]:
    """Values of a datatype, as they are after a way through it."""
    if datatype == "BYTES":
        return st.text(max_size=20)
    if datatype == "BOOL":
        return st.booleans()
    if datatype == "BF16":
        upper = st.integers(0, 2**16 - 1).map(lambda bits: struct.unpack("<f", struct.pack("<I", bits << 16))[0])
        return upper.filter(math.isfinite)
    if datatype in FLOATS:
        floats: st.SearchStrategy[Any] = st.floats(width=WIDTHS[datatype], allow_nan=False, allow_infinity=False)
        return floats
    signed, bits = not datatype.startswith("U"), int(datatype.lstrip("UINT"))
    return st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else st.integers(0, 2**bits - 1)


@given(st.data())
def test_values_of_every_datatype_come_back_as_they_were(data: st.DataObject) -> None:
    datatype = data.draw(st.sampled_from(sorted(DATATYPES)))
    values = data.draw(st.lists(elements(datatype), max_size=20))
    sent = binary.encode(datatype, values)
    assert binary.decode("x", datatype, memoryview(sent)) == values


@pytest.mark.parametrize(
    ("datatype", "layout", "value"),
    [
        ("BOOL", "<?", True),
        ("UINT8", "<B", 200),
        ("UINT16", "<H", 0x0102),
        ("UINT32", "<I", 0x01020304),
        ("UINT64", "<Q", 2**64 - 2),
        ("INT8", "<b", -3),
        ("INT16", "<h", -300),
        ("INT32", "<i", -70_000),
        ("INT64", "<q", -(2**40)),
        ("FP16", "<e", 1.5),
        ("FP32", "<f", 0.15625),
        ("FP64", "<d", 0.1),
    ],
)
def test_values_lie_little_endian_in_the_native_size_of_their_datatype(
    datatype: str, layout: str, value: float
) -> None:
    assert binary.encode(datatype, [value, value]) == struct.pack(layout, value) * 2
    assert binary.decode("x", datatype, memoryview(struct.pack(layout, value))) == [value]


def test_bf16_is_the_upper_half_of_an_fp32() -> None:
    assert binary.decode("x", "BF16", memoryview(struct.pack("<f", -2.5)[2:])) == [-2.5]


@given(st.sampled_from(sorted(DATATYPES)), st.binary(max_size=64))
def test_whatever_bytes_arrive_they_are_values_or_bad_input(datatype: str, content: bytes) -> None:
    try:
        values = binary.decode("x", datatype, memoryview(content))
    except BadInput:
        return
    if datatype not in FLOATS:
        assert binary.encode(datatype, values) == content


@pytest.mark.parametrize(("datatype", "dtype"), [("FP16", "<f2"), ("FP32", "<f4"), ("FP64", "<f8")])
def test_nan_is_a_missing_value(datatype: str, dtype: str) -> None:
    content = np.array([1.5, math.nan, -2.0], dtype).tobytes()
    assert binary.decode("x", datatype, memoryview(content)) == [1.5, None, -2.0]


@pytest.mark.parametrize(
    ("datatype", "content", "expected"),
    [
        ("FP64", b"\0" * 9, "has 9 bytes, and a value of FP64 has 8"),
        ("INT32", b"\0" * 3, "a value of INT32 has 4"),
        ("BOOL", b"\x01\x02", "neither 0 nor 1"),
        ("FP32", struct.pack("<2f", 1.0, math.inf), "has inf at 1: send finite numbers"),
        ("FP32", struct.pack("<2f", math.nan, -math.inf), "has -inf at 1"),
        ("BYTES", b"\x01\0\0", "ends within the length of its text 0"),
        ("BYTES", b"\x05\0\0\0ab", "its text 0 has 5 bytes, and 2 are left"),
        ("BYTES", b"\xff\xff\xff\xffab", "its text 0 has 4294967295 bytes"),
        ("BYTES", b"\x01\0\0\0a\x02\0\0\0\xff\xfe", "its text 1 is not UTF-8"),
    ],
)
def test_bytes_that_are_no_values_of_the_datatype_are_bad_input(datatype: str, content: bytes, expected: str) -> None:
    with pytest.raises(BadInput, match=expected):
        binary.decode("x", datatype, memoryview(content))


def tensor(name: str, datatype: str, rows: int, size: object) -> dict[str, Any]:
    return {"name": name, "shape": [rows], "datatype": datatype, "parameters": {"binary_data_size": size}}


AMOUNT = struct.pack("<2d", 1.5, math.nan)
CHANNEL = b"\x03\0\0\0app\0\0\0\0"
KNOWN = b"\x01\0"


def body(*sizes: object, tail: bytes = AMOUNT + CHANNEL + KNOWN) -> tuple[bytes, str]:
    """A request of two rows whose tensors are all bytes, and the length of its JSON; `sizes` are what it says."""
    said = [len(AMOUNT), len(CHANNEL), len(KNOWN)] if not sizes else list(sizes)
    shapes = [("amount", "FP64"), ("channel", "BYTES"), ("known", "BOOL")]
    inputs = [tensor(name, datatype, 2, size) for (name, datatype), size in zip(shapes, said, strict=True)]
    head = json.dumps({"inputs": inputs}).encode()
    return head + tail, str(len(head))


def test_tensors_are_taken_from_the_tail_in_the_order_of_the_json() -> None:
    parsed = protocol.parse(*(content := body())[:1], INPUTS, NOW, content[1])
    assert parsed.columns == {"amount": [1.5, None], "channel": ["app", ""], "known": [True, False]}


def test_json_and_bytes_may_be_mixed() -> None:
    inputs = [
        {"name": "amount", "shape": [1], "datatype": "FP64", "data": [None], "parameters": {"note": "x"}},
        tensor("channel", "BYTES", 1, 7),
        {"name": "known", "shape": [1], "datatype": "BOOL", "data": [True]},
    ]
    head = json.dumps({"inputs": inputs}).encode()
    parsed = protocol.parse(head + b"\x03\0\0\0web", INPUTS, NOW, str(len(head)))
    assert parsed.columns == {"amount": [None], "channel": ["web"], "known": [True]}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (body(-1, 11, 2), "has the binary_data_size -1: send the number of its bytes"),
        (body("16", 11, 2), "has the binary_data_size '16'"),
        (body(True, 11, 2), "has the binary_data_size True"),
        (body(None, 11, 2), "has the binary_data_size None"),
        (body(2**70, 11, 2), "and 29 bytes are left"),
        (body(16, 11, 3), "Tensor 'known' has the binary_data_size 3, and 2 bytes are left"),
        (body(16, 11, 1), "1 bytes follow the JSON that are no tensor's"),
        (body(8, 19, 2), "Tensor 'channel' says that its text 1"),
        (body(16, 11, 2, tail=AMOUNT + CHANNEL), "Tensor 'known' has the binary_data_size 2, and 0 bytes are left"),
        (body(0, 0, 0, tail=b""), r"shape \[2\] and 0 values"),
    ],
)
def test_sizes_that_do_not_add_up_are_bad_input(content: tuple[bytes, str], expected: str) -> None:
    with pytest.raises(BadInput, match=expected):
        protocol.parse(content[0], INPUTS, NOW, content[1])


@pytest.mark.parametrize(
    ("length", "expected"),
    [
        ("", "send the number of bytes"),
        ("-1", "send the number of bytes"),
        ("1e2", "send the number of bytes"),
        ("\u0663", "send the number of bytes"),
        ("9" * 5000, "send the number of bytes"),
        ("999999", "says 999999 bytes of JSON, and the body has"),
        ("0", "The body is not JSON"),
        ("10", "The body is not JSON"),
        (None, "The body is not JSON"),
    ],
)
def test_a_length_of_the_json_that_cannot_be_is_bad_input(length: str | None, expected: str) -> None:
    with pytest.raises(BadInput, match=expected):
        protocol.parse(body()[0], INPUTS, NOW, length)


def test_a_tensor_without_data_is_told_what_is_missing_and_one_with_both_is_refused() -> None:
    content, length = body(16, 11, 2, tail=b"")
    with pytest.raises(BadInput, match="header inference-header-content-length says"):
        protocol.parse(content, INPUTS, NOW)
    with pytest.raises(BadInput, match="'amount' has no 'data'"):
        protocol.parse(b'{"inputs": [{"name": "amount", "shape": [1], "datatype": "FP64"}]}', INPUTS, NOW)
    both = {**tensor("amount", "FP64", 1, 8), "data": [1.0]}
    head = json.dumps({"inputs": [both]}).encode()
    with pytest.raises(BadInput, match="both 'data' and the parameter binary_data_size"):
        protocol.parse(head + b"\0" * 8, INPUTS, NOW, str(len(head)))
    assert length


@given(st.binary(max_size=200), st.text(max_size=6) | st.integers(0, 300).map(str))
def test_whatever_body_and_length_arrive_they_are_bad_input(content: bytes, length: str) -> None:
    with pytest.raises(BadInput):
        protocol.parse(content, INPUTS, NOW, length)


def request(**more: Any) -> protocol.ParsedRequest:
    columns: dict[str, list[Any]] = {"amount": [1.0, 2.0], "channel": ["app", "web"], "known": [True, False]}
    return protocol.ParsedRequest("r1", columns, 2, [None] * 2, [None] * 2, **more)


def answered(wanted: protocol.ParsedRequest) -> protocol.Content:
    shares = [[0.9, 0.1], [0.2, 0.8]]
    return protocol.answer(
        wanted, deployment="d", version=3, signature=SIGNATURE, values=["no", "yes"], probabilities=shares
    )


def test_outputs_that_are_wanted_as_bytes_follow_the_json_in_its_order() -> None:
    content = answered(request(binary=("predict", "predict_proba")))
    assert content.json_length is not None
    head, tail = json.loads(content.body[: content.json_length]), content.body[content.json_length :]
    labels, shares = head["outputs"]
    assert labels["parameters"] == {"binary_data_size": 13}
    assert "data" not in labels
    assert (shares["shape"], shares["parameters"]) == ([2, 2], {"binary_data_size": 32})
    assert binary.decode("predict", "BYTES", memoryview(tail)[:13]) == ["no", "yes"]
    assert np.frombuffer(tail[13:], "<f8").tolist() == [0.9, 0.1, 0.2, 0.8]


def test_one_output_may_be_bytes_and_the_other_json() -> None:
    content = answered(request(binary=("predict_proba",)))
    labels, shares = json.loads(content.body[: content.json_length])["outputs"]
    assert labels["data"] == ["no", "yes"]
    assert "data" not in shares


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, ()),
        ({"parameters": {"binary_data_output": True}}, ("predict", "predict_proba")),
        ({"outputs": [{"name": "predict", "parameters": {"binary_data": True}}]}, ("predict",)),
        (
            {
                "parameters": {"binary_data_output": True},
                "outputs": [{"name": "predict", "parameters": {"binary_data": False}}, {"name": "predict_proba"}],
            },
            ("predict_proba",),
        ),
    ],
)
def test_an_output_s_own_parameter_goes_over_the_request_s(more: dict[str, Any], expected: tuple[str, ...]) -> None:
    content, length = body()
    head = json.dumps({**json.loads(content[: int(length)]), **more}).encode()
    parsed = protocol.parse(head + content[int(length) :], INPUTS, NOW, str(len(head)))
    assert parsed.binary == expected


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"parameters": {"binary_data_output": "yes"}}, "'binary_data_output' takes true or false, not 'yes'"),
        ({"outputs": [{"name": "predict", "parameters": {"binary_data": 1}}]}, "'binary_data' of output 'predict'"),
        ({"outputs": [{"name": "predict", "parameters": {"classification": 2}}]}, "'classification', which"),
    ],
)
def test_parameters_that_cannot_be_honoured_are_bad_input(more: dict[str, Any], expected: str) -> None:
    content, length = body()
    head = json.dumps({**json.loads(content[: int(length)]), **more}).encode()
    with pytest.raises(BadInput, match=expected):
        protocol.parse(head + content[int(length) :], INPUTS, NOW, str(len(head)))
