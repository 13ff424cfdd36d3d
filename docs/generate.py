"""Writes the reference pages that follow from the code: docs/settings.md and docs/cli.md. `make docs` runs it.

A setting's meaning is the docstring under its field, a verb's is its help: there is no second place to keep.
"""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, get_args

import typer.main
from pydantic import BaseModel
from pydantic_core import PydanticUndefined
from typer.testing import CliRunner

from quarterdeck.settings import Settings
from quarterdeck.settings.kpis import KpiSettings
from quarterdeck.settings.making import Bound
from quarterdeck.settings.monitoring import (
    CalendarUnit,
    CostSettings,
    FairnessMeasure,
    FairnessSettings,
    MetricName,
    SkewSettings,
)
from quarterdeck.settings.notifications import RateLimit, Told, WebhookFormat, WebhookSettings
from quarterdeck.settings.objectives import BurnRate, LatencyObjective, ObjectiveSettings
from quarterdeck.settings.reactions import AlertName, Deed, ReactionSettings, SeverityName
from quarterdeck.settings.serving import ColumnSettings, FallbackSettings
from quarterdeck_console.cli.verbs import app

DOCS = Path(__file__).parent
TYPES = {
    "str": "text",
    "str | None": "text",
    "Name": "name",
    "Name | None": "name",
    "Path | None": "file",
    "bool": "true or false",
    "int": "whole number",
    "int | None": "whole number",
    "Size": "size",
    "Size | None": "size",
    "float": "number",
    "float | None": "number",
    "AwareDatetime": "time with its zone",
    "MetricName | None": f"one of {', '.join(get_args(MetricName))}",
    "Duration": "duration",
    "Duration | None": "duration",
    "Literal['quarterdeck', 'evidently']": "one of quarterdeck, evidently",
    "Literal['skip', 'queue', 'replace']": "one of skip, queue, replace",
    "Literal['once', 'skip', 'each']": "one of once, skip, each",
    "tuple[str, ...]": "list of texts",
    "str | tuple[str, ...]": "URL or list of texts",
    "tuple[int, int]": "two whole numbers",
    "tuple[int, int] | None": "two whole numbers",
    "tuple[AwareDatetime, AwareDatetime] | None": "two times with their zones",
    "CalendarUnit | None": f"one of {', '.join(get_args(CalendarUnit))}",
    "Literal['training', 'period', 'calendar']": "one of training, period, calendar",
    "tuple[WebhookSettings, ...]": "list of URLs or tables",
    "WebhookFormat": f"one of {', '.join(get_args(WebhookFormat))}",
    "Rate": "rate",
    "tuple[Told, ...]": f"list of {' and '.join(get_args(Told))}",
    "bool | None": "true or false",
    "tuple[ReactionSettings, ...]": "list of tables",
    "CostSettings | None": "table",
    "FairnessSettings | None": "table",
    "SkewSettings | None": "table",
    "FairnessMeasure": f"one of {', '.join(get_args(FairnessMeasure))}",
    "dict[str, dict[str, FiniteFloat]]": "tables of numbers",
    "FiniteFloat": "number",
    "FiniteFloat | None": "number",
    "tuple[AlertName, ...]": f"one or a list of {', '.join(get_args(AlertName))}",
    "SeverityName": f"one of {', '.join(get_args(SeverityName))}",
    "Deed": f"one of {', '.join(get_args(Deed))}",
    "dict[str, dict[str, str]]": "table",
    "dict[str, Bound]": "table",
    "dict[str, ColumnSettings]": "table",
    "FallbackSettings | None": "table",
    "dict[Name, KpiSettings]": "table",
    "Literal['higher', 'lower'] | None": "one of higher, lower",
    "ObjectiveSettings | None": "table",
    "LatencyObjective | None": "table",
    "tuple[BurnRate, ...]": "list of tables",
    "Share": "number",
    "Share | None": "number",
    "Annotated[Duration, AfterValidator(_countable)]": "duration",
    "Literal['page', 'warning']": "one of page, warning",
    "Literal['reject', 'impute', 'fallback'] | None": "one of reject, impute, fallback",
    "str | int | float | bool | None": "text, number, or true or false",
    "dict[str, str | int | float | bool]": "table",
}
"""How annotations are called for people. One that is not here stops the generator: give it words."""
WITHIN: dict[str, tuple[type[BaseModel], str]] = {
    "dict[str, Bound]": (Bound, "METRIC."),
    "dict[str, ColumnSettings]": (ColumnSettings, "COLUMN."),
    "FallbackSettings | None": (FallbackSettings, ""),
    "ObjectiveSettings | None": (ObjectiveSettings, ""),
    "dict[Name, KpiSettings]": (KpiSettings, "KPI."),
    "LatencyObjective | None": (LatencyObjective, ""),
    "tuple[BurnRate, ...]": (BurnRate, ""),
    "tuple[WebhookSettings, ...]": (WebhookSettings, ""),
    "tuple[ReactionSettings, ...]": (ReactionSettings, ""),
    "CostSettings | None": (CostSettings, ""),
    "FairnessSettings | None": (FairnessSettings, ""),
    "SkewSettings | None": (SkewSettings, ""),
}
"""Annotations of tables with keys of their own, and how a key goes on there."""

