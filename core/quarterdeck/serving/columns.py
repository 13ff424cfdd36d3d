"""One column of a request: its values, held to what the signature says of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from quarterdeck.errors import UsageError
from quarterdeck.registry.signature import FeatureType
from quarterdeck.registry.values import AS_THEY_ARE, LARGEST_INTEGER, OF_TYPE, shown
from quarterdeck.traffic.moments import moment

INTEGERS = frozenset({"INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64"})
FLOATS = frozenset({"FP16", "FP32", "FP64", "BF16"})
NUMBERS = INTEGERS | FLOATS
DATATYPES = NUMBERS | {"BOOL", "BYTES"}
ACCEPTED: dict[FeatureType, frozenset[str]] = {
    "number": NUMBERS,
    "integer": NUMBERS,
    "text": frozenset({"BYTES"}),
    "boolean": frozenset({"BOOL"}),
}
EXPECTED: dict[FeatureType, str] = {
    "number": "numbers (FP64, FP32, INT64, ...)",
    "integer": "whole numbers (INT64, INT32, ...)",
    "text": "text (BYTES)",
    "boolean": "true or false (BOOL)",
}


class BadInput(UsageError):
    """The request does not fit what the model takes."""


@dataclass(frozen=True, slots=True)
class Column:
    """One feature as requests send it, and what is to be done where they do not."""

    name: str
    type: FeatureType
    missing: Literal["reject", "impute", "fallback"] | None = None
    """The deployment's policy; None: an absent column is refused, and null passed on unless the model refuses it."""
    value: Any = None
    """What is imputed; None where there is nothing."""
    refuses_missing: bool = False
    """The model takes no missing value here."""
    nullable: bool = True
    """A missing value gets an answer, as far as that is known before the model is asked."""
    known: frozenset[str] | None = None
    """The only values that the model takes here; None where it takes any."""

    @property
    def watched(self) -> bool:
        """A missing value does not simply pass on to the model."""
        return self.refuses_missing or self.missing is not None

    def values(self, given: Sequence[Any]) -> list[Any]:
        """What a request has for it, as values of its type; None is a missing value.

        Raises:
            BadInput: one of them is not what it takes; the message names the row.
        """
        if self.known is None and set(map(type, given)) <= AS_THEY_ARE[self.type]:
            return list(given)
        of_type, kept = OF_TYPE[self.type], []
        for row, value in enumerate(given):
            try:
                kept.append(None if value is None else of_type(value))
            except ValueError:
                raise BadInput(
                    f"Column '{self.name}' takes {EXPECTED[self.type]} or null; row {row} has {shown(value)}."
                ) from None
        if self.known is not None:
            self._refuse_unseen(self.known, kept)
        return kept

    def _refuse_unseen(self, known: frozenset[str], values: list[Any]) -> None:
        for row, value in enumerate(values):
            if value is not None and str(value) not in known:
                raise BadInput(
                    f"Column '{self.name}' has {shown(value)} in row {row}, which the model cannot take. "
                    f"Seen in training: {', '.join(sorted(known))}."
                )


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
    if type(value) is float and value.is_integer() and abs(value) <= LARGEST_INTEGER:
        return str(int(value))  # a frame's column of whole numbers with one missing has floats
    raise BadInput(f"{place} takes text or a whole number, not {shown(value)}.")
