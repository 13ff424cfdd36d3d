"""Tables that a database answers: a SQLAlchemy URL and a query that only reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from quarterdeck.errors import DataError
from quarterdeck.ports import Querier

if TYPE_CHECKING:
    import pandas as pd
    from sqlalchemy import URL


@dataclass(frozen=True, slots=True)
class Query:
    """A query and the database that answers it."""

    url: str
    query: str

    def __str__(self) -> str:
        """Without the password."""
        return f"the query of {self._parsed().render_as_string(hide_password=True)}"

    def read(self, querier: Querier) -> pd.DataFrame:
        """The rows that the database answers. Nothing that the query changes is kept.

        Raises:
            DataError: the URL or its driver does not fit, or the database refuses the query, or answers no rows.
        """
        import pandas as pd

        try:
            found = querier.ask(self._parsed(), self.query)
        except DataError as error:
            raise DataError(f"{error} Mend --query or the URL.") from error
        if not found.rows:
            raise DataError(f"{self}: it answers no rows. Write one that selects some.")
        return pd.DataFrame.from_records(found.rows, columns=list(found.columns), coerce_float=True)

    def _parsed(self) -> URL:
        from sqlalchemy import make_url
        from sqlalchemy.exc import ArgumentError

        try:
            return make_url(self.url)
        except ArgumentError:
            raise DataError("That is no database URL. Write one such as postgresql://user@host/name.") from None
