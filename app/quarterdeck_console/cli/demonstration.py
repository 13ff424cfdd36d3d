"""The verb `demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def demo(
    folder: Annotated[
        Path | None,
        typer.Argument(help="Where to put the workspace; by default ./quarterdeck-demo.", show_default=False),
    ] = None,
    auto: Annotated[bool, typer.Option("--auto", help="Roll back without waiting for a person.")] = False,
) -> None:
    """The whole loop on a sample workspace: train, serve, drift, alert, retrain, roll back."""
    from quarterdeck_console.demo.play import play

    raise typer.Exit(play(folder, auto=auto))
