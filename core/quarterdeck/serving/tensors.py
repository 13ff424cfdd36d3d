"""The tensors of a request, as the columns that a signature names."""

from __future__ import annotations

from itertools import chain
from typing import Any

import msgspec

from quarterdeck.registry.signature import Signature
from quarterdeck.serving.columns import DATATYPES, FLOATS, BadInput, column_values


class Tensor(msgspec.Struct):
    """One named tensor of a request."""

    name: str
    shape: list[int]
    datatype: str
    data: list[Any]


def by_name(inputs: list[Tensor]) -> dict[str, Tensor]:
    """The tensors by their names.

    Raises:
        BadInput: there is none, two have one name, or a datatype is unknown.
    """
    if not inputs:
        raise BadInput("'inputs' is empty: send one tensor for each column.")
    tensors: dict[str, Tensor] = {}
    for tensor in inputs:
        if tensor.name in tensors:
            raise BadInput(f"Column '{tensor.name}' is there twice.")
        if tensor.datatype not in DATATYPES:
            known = ", ".join(sorted(DATATYPES))
            raise BadInput(f"Column '{tensor.name}' has the datatype '{tensor.datatype}'. Known: {known}.")
        tensors[tensor.name] = tensor
    return tensors


def count_rows(inputs: list[Tensor]) -> int:
    """How many rows the columns have: each must have as many, and at least one.

    Raises:
        BadInput: they do not.
    """
    first = inputs[0]
    for tensor in inputs:
        shape = tensor.shape
        if not (len(shape) == 1 or (len(shape) == 2 and shape[1] == 1)):
            raise BadInput(f"Column '{tensor.name}' has the shape {shape}: send [rows] or [rows, 1].")
        if shape[0] != first.shape[0]:
            raise BadInput(
                f"Column '{tensor.name}' has {shape[0]} rows and column '{first.name}' {first.shape[0]}: send as many."
            )
    if first.shape[0] < 1:
        raise BadInput(f"Column '{first.name}' has the shape {first.shape}: send at least one row.")
    return first.shape[0]


def feature_columns(tensors: dict[str, Tensor], rows: int, signature: Signature) -> dict[str, list[Any]]:
    """The features in the signature's order, from one tensor each.

    Raises:
        BadInput: one is missing or ill-typed.
    """
    missing = [name for name in signature.names if name not in tensors]
    if missing:
        raise BadInput(
            f"Missing columns: {', '.join(missing)}. The model takes {', '.join(signature.names)}; "
            f"the request has {', '.join(tensors)}."
        )
    return {
        feature.name: column_values(feature, tensors[feature.name].datatype, flat(tensors[feature.name], rows, 1))
        for feature in signature.features
    }


def matrix_columns(tensor: Tensor, signature: Signature) -> dict[str, list[Any]]:
    """The features from one tensor of shape [rows, features], for models whose features are all numbers.

    Raises:
        BadInput: the shape or the datatype does not fit, or a feature is no number.
    """
    rows, width = tensor.shape
    if width != len(signature.features) or rows < 1:
        raise BadInput(
            f"Tensor '{tensor.name}' has the shape {tensor.shape}: send [rows, {len(signature.features)}] "
            f"with {', '.join(signature.names)}, or one tensor for each column."
        )
    not_numeric = [feature.name for feature in signature.features if feature.kind != "numeric"]
    if not_numeric or tensor.datatype not in FLOATS:
        why = f"{', '.join(not_numeric)} are no numbers" if not_numeric else f"{tensor.datatype} is none of FP64, FP32"
        raise BadInput(f"Tensor '{tensor.name}' cannot hold all columns ({why}): send one tensor for each column.")
    values = flat(tensor, rows, width)
    return {
        feature.name: column_values(feature, tensor.datatype, values[position::width])
        for position, feature in enumerate(signature.features)
    }


def flat(tensor: Tensor, rows: int, width: int) -> list[Any]:
    """The tensor's data row by row, whether it was sent flat or nested.

    Raises:
        BadInput: the data do not fill the shape.
    """
    data = tensor.data
    if data and type(data[0]) is list:
        if not all(type(row) is list and len(row) == width for row in data):
            raise BadInput(
                f"Tensor '{tensor.name}' has the shape {tensor.shape}, but not every row has {width} values."
            )
        data = list(chain.from_iterable(data))
    if len(data) != rows * width:
        raise BadInput(f"Tensor '{tensor.name}' has the shape {tensor.shape} and {len(data)} values.")
    return data
