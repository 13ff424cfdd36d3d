"""The verb on objectives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from quarterdeck_console.cli.output import JsonFlag, emit, say, table
from quarterdeck_console.cli.session import opened

if TYPE_CHECKING:
    from quarterdeck.monitoring.standing import ObjectiveRow

EMPTY = "No objectives. [deployments.NAME.slo] in quarterdeck.toml sets them: availability = 0.999."


def slo(
    deployment: Annotated[
        str | None, typer.Argument(metavar="DEPLOYMENT", help="Only of this one, with all its burn rates.")
    ] = None,
    as_data: JsonFlag = False,
) -> None:
    """How deployments stand by their objectives: measured, what is left of the error budget, how fast it burns."""
    from quarterdeck.deployments.queries import deployments
    from quarterdeck.monitoring.standing import standings

    with opened() as workspace:
        rows = standings(workspace, deployment)
        known = {row.name for row in deployments(workspace)}
    text = _objectives(rows)
    if deployment is not None:
        text += f"\n\n{_burns(rows)}"
    emit(rows, text, as_data=as_data)
    for name in dict.fromkeys(row.deployment for row in rows if row.deployment not in known):
        say(f"[deployments.{name}.slo] sets objectives, and nothing is deployed as '{name}'.")


def _objectives(rows: list[ObjectiveRow]) -> str:
    from quarterdeck.monitoring import wording

    return table(
        ("deployment", "objective", "target", "measured", "over", "budget left", "burns", "state"),
        [
            (
                row.deployment,
                row.objective,
                wording.target(row.target) + (f" within {row.within}" if row.within else ""),
                wording.measured(row.budget) if row.total else None,
                f"{row.period}, {row.total:,} {row.unit}",
                wording.remaining(row.budget, row.unit),
                ", ".join(f"{one.long} {wording.times(one.long_burn)}" for one in row.burns if row.total),
                row.standing + (f", alert/{row.alert}" if row.alert else ""),
            )
            for row in rows
        ],
        empty=EMPTY,
    )


def _burns(rows: list[ObjectiveRow]) -> str:
    from quarterdeck.monitoring import wording

    return table(
        ("objective", "windows", "burn", "now", "limit", "errors", "needed", "opens"),
        [
            (
                row.objective,
                f"{one.long} and {one.short}",
                wording.times(one.long_burn),
                wording.times(one.short_burn),
                f"{one.rate:g}x",
                f"{one.errors:,}",
                row.minimum_errors,
                one.severity,
            )
            for row in rows
            for one in row.burns
        ],
    )
