"""Tables that a database answers: a SQLAlchemy URL and a query that only reads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from quarterdeck.errors import DataError

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

    def read(self) -> pd.DataFrame:
        """The rows that the database answers. Nothing that the query changes is kept.

        Raises:
            DataError: the URL or its driver does not fit, or the database refuses the query.
        """
        import pandas as pd
        from sqlalchemy import create_engine, text
        from sqlalchemy.exc import ResourceClosedError, SQLAlchemyError

        url = self._parsed()
        where = url.render_as_string(hide_password=True)
        if url.get_backend_name() == "sqlite" and url.database and not Path(url.database).is_file():
            raise DataError(f"{where}: there is no file {url.database}. Check the path.")
        try:
            engine = create_engine(url)
            try:
                with engine.connect() as connection:
                    # A colon is part of the query: there is nothing to fill in.
                    result = connection.execute(text(self.query.replace(":", "\\:")))
                    names, rows = list(result.keys()), [tuple(row) for row in result]
                    frame = pd.DataFrame.from_records(rows, columns=names, coerce_float=True)
            finally:
                engine.dispose()
        except ModuleNotFoundError as error:
            raise DataError(
                f"{where}: the driver '{error.name}' is not installed. Install it beside Quarterdeck."
            ) from None
        except ResourceClosedError:
            raise DataError(f"{where}: the query answers no rows. Write one that selects.") from None
        except SQLAlchemyError as error:
            reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
            raise DataError(f"{where} refused the query: {reason}. Mend --query or the URL.") from error
        if frame.empty:
            raise DataError(f"{where}: the query answers no rows. Write one that selects some.")
        return frame

    def _parsed(self) -> URL:
        from sqlalchemy import make_url
        from sqlalchemy.exc import ArgumentError

        try:
            return make_url(self.url)
        except ArgumentError:
            raise DataError("That is no database URL. Write one such as postgresql://user@host/name.") from None
