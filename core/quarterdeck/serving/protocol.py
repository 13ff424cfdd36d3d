"""The Open Inference Protocol V2: what comes in, checked against what a route takes, and what goes out."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime
from itertools import chain
from random import getrandbits
from typing import Any

import msgspec

from quarterdeck.registry.signature import FeatureType, Signature
from quarterdeck.registry.values import shown
from quarterdeck.serving import binary
from quarterdeck.serving.columns import BadInput
from quarterdeck.serving.inputs import Inputs
from quarterdeck.serving.tensors import Tensor, by_name, columns_of, columns_of_matrix, count_rows, flat, matrix
from quarterdeck.traffic.prediction import FALLBACK

PREDICT = "predict"
PREDICT_PROBA = "predict_proba"
OUTPUTS = (PREDICT, PREDICT_PROBA)
LONGEST_ID = 200
BINARY_OUTPUT = "binary_data_output"
_BINARY = "binary_data"
_UNKNOWN_PARAMETERS = ("classification", "shared_memory_region")
"""Of an output: what would change its form, and cannot be had here."""
_DATATYPE: dict[FeatureType, str] = {"number": "FP64", "integer": "INT64", "text": "BYTES", "boolean": "BOOL"}


class RequestedOutput(msgspec.Struct):
    """The name of an output that the client wants, and in which form."""

    name: str
    parameters: dict[str, Any] | None = None


class InferRequest(msgspec.Struct):
    """The body of an inference request."""

    inputs: list[Tensor]
    id: str | None = None
    parameters: dict[str, Any] | None = None
    outputs: list[RequestedOutput] | None = None


class OutputTensor(msgspec.Struct, omit_defaults=True):
    """One named tensor of a response."""

    name: str
    datatype: str
    shape: list[int]
    data: list[Any] | None = None
    """None where the data follow the JSON as bytes."""
    parameters: dict[str, Any] | None = None


class InferResponse(msgspec.Struct, omit_defaults=True):
    """The body of a response."""

    model_name: str
    id: str
    outputs: list[OutputTensor]
    model_version: str | None = None
    """None where no version answered, but the constant or the rule of the fallback."""
    parameters: dict[str, Any] | None = None


class ParsedRequest(msgspec.Struct, frozen=True):
    """A request whose columns fit the signature."""

    id: str
    columns: dict[str, list[Any]]
    """The features in the signature's order, one value for each row; None is a missing value."""
    rows: int
    keys: list[str | None]
    event_times: list[datetime | None]
    extra_columns: tuple[str, ...] = ()
    """Columns that the model does not take: ignored, and said so in the response."""
    imputed: dict[str, int] = msgspec.field(default_factory=dict)
    """How many missing values were put in, by column."""
    fallback: tuple[str, ...] = ()
    """Columns whose policy sends the request to the fallback."""
    hint: str = ""
    """Which of the extra columns looks like a renamed one."""
    outputs: tuple[str, ...] = OUTPUTS
    """The outputs that the client wants."""
    binary: tuple[str, ...] = ()
    """Those of them that it wants as bytes."""

    @property
    def ids(self) -> list[str]:
        """The id of each row: the request's own, with `:row` added when there are several."""
        return [self.id] if self.rows == 1 else [f"{self.id}:{row}" for row in range(self.rows)]

    @property
    def remarks(self) -> dict[str, Any] | None:
        """What to tell the client of its request, as parameters of the response; None where there is nothing."""
        if not (self.extra_columns or self.imputed or self.fallback):
            return None
        said: dict[str, Any] = {}
        if self.extra_columns:
            said |= {"ignored_columns": ",".join(self.extra_columns), "ignored_count": len(self.extra_columns)}
        if self.imputed:
            said |= {"imputed_columns": ",".join(self.imputed), "imputed_count": sum(self.imputed.values())}
        if self.fallback:
            said |= {"variant": FALLBACK, "fallback_columns": ",".join(self.fallback)}
        return said | ({"hint": self.hint} if self.hint else {})


class Content(msgspec.Struct, frozen=True):
    """The body of a response."""

    body: bytes
    json_length: int | None = None
    """Length of its JSON where bytes follow it."""


_decoder = msgspec.json.Decoder(InferRequest)
encode = msgspec.json.Encoder().encode


def decode(decoder: msgspec.json.Decoder[Any], body: bytes) -> Any:
    """`body` as JSON of the decoder's type.

    Raises:
        BadInput: it is not; the message says where it differs.
    """
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise BadInput(f"The body does not fit: {error}.") from None
    except (ValueError, RecursionError) as error:
        raise BadInput(f"The body is not JSON: {error}.") from None


def parse(body: bytes, inputs: Inputs, now: datetime, json_length: str | None = None) -> ParsedRequest:
    """The body of an inference request, which arrived `now`, as columns.

    `json_length` is the header that says where its JSON ends and bytes begin.

    Raises:
        BadInput: it is not JSON, not of the protocol's form, or its columns do not fit `inputs`; the message names
            the column and what was expected.
    """
    head, tail = (body, _NO_TAIL) if json_length is None else binary.split(body, json_length)
    request: InferRequest = decode(_decoder, head)
    tensors = by_name(request.inputs, tail)
    wide = matrix(request.inputs)
    if wide is None:
        rows = count_rows(request.inputs)
        find = columns_of(tensors, rows)
    else:
        find = columns_of_matrix(wide, inputs)
        rows = count_rows([tensor for tensor in request.inputs if tensor is not wide], wide.shape[0])
        del tensors[wide.name]
    taken = inputs.take(find, rows, tensors)
    parameters = request.parameters or {}
    outputs, as_bytes = _wanted(request.outputs, parameters)
    return ParsedRequest(
        id=_request_id(request.id),
        columns=taken.columns,
        rows=rows,
        keys=inputs.keys(_plain(tensors, inputs.signature.key, rows), rows),
        event_times=inputs.event_times(
            parameters.get("event_time"), _plain(tensors, inputs.signature.time, rows), rows, now
        ),
        extra_columns=tuple([name for name in tensors if name not in inputs.known]),
        imputed=taken.imputed,
        fallback=taken.fallback,
        hint=taken.hint,
        outputs=outputs,
        binary=as_bytes,
    )


