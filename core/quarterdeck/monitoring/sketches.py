"""One table against another where they do not fit into memory: by sketches, with the error that these have."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from quarterdeck.datasets.shards import Shards, fits_whole
from quarterdeck.errors import DataError
from quarterdeck.monitoring.tables import ComparedColumn, ComparedTables, Shared, held_in
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
    shared = Shared.of(held_in(before, after), held_in(after, before), watched)
    declined = {} if watched else shared.declined(before.declined, after.declined)
    names, pairs = list(shared.kinds), []
    for table in (before, after):
        # One that is empty in all files of a table is there what it is in the other.
        table.kinds |= {name: shared.kinds[name] for name in names}
    columns = zip(before.sketches(names), after.sketches(names), strict=True)
    for (name, of_reference), (_, of_current) in columns:
        if of_reference is None or of_current is None:
            declined[name] = {**before.declined, **after.declined}[name]
        else:
            pairs.append(SketchedPair(name, of_reference, of_current))
    if not pairs and not shared.retyped:
        why = "; ".join(f"{name}: {words}" for name, words in declined.items())
        raise DataError(f"{reference} and {current} have no column that can be compared. {why}".rstrip())
    scores = score_sketches(pairs)
    return ComparedTables(
        str(reference),
        str(current),
        pairs[0].reference.rows if pairs else before.rows(),
        pairs[0].current.rows if pairs else after.rows(),
        tuple(
            ComparedColumn(one.score, None, one.error, _moments(pair)) for pair, one in zip(pairs, scores, strict=True)
        ),
        declined,
        shared.retyped,
        sketched=True,
    )


def _moments(pair: SketchedPair) -> tuple[Moments, Moments] | None:
    if isinstance(pair.reference, NumericSketch) and isinstance(pair.current, NumericSketch):
        return pair.reference.moments, pair.current.moments
    return None