SETTINGS_HEAD = """\
# Settings

Every key of `quarterdeck.toml`. This page is made from `core/quarterdeck/settings/` by `make docs`.

A workspace's settings lie beside its `.quarterdeck/` folder. A key that is not listed here is an error that names it.
An environment variable overrides a key: `QUARTERDECK_GATEWAY__PORT=9000` stands for `port` under `[gateway]`.
A running runner reads the file again within a second of a change, and keeps the settings it has when the new ones do
not fit; the gateway and `quarterdeck up` read it when they start.

A *duration* is written `500ms`, `30s`, `15m`, `6h`, `3d`, `2w` or `1h30m`. A *size* is written `500MB`, `2GB` or
`1.5GiB`, a *rate* `10 per 10m`. A *name* has letters, digits, `.`, `_` and `-`, at most 100 of them, and begins with a
letter or a digit.
Where the default is *none*, the key may be left out; where it is *required*, it must be there.
"""
CLI_HEAD = """\
# Command line

Every verb, as its `--help` says it. This page is made from the command line itself by `make docs`.

`quarterdeck` without a verb opens the console. stdout is data, stderr is narration; `--json` prints one JSON document.
On a terminal the columns of a table that do not fit its width stand below their row; elsewhere each row is one line.
A verb works on the workspace that `--workspace` names, else on the nearest one upward from the current folder.
Exit codes are in [errors.md](errors.md): 0 done, 1 failed, 2 bad usage, 3 refused, 4 it moved.
"""
WIDTH = 100


@dataclass(frozen=True, slots=True)
class Setting:
    """One key of quarterdeck.toml."""

    section: str
    """Its table, as it is written: `gateway`, `datasets.NAME`."""
    key: str
    type: str
    default: str
    meaning: str


def all_settings() -> Iterator[Setting]:
    """Every key, in the order of the source."""
    for name, field in Settings.model_fields.items():
        model = _section_of(field.annotation)
        section = name if model is field.annotation else f"{name}.NAME"
        yield from _keys(section, model)


def _section_of(annotation: Any) -> type[BaseModel]:
    """The model of a section: itself, or the values of a dictionary of them."""
    found = annotation if inspect.isclass(annotation) else annotation.__args__[-1]
    if not (inspect.isclass(found) and issubclass(found, BaseModel)):
        raise TypeError(f"{annotation} is no section of settings.")
    return found


