"""How the answers of a window moved from those to the version's holdout, in all and in slices."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quarterdeck.monitoring.cutting import Cuts, Members
from quarterdeck.monitoring.inputs import window_columns
from quarterdeck.monitoring.monitor import Monitor
from quarterdeck.registry.answers import Predictions
from quarterdeck.registry.signature import Signature
from quarterdeck.registry.version import ModelVersion, Task
from quarterdeck.statistics.comparison import compare
from quarterdeck.statistics.drift import Column, prepare, score_columns
from quarterdeck.statistics.localisation import localise
from quarterdeck.statistics.significance import benjamini_hochberg
from quarterdeck.statistics.slices import LEAST_ROWS
from quarterdeck.traffic.window import WindowRows
from quarterdeck.values import plain

ANSWER = "prediction"


class AnswerReference:
    """A version's answers to its holdout, as columns: made once for many windows."""

    def __init__(self, version: ModelVersion, answers: Predictions, cuts: Cuts) -> None:
        self._number = version.task is Task.REGRESSION
        self._signature = Signature.from_dict(version.signature)
        self._cuts = cuts
        shares = answers.probabilities
        self._columns = self._as_columns(answers.values.tolist(), None if shares is None else shares.tolist())

    def judge(self, monitor: Monitor, rows: WindowRows) -> list[dict[str, Any]]:
        """How far the answers of a window moved: a `ColumnScore`'s fields for each of them, and the `severity`.

        Numbers are one column, `prediction`; of classes there is that of the labels, and where probabilities are given
        one for each class (of two only the second). `slice` names the one that carries the shift, where there is one.
        Answers that moved in a slice alone are *drifted* too, by `effect` there, on its `n_slice` rows. The severity is
        the effect times the part of the rows that it is about.
        """
        settings = monitor.settings
        given = rows.probabilities if all(rows.probabilities) else None
        columns = {column.name: column for column in self._as_columns(rows.predictions, given)}
        before = [column for column in self._columns if column.name in columns]
        scores = score_columns(
            prepare(before),
            prepare([columns[column.name] for column in before]),
            threshold=settings.threshold,
            q=settings.significance,
            minimum_rows=settings.minimum_rows,
        )
        found = [{**asdict(score), "slice": None, "severity": score.effect} for score in scores]
        if not self._cuts:
            return found
        inputs = window_columns(self._signature, rows.inputs)
        levels, alone = self._cuts.levels(inputs), self._moved_alone(monitor, before, columns, self._cuts.of(inputs))
        for row, old in zip(found, before, strict=True):
            if row["verdict"] == "drifted":
                row["slice"] = self._carrier(monitor, old, columns[old.name], levels)
            elif old.name in alone:
                row |= alone[old.name]
        return found

    def _carrier(self, monitor: Monitor, old: Column, new: Column, levels: dict[str, NDArray[Any]]) -> str | None:
        """The slice that a shift of all answers comes from."""
        settings = monitor.settings
        before = self._cuts.levels_before
        carrier = localise(old, new, before, levels, threshold=settings.threshold, q=settings.significance)
        return None if carrier is None else carrier.level

    def _moved_alone(
        self, monitor: Monitor, before: list[Column], after: dict[str, Column], members: Members
    ) -> dict[str, dict[str, Any]]:
        """For each column the slice in which it moved furthest, all of them corrected together."""
        settings = monitor.settings
        tested = []
        for old in before:
            new = after[old.name]
            for name, chosen in members.items():
                known = self._cuts.before[name]
                if min(int(known.sum()), int(chosen.sum())) < LEAST_ROWS:
                    continue
                sides = prepare([Column(old.name, old.kind, old.values[known])])
                sides += prepare([Column(new.name, new.kind, new.values[chosen])])
                tested.append((old.name, name, chosen, compare(*sides, threshold=settings.threshold)))
        q_values = benjamini_hochberg([result.p_value for *_, result in tested])
        found: dict[str, dict[str, Any]] = {}
        for (column, name, chosen, result), q in zip(tested, q_values, strict=True):
            if q >= settings.significance or result.effect < settings.threshold:
                continue
            severity = result.effect * float(chosen.mean())
            if severity > found.get(column, {"severity": 0.0})["severity"]:
                found[column] = {
                    **asdict(result),
                    "q_value": float(q),
                    "verdict": "drifted",
                    "slice": name,
                    "n_slice": int(chosen.sum()),
                    "severity": severity,
                }
        return found

    def _as_columns(self, values: Any, shares: Any) -> list[Column]:
        if self._number:
            return [Column(ANSWER, "numeric", np.array(values, dtype=np.float64))]
        labels = np.empty(len(values), dtype=object)
        labels[:] = [str(plain(value)) for value in values]
        columns = [Column(ANSWER, "categorical", labels)]
        if shares is None or not len(shares):
            return columns
        table = np.array(shares, dtype=np.float64)
        classes = self._signature.classes or ()
        if table.shape[1] != len(classes):
            return columns
        first = 1 if len(classes) == 2 else 0
        return columns + [
            Column(f"probability of {classes[number]}", "numeric", table[:, number])
            for number in range(first, len(classes))
        ]
