"""The `:` line: what can be said, how it is completed, and where it leads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

PANES = {
    "pulse": ("pulse",),
    "pipelines": ("pipe", "pipeline", "pipelines"),
    "registry": ("model", "models", "registry"),
    "alerts": ("alert", "alerts"),
    "deployments": ("dep", "deployment", "deployments"),
    "jobs": ("job", "jobs"),
    "monitors": ("mon", "monitor", "monitors"),
    "audit": ("audit",),
}
"""Panes by the words that open them, the documented word first."""

WRITES = {
    "freeze": "freeze 2h [reason]",
    "thaw": "thaw",
    "pause": "pause schedule/NAME [reason]",
    "resume": "resume schedule/NAME",
    "silence": "silence 2h reason",
    "note": "note text",
}
"""Commands that write, and how each is said; all of them ask first."""

_OTHERS = (*WRITES, "open", "find", "help", "q", "quit")
_HELD = ("schedule/", "pipeline/")
_TAKE_ROWS: dict[str, tuple[str, ...]] = {"open": ("",), "pause": _HELD, "resume": _HELD}
"""Commands that take a reference, and which ones."""
_BY_WORD = {word: pane for pane, words in PANES.items() for word in words}
_KINDS = {
    "pipeline": "pipelines",
    "model": "registry",
    "version": "registry",
    "alert": "alerts",
    "deployment": "deployments",
    "job": "jobs",
    "schedule": "jobs",
    "monitor": "monitors",
    "event": "audit",
}


@dataclass(frozen=True, slots=True)
class Go:
    """Open a pane, with the cursor on `reference` when one is given."""

    pane: str
    reference: str | None = None


@dataclass(frozen=True, slots=True)
class Freeze:
    """Stop what happens by itself, for as long as is said: `2h`."""

    duration: str
    reason: str


@dataclass(frozen=True, slots=True)
class Thaw:
    """End the freeze."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Pause a schedule or a pipeline."""

    subject: str
    reason: str


@dataclass(frozen=True, slots=True)
class Resume:
    """Let a schedule or a pipeline go on."""

    subject: str


@dataclass(frozen=True, slots=True)
class Silence:
    """Let the alert under the cursor tell nobody, for as long as is said."""

    duration: str
    reason: str


@dataclass(frozen=True, slots=True)
class Note:
    """Write something down about the alert under the cursor."""

    text: str


@dataclass(frozen=True, slots=True)
class Find:
    """Look for predictions of the deployment under the cursor."""

    words: str
    """An id, a key or a time."""


@dataclass(frozen=True, slots=True)
class Quit:
    """Leave the console."""


@dataclass(frozen=True, slots=True)
class Help:
    """Show the keys."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """It says nothing we know."""

    words: str


Command = Go | Find | Freeze | Thaw | Pause | Resume | Silence | Note | Quit | Help | Unknown


def place_of(reference: str) -> Go | Unknown:
    """Where `alert/3`, `deployment/fraud`, `version/fraud@2` or `run/7` is shown."""
    kind, slash, name = reference.partition("/")
    if kind in ("data", "source", "run", "revision", "replay", "backtest"):
        return Unknown(f"{reference} has no pane of its own yet. :open takes {', '.join(_KINDS)} and a name.")
    if not slash or not name or kind not in _KINDS:
        return Unknown(
            f"'{reference}' names nothing. Write alert/3, deployment/NAME, model/NAME, pipeline/NAME, job/7."
        )
    if kind == "version":
        return Go("registry", f"model/{name.partition('@')[0]}")
    return Go(_KINDS[kind], reference)


def parse(words: str) -> Command:
    """What was typed after the colon."""
    parts = words.split()
    if not parts:
        return Unknown("Nothing was typed.")
    word, rest = parts[0].lower(), parts[1:]
    if word in ("q", "quit"):
        return Quit()
    if word == "help":
        return Help()
    if word in WRITES:
        return _write(word, rest)
    if word == "find":
        return Find(words.split(maxsplit=1)[1].strip()) if rest else Unknown("Find what? Write `:find ID|KEY|TIME`.")
    if word == "open":
        return place_of(rest[0]) if rest else Unknown("Open what? Write `:open alert/3`.")
    if word in _BY_WORD:
        pane = _BY_WORD[word]
        kind = next((kind for kind, of in _KINDS.items() if of == pane), "")
        return Go(pane, f"{kind}/{rest[0]}" if rest else None)
    if "/" in word:
        return place_of(parts[0])
    return Unknown(f"There is no command '{words}'. Press Tab after the colon to see them all.")


def _write(word: str, rest: list[str]) -> Command:
    if word == "thaw":
        return Thaw() if not rest else Unknown("`:thaw` ends the freeze and takes nothing.")
    if not rest:
        return Unknown(f"It needs more words: `:{WRITES[word]}`.")
    reason = " ".join(rest[1:])
    if word == "note":
        return Note(" ".join(rest))
    if word == "silence":
        return Silence(rest[0], reason) if reason else Unknown(f"Say why, too: `:{WRITES[word]}`.")
    if word == "freeze":
        return Freeze(rest[0], reason)
    if not rest[0].startswith(_HELD):
        return Unknown(f"'{rest[0]}' is neither a schedule nor a pipeline: write `:{word} schedule/NAME`.")
    return Pause(rest[0], reason) if word == "pause" else Resume(rest[0])


def complete(typed: str, rows: Sequence[str] = ()) -> list[str]:
    """Everything that `typed` can become; `rows` are the references on the screen, for those that take one."""
    word, blank, start = typed.partition(" ")
    if blank and word in _TAKE_ROWS:
        return [f"{word} {row}" for row in rows if row.startswith(start) and row.startswith(_TAKE_ROWS[word])]
    words = [words[0] for words in PANES.values()] + list(_OTHERS)
    return [word for word in words if word.startswith(typed)] or [word for word in _BY_WORD if word.startswith(typed)]
