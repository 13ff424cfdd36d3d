"""Verbs on models that are served elsewhere, and on those that score tables."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from quarterdeck_console.cli.output import JsonFlag, emit, say, table
from quarterdeck_console.cli.session import opened

if TYPE_CHECKING:
    from quarterdeck.datasets.querying import Query

NO_NAMES = ("localhost",)
Deployment = Annotated[str, typer.Argument(help="The deployment.")]


def score(
    name: Annotated[str, typer.Argument(metavar="DEPLOYMENT", help="A batch deployment.")],
    source: Annotated[
        Path | None, typer.Argument(metavar="INPUT", help="The table to score: CSV or Parquet.", show_default=False)
    ] = None,
    target: Annotated[
        Path | None,
        typer.Argument(metavar="OUTPUT", help="The table to write: .csv, .tsv or .parquet.", show_default=False),
    ] = None,
    time: Annotated[
        str | None, typer.Option("--time", help="The column with the event time.", show_default=False)
    ] = None,
    key: Annotated[
        str | None, typer.Option("--key", help="The column with your own key of a row.", show_default=False)
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Score again what the version wrote that was rolled back from.")
    ] = False,
    version: Annotated[
        int | None,
        typer.Option("--version", "-v", help="With --again: whose outputs to score again.", show_default=False),
    ] = None,
    as_data: JsonFlag = False,
) -> None:
    """Write a table of predictions by the version that a batch deployment should use."""
    from quarterdeck.deployments.scoring import score as score_table
    from quarterdeck.errors import UsageError

    if again:
        if source is not None or target is not None or time is not None or key is not None:
            raise UsageError("--again knows what to score: leave out INPUT, OUTPUT, --time and --key.")
        _again(name, version, as_data=as_data)
        return
    if source is None or target is None or version is not None:
        raise UsageError("Give INPUT and OUTPUT, or --again. The version is that of the deployment.")
    with opened() as workspace:
        row = score_table(workspace, name, source, target, time=time, key=key)
    emit(row, f"{row.output}: {row.rows:,} rows by version {row.version}, SHA-256 {row.digest[:12]}.", as_data=as_data)


def _again(name: str, version: int | None, *, as_data: bool) -> None:
    from quarterdeck.deployments.scoring import score_again

    with opened() as workspace:
        found = score_again(workspace, name, version=version)
    rows = [
        (one.output, one.done and one.done.version, one.done and one.done.rows, one.why_not or "scored again")
        for one in found
    ]
    emit(
        found,
        table(("output", "version", "rows", "what"), rows, empty="No output has to be scored again."),
        as_data=as_data,
    )
    if any(one.done is None for one in found):
        say("Not every output could be scored again: the last column says why.")
        raise typer.Exit(1)


def probe(
    name: Annotated[str, typer.Argument(metavar="DEPLOYMENT", help="A deployment that is served elsewhere.")],
    as_data: JsonFlag = False,
) -> None:
    """Ask which version answers elsewhere, by the deployment's version_probe; ends with 1 if it is another one."""
    from quarterdeck.deployments.probing import probe as ask

    with opened() as workspace:
        found = ask(workspace, name)
    wanted = "as wanted" if found.version == found.wanted else f"wanted is version {found.wanted}"
    emit(found, f"{name}: version {found.version} answers, {wanted}; it is {found.state}.", as_data=as_data)
    if found.version != found.wanted:
        raise typer.Exit(1)


def host_of(url: str | None) -> str:
    """A name for what answers at `url`: that of its host.

    Raises:
        UsageError: there is none that could be a deployment's name.
    """
    from quarterdeck.errors import UsageError

    parts = urlsplit(url or "")
    if url is not None and (parts.scheme not in ("http", "https") or not parts.hostname):
        raise UsageError(f"'{url}' is no URL where a model could answer. Write http://HOST:PORT/PATH, or leave it out.")
    host = (parts.hostname or "").split(".")[0]
    if not host or host in NO_NAMES or host.isdecimal() or ":" in host:
        raise UsageError("Give --name for a model that is served elsewhere.")
    return host


def source_of(source: str, query: str | None) -> Path | Query:
    """The file, or the database and its query, that a verb was given.

    Raises:
        UsageError: a database without a query, or a query without one.
    """
    from quarterdeck.datasets.querying import Query
    from quarterdeck.errors import UsageError

    if "://" in source and query is not None:
        return Query(source, query)
    if "://" in source:
        raise UsageError('Give --query "select ..." with a database: it answers the rows.')
    if query is not None:
        raise UsageError("--query needs a database's URL, such as postgresql://user@host/name, in place of the file.")
    return Path(source)


def add_predictions(
    name: Deployment,
    source: Annotated[str, typer.Argument(help="A table with the inputs and the predictions, or a database's URL.")],
    query: Annotated[
        str | None, typer.Option("--query", help="With a database's URL: what selects the rows.", show_default=False)
    ] = None,
    version: Annotated[
        int | None,
        typer.Option(
            "--version", "-v", help="Which version answered; by default the deployed one.", show_default=False
        ),
    ] = None,
    version_column: Annotated[
        str | None,
        typer.Option("--version-column", help="The column that says which version answered.", show_default=False),
    ] = None,
    prediction: Annotated[str, typer.Option("--prediction", help="The column with the answers.")] = "prediction",
    score: Annotated[
        str | None,
        typer.Option("--score", help="The column with the probability of the second class.", show_default=False),
    ] = None,
    identifier: Annotated[str, typer.Option("--id", help="The column with the predictions' ids.")] = "id",
    time: Annotated[
        str | None, typer.Option("--time", help="The column with the event time.", show_default=False)
    ] = None,
    key: Annotated[
        str | None, typer.Option("--key", help="The column with your own key of a row.", show_default=False)
    ] = None,
    as_data: JsonFlag = False,
) -> None:
    """Add predictions that were made elsewhere. Ids that are known already are left as they are."""
    from quarterdeck.deployments.reporting import report_table

    with opened() as workspace:
        taken = report_table(
            workspace,
            name,
            source_of(source, query),
            version=version,
            version_column=version_column,
            prediction=prediction,
            score=score,
            identifier=identifier,
            time=time,
            key=key,
        )
    emit(taken, f"{taken.accepted:,} added, {taken.duplicates:,} known already.", as_data=as_data)


def add_labels(
    name: Deployment,
    source: Annotated[Path, typer.Argument(help="A table with the truth.")],
    reference: Annotated[
        str, typer.Option("--reference", help="The column with the prediction's id or your own key.")
    ] = "id",
    value: Annotated[str, typer.Option("--value", help="The column with the truth.")] = "label",
    time: Annotated[
        str | None, typer.Option("--time", help="The column that says when it became known.", show_default=False)
    ] = None,
    as_data: JsonFlag = False,
) -> None:
    """Attach the truth to predictions, by id or by your own key."""
    from quarterdeck.deployments.reporting import label_table

    with opened() as workspace:
        taken = label_table(workspace, name, source, reference=reference, value=value, time=time)
    said = f"{taken.accepted:,} labels added."
    if taken.duplicates:
        said += f" {taken.duplicates:,} were known already."
    if taken.contradicting:
        said += f" {taken.contradicting:,} contradict what was known: the truth that became known later holds."
    emit(taken, said, as_data=as_data)
