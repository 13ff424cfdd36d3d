"""A replay with real models on recorded traffic, and a model adopted from a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import skops.io
from sklearn.linear_model import LogisticRegression
from sqlmodel import Session

from quarterdeck.bootstrap import open_workspace
from quarterdeck.deployments import queries
from quarterdeck.deployments.adoption import adopt
from quarterdeck.deployments.replay import Replay
from quarterdeck.deployments.replaying import replay, request
from quarterdeck.deployments.rollout import deploy
from quarterdeck.errors import FencedError, NotFoundError, SettingsError, UsageError
from quarterdeck.events import after, verify
from quarterdeck.registry.version import find_version
from quarterdeck.traffic.labelling import add_labels
from quarterdeck.traffic.recording import record
from quarterdeck.workspace import Workspace
from tests.fakes import fake_ports
from tests.gateways import NUMBERS, add_classifier, pipeline, training_frame


@pytest.fixture
def recorded(workspace: Workspace) -> Workspace:
    """Version 2 serves with a wrong threshold; 300 of its predictions are recorded, 200 with labels."""
    add_classifier(workspace)
    add_classifier(workspace, shift=2.0)
    deploy(workspace, "payments", model="fraud", version=1)
    deploy(workspace, "payments", model="fraud", version=2)
    frame = training_frame(300, seed=11)
    truth = np.where(frame["amount"] + frame["balance"] > 0, "yes", "no")
    noise = np.random.default_rng(3).uniform(size=len(frame))
    now = workspace.now()
    record(
        workspace,
        [
            {
                "deployment": "payments",
                "id": f"p{i}",
                "received_at": now,
                "revision": 2,
                "version": 2,
                "inputs": [*(float(frame[name][i]) for name in NUMBERS), frame["channel"][i]],
                "prediction": "no",
                "probabilities": [1 - noise[i], noise[i]],
            }
            for i in range(len(frame))
        ],
    )
    add_labels(workspace, "payments", [{"reference": f"p{i}", "value": truth[i]} for i in range(200)])
    return workspace


def outcome(workspace: Workspace, number: int) -> dict[str, object]:
    with workspace.state.read() as tx:
        return tx.get_one(Replay, number).outcome


def test_a_replay_shows_that_the_other_version_would_have_been_better(recorded: Workspace) -> None:
    number = request(recorded, "payments", 1)
    assert request(recorded, "payments", 1) == number
    replay(recorded, number)
    found = outcome(recorded, number)
    assert (found["rows"], found["labelled"], found["metric"]) == (300, 200, "roc_auc")
    assert found["other"] == pytest.approx(1.0, abs=0.02)
    assert isinstance(found["low"], float)
    assert found["low"] > 0.3
    assert 0.3 < float(str(found["agreement"])) < 0.7
    with recorded.state.read() as tx:
        kinds = [event.kind for event in after(tx, 0)][-2:]
        verify(tx)
    assert kinds == ["replay.requested", "replay.finished"]


def test_a_replay_is_made_once_and_a_fenced_attempt_writes_nothing(recorded: Workspace) -> None:
    def given_up(tx: Session) -> None:
        raise FencedError

    number = request(recorded, "payments", 1)
    with pytest.raises(FencedError):
        replay(recorded, number, fence=given_up)
    assert outcome(recorded, number) == {}
    replay(recorded, number)
    replay(recorded, number)
    with recorded.state.read() as tx:
        assert [event.kind for event in after(tx, 0)].count("replay.finished") == 1


def test_what_cannot_be_compared_is_said(recorded: Workspace) -> None:
    with pytest.raises(UsageError, match="serves 'payments' already"):
        request(recorded, "payments", 2)
    deploy(recorded, "quiet", model="fraud", version=1)
    number = request(recorded, "quiet", 2)
    replay(recorded, number)
    assert outcome(recorded, number) == {"error": "no prediction of version 1 is recorded yet"}


def model_file(folder: Path) -> tuple[Path, Path]:
    """A skops file, and a table of rows that it takes."""
    frame = training_frame(60)
    answers = np.where(frame["amount"] > 0, "yes", "no")
    skops.io.dump(pipeline(LogisticRegression()).fit(frame, answers), folder / "scoring.skops")
    frame.assign(fraud=answers).to_csv(folder / "rows.csv", index=False)
    return folder / "scoring.skops", folder / "rows.csv"


def test_an_adopted_model_is_registered_deployed_and_watched(workspace: Workspace, tmp_path: Path) -> None:
    path, sample = model_file(tmp_path)
    workspace.settings_file.write_text("# ours\n" + workspace.settings_file.read_text())
    adopted = adopt(workspace, "scoring", path=path, sample=sample, target="fraud")
    assert (adopted.model, adopted.version, adopted.deployment, adopted.monitor) == ("scoring", 1, "scoring", "scoring")
    assert queries.operation(workspace, adopted.operation).state == "planned"
    assert workspace.settings_file.read_text().startswith("# ours\n")
    again = open_workspace(workspace.root, ports=fake_ports())
    assert again.settings.monitors["scoring"].deployment == "scoring"
    again.close()
    assert adopt(workspace, "scoring", path=path, sample=sample, target="fraud").monitor == "scoring"


def test_a_model_served_elsewhere_is_only_watched(workspace: Workspace, tmp_path: Path) -> None:
    _, sample = model_file(tmp_path)
    adopted = adopt(workspace, "scoring", path=None, sample=sample, target="fraud")
    (row,) = queries.deployments(workspace)
    assert (row.served_by, row.state) == ("external", "unproven")
    assert adopted.unknown


def test_an_adoption_that_does_not_fit_leaves_nothing(workspace: Workspace, tmp_path: Path) -> None:
    path, sample = model_file(tmp_path)
    add_classifier(workspace, "fraud")
    deploy(workspace, "scoring", model="fraud", version=1)
    with pytest.raises(UsageError, match="is not a name"):
        adopt(workspace, "a b", path=path, sample=sample)
    with pytest.raises(UsageError, match="serves versions of model 'fraud'"):
        adopt(workspace, "scoring", path=path, sample=sample, target="fraud")
    with workspace.state.read() as tx, pytest.raises(NotFoundError, match="no model 'scoring'"):
        find_version(tx, "scoring", 1)
    assert "monitors" not in workspace.settings_file.read_text()


def test_settings_that_cannot_be_read_any_more_are_not_overwritten(workspace: Workspace, tmp_path: Path) -> None:
    path, sample = model_file(tmp_path)
    workspace.settings_file.write_text("broken = [")
    with pytest.raises(SettingsError):
        adopt(workspace, "scoring", path=path, sample=sample, target="fraud")
    assert workspace.settings_file.read_text() == "broken = ["
    assert queries.deployments(workspace) == []
