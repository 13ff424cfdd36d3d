"""Colours. Each has one meaning everywhere, and never carries it alone: a word or a sign stands beside it."""

from __future__ import annotations

from textual.theme import Theme

BACKGROUND = "#0e131a"
RAISED = "#18212c"
CURSOR = "#243b55"
TEXT = "#c8d1dc"
STRONG = "bold #eef3f8"
MUTED = "#76828f"
FAINT = "#3a4654"
ACCENT = "#69b1f0"
GOOD = "#6cc08b"
BUSY = "#69b1f0"
WARN = "#e3b04f"
BAD = "#f0707b"

QUARTERDECK = Theme(
    name="quarterdeck",
    primary=ACCENT,
    foreground=TEXT,
    background=BACKGROUND,
    surface=BACKGROUND,
    panel=RAISED,
    warning=WARN,
    error=BAD,
    success=GOOD,
    dark=True,
)

STRIPES = {
    "production": ("PROD", "bold #ffffff on #a8323e"),
    "staging": ("STAGING", "bold #14181d on #d9a441"),
    "development": ("DEV", "bold #ffffff on #2d6a9f"),
}
"""The environment stripe: what it says and how it looks. Other environments are shown by their own name."""

OTHER_STRIPE = "bold #ffffff on #5b4a8a"
