"""A version's answers to the rows of a table, piece by piece, and their record until the table is in its place."""

from __future__ import annotations

import math
import tempfile
import time as clock
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import msgspec

from quarterdeck.datasets.pieces import booleans, numbers, read_pieces
from quarterdeck.deployments.revision import Revision
from quarterdeck.errors import DataError
from quarterdeck.registry.inputs import missing_column
from quarterdeck.registry.signature import Feature, Signature
from quarterdeck.registry.version import ModelVersion
from quarterdeck.traffic.moments import moment
from quarterdeck.traffic.recording import record
from quarterdeck.workspace import Workspace

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from quarterdeck.registry.predictor import Predictions

RECORDED_AT_ONCE = 1_000
"""Rows in one transaction of traffic.db: others wait for it."""
PREDICTION, PROBABILITY, IDENTIFIER = "prediction", "probability", "prediction_id"


@dataclass(frozen=True, slots=True)
class Answered:
    """One piece with its answers."""

    table: pa.Table
    """The columns of the input and those of the answer, as they are written."""
    predictions: list[dict[str, Any]]
    """With the fields of `traffic.prediction.Prediction`; deployment, revision and the time of arrival are lacking."""


class Scorer:
    """Answers one table by one version."""

    def __init__(
        self, workspace: Workspace, version: ModelVersion, source: Path, *, time: str | None, key: str | None
    ) -> None:
        """Loads the model.

        Raises:
            ArtifactError, RefusedError, UsageError: the model cannot be loaded.
        """
        from quarterdeck.registry.predictor import load_predictor

        self.rows = 0
        """How many were answered so far."""
        self._workspace = workspace
        self._version = version
        self._signature = Signature.from_dict(version.signature)
        self._source = source
        self._named = (time, key)
        self._now = workspace.now()
        self._predictor = load_predictor(workspace, version)

    def pieces(self, typed: bool, ids: str) -> Iterator[Answered]:
        """Every piece in order. `typed` asks for features as numbers and booleans where the input has texts.

        Raises:
            DataError: the table cannot be read, or a value does not fit; the message names column and row.
        """
        for piece in read_pieces(self._source):
            table = self._with_types(piece)
            frame = self._frame(table)
            begun = clock.perf_counter()
            answers = self._predictor.predict(frame)
            each = int((clock.perf_counter() - begun) * 1e6 / max(len(frame), 1))
            names = [f"{ids}:{self.rows + row}" for row in range(len(frame))]
            written = self._written(table if typed else piece, answers, names)
            yield Answered(written, self._recorded(table, answers, names, max(each, 1)))
            self.rows += len(frame)

    def _with_types(self, piece: pa.Table) -> pa.Table:
        """The piece with its features as the signature has them."""
        for feature in self._signature.features:
            if feature.name not in piece.column_names:
                raise missing_column(feature.name, piece.column_names)
            if feature.type == "text":
                continue
            column = piece.column(feature.name)
            found = booleans(column) if feature.type == "boolean" else numbers(column)
            if isinstance(found, int):
                raise self._unfit(feature, column[found].as_py(), found)
            piece = piece.set_column(piece.column_names.index(feature.name), feature.name, found)
        return piece

    def _unfit(self, feature: Feature, value: object, row: int) -> DataError:
        expected = "true or false" if feature.type == "boolean" else "a number"
        return DataError(
            f"{self._source}, row {self.rows + row + 1}: column '{feature.name}' takes {expected}, not {value!r}. "
            "Mend that row; nothing was written."
        )

    def _frame(self, table: pa.Table) -> pd.DataFrame:
        from quarterdeck.registry.predictor import as_inputs

        try:
            return as_inputs(table.select(list(self._signature.names)).to_pandas(), self._signature)
        except DataError as error:
            start = f" (counted from row {self.rows + 1})" if self.rows else ""
            raise DataError(f"{self._source}: {error}{start} Nothing was written.") from error

    def _written(self, table: pa.Table, answers: Predictions, ids: Sequence[str]) -> pa.Table:
        import pyarrow as pa

        columns: dict[str, Any] = {PREDICTION: pa.array(answers.values.tolist())}
        if answers.probabilities is not None:
            columns |= _probability_columns(self._signature, answers)
        columns[IDENTIFIER] = pa.array(ids)
        for name, column in columns.items():
            if name in table.column_names:
                raise DataError(
                    f"{self._source} has a column '{name}', which is what the answer is called. Rename it there."
                )
            table = table.append_column(name, column)
        return table

    def _recorded(
        self, table: pa.Table, answers: Predictions, ids: Sequence[str], latency: int
    ) -> list[dict[str, Any]]:
        inputs = [_plain(feature, table.column(feature.name).to_pylist()) for feature in self._signature.features]
        times, keys = self._column(table, 0), self._column(table, 1)
        shares = [None] * len(ids) if answers.probabilities is None else answers.probabilities.tolist()
        return [
            {
                "id": ids[row],
                "key": None if keys is None or keys[row] is None else str(keys[row]),
                "event_time": self._event_time(None if times is None else times[row], row).isoformat(),
                "version": self._version.number,
                "inputs": [values[row] for values in inputs],
                "prediction": value,
                "probabilities": shares[row],
                "latency_us": latency,
            }
            for row, value in enumerate(answers.values.tolist())
        ]

    def _column(self, table: pa.Table, position: int) -> list[Any] | None:
        """The event times (0) or the keys (1): of the column that was named, else of the signature's."""
        named, known = self._named[position], (self._signature.time, self._signature.key)[position]
        if named is not None and named not in table.column_names:
            raise missing_column(named, table.column_names)
        name = named or known
        return table.column(name).to_pylist() if name in table.column_names else None

    def _event_time(self, value: Any, row: int) -> Any:
        try:
            return self._now if value is None else moment(value, self._now)
        except ValueError as error:
            raise DataError(f"{self._source}, row {self.rows + row + 1}: the event time {error}.") from None


