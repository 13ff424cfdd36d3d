"""The verbs on data from outside, through real processes: Elec2, Adult, bike sharing."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from quarterdeck.bootstrap import open_workspace
from quarterdeck.datasets.frames import load_frame
from quarterdeck.monitoring.queries import monitors
from tests.deck import Deck, new_deck
from tests.waiting import wait_for

FOLDER = os.environ.get("QUARTERDECK_TEST_DATA")
pytestmark = [
    pytest.mark.skipif(FOLDER is None, reason="QUARTERDECK_TEST_DATA names no folder with the real data"),
    pytest.mark.timeout(600),
]
DATA = Path(FOLDER or ".")
HALF_HOUR = timedelta(minutes=30)

TRAIN = """\
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.{module} import {estimator}
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.impute import SimpleImputer

from quarterdeck.pipelines import pipeline, register, step

NUMERIC = {numeric}
CATEGORICAL = {categorical}
KEPT = [*NUMERIC, *CATEGORICAL, "{target}"]


@step
def training({dataset}: pd.DataFrame) -> pd.DataFrame:
    return {dataset}.iloc[: int(len({dataset}) * 0.8)][KEPT]


@step
def holdout({dataset}: pd.DataFrame) -> pd.DataFrame:
    return {dataset}.iloc[int(len({dataset}) * 0.8) :][KEPT]


@step
def estimator(training: pd.DataFrame) -> Pipeline:
    numeric = Pipeline([("impute", SimpleImputer()), ("scale", StandardScaler())])
    columns = ColumnTransformer(
        [("numeric", numeric, NUMERIC), ("categorical", OneHotEncoder(handle_unknown="ignore"), CATEGORICAL)]
    )
    model = Pipeline([("columns", columns), ("model", {estimator}({arguments}))])
    return model.fit(training[[*NUMERIC, *CATEGORICAL]], training["{target}"])


