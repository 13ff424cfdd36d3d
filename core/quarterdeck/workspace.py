"""A workspace as one frozen handle: settings, databases, artifacts and the outside world. It has no verbs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlmodel import Session

from quarterdeck import events, logs
from quarterdeck.artifacts import ArtifactStore
from quarterdeck.database import Database
from quarterdeck.errors import ReadOnlyError
from quarterdeck.location import SETTINGS_FILE
from quarterdeck.ports import Ports
from quarterdeck.settings import Settings

STATE_FOLDER = ".quarterdeck"


@dataclass(frozen=True, slots=True)
class Workspace:
    """Where everything of one workspace is. Verbs take it first."""

    root: Path
    """The folder that holds quarterdeck.toml."""
    settings: Settings
    state: Database
    """Everything but traffic."""
    traffic: Database
    """Predictions and labels: bulk writes never hold the lock that a rollback needs."""
    artifacts: ArtifactStore
    ports: Ports
    actor: str
    """Who acts through this handle: a person, or a process such as `runner`."""

    @property
    def folder(self) -> Path:
        return self.root / STATE_FOLDER

    @property
    def settings_file(self) -> Path:
        return self.root / SETTINGS_FILE

    @property
    def logs(self) -> Path:
        return self.folder / "logs"

    def now(self) -> datetime:
        return self.ports.clock.now()

    def masked(self, text: str) -> str:
        """`text` without the secrets that the settings name: what people's code says is kept in rows and events too."""
        return logs.masked(text, logs.secrets_of(self.settings.logs.mask))

    @contextmanager
    def change(self, verb: str) -> Iterator[Session]:
        """The transaction of a verb that a person can ask for.

        Raises:
            ReadOnlyError: the workspace is read-only.
            BusyError: another process holds the write lock.
        """
        self.refuse_if_read_only(verb)
        with self.state.write(verb) as tx:
            yield tx

    def refuse_if_read_only(self, verb: str) -> None:
        """What `change` does first: for verbs that write elsewhere, or would work long before they write.

        Raises:
            ReadOnlyError: the workspace is read-only.
        """
        if self.settings.workspace.read_only:
            raise ReadOnlyError(
                f"{self.settings_file} says read_only = true, so `{verb}` is refused. Set it to false to write."
            )

    def record(
        self,
        tx: Session,
        kind: str,
        subject: str,
        data: dict[str, Any] | None = None,
        *,
        actor: str | None = None,
    ) -> events.Event:
        """Append an event in this handle's name, or in the name of `actor`."""
        (event,) = events.record(tx, events.Entry(self.now(), actor or self.actor, kind, subject, data or {}))
        return event

    def close(self) -> None:
        self.state.close()
        self.traffic.close()
