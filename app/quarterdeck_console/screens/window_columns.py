"""The columns of a judged window as tables that fit a narrow screen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.text import Text

from quarterdeck_console.alert_words import UNITS, legend
from quarterdeck_console.formatting import DASH, Page, clean, number
from quarterdeck_console.themes import MUTED, WARN

if TYPE_CHECKING:
    from collections.abc import Sequence

TITLES = ("COLUMN", "VERDICT", "EFFECT", "Q", "MISSING", "UNSEEN")
BESIDE = 4
"""So many of them fit beside a table."""
CUSTOMARY = ("COLUMN", "EVIDENTLY", "PSI", "KS", "CHI2 P")


def draw(page: Page, scores: Sequence[dict[str, Any]], *, narrow: bool) -> None:
    """A line for each column, what was found first, and the customary figures in a table of their own."""
    ranked = sorted(scores, key=lambda one: (not _found(one), -one["effect"]))
    shown = BESIDE if narrow else len(TITLES)
    page.heading("Columns, the furthest first")
    page.table(TITLES[:shown], (_line(one, narrow=narrow)[:shown] for one in ranked))
    for one in ranked:
        if one["slice"]:
            page.line(Text.assemble(f"{clean(one['column'])} moved in ", (clean(one["slice"]), WARN), " only"))
    page.line(legend(one["measure"] for one in ranked) + "; unseen: values new to it" * (not narrow), MUTED)
    if not narrow and any(one.get("figures") or one.get("preset") for one in ranked):
        page.heading("The customary figures")
        page.table(CUSTOMARY, ([one["column"], *_customary(one)] for one in ranked))


def _found(score: dict[str, Any]) -> str:
    """What was found in a column: that it drifted, misses values or has new ones; nothing where it is quiet."""
    signs = {"drifted": "verdict", "missing": "missing_verdict", "unseen": "unseen_verdict"}
    return ", ".join(word for word, name in signs.items() if score.get(name) == "drifted")


def _line(score: dict[str, Any], *, narrow: bool) -> tuple[str, ...]:
    # Beside a table there is no room for it; what all columns are off by at most stands above them.
    error = f" +-{score['error']:.1g}" if score.get("error") and not narrow else ""
    q_value = score["q_value"]
    return (
        score["column"],
        _found(score) or score["verdict"],
        f"{score['effect']:.3g} {UNITS[score['measure']]}{error}",
        "<0.001" if q_value < 0.001 else f"{q_value:.2g}",
        f"{score['missing_current']:.1%}",
        f"{score['unseen']:.1%}",
    )


def _customary(score: dict[str, Any]) -> tuple[str, ...]:
    figures = score.get("figures") or {}
    named = (number(figures.get(name)) or DASH for name in ("psi", "ks", "chi_squared"))
    return _preset(score.get("preset")) or DASH, *named


def _preset(figure: dict[str, Any] | None) -> str:
    """What Evidently's preset says of a column."""
    return "" if figure is None else f"{number(figure['score'])}{' drift' * figure['drifted']}"
