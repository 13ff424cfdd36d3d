"""What another system says of its predictions and labels, held to the signature of the version that it names."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from quarterdeck.errors import DataError
from quarterdeck.registry.signature import Feature, FeatureType, Signature
from quarterdeck.registry.values import OF_TYPE, shown
from quarterdeck.registry.version import Task
from quarterdeck.traffic.moments import moment
from quarterdeck.values import plain

_TAKES: dict[FeatureType, str] = {
    "number": "a number",
    "integer": "a whole number",
    "text": "text",
    "boolean": "true or false",
}


@dataclass(frozen=True, slots=True)
class Answers:
    """What one version takes and answers."""

    signature: Signature
    task: Task


def checked_prediction(
    row: Mapping[str, Any], place: str, versions: Mapping[int, Answers], default: int | None, now: datetime
) -> dict[str, Any]:
    """A reported prediction with the fields of `traffic.prediction.Prediction`, the deployment aside.

    It holds `id`, `inputs` (by name, or in the order of the features) and `prediction`; it may hold `version` (else
    `default`), `probabilities`, `event_time` (ISO text, UTC where it names no zone), `key` and `latency_us`.

    Raises:
        DataError: it lacks something, or a value does not fit; the message names `place` and the column.
    """
    for name in ("id", "inputs", "prediction"):
        if row.get(name) is None:
            raise DataError(f"{place} has no '{name}'. Give id, inputs and prediction.")
    if row["id"] == "":
        raise DataError(f"{place} has an empty 'id'. Give one that no other prediction has.")
    version = _version(default if row.get("version") is None else row["version"], place, versions)
    answers = versions[version]
    return {
        "id": str(row["id"]),
        "key": None if row.get("key") is None else str(row["key"]),
        "received_at": now,
        "event_time": _event_time(row.get("event_time"), place, now),
        "version": version,
        "inputs": _inputs(row["inputs"], answers.signature, place),
        "prediction": _answer(row["prediction"], answers, f"{place}: 'prediction'"),
        "probabilities": _probabilities(row.get("probabilities"), answers, place),
        "latency_us": _latency(row.get("latency_us"), place),
    }


def check_label(value: Any, answers: Answers, place: str) -> None:
    """Raises DataError: `value` cannot be the truth about such an answer."""
    classes = answers.signature.classes
    _answer(value, answers, f"{place}: 'value'")
    # Of more classes one may be new. With two, a third would be counted as the negative one.
    if classes is not None and len(classes) == 2 and plain(value) not in (known := [plain(one) for one in classes]):
        raise DataError(f"{place}: 'value' takes {' or '.join(known)}, not {shown(value)}.")


def _version(given: Any, place: str, versions: Mapping[int, Answers]) -> int:
    if isinstance(given, bool) or not isinstance(given, int):
        raise DataError(f"{place}: 'version' takes a whole number, not {shown(given)}.")
    if given not in versions:
        known = ", ".join(map(str, sorted(versions))) or "none yet"
        raise DataError(f"{place}: 'version' is {shown(given)}, and there is no such version. Known: {known}.")
    return given


def _inputs(inputs: Any, signature: Signature, place: str) -> list[Any]:
    names = signature.names
    if isinstance(inputs, Mapping):
        lacking = [name for name in names if name not in inputs]
        if lacking:
            raise DataError(f"{place} lacks the input {', '.join(lacking)}. Give every input; null is a missing value.")
        inputs = [inputs[name] for name in names]
    if not isinstance(inputs, list | tuple) or len(inputs) != len(names):
        raise DataError(
            f"{place}: 'inputs' must hold {len(names)} values, by name or in this order: {', '.join(names)}."
        )
    return [_input(value, feature, place) for value, feature in zip(inputs, signature.features, strict=True)]


def _input(value: Any, feature: Feature, place: str) -> Any:
    if value is None:
        return None
    try:
        kept = OF_TYPE[feature.type](value)
        if isinstance(kept, float) and not math.isfinite(kept):
            raise ValueError
    except ValueError:
        raise DataError(
            f"{place}: the input '{feature.name}' takes {_TAKES[feature.type]} or null, not {shown(value)}."
        ) from None
    return kept


def _answer(value: Any, answers: Answers, place: str) -> Any:
    if answers.task is Task.REGRESSION:
        if not _is_number(value):
            raise DataError(f"{place} takes a number, as the model answers numbers, not {shown(value)}.")
    elif not isinstance(value, str) and not isinstance(value, bool) and not _is_number(value):
        raise DataError(f"{place} takes a class (text, a number, true or false), not {shown(value)}.")
    return value


def _probabilities(given: Any, answers: Answers, place: str) -> list[float] | None:
    if given is None:
        return None
    if answers.task is Task.REGRESSION:
        raise DataError(f"{place}: 'probabilities' must be left out, as the model answers numbers.")
    classes = answers.signature.classes
    shares = given if isinstance(given, list | tuple) else []
    if not shares or (classes is not None and len(shares) != len(classes)):
        wanted = "a list of them" if classes is None else f"{len(classes)}, for {', '.join(map(str, classes))}"
        raise DataError(f"{place}: 'probabilities' takes {wanted}, not {shown(given)}.")
    for share in shares:
        if not _is_number(share) or not 0 <= share <= 1:
            raise DataError(f"{place}: 'probabilities' takes numbers from 0 to 1, not {shown(share)}.")
    return [float(share) for share in shares]


def _event_time(value: Any, place: str, now: datetime) -> datetime:
    try:
        return now if value is None else moment(value, now)
    except ValueError as error:
        raise DataError(f"{place}: 'event_time' {error}.") from None


def _latency(value: Any, place: str) -> int:
    if value is None:
        return 0
    if not _is_number(value) or not 0 <= value < 1 << 62:
        raise DataError(f"{place}: 'latency_us' takes a number of microseconds, not {shown(value)}.")
    return int(value)


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False
