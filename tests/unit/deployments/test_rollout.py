"""Deploy, roll back, undo: what they write, and what they refuse."""

from __future__ import annotations

import dataclasses

import pytest

from quarterdeck import events, lineage
from quarterdeck.deployments import queries
from quarterdeck.deployments.deployment import ServedBy
from quarterdeck.deployments.operation import OperationState
from quarterdeck.deployments.revision import RevisionKind
from quarterdeck.deployments.rollout import deploy, roll_back, undo
from quarterdeck.errors import ConflictError, NotFoundError, ReadOnlyError, RefusedError, UsageError
from quarterdeck.registry.signature import Feature
from quarterdeck.registry.version import Format, GateVerdict, find_version
from quarterdeck.settings import Settings
from quarterdeck.workspace import Workspace
from tests.unit.deployments.factories import AMOUNT, CHANNEL, add_version, add_worker, prove, serve_for_long


def with_settings(opened: Workspace, **sections: object) -> Workspace:
    return dataclasses.replace(opened, settings=Settings.model_validate(sections))


def test_a_deployment_is_made_by_its_first_deploy(workspace: Workspace) -> None:
    row = deploy(workspace, "payments", model="fraud", version=add_version(workspace), reason="first")
    assert (row.state, row.kind, row.from_revision, row.to_revision, row.version) == ("planned", "deploy", None, 1, 1)
    (seen,) = queries.deployments(workspace)
    assert (seen.name, seen.desired_revision, seen.version, seen.state, seen.operation) == (
        "payments",
        1,
        1,
        "planned",
        row.id,
    )
    with workspace.state.read() as tx:
        newest = events.after(tx, 0)[-1]
        assert (newest.kind, newest.subject) == ("deployment.deployed", "deployment/payments")
        assert newest.data == {
            "operation": row.id,
            "from": None,
            "to": 1,
            "model": "fraud",
            "version": 1,
            "reason": "first",
            "served_by": "gateway",
        }
        assert lineage.upstream(tx, "revision/payments@1") == ["version/fraud@1"]


def test_deploying_what_is_desired_changes_nothing(workspace: Workspace) -> None:
    version = add_version(workspace)
    first = deploy(workspace, "payments", model="fraud", version=version)
    assert deploy(workspace, "payments", model="fraud", version=version, actor="policy") == first
    assert len(queries.revisions(workspace, "payments")) == 1


def test_a_rollback_is_a_new_revision_with_the_old_variants(workspace: Workspace) -> None:
    for _ in range(2):
        deploy(workspace, "payments", model="fraud", version=add_version(workspace))
    row = roll_back(workspace, "payments", to=1, reason="worse")
    assert (row.from_revision, row.to_revision, row.version, row.from_version) == (2, 3, 1, 2)
    newest, second, _ = queries.revisions(workspace, "payments")
    assert (newest.kind, newest.goes_back_to, newest.replaces, newest.desired) == (RevisionKind.ROLLBACK, 1, 2, True)
    assert second.replaced_at is not None
    assert second.state == "superseded"


def test_a_rollback_without_a_goal_goes_to_the_last_known_good(workspace: Workspace) -> None:
    worker = add_worker(workspace)
    serve_for_long(workspace, worker, deploy(workspace, "payments", model="fraud", version=add_version(workspace)))
    deploy(workspace, "payments", model="fraud", version=add_version(workspace))
    assert roll_back(workspace, "payments", reason="worse").version == 1


def test_a_rollback_is_never_a_guess(workspace: Workspace) -> None:
    for _ in range(2):
        deploy(workspace, "payments", model="fraud", version=add_version(workspace))
    with pytest.raises(RefusedError, match="no known-good revision"):
        roll_back(workspace, "payments", reason="worse")
    assert len(queries.revisions(workspace, "payments")) == 2


def test_undo_reverses_the_newest_change_and_undo_again_repeats_it(workspace: Workspace) -> None:
    for _ in range(2):
        deploy(workspace, "payments", model="fraud", version=add_version(workspace))
    roll_back(workspace, "payments", to=1, reason="worse")
    assert undo(workspace, "payments").version == 2
    assert undo(workspace, "payments").version == 1
    newest = queries.revisions(workspace, "payments")[0]
    assert (newest.number, newest.kind, newest.reason) == (5, RevisionKind.UNDO, "undo of revision 4 (undo)")


def test_the_first_revision_cannot_be_undone(workspace: Workspace) -> None:
    deploy(workspace, "payments", model="fraud", version=add_version(workspace))
    with pytest.raises(RefusedError, match="nothing before it"):
        undo(workspace, "payments")


def test_a_change_of_what_has_moved_is_a_conflict_and_writes_nothing(workspace: Workspace) -> None:
    for _ in range(2):
        deploy(workspace, "payments", model="fraud", version=add_version(workspace))
    third = add_version(workspace)
    with pytest.raises(ConflictError, match="now at revision 2"):
        roll_back(workspace, "payments", to=1, expected=1, reason="late")
    with pytest.raises(ConflictError, match="now at revision 2"):
        undo(workspace, "payments", expected=1)
    with pytest.raises(ConflictError, match="now at revision 2"):
        deploy(workspace, "payments", model="fraud", version=third, expected=1)
    assert len(queries.revisions(workspace, "payments")) == 2


