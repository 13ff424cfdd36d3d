"""What happened, told between threads and widgets: past tense, one file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from textual.message import Message

if TYPE_CHECKING:
    from quarterdeck.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Liveness:
    """Which processes of the workspace are really there."""

    runner: bool = False
    workers: int = 0


@dataclass
class EngineOpened(Message):
    """The engine was imported and the workspace opened."""

    workspace: Workspace


@dataclass
class EngineFailed(Message):
    """The workspace could not be opened."""

    error: str


@dataclass
class StateChanged(Message):
    """Somebody committed to state.db."""


@dataclass
class TrafficChanged(Message):
    """Predictions or labels were recorded, at most once a second."""


@dataclass
class LivenessChanged(Message):
    """A process of the workspace came or went."""

    liveness: Liveness


@dataclass
class ReadFinished(Message):
    """A thread finished a read or a verb. `finish` decides in the screen's thread what is still wanted."""

    finish: Callable[[], None]


@dataclass
class Reported(Message):
    """There is one line to tell the person."""

    words: str
    bad: bool = False


def ignore(_: Any) -> None:
    """For verbs whose outcome shows by itself."""
