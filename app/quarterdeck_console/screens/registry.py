"""Pane 3: models, and their versions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from rich.text import Text

from quarterdeck_console.formatting import DASH, Page, clean, metrics, moment, number, state, text
from quarterdeck_console.screens.pane import Pane, RollbackTarget, TextPage
from quarterdeck_console.themes import ACCENT, BAD, GOOD, MUTED, WARN
from quarterdeck_console.widgets.table import Column

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quarterdeck.registry.queries import ModelRow, VersionRow
    from quarterdeck.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Standing:
    """A model with where it serves."""

    model: ModelRow
    serving: tuple[str, ...]
    """`fraud v2` for each deployment of it."""
    monitored: bool

    @property
    def name(self) -> str:
        return self.model.name


def read_models(workspace: Workspace) -> list[Standing]:
    from quarterdeck.deployments.queries import deployments
    from quarterdeck.registry.queries import models

    serving = deployments(workspace)
    watched = {monitor.deployment for monitor in workspace.settings.monitors.values()}
    rows = []
    for model in models(workspace):
        here = [d for d in serving if d.model == model.name]
        rows.append(
            Standing(
                model=model,
                serving=tuple(f"{d.name} v{d.version}" for d in here),
                monitored=any(d.name in watched for d in here),
            )
        )
    return rows


def gate(row: Standing) -> Text:
    return state(row.model.newest_gate) if row.model.newest_gate else text(None)


def newest(row: Standing) -> Text:
    return text(f"v{row.model.newest}" if row.model.newest else "", ACCENT)


class RegistryPane(Pane):
    name = "registry"
    title = "Registry"
    empty = (
        "No models yet.\n"
        "quarterdeck run PIPELINE                          trains and registers one\n"
        "quarterdeck adopt model.skops --sample rows.csv   brings one from elsewhere"
    )
    columns: ClassVar[tuple[Column, ...]] = (
        Column("MODEL", lambda r: text(r.name), least=10),
        Column("NEWEST", newest),
        Column("GATE", gate),
        Column("SERVES", lambda r: text(", ".join(r.serving)), least=8),
        Column("MONITORED", lambda r: text("yes" if r.monitored else "no", GOOD if r.monitored else WARN), priority=3),
        Column("VERSIONS", lambda r: text(r.model.versions), right=True, priority=3),
        Column("METRICS", lambda r: text(metrics(r.model.newest_metrics), MUTED), priority=2, least=12),
    )

    def read(self, workspace: Workspace, limit: int) -> Sequence[Standing]:
        return read_models(workspace)

    def key(self, row: Any) -> str:
        return f"model/{row.name}"

    def enter(self, row: Any) -> Pane:
        return VersionsPane(row.name)

    def rollback_target(self, workspace: Workspace, row: Any) -> RollbackTarget | str:
        return serving_target(workspace, row.name, None)

    def detail(self, workspace: Workspace, row: Any) -> Text:
        from quarterdeck.registry.queries import version

        page = Page().title(row.name).field("serves", ", ".join(row.serving))
        page.field("monitored", "yes" if row.monitored else "no: add [monitors.NAME] to quarterdeck.toml")
        if row.model.newest:
            page.line("")
            page.text.append_text(describe_version(workspace, version(workspace, row.name, row.model.newest)))
        return page.text


class VersionsPane(Pane):
    name = "versions"
    title = "Versions"
    empty = "No versions yet."
    keys = ("move.enter", "write.roll_back", "row.describe", "row.raw", "go.filter", "go.back", "go.help")
    columns = (
        Column("VERSION", lambda r: text(f"v{r.number}", ACCENT)),
        Column("GATE", lambda r: state(r.gate)),
        Column("METRICS", lambda r: text(metrics(r.metrics)), least=12),
        Column("FORMAT", lambda r: text(r.format, MUTED), priority=3),
        Column("RUN", lambda r: text(r.run_id, MUTED), right=True, priority=3),
        Column("CREATED", lambda r: text(moment(r.created_at)), priority=2),
        Column("BY", lambda r: text(r.created_by, MUTED), priority=4),
    )

    def __init__(self, model: str) -> None:
        self._model = model

    @property
    def crumb(self) -> str:
        return self._model

    def read(self, workspace: Workspace, limit: int) -> Sequence[Any]:
        from quarterdeck.registry.queries import versions

        return sorted(versions(workspace, self._model), key=lambda version: -version.number)

    def key(self, row: Any) -> str:
        return f"version/{self._model}@{row.number}"

    def enter(self, row: Any) -> TextPage:
        return TextPage(f"v{row.number}", lambda workspace: describe_version(workspace, row))

    def rollback_target(self, workspace: Workspace, row: Any) -> RollbackTarget | str:
        return serving_target(workspace, self._model, row.number)

    def detail(self, workspace: Workspace, row: Any) -> Text:
        return describe_version(workspace, row)


def serving_target(workspace: Workspace, model: str, version: int | None) -> RollbackTarget | str:
    """The one deployment that serves `model`."""
    from quarterdeck.deployments.queries import deployments

    names = [row.name for row in deployments(workspace) if row.model == model]
    if len(names) == 1:
        return RollbackTarget(names[0], version=version)
    if not names:
        return f"No deployment serves {model}: there is nothing to roll back."
    return f"{model} serves in {', '.join(names)}: press 5 and choose one of them."


def describe_version(workspace: Workspace, row: VersionRow) -> Text:
    """A version's card."""
    from quarterdeck.registry.queries import lineage

    page = Page().title(f"{row.model}@{row.number}", state(row.gate))
    page.field("format", f"{row.format}, {row.task}").field("made by", f"{row.created_by}, {moment(row.created_at)}")
    page.field("runtime", row.runtime).field("run", row.run_id)
    page.field("memory", row.memory_bytes and f"{row.memory_bytes / 1e6:,.1f} MB when it was loaded last")
    if row.metrics:
        page.heading("Metrics on the holdout").fields(row.metrics)
    if row.gate_checks:
        page.heading("Gate")
        for check in row.gate_checks:
            sign = {"min": ">=", "max": "<="}.get(str(check["bound"]), str(check["bound"]))
            words = f"{check['metric']} {number(check['value']) or 'not known'} {sign} {number(check['limit'])}"
            page.line(("● " if check["passed"] else "✖ ") + clean(words), GOOD if check["passed"] else BAD)
    if row.importances:
        page.heading("Importance")
        ranked = sorted(row.importances.items(), key=lambda item: -item[1])[:12]
        wide = max(len(name) for name, _ in ranked)
        for name, share in ranked:
            page.line(Text.assemble(f"{clean(name):<{wide}}  ", ("█" * round(24 * share), ACCENT), f" {share:.0%}"))
    _signature(page, row.signature)
    if row.profile:
        page.heading("Reference rows").table(
            ("COLUMN", "MISSING", "MEAN", "5 %", "MEDIAN", "95 %", "MOST FREQUENT"), map(_profile, row.profile)
        )
    if row.unknown:
        page.heading("Not known")
        for words in row.unknown:
            page.line(words, WARN)
    upstream, downstream = lineage(workspace, f"version/{row.model}@{row.number}")
    page.heading("Lineage").field("made from", ", ".join(upstream)).field("went into", ", ".join(downstream))
    return page.text


