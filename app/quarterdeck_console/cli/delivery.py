"""Verbs on deployments: from adopting a model to rolling it back."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from quarterdeck_console.cli.elsewhere import host_of
from quarterdeck_console.cli.output import Detach, JsonFlag, Reason, emit, say, table
from quarterdeck_console.cli.proof import exit_without_proof, wait_for_proof
from quarterdeck_console.cli.session import opened

if TYPE_CHECKING:
    from quarterdeck.deployments.analysis import RollbackPlan
    from quarterdeck.deployments.deployment import ServedBy
    from quarterdeck.deployments.queries import OperationRow
    from quarterdeck.workspace import Workspace

Deployment = Annotated[str, typer.Argument(help="The deployment.")]
Expected = Annotated[
    int | None,
    typer.Option("--expected", help="Refuse if this is not the revision that is wanted now.", show_default=False),
]
Confirm = Annotated[
    str | None, typer.Option("--confirm", help="A protected deployment's name, once more.", show_default=False)
]


ModelFile = Annotated[
    str | None,
    typer.Argument(
        help="A file (skops, ONNX, joblib, pickle, XGBoost, LightGBM) or a folder (MLflow, code); with --external "
        "the URL where it answers, if it has one.",
        show_default=False,
    ),
]
Sample = Annotated[Path | None, typer.Option("--sample", help="Rows that the model takes.", show_default=False)]
AdoptedName = Annotated[
    str | None, typer.Option("--name", help="By default that of the file, or of the URL's host.", show_default=False)
]
External = Annotated[bool, typer.Option("--external", help="It is served elsewhere: only watch it.")]
Batch = Annotated[bool, typer.Option("--batch", help="It answers no requests: `score` writes tables by it.")]
Target = Annotated[str | None, typer.Option("--target", help="The sample's column with the truth.", show_default=False)]
Time = Annotated[str | None, typer.Option("--time", help="The column with the event time.", show_default=False)]
Key = Annotated[str | None, typer.Option("--key", help="The column with your own key of a row.", show_default=False)]
Python = Annotated[
    Path | None,
    typer.Option("--python", help="The model's own environment: its folder or interpreter.", show_default=False),
]
Entry = Annotated[
    str | None,
    typer.Option("--entry", help="The model is a function of the code in MODEL: module:predict.", show_default=False),
]
TrustPickle = Annotated[bool, typer.Option("--trust-pickle", help="Load this pickle, which runs whatever it contains.")]


def adopt(
    model: ModelFile = None,
    sample: Sample = None,
    name: AdoptedName = None,
    external: External = False,
    batch: Batch = False,
    target: Target = None,
    time: Time = None,
    key: Key = None,
    python: Python = None,
    entry: Entry = None,
    trust_pickle: TrustPickle = False,
    detach: Detach = False,
    as_data: JsonFlag = False,
) -> None:
    """Register, deploy and watch a model that was made elsewhere."""
    from quarterdeck.deployments.adoption import adopt as adopt_model
    from quarterdeck.errors import UsageError
    from quarterdeck.registry.adoption import Surroundings

    if sample is None:
        raise UsageError("Give --sample FILE: rows like those that the model gets, to learn its signature from.")
    if (model is None and not external) or (external and batch):
        raise UsageError(
            "Give a model file, with --batch if it scores tables, or --external if it is served elsewhere."
        )
    name = name or (Path(model or "").resolve().name.split(".")[0] if not external else host_of(model))
    path = None if external or model is None else Path(model)
    if sys.stderr.isatty():
        say("Reading the sample, and what the model makes of it ...")
    with opened() as workspace:
        adopted = adopt_model(
            workspace,
            name,
            path=path,
            sample=sample,
            target=target,
            time=time,
            key=key,
            batch=batch,
            url=model if external else None,
            surroundings=Surroundings(python, entry, trust_pickle),
        )
        missing = None if external or detach else wait_for_proof(workspace, adopted.operation)[1]
    for sentence in adopted.unknown:
        say(f"Not known: {sentence}")
    what = f"{adopted.model}@{adopted.version} is deployment '{adopted.deployment}'"
    text = f"{what}, watched by monitor '{adopted.monitor}'."
    if adopted.lines is not None:
        text += f"\n\n{adopted.lines.text}"
    emit(adopted, text, as_data=as_data)
    exit_without_proof(missing)


def deploy(
    name: Deployment,
    model: Annotated[
        str, typer.Option("--model", "-m", help="The model; by default the deployment's own.", show_default=False)
    ] = "",
    version: Annotated[
        int | None, typer.Option("--version", "-v", help="By default the newest.", show_default=False)
    ] = None,
    served_by: Annotated[
        str | None,
        typer.Option(
            "--served-by", help="gateway (default for a new one), process, external or batch.", show_default=False
        ),
    ] = None,
    reason: Reason = "",
    expected: Expected = None,
    confirm: Confirm = None,
    detach: Detach = False,
    as_data: JsonFlag = False,
) -> None:
    """Serve a version under a deployment's name; a new revision, proved by every gateway worker."""
    from quarterdeck.deployments.rollout import deploy as make_revision

    server = _server(served_by)

    with opened() as workspace:
        _ask_name(workspace, name, confirm)
        model = model or _model_of(workspace, name)
        if version is None:
            version = _newest_of(workspace, model)
        operation = make_revision(
            workspace,
            name,
            model=model,
            version=version,
            reason=reason,
            expected=expected,
            served_by=server,
        )
        _end(workspace, operation, detach=detach, as_data=as_data)


