"""Verbs on monitors and alerts."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from quarterdeck_console.alert_words import cost, sure
from quarterdeck_console.cli.output import JsonFlag, emit, say, table
from quarterdeck_console.cli.places import AlertPlace
from quarterdeck_console.cli.session import opened

if TYPE_CHECKING:
    from quarterdeck.monitoring.alert import Judgement
    from quarterdeck.monitoring.evaluation import Evaluation
    from quarterdeck.monitoring.monitor import Monitor

MARKS = {"quiet": ".", "found": "X", "inconclusive": "?"}
"""A window as one character."""
LEGEND = "Of the last windows, the newest to the right: . quiet, X found, ? too little data to say."


def alerts(
    everything: Annotated[bool, typer.Option("--all", help="Resolved ones too.")] = False,
    deployment: Annotated[
        str | None, typer.Option("--deployment", help="Only of this one.", show_default=False)
    ] = None,
    as_data: JsonFlag = False,
) -> None:
    """The alerts, worst first."""
    from quarterdeck.deployments.deployment import find_deployment
    from quarterdeck.monitoring.kpis import words
    from quarterdeck.monitoring.queries import alerts as read_alerts
    from quarterdeck.monitoring.timeline import kpis_around
    from quarterdeck.runner.reaction_queries import newest_lines

    with opened() as workspace:
        if deployment is not None:
            with workspace.state.read() as tx:
                find_deployment(tx, deployment)
        rows = read_alerts(workspace, all=everything, deployment=deployment)
        lines = newest_lines(workspace)
        kpis = {row.id: kpis_around(workspace, row.id) for row in rows}
    text = table(
        ("alert", "severity", "state", "deployment", "kind", "since", "sure", "costs", "what"),
        [
            (a.id, a.severity, a.state, a.deployment, a.kind, f"{a.onset:%Y-%m-%d %H:%M}", sure(a), cost(a), a.summary)
            for a in rows
        ],
    )
    for a in rows:
        text += f"\nalert/{a.id}: {lines[a.id]}" if a.id in lines else ""
        text += f"\nalert/{a.id} stands for the same in {', '.join(a.also)}" if a.also else ""
        text += "".join(f"\nalert/{a.id}: {words(one)}" for one in kpis[a.id])
    emit([{**asdict(row), "kpis": kpis[row.id]} for row in rows], text, as_data=as_data)


def ack(
    alert_id: AlertPlace,
    real: Annotated[bool, typer.Option("--real", help="It was real.", show_default=False)] = False,
    noise: Annotated[
        bool, typer.Option("--noise", help="It was noise. A terminal is asked where neither is given.")
    ] = False,
    as_data: JsonFlag = False,
) -> None:
    """Take an alert on, and say whether it was real."""
    from quarterdeck.errors import UsageError
    from quarterdeck.monitoring.acknowledgement import acknowledge
    from quarterdeck.monitoring.alert import Judgement
    from quarterdeck.monitoring.queries import alert

    if real and noise:
        raise UsageError("It was real or noise, not both: say --real or --noise. Nothing was changed.")
    with opened() as workspace:
        known = alert(workspace, alert_id)  # Before anybody is asked about it.
        said = Judgement.REAL if real else Judgement.NOISE if noise else _asked(alert_id, known.summary)
        acknowledge(workspace, alert_id, said)
        row = alert(workspace, alert_id)
    before = known.judgement
    changed = f", in place of {before} as {known.acknowledged_by} had it" if before not in (None, said) else ""
    emit(row, f"alert/{alert_id} is yours, judged {said}{changed}.", as_data=as_data)


def _asked(alert_id: int, summary: str) -> Judgement:
    """What the person at the terminal says."""
    from quarterdeck.errors import UsageError
    from quarterdeck.monitoring.alert import Judgement

    answers = {"r": Judgement.REAL, "real": Judgement.REAL, "n": Judgement.NOISE, "noise": Judgement.NOISE}
    if sys.stdin.isatty():
        say(f"alert/{alert_id}: {summary}")
        say("Was it real, or noise? [r/n]")
        for line in sys.stdin:
            if line.strip().lower() in answers:
                return answers[line.strip().lower()]
            say("Was it real, or noise? [r/n]")
    raise UsageError(
        f"Was alert/{alert_id} real, or noise? Say --real or --noise: that is what a monitor is judged by."
    )


def listed(as_data: JsonFlag = False) -> None:
    """The monitors: what their last windows said, and how often people called their alerts real."""
    from quarterdeck.monitoring.queries import monitors
    from quarterdeck.runner.looks import failures

    with opened() as workspace:
        rows = monitors(workspace, failures(workspace))
    text = table(
        ("monitor", "deployment", "inputs", "quality", "alerts", "real"),
        [
            (
                row.name,
                row.deployment,
                "fails" if row.failure else _strip(row.strip),
                _strip(row.quality),
                row.open_alerts,
                None if row.precision is None else f"{row.precision:.0%} of {row.real + row.noise}",
            )
            for row in rows
        ],
        empty="No monitors. [monitors.NAME] in quarterdeck.toml watches a deployment.",
    )
    text += f"\n{LEGEND}" if rows else ""
    text += "".join(f"\n{row.name} fails: {row.failure}" for row in rows if row.failure)
    emit(rows, text, as_data=as_data)


def _strip(verdicts: Sequence[str]) -> str:
    """The newest windows as a character each, the newest to the right."""
    return "".join(MARKS.get(verdict, "?") for verdict in verdicts) or "-"


def run(
    name: Annotated[str, typer.Argument(metavar="MONITOR", help="The monitor.")], as_data: JsonFlag = False
) -> None:
    """Judge the windows that can be judged, here and now."""
    from quarterdeck.monitoring.evaluation import evaluate
    from quarterdeck.monitoring.monitor import Monitor
    from quarterdeck.monitoring.sampled import judged_by

    with opened() as workspace:
        done = evaluate(workspace, name)
        watching = Monitor(name, workspace.settings.monitors[name])
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
        empty=_waits(done, watching),
    )
    emit(rows, text, as_data=as_data)
    if as_data and not rows:
        say(_waits(done, watching))
    done.raise_for_troubles()


def _waits(done: Evaluation, monitor: Monitor) -> str:
    """Why there was nothing to judge, and when there will be."""
    from quarterdeck.values import as_written

    if done.nothing_deployed:
        return f"Nothing was ever deployed as '{monitor.settings.deployment}', so there is nothing to judge yet."
    if done.troubles:
        return "No window was judged."
    if done.open_window is None:
        return (
            f"No window is complete that was not judged yet: one is {monitor.length}, and too little has come for it."
        )
    grace, ends = as_written(monitor.settings.grace), done.open_window.end
    return (
        f"No window is complete that was not judged yet: the next ends at {ends:%Y-%m-%d %H:%M:%S} UTC (event time), "
        f"and is judged once predictions come that are {grace} later."
    )


def silence(
    alert_id: AlertPlace,
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


def unsilence(alert_id: AlertPlace, as_data: JsonFlag = False) -> None:
    """End the silence of an alert now."""
    from quarterdeck.monitoring.queries import alert
    from quarterdeck.monitoring.silence import unsilence as wake

    with opened() as workspace:
        wake(workspace, alert_id)
        row = alert(workspace, alert_id)
    emit(row, f"alert/{alert_id} is {row.state} again.", as_data=as_data)


def note(
    alert_id: AlertPlace,
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
    alert_id: AlertPlace,
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
    alert_id: AlertPlace,
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
