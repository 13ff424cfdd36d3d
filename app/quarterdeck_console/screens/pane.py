"""What a pane declares. The screen around it knows tables, keys and threads; a pane knows one kind of row."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from rich.text import Text

from quarterdeck_console.widgets.table import Column, Row

if TYPE_CHECKING:
    from quarterdeck.workspace import Workspace

PAGE_ROWS = 500
MOVES = ("move.enter", "row.describe", "go.filter", "go.command", "go.help")


@dataclass(frozen=True, slots=True)
class RollbackTarget:
    """What `R` and `U` were pressed on, captured at that instant."""

    deployment: str
    version: int | None = None
    """Put the cursor on the newest revision of this version, when it was pressed on a version."""
    revision: int | None = None
    alert: int | None = None


@dataclass(frozen=True, slots=True)
class TextPage:
    """A text that fills the body. It is read again on every change."""

    name: str
    read: Callable[[Workspace], Text]
    longer: Callable[[Workspace], Text] | None = None
    """What takes seconds to find out: its text comes in place of the first, once it is there."""


@dataclass(frozen=True, slots=True)
class LogPage:
    """A log file, followed as it grows."""

    name: str
    path: Path | None
    find: Callable[[Workspace], Path | None] | None = None
    """Asked on every change: the file appears when the job starts, and the next attempt writes another one."""


@dataclass(frozen=True, slots=True)
class AlertPage:
    """An alert's own page."""

    alert: int


class Pane(ABC):
    """Rows of one kind. The base answers 'not here' to everything a pane does not offer."""

    name: ClassVar[str] = ""
    """As `:` and the crumbs say it."""
    title: ClassVar[str] = ""
    columns: ClassVar[tuple[Column, ...]] = ()
    empty: ClassVar[str] = ""
    """What to do when there are no rows."""
    keys: ClassVar[tuple[str, ...]] = MOVES
    """Ids of the keys that the footer offers."""
    has_logs: ClassVar[bool] = False
    """Its rows have log files."""
    live_traffic: ClassVar[bool] = False
    """Read again when predictions arrive, not only when the state changes."""
    newest_first: ClassVar[bool] = False
    """New rows come on top: they are followed while the cursor stands there, and wait while it is elsewhere."""

    @property
    def crumb(self) -> str:
        return self.name

    @abstractmethod
    def read(self, workspace: Workspace, limit: int) -> Sequence[Any]:
        """The rows, sorted; at most `limit` where there can be many. Runs in a thread."""

    @abstractmethod
    def key(self, row: Any) -> str:
        """What makes the row itself, as people type it: `alert/3`."""

    def dim(self, row: Any) -> bool:
        return False

    @abstractmethod
    def detail(self, workspace: Workspace, row: Any) -> Text:
        """Everything about the row. Runs in a thread."""

    def enter(self, row: Any) -> Pane | TextPage | AlertPage | None:
        """Where Enter leads; None for the row's own description."""
        return None

    def log(self, workspace: Workspace, row: Any) -> Path | None:
        """The row's log file, where its pane `has_logs`. Runs in a thread."""
        return None

    def rollback_target(self, workspace: Workspace, row: Any) -> RollbackTarget | str:
        """What a rollback here would be about, or why there is none. Runs in a thread."""
        return "Nothing to roll back here. R works on a deployment, a revision, a version and an alert."

    def deployment(self, row: Any) -> str | None:
        """The deployment that the row, None where there is none, is about."""
        return None

    def pipeline(self, row: Any) -> str | None:
        return None

    def run(self, row: Any) -> int | None:
        return None

    def alert(self, row: Any) -> int | None:
        return None

    def table_row(self, row: Any) -> Row:
        return Row(self.key(row), tuple(column.cell(row) for column in self.columns), row, self.dim(row))
