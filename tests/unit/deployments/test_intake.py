"""What other systems report is held to what the version takes and answers; one bad row and none is taken."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import Session

from quarterdeck.deployments import queries
from quarterdeck.deployments.deployment import ServedBy
from quarterdeck.deployments.intake import take_labels, take_predictions
from quarterdeck.deployments.reporting import label_table, report_table
from quarterdeck.deployments.rollout import deploy
from quarterdeck.errors import DataError, NotFoundError, RefusedError
from quarterdeck.events import after
from quarterdeck.registry.signature import Feature, Signature
from quarterdeck.registry.version import Format, Task, find_version
from quarterdeck.traffic.labelling import Labelled
from quarterdeck.traffic.queries import recent, totals
from quarterdeck.workspace import Workspace
from tests.unit.deployments.factories import add_version

ROOMS = Feature("rooms", "integer", nullable=True)
CODE = Feature("code", "text", nullable=True)
GARDEN = Feature("garden", "boolean", nullable=True)
AREA = Feature("area", "number", nullable=True)
FEATURES = (AREA, ROOMS, CODE, GARDEN)
GOOD = {"id": "a", "inputs": {"rooms": 3, "area": 71, "code": "8001", "garden": None}, "prediction": 1}


def elsewhere(workspace: Workspace, *, features: Sequence[Feature] = FEATURES) -> int:
    """Deploy the next version of a model that is served elsewhere."""
    version = add_version(workspace, "flats", features=features, format_=Format.EXTERNAL)
    return deploy(workspace, "flats", model="flats", version=version, served_by=ServedBy.EXTERNAL).version


def make_regressor(workspace: Workspace, model: str, number: int) -> None:
    with workspace.state.write("test") as tx:
        version = find_version(tx, model, number)
        version.task = Task.REGRESSION
        version.signature = Signature(FEATURES, target="rent", classes=None).as_dict()


def test_values_are_kept_in_the_order_of_the_features(workspace: Workspace) -> None:
    elsewhere(workspace)
    listed = {**GOOD, "id": "b", "inputs": [None, 2.0, None, True], "probabilities": [0, 1], "latency_us": 5.5}
    assert take_predictions(workspace, "flats", [GOOD, listed]).accepted == 2
    assert take_predictions(workspace, "flats", [GOOD, listed]).duplicates == 2
    rows = {row.id: row for row in recent(workspace, "flats", 10)}
    assert [rows[id].inputs for id in "ab"] == [[71, 3, "8001", None], [None, 2, None, True]]
    assert (rows["a"].version, rows["b"].probabilities, rows["b"].latency_ms) == (1, [0.0, 1.0], 0.005)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"id": None}, "has no 'id'"),
        ({"id": ""}, "has an empty 'id'"),
        ({"inputs": {"area": 1}}, "lacks the input rooms, code, garden"),
        ({"inputs": [1]}, "4 values, by name or in this order: area, rooms, code, garden"),
        ({"inputs": ["abc", 1, "x", True]}, "input 'area' takes a number or null, not 'abc'"),
        ({"inputs": [True, 1, "x", True]}, "input 'area' takes a number or null, not True"),
        ({"inputs": [10**400, 1, "x", True]}, "input 'area' takes a number"),
        ({"inputs": [1, 1.5, "x", True]}, "input 'rooms' takes a whole number or null, not 1.5"),
        ({"inputs": [1, 1, 8001, True]}, "input 'code' takes text or null, not 8001"),
        ({"inputs": [1, 1, "x", 1]}, "input 'garden' takes true or false or null, not 1"),
        ({"version": 99}, "'version' is 99, and there is no such version. Known: 1"),
        ({"version": "one"}, "'version' takes a whole number, not 'one'"),
        ({"version": True}, "'version' takes a whole number"),
        ({"prediction": [1]}, "'prediction' takes a class"),
        ({"probabilities": [0.3]}, "'probabilities' takes 2, for 0, 1, not"),
        ({"probabilities": 0.3}, "'probabilities' takes 2"),
        ({"probabilities": [-0.1, 1.1]}, "'probabilities' takes numbers from 0 to 1, not -0.1"),
        ({"probabilities": ["0.5", 0.5]}, "'probabilities' takes numbers from 0 to 1"),
        ({"event_time": "yesterday"}, "'event_time' takes a time as ISO 8601 text"),
        ({"event_time": "2926-01-05T00:00:00Z"}, "'event_time' .* more than a day ahead of now"),
        ({"event_time": "1066-10-14T00:00:00Z"}, "'event_time' .* before 1970"),
        ({"latency_us": -1}, "'latency_us' takes a number of microseconds"),
        ({"key": "\ud800"}, "cannot be stored"),
    ],
)
def test_a_prediction_that_does_not_fit_names_the_row_and_nothing_is_taken(
    workspace: Workspace, change: dict[str, Any], says: str
) -> None:
    elsewhere(workspace)
    with pytest.raises(DataError, match=f"[Pp]rediction .*for 'flats'.*{says}"):
        take_predictions(workspace, "flats", [GOOD, {**GOOD, "id": "b", **change}])
    assert totals(workspace).predictions == 0


def test_a_regressor_answers_numbers_and_its_truth_is_one(workspace: Workspace) -> None:
    make_regressor(workspace, "flats", elsewhere(workspace))
    for change in ({"prediction": "dear"}, {"prediction": True}, {"probabilities": [0.5, 0.5]}):
        with pytest.raises(DataError, match="model answers numbers"):
            take_predictions(workspace, "flats", [{**GOOD, **change}])
    with pytest.raises(DataError, match=r"Label 2 for 'flats': 'value' takes a number.* not 'n/a'"):
        take_labels(workspace, "flats", [{"reference": "a", "value": 1}, {"reference": "b", "value": "n/a"}])
    assert take_predictions(workspace, "flats", [{**GOOD, "prediction": 412.5}]).accepted == 1
    assert take_labels(workspace, "flats", [{"reference": "a", "value": 400}]).accepted == 1


def test_a_label_of_two_classes_is_one_of_them_however_it_is_written(workspace: Workspace) -> None:
    elsewhere(workspace)
    taken = take_labels(workspace, "flats", [{"reference": "a", "value": value} for value in (1, 1.0, "1", 0)])
    assert taken == Labelled(accepted=1, duplicates=2, contradicting=1)
    for value in ("n/a", True, [1]):
        with pytest.raises(DataError, match="Label 1 for 'flats': 'value' takes"):
            take_labels(workspace, "flats", [{"reference": "a", "value": value}])


def test_a_row_is_held_to_the_version_that_it_names(workspace: Workspace) -> None:
    elsewhere(workspace)
    make_regressor(workspace, "flats", add_version(workspace, "flats", format_=Format.EXTERNAL))
    assert take_predictions(workspace, "flats", [{**GOOD, "version": 2, "prediction": 2.5}]).accepted == 1
    with pytest.raises(DataError, match="model answers numbers"):
        take_predictions(workspace, "flats", [{**GOOD, "id": "b", "prediction": "dear"}], version=2)


def test_a_deployment_that_is_served_here_takes_no_predictions_from_outside(
    workspace: Workspace, tmp_path: Path
) -> None:
    deploy(workspace, "here", model="fraud", version=add_version(workspace))
    table = tmp_path / "rows.csv"
    table.write_text("id,amount,channel,prediction\nx,1,app,1\n")
    with pytest.raises(RefusedError, match="served here"):
        take_predictions(workspace, "here", [GOOD])
    with pytest.raises(RefusedError, match="served here"):
        report_table(workspace, "here", table)


def test_a_table_is_held_to_the_same_and_post_codes_in_it_are_text(workspace: Workspace, tmp_path: Path) -> None:
    elsewhere(workspace)
    table = tmp_path / "rows.csv"
    table.write_text("id,area,rooms,code,garden,prediction,p,at\nx,71.5,3,8001,true,1,0.7,2026-01-02\ny,,,,,0,,\n")
    assert report_table(workspace, "flats", table, score="p", time="at").accepted == 2
    rows = {row.id: row for row in recent(workspace, "flats", 10)}
    assert (rows["x"].inputs, rows["y"].inputs) == ([71.5, 3, "8001", True], [None] * 4)
    assert (rows["x"].probabilities, rows["y"].probabilities) == ([pytest.approx(0.3), 0.7], None)
    table.write_text("id,area,rooms,code,garden,prediction,p\nz,abc,3,a,true,1,1.7\n")
    with pytest.raises(DataError, match="Prediction 1 for 'flats': the input 'area' takes a number"):
        report_table(workspace, "flats", table)
    with pytest.raises(DataError, match=r"Column 'p' takes probabilities, from 0 to 1; row 1 has 1\.7"):
        report_table(workspace, "flats", table, score="p")
    with pytest.raises(NotFoundError, match="no version 9"):
        report_table(workspace, "flats", table, version=9)
    table.write_text("id,label\nx,1\ny,perhaps\n")
    with pytest.raises(DataError, match="Label 2 for 'flats': 'value' takes 0 or 1, not 'perhaps'"):
        label_table(workspace, "flats", table)


def verified(tx: Session) -> list[dict[str, Any]]:
    return [event.data for event in after(tx, 0) if event.kind == "deployment.verified"]


def test_an_external_version_is_verified_once_a_new_prediction_names_it(workspace: Workspace) -> None:
    for _ in range(2):
        elsewhere(workspace)
    take_predictions(workspace, "flats", [GOOD])
    take_predictions(workspace, "flats", [{**GOOD, "id": "b", "version": 1}])
    take_predictions(workspace, "flats", [{**GOOD, "id": "b", "version": 2}])  # known already: it shows nothing
    (row,) = queries.deployments(workspace)
    assert row.state == "unproven"
    assert row.operation is None
    assert [(span.version, span.revision, span.end) for span in queries.intervals(workspace, "flats")] == [
        (1, None, None)
    ]
    take_predictions(workspace, "flats", [{**GOOD, "id": "c"}], version=2)
    take_predictions(workspace, "flats", [{**GOOD, "id": "d", "version": 2}])
    (row,) = queries.deployments(workspace)
    operation = queries.operations(workspace)[0]
    assert (row.state, operation.state) == ("verified", "verified")
    assert operation.milliseconds is not None
    with workspace.state.read() as tx:
        (data,) = verified(tx)
    assert (data["revision"], data["version"], data["workers"]) == (2, 2, 0)
    assert data["milliseconds"] == pytest.approx(operation.milliseconds, abs=0.1)
    assert [(span.version, span.revision) for span in queries.intervals(workspace, "flats")] == [(1, None), (2, 2)]
