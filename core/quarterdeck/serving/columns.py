"""One column of a request: its values, held to what the signature says of them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from quarterdeck.errors import UsageError
from quarterdeck.registry.signature import Feature
from quarterdeck.registry.values import LARGEST_INTEGER, OF_TYPE, shown
from quarterdeck.traffic.moments import moment

INTEGERS = frozenset({"INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64"})
FLOATS = frozenset({"FP16", "FP32", "FP64"})
DATATYPES = INTEGERS | FLOATS | {"BOOL", "BYTES"}
ACCEPTED = {"number": INTEGERS | FLOATS, "integer": INTEGERS | FLOATS, "text": {"BYTES"}, "boolean": {"BOOL"}}
EXPECTED = {
    "number": "numbers (FP64, FP32, INT64, ...)",
    "integer": "whole numbers (INT64, INT32, ...)",
    "text": "text (BYTES)",
    "boolean": "true or false (BOOL)",
}


class BadInput(UsageError):
    """The request does not fit what the model takes."""


def column_values(feature: Feature, datatype: str, values: list[Any]) -> list[Any]:
    """`values` of a tensor as the values of `feature`; None is a missing value.

    Raises:
        BadInput: the datatype or one of the values is not what the feature takes.
    """
    if datatype not in ACCEPTED[feature.type]:
        raise BadInput(f"Column '{feature.name}' takes {EXPECTED[feature.type]}, not {datatype}.")
    of_type, kept = OF_TYPE[feature.type], []
    for row, value in enumerate(values):
        try:
            kept.append(None if value is None else of_type(value))
        except ValueError:
            raise BadInput(
                f"Column '{feature.name}' takes {EXPECTED[feature.type]} or null; row {row} has {shown(value)}."
            ) from None
    return kept


def event_time(value: Any, place: str, now: datetime) -> datetime | None:
    """An event time as people send it: ISO 8601 text, taken as UTC when it names no zone; None stays None.

    Raises:
        BadInput: it is something else, or too far from `now` to be one; the message names `place`.
    """
    if value is None:
        return None
    try:
        return moment(value, now)
    except ValueError as error:
        raise BadInput(f"{place} {error}.") from None


def row_key(value: Any, place: str) -> str | None:
    """The user's own key of a row, as text.

    Raises:
        BadInput: it is neither text nor a whole number; the message names `place`.
    """
    if value is None or type(value) is str:
        return value
    if type(value) is int and abs(value) <= LARGEST_INTEGER:
        return str(value)
    raise BadInput(f"{place} takes text or a whole number, not {shown(value)}.")
