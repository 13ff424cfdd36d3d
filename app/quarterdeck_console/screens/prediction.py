"""One prediction: what went in beside the reference, what came out, and what moved it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.text import Text

from quarterdeck_console.formatting import Page, clean, day, duration, moment, number
from quarterdeck_console.themes import ACCENT, MUTED, WARN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quarterdeck.deployments.explaining import Explained
    from quarterdeck.deployments.inspection import Input, Inspection
    from quarterdeck.registry.explanation import Influence
    from quarterdeck.traffic.queries import PredictionRow
    from quarterdeck.workspace import Workspace

WIDEST = (18, 14, 22)
"""Columns of names, values and places in the reference: together they leave room for the influence on 80."""
BAR = 6


class PredictionPage:
    """One prediction on the whole body. What is recorded comes at once; the explanation when it is there."""

    def __init__(self, deployment: str, row: PredictionRow) -> None:
        self._deployment, self._row = deployment, row
        self._explained: Explained | str | None = None

    def read(self, workspace: Workspace) -> Text:
        """The prediction as it is recorded now: its label may have come meanwhile."""
        from quarterdeck.errors import NotFoundError
        from quarterdeck.traffic.queries import prediction

        try:
            row = prediction(workspace, self._deployment, self._row.id, at=self._row.event_time)
        except NotFoundError:  # it was too old to be kept any longer, and stays on the screen
            row = self._row
        return described(workspace, self._deployment, row, self._explained or "explaining ...")

    def explain(self, workspace: Workspace) -> Text:
        """The same with its explanation, or the reason why there is none. It takes seconds the first time."""
        if self._explained is None:
            self._explained = self._explanation(workspace)
        return self.read(workspace)

    def _explanation(self, workspace: Workspace) -> Explained | str:
        from quarterdeck.deployments.explaining import explain_row
        from quarterdeck.errors import QuarterdeckError

        try:
            return explain_row(workspace, self._deployment, self._row)
        except QuarterdeckError as error:
            return f"Not explained: {error}"


def described(
    workspace: Workspace, deployment: str, row: PredictionRow, explained: Explained | str | None = None
) -> Text:
    """Everything about one prediction; with its explanation, or with what is to be said in its place."""
    from quarterdeck.deployments.inspection import inspect

    found = inspect(workspace, deployment, row)
    page = Page().title(number(row.prediction), _answered_by(found))
    if row.probabilities:
        pairs = zip(found.classes or (), row.probabilities, strict=False)
        page.field("probability", "   ".join(f"{clean(name)} {number(share)}" for name, share in pairs))
    page.field("label", number(row.label) or "not known yet").field("id", row.id).field("key", row.key)
    page.field("received", moment(row.received_at)).field("event time", day(row.event_time))
    page.field("latency", duration(row.latency_ms / 1000) if row.latency_ms else "not known")
    if row.probe:
        page.field("probe", "the gateway sent it to itself; monitors leave it out")
    page.heading("Inputs")
    if explained is None or isinstance(explained, str):
        _inputs(page, [(given, None) for given in found.inputs], 0.0)
        if explained:
            page.line("").line(explained, MUTED)
    else:
        by_name = {given.name: given for given in found.inputs}
        ranked = [(by_name[told.feature], told) for told in explained.explanation.influences]
        _inputs(page, ranked, max((abs(told.influence) for _, told in ranked), default=0.0))
        _told(page, explained)
    return page.text


def _answered_by(found: Inspection) -> str:
    row = found.prediction
    revision = "" if row.revision is None else f", revision {row.revision}"
    return f"{clean(found.target or 'prediction')} by {clean(found.model)}@{row.version}{revision}, {row.variant}"


def _inputs(page: Page, rows: Sequence[tuple[Input, Influence | None]], largest: float) -> None:
    """A line for each input: its name, its value, where that lies in the reference, and what it did."""
    titles = ("INPUT", "VALUE", "IN REFERENCE", "INFLUENCE" if largest else "")
    cells = [(given.name, _value(given.value), given.position.words if given.position else "") for given, _ in rows]
    widths = [min(max(len(clean(line[i])) for line in [titles, *cells]), most) for i, most in enumerate(WIDEST)]
    page.line(Text("  ").join([_cell(title, width) for title, width in zip(titles, [*widths, 9], strict=True)]), MUTED)
    for line, (_, told) in zip(cells, rows, strict=True):
        parts = [_cell(words, width) for words, width in zip(line, widths, strict=True)]
        parts[2].stylize(MUTED)
        page.line(Text("  ").join([*parts, *([_influence(told, largest)] if told else [])]))


def _cell(words: str, width: int) -> Text:
    cell = Text(clean(words))
    cell.truncate(width, overflow="ellipsis", pad=True)
    return cell


def _value(value: Any) -> str:
    return "missing" if value is None else number(value) or "''"


def _influence(told: Influence, largest: float) -> Text:
    """Its figure, the error of it, and a bar as long as it is large."""
    if abs(told.influence) < largest / 1000:
        return Text("~0", MUTED)
    error = "" if told.error is None else f"+-{told.error:.1g}"
    bar = "█" * round(BAR * abs(told.influence) / largest)
    return Text.assemble(
        f"{told.influence:+.3g}".ljust(9), (f" {error:<9} ", MUTED), (bar, ACCENT if told.influence > 0 else WARN)
    )


def _told(page: Page, explained: Explained) -> None:
    told = explained.explanation
    page.heading("Explanation").field("explained", f"{told.outcome}: {number(told.answer)}")
    page.field("on average", f"{number(told.average)} over {told.rows} rows of the reference")
    if explained.differs:
        page.field("but", explained.differs, WARN)
    page.field("influence", explained.definition).field("is not", explained.limits, MUTED)
    page.field("source", explained.source, MUTED)
    page.field("on the line", f"quarterdeck explain {explained.deployment} {explained.id}", MUTED)
