"""The verb that compares two tables."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from quarterdeck_console.cli.output import JsonFlag, emit, say, table

if TYPE_CHECKING:
    from quarterdeck.monitoring.tables import ComparedColumn

UNITS = {"wasserstein_normed": "sigma", "jensen_shannon": "Jensen-Shannon", "share_moved": "of values moved"}


class Rule(StrEnum):
    QUARTERDECK = "quarterdeck"
    EVIDENTLY = "evidently"


def drift(
    reference: Annotated[
        Path, typer.Argument(help="The table to compare with: CSV, Parquet or JSON lines, or a folder of such files.")
    ],
    current: Annotated[Path, typer.Argument(help="The table that may have moved.")],
    columns: Annotated[
        list[str] | None,
        typer.Option("--column", "-c", help="Only this column; may be given again.", show_default=False),
    ] = None,
    rule: Annotated[Rule, typer.Option("--rule", help="Whose verdict decides about the exit code.")] = Rule.QUARTERDECK,
    sketch: Annotated[
        bool | None,
        typer.Option(
            "--sketch/--exact",
            help="Within 1 GB whatever the size, with an error that is stated; or all values of a column at once. By "
            "default folders are sketched, Parquet of more than 3 million rows, and other files of more than 100 MB.",
            show_default=False,
        ),
    ] = None,
    as_data: JsonFlag = False,
) -> None:
    """Compare two tables column by column; ends with 1 if a column has drifted. Needs no workspace."""
    from quarterdeck.statistics.processor import choose_quicker_sort

    choose_quicker_sort()
    from quarterdeck.monitoring.sketches import compare_sketched, fit_whole
    from quarterdeck.monitoring.tables import compare_tables

    by_sketches, folders = sketch, reference.is_dir() or current.is_dir()
    if by_sketches is None:
        by_sketches = folders or (rule is Rule.QUARTERDECK and not fit_whole(reference, current))
    _check_drift(reference, current, by_sketches, rule)
    found = (compare_sketched if by_sketches else compare_tables)(reference, current, watched=columns or ())
    if found.sketched and sketch is None:
        why = "Folders are compared" if folders else "Too large to be compared whole within 1 GB, so"
        say(f"{why} by sketches: effects are +- what is stated, exact where nothing is.")
    text = table(
        ("column", "verdict", "effect", "q", "missing", "unseen", "evidently"),
        [_drift_row(one) for one in found.columns]
        + [(name, "other type", words, "", "", "", "") for name, words in found.retyped.items()],
    )
    for name, why in found.declined.items():
        text += f"\n{name} was not compared: {why}."
    emit(found, text, as_data=as_data)
    by_preset = [one.score.column for one in found.columns if one.preset is not None and one.preset.drifted]
    # The preset knows nothing of a column that holds something else; that it moved is beyond doubt.
    if found.drifted if rule is Rule.QUARTERDECK else by_preset or found.retyped:
        raise typer.Exit(1)


def _check_drift(reference: Path, current: Path, sketched: bool, rule: Rule) -> None:
    from quarterdeck.errors import UsageError

    folder = next((path for path in (reference, current) if path.is_dir()), None)
    if folder is not None and rule is Rule.EVIDENTLY:
        raise UsageError(
            f"Evidently's preset needs every value of a file, and {folder} is a folder, which is compared by sketches "
            "only: leave out --rule evidently."
        )
    if sketched and rule is Rule.EVIDENTLY:
        raise UsageError("Evidently's preset needs every value of a file: leave out --sketch, or --rule evidently.")
    if folder is not None and not sketched:
        raise UsageError(f"{folder} is a folder, which is compared by sketches only: leave out --exact.")


def _share(share: float, verdict: str) -> str:
    """A share of the rows, and whether that is a finding by itself."""
    return f"{share:.1%}{', drifted' * (verdict == 'drifted')}" if share or verdict == "drifted" else ""


def _drift_row(one: ComparedColumn) -> tuple[str, ...]:
    score, figure = one.score, one.preset
    error = f", sketched, +-{one.error:.2g}" if one.error else ""
    return (
        score.column,
        score.verdict,
        f"{score.effect:.3g} {UNITS[score.measure]}{error}",
        f"{score.q_value:.3g}",
        _share(score.missing_current, score.missing_verdict),
        _share(score.unseen, score.unseen_verdict),
        "" if figure is None else f"{figure.method} {figure.score:.3g}{', drift' if figure.drifted else ''}",
    )
