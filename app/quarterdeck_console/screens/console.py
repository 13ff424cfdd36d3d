"""The main screen: a stack of views, the keys that move between them, and the keys that write."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from textual import events
from textual.containers import Container
from textual.widget import Widget

from quarterdeck_console import commands
from quarterdeck_console.keymap import CONSOLE, bindings
from quarterdeck_console.screens import help, predictions, reports, writes
from quarterdeck_console.screens.frame import Frame
from quarterdeck_console.screens.job_text import ELAPSED_STEP
from quarterdeck_console.screens.jobs import JobsPane
from quarterdeck_console.screens.pane import AlertPage, LogPage, Pane, RollbackTarget, TextPage
from quarterdeck_console.screens.panes import make_pane
from quarterdeck_console.screens.pulse import PulseView
from quarterdeck_console.screens.trail import Trail
from quarterdeck_console.screens.view import View
from quarterdeck_console.screens.views import TableView, view_of
from quarterdeck_console.widgets.confirm import ConfirmStrip
from quarterdeck_console.widgets.footer import Crumbs, Footer
from quarterdeck_console.widgets.prompt import Prompt
from quarterdeck_console.widgets.table import Row, Table

if TYPE_CHECKING:
    from quarterdeck.workspace import Workspace


class ConsoleScreen(Frame):
    """Shows one view at a time; those below it in the stack keep their cursor."""

    BINDINGS = bindings(CONSOLE)
    late_tools = True

    def __init__(self) -> None:
        super().__init__()
        self._stack: list[View] = []
        self._pane = "pulse"
        self._trail = Trail()
        self.reports = reports.Reports(self)

    def body(self) -> Iterable[Widget]:
        first = PulseView()
        self._stack = [first]
        self._trail.go("pulse")
        return (first,)

    def on_mount(self) -> None:
        self.console_app.show_status_on(self)
        self._draw_foot()
        self.set_interval(ELAPSED_STEP, self._let_time_pass)

    @property
    def view(self) -> View:
        return self._stack[-1]

    def state_changed(self) -> None:
        if self.view.stands:
            self.view.catch_up()
        self.reports.state_changed()

    def traffic_changed(self) -> None:
        if self.view.live_traffic and self.view.stands:
            self.view.catch_up()

    def _let_time_pass(self) -> None:
        """Where a job is seen to run, the time that it takes moves on; nothing else is read by the clock."""
        pane = self.view.pane
        if isinstance(self.view, TableView) and isinstance(pane, JobsPane) and pane.under_way:
            self.view.reload()

    def on_screen_resume(self) -> None:
        if self._stack:
            self.state_changed()

    # Views --------------------------------------------------------------------------------------------------------

    def open_pane(self, name: str, cursor: str | None = None) -> None:
        """Put pane `name` at the root, its cursor on the row `cursor`."""
        for view in self._stack:
            view.remove()
        self._pane = name
        self._trail.go(name)
        self._stack = []
        self._push(PulseView() if name == "pulse" else TableView(make_pane(name), cursor=cursor))

    def _push(self, view: View) -> None:
        if self._stack:
            self.view.display = False
        self._stack.append(view)
        self.query_one("#body", Container).mount(view)
        self._draw_foot()

    def on_view_ready(self, message: View.Ready) -> None:
        self._entered()

    def on_view_renamed(self, message: View.Renamed) -> None:
        self._draw_foot()

    def _entered(self) -> None:
        typing = any(prompt.display for prompt in self.query(Prompt))
        if self.view.stands and not (self.asking or typing):
            self.view.take_focus()
        self._draw_foot()

    def _draw_foot(self) -> None:
        path = [view.crumb for view in self._stack if view.crumb]
        root = self._stack[0]
        if root.pane is not None and not isinstance(root, PulseView):
            path[0] = root.pane.name
        self.query_one(Crumbs).go(path, self.view.filter_words)
        self.query_one(Footer).keys(self.view.keys)

    def enter(
        self, page: Pane | TextPage | LogPage | AlertPage, pane: Pane | None = None, row: Row | None = None
    ) -> None:
        """Go one level in."""
        context = {"pane": pane, "row": row} if isinstance(page, TextPage | AlertPage) else {}
        self._push(view_of(page, **context))

    def on_table_selected(self, message: Table.Selected) -> None:
        pane, row = self.view.pane, message.row
        if pane is None:
            return
        page = pane.enter(row.source)
        if page is None:
            self.action_describe()
        else:
            self.enter(page, pane, row)

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        if self._stack:
            self._draw_foot()

    def on_key(self, event: events.Key) -> None:
        self.query_one(Crumbs).hush()

    # Moving -------------------------------------------------------------------------------------------------------

    def action_pane(self, name: str) -> None:
        self.open_pane(name)

    def action_back(self) -> None:
        if self.view.filter_words:
            self.view.set_filter("")
            self._draw_foot()
        elif len(self._stack) > 1:
            self._stack.pop().remove()
            self.view.display = True
            self.view.catch_up()
            self._entered()
        elif self._last_key == "q":
            self.app.exit(0)

    async def on_event(self, event: events.Event) -> None:
        if isinstance(event, events.Key):
            self._last_key = event.key
        await super().on_event(event)

    _last_key = ""

    def action_last_pane(self) -> None:
        earlier = [name for name in self._trail.visited[: self._trail.place + 1] if name != self._pane]
        if earlier:
            self.open_pane(earlier[-1])
        else:
            self.say("There was no pane before this one.")

    def action_history(self, by: int) -> None:
        name = self._trail.step(by)
        if name is not None:
            self.open_pane(name)
        else:
            self.say("There is nothing further that way in history.")

    def action_next_table(self, step: int) -> None:
        if isinstance(self.view, PulseView):
            self.view.next_table(step)
        else:
            self.say("There is one table here: Tab moves between those of Pulse.")

    # The line at the bottom ---------------------------------------------------------------------------------------

    def _prompt(self) -> Prompt | None:
        prompt = next(iter(self.query(Prompt)), None)
        if prompt is None or not prompt.is_mounted:
            self.say("The workspace is being opened: one moment.")
            return None
        return prompt

    def action_command(self) -> None:
        rows = [row.key for table in self.view.query(Table) if not table.passive for row in table.rows]
        if (prompt := self._prompt()) is not None:
            prompt.ask(":", complete=lambda typed: commands.complete(typed, rows))

    def action_filter(self) -> None:
        if not self.view.query(Table):
            self.say("There are no rows to filter here.")
        elif (prompt := self._prompt()) is not None:
            prompt.ask("/", self.view.filter_words)

    def on_prompt_changed(self, message: Prompt.Changed) -> None:
        self.view.set_filter(message.value)

    def on_prompt_left(self, message: Prompt.Left) -> None:
        if message.sign == "/":
            self.view.set_filter("")
        self._leave_prompt()

    def on_prompt_submitted(self, message: Prompt.Submitted) -> None:
        self._leave_prompt()
        if message.sign == ":":
            self.obey(commands.parse(message.value))

    def _leave_prompt(self) -> None:
        self.query_one(Prompt).close()
        self._entered()

    def obey(self, command: commands.Command) -> None:
        match command:
            case commands.Go(pane, reference):
                self.open_pane(pane, reference)
            case commands.Quit():
                self.app.exit(0)
            case commands.Freeze(duration, reason):
                writes.freeze(self, duration, reason)
            case commands.Thaw():
                writes.thaw(self)
            case commands.Pause(subject, reason):
                writes.pause(self, subject, reason)
            case commands.Resume(subject):
                writes.resume(self, subject)
            case commands.Silence(duration, reason):
                writes.silence(self, self.view.pane, self.view.row, duration, reason)
            case commands.Note(words):
                writes.note(self, self.view.pane, self.view.row, words)
            case commands.Find(words):
                predictions.find(self, self.view.pane, self.view.row, words)
            case commands.Help():
                self.action_help()
            case commands.Unknown(words):
                self.say(words, bad=True)

    def on_confirm_strip_closed(self, message: ConfirmStrip.Closed) -> None:
        self._entered()

    # Looking ------------------------------------------------------------------------------------------------------

    def _row_or_word(self) -> Row | None:
        """The row under the cursor; where there is none that is said, so that no key is pressed in vain."""
        if self.view.row is None:
            self.say("There is no row under the cursor.", bad=True)
        return self.view.row

    def action_help(self) -> None:
        pane = self.view.pane
        self.enter(TextPage("help", lambda _: help.text_of(pane)))

    def action_describe(self) -> None:
        pane, row = self.view.pane, self._row_or_word()
        if pane is not None and row is not None:
            self.enter(TextPage(row.key, lambda workspace: pane.detail(workspace, row.source)), pane, row)

    def action_raw(self) -> None:
        pane, row = self.view.pane, self._row_or_word()
        if row is not None:
            self.enter(TextPage("raw", lambda _: help.raw_text(row.source)), pane, row)

    def action_logs(self) -> None:
        pane, row = self.view.pane, self._row_or_word()
        if pane is None or row is None:
            return
        if not pane.has_logs:
            self.say("l shows the log of a run, a job or a schedule: press 2 or 8 and choose one.", bad=True)
            return

        def find(workspace: Workspace) -> Path | None:
            return pane.log(workspace, row.source)

        self.console_app.ask_once(find, lambda path: self.enter(LogPage("log", path, find)))

    def action_predictions(self) -> None:
        predictions.list_newest(self, self.view.pane, self.view.row)

    def action_report(self) -> None:
        self.reports.ask(self.view.pane, self.view.row)

    def action_copy(self) -> None:
        row = self._row_or_word()
        if row is not None:
            self.app.copy_to_clipboard(row.key)
            self.say(f"{row.key} was sent to the terminal's clipboard.")

    def action_reload(self) -> None:
        self.view.reload()
        self.console_app.read_status()

    # Writing ------------------------------------------------------------------------------------------------------

    def action_roll_back(self) -> None:
        self._plan(undo=False)

    def action_undo(self) -> None:
        self._plan(undo=True)

    def _plan(self, *, undo: bool) -> None:
        # The row is captured now: whatever the refresh does meanwhile, the plan is about what was pressed on.
        pane, row = self.view.pane, self._row_or_word()
        if pane is None or row is None:
            return

        def opened(target: RollbackTarget | str) -> None:
            if isinstance(target, str):
                self.say(target, bad=True)
            else:
                self.console_app.open_rollback(target, undo=undo)

        self.console_app.ask_once(lambda workspace: pane.rollback_target(workspace, row.source), opened)

    def action_acknowledge(self) -> None:
        writes.acknowledge(self, self.view.pane, self.view.row)

    def action_silence(self) -> None:
        self._begin_command("silence 2h ", "S lets an alert rest")

    def action_comment(self) -> None:
        self._begin_command("note ", "C writes something down about an alert")

    def _begin_command(self, words: str, about: str) -> None:
        """Open the command line with its first words: what is missing is for the person to type."""
        pane, row = self.view.pane, self.view.row
        if pane is None or row is None or pane.alert(row.source) is None:
            self.say(f"{about}: press 4 and choose one.", bad=True)
        elif (prompt := self._prompt()) is not None:
            prompt.ask(":", words, complete=lambda typed: commands.complete(typed, []))

    def action_execute(self) -> None:
        writes.execute(self, self.view.pane, self.view.row)

    def action_hold(self) -> None:
        writes.hold(self, self.view.row)

    def action_cancel(self) -> None:
        writes.cancel(self, self.view.pane, self.view.row)
