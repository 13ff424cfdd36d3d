"""Logs of jobs and of the long-lived processes: written, masked, continued in fresh files, read and followed."""

from __future__ import annotations

from quarterdeck.logs.lines import Line, rotated
from quarterdeck.logs.masking import Mask, masked, scrub, secrets_of
from quarterdeck.logs.reading import Follower, follow, is_runaway, tail
from quarterdeck.logs.takeover import append, drain, set_aside, take_over, tell

__all__ = [
    "Follower",
    "Line",
    "Mask",
    "append",
    "drain",
    "follow",
    "is_runaway",
    "masked",
    "rotated",
    "scrub",
    "secrets_of",
    "set_aside",
    "tail",
    "take_over",
    "tell",
]
