"""The rollback: plan, confirm, execute, watch. On a screen of its own; nothing is dimmed, nothing moves by itself."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from rich.text import Text
from textual import events
from textual.containers import Container, Vertical
from textual.widget import Widget

from quarterdeck_console.keymap import ROLLBACK, bindings, by_id
from quarterdeck_console.messages import ignore
from quarterdeck_console.reading import Reader
from quarterdeck_console.screens import help, rollback_plan, rollback_text
from quarterdeck_console.screens.frame import Frame
from quarterdeck_console.screens.pane import RollbackTarget
from quarterdeck_console.screens.rollback_plan import Look, Opening
from quarterdeck_console.screens.what_if import WhatIf
from quarterdeck_console.widgets.confirm import ConfirmStrip, Question
from quarterdeck_console.widgets.footer import Crumbs, Footer
from quarterdeck_console.widgets.line import Line
from quarterdeck_console.widgets.table import Table
from quarterdeck_console.widgets.text_view import TextView

if TYPE_CHECKING:
    from quarterdeck.deployments.rows import OperationRow

PAGE_KEYS = ("text.down", "plan.back", "plan.help")
MODE_KEYS = {
    "plan": ("move.enter", "move.down", "plan.diff", "plan.replay", "plan.again", "plan.back", "plan.help"),
    "watch": ("plan.undo", "plan.roll_back", "plan.score", "plan.back", "plan.help"),
}


class RollbackScreen(Frame):
    """One plan, for one deployment, captured when the key was pressed."""

    BINDINGS = bindings(ROLLBACK)
    DEFAULT_CSS = """
    RollbackScreen #title { height: 1; margin-top: 1; }
    RollbackScreen #outlook { height: 5; margin-bottom: 1; }
    RollbackScreen #plan { height: 1fr; }
    RollbackScreen #candidates { height: 6; }
    RollbackScreen #comparison { height: 1fr; border-top: solid #263240; }
    RollbackScreen.-tall #candidates { height: 10; }
    RollbackScreen.-wide #plan { layout: horizontal; }
    RollbackScreen.-wide #candidates { height: 1fr; width: 1fr; }
    RollbackScreen.-wide #comparison { width: 1fr; border-top: none; border-left: solid #263240; padding: 0 1; }
    RollbackScreen #page { height: 1fr; display: none; margin-top: 1; }
    RollbackScreen.-paged #plan, RollbackScreen.-paged #outlook, RollbackScreen.-paged #title { display: none; }
    RollbackScreen.-paged #page { display: block; }
    """

    def __init__(self, target: RollbackTarget, *, undo: bool) -> None:
        super().__init__()
        self._target = target
        self._undo = undo
        self._opening: Opening | None = None
        self._look: Look | None = None
        self._mode = "plan"
        self._operation: OperationRow | None = None
        self._what_if = WhatIf(self, self._replayed)
        self._look_reader, self._watch_reader = Reader(self), Reader(self)

    def body(self) -> Iterable[Widget]:
        return (
            Line(id="title"),
            TextView(id="outlook", focusable=False),
            Container(
                Table(rollback_text.CANDIDATES, empty="No other revision to go back to.", id="candidates"),
                TextView(id="comparison", focusable=False),
                id="plan",
            ),
            Vertical(TextView(id="page"), id="page-box"),
        )

    def on_mount(self) -> None:
        self.console_app.show_status_on(self)
        self.query_one("#title", Line).show(Text(" Planning ...", "dim"))
        self._go("plan")
        self.action_again()

    def on_unmount(self) -> None:
        self._close_plan(self._opening)

    def _close_plan(self, opening: Opening | str | None) -> None:
        """Take back that this plan is open."""
        if isinstance(opening, Opening) and opening.view_id is not None:
            view_id = opening.view_id
            self.console_app.ask_once(lambda workspace: rollback_plan.close_plan(workspace, view_id), ignore, ignore)

    @property
    def table(self) -> Table:
        return self.query_one("#candidates", Table)

    def _go(self, mode: str) -> None:
        """`plan`, or a page over it: `diff`, `watch`, `help`."""
        self._mode = mode
        self.set_class(mode != "plan", "-paged")
        self.query_one("#page-box").display = mode != "plan"
        self._take_focus()
        self._draw_foot()

    def _take_focus(self) -> None:
        self.set_focus(self.table if self._mode == "plan" else self.query_one("#page", TextView))

    def _draw_foot(self) -> None:
        tail = [] if self._mode == "plan" else [self._mode]
        verb = "undo" if self._undo else "roll back"
        self.query_one(Crumbs).go(["deployments", self._target.deployment, verb, *tail])
        self.query_one(Footer).keys(by_id(*MODE_KEYS.get(self._mode, PAGE_KEYS)))

    def on_key(self, event: events.Key) -> None:
        self.query_one(Crumbs).hush()

    def action_again(self) -> None:
        """Read the plan anew: the revision seen now is the one that is compared when it is executed."""
        if self._mode != "plan":
            return
        self._close_plan(self._opening)
        target, undo = self._target, self._undo
        self.console_app.ask_once(
            lambda workspace: rollback_plan.open_plan(workspace, target, undo=undo), self._opened, self._refused
        )

    def _refused(self, error: Exception) -> None:
        from quarterdeck_console.app import words_of

        if self.is_attached:
            self._leave_saying(words_of(error))

    def _leave_saying(self, words: str) -> None:
        app = self.console_app
        self.dismiss()
        app.call_later(app.say, words, bad=True)

    def _opened(self, opening: Opening | str) -> None:
        if not self.is_attached:
            self._close_plan(opening)  # left before it was read
            return
        if isinstance(opening, str):
            self._leave_saying(opening)
            return
        again, self._opening = self._opening is not None, opening
        plan = opening.plan
        self.query_one("#title", Line).show(rollback_text.title(plan, opening.undone))
        self._show_outlook()
        rows = [row for row in plan.candidates if not self._undo or row.revision == plan.target]
        if plan.cursor is not None:
            self.table.move_to(f"revision/{plan.cursor}")
        elif plan.target is not None:
            self.table.move_to(f"revision/{plan.target}")
        self.table.show([rollback_text.candidate_row(row) for row in rows])
        self._fit()
        if opening.under_way is not None and not again and not self._undo:
            self._watch(opening.under_way)

    def _show_outlook(self) -> None:
        if self._opening is not None:
            seen = self._look.plan if self._look is not None else self._opening.plan
            self.query_one("#outlook", TextView).show(rollback_text.outlook(seen))
            self._fit()

    def _fit(self) -> None:
        """Give each part the lines it needs, and the rest to the comparison."""
        if not self.is_attached:
            return
        answer = self.query_one("#outlook", TextView)
        answer.styles.height = min(max(answer.line_count, 1), 7)
        wide = self.has_class("-wide")
        self.table.styles.height = "1fr" if wide else min(len(self.table.rows) + 1, 6 if self.size.height < 35 else 12)

    def on_resize(self) -> None:
        self.call_after_refresh(self._fit)

    def on_table_highlighted(self, message: Table.Highlighted) -> None:
        if message.row is None or self._opening is None:
            return
        deployment, revision, alert = self._target.deployment, message.row.source.revision, self._opening.plan.alert
        self._look_reader.ask(
            revision, lambda workspace: rollback_plan.look_at(workspace, deployment, revision, alert), self._looked
        )

    def _looked(self, look: Look) -> None:
        self._look = look
        self._show_outlook()
        self.query_one("#comparison", TextView).show(self._comparison(look, full=False))
        if self._opening is not None and look.plan.expected != self._opening.plan.expected and self._mode == "plan":
            self._tell_who_moved()

    def _comparison(self, look: Look, *, full: bool) -> Text:
        liveness = self.console_app.liveness
        return rollback_text.comparison(look.detail, full=full, gateway=liveness is None or liveness.workers > 0)

    def _tell_who_moved(self) -> None:
        deployment = self._target.deployment
        self.console_app.ask_once(
            lambda workspace: rollback_plan.who_moved(workspace, deployment),
            lambda words: self.console_app.say(words, bad=True),
        )

    def action_diff(self) -> None:
        if self._look is not None and self._mode == "plan":
            self.query_one("#page", TextView).show(self._comparison(self._look, full=True), keep_place=False)
            self._go("diff")

    def action_help(self) -> None:
        if self._mode in ("plan", "diff"):
            self.query_one("#page", TextView).show(help.text_of(None), keep_place=False)
            self._go("help")

    def action_replay(self) -> None:
        row = self.table.current
        if self._mode == "plan" and row is not None and self._opening is not None:
            self._what_if.ask(self._target.deployment, self._opening.plan.version, row.source.version)

    def _replayed(self) -> None:
        """The outcome may change the answer of the first line."""
        row = self.table.current
        if row is not None:
            self.on_table_highlighted(Table.Highlighted(self.table, row))

    def on_table_selected(self, message: Table.Selected) -> None:
        opening, candidate = self._opening, message.row.source
        if opening is None or self._mode != "plan" or self.asking:
            return
        plan = opening.plan
        if not candidate.can_serve and not self._undo:
            self.say(f"Revision {candidate.revision} cannot be chosen: {candidate.why_not}.", bad=True)
            return
        to = candidate.revision
        verb = "Undo" if self._undo else "Roll back"
        words = f"{verb} {plan.deployment}: v{plan.version} -> v{candidate.version} (what revision {to} served)?"
        # An alert explains a rollback; what it explains about an undo is for the person to say.
        cause = "" if self._undo else plan.reason
        reason = cause or ("" if plan.protected else f"{verb.lower()} from the console")
        self.ask(
            Question(
                words=words if not cause or plan.protected else f"{words}  {cause}",
                verb=verb,
                answered=lambda _, why: self._execute(to, plan.expected, why),
                name=plan.deployment if plan.protected else "",
                reason=reason,
            )
        )

    def _execute(self, to: int, expected: int, reason: str) -> None:
        deployment, undo = self._target.deployment, self._undo
        self.console_app.ask_once(
            lambda workspace: rollback_plan.execute(
                workspace, deployment, undo=undo, to=to, expected=expected, reason=reason
            ),
            self._executed,
        )

    def _executed(self, outcome: OperationRow | str) -> None:
        if isinstance(outcome, str):
            self.console_app.say(outcome, bad=True)
        elif self.is_attached:
            self._watch(outcome)

    def on_confirm_strip_closed(self, message: ConfirmStrip.Closed) -> None:
        self._take_focus()

    def _watch(self, operation: OperationRow) -> None:
        self._operation = operation
        self.query_one("#page", TextView).show(rollback_text.watching(operation), keep_place=False)
        self._go("watch")
        self.state_changed()

    def _watched(self, operation: OperationRow) -> None:
        self._operation = operation
        if self._mode == "watch":
            self.query_one("#page", TextView).show(rollback_text.watching(operation))

    def state_changed(self) -> None:
        """The plan stands still while it is read; only the watch and a replay that was asked for move on."""
        if self._operation is not None and self._mode == "watch":
            number = self._operation.id
            self._watch_reader.ask(number, lambda workspace: rollback_plan.watch(workspace, number), self._watched)
        self._what_if.state_changed()

    def action_undo(self) -> None:
        if self._mode == "watch":
            self.app.switch_screen(RollbackScreen(RollbackTarget(self._target.deployment), undo=True))

    def action_score(self) -> None:
        operation = self._operation
        if self._mode != "watch" or operation is None or self.asking:
            return
        if not operation.outputs:
            self.say("No outputs are known that would have to be scored again.")
            return
        deployment, count = operation.deployment, len(operation.outputs)
        noun = "output" if count == 1 else "outputs"
        self.ask(
            Question(
                words=f"Score {count} {noun} again that v{operation.from_version} wrote, by v{operation.version}?",
                verb="Score again",
                answered=lambda _, __: self.console_app.ask_once(
                    lambda workspace: rollback_plan.score_again(workspace, deployment), self.say
                ),
            )
        )

    def action_plan(self) -> None:
        if self._mode == "watch":
            self._undo, self._look = False, None
            self._go("plan")
            self.action_again()

    def action_leave(self) -> None:
        if self._mode in ("diff", "help"):
            self._go("plan")
        else:
            self.dismiss()
