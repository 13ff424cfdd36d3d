"""What a request and its response say of a prediction."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

INPUTS = ("inputs", "instances", "rows", "records", "features", "dataframe_records", "data")
ANSWERS = ("predictions", "prediction", "outputs", "output", "results", "result", "label", "score")
VERSIONS = ("model_version", "version")
KEYS = ("key", "id")


class Request(NamedTuple):
    """What the service was asked."""

    method: str
    path: str
    headers: dict[str, str]
    """By name in lower case."""
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Response(NamedTuple):
    """What it answered."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Prediction(NamedTuple):
    """One prediction, as an extraction function finds it. What is left out is as for `Reporter.report`."""

    inputs: Any
    prediction: Any
    version: int | None = None
    key: Any = None
    probabilities: Any = None
    id: str | None = None
    event_time: str | None = None


def from_json(request: Request, response: Response) -> list[Prediction]:
    """The predictions in a JSON request and its JSON response.

    The request is an object of inputs, a list of such, or an object that holds them under a name such as `inputs`,
    `instances` or `dataframe_split`; the response an answer, a list of answers, or an object that holds them under a
    name such as `prediction`. The version is that of the header `x-model-version`, of `model_version` or `version`.

    Raises:
        ValueError: they are something else, or do not have as many rows as answers.
    """
    asked, answered = request.json(), response.json()
    rows, answers = _rows(asked), _answers(answered)
    if len(rows) != len(answers):
        raise ValueError(f"{len(rows)} rows and {len(answers)} answers: give an extraction function")
    version = response.headers.get("x-model-version") or _named(answered, VERSIONS)
    key = _named(asked, KEYS) if len(rows) == 1 else None
    return [
        Prediction(row, _answer(answer), None if version is None else int(version), _key(row, key))
        for row, answer in zip(rows, answers)
    ]


def _rows(asked: Any) -> list[Any]:
    if isinstance(asked, dict) and isinstance(asked.get("dataframe_split"), dict):
        split = asked["dataframe_split"]
        return [dict(zip(split["columns"], row)) for row in split["data"]]
    found = _named(asked, INPUTS, asked)
    return found if isinstance(found, list) and all(isinstance(row, (dict, list)) for row in found) else [found]


def _answers(answered: Any) -> list[Any]:
    found = _named(answered, ANSWERS)
    if found is None:
        if isinstance(answered, dict):
            raise ValueError(f"no answer under any of {', '.join(ANSWERS)}: give an extraction function")
        found = answered
    return found if isinstance(found, list) else [found]


def _answer(answer: Any) -> Any:
    return _named(answer, ANSWERS, answer)


def _key(row: Any, key: Any) -> Any:
    return key if key is not None else _named(row, ("key",))


def _named(document: Any, names: Iterable[str], default: Any = None) -> Any:
    if not isinstance(document, dict):
        return default
    return next((document[name] for name in names if document.get(name) is not None), default)
