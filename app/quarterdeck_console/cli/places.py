"""How a verb is told which alert it is about: as a number, or as pages and webhooks name it."""

from __future__ import annotations

from typing import Annotated

import typer

KIND = "alert/"


def alert_number(place: str) -> int:
    """`3` or `alert/3` as 3.

    Raises:
        UsageError: it is neither.
    """
    from quarterdeck.errors import UsageError

    number = place.removeprefix(KIND)
    if not number.isascii() or not number.isdecimal():
        raise UsageError(f"'{place}' is no alert: write 3 or alert/3. `quarterdeck alerts --all` lists them.")
    return int(number)


AlertPlace = Annotated[int, typer.Argument(metavar="ALERT", parser=alert_number, help="The alert: 3 or alert/3.")]