_NO_TAIL = memoryview(b"")
_LAST_62_BITS = (1 << 62) - 1


def new_id() -> str:
    """An id for a request that came without one: a UUID of version 7 (RFC 9562, 5.7) in hexadecimal digits.

    It begins with the time, so that the database puts new predictions beside one another.
    """
    moment, chance = time.time_ns() // 1_000_000, getrandbits(74)
    return f"{moment << 80 | 0x7 << 76 | (chance >> 62) << 64 | 0b10 << 62 | chance & _LAST_62_BITS:032x}"


def _request_id(given: str | None) -> str:
    if not given:
        return new_id()
    if len(given) > LONGEST_ID:
        raise BadInput(f"'id' has {len(given)} characters: send at most {LONGEST_ID}.")
    return given


def _plain(tensors: dict[str, Tensor], name: str | None, rows: int) -> list[Any] | None:
    """The data of a column that is no feature; None where it was not sent."""
    tensor = None if name is None else tensors.get(name)
    return None if tensor is None else flat(tensor, rows, 1)


def _wanted(
    outputs: list[RequestedOutput] | None, parameters: dict[str, Any]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The outputs that are wanted, and those of them that are wanted as bytes."""
    every = parameters.get(BINARY_OUTPUT, False)
    if type(every) is not bool:
        raise BadInput(f"The parameter '{BINARY_OUTPUT}' takes true or false, not {shown(every)}.")
    if not outputs:
        return OUTPUTS, OUTPUTS if every else ()
    as_bytes = []
    for output in outputs:
        if output.name not in OUTPUTS:
            raise BadInput(f"There is no output '{output.name}'. Known: {', '.join(OUTPUTS)}.")
        if _as_bytes(output, every):
            as_bytes.append(output.name)
    return tuple([output.name for output in outputs]), tuple(as_bytes)


def _as_bytes(output: RequestedOutput, every: bool) -> bool:
    parameters = output.parameters or {}
    unknown = [name for name in _UNKNOWN_PARAMETERS if parameters.get(name)]
    if unknown:
        raise BadInput(f"Output '{output.name}' is asked for with '{unknown[0]}', which this gateway does not have.")
    wanted = parameters.get(_BINARY, every)
    if type(wanted) is not bool:
        raise BadInput(f"The parameter '{_BINARY}' of output '{output.name}' takes true or false, not {shown(wanted)}.")
    return wanted


def answer(
    request: ParsedRequest,
    *,
    deployment: str,
    version: int | None,
    signature: Signature,
    values: Sequence[Any],
    probabilities: Sequence[Sequence[float]] | None,
) -> Content:
    """The response to `request`: the predicted values and, for classifiers, the probabilities.

    `version` is None where no version answered, but the constant or the rule of the fallback.
    """
    outputs = []
    if PREDICT in request.outputs:
        outputs.append(OutputTensor(PREDICT, target_datatype(signature), [request.rows], list(values)))
    if PREDICT_PROBA in request.outputs and probabilities is not None:
        shares = list(chain.from_iterable(probabilities))
        outputs.append(OutputTensor(PREDICT_PROBA, "FP64", [request.rows, len(shares) // request.rows], shares))
    tails = [_take_out(output) for output in outputs if output.name in request.binary] if request.binary else []
    named = None if version is None else str(version)
    head = encode(InferResponse(deployment, request.id, outputs, named, request.remarks))
    return Content(b"".join((head, *tails)), len(head)) if tails else Content(head)


def _take_out(output: OutputTensor) -> bytes:
    """The data of `output` as bytes, which are to follow the JSON instead of being in it."""
    content = binary.encode(output.datatype, output.data or ())
    output.data, output.parameters = None, {binary.SIZE: len(content)}
    return content


def target_datatype(signature: Signature) -> str:
    """The datatype of `predict`."""
    if signature.classes is None:
        return "FP64"
    if all(type(value) is bool for value in signature.classes):
        return "BOOL"
    return "INT64" if all(type(value) is int for value in signature.classes) else "BYTES"


def metadata(deployment: str, version: int, platform: str, signature: Signature) -> dict[str, Any]:
    """What the protocol calls model metadata: names, datatypes and shapes of inputs and outputs."""
    outputs = [{"name": PREDICT, "datatype": target_datatype(signature), "shape": [-1]}]
    if signature.classes is not None:
        outputs.append({"name": PREDICT_PROBA, "datatype": "FP64", "shape": [-1, len(signature.classes)]})
    inputs = [
        {"name": feature.name, "datatype": _DATATYPE[feature.type], "shape": [-1]} for feature in signature.features
    ]
    return {
        "name": deployment,
        "versions": [str(version)],
        "platform": platform,
        "inputs": inputs,
        "outputs": outputs,
    }