class Spool:
    """Predictions that wait in a nameless file until the table that they belong to is in its place."""

    def __init__(self, folder: Path) -> None:
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  closed by __exit__
        self._encode = msgspec.json.Encoder().encode

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()

    def add(self, answered: Answered) -> None:
        """Keep the predictions of a piece."""
        for start in range(0, len(answered.predictions), RECORDED_AT_ONCE):
            self._file.write(self._encode(answered.predictions[start : start + RECORDED_AT_ONCE]) + b"\n")

    def record(self, workspace: Workspace, deployment: str, revision: Revision) -> None:
        """Write all of them to traffic.db; those that are known by their ids change nothing."""
        from datetime import datetime

        self._file.seek(0)
        for line in self._file:
            rows = msgspec.json.decode(line)
            for row in rows:
                row["event_time"] = datetime.fromisoformat(row["event_time"])
                row.update(deployment=deployment, revision=revision.number, received_at=workspace.now())
            record(workspace, rows)


def _probability_columns(signature: Signature, answers: Predictions) -> dict[str, Any]:
    """`probability` of the second of two classes; of more classes a column for each."""
    import pyarrow as pa

    shares = answers.probabilities
    assert shares is not None
    if shares.shape[1] == 2:
        return {PROBABILITY: pa.array(shares[:, 1])}
    classes = signature.classes or range(shares.shape[1])
    return {f"{PROBABILITY}_{name}": pa.array(shares[:, place]) for place, name in enumerate(classes)}


def _plain(feature: Feature, values: list[Any]) -> list[Any]:
    """As they are recorded: None for a missing value, whole numbers as such."""
    if feature.type == "integer":
        return [None if value is None or not math.isfinite(value) else _whole(value) for value in values]
    if feature.type == "number":
        return [None if value is None or not math.isfinite(value) else float(value) for value in values]
    return values


def _whole(value: float) -> float | int:
    return int(value) if float(value).is_integer() else float(value)
