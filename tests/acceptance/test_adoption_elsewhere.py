"""Models of other libraries and other versions of them: made there, served here, watched, and rolled back.

`init`, `up` and `adopt` bring each under watch; the fourth command replaces it, and the fifth goes back.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from quarterdeck.events import Event, newest
from quarterdeck.registry.queries import version
from tests.adopted import NUMBERS, SETTINGS, START, Receiver, listening, rows, sample, serve_days
from tests.deck import Deck, new_deck
from tests.environments import environment

pytestmark = pytest.mark.timeout(300)

JOBLIB = """
import sys, joblib, pandas
from sklearn.ensemble import GradientBoostingClassifier
frame = pandas.read_csv(sys.argv[1])
for number, path in enumerate(sys.argv[2:], 5):
    model = GradientBoostingClassifier(n_estimators=number).fit(frame[["amount", "age"]], frame["fraud"])
    joblib.dump(model, path, compress=3)
"""
# A function by value: nothing but cloudpickle can bring it back.
MLFLOW = """
import sys, warnings
warnings.simplefilter("ignore")
import mlflow.sklearn, pandas
from mlflow.models import infer_signature
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
frame = pandas.read_csv(sys.argv[1])
inputs = frame[["amount", "age"]]
for number, path in enumerate(sys.argv[2:], 5):
    scaled = FunctionTransformer(lambda table, scale=number: table / scale)
    model = make_pipeline(scaled, LogisticRegression()).fit(inputs, frame["fraud"])
    signature, needs = infer_signature(inputs, frame["fraud"]), ["scikit-learn"]
    kind = "cloudpickle"
    mlflow.sklearn.save_model(model, path, serialization_format=kind, signature=signature, pip_requirements=needs)
"""


@dataclass(frozen=True, slots=True)
class Case:
    """A kind of model, and how people bring it here."""

    name: str
    make: Callable[[str, list[Path]], None]
    """Writes a model to each of the paths, from the table; they differ."""
    options: tuple[str, ...]
    format: str
    served_by: str


def foreign(name: str, program: str) -> Callable[[str, list[Path]], None]:
    def make(table: str, paths: list[Path]) -> None:
        command = [str(environment(name)), "-c", program, table, *map(str, paths)]
        # MLflow leaves a folder where it works.
        subprocess.run(command, check=True, timeout=120, cwd=paths[0].parent)

    return make


def xgboost_models(table: str, paths: list[Path]) -> None:
    import xgboost

    frame = pd.read_csv(table)
    for number, path in enumerate(paths, 5):
        model = xgboost.XGBClassifier(n_estimators=number, n_jobs=1).fit(frame[NUMBERS], frame["fraud"])
        model.get_booster().save_model(path)


def lightgbm_models(table: str, paths: list[Path]) -> None:
    import lightgbm

    frame = pd.read_csv(table)
    for number, path in enumerate(paths, 5):
        model = lightgbm.LGBMClassifier(n_estimators=number, n_jobs=1, verbose=-1)
        model.fit(frame[NUMBERS], frame["fraud"]).booster_.save_model(path)


def trusted(name: str) -> tuple[str, ...]:
    return ("--trust-pickle", "--python", str(environment(name).parent.parent))


CASES = [
    Case("old.joblib", foreign("sklearn-1.4", JOBLIB), trusted("sklearn-1.4"), "pickle", "process"),
    Case("tracked", foreign("mlflow", MLFLOW), trusted("mlflow"), "mlflow", "process"),
    Case("boost.ubj", xgboost_models, (), "xgboost", "gateway"),
    Case("light.txt", lightgbm_models, (), "lightgbm", "gateway"),
]


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with listening() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def deck(tmp_path_factory: pytest.TempPathFactory, receiver: Receiver) -> Iterator[Deck]:
    folder = tmp_path_factory.mktemp("elsewhere") / "deck"
    with new_deck(folder, SETTINGS.format(webhook=receiver.url)) as deck:
        deck.start()
        yield deck


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_it_is_under_watch_alerts_on_drift_and_is_rolled_back(
    deck: Deck, receiver: Receiver, tmp_path: Path, case: Case
) -> None:
    table, name = sample(tmp_path), case.name.partition(".")[0]
    first, second = tmp_path / "first" / case.name, tmp_path / "second" / case.name
    for path in (first, second):
        path.parent.mkdir()
    case.make(table, [first, second])
    arguments = ("--sample", table, "--target", "fraud", *case.options)
    adopted = deck.json("adopt", str(first), *arguments)
    assert (adopted["deployment"], adopted["version"], adopted["monitor"]) == (name, 1, name)
    known = version(deck.workspace, name, 1)
    assert (known.format, known.task) == (case.format, "classification")
    assert known.metrics["accuracy"] > 0.9
    assert known.memory_bytes
    (deployment,) = [row for row in deck.status()["deployments"] if row["name"] == name]
    assert (deployment["served_by"], deployment["state"]) == (case.served_by, "verified")
    serve_days(deck, receiver, name)

    again = deck.json("adopt", str(second), *arguments)
    assert again["version"] == 2
    replaced = shares(deck, name, "2")
    back = deck.json("rollback", name, "--to", "1", "--reason", "the drift came with it")
    assert (back["state"], back["version"]) == ("verified", 1)
    assert not np.allclose(shares(deck, name, "1"), replaced)


def shares(deck: Deck, name: str, version: str) -> list[float]:
    """What that version answers now: the probabilities of the first day's rows."""
    response = deck.infer(name, rows(3), event_time=START)
    assert response.headers["x-model-version"] == version
    (output,) = [output for output in response.json()["outputs"] if output["name"] == "predict_proba"]
    return list(output["data"])


def test_a_trusted_pickle_is_bound_to_its_bytes_in_the_event_log(deck: Deck) -> None:
    known = version(deck.workspace, "old", 1)
    assert known.artifact is not None
    with deck.workspace.state.read() as tx:
        events: list[Event] = list(newest(tx, 10, f"artifact/{known.artifact[:12]}"))
    (trust,) = [event for event in events if event.kind == "artifact.trusted"]
    assert (trust.data["artifact"], trust.data["version"]) == (known.artifact, "version/old@1")
    assert trust.data["python"] == known.python
    assert known.environment["scikit-learn"] == "1.4.2"
    shown = deck.json("versions", "old")[-1]
    assert (shown["memory_bytes"], shown["trusted"]) == (known.memory_bytes, known.artifact)
    assert " MB" in deck.run("versions", "old").stdout
