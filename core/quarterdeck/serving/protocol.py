"""The Open Inference Protocol V2 in JSON: what comes in, checked against the signature, and what goes out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from typing import Any
from uuid import uuid4

import msgspec

from quarterdeck.registry.signature import FeatureType, Signature
from quarterdeck.serving.columns import BadInput, event_time, row_key
from quarterdeck.serving.tensors import Tensor, by_name, count_rows, feature_columns, flat, matrix_columns

PREDICT = "predict"
PREDICT_PROBA = "predict_proba"
OUTPUTS = (PREDICT, PREDICT_PROBA)
LONGEST_ID = 200
_DATATYPE: dict[FeatureType, str] = {"number": "FP64", "integer": "INT64", "text": "BYTES", "boolean": "BOOL"}


class RequestedOutput(msgspec.Struct):
    """The name of an output that the client wants."""

    name: str


class InferRequest(msgspec.Struct):
    """The body of an inference request."""

    inputs: list[Tensor]
    id: str | None = None
    parameters: dict[str, Any] | None = None
    outputs: list[RequestedOutput] | None = None


class OutputTensor(msgspec.Struct):
    """One named tensor of a response."""

    name: str
    datatype: str
    shape: list[int]
    data: list[Any]


class InferResponse(msgspec.Struct, omit_defaults=True):
    """The body of a response."""

    model_name: str
    model_version: str
    id: str
    outputs: list[OutputTensor]
    parameters: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class ParsedRequest:
    """A request whose columns fit the signature."""

    id: str
    columns: dict[str, list[Any]]
    """The features in the signature's order, one value for each row; None is a missing value."""
    rows: int
    keys: list[str | None]
    event_times: list[datetime | None]
    extra_columns: tuple[str, ...] = ()
    """Columns that the model does not take: ignored, and said so in the response."""
    outputs: tuple[str, ...] = OUTPUTS
    """The outputs that the client wants."""

    @property
    def ids(self) -> list[str]:
        """The id of each row: the request's own, with `:row` added when there are several."""
        return [self.id] if self.rows == 1 else [f"{self.id}:{row}" for row in range(self.rows)]


_decoder = msgspec.json.Decoder(InferRequest)
_encoder = msgspec.json.Encoder()


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


def parse(body: bytes, signature: Signature, now: datetime) -> ParsedRequest:
    """The body of an inference request, which arrived `now`, as columns.

    Raises:
        BadInput: it is not JSON, not of the protocol's form, or its columns do not fit `signature`; the message names
            the column and what was expected.
    """
    request: InferRequest = decode(_decoder, body)
    tensors = by_name(request.inputs)
    extra: tuple[str, ...] = ()
    if len(tensors) == 1 and len(request.inputs[0].shape) == 2 and request.inputs[0].shape[1] != 1:
        columns = matrix_columns(request.inputs[0], signature)
        rows = request.inputs[0].shape[0]
    else:
        rows = count_rows(request.inputs)
        columns = feature_columns(tensors, rows, signature)
        known = {*signature.names, signature.time, signature.key}
        extra = tuple(name for name in tensors if name not in known)
    parameters = request.parameters or {}
    return ParsedRequest(
        id=_request_id(request.id),
        columns=columns,
        rows=rows,
        keys=_keys(tensors, rows, signature),
        event_times=_event_times(tensors, rows, signature, parameters, now),
        extra_columns=extra,
        outputs=_wanted(request.outputs),
    )


def new_id() -> str:
    """An id for a request that came without one."""
    return uuid4().hex


def _request_id(given: str | None) -> str:
    if not given:
        return new_id()
    if len(given) > LONGEST_ID:
        raise BadInput(f"'id' has {len(given)} characters: send at most {LONGEST_ID}.")
    return given


def _keys(tensors: dict[str, Tensor], rows: int, signature: Signature) -> list[str | None]:
    if signature.key is None or signature.key not in tensors:
        return [None] * rows
    place = f"Column '{signature.key}'"
    return [row_key(value, place) for value in flat(tensors[signature.key], rows, 1)]


def _event_times(
    tensors: dict[str, Tensor], rows: int, signature: Signature, parameters: dict[str, Any], now: datetime
) -> list[datetime | None]:
    """From `parameters.event_time` (one for all rows, or a list), else from the signature's time column."""
    given = parameters.get("event_time")
    if given is not None:
        place = "The parameter 'event_time'"
        if type(given) is not list:
            return [event_time(given, place, now)] * rows
        if len(given) != rows:
            raise BadInput(f"{place} has {len(given)} values for {rows} rows.")
        return [event_time(value, place, now) for value in given]
    if signature.time is None or signature.time not in tensors:
        return [None] * rows
    place = f"Column '{signature.time}'"
    return [event_time(value, place, now) for value in flat(tensors[signature.time], rows, 1)]


def _wanted(outputs: list[RequestedOutput] | None) -> tuple[str, ...]:
    if not outputs:
        return OUTPUTS
    for output in outputs:
        if output.name not in OUTPUTS:
            raise BadInput(f"There is no output '{output.name}'. Known: {', '.join(OUTPUTS)}.")
    return tuple(output.name for output in outputs)


def answer(
    request: ParsedRequest,
    *,
    deployment: str,
    version: int,
    signature: Signature,
    values: Sequence[Any],
    probabilities: Sequence[Sequence[float]] | None,
) -> bytes:
    """The body of the response to `request`: the predicted values and, for classifiers, the probabilities."""
    outputs = []
    if PREDICT in request.outputs:
        outputs.append(OutputTensor(PREDICT, target_datatype(signature), [request.rows], list(values)))
    if PREDICT_PROBA in request.outputs and probabilities is not None:
        shares = list(chain.from_iterable(probabilities))
        outputs.append(OutputTensor(PREDICT_PROBA, "FP64", [request.rows, len(shares) // request.rows], shares))
    parameters = {"ignored_columns": ",".join(request.extra_columns)} if request.extra_columns else None
    return _encoder.encode(InferResponse(deployment, str(version), request.id, outputs, parameters))


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
