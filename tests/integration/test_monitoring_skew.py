"""What was served against what the data for training says of the same rows."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from quarterdeck.datasets.ingestion import add
from quarterdeck.errors import SettingsError
from quarterdeck.events import newest
from quarterdeck.monitoring import queries
from quarterdeck.monitoring.evaluation import evaluate
from quarterdeck.monitoring.skew import COMPARED
from quarterdeck.settings.making import DatasetSettings
from quarterdeck.settings.monitoring import SkewSettings
from quarterdeck.workspace import Workspace
from quarterdeck_console.screens.monitors import describe
from tests.watched import close, rows, send, serve, watch


def serving(workspace: Workspace, **settings: Any) -> Workspace:
    watched = watch(workspace, skew=SkewSettings(dataset="payments", **settings))
    serve(watched, rows(2_000, seed=1))
    return named(watched, "id")


def named(workspace: Workspace, key: str | None) -> Workspace:
    """The column of the dataset that has the keys."""
    changed = workspace.settings.model_copy(update={"datasets": {"payments": DatasetSettings(key=key)}})
    return dataclasses.replace(workspace, settings=changed)


def served(workspace: Workspace, window: int, n: int = 400) -> pd.DataFrame:
    """The rows of a window, by the numbers that are their keys."""
    frame = rows(n, seed=40 + window)
    frame.index = pd.RangeIndex(window * 10_000, window * 10_000 + n)
    send(workspace, frame, window, keyed=True)
    return frame


def stored(workspace: Workspace, folder: Path, frame: pd.DataFrame) -> None:
    path = folder / "payments.csv"
    frame.rename_axis("id").reset_index().to_csv(path, index=False)
    add(workspace, "payments", path)


def compared(workspace: Workspace) -> list[queries.ResultRow]:
    return [row for row in queries.results(workspace, monitor="m") if row.aspect == "skew"]


def test_a_column_that_is_served_in_another_unit_is_found_at_once_with_a_row_that_shows_it(
    workspace: Workspace, tmp_path: Path
) -> None:
    watched = serving(workspace)
    frame = served(watched, 0)
    close(watched, 0)
    in_cents = frame.assign(amount=frame["amount"] * 100)
    stored(watched, tmp_path, in_cents)
    evaluate(watched, "m")
    (alert,) = queries.alerts(watched)
    assert (alert.kind, alert.columns, alert.severity) == ("skew", ("amount",), "page")
    first, last = frame["amount"].iloc[0], in_cents["amount"].iloc[0]
    assert alert.summary == (
        f"amount served with another value in 400 of 400 rows: of key 0 {first:g}, in the data {last:g}"
    )
    (result,) = compared(watched)
    assert (result.n_current, result.n_reference) == (400, 400)
    line = next(line for line in describe(result).plain.splitlines() if line.startswith("amount"))
    assert line.split()[1:5] == ["drifted", "400", "of", "400"]
    assert {one["column"]: one["verdict"] for one in result.scores} == {
        "amount": "drifted",
        "age": "quiet",
        "channel": "quiet",
    }


def test_rounding_is_no_skew_and_a_few_rows_are_none_that_can_be_told(workspace: Workspace, tmp_path: Path) -> None:
    watched = serving(workspace, tolerance=1e-4)
    frame = served(watched, 0)
    close(watched, 0)
    changed = frame.assign(amount=frame["amount"].round(2))
    changed.iloc[:3, 2] = "elsewhere"
    stored(watched, tmp_path, changed)
    evaluate(watched, "m")
    assert queries.alerts(watched, all=True) == []
    (result,) = compared(watched)
    assert [(one["different"], one["verdict"]) for one in result.scores] == [(0, "quiet"), (0, "quiet"), (3, "quiet")]
    assert result.scores[2]["example"] == {"key": "0", "served": frame["channel"].iloc[0], "stored": "elsewhere"}


def test_a_missing_value_differs_from_any_other_and_from_no_missing_one(workspace: Workspace, tmp_path: Path) -> None:
    watched = serving(workspace)
    frame = rows(400, seed=4).assign(age=np.nan)
    frame.loc[:199, "age"] = 30.0
    send(watched, frame, 0, keyed=True)
    close(watched, 0)
    stored(watched, tmp_path, frame.assign(age=np.where(frame.index < 100, np.nan, frame["age"])))
    evaluate(watched, "m")
    (result,) = compared(watched)
    age = next(one for one in result.scores if one["column"] == "age")
    assert (age["different"], age["example"]) == (100, {"key": "0", "served": 30.0, "stored": None})


def test_a_window_is_compared_once_its_rows_are_there_and_then_no_more(workspace: Workspace, tmp_path: Path) -> None:
    watched = serving(workspace)
    first, second = served(watched, 0), served(watched, 1)
    close(watched, 1)
    stored(watched, tmp_path, pd.concat([first, second[:100]]))
    evaluate(watched, "m")
    evaluate(watched, "m")
    assert len(compared(watched)) == 1
    with watched.state.read() as tx:
        (event,) = [one for one in newest(tx, subject="monitor/m") if one.kind == COMPARED]
    assert (event.data["dataset"], event.data["windows"]) == ("payments:1", 1)
    stored(watched, tmp_path, pd.concat([first, second]))
    evaluate(watched, "m")
    assert [row.window_start.hour for row in compared(watched)] == [1, 0]
    # A window that closes later is looked up in the version that is known already.
    third = rows(400, seed=40)
    third.index = first.index
    send(watched, third, 3, keyed=True)
    close(watched, 3)
    evaluate(watched, "m")
    assert compared(watched)[0].window_start.hour == 3


@pytest.mark.parametrize(
    ("key", "there", "says"),
    [
        ("id", False, "compares with dataset 'payments': There is no dataset 'payments'"),
        (None, True, "whose key is not named. Say which column"),
        ("number", True, "looks for `number` in version 1 of dataset 'payments', which has no such column"),
    ],
)
def test_data_that_cannot_be_compared_is_told_of_when_all_else_is_judged(
    workspace: Workspace, tmp_path: Path, key: str | None, there: bool, says: str
) -> None:
    watched = serving(workspace)
    frame = served(watched, 0)
    close(watched, 0)
    if there:
        stored(watched, tmp_path, frame)
    watched = named(watched, key)
    with pytest.raises(SettingsError, match=r"\[monitors\.m\.skew\]") as refused:
        evaluate(watched, "m")
    assert says in str(refused.value)
    assert {row.aspect for row in queries.results(watched, monitor="m")} >= {"inputs", "traffic"}
