"""The small writes. Each is asked for by an upper-case letter or by a command, and then confirmed.

What it is about is captured when the key is pressed, by name: whatever the refresh does meanwhile, it stays that.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from quarterdeck_console.formatting import moment
from quarterdeck_console.widgets.confirm import Question

if TYPE_CHECKING:
    from quarterdeck.runner.queries import JobRow
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


def silence(screen: ConsoleScreen, pane: Pane | None, row: Row | None, words: str, reason: str) -> None:
    """Ask whether to let the alert under the cursor tell nobody for as long as `words` say."""
    alert_id = pane.alert(row.source) if pane is not None and row is not None else None
    if alert_id is None:
        screen.say(":silence is about an alert: press 4 and choose one.", bad=True)
        return
    length = _length(screen, words, "`:silence 2h the source is being mended`")
    if length is None:
        return

    def verb(workspace: Workspace) -> Any:
        from quarterdeck.monitoring.silence import silence

        return silence(workspace, alert_id, length, reason=reason)

    _ask(
        screen,
        f"Let alert {alert_id} tell nobody for {words}? It is followed all the same.",
        "Silence it",
        verb,
        lambda until: f"Alert {alert_id} tells nobody until {moment(until)}. `quarterdeck unsilence` ends it.",
    )


def note(screen: ConsoleScreen, pane: Pane | None, row: Row | None, words: str) -> None:
    """Write something down about the alert under the cursor."""
    alert_id = pane.alert(row.source) if pane is not None and row is not None else None
    if alert_id is None:
        screen.say(":note is about an alert: press 4 and choose one.", bad=True)
        return

    def verb(workspace: Workspace) -> None:
        from quarterdeck.monitoring.incident import note

        note(workspace, alert_id, words)

    _ask(screen, f"Write this down on alert {alert_id}?", "Write it down", verb, lambda _: "It is written down.")


def _length(screen: ConsoleScreen, words: str, example: str) -> timedelta | None:
    """`2h` as a duration; None, with a word about it, where it is none."""
    from quarterdeck.values import parse_duration

    try:
        length = parse_duration(words)
    except ValueError as error:
        screen.say(f"{error}. For example {example}.", bad=True)
        return None
    assert isinstance(length, timedelta)
    return length


def execute(screen: ConsoleScreen, pane: Pane | None, row: Row | None) -> None:
    """Ask whether to run the pipeline or the schedule under the cursor now, or to try the job there again."""
    kind, name = _named(row)
    pipeline = pane.pipeline(row.source) if pane is not None and row is not None else None
    if kind == "schedule":
        _run_schedule(screen, name)
    elif kind == "job" and row is not None:
        _retry(screen, row.source.job)
    elif pipeline is not None:
        _run_pipeline(screen, pipeline)
    else:
        screen.say("E runs a pipeline or a schedule, or tries a job again: press 2 or 8 and choose one.", bad=True)


def _run_pipeline(screen: ConsoleScreen, name: str) -> None:
    def verb(workspace: Workspace) -> int:
        from quarterdeck.pipelines.submission import submit

        return submit(workspace, name)

    _ask(screen, f"Run pipeline {name} now?", "Run it", verb, lambda run: f"Run {run} of {name} is queued.")


def _run_schedule(screen: ConsoleScreen, name: str) -> None:
    def verb(workspace: Workspace) -> int:
        from quarterdeck.runner.ticking import run_now

        return run_now(workspace, name)

    words = f"Start now what schedule {name} starts?"
    _ask(screen, words, "Run it", verb, lambda job: f"job/{job} of schedule {name} is queued.")


def _retry(screen: ConsoleScreen, job: JobRow) -> None:
    def verb(workspace: Workspace) -> None:
        from quarterdeck.runner.control import retry

        retry(workspace, job.id)

    if not job.tried_again:
        words = f"job/{job.id} is {job.state}: E tries again what failed, died, was lost or cancelled."
        screen.say(words, bad=True)
        return
    _ask(screen, f"Try job/{job.id} again?", "Try again", verb, lambda _: f"job/{job.id} is queued again.")


def cancel(screen: ConsoleScreen, pane: Pane | None, row: Row | None) -> None:
    """Ask whether to cancel the run or the job under the cursor."""
    kind, _ = _named(row)
    run = pane.run(row.source) if pane is not None and row is not None else None
    if kind == "job" and row is not None:
        _cancel_job(screen, row.source.job)
    elif run is not None:
        _cancel_run(screen, run)
    else:
        screen.say("X cancels a run or a job: choose one in the runs of a pipeline, or in pane 8.", bad=True)


def _cancel_run(screen: ConsoleScreen, run: int) -> None:
    def verb(workspace: Workspace) -> None:
        from quarterdeck.pipelines.submission import cancel

        cancel(workspace, run)

    _ask(screen, f"Cancel run {run}?", "Cancel the run", verb, lambda _: f"Run {run} is asked to stop.")


def _cancel_job(screen: ConsoleScreen, job: JobRow) -> None:
    def verb(workspace: Workspace) -> None:
        from quarterdeck.runner.control import cancel

        cancel(workspace, job.id)

    if not job.state.under_way:
        screen.say(f"job/{job.id} has ended already ({job.state}): there is nothing to cancel.", bad=True)
        return
    _ask(screen, f"Cancel job/{job.id}?", "Cancel the job", verb, lambda _: f"job/{job.id} is asked to stop.")


def hold(screen: ConsoleScreen, row: Row | None) -> None:
    """Ask whether to pause the schedule or the pipeline under the cursor, or to let it go on."""
    kind, name = _named(row)
    if row is None or kind not in ("schedule", "pipeline"):
        screen.say("H holds a schedule or a pipeline: press 8 or 2 and choose one.", bad=True)
        return
    held = row.source.row if kind == "schedule" else row.source
    if held.paused_by:
        resume(screen, row.key)
    elif kind == "schedule" and held.paused:
        words = f"{row.key} is paused by [schedules.{name}] in quarterdeck.toml: set `paused = false` there."
        screen.say(words, bad=True)
    else:
        pause(screen, row.key)


def pause(screen: ConsoleScreen, subject: str, reason: str = "") -> None:
    """Ask whether to pause `schedule/NAME` or `pipeline/NAME`."""

    def verb(workspace: Workspace) -> None:
        from quarterdeck.pipelines.pausing import pause

        pause(workspace, subject, reason=reason)

    what = "it fires no ticks" if subject.startswith("schedule/") else "it starts no runs"
    _ask(screen, f"Pause {subject}? Until it is resumed {what}.", "Pause it", verb, lambda _: f"{subject} is paused.")


def resume(screen: ConsoleScreen, subject: str) -> None:
    """Ask whether to let `schedule/NAME` or `pipeline/NAME` go on."""

    def verb(workspace: Workspace) -> None:
        from quarterdeck.pipelines.pausing import resume

        resume(workspace, subject)

    _ask(screen, f"Let {subject} go on?", "Resume it", verb, lambda _: f"{subject} goes on.")


def freeze(screen: ConsoleScreen, words: str, reason: str) -> None:
    """Ask whether to stop what happens by itself for as long as `words` say: `2h`."""
    workspace = screen.console_app.workspace
    if workspace is None:
        screen.say("The workspace is being opened: one moment.")
        return
    length = _length(screen, words, "`:freeze 2h release of the web shop`")
    if length is None:
        return

    def verb(workspace: Workspace) -> Any:
        from quarterdeck.freezing import freeze

        return freeze(workspace, length, reason=reason)

    _ask(
        screen,
        f"Freeze for {words}? No retrain, rollout or reaction starts by itself.",
        "Freeze",
        verb,
        lambda until: f"Frozen until {moment(until)}. `:thaw` ends it earlier.",
    )


def thaw(screen: ConsoleScreen) -> None:
    """Ask whether to end the freeze."""

    def verb(workspace: Workspace) -> None:
        from quarterdeck.freezing import thaw

        thaw(workspace)

    _ask(screen, "End the freeze now?", "Thaw", verb, lambda _: "Nothing is frozen any more.")


def _named(row: Row | None) -> tuple[str, str]:
    """Kind and name of a row: `("schedule", "nightly")`."""
    kind, _, name = ("" if row is None else row.key).partition("/")
    return kind, name


def _ask(
    screen: ConsoleScreen, words: str, verb: str, work: Callable[[Workspace], Any], done: Callable[[Any], str]
) -> None:
    """Ask `words`; on yes do `work`, and say what `done` makes of its value."""

    def answered(_: str, __: str) -> None:
        screen.console_app.ask_once(work, lambda value: screen.say(done(value)))

    screen.ask(Question(words=words, verb=verb, answered=answered))
