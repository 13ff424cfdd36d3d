"""Every key of the console, in one place: bindings, footer and help are made of it; a test holds docs/console.md to it.

A key that writes is an upper-case letter (`G` moves, and is the stated exception). Nothing writes on Ctrl or on a
bare lower-case letter, but for the `y`, `r` and `n` that answer a question on the screen.
"""

from __future__ import annotations

from dataclasses import dataclass

from textual.binding import Binding, BindingType


@dataclass(frozen=True, slots=True)
class Key:
    """One binding."""

    id: str
    """Its name: what stays the same when the key is remapped."""
    keys: str
    """Textual's names, separated by commas; the first is the one that is shown."""
    action: str
    label: str
    """In the footer: one or two words."""
    help: str
    """In the help: what it does."""
    shown: str = ""
    """How the key is written, where Textual's name is not how people say it."""

    @property
    def key(self) -> str:
        return self.shown or self.keys.split(",")[0]


TABLE = (
    Key("move.down", "j,down", "move(1)", "down", "next row"),
    Key("move.up", "k,up", "move(-1)", "up", "previous row"),
    Key("move.first", "g,home", "first", "first", "first row"),
    Key("move.last", "G,end", "last", "last", "last row; again reads further rows"),
    Key("move.page_down", "pagedown", "page(1)", "page", "one page down", "PgDn"),
    Key("move.page_up", "pageup", "page(-1)", "page", "one page up", "PgUp"),
    Key("move.enter", "enter", "enter", "open", "go into the row", "Enter"),
)

TEXT = (
    Key("text.down", "j,down", "move(1)", "down", "one line down"),
    Key("text.up", "k,up", "move(-1)", "up", "one line up"),
    Key("text.first", "g,home", "first", "top", "to the top"),
    Key("text.last", "G,end", "last", "end", "to the end"),
    Key("text.page_down", "pagedown,space", "page(1)", "page", "one page down", "PgDn"),
    Key("text.page_up", "pageup", "page(-1)", "page", "one page up", "PgUp"),
)

ALERT = (
    Key("alert.next_column", "down", "column(1)", "column", "plot the next of its columns", "Down"),
    Key("alert.previous_column", "up", "column(-1)", "column before", "plot the column before", "Up"),
)

PANES = (
    Key("pane.pulse", "1", "pane('pulse')", "Pulse", "Pulse: pipelines, models, alerts and deployments on one screen"),
    Key("pane.pipelines", "2", "pane('pipelines')", "Pipelines", "Pipelines, their runs and steps"),
    Key("pane.registry", "3", "pane('registry')", "Registry", "Registry: models and their versions"),
    Key("pane.alerts", "4", "pane('alerts')", "Alerts", "Drift & alerts"),
    Key("pane.deployments", "5", "pane('deployments')", "Deployments", "Deployments, their revisions and predictions"),
    Key("pane.jobs", "8", "pane('jobs')", "Jobs", "Jobs: what runs, waits, failed and comes"),
    Key(
        "pane.monitors",
        "9",
        "pane('monitors')",
        "Monitors",
        "Monitors: their last windows, how often they were right",
    ),
    Key("pane.audit", "0", "pane('audit')", "Audit", "Audit: the event log"),
)

