"""One table against another where they do not fit into memory: by sketches, with the error that these have."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from quarterdeck.datasets.shards import Shards, fits_whole
from quarterdeck.errors import DataError, UsageError
from quarterdeck.monitoring.tables import MISSING, ComparedColumn, ComparedTables
from quarterdeck.statistics.sketch import Moments, NumericSketch
from quarterdeck.statistics.sketched import SketchedPair, score_sketches

WHOLE_ROWS = 3_000_000
"""Of Parquet. To compare a column of more takes more than 1 GB."""
WHOLE_BYTES = 100_000_000
"""Of other files, which are read at once and take up to eight times that."""


def fit_whole(reference: Path, current: Path) -> bool:
    """Whether both tables can be compared exactly within 1 GB: neither is a folder, a file of Parquet with more than
    3 million rows, or another one of more than 100 MB."""
    return all(fits_whole(path, WHOLE_ROWS, WHOLE_BYTES) for path in (reference, current))


def compare_sketched(reference: Path, current: Path, *, watched: Sequence[str] = ()) -> ComparedTables:
    """As `compare_tables`, of tables of any size: files, or folders of files that hold some of the rows each.

    Raises:
        DataError: a file cannot be read, or the tables have no column in common that can be compared.
        UsageError: a watched column is in neither table, or cannot be compared.
    """
    before, after = Shards(reference, 0), Shards(current, 1)
    names, declined = _common(before, after, watched)
    pairs = []
    columns = zip(before.sketches(names), after.sketches(names), strict=True)
    for (name, of_reference), (_, of_current) in columns:
        if of_reference is None or of_current is None:
            declined[name] = {**before.declined, **after.declined}[name]
        else:
            pairs.append(SketchedPair(name, of_reference, of_current))
    if not pairs:
        why = "; ".join(f"{name}: {words}" for name, words in declined.items())
        raise DataError(f"{reference} and {current} have no column that can be compared. {why}".rstrip())
    scores = score_sketches(pairs)
    return ComparedTables(
        str(reference),
        str(current),
        pairs[0].reference.rows,
        pairs[0].current.rows,
        tuple(
            ComparedColumn(one.score, None, one.error, _moments(pair)) for pair, one in zip(pairs, scores, strict=True)
        ),
        declined,
        sketched=True,
    )


def _common(before: Shards, after: Shards, watched: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """The columns to compare, and those that are not, with the reason."""
    both = [name for name in before.kinds if name in after.kinds]
    strangers = sorted(set(watched) - set(both))
    if strangers:
        raise UsageError(
            f"Not columns that both tables have and that can be compared: {', '.join(strangers)}. "
            f"There are: {', '.join(both) or 'none'}."
        )
    names = [name for name in both if name in watched or not watched]
    for name in names:
        if before.kinds[name] != after.kinds[name]:
            text, other = (before, after) if before.kinds[name] == "categorical" else (after, before)
            raise DataError(f"{text.path}, column '{name}' holds text, and numbers in {other.path}.")
    lone = sorted(set(before.kinds) ^ set(after.kinds))
    return names, {} if watched else {**before.declined, **after.declined, **dict.fromkeys(lone, MISSING)}


def _moments(pair: SketchedPair) -> tuple[Moments, Moments] | None:
    if isinstance(pair.reference, NumericSketch) and isinstance(pair.current, NumericSketch):
        return pair.reference.moments, pair.current.moments
    return None