def _server(served_by: str | None) -> ServedBy | None:
    from quarterdeck.deployments.deployment import ServedBy
    from quarterdeck.errors import UsageError

    try:
        return None if served_by is None else ServedBy(served_by)
    except ValueError:
        raise UsageError(f"'{served_by}' is not who serves: write {', '.join(ServedBy)}.") from None


def _model_of(workspace: Workspace, deployment: str) -> str:
    """The model that the deployment serves; for a new deployment the model of the same name."""
    from quarterdeck.deployments.queries import deployments

    return next((row.model for row in deployments(workspace) if row.name == deployment), deployment)


def _newest_of(workspace: Workspace, model: str) -> int:
    from quarterdeck.registry.queries import versions

    return versions(workspace, model)[0].number


def rollback(
    name: Deployment,
    to: Annotated[
        int | None, typer.Option("--to", help="A revision; by default the last known-good one.", show_default=False)
    ] = None,
    reason: Reason = "",
    expected: Expected = None,
    confirm: Confirm = None,
    plan: Annotated[bool, typer.Option("--plan", help="Only say what it would do, and whether it would help.")] = False,
    detach: Detach = False,
    as_data: JsonFlag = False,
) -> None:
    """Go back to an earlier revision, as a new one that is proved by traffic."""
    from quarterdeck.deployments.analysis import plan as make_plan
    from quarterdeck.deployments.rollout import roll_back

    with opened() as workspace:
        if plan:
            found = make_plan(workspace, name, to=to)
            emit(found, _plan_text(found), as_data=as_data)
            return
        _ask_name(workspace, name, confirm)
        operation = roll_back(workspace, name, to=to, expected=expected, reason=reason)
        _end(workspace, operation, detach=detach, as_data=as_data)


def undo(
    name: Deployment,
    reason: Reason = "",
    expected: Expected = None,
    confirm: Confirm = None,
    detach: Detach = False,
    as_data: JsonFlag = False,
) -> None:
    """Reverse the newest change of a deployment, as a new revision."""
    from quarterdeck.deployments.rollout import undo as reverse

    with opened() as workspace:
        _ask_name(workspace, name, confirm)
        operation = reverse(workspace, name, expected=expected, reason=reason)
        _end(workspace, operation, detach=detach, as_data=as_data)


def _ask_name(workspace: Workspace, name: str, confirm: str | None) -> None:
    from quarterdeck.errors import RefusedError

    if workspace.settings.deployment(name).protected and confirm != name:
        raise RefusedError(f"Deployment '{name}' is protected: add --confirm {name}.")


def _end(workspace: Workspace, operation: OperationRow, *, detach: bool, as_data: bool) -> None:
    row, missing = (operation, None) if detach else wait_for_proof(workspace, operation.id)
    emit(row, _operation_text(row), as_data=as_data)
    for output in row.outputs:
        say(f"Version {output.version} wrote {output.output} ({output.rows:,} rows, {output.at:%Y-%m-%d %H:%M} UTC).")
    if row.outputs:
        say(f"`quarterdeck score --again {row.deployment}` scores {'it' if len(row.outputs) == 1 else 'them'} again.")
    exit_without_proof(missing)


def _operation_text(row: OperationRow) -> str:
    alive = sum(proof.alive for proof in row.proofs)
    text = f"{row.deployment}: revision {row.to_revision} (version {row.version}) is {row.state}"
    if row.milliseconds is not None:
        text += f" after {row.milliseconds:.0f} ms" + (f", by {alive} worker(s)" if alive else "")
    return text + (f": {row.error}" if row.error else "")


def _plan_text(plan: RollbackPlan) -> str:
    lines = [
        f"Would it help? {plan.would_help}, because {plan.because}",
        *(f"  or: {text}" for text in plan.alternatives),
    ]
    rows = [
        (
            c.revision,
            c.version,
            c.since,
            c.by,
            c.reason,
            c.health_then,
            "last known-good" if c.last_known_good else c.why_not,
        )
        for c in plan.candidates
    ]
    lines += [
        f"  version {o.version} wrote {o.output} ({o.rows:,} rows): `score --again` redoes it" for o in plan.outputs
    ]
    return "\n".join([*lines, "", table(("revision", "version", "since", "by", "reason", "health", "note"), rows)])


def history(name: Deployment, as_data: JsonFlag = False) -> None:
    """Which version served when, who put it there, and why; of one served elsewhere also what was seen there."""
    from quarterdeck.deployments.queries import deployment_row, intervals, revisions

    with opened() as workspace:
        rows = revisions(workspace, name)
        elsewhere = bool(rows) and deployment_row(workspace, name).served_by == "external"
        seen = intervals(workspace, name) if elsewhere else []
    text = table(
        ("revision", "version", "kind", "by", "reason", "made", "verified", "replaced"),
        [(r.number, r.version, r.kind, r.actor, r.reason, r.created_at, r.verified_at, r.replaced_at) for r in rows],
    )
    if elsewhere:
        spans = [(s.version, s.start, s.end or "still", s.revision or "not asked for") for s in seen]
        text += "\n\n" + table(("seen version", "from", "to", "revision"), spans, empty="Nothing was seen there yet.")
    observed = [{"kind": "observed", **asdict(span)} for span in seen]
    emit([*rows, *observed], text, as_data=as_data)
