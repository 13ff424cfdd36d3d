"""The help page: the keys of this pane first, then all the others. It is made from the keymap."""

from __future__ import annotations

from typing import Any

from rich.text import Text

from quarterdeck_console.commands import PANES, WRITES
from quarterdeck_console.formatting import Page, clean, raw
from quarterdeck_console.keymap import Key, by_id, everything
from quarterdeck_console.screens.pane import Pane
from quarterdeck_console.themes import ACCENT, BAD, MUTED


def text_of(pane: Pane | None) -> Text:
    """Help for `pane`."""
    page = Page()
    if pane is not None:
        page.title(pane.title, "what one does here")
        for key in by_id(*pane.keys):
            _line(page, key)
    for place, keys in everything().items():
        page.heading(place)
        for key in keys:
            _line(page, key)
    page.heading("Commands")
    for name, words in PANES.items():
        page.line(Text.assemble((f"  :{words[0]:<14}", ACCENT), (f"{name}; with a name: that row", MUTED)))
    page.line(Text.assemble(("  :open alert/3  ", ACCENT), ("any row, as pages and webhooks name it", MUTED)))
    page.line(
        Text.assemble(("  :find ORDER-7  ", ACCENT), ("predictions of the row's deployment, by id, key or time", MUTED))
    )
    for said in WRITES.values():
        page.line(Text.assemble((f"  :{said}", BAD)))
    page.line(Text.assemble(("  :q             ", ACCENT), ("quit", MUTED)))
    return page.text


def raw_text(row: Any) -> Text:
    """A row as JSON."""
    return Text("\n").join(Text(clean(line)) for line in raw(row).splitlines())


def _line(page: Page, key: Key) -> None:
    also = [clean(other) for other in key.keys.split(",")[1:]]
    words = key.help + (f" (also {', '.join(also)})" if also else "")
    page.line(Text.assemble((f"  {key.key:<15}", BAD if key.id.startswith("write.") else ACCENT), words))