def _profile(column: dict[str, Any]) -> tuple[str, ...]:
    """A line about one column: its figures, or its most frequent values."""
    missing = f"{column['missing'] / column['rows']:.1%}" if column["rows"] else DASH
    # At 0, 0.05, ..., 1.
    quantiles = column["quantiles"]
    figures = (column["mean"], quantiles[1], quantiles[10], quantiles[19]) if quantiles else (None,) * 4
    top = list((column["categories"] or {}).items())[:3]
    if column["type"] == "time" and column["minimum"]:
        words = f"{column['minimum']} to {column['maximum']}"
    else:
        words = ", ".join(f"{name} {count / column['rows']:.0%}" for name, count in top)
    return (column["name"], missing, *(number(figure) or DASH for figure in figures), words or DASH)


def _signature(page: Page, signature: Any) -> None:
    page.heading("Signature").field("target", signature.get("target"))
    if signature.get("classes"):
        page.field("classes", ", ".join(str(name) for name in signature["classes"]))
    for feature in signature["features"]:
        values = ", ".join(feature["categories"] or ())
        kind = feature["type"] + (", may be missing" if feature["nullable"] else "")
        page.line(
            Text.assemble(
                f"{clean(feature['name']):<18} ", (kind, MUTED), (f"  {clean(values)}" if values else "", MUTED)
            )
        )