train = pipeline(
    "train",
    [training, holdout, estimator],
    registers=register("{model}", estimator="estimator", training="training", holdout="holdout"),
)
"""

ELEC2 = """\
[workspace]
name = "elec2"
[gateway]
port = 0
[datasets.elec2]
target = "class"
time = "date"
[monitors.elec2]
deployment = "elec2"
window = "7d"
origin = "1996-05-07T00:00:00Z"
grace = "1h"
every = "500ms"
"""
FIRST_MOVED_ROW = 17_424
ELEC2_START = datetime(1996, 5, 7, tzinfo=UTC)
WEEK_OF_ROWS = 7 * 48


def monitored_until(deck: Deck, monitor: str, moment: datetime) -> Callable[[], bool]:
    """Whether the monitor has judged every window that ends by `moment`."""
    workspace = open_workspace(deck.root)

    def judged() -> bool:
        (row,) = [row for row in monitors(workspace, {}) if row.name == monitor]
        return row.last_window_end is not None and row.last_window_end >= moment

    return judged


def names(alerts: list[dict[str, Any]]) -> set[str]:
    return {column for alert in alerts for column in alert["columns"]}


def test_elec2_names_vicprice_and_transfer_by_the_third_window_that_moved_and_not_before(tmp_path: Path) -> None:
    frame = pd.read_csv(DATA / "elec2" / "electricity-normalized.csv")
    numeric = [name for name in frame.columns if name not in ("date", "class")]
    source = TRAIN.format(
        module="linear_model",
        estimator="LogisticRegression",
        arguments="max_iter=1000",
        numeric=numeric,
        categorical=[],
        target="class",
        dataset="elec2",
        model="elec2",
    )
    with new_deck(tmp_path / "deck", ELEC2, {"train.py": source}) as deck:
        first = tmp_path / "first.csv"
        frame.iloc[:15_000].to_csv(first, index=False)
        deck.run("data", "add", "elec2", str(first))
        deck.start()
        run = deck.json("run", "train")
        assert run["version"] == "elec2@1"
        (version,) = deck.json("versions", "elec2")
        assert [feature["name"] for feature in version["signature"]["features"]] == numeric
        deck.run("deploy", "elec2", "--reason", "first")

        first_window = FIRST_MOVED_ROW // WEEK_OF_ROWS
        replay(deck, frame, 15_000, first_window * WEEK_OF_ROWS)
        wait_for(monitored_until(deck, "elec2", row_time(first_window * WEEK_OF_ROWS) - timedelta(days=7)), seconds=60)
        assert names(deck.json("alerts", "--all")).isdisjoint({"vicprice", "transfer"})

        third = (first_window + 3) * WEEK_OF_ROWS
        replay(deck, frame, first_window * WEEK_OF_ROWS, third + 48)
        wait_for(monitored_until(deck, "elec2", row_time(third)), seconds=60, what="the third window that moved")
        (alert,) = [a for a in deck.json("alerts", "--all") if "vicprice" in a["columns"]]
        assert "transfer" in alert["columns"]
        assert datetime.fromisoformat(alert["onset"]) >= row_time(first_window * WEEK_OF_ROWS)
        assert alert["evidence"]["vicprice"]["measure"] == "share_moved"


def row_time(row: int) -> datetime:
    return ELEC2_START + row * HALF_HOUR


def replay(deck: Deck, frame: pd.DataFrame, start: int, end: int) -> None:
    """Send the rows as they came, half an hour apart, two days in a request; `date` is sent as the event time."""
    for row in range(start, end, 96):
        piece = frame.iloc[row : min(row + 96, end)].drop(columns="class")
        times = [row_time(i).isoformat() for i in piece.index]
        deck.infer("elec2", piece.assign(date=times)).raise_for_status()


ADULT_COLUMNS = [
    *("age", "workclass", "fnlwgt", "education", "education_num", "marital", "occupation", "relationship"),
    *("race", "sex", "gain", "loss", "hours", "country", "income"),
]
ADULT = f"""\
[workspace]
name = "adult"
[gateway]
port = 0
[datasets.adult]
target = "income"
header = {ADULT_COLUMNS!r}
strip = true
missing = ["?"]
replace.income = {{ "<=50K." = "<=50K", ">50K." = ">50K" }}
[monitors.adult]
deployment = "adult"
window = "1h"
grace = "1s"
every = "500ms"
"""


def test_adult_is_the_negative_control_and_raises_no_alert(tmp_path: Path) -> None:
    numeric = ["age", "fnlwgt", "education_num", "gain", "loss", "hours"]
    categorical = [name for name in ADULT_COLUMNS if name not in (*numeric, "income")]
    source = TRAIN.format(
        module="linear_model",
        estimator="LogisticRegression",
        arguments="max_iter=1000",
        numeric=numeric,
        categorical=categorical,
        target="income",
        dataset="adult",
        model="adult",
    )
    with new_deck(tmp_path / "deck", ADULT, {"train.py": source}) as deck:
        deck.run("data", "add", "adult", str(DATA / "adult_census" / "adult-train.csv"))
        deck.start()
        run = deck.json("run", "train")
        assert run["metrics"]["roc_auc"] > 0.85
        deck.run("deploy", "adult")
        added = deck.json("data", "add", "adult", str(DATA / "adult_census" / "adult-test.csv"))
        assert (added["number"], added["rows"]) == (2, 16_281)
        workspace = open_workspace(deck.root)
        _, test = load_frame(workspace, "adult", 2)
        assert set(test["income"].unique()) == {"<=50K", ">50K"}
        assert test["workclass"].isna().sum() == 963

        start = datetime(2026, 1, 5, tzinfo=UTC)
        for hour in range(8):
            piece = test.iloc[hour * 2035 : (hour + 1) * 2035].drop(columns="income")
            deck.infer("adult", piece, event_time=start + hour * timedelta(hours=1)).raise_for_status()
        end = start + timedelta(hours=8)
        deck.infer("adult", test.iloc[:1].drop(columns="income"), event_time=end + timedelta(minutes=1))
        wait_for(monitored_until(deck, "adult", end), seconds=120, what="eight windows of Adult")
        assert deck.json("alerts", "--all") == []


BIKE = """\
[workspace]
name = "bike"
[gateway]
port = 0
[datasets.bike]
target = "cnt"
time = "dteday"
"""


def test_bike_sharing_trains_a_regressor_and_serves_it(tmp_path: Path) -> None:
    frame = pd.read_csv(DATA / "bike_sharing" / "hour.csv")
    numeric = ["temp", "atemp", "hum", "windspeed", "hr", "mnth", "weekday", "holiday", "workingday", "weathersit"]
    source = TRAIN.format(
        module="ensemble",
        estimator="RandomForestRegressor",
        arguments="n_estimators=20, random_state=0",
        numeric=numeric,
        categorical=[],
        target="cnt",
        dataset="bike",
        model="bike",
    )
    with new_deck(tmp_path / "deck", BIKE, {"train.py": source}) as deck:
        deck.run("data", "add", "bike", str(DATA / "bike_sharing" / "hour.csv"))
        deck.start()
        run = deck.json("run", "train")
        assert run["metrics"]["r2"] > 0.3
        deck.run("deploy", "bike")
        answer = deck.infer("bike", frame.loc[:99, numeric])
        assert answer.status_code == 200
        (output,) = answer.json()["outputs"]
        assert output["shape"][0] == 100
        assert pd.Series(output["data"]).corr(frame.loc[:99, "cnt"]) > 0.8


CALENDAR = """\
[workspace]
name = "bike"
[monitors.plain]
deployment = "bike"
window = "14d"
origin = 2012-06-04T00:00:00Z
hours = [12, 18]
columns = ["hr"]
[monitors.calendar]
deployment = "bike"
window = "14d"
origin = 2012-06-04T00:00:00Z
hours = [12, 18]
columns = ["hr"]
reference = "calendar"
reference_weeks = 2
"""


def test_bike_sharing_alarms_on_the_hour_only_where_the_reference_ignores_the_calendar(tmp_path: Path) -> None:
    frame = pd.read_csv(DATA / "bike_sharing" / "hour.csv")
    features = ["hr", "temp", "hum", "windspeed"]
    frame["when"] = pd.to_datetime(frame["dteday"]) + pd.to_timedelta(frame["hr"], unit="h")
    frame[frame["yr"] == 0][[*features, "cnt"]].to_csv(tmp_path / "sample.csv", index=False)
    # Three windows of a fortnight, from a Monday on, and what closes the last of them.
    traffic = frame[(frame["when"] >= "2012-06-04") & (frame["when"] < "2012-07-17")]
    traffic = traffic.rename(columns={"instant": "id", "cnt": "prediction"})
    traffic[["id", "when", "prediction", *features]].to_csv(tmp_path / "traffic.csv", index=False)
    with new_deck(tmp_path / "deck", CALENDAR, {}) as deck:
        sample = str(tmp_path / "sample.csv")
        deck.run("adopt", "--external", "--name", "bike", "--sample", sample, "--target", "cnt")
        deck.run("predictions", "add", "bike", str(tmp_path / "traffic.csv"), "--time", "when")
        judged = (deck.json("monitor", "run", name) for name in ("plain", "calendar"))
        plain, calendar = ([window for window in one if window["aspect"] == "inputs"] for one in judged)
    assert [window["rows"] for window in plain] == [window["rows"] for window in calendar] == [84, 84, 84]
    assert [window["verdict"] for window in plain] == ["found", "found", "found"]
    assert [window["reference_rows"] for window in calendar] == [0, 84, 168]
    # 84 rows are too few to call anything quiet; none of them is a false alarm.
    assert [window["verdict"] for window in calendar] == ["inconclusive", "inconclusive", "inconclusive"]
    assert all(score["effect"] < 0.1 for window in calendar[1:] for score in window["scores"])
