"""MLflow's scoring protocol: its four forms of JSON and CSV come in, `{"predictions": [...]}` goes out."""

from __future__ import annotations

import csv
import io
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from quarterdeck.registry.signature import FeatureType, Signature
from quarterdeck.registry.values import shown
from quarterdeck.serving.columns import BadInput, Column
from quarterdeck.serving.inputs import Inputs
from quarterdeck.serving.protocol import Content, ParsedRequest, decode, encode, new_id

CSV = "text/csv"


class Split(msgspec.Struct):
    """`dataframe_split`: the names, and the rows' values in that order."""

    columns: list[str]
    data: list[list[Any]]
    index: list[Any] | None = None


class Parameters(msgspec.Struct):
    """What may be said of a request beside its rows."""

    event_time: str | list[str | None] | None = None
    """When it happened, ISO 8601: one for all rows, or one for each."""


class InvocationsRequest(msgspec.Struct):
    """The body of a request: exactly one of the first four."""

    dataframe_split: Split | None = None
    dataframe_records: list[dict[str, Any]] | None = None
    instances: list[Any] | None = None
    inputs: dict[str, Any] | list[Any] | None = None
    params: Parameters | None = None


class InvocationsResponse(msgspec.Struct, omit_defaults=True):
    """The body of a response: a label or a number for each row, and what there is to say of the request."""

    predictions: list[Any]
    parameters: dict[str, Any] | None = None


Table = Mapping[str, list[Any]]
_FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs")
_decoder = msgspec.json.Decoder(InvocationsRequest)


def parse(body: bytes, inputs: Inputs, now: datetime, content_type: str = "") -> ParsedRequest:
    """The body of a request, which arrived `now`, as columns: CSV where its type says so, else JSON.

    Raises:
        BadInput: it is neither, has none of the forms, or its columns do not fit `inputs`; the message names the
            column and what was expected.
    """
    if content_type.partition(";")[0].strip().lower() == CSV:
        table, event_time = _from_csv(body, inputs), None
    else:
        request = _decoded(body)
        table = _table(request, inputs)
        event_time = None if request.params is None else request.params.event_time
    rows = max(map(len, table.values()), default=0)
    if not rows:
        raise BadInput("There are no rows: send at least one.")
    taken = inputs.take(lambda column: table.get(column.name), rows, table)
    signature = inputs.signature
    times = None if signature.time is None else table.get(signature.time)
    return ParsedRequest(
        id=new_id(),
        columns=taken.columns,
        rows=rows,
        keys=inputs.keys(None if signature.key is None else table.get(signature.key), rows),
        event_times=inputs.event_times(event_time, times, rows, now),
        extra_columns=tuple(name for name in table if name not in inputs.known),
        imputed=taken.imputed,
        fallback=taken.fallback,
        hint=taken.hint,
    )


def answer(
    request: ParsedRequest,
    *,
    deployment: str,
    version: int | None,
    signature: Signature,
    values: Sequence[Any],
    probabilities: Sequence[Sequence[float]] | None,
) -> Content:
    """The response to `request`: the predicted values alone, as `mlflow models serve` answers."""
    return Content(encode(InvocationsResponse(list(values), request.remarks)))


def _decoded(body: bytes) -> InvocationsRequest:
    if b"NaN" in body:
        # No JSON, but what Python's json writes for a missing value, and so what MLflow's own client sends.
        body = _without_nan(body)
    request: InvocationsRequest = decode(_decoder, body)
    return request


def _without_nan(body: bytes) -> bytes:
    try:
        return json.dumps(json.loads(body, parse_constant={"NaN": None}.__getitem__)).encode()
    except KeyError as error:
        raise BadInput(
            f"The body has {error.args[0]}: send finite numbers, and null or NaN for missing ones."
        ) from None
    except (ValueError, RecursionError) as error:
        raise BadInput(f"The body is not JSON: {error}.") from None


def _table(request: InvocationsRequest, inputs: Inputs) -> Table:
    given = [name for name in _FORMS if getattr(request, name) is not None]
    if len(given) != 1:
        raise BadInput(f"Send exactly one of {', '.join(_FORMS)}; the request has {', '.join(given) or 'none'}.")
    if request.dataframe_split is not None:
        return _from_split(request.dataframe_split)
    if request.dataframe_records is not None:
        return _from_records(request.dataframe_records)
    if isinstance(request.inputs, dict):
        return _from_columns(request.inputs)
    return _from_list(request.instances if request.instances is not None else request.inputs or [], inputs, given[0])