CONSOLE = (
    *PANES,
    Key("go.back", "escape,q", "back", "back", "close the filter, else go back; `q` at a pane's root quits", "Esc"),
    Key("go.last_pane", "minus", "last_pane", "last pane", "the pane before this one", "-"),
    Key("go.history_back", "left_square_bracket", "history(-1)", "earlier", "the view before, in history", "["),
    Key("go.history_forward", "right_square_bracket", "history(1)", "later", "the view after, in history", "]"),
    Key("go.next_table", "tab", "next_table(1)", "next table", "the next table, on Pulse", "Tab"),
    Key("go.previous_table", "shift+tab", "next_table(-1)", "previous", "the table before, on Pulse", "shift+Tab"),
    Key("go.command", "colon,ctrl+p", "command", "command", "a command; Tab completes it", ":"),
    Key(
        "go.filter", "slash", "filter", "filter", "filter as you type; `/!` inverts, `column:value` names a column", "/"
    ),
    Key("go.help", "question_mark", "help", "help", "the keys of this pane", "?"),
    Key("row.describe", "d", "describe", "describe", "all about the row, on the whole screen"),
    Key("row.raw", "y", "raw", "raw", "the row as JSON"),
    Key(
        "row.logs",
        "l",
        "logs",
        "logs",
        "the log of the row's run or job, or of a schedule's newest job, followed as it grows",
    ),
    Key("row.predictions", "v", "predictions", "predictions", "the predictions of the row's deployment, newest first"),
    Key(
        "row.report",
        "b",
        "report",
        "report",
        "Evidently's full report of the alert, in a browser where there is one; it is asked for if there is none yet",
    ),
    Key("row.copy", "c", "copy", "copy id", "send the row's id to the terminal's clipboard"),
    Key("row.refresh", "r", "reload", "refresh", "read again now"),
    Key("write.roll_back", "R", "roll_back", "roll back", "plan a rollback of the row's deployment"),
    Key("write.undo", "U", "undo", "undo", "plan the reverse of the deployment's newest change"),
    Key("write.acknowledge", "A", "acknowledge", "acknowledge", "acknowledge the alert: real or noise?"),
    Key("write.silence", "S", "silence", "silence", "let the alert tell nobody for a while: begins `:silence`"),
    Key("write.comment", "C", "comment", "comment", "write something down about the alert: begins `:note`"),
    Key(
        "write.execute",
        "E",
        "execute",
        "run/retry",
        "run the pipeline or the schedule now; try a job again that failed, died, was lost or cancelled",
    ),
    Key("write.hold", "H", "hold", "hold", "pause the schedule or the pipeline, or let it go on"),
    Key("write.cancel", "X", "cancel", "cancel", "cancel the run or the job, with every process that it started"),
    Key("app.quit", "ctrl+c", "app.quit", "quit", "quit at once", "Ctrl-C"),
)

ROLLBACK = (
    Key("plan.back", "escape,q", "leave", "leave", "leave; an operation goes on without the console", "Esc"),
    Key("plan.diff", "d", "diff", "full diff", "everything that differs between the two versions"),
    Key("plan.replay", "w", "replay", "what if", "replay recorded traffic through the candidate"),
    Key("plan.again", "r", "again", "plan again", "read the plan again"),
    Key("plan.help", "question_mark", "help", "help", "the keys of this screen", "?"),
    Key("plan.undo", "U", "undo", "undo", "once it has ended: plan the reverse"),
    Key("plan.roll_back", "R", "plan", "plan another", "while watching: plan another rollback"),
    Key("plan.score", "S", "score", "score again", "after a rollback of a batch deployment: score its outputs again"),
    Key("plan.quit", "ctrl+c", "app.quit", "quit", "quit at once; an operation goes on", "Ctrl-C"),
)

QUESTION = (
    Key(
        "question.confirm",
        "y",
        "confirm",
        "yes",
        "do it (asked for by `R`, `U`, `E`, `H`, `X`, `:freeze`, `:thaw`, `:pause` and `:resume`)",
    ),
    Key("question.real", "r", "answer", "real", "the alert is real"),
    Key("question.noise", "n", "answer", "noise", "the alert is noise"),
    Key("question.cancel", "escape,enter", "cancel", "cancel", "leave everything as it is", "Esc"),
)
"""Answered by the confirm strip itself, which takes the focus while it asks."""


def bindings(keys: tuple[Key, ...]) -> list[BindingType]:
    """Textual's bindings for `keys`; each keeps its id, by which it can be remapped."""
    return [Binding(key.keys, key.action, key.label, show=False, id=key.id) for key in keys]


def everything() -> dict[str, tuple[Key, ...]]:
    """Every key by the place in which it holds."""
    return {
        "In a table": TABLE,
        "In a text": TEXT,
        "On an alert's page": ALERT,
        "Everywhere": CONSOLE,
        "On the rollback screen": ROLLBACK,
        "When asked": QUESTION,
    }


def by_id(*ids: str) -> list[Key]:
    known = {key.id: key for keys in everything().values() for key in keys}
    return [known[name] for name in ids]
