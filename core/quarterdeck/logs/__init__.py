"""Logs of jobs and of the long-lived processes: written, masked, continued in fresh files, read and followed."""

from __future__ import annotations

from quarterdeck.logs.lines import Line, rotated
from quarterdeck.logs.masking import Mask, scrub, secrets_of
from quarterdeck.logs.reading import Follower, follow, is_runaway, tail
from quarterdeck.logs.takeover import drain, take_over, tell

__all__ = [
    "Follower",
    "Line",
    "Mask",
    "drain",
    "follow",
    "is_runaway",
    "rotated",
    "scrub",
    "secrets_of",
    "tail",
    "take_over",
    "tell",
]