def _keys(section: str, model: type[BaseModel], prefix: str = "") -> Iterator[Setting]:
    (definition,) = ast.parse(inspect.getsource(model)).body
    assert isinstance(definition, ast.ClassDef)
    for node, below in zip(definition.body, [*definition.body[1:], None], strict=True):
        if not (isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)):
            continue
        key, annotation = node.target.id, ast.unparse(node.annotation)
        meaning = _text_of(below)
        if meaning is None:
            raise ValueError(f"{model.__name__}.{key} has no docstring under it.")
        default = _size(model, key) if annotation == "Size" else _default(model, key)
        yield Setting(section, prefix + key, TYPES[annotation], default, meaning)
        if annotation in WITHIN:
            below_it, name = WITHIN[annotation]
            yield from _keys(section, below_it, prefix=f"{prefix}{key}.{name}")


def _text_of(node: ast.stmt | None) -> str | None:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
        return " ".join(node.value.value.split())
    return None


def _default(model: type[BaseModel], key: str) -> str:
    field = model.model_fields[key]
    value = field.get_default(call_default_factory=True)
    if value is PydanticUndefined:
        return "required"
    if value is None:
        return "none"
    return f"`{_as_toml(value)}`"


def _size(model: type[BaseModel], key: str) -> str:
    value = model.model_fields[key].default
    return f'`"{value // 10**9}GB"`' if value >= 10**9 else f'`"{value // 10**6}MB"`'


def _as_toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime):
        return f'"{value:%Y-%m-%dT%H:%M:%SZ}"'
    if isinstance(value, timedelta):
        return f'"{_duration(value)}"'
    if isinstance(value, RateLimit):
        return f'"{value.most} per {_duration(value.per)}"'
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, BaseModel):
        return f"{{ {', '.join(f'{name} = {_as_toml(one)}' for name, one in value)} }}"
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(_as_toml(item) for item in value)}]"
    return "{}" if value == {} else str(value)


def _duration(value: timedelta) -> str:
    seconds = value.total_seconds()
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds % length == 0:
            return f"{seconds / length:g}{unit}"
    return f"{seconds:g}s"


def settings_page() -> str:
    """The text of docs/settings.md."""
    parts = [SETTINGS_HEAD]
    section = None
    for setting in all_settings():
        if setting.section != section:
            section = setting.section
            parts.append(f"\n## [{section}]\n\n| key | type | default | meaning |\n| --- | --- | --- | --- |\n")
        meaning = setting.meaning.replace("|", "\\|")
        parts.append(f"| `{setting.key}` | {setting.type} | {setting.default} | {meaning} |\n")
    return "".join(parts)


def verbs() -> list[tuple[str, ...]]:
    """Every verb as the words that call it: `("data", "add")`."""
    found: list[tuple[str, ...]] = []

    def walk(command: Any, words: tuple[str, ...]) -> None:
        below = getattr(command, "commands", None)
        if below is None:
            found.append(words)
            return
        for name, each in below.items():
            walk(each, (*words, name))

    walk(typer.main.get_command(app), ())
    return found


def cli_page() -> str:
    """The text of docs/cli.md."""
    runner = CliRunner()
    parts = [CLI_HEAD]
    for words in verbs():
        shown = runner.invoke(app, [*words, "--help"], prog_name="quarterdeck", terminal_width=WIDTH)
        if shown.exit_code:
            raise RuntimeError(f"quarterdeck {' '.join(words)} --help ended with {shown.exit_code}: {shown.output}")
        text = "\n".join(line.rstrip() for line in shown.output.strip().splitlines())
        parts.append(f"\n## quarterdeck {' '.join(words)}\n\n```text\n{text}\n```\n")
    return "".join(parts)


def pages() -> dict[Path, str]:
    """Every generated page and its text."""
    return {DOCS / "settings.md": settings_page(), DOCS / "cli.md": cli_page()}


def main() -> None:
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
        sys.stdout.write(f"{path.name} written\n")


if __name__ == "__main__":
    main()
