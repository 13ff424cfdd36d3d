"""Verbs on monitors and alerts."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from quarterdeck_console.alert_words import cost, sure
from quarterdeck_console.cli.output import JsonFlag, emit, say, table
from quarterdeck_console.cli.session import opened

if TYPE_CHECKING:
    from quarterdeck.monitoring.tables import ComparedColumn

UNITS = {"wasserstein_normed": "sigma", "jensen_shannon": "Jensen-Shannon", "share_moved": "of values moved"}


MARKS = {"quiet": ".", "found": "X", "inconclusive": "?"}
"""A window as one character."""


class Rule(StrEnum):
    QUARTERDECK = "quarterdeck"
    EVIDENTLY = "evidently"


def alerts(
    everything: Annotated[bool, typer.Option("--all", help="Resolved ones too.")] = False,
    deployment: Annotated[
        str | None, typer.Option("--deployment", help="Only of this one.", show_default=False)
    ] = None,
    as_data: JsonFlag = False,
) -> None:
    """The alerts, worst first."""
    from quarterdeck.deployments.deployment import find_deployment
    from quarterdeck.monitoring.queries import alerts as read_alerts
    from quarterdeck.runner.reaction_queries import newest_lines

    with opened() as workspace:
        if deployment is not None:
            with workspace.state.read() as tx:
                find_deployment(tx, deployment)
        rows = read_alerts(workspace, all=everything, deployment=deployment)
        lines = newest_lines(workspace)
    text = table(
        ("alert", "severity", "state", "deployment", "kind", "since", "sure", "costs", "what"),
        [(a.id, a.severity, a.state, a.deployment, a.kind, a.onset, sure(a), cost(a), a.summary) for a in rows],
    )
    for a in rows:
        text += f"\nalert/{a.id}: {lines[a.id]}" if a.id in lines else ""
        text += f"\nalert/{a.id} stands for the same in {', '.join(a.also)}" if a.also else ""
    emit(rows, text, as_data=as_data)


def ack(
    alert_id: Annotated[int, typer.Argument(metavar="ALERT", help="The alert's number.")],
    real: Annotated[bool, typer.Option("--real/--noise", help="Was it real, or noise?")] = True,
    as_data: JsonFlag = False,
) -> None:
    """Take an alert on, and say whether it was real."""
    from quarterdeck.monitoring.acknowledgement import acknowledge
    from quarterdeck.monitoring.alert import Judgement
    from quarterdeck.monitoring.queries import alert

    with opened() as workspace:
        acknowledge(workspace, alert_id, Judgement.REAL if real else Judgement.NOISE)
        row = alert(workspace, alert_id)
    emit(row, f"alert/{alert_id} is yours, judged {row.judgement}.", as_data=as_data)


def listed(as_data: JsonFlag = False) -> None:
    """The monitors: what their last windows said, and how often people called their alerts real."""
    from quarterdeck.monitoring.queries import monitors

    with opened() as workspace:
        rows = monitors(workspace)
    text = table(
        ("monitor", "deployment", "last", "windows", "alerts", "real"),
        [
            (
                row.name,
                row.deployment,
                row.last_verdict,
                " ".join(MARKS.get(verdict, "?") for verdict in row.strip),
                row.open_alerts,
                None if row.precision is None else f"{row.precision:.0%} of {row.real + row.noise}",
            )
            for row in rows
        ],
        empty="No monitors. [monitors.NAME] in quarterdeck.toml watches a deployment.",
    )
    emit(rows, text, as_data=as_data)


def run(
    name: Annotated[str, typer.Argument(metavar="MONITOR", help="The monitor.")], as_data: JsonFlag = False
) -> None:
    """Judge the windows that can be judged, here and now."""
    from quarterdeck.monitoring.evaluation import evaluate
    from quarterdeck.monitoring.sampled import judged_by

    with opened() as workspace:
        done = evaluate(workspace, name)
        watched = workspace.settings.monitors[name].deployment
    if done.nothing_deployed:
        say(f"Nothing was ever deployed as '{watched}', so there is nothing to judge yet.")
    rows = [
        {
            "window_start": r.window_start,
            "window_end": r.window_end,
            "aspect": r.aspect,
            "version": r.version,
            "served": r.served,
            "rows": r.n_current,
            "labelled": r.n_labelled,
            "reference_rows": r.n_reference,
            "verdict": r.verdict,
            "judged_by": judged_by(r.scores) or "all rows",
            "scores": r.scores,
        }
        for r in done.results
    ]
    text = table(
        ("from", "to", "aspect", "version", "rows", "verdict", "judged by"),
        [
            (
                r.window_start,
                r.window_end,
                r.aspect,
                r.version,
                r.n_current,
                r.verdict,
                judged_by(r.scores) or "all rows",
            )
            for r in done.results
            if r.served
        ],
    )
    emit(rows, text, as_data=as_data)


def drift(
    reference: Annotated[
        Path, typer.Argument(help="The table to compare with: CSV, Parquet or JSON lines, or a folder of such files.")
    ],
    current: Annotated[Path, typer.Argument(help="The table that may have moved.")],
    columns: Annotated[
        list[str] | None,
        typer.Option("--column", "-c", help="Only this column; may be given again.", show_default=False),
    ] = None,
    rule: Annotated[Rule, typer.Option("--rule", help="Whose verdict decides about the exit code.")] = Rule.QUARTERDECK,
    sketch: Annotated[
        bool | None,
        typer.Option(
            "--sketch/--exact",
            help="Within 1 GB whatever the size, with an error that is stated; or all values of a column at once. By "
            "default folders are sketched, Parquet of more than 3 million rows, and other files of more than 100 MB.",
            show_default=False,
        ),
    ] = None,
    as_data: JsonFlag = False,
) -> None:
    """Compare two tables column by column; ends with 1 if a column has drifted. Needs no workspace."""
    from quarterdeck.statistics.processor import choose_quicker_sort

    choose_quicker_sort()
    from quarterdeck.monitoring.sketches import compare_sketched, fit_whole
    from quarterdeck.monitoring.tables import compare_tables

    by_sketches, folders = sketch, reference.is_dir() or current.is_dir()
    if by_sketches is None:
        by_sketches = folders or (rule is Rule.QUARTERDECK and not fit_whole(reference, current))
    _check_drift(reference, current, by_sketches, rule)
    found = (compare_sketched if by_sketches else compare_tables)(reference, current, watched=columns or ())
    if found.sketched and sketch is None:
        why = "Folders are compared" if folders else "Too large to be compared whole within 1 GB, so"
        say(f"{why} by sketches: effects are +- what is stated, exact where nothing is.")
    text = table(
        ("column", "verdict", "effect", "q", "missing", "unseen", "evidently"),
        [_drift_row(one) for one in found.columns],
    )
    for name, why in found.declined.items():
        text += f"\n{name} was not compared: {why}."
    emit(found, text, as_data=as_data)
    by_preset = [one.score.column for one in found.columns if one.preset is not None and one.preset.drifted]
    if found.drifted if rule is Rule.QUARTERDECK else by_preset:
        raise typer.Exit(1)


def _check_drift(reference: Path, current: Path, sketched: bool, rule: Rule) -> None:
    from quarterdeck.errors import UsageError

    if sketched and rule is Rule.EVIDENTLY:
        raise UsageError("Evidently's preset needs every value of a file: leave out --sketch, or --rule evidently.")
    for path in (reference, current):
        if not sketched and path.is_dir():
            raise UsageError(f"{path} is a folder, which is compared by sketches only: leave out --exact.")


def _share(share: float, verdict: str) -> str:
    """A share of the rows, and whether that is a finding by itself."""
    return f"{share:.1%}{', drifted' * (verdict == 'drifted')}" if share or verdict == "drifted" else ""


def _drift_row(one: ComparedColumn) -> tuple[str, ...]:
    score, figure = one.score, one.preset
    error = f", sketched, +-{one.error:.2g}" if one.error else ""
    return (
        score.column,
        score.verdict,
        f"{score.effect:.3g} {UNITS[score.measure]}{error}",
        f"{score.q_value:.3g}",
        _share(score.missing_current, score.missing_verdict),
        _share(score.unseen, score.unseen_verdict),
        "" if figure is None else f"{figure.method} {figure.score:.3g}{', drift' if figure.drifted else ''}",
    )


def silence(
    alert_id: Annotated[int, typer.Argument(metavar="ALERT", help="The alert's number.")],
    duration: Annotated[str, typer.Option("--for", help="How long it tells nobody: 30m, 2h, 3d.")],
    reason: Annotated[str, typer.Option("--reason", "-r", help="Why.")],
    as_data: JsonFlag = False,
) -> None:
    """Let an alert tell nobody for a while. It is followed all the same, and comes back by itself."""
    from quarterdeck.errors import UsageError
    from quarterdeck.monitoring.queries import alert
    from quarterdeck.monitoring.silence import silence as let_rest
    from quarterdeck.values import parse_duration

    try:
        length = parse_duration(duration)
    except ValueError as error:
        raise UsageError(f"{error}. For example --for 2h.") from None
    assert isinstance(length, timedelta)
    with opened() as workspace:
        until = let_rest(workspace, alert_id, length, reason=reason)
        row = alert(workspace, alert_id)
    emit(row, f"alert/{alert_id} tells nobody until {until:%Y-%m-%d %H:%M:%S} UTC.", as_data=as_data)


def unsilence(
    alert_id: Annotated[int, typer.Argument(metavar="ALERT", help="The alert's number.")], as_data: JsonFlag = False
) -> None:
    """End the silence of an alert now."""
    from quarterdeck.monitoring.queries import alert
    from quarterdeck.monitoring.silence import unsilence as wake

    with opened() as workspace:
        wake(workspace, alert_id)
        row = alert(workspace, alert_id)
    emit(row, f"alert/{alert_id} is {row.state} again.", as_data=as_data)


def note(
    alert_id: Annotated[int, typer.Argument(metavar="ALERT", help="The alert's number.")],
    text: Annotated[str, typer.Argument(help="What there is to say.")],
    as_data: JsonFlag = False,
) -> None:
    """Write something down about an alert; its incident shows it."""
    from quarterdeck.monitoring.incident import incident as read_incident
    from quarterdeck.monitoring.incident import note as write_down

    with opened() as workspace:
        write_down(workspace, alert_id, text)
        found = read_incident(workspace, alert_id)
    emit(found, f"Noted on alert/{alert_id}.", as_data=as_data)


def ticket(
    alert_id: Annotated[int, typer.Argument(metavar="ALERT", help="The alert's number.")],
    where: Annotated[str, typer.Argument(metavar="TICKET", help="A URL or a number; '' takes it back.")],
    as_data: JsonFlag = False,
) -> None:
    """Say where else an alert is dealt with."""
    from quarterdeck.monitoring.incident import link_ticket
    from quarterdeck.monitoring.queries import alert

    with opened() as workspace:
        link_ticket(workspace, alert_id, where)
        row = alert(workspace, alert_id)
    emit(row, f"alert/{alert_id}: {row.ticket or 'no ticket any more'}.", as_data=as_data)


def incident(
    alert_id: Annotated[int, typer.Argument(metavar="ALERT", help="The alert's number.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A file to write instead.", show_default=False)
    ] = None,
    as_data: JsonFlag = False,
) -> None:
    """An alert with its notes and all that happened around it, as Markdown."""
    from quarterdeck.errors import UsageError
    from quarterdeck.monitoring.incident import as_markdown
    from quarterdeck.monitoring.incident import incident as read_incident

    with opened() as workspace:
        found = read_incident(workspace, alert_id)
    page = as_markdown(found)
    if output is None:
        emit(found, page.rstrip("\n"), as_data=as_data)
        return
    try:
        output.write_text(page, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{output} cannot be written: {error.strerror}. Name another file with --output.") from None
    emit(found, f"{output} is written.", as_data=as_data)
