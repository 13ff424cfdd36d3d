"""The views that a body can hold: a pane's table with its detail, a page of text, a log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Horizontal

from quarterdeck_console.keymap import Key, by_id
from quarterdeck_console.reading import Reader
from quarterdeck_console.screens.alert_view import AlertView
from quarterdeck_console.screens.log_view import LogView
from quarterdeck_console.screens.news import news_table, read_news
from quarterdeck_console.screens.pane import PAGE_ROWS, AlertPage, LogPage, Pane, TextPage
from quarterdeck_console.screens.view import View
from quarterdeck_console.widgets.filter import matcher, nothing_passes
from quarterdeck_console.widgets.table import Row, Table
from quarterdeck_console.widgets.text_view import TextView

if TYPE_CHECKING:
    from quarterdeck.workspace import Workspace


class TableView(View):
    """One pane: its table, the detail of the row under the cursor, and the newest events where there is room."""

    # The screen's classes say how large it is, and scoped rules could not see them.
    SCOPED_CSS = False
    DEFAULT_CSS = """
    TableView { layout: vertical; }
    TableView #top { height: 1fr; }
    TableView Table { height: 1fr; width: 3fr; }
    TableView #detail { width: 2fr; display: none; border-left: solid #263240; padding: 0 1; }
    TableView #news { height: 8; width: 1fr; display: none; }
    .-wide TableView #detail { display: block; }
    .-tall TableView #news { display: block; }
    """

    def __init__(self, pane: Pane, *, cursor: str | None = None) -> None:
        super().__init__()
        self._pane = pane
        self._limit = PAGE_ROWS
        self._read: list[Row] = []
        self._cursor = cursor
        self._rows_reader, self._detail_reader, self._news_reader = Reader(self), Reader(self), Reader(self)
        self.live_traffic = pane.live_traffic
        self.table = Table(pane.columns, empty=pane.empty, follow=pane.newest_first, id="table")
        self._held = self._behind = False
        self._detail = TextView(id="detail", focusable=False)
        self._news = None if pane.name == "audit" else news_table()

    def compose(self) -> ComposeResult:
        with Horizontal(id="top"):
            yield self.table
            yield self._detail
        if self._news is not None:
            yield self._news

    @property
    def crumb(self) -> str:
        return f"{self._pane.crumb} (held: g follows)" if self._held else self._pane.crumb

    @property
    def keys(self) -> Sequence[Key]:
        return by_id(*self._pane.keys)

    @property
    def pane(self) -> Pane:
        return self._pane

    @property
    def row(self) -> Row | None:
        return self.table.current

    def take_focus(self) -> None:
        self.screen.set_focus(self.table)

    def on_mount(self) -> None:
        if self._cursor is not None:
            self.table.move_to(self._cursor)
        self.stand()

    def reload(self) -> None:
        pane, limit = self._pane, self._limit

        def read(workspace: Workspace) -> list[Row]:
            return [pane.table_row(row) for row in pane.read(workspace, limit)]

        self._behind = False
        self._rows_reader.ask(limit, read, self._show)
        self._read_news()

    def catch_up(self) -> None:
        # Rows that move on while somebody walks through them would be gone before they are read.
        self._behind = self._held
        if self._held:
            self._read_news()
        else:
            self.reload()

    def _read_news(self) -> None:
        if self._news is not None and self.is_attached and self.screen.has_class("-tall"):
            self._news_reader.ask("news", read_news, self._news.show)

    def _show(self, rows: list[Row]) -> None:
        self._read = rows
        self._apply()
        self._describe(self.row)

    def _apply(self) -> None:
        keep = matcher(self.filter_words, [column.title for column in self._pane.columns])
        filtered = nothing_passes(self.filter_words, len(self._read))
        self.table.show([row for row in self._read if keep(row)], filtered=filtered)

    def set_filter(self, words: str) -> None:
        self.filter_words = words
        self._apply()

    def on_table_highlighted(self, message: Table.Highlighted) -> None:
        message.stop()
        # Not the message's row: rows may have come since it was sent.
        self._describe(self.row)
        held, self._held = self._held, self._pane.newest_first and not self.table.at_top
        if held != self._held:
            self.post_message(self.Renamed())
        if held and not self._held and (self._behind or self._limit > PAGE_ROWS):
            self._limit = PAGE_ROWS
            self.reload()

    def on_table_end_reached(self, message: Table.EndReached) -> None:
        message.stop()
        if len(self._read) >= self._limit:
            self._limit += PAGE_ROWS
            self.reload()

    def on_resize(self) -> None:
        self._describe(self.row)

    def _describe(self, row: Row | None) -> None:
        view = self._detail
        if not self.is_attached or not self.screen.has_class("-wide"):
            return
        if row is None:
            self._detail_reader.forget()
            view.show(Text())
            return
        changed = view.name != row.key
        pane, source = self._pane, row.source

        def show(text: Text) -> None:
            view.show(text, keep_place=not changed)

        self._detail_reader.ask(row.key, lambda workspace: pane.detail(workspace, source), show)


class PageView(View):
    """A text on the whole body."""

    def __init__(self, page: TextPage, *, pane: Pane | None = None, row: Row | None = None) -> None:
        super().__init__()
        self._page = page
        self._pane, self._row = pane, row
        self._reader, self._longer = Reader(self), Reader(self)
        self._text = TextView(id="text")

    def compose(self) -> ComposeResult:
        yield self._text

    @property
    def crumb(self) -> str:
        return self._page.name

    @property
    def keys(self) -> Sequence[Key]:
        own = [key for key in (self._pane.keys if self._pane else ()) if key.startswith("write.")]
        return by_id("text.down", "text.page_down", *own, "go.back", "go.help")

    @property
    def pane(self) -> Pane | None:
        return self._pane

    @property
    def row(self) -> Row | None:
        return self._row

    def take_focus(self) -> None:
        self.screen.set_focus(self._text)

    def on_mount(self) -> None:
        self.stand()

    def reload(self) -> None:
        self._reader.ask("page", self._page.read, self._show)

    def _show(self, text: Text) -> None:
        self._text.show(text)
        if self._page.longer is not None:
            self._longer.ask("longer", self._page.longer, self._text.show)


def view_of(page: Pane | TextPage | LogPage | AlertPage, **context: Any) -> View:
    """The view that shows `page`."""
    if isinstance(page, AlertPage):
        return AlertView(page.alert, **context)
    if isinstance(page, Pane):
        return TableView(page)
    if isinstance(page, LogPage):
        return LogView(page)
    return PageView(page, **context)
