"""What a route takes: the signature's columns with their policies, prepared once, and requests held to them."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from difflib import get_close_matches
from itertools import chain, islice
from typing import Any, TypeGuard

import msgspec

from quarterdeck.registry.signature import Feature, FeatureType, Signature
from quarterdeck.registry.values import AS_THEY_ARE, OF_TYPE
from quarterdeck.registry.version import ModelVersion
from quarterdeck.serving.columns import BadInput, Column, event_time, row_key
from quarterdeck.settings.serving import ColumnSettings, DeploymentSettings

SIMILAR = 0.75
"""How alike two names are, from 0 to 1, when one is taken for a misspelling of the other."""
SHOWN_NAMES, LONGEST_NAME = 100, 200
"""A request may have millions of columns: no message names more of them, and no look for a likeness takes longer."""
log = logging.getLogger("quarterdeck.gateway")
Source = Callable[[Column], list[Any] | None]
"""What a request has for a column, row by row; None where it lacks it."""


class Taken(msgspec.Struct, frozen=True):
    """The features of a request, and what had to be done to have them."""

    columns: dict[str, list[Any]]
    """In the signature's order, one value for each row; None is a missing value."""
    imputed: dict[str, int]
    """How many values were put in, by column."""
    fallback: tuple[str, ...] = ()
    """Columns that send the request to the fallback, since they have missing values."""
    hint: str = ""
    """Which column looks like a renamed one."""


class Inputs:
    """The columns that a route takes."""

    def __init__(self, signature: Signature, columns: Sequence[Column]) -> None:
        self.signature = signature
        self.columns = tuple(columns)
        self.names = signature.names
        self.places = {name: place for place, name in enumerate(signature.names)}
        self.known = frozenset((*signature.names, signature.time, signature.key))
        """Names that a request may use; others are ignored."""
        self._groups = [
            ([self.places[column.name] for column in group], _passing(kind, group))
            for kind in OF_TYPE
            if (group := [column for column in self.columns if column.type == kind])
        ]
        """For each type the places of its columns, and what may be in them without a closer look."""
        self.not_numeric = [feature.name for feature in signature.features if feature.kind != "numeric"]

    @classmethod
    def of(
        cls, signature: Signature, version: ModelVersion | None = None, settings: DeploymentSettings | None = None
    ) -> Inputs:
        """What `version` takes under the `settings` of its deployment. What the settings cannot have is logged."""
        policies = {} if settings is None else settings.columns
        for name in policies:
            if name not in signature.names:
                log.warning("a policy is set for column '%s', which the model does not take: it is ignored", name)
        return cls(signature, [_column(feature, policies.get(feature.name), version) for feature in signature.features])

    def take(self, find: Source, rows: int, sent: Collection[str]) -> Taken:
        """The features of a request of `rows` rows that has the columns `sent`.

        Raises:
            BadInput: a column is missing or ill-typed; the message names it, and what was expected.
        """
        found = [find(column) for column in self.columns]
        if self._fits(found):
            return Taken(dict(zip(self.names, found, strict=True)), _NOTHING)
        columns: dict[str, list[Any]] = {}
        absent, lacking = [], []
        for column, given in zip(self.columns, found, strict=True):
            if given is None:
                absent.append(column)
                continue
            values = columns[column.name] = column.values(given)
            if None in values and column.watched:
                lacking.append(column)
        if not absent and not lacking:
            return Taken(columns, _NOTHING)
        self._refuse_absent(absent, sent)
        columns = {name: columns[name] if name in columns else [None] * rows for name in self.names}
        return self._settle(columns, [*absent, *lacking], _hint(absent, sent, self.known))

    def _fits(self, found: list[list[Any] | None]) -> TypeGuard[list[list[Any]]]:
        """Nothing is missing or to be made of another type, as in most requests: seen at once for all of a type."""
        return None not in found and all(
            set(map(type, chain.from_iterable([found[place] or () for place in places]))) <= passing
            for places, passing in self._groups
        )

    def _refuse_absent(self, absent: list[Column], sent: Collection[str]) -> None:
        # With none of its columns there is nothing to answer to, and a number of rows that nothing bears out.
        everything = len(absent) == len(self.columns)
        refused = [column for column in absent if everything or column.missing in (None, "reject")]
        if refused:
            hint = _hint(refused, sent, self.known)
            raise BadInput(
                f"Missing columns: {', '.join(column.name for column in refused)}. The model takes "
                f"{', '.join(self.names)}; the request has {_listed(sent)}.{hint and f' Hint: {hint}'}"
            )

    @staticmethod
    def _settle(columns: dict[str, list[Any]], lacking: list[Column], hint: str) -> Taken:
        """Do what the policies say of the columns that are `lacking` values."""
        imputed: dict[str, int] = {}
        fallback = []
        for column in lacking:
            values = columns[column.name]
            if column.missing == "fallback":
                fallback.append(column.name)
            elif column.missing == "impute" and column.value is not None:
                imputed[column.name] = values.count(None)
                columns[column.name] = [column.value if value is None else value for value in values]
            else:
                raise _null(column, values.index(None))
        return Taken(columns, imputed, tuple(fallback), hint)

    def keys(self, values: Sequence[Any] | None, rows: int) -> list[str | None]:
        """The rows' own keys, from the values of the signature's key column."""
        if values is None:
            return [None] * rows
        return [row_key(value, f"Column '{self.signature.key}'") for value in values]

    def event_times(
        self, parameter: Any, values: Sequence[Any] | None, rows: int, now: datetime
    ) -> list[datetime | None]:
        """From `parameter` (one for all rows, or a list), else from the values of the signature's time column."""
        if parameter is not None:
            place = "The parameter 'event_time'"
            if type(parameter) is not list:
                return [event_time(parameter, place, now)] * rows
            if len(parameter) != rows:
                raise BadInput(f"{place} has {len(parameter)} values for {rows} rows.")
            return [event_time(value, place, now) for value in parameter]
        if values is None:
            return [None] * rows
        return [event_time(value, f"Column '{self.signature.time}'", now) for value in values]


