"""One prediction: what went in beside the reference, what came out, and what moved it."""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from rich.text import Text

from quarterdeck_console.formatting import Page, clean, day, moment, number
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
BESIDE = (15, 10, 22)
"""The same in the detail beside a table."""
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
        return described(workspace, self._deployment, row, self._explained or "Explaining ...")

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
    from quarterdeck.traffic.labelling import contradictions

    found = inspect(workspace, deployment, row)
    page = Page().title(number(row.prediction), _answered_by(found))
    if row.probabilities:
        pairs = zip(found.classes or (), row.probabilities, strict=False)
        page.field("probability", "   ".join(f"{clean(name)} {number(share)}" for name, share in pairs))
    page.field("label", _label(row.label, contradictions(workspace, deployment, row.id, row.key)))
    page.field("id", row.id).field("key", row.key)
    page.field("received", moment(row.received_at)).field("event time", day(row.event_time))
    page.field("latency", f"{row.latency_ms:.2f} ms" if row.latency_ms else "not known")
    if row.probe:
        page.field("probe", "the gateway sent it to itself; monitors leave it out")
    if explained is None or isinstance(explained, str):
        page.heading("Inputs")
        _inputs(page, found.inputs, widest=WIDEST if explained else BESIDE)
        if explained:
            page.line("").line(explained, MUTED)
    else:
        told = explained.explanation
        page.heading(
            f"{clean(told.outcome)}: {number(told.answer)}, and {number(told.average)} on average".capitalize()
        )
        by_name = {given.name: given for given in found.inputs}
        _inputs(page, [by_name[one.feature] for one in told.influences], told.influences)
        _told(page, explained)
    return page.text


def _label(label: Any, contradictions: int) -> str:
    if label is None:
        return "not known yet"
    return number(label) + (f", disputed ({contradictions} of another value)" if contradictions else "")


def _answered_by(found: Inspection) -> str:
    row = found.prediction
    revision = "" if row.revision is None else f", revision {row.revision}"
    return f"{clean(found.target or 'prediction')} by {clean(found.model)}@{row.version}{revision}, {row.variant}"


def _inputs(
    page: Page,
    inputs: Sequence[Input],
    influences: Sequence[Influence] = (),
    *,
    widest: tuple[int, int, int] = WIDEST,
) -> None:
    """A line for each input: its name, its value, where that lies in the reference; and what it did."""
    titles = ("INPUT", "VALUE", "IN REFERENCE")
    cells = [(one.name, _value(one.value), one.position.words if one.position else "") for one in inputs]
    widths = [min(max(len(clean(line[i])) for line in (titles, *cells)), most) for i, most in enumerate(widest)]
    blank = Text("  ")
    head = [_cell(title, width) for title, width in zip(titles, widths, strict=True)]
    page.line(Text(blank.join([*head, Text("INFLUENCE")] if influences else head).plain.rstrip(), MUTED))
    largest = max((abs(told.influence) for told in influences), default=0.0)
    for line, told in zip_longest(cells, influences):
        parts = [_cell(words, width) for words, width in zip(line, widths, strict=True)]
        parts[2].stylize(MUTED)
        if told is None:
            parts[2].rstrip()
        page.line(blank.join([*parts, _influence(told, largest)] if told else parts))


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
    page.line("")
    page.field("on average", f"over {explained.explanation.rows} rows drawn from the reference")
    if explained.differs:
        page.field("but", explained.differs, WARN)
    page.field("influence", explained.definition).field("is not", explained.limits, MUTED)
    page.field("source", explained.source, MUTED)
    page.field("on the line", f"quarterdeck explain {explained.deployment} {explained.id}", MUTED)
