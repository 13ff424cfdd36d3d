"""One table against another, a column at a time: for files that no deployment has answered."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from quarterdeck.datasets.columns import Held, TableColumns
from quarterdeck.errors import DataError, UsageError
from quarterdeck.statistics.drift import ColumnScore, score_pairs
from quarterdeck.statistics.preset import PresetFigure, preset_figure
from quarterdeck.statistics.sketch import Moments

if TYPE_CHECKING:
    from quarterdeck.statistics.column import Kind, PreparedColumn

AT_ONCE, MANY_ROWS = 2, 4_000_000
"""Columns that are sorted at once, in threads of their own; of tables with more rows one, for the sake of memory."""
MISSING = "the other table does not have it"
WORDS: dict[Held, str] = {
    "numeric": "numbers",
    "categorical": "text or true/false",
    "time": "dates or times",
    "nested": "lists or records",
}


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
    retyped: dict[str, str]
    """Columns that hold something else now than in the reference, and what: a finding that needs no distance."""
    sketched: bool = False
    """Not all values were held at once: effects have an error."""

    @property
    def drifted(self) -> tuple[str, ...]:
        """The columns that moved, whose share of missing values did, that hold too much new, or another type now."""
        return (*(one.score.column for one in self.columns if one.score.moved), *self.retyped)


def compare_tables(reference: Path, current: Path, *, watched: Sequence[str] = ()) -> ComparedTables:
    """Judge the columns of `current` against those of `reference`: all that both have, or those `watched`.

    A column is in memory alone, so tables of Parquet may be larger than that.

    Raises:
        DataError: a file cannot be read, or the tables have no column in common that can be compared.
        UsageError: a watched column is in neither table, or cannot be compared.
    """
    comparison = _Comparison(TableColumns(reference), TableColumns(current), watched)
    scores = score_pairs(comparison.pairs())
    if not scores and not comparison.retyped:
        why = "; ".join(f"{name}: {words}" for name, words in comparison.declined.items())
        raise DataError(f"{reference} and {current} have no column that can be compared. {why}".rstrip())
    return ComparedTables(
        str(reference),
        str(current),
        comparison.reference.rows,
        comparison.current.rows,
        tuple(ComparedColumn(score, comparison.figures[score.column]) for score in scores),
        comparison.declined,
        comparison.retyped,
    )


def preset_figures(reference: Path, current: Path) -> list[PresetFigure]:
    """What Evidently's DataDriftPreset finds, without our own verdict. Columns without a value in a table are left out.

    Raises:
        DataError: a file cannot be read.
    """
    comparison = _Comparison(TableColumns(reference), TableColumns(current), ())
    with ThreadPoolExecutor(AT_ONCE if comparison.reference.rows <= MANY_ROWS else 1) as pool:
        found = list(pool.map(comparison.figure, comparison.kinds))
    return [figure for figure in found if figure is not None]


@dataclass(frozen=True, slots=True)
class Shared:
    """What two tables have in common, and what they do not."""

    kinds: dict[str, Kind]
    """The columns to compare."""
    retyped: dict[str, str]
    lone: tuple[str, ...]
    """Columns that one of them lacks."""

    @classmethod
    def of(
        cls, reference: Mapping[str, Held | None], current: Mapping[str, Held | None], watched: Sequence[str]
    ) -> Shared:
        """Of columns and what they hold, None of those that are empty: they are what the other table's are.

        Raises:
            UsageError: a watched column is in one table only, or cannot be compared.
        """
        kinds: dict[str, Kind] = {}
        retyped = {}
        for name in (name for name in reference if name in current):
            before, now = reference[name], current[name]
            kind = before or now or "numeric"
            if before and now and before != now:
                retyped[name] = f"{WORDS[before]} in the reference, {WORDS[now]} now"
            elif kind == "numeric" or kind == "categorical":
                kinds[name] = kind
        there = [*kinds, *retyped]
        strangers = sorted(set(watched) - set(there))
        if strangers:
            raise UsageError(
                f"Not columns that both tables have and that can be compared: {', '.join(strangers)}. "
                f"There are: {', '.join(there) or 'none'}."
            )
        chosen = set(watched or there)
        return cls(
            {name: kind for name, kind in kinds.items() if name in chosen},
            {name: words for name, words in retyped.items() if name in chosen},
            tuple(sorted(set(reference) ^ set(current))),
        )

    def declined(self, *tables: Mapping[str, str]) -> dict[str, str]:
        """Columns that are not compared, and why: what the tables say themselves, and what one of them lacks."""
        told = dict.fromkeys(self.lone, MISSING)
        for table in tables:
            told |= {name: why for name, why in table.items() if name not in self.retyped and name not in self.kinds}
        return told


class Table(Protocol):
    """What is known of a table before its columns are read."""

    @property
    def held(self) -> Mapping[str, Held | None]: ...

    def is_empty(self, name: str) -> bool: ...


def held_in(one: Table, other: Table) -> dict[str, Held | None]:
    """What each column of `one` holds; None for an empty one, which is looked at only where the other's differs."""
    return {
        name: None if other.held.get(name, kind) != kind and one.is_empty(name) else kind
        for name, kind in one.held.items()
    }


class _Comparison:
    def __init__(self, reference: TableColumns, current: TableColumns, watched: Sequence[str]) -> None:
        self.reference, self.current = reference, current
        self.figures: dict[str, PresetFigure | None] = {}
        shared = Shared.of(held_in(reference, current), held_in(current, reference), watched)
        self.kinds, self.retyped = shared.kinds, shared.retyped
        self.declined = {} if watched else shared.declined(reference.declined, current.declined)

    def figure(self, name: str) -> PresetFigure | None:
        """The preset's figure of one column; None where there is none."""
        kind = self.kinds[name]
        before, after = self.reference.prepared(name, kind), self.current.prepared(name, kind)
        return None if before is None or after is None else preset_figure(before, after)

    def pairs(self) -> Iterator[tuple[PreparedColumn, PreparedColumn]]:
        for name, kind in self.kinds.items():
            before = self.reference.prepared(name, kind)
            after = None if before is None else self.current.prepared(name, kind)
            if before is None or after is None:
                self.declined[name] = {**self.reference.declined, **self.current.declined}[name]
                continue
            self.figures[name] = preset_figure(before, after)
            yield before, after