_NOTHING: dict[str, int] = {}


def _passing(kind: FeatureType, columns: list[Column]) -> frozenset[type]:
    """The types of values that all of `columns` take as they are."""
    if any(column.known is not None for column in columns):
        return frozenset()
    return AS_THEY_ARE[kind] - ({type(None)} if any(column.watched for column in columns) else set())


def _column(feature: Feature, policy: ColumnSettings | None, version: ModelVersion | None) -> Column:
    agreement = {} if version is None else version.agreement
    missing = None if policy is None else policy.missing
    value = None
    if policy is not None and missing == "impute":
        value = _usual(feature, version) if policy.value is None else _fitting(feature, policy.value)
        if value is None:
            log.error("there is nothing to impute for column '%s': give it a fitting value", feature.name)
    unseen = feature.name in agreement.get("refuses_unseen", ()) and feature.categories is not None
    refuses = feature.name in agreement.get("refuses_missing", ())
    passes = missing is None and not refuses and (feature.nullable or bool(agreement.get("probes")))
    return Column(
        feature.name,
        feature.type,
        missing,
        value,
        refuses_missing=refuses,
        nullable=passes or missing == "fallback" or value is not None,
        known=frozenset(feature.categories or ()) if unseen else None,
    )


def _usual(feature: Feature, version: ModelVersion | None) -> Any:
    """The training data's median or most frequent value; None where it is not known."""
    profiles = [] if version is None else version.profile
    profile = next((profile for profile in profiles if profile["name"] == feature.name), {})
    if feature.kind == "numeric":
        quantiles = profile.get("quantiles")
        if not quantiles:
            return None
        median = quantiles[len(quantiles) // 2]
        return round(median) if feature.type == "integer" else median
    most = next(iter(profile.get("categories") or ()), None)
    return most == "True" if most is not None and feature.type == "boolean" else most


def _fitting(feature: Feature, value: Any) -> Any:
    """`value` of the settings as one of the feature's type; None where it is none."""
    try:
        fitting = OF_TYPE[feature.type](value)
    except ValueError:
        return None
    return None if isinstance(fitting, float) and not math.isfinite(fitting) else fitting


def _listed(sent: Collection[str]) -> str:
    """The columns that were sent, as far as a message can hold them."""
    first = ", ".join(name[:LONGEST_NAME] for name in islice(sent, SHOWN_NAMES)) or "none"
    return first if len(sent) <= SHOWN_NAMES else f"{first} and {len(sent) - SHOWN_NAMES} more"


def _hint(absent: list[Column], sent: Collection[str], known: Collection[str | None]) -> str:
    """Which of the columns that nobody asked for may be the ones that are absent."""
    unknown = (name for name in sent if name not in known and len(name) <= LONGEST_NAME)
    by_lower = {name.lower(): name for name in islice(unknown, SHOWN_NAMES)}
    pairs = [(get_close_matches(column.name.lower(), by_lower, 1, SIMILAR), column.name) for column in absent]
    return " ".join(f"did '{by_lower[found[0]]}' mean '{name}'?" for found, name in pairs if found)


def _null(column: Column, row: int) -> BadInput:
    if column.missing == "impute":
        why = "nothing is known that could be put in: give its policy a fitting value in quarterdeck.toml"
    elif column.missing == "reject":
        why = "its policy in quarterdeck.toml refuses that"
    else:
        why = "the model cannot answer without it"
    return BadInput(f"Column '{column.name}' is missing in row {row}, and {why}.")
