"""One table against another, a column at a time: for files that no deployment has answered."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from quarterdeck.datasets.columns import TableColumns
from quarterdeck.errors import DataError, UsageError
from quarterdeck.statistics.drift import ColumnScore, score_pairs
from quarterdeck.statistics.preset import PresetFigure, preset_figure
from quarterdeck.statistics.sketch import Moments

if TYPE_CHECKING:
    from quarterdeck.statistics.column import PreparedColumn

AT_ONCE, MANY_ROWS = 2, 4_000_000
"""Columns that are sorted at once, in threads of their own; of tables with more rows one, for the sake of memory."""
MISSING = "the other table does not have it"


@dataclass(frozen=True, slots=True)
class ComparedColumn:
    score: ColumnScore
    preset: PresetFigure | None
    """What Evidently's preset says of it; None where a table has no value there, and of sketches."""
    error: float | None = None
    """By how much the effect may be off, of a sketched column; 0.0 where its sketches still held every value."""
    moments: tuple[Moments, Moments] | None = None
    """Range and moments of a numeric column that was sketched, in the reference and now; those are exact."""


@dataclass(frozen=True, slots=True)
class ComparedTables:
    """How one table differs from another."""

    reference: str
    current: str
    n_reference: int
    n_current: int
    columns: tuple[ComparedColumn, ...]
    declined: dict[str, str]
    """Columns that were not compared, and why."""
    sketched: bool = False
    """Not all values were held at once: effects have an error."""

    @property
    def drifted(self) -> tuple[str, ...]:
        """The columns that moved, whose share of missing values did, or that hold too much that is new."""
        return tuple(one.score.column for one in self.columns if one.score.moved)


def compare_tables(reference: Path, current: Path, *, watched: Sequence[str] = ()) -> ComparedTables:
    """Judge the columns of `current` against those of `reference`: all that both have, or those `watched`.

    A column is in memory alone, so tables of Parquet may be larger than that.

    Raises:
        DataError: a file cannot be read, or the tables have no column in common that can be compared.
        UsageError: a watched column is in neither table, or cannot be compared.
    """
    comparison = _Comparison(TableColumns(reference), TableColumns(current), watched)
    scores = score_pairs(comparison.pairs())
    if not scores:
        why = "; ".join(f"{name}: {words}" for name, words in comparison.declined.items())
        raise DataError(f"{reference} and {current} have no column that can be compared. {why}".rstrip())
    return ComparedTables(
        str(reference),
        str(current),
        comparison.reference.rows,
        comparison.current.rows,
        tuple(ComparedColumn(score, comparison.figures[score.column]) for score in scores),
        comparison.declined,
    )


def preset_figures(reference: Path, current: Path) -> list[PresetFigure]:
    """What Evidently's DataDriftPreset finds, without our own verdict. Columns without a value in a table are left out.

    Raises:
        DataError: a file cannot be read.
    """
    comparison = _Comparison(TableColumns(reference), TableColumns(current), ())
    with ThreadPoolExecutor(AT_ONCE if comparison.reference.rows <= MANY_ROWS else 1) as pool:
        found = list(pool.map(comparison.figure, comparison.names))
    return [figure for figure in found if figure is not None]


class _Comparison:
    def __init__(self, reference: TableColumns, current: TableColumns, watched: Sequence[str]) -> None:
        self.reference, self.current = reference, current
        self.figures: dict[str, PresetFigure | None] = {}
        both = [name for name in reference.kinds if name in current.kinds]
        strangers = sorted(set(watched) - set(both))
        if strangers:
            raise UsageError(
                f"Not columns that both tables have and that can be compared: {', '.join(strangers)}. "
                f"There are: {', '.join(both) or 'none'}."
            )
        self.names = [name for name in both if name in watched or not watched]
        lone = sorted(set(reference.kinds) ^ set(current.kinds))
        self.declined = {} if watched else {**reference.declined, **current.declined, **dict.fromkeys(lone, MISSING)}

    def figure(self, name: str) -> PresetFigure | None:
        """The preset's figure of one column; None where there is none."""
        kind = self.reference.kinds[name]
        before, after = self.reference.prepared(name, kind), self.current.prepared(name, kind)
        return None if before is None or after is None else preset_figure(before, after)

    def pairs(self) -> Iterator[tuple[PreparedColumn, PreparedColumn]]:
        for name in self.names:
            kind = self.reference.kinds[name]
            before = self.reference.prepared(name, kind)
            after = None if before is None else self.current.prepared(name, kind)
            if before is None or after is None:
                self.declined[name] = {**self.reference.declined, **self.current.declined}[name]
                continue
            self.figures[name] = preset_figure(before, after)
            yield before, after