def test_a_failed_gate_is_not_deployed_and_no_deployment_is_left_behind(workspace: Workspace) -> None:
    version = add_version(workspace, gate=GateVerdict.FAILED)
    with pytest.raises(RefusedError, match=r"gate failed \(roc_auc\)"):
        deploy(workspace, "payments", model="fraud", version=version)
    assert queries.deployments(workspace) == []
    with pytest.raises(NotFoundError, match="no deployment 'payments'"):
        queries.revisions(workspace, "payments")


@pytest.mark.parametrize(
    ("features", "says"),
    [
        ([AMOUNT], "lacks channel"),
        ([AMOUNT, CHANNEL, Feature("age", "number", nullable=False)], "needs age"),
        ([CHANNEL, AMOUNT], "another order"),
        ([AMOUNT, Feature("channel", "boolean", nullable=False)], "channel is boolean, not text"),
    ],
)
def test_a_version_that_callers_would_stumble_over_is_refused(
    workspace: Workspace, features: list[Feature], says: str
) -> None:
    deploy(workspace, "payments", model="fraud", version=add_version(workspace))
    with pytest.raises(RefusedError, match=says):
        deploy(workspace, "payments", model="fraud", version=add_version(workspace, features=features))


def test_whole_numbers_may_become_numbers(workspace: Workspace) -> None:
    deploy(workspace, "payments", model="fraud", version=add_version(workspace))
    retyped = [Feature("amount", "integer", nullable=True), CHANNEL]
    assert deploy(workspace, "payments", model="fraud", version=add_version(workspace, features=retyped)).version == 2


def test_a_version_without_its_artifact_cannot_be_rolled_back_to(workspace: Workspace) -> None:
    for _ in range(2):
        deploy(workspace, "payments", model="fraud", version=add_version(workspace))
    with workspace.state.read() as tx:
        artifact = find_version(tx, "fraud", 1).artifact
    assert artifact is not None
    workspace.artifacts.path(artifact).unlink()
    with pytest.raises(RefusedError, match=r"artifact .* is missing"):
        roll_back(workspace, "payments", to=1, reason="worse")


def test_unknown_names_are_told_with_those_that_exist(workspace: Workspace) -> None:
    with pytest.raises(NotFoundError, match="no model 'fraud'"):
        deploy(workspace, "payments", model="fraud", version=1)
    deploy(workspace, "payments", model="fraud", version=add_version(workspace))
    with pytest.raises(NotFoundError, match="Known: payments"):
        roll_back(workspace, "typo", to=1, reason="x")
    with pytest.raises(NotFoundError, match="no revision 9"):
        roll_back(workspace, "payments", to=9, reason="x")
    with pytest.raises(UsageError, match="cannot be a deployment's name"):
        deploy(workspace, "a b", model="fraud", version=1)
    with pytest.raises(UsageError, match="serves version 1, which is what is desired"):
        roll_back(workspace, "payments", to=1, reason="x")


def test_a_deployment_keeps_to_its_model(workspace: Workspace) -> None:
    deploy(workspace, "payments", model="fraud", version=add_version(workspace))
    with pytest.raises(UsageError, match="serves versions of model 'fraud'"):
        deploy(workspace, "payments", model="churn", version=add_version(workspace, "churn"))


def test_a_protected_deployment_wants_a_reason(workspace: Workspace) -> None:
    guarded = with_settings(workspace, deployments={"payments": {"protected": True}})
    with pytest.raises(RefusedError, match="protected"):
        deploy(guarded, "payments", model="fraud", version=add_version(workspace), reason=" ")
    assert deploy(guarded, "payments", model="fraud", version=1, reason="release").to_revision == 1


def test_a_read_only_workspace_refuses_every_change(workspace: Workspace) -> None:
    for _ in range(2):
        deploy(workspace, "payments", model="fraud", version=add_version(workspace))
    closed = with_settings(workspace, workspace={"read_only": True})
    with pytest.raises(ReadOnlyError):
        roll_back(closed, "payments", to=1, reason="x")
    with pytest.raises(ReadOnlyError):
        undo(closed, "payments")
    assert len(queries.revisions(workspace, "payments")) == 2


def test_an_external_deployment_is_unproven_until_it_reports_and_rolled_back_elsewhere(workspace: Workspace) -> None:
    for _ in range(2):
        version = add_version(workspace, format_=Format.EXTERNAL)
        row = deploy(workspace, "payments", model="fraud", version=version, served_by=ServedBy.EXTERNAL)
        assert row.state is OperationState.UNPROVEN
    assert [row.state for row in queries.revisions(workspace, "payments")] == ["unproven", "superseded"]
    assert [row.verified_at for row in queries.revisions(workspace, "payments")] == [None, None]
    with pytest.raises(RefusedError, match="roll back there"):
        roll_back(workspace, "payments", to=1, reason="x")
    with pytest.raises(RefusedError, match="is external"):
        deploy(workspace, "here", model="fraud", version=1)


def test_production_intervals_run_from_proof_to_proof(workspace: Workspace) -> None:
    worker = add_worker(workspace)
    for _ in range(3):
        row = deploy(workspace, "payments", model="fraud", version=add_version(workspace))
        if row.version != 2:  # the second is never proved: it never served
            prove(workspace, worker, "payments", row.to_revision)
    first, last = queries.intervals(workspace, "payments")
    assert (first.version, last.version) == (1, 3)
    assert first.end == last.start
    assert last.end is None
