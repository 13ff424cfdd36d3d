"""The small writes: acknowledge, run now, cancel. Each is asked for by an upper-case letter and then confirmed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quarterdeck_console.widgets.confirm import Question

if TYPE_CHECKING:
    from quarterdeck.workspace import Workspace
    from quarterdeck_console.screens.console import ConsoleScreen
    from quarterdeck_console.screens.pane import Pane
    from quarterdeck_console.widgets.table import Row


def acknowledge(screen: ConsoleScreen, pane: Pane | None, row: Row | None) -> None:
    """Ask whether the alert under the cursor is real or noise."""
    alert_id = pane.alert(row.source) if pane is not None and row is not None else None
    if alert_id is None:
        screen.say("A acknowledges an alert: press 4 and choose one.", bad=True)
        return

    def answered(key: str, _: str) -> None:
        judgement = {"r": "real", "n": "noise"}[key]

        def verb(workspace: Workspace) -> None:
            from quarterdeck.monitoring.acknowledgement import acknowledge
            from quarterdeck.monitoring.alert import Judgement

            acknowledge(workspace, alert_id, Judgement(judgement))

        screen.console_app.ask_once(verb, lambda _: screen.say(f"Alert {alert_id} is yours: {judgement}."))

    screen.ask(
        Question(
            words=f"Acknowledge alert {alert_id}: is it real, or noise?",
            verb="",
            answered=answered,
            answers=(("r", "real"), ("n", "noise")),
        )
    )


def execute(screen: ConsoleScreen, pane: Pane | None, row: Row | None) -> None:
    """Ask whether to run the pipeline under the cursor now."""
    name = pane.pipeline(row.source) if pane is not None and row is not None else None
    if name is None:
        screen.say("E runs a pipeline: press 2 and choose one.", bad=True)
        return

    def verb(workspace: Workspace) -> int:
        from quarterdeck.pipelines.submission import submit

        return submit(workspace, name)

    def answered(_: str, __: str) -> None:
        screen.console_app.ask_once(verb, lambda run: screen.say(f"Run {run} of {name} is queued."))

    screen.ask(Question(words=f"Run pipeline {name} now?", verb="Run it", answered=answered))


def cancel(screen: ConsoleScreen, pane: Pane | None, row: Row | None) -> None:
    """Ask whether to cancel the run under the cursor."""
    run = pane.run(row.source) if pane is not None and row is not None else None
    if run is None:
        screen.say("X cancels a run: choose one in the runs of a pipeline, or its job in pane 8.", bad=True)
        return

    def verb(workspace: Workspace) -> None:
        from quarterdeck.pipelines.submission import cancel

        cancel(workspace, run)

    def answered(_: str, __: str) -> None:
        screen.console_app.ask_once(verb, lambda _: screen.say(f"Run {run} is asked to stop."))

    screen.ask(Question(words=f"Cancel run {run}?", verb="Cancel the run", answered=answered))
