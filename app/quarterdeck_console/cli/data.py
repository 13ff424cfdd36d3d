"""Verbs on datasets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from quarterdeck_console.cli.output import JsonFlag, emit, say, table
from quarterdeck_console.cli.session import opened


def add(
    name: Annotated[str, typer.Argument(help="The dataset; made if it is new.")],
    source: Annotated[Path, typer.Argument(help="A CSV, Parquet or JSON lines file.")],
    as_data: JsonFlag = False,
) -> None:
    """Add a version of a dataset. The same bytes again give the same version."""
    from quarterdeck.datasets.ingestion import add as add_version

    with opened() as workspace:
        added = add_version(workspace, name, source)
    for warning in added.warnings:
        say(warning)
    text = f"{name}@{added.number}: {added.rows:,} rows, {added.columns} columns" + (
        "" if added.new else "; these bytes were there already, nothing was added"
    )
    emit(added, text, as_data=as_data)


def list_versions(
    name: Annotated[str | None, typer.Argument(help="A dataset, for its versions.", show_default=False)] = None,
    as_data: JsonFlag = False,
) -> None:
    """The datasets, or the versions of one."""
    from quarterdeck.datasets.queries import datasets, versions

    with opened() as workspace:
        if name is None:
            sets = datasets(workspace)
            text = table(
                ("dataset", "versions", "rows", "added"), [(d.name, d.versions, d.rows, d.changed_at) for d in sets]
            )
            emit(sets, text, as_data=as_data)
            return
        found = versions(workspace, name)
    text = table(
        ("version", "rows", "added", "source"), [(f"{name}@{v.number}", v.rows, v.created_at, v.source) for v in found]
    )
    emit(found, text, as_data=as_data)
