"""Scoring tables: what is written, by whom, that it is whole, and what a rollback makes of it."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sqlmodel import Session, select

from quarterdeck import events, lineage
from quarterdeck.artifacts import file_digest
from quarterdeck.datasets import pieces
from quarterdeck.deployments import queries, scoring
from quarterdeck.deployments.batch_output import BatchOutput
from quarterdeck.deployments.deployment import ServedBy
from quarterdeck.deployments.rollout import deploy, roll_back
from quarterdeck.deployments.scoring import score, score_again, score_scheduled
from quarterdeck.errors import ConflictError, DataError, NotFoundError, ReadOnlyError, RefusedError, UsageError
from quarterdeck.settings.host import WorkspaceSettings
from quarterdeck.traffic.queries import recent, requests_by_revision, totals
from quarterdeck.workspace import Workspace
from tests.gateways import add_classifier, add_regressor, training_frame

ROWS = 50


@pytest.fixture
def batch(workspace: Workspace) -> Workspace:
    """`fraud` scores by version 1; version 2 answers otherwise."""
    add_classifier(workspace, shift=0.0)
    add_classifier(workspace, shift=2.0)
    deploy(workspace, "fraud", model="fraud", version=1, served_by=ServedBy.BATCH)
    return workspace


def rows(folder: Path, name: str = "rows.csv", *, n: int = ROWS, seed: int = 3) -> Path:
    """Rows to score, with a key, a time and a column that is no feature."""
    frame = training_frame(n, seed=seed).assign(
        payment=[f"p{i}" for i in range(n)], at="2026-01-05T08:00:00Z", note='said "so", twice'
    )
    path = folder / name
    if path.suffix == ".parquet":
        frame.to_parquet(path, index=False)
    else:
        frame.to_csv(path, index=False)
    return path


def yes(path: Path) -> int:
    """How many rows an output answers with yes: version 2 says it rarely."""
    return int((pd.read_csv(path)["prediction"] == "yes").sum())


def leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("."))


@pytest.mark.parametrize("source", ["rows.csv", "rows.csv.gz", "rows.parquet"])
@pytest.mark.parametrize("target", ["out.csv", "out.parquet"])
def test_what_is_written_is_the_input_and_the_answers(
    batch: Workspace, tmp_path: Path, source: str, target: str
) -> None:
    path = rows(tmp_path, source)
    made = score(batch, "fraud", path, tmp_path / target)
    out = pd.read_csv(tmp_path / target) if target.endswith("csv") else pd.read_parquet(tmp_path / target)
    given = training_frame(ROWS, seed=3)
    np.testing.assert_allclose(out["amount"].astype(float), given["amount"])
    assert out["age"].isna().tolist() == given["age"].isna().tolist()
    assert set(out["note"]) == {'said "so", twice'}
    assert set(out["prediction"]) == {"no", "yes"}
    assert out["probability"].between(0, 1).all()
    assert (made.rows, made.version, made.revision) == (ROWS, 1, 1)
    assert made.digest == file_digest(tmp_path / target)
    assert leftovers(tmp_path) == []
    recorded = {row.id: row for row in recent(batch, "fraud", 100)}
    assert set(recorded) == set(out["prediction_id"])
    first = recorded[out["prediction_id"][0]]
    assert (first.key, first.event_time, first.revision) == ("p0", datetime(2026, 1, 5, 8, tzinfo=UTC), 1)
    assert first.inputs == [
        *(pytest.approx(given[name][0], nan_ok=True) for name in ("amount",)),
        None,
        *first.inputs[2:],
    ]
    assert first.prediction == out["prediction"][0]
    assert first.id.startswith(f"{target}@")


def test_the_same_again_changes_nothing_and_other_rows_are_other_predictions(batch: Workspace, tmp_path: Path) -> None:
    path = rows(tmp_path)
    first = score(batch, "fraud", path, tmp_path / "out.csv")
    assert score(batch, "fraud", path, tmp_path / "out.csv").digest == first.digest
    assert totals(batch).predictions == ROWS
    score(batch, "fraud", rows(tmp_path, seed=4), tmp_path / "out.csv")
    assert totals(batch).predictions == 2 * ROWS


def test_a_file_larger_than_a_piece_is_answered_row_by_row(
    batch: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, n = rows(tmp_path, n=5_000), 5_000
    score(batch, "fraud", path, tmp_path / "whole.csv")
    monkeypatch.setattr(pieces, "PIECE_BYTES", 20_000)
    made = score(batch, "fraud", path, tmp_path / "pieces.csv")
    whole, apart = pd.read_csv(tmp_path / "whole.csv"), pd.read_csv(tmp_path / "pieces.csv")
    assert made.rows == len(apart) == n
    columns = ["payment", "prediction", "probability"]
    pd.testing.assert_frame_equal(whole[columns], apart[columns])
    assert apart["prediction_id"].str.split(":").str[1].astype(int).tolist() == list(range(n))


def test_a_regressor_answers_numbers_alone(workspace: Workspace, tmp_path: Path) -> None:
    add_regressor(workspace)
    deploy(workspace, "cost", model="cost", version=1, served_by=ServedBy.BATCH)
    score(workspace, "cost", rows(tmp_path), tmp_path / "out.csv")
    out = pd.read_csv(tmp_path / "out.csv")
    assert "probability" not in out.columns
    np.testing.assert_allclose(out["prediction"], 3 * out["amount"] + 1, atol=0.5)


def test_the_first_score_of_a_revision_verifies_it(batch: Workspace, tmp_path: Path) -> None:
    assert queries.deployment_row(batch, "fraud").state == "unproven"
    made = score(batch, "fraud", rows(tmp_path), tmp_path / "out.csv")
    assert queries.deployment_row(batch, "fraud").state == "verified"
    assert requests_by_revision(batch, "fraud") == {1: ROWS}
    with batch.state.read() as tx:
        kinds = [event.kind for event in events.after(tx, 0)][-2:]
        assert kinds == ["deployment.scored", "deployment.verified"]
        assert f"output/fraud/{made.id}" in lineage.downstream(tx, "version/fraud@1")
        (kept,) = tx.exec(select(BatchOutput)).all()
    assert (kept.digest, kept.input_digest, kept.finished_at is not None) == (
        made.digest,
        file_digest(tmp_path / "rows.csv"),
        True,
    )


def rolled_back(workspace: Workspace, folder: Path) -> None:
    """Version 1 wrote old.csv; version 2 wrote a.csv and b.csv, and was rolled back."""
    path = rows(folder)
    score(workspace, "fraud", path, folder / "old.csv")
    deploy(workspace, "fraud", model="fraud", version=2)
    for name in ("a", "b"):
        score(workspace, "fraud", rows(folder, f"{name}-rows.csv"), folder / f"{name}.csv")
    asked = roll_back(workspace, "fraud", to=1, reason="worse")
    assert asked.state == "unproven"
    assert [Path(output.output).name for output in asked.outputs] == ["b.csv", "a.csv"]
    assert {output.version for output in asked.outputs} == {2}


def test_a_rollback_lists_what_the_bad_version_wrote_and_it_is_scored_again(batch: Workspace, tmp_path: Path) -> None:
    rolled_back(batch, tmp_path)
    bad = yes(tmp_path / "a.csv")
    done = score_again(batch, "fraud")
    assert [(Path(one.output).name, one.why_not) for one in done] == [("b.csv", None), ("a.csv", None)]
    assert yes(tmp_path / "a.csv") > 2 * bad
    assert queries.deployment_row(batch, "fraud").state == "verified"
    assert queries.operations(batch)[0].outputs == ()
    assert score_again(batch, "fraud") == []
    assert requests_by_revision(batch, "fraud") == {1: ROWS, 2: 2 * ROWS, 3: 2 * ROWS}


def test_an_input_that_is_gone_or_changed_is_not_taken_for_what_was_scored(batch: Workspace, tmp_path: Path) -> None:
    rolled_back(batch, tmp_path)
    before = file_digest(tmp_path / "a.csv")
    rows(tmp_path, "a-rows.csv", seed=9)
    (tmp_path / "b-rows.csv").unlink()
    why = [one.why_not or "" for one in score_again(batch, "fraud")]
    assert "is gone" in why[0]
    assert "has changed since" in why[1]
    assert file_digest(tmp_path / "a.csv") == before


def test_again_needs_a_rollback_or_a_version(batch: Workspace, tmp_path: Path) -> None:
    score(batch, "fraud", rows(tmp_path), tmp_path / "out.csv")
    with pytest.raises(UsageError, match="no rollback: say whose outputs"):
        score_again(batch, "fraud")
    with pytest.raises(UsageError, match="its outputs stand"):
        score_again(batch, "fraud", version=1)
    deploy(batch, "fraud", model="fraud", version=2)
    (done,) = score_again(batch, "fraud", version=1)
    assert done.done is not None
    assert done.done.version == 2


def test_what_is_refused_leaves_nothing(batch: Workspace, tmp_path: Path) -> None:
    path, out = rows(tmp_path), tmp_path / "out.csv"
    with pytest.raises(NotFoundError):
        score(batch, "nobody", path, out)
    deploy(batch, "here", model="fraud", version=1)
    with pytest.raises(RefusedError, match="only a batch deployment scores tables"):
        score(batch, "here", path, out)
    with pytest.raises(UsageError, match="both what is scored and what is written"):
        score(batch, "fraud", path, path)
    with pytest.raises(UsageError, match="is of no kind that is written"):
        score(batch, "fraud", path, tmp_path / "out.xlsx")
    with pytest.raises(UsageError, match="cannot be written"):
        score(batch, "fraud", path, tmp_path / "nowhere" / "out.csv")
    with pytest.raises(DataError, match="cannot be read"):
        score(batch, "fraud", tmp_path / "nothing.csv", out)
    with pytest.raises(DataError, match="Column 'absent' is missing"):
        score(batch, "fraud", path, out, key="absent")
    settings = batch.settings.model_copy(update={"workspace": WorkspaceSettings(read_only=True)})
    with pytest.raises(ReadOnlyError):
        score(dataclasses.replace(batch, settings=settings), "fraud", path, out)
    assert not out.exists()
    assert leftovers(tmp_path) == []
    assert totals(batch).predictions == 0


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda f: f.assign(amount=f["amount"].astype(str).where(f.index != 41, "many")), "row 42: column 'amount'"),
        (lambda f: f.drop(columns="channel"), "Column 'channel' is missing"),
        (lambda f: f.assign(prediction=1), "has a column 'prediction'"),
        (lambda f: f.assign(at="yesterday"), "row 1: the event time takes a time"),
        (lambda f: f.head(0), "has no rows"),
    ],
)
def test_a_table_that_does_not_fit_is_named_by_column_and_row(
    batch: Workspace, tmp_path: Path, change: object, says: str
) -> None:
    assert callable(change)
    path, out = tmp_path / "rows.csv", tmp_path / "out.csv"
    change(pd.read_csv(rows(tmp_path))).to_csv(path, index=False)
    with pytest.raises(DataError, match=says):
        score(batch, "fraud", path, out)
    assert not out.exists()
    assert leftovers(tmp_path) == []
    assert totals(batch).predictions == 0


def moving(workspace: Workspace, monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    """Somebody deploys another version while each of the first scores goes on."""
    real, left = scoring._place, [2, 1, 2, 1][:times]

    def place(*arguments: object, **named: object) -> object:
        if left:
            deploy(workspace, "fraud", model="fraud", version=left.pop(0))
        return real(*arguments, **named)  # type: ignore[arg-type]  # handed on as they came

    monkeypatch.setattr(scoring, "_place", place)


def test_what_a_version_scored_while_it_was_replaced_is_not_written(
    batch: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moving(batch, monkeypatch, 1)
    with pytest.raises(ConflictError, match="now at revision 2, and this was scored by revision 1"):
        score(batch, "fraud", rows(tmp_path), tmp_path / "out.csv")
    assert not (tmp_path / "out.csv").exists()
    assert totals(batch).predictions == 0


def test_a_scheduled_score_begins_again_with_what_replaced_it(
    batch: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moving(batch, monkeypatch, 2)
    rows(batch.root)
    score_scheduled(batch, "fraud", "rows.csv", "out.parquet")
    assert len(pd.read_parquet(batch.root / "out.parquet")) == ROWS
    assert requests_by_revision(batch, "fraud") == {3: ROWS}


def test_a_score_that_was_given_up_writes_nothing(batch: Workspace, tmp_path: Path) -> None:
    def fence(tx: Session) -> None:
        raise ConflictError("given up")

    with pytest.raises(ConflictError, match="given up"):
        score(batch, "fraud", rows(tmp_path), tmp_path / "out.csv", fence=fence)
    assert not (tmp_path / "out.csv").exists()


def test_a_deployment_of_batch_is_no_route_of_the_gateway(batch: Workspace) -> None:
    from quarterdeck.deployments.routes import desired_routes

    assert desired_routes(batch) == []
