"""The tensors of a request, as the columns that a signature names."""

from __future__ import annotations

from collections.abc import Collection
from itertools import chain
from typing import Any

import msgspec

from quarterdeck.serving.binary import LENGTH_HEADER, SIZE, Tail
from quarterdeck.serving.columns import ACCEPTED, DATATYPES, EXPECTED, NUMBERS, BadInput, Column
from quarterdeck.serving.inputs import Inputs, Source


class Tensor(msgspec.Struct):
    """One named tensor of a request."""

    name: str
    shape: list[int]
    datatype: str
    data: list[Any] | None = None
    """None where the data follow the JSON as bytes."""
    parameters: dict[str, Any] | None = None


def by_name(inputs: list[Tensor], tail: memoryview) -> dict[str, Tensor]:
    """The tensors by their names; those whose data are in the `tail` of the body have them from there.

    Raises:
        BadInput: there is none, two have one name, a datatype is unknown, or the bytes are not those of the tensors.
    """
    if not inputs:
        raise BadInput("'inputs' is empty: send one tensor for each column.")
    tensors: dict[str, Tensor] = {}
    binary = False
    for tensor in inputs:
        if tensor.name in tensors:
            raise BadInput(f"Column '{tensor.name}' is there twice.")
        if tensor.datatype not in DATATYPES:
            known = ", ".join(sorted(DATATYPES))
            raise BadInput(f"Column '{tensor.name}' has the datatype '{tensor.datatype}'. Known: {known}.")
        if tensor.parameters is not None or tensor.data is None:
            binary = True
        tensors[tensor.name] = tensor
    if binary or tail:
        _read_tail(inputs, Tail(tail))
    return tensors


def _read_tail(inputs: list[Tensor], tail: Tail) -> None:
    for tensor in inputs:
        parameters = tensor.parameters or {}
        if SIZE in parameters:
            if tensor.data is not None:
                raise BadInput(f"Tensor '{tensor.name}' has both 'data' and the parameter {SIZE}: send one of the two.")
            tensor.data = tail.take(tensor.name, tensor.datatype, parameters[SIZE])
        elif tensor.data is None:
            raise BadInput(
                f"Tensor '{tensor.name}' has no 'data'. Bytes after the JSON need the parameter {SIZE} and the header "
                f"{LENGTH_HEADER}."
            )
    tail.end()


def matrix(inputs: list[Tensor]) -> Tensor | None:
    """The tensor that holds several columns; None where each holds one."""
    wide = [tensor for tensor in inputs if len(tensor.shape) == 2 and tensor.shape[1] != 1]
    return wide[0] if len(wide) == 1 else None


def count_rows(inputs: Collection[Tensor], rows: int | None = None) -> int:
    """How many rows the columns have: each must have as many (as `rows`, where that is known), and at least one.

    Raises:
        BadInput: they do not.
    """
    first = None
    for tensor in inputs:
        shape = tensor.shape
        if not (len(shape) == 1 or (len(shape) == 2 and shape[1] == 1)):
            raise BadInput(f"Column '{tensor.name}' has the shape {shape}: send [rows] or [rows, 1].")
        if rows is None:
            first, rows = tensor, shape[0]
        elif shape[0] != rows:
            other = f"column '{first.name}'" if first is not None else "the tensor of several columns"
            raise BadInput(f"Column '{tensor.name}' has {shape[0]} rows and {other} {rows}: send as many.")
    if rows is None or rows < 1:
        name, shape = ("", []) if first is None else (first.name, first.shape)
        raise BadInput(f"Column '{name}' has the shape {shape}: send at least one row.")
    return rows


def columns_of(tensors: dict[str, Tensor], rows: int) -> Source:
    """Each column from the tensor of its name."""

    def find(column: Column) -> list[Any] | None:
        tensor = tensors.get(column.name)
        if tensor is None:
            return None
        if tensor.datatype not in ACCEPTED[column.type]:
            raise BadInput(f"Column '{column.name}' takes {EXPECTED[column.type]}, not {tensor.datatype}.")
        return flat(tensor, rows, 1)

    return find


def columns_of_matrix(tensor: Tensor, inputs: Inputs) -> Source:
    """Each column from one tensor of shape [rows, features], for models whose features are all numbers.

    Raises:
        BadInput: the shape or the datatype does not fit, or a feature is no number.
    """
    rows, width = tensor.shape
    if width != len(inputs.names) or rows < 1:
        raise BadInput(
            f"Tensor '{tensor.name}' has the shape {tensor.shape}: send [rows, {len(inputs.names)}] "
            f"with {', '.join(inputs.names)}, or one tensor for each column."
        )
    if inputs.not_numeric or tensor.datatype not in NUMBERS:
        why = (
            f"{', '.join(inputs.not_numeric)} are no numbers"
            if inputs.not_numeric
            else f"{tensor.datatype} is none of numbers"
        )
        raise BadInput(f"Tensor '{tensor.name}' cannot hold all columns ({why}): send one tensor for each column.")
    values = flat(tensor, rows, width)
    return lambda column: values[inputs.places[column.name] :: width]


def flat(tensor: Tensor, rows: int, width: int) -> list[Any]:
    """The tensor's data row by row, whether it was sent flat or nested.

    Raises:
        BadInput: the data do not fill the shape.
    """
    data = tensor.data or []
    if data and type(data[0]) is list:
        if not all(type(row) is list and len(row) == width for row in data):
            raise BadInput(
                f"Tensor '{tensor.name}' has the shape {tensor.shape}, but not every row has {width} values."
            )
        data = list(chain.from_iterable(data))
    if len(data) != rows * width:
        raise BadInput(f"Tensor '{tensor.name}' has the shape {tensor.shape} and {len(data)} values.")
    return data
