"""Models of other libraries and other versions of them: made there, served here, watched, and rolled back.

`init`, `up` and `adopt` bring each under watch; the fourth command replaces it, and the fifth goes back.
"""

from __future__ import annotations

import subprocess
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from quarterdeck.events import Event, newest
from quarterdeck.registry.queries import version
from tests.adopted import NUMBERS, SETTINGS, START, Receiver, listening, rows, sample, serve_days, with_truth
from tests.deck import Deck, new_deck
from tests.environments import environment

pytestmark = pytest.mark.timeout(300)

JOBLIB = """
import sys, joblib, pandas
from sklearn.ensemble import GradientBoostingClassifier
frame = pandas.read_csv(sys.argv[2])
model = GradientBoostingClassifier(n_estimators=int(sys.argv[3])).fit(frame[["amount", "age"]], frame["fraud"])
joblib.dump(model, sys.argv[1], compress=3)
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
frame = pandas.read_csv(sys.argv[2])
inputs, scale = frame[["amount", "age"]], float(sys.argv[3])
model = make_pipeline(FunctionTransformer(lambda table: table / scale), LogisticRegression()).fit(inputs, frame["fraud"])
signature = infer_signature(inputs, frame["fraud"])
mlflow.sklearn.save_model(model, sys.argv[1], serialization_format="cloudpickle", signature=signature)
"""


@dataclass(frozen=True, slots=True)
class Case:
    """A kind of model, and how people bring it here."""

    name: str
    make: Callable[[Path, str, int], None]
    """Writes a model to the path, from the table; the number makes two models different."""
    options: tuple[str, ...]
    format: str
    served_by: str


def foreign(name: str, program: str) -> Callable[[Path, str, int], None]:
    def make(path: Path, table: str, number: int) -> None:
        subprocess.run([environment(name), "-c", program, path, table, str(number)], check=True, timeout=120)

    return make


def xgboost_model(path: Path, table: str, number: int) -> None:
    import xgboost

    frame = with_truth(rows(2))
    model = xgboost.XGBClassifier(n_estimators=number, n_jobs=1).fit(frame[NUMBERS], frame["fraud"])
    model.get_booster().save_model(path)


def lightgbm_model(path: Path, table: str, number: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what it warns of in its own dependencies
        import lightgbm

    frame = with_truth(rows(2))
    model = lightgbm.LGBMClassifier(n_estimators=number, n_jobs=1, verbose=-1).fit(frame[NUMBERS], frame["fraud"])
    model.booster_.save_model(path)


def trusted(name: str) -> tuple[str, ...]:
    return ("--trust-pickle", "--python", str(environment(name).parent.parent))


CASES = [
    Case("old.joblib", foreign("sklearn-1.4", JOBLIB), trusted("sklearn-1.4"), "pickle", "process"),
    Case("tracked", foreign("mlflow", MLFLOW), trusted("mlflow"), "mlflow", "process"),
    Case("boost.ubj", xgboost_model, (), "xgboost", "gateway"),
    Case("light.txt", lightgbm_model, (), "lightgbm", "gateway"),
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
    for number in (5, 9):
        (tmp_path / str(number)).mkdir()
        case.make(tmp_path / str(number) / case.name, table, number)
    arguments = ("--sample", table, "--target", "fraud", *case.options)
    adopted = deck.json("adopt", str(tmp_path / "5" / case.name), *arguments)
    assert (adopted["deployment"], adopted["version"], adopted["monitor"]) == (name, 1, name)
    known = version(deck.workspace, name, 1)
    assert (known.format, known.task) == (case.format, "classification")
    assert known.metrics["accuracy"] > 0.9
    assert known.memory_bytes
    (deployment,) = [row for row in deck.status()["deployments"] if row["name"] == name]
    assert (deployment["served_by"], deployment["state"]) == (case.served_by, "verified")
    serve_days(deck, receiver, name)

    again = deck.json("adopt", str(tmp_path / "9" / case.name), *arguments)
    assert again["version"] == 2
    second = shares(deck, name, "2")
    back = deck.json("rollback", name, "--to", "1", "--reason", "the drift came with it")
    assert (back["state"], back["version"]) == ("verified", 1)
    assert not np.allclose(shares(deck, name, "1"), second)


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
