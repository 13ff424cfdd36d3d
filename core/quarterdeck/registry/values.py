"""One value of a feature, held to the feature's type."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from quarterdeck.registry.signature import FeatureType

LARGEST_INTEGER = 2**63 - 1


def _number(value: Any) -> float | int:
    if type(value) is float:
        return value
    if type(value) is int:
        # JSON has integers of any length; a model's column is 64 bits wide.
        return value if -LARGEST_INTEGER <= value <= LARGEST_INTEGER else _as_float(value)
    raise ValueError


def _as_float(value: int) -> float:
    try:
        return float(value)
    except OverflowError:
        raise ValueError from None


def _integer(value: Any) -> int:
    if type(value) is int and -LARGEST_INTEGER <= value <= LARGEST_INTEGER:
        return value
    if type(value) is float and value.is_integer() and abs(value) <= LARGEST_INTEGER:
        return int(value)
    raise ValueError


def _text(value: Any) -> str:
    if type(value) is str:
        return value
    raise ValueError


def _boolean(value: Any) -> bool:
    if type(value) is bool:
        return value
    raise ValueError


OF_TYPE: dict[FeatureType, Callable[[Any], Any]] = {
    "number": _number,
    "integer": _integer,
    "text": _text,
    "boolean": _boolean,
}
"""For each type what makes a value that is not missing one of it, or raises ValueError."""

AS_THEY_ARE: dict[FeatureType, frozenset[type]] = {
    "number": frozenset({float, type(None)}),
    "integer": frozenset({type(None)}),
    "text": frozenset({str, type(None)}),
    "boolean": frozenset({bool, type(None)}),
}
"""For each type those of Python whose values are of it in any case, or missing."""


def shown(value: Any) -> str:
    """`value` for a message, cut short."""
    if type(value) is int and abs(value) > LARGEST_INTEGER:
        return "a number of more than 64 bits"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