def _from_split(split: Split) -> Table:
    _refuse_twice(split.columns)
    for row, values in enumerate(split.data):
        if len(values) != len(split.columns):
            raise BadInput(f"Row {row} of dataframe_split has {len(values)} values for {len(split.columns)} columns.")
    return {name: [values[place] for values in split.data] for place, name in enumerate(split.columns)}


def _from_records(records: Sequence[dict[str, Any]]) -> Table:
    # As in a frame made of them: a column that some records lack is missing there.
    names = dict.fromkeys(name for record in records for name in record)
    return {name: [record.get(name) for record in records] for name in names}


def _from_columns(columns: dict[str, Any]) -> Table:
    if columns and not any(type(values) is list for values in columns.values()):
        return {name: [value] for name, value in columns.items()}
    lengths = set()
    for name, values in columns.items():
        if type(values) is not list:
            raise BadInput(f"Column '{name}' of inputs is no list, while others are: send a list for each column.")
        columns[name] = [value[0] if type(value) is list and len(value) == 1 else value for value in values]
        lengths.add(len(values))
    if len(lengths) > 1:
        raise BadInput("The columns of inputs have unequal numbers of rows: send as many for each.")
    return columns


def _from_list(rows: list[Any], inputs: Inputs, form: str) -> Table:
    """Rows as records, or as their values in the signature's order."""
    if all(type(row) is dict for row in rows):
        return _from_records(rows)
    names = inputs.names
    if len(names) == 1:
        rows = [row if type(row) is list else [row] for row in rows]
    for number, row in enumerate(rows):
        if type(row) is not list or len(row) != len(names):
            raise BadInput(
                f"Row {number} of {form} is {shown(row)}: send an object, or a list of {len(names)} values for "
                f"{', '.join(names)}."
            )
    return {name: [row[place] for row in rows] for place, name in enumerate(names)}


def _from_csv(body: bytes, inputs: Inputs) -> Table:
    try:
        text = body.decode("utf-8-sig")
        lines = [line for line in csv.reader(io.StringIO(text, newline=""), strict=True) if line]
    except UnicodeDecodeError as error:
        raise BadInput(f"The body is not text in UTF-8 (byte {error.start}).") from None
    except csv.Error as error:
        raise BadInput(f"The body is not CSV: {error}.") from None
    names = lines[0] if lines else []
    _refuse_twice(names)
    for number, line in enumerate(lines[1:], start=1):
        if len(line) != len(names):
            raise BadInput(f"Row {number} of the CSV has {len(line)} fields, and the header {len(names)}.")
    texts = {name: [line[place] for line in lines[1:]] for place, name in enumerate(names)}
    types = {column.name: column for column in inputs.columns}
    return {name: [_typed(text, types.get(name)) for text in column] for name, column in texts.items()}


def _typed(text: str, column: Column | None) -> Any:
    """A field of CSV, which has no types, as the column's; left as it is where it cannot be, to be refused."""
    if not text:
        return None
    if column is None or column.type == "text":
        return text
    return _READ[column.type](text)


def _number(text: str) -> Any:
    try:
        value = float(text)
    except ValueError:
        return text
    if "_" in text:  # Python's own way to write a number
        return text
    if math.isnan(value):
        return None
    return value if math.isfinite(value) else text


def _integer(text: str) -> Any:
    # By way of float only where it must be, since that rounds beyond 2 ** 53.
    return int(text) if text.strip().lstrip("+-").isdecimal() and len(text) < 24 else _number(text)


def _boolean(text: str) -> Any:
    return {"true": True, "false": False}.get(text.strip().lower(), text)


_READ: dict[FeatureType, Any] = {"number": _number, "integer": _integer, "boolean": _boolean}


def _refuse_twice(names: Sequence[str]) -> None:
    if len(set(names)) < len(names):
        twice, _ = Counter(names).most_common(1)[0]
        raise BadInput(f"Column '{twice}' is there twice.")
