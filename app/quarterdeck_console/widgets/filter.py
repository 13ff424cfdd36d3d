"""The `/` filter: words that must all be there, `!` in front to invert, `column:value` to look in one column."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from quarterdeck_console.formatting import clean
from quarterdeck_console.widgets.table import Row


def matcher(words: str, titles: Sequence[str]) -> Callable[[Row], bool]:
    """Whether a row passes `words`. A `column:value` whose column is not there is looked for as it stands."""
    inverse = words.startswith("!")
    terms = words.removeprefix("!").lower().split()
    columns = {title.lower().replace(" ", "-"): index for index, title in enumerate(titles) if title}

    def holds(row: Row, term: str) -> bool:
        name, colon, value = term.partition(":")
        if colon and name in columns:
            return value in row.cells[columns[name]].plain.lower()
        return term in row.plain() or term in row.key.lower()

    def keep(row: Row) -> bool:
        return all(holds(row, term) for term in terms) != inverse if terms else True

    return keep


def nothing_passes(words: str, rows: int) -> str:
    """What a table says when `words` leave none of its `rows`; nothing where there is nothing to say."""
    return f"None of the {rows} rows matches /{clean(words)}. Esc clears the filter." if words and rows else ""
