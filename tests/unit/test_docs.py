"""The documentation says what the code does: nothing is stale, undocumented, or linked to what is not there."""

from __future__ import annotations

import importlib
import pkgutil
import re
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from docs.generate import DOCS, all_settings, cli_page, settings_page, verbs

import quarterdeck
from quarterdeck import errors
from quarterdeck.errors import QuarterdeckError

ROOT = DOCS.parent
PAGES = sorted([*DOCS.glob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"])


def read(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def first_cells(page: str) -> set[str]:
    """What stands in the first column of the page's tables."""
    return {match.strip(" `") for match in re.findall(r"^\| ([^|]+) \|", page, flags=re.MULTILINE)}


def all_errors() -> list[type[QuarterdeckError]]:
    """Every error class of the engine, also those that are defined beside what raises them."""
    for module in pkgutil.walk_packages(quarterdeck.__path__, "quarterdeck."):
        # Migrations run inside Alembic only, and the preload refuses to be imported where threads run.
        if "migrations" not in module.name and module.name != "quarterdeck.runner.preload":
            importlib.import_module(module.name)
    found: list[type[QuarterdeckError]] = []
    waiting: list[type[QuarterdeckError]] = [QuarterdeckError]
    while waiting:
        waiting += (kind := waiting.pop()).__subclasses__()
        found.append(kind)
    return [kind for kind in found if kind.__module__.startswith("quarterdeck.")]


@pytest.mark.parametrize(("name", "page"), [("settings.md", settings_page), ("cli.md", cli_page)])
def test_generated_page_is_what_the_code_says_now(name: str, page: Callable[[], str]) -> None:
    assert read(name) == page(), f"{name} is stale: run `make docs`"


@pytest.mark.parametrize("words", verbs(), ids=" ".join)
def test_verb_is_documented(words: tuple[str, ...]) -> None:
    assert f"\n## quarterdeck {' '.join(words)}\n" in read("cli.md")


def test_every_setting_is_documented_under_its_section() -> None:
    found = list(all_settings())
    page = read("settings.md")

    assert len(found) > 40
    for setting in found:
        section = page.split(f"\n## [{setting.section}]\n")[1].split("\n## ")[0]
        assert setting.key in first_cells(section), f"[{setting.section}] {setting.key}"


def test_every_dependency_is_explained_and_nothing_else() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    required = [
        *project["dependencies"],
        *(name for extra in project["optional-dependencies"].values() for name in extra),
    ]
    names = {re.split(r"[\[<>=!~; ]", requirement)[0].lower() for requirement in required}

    assert first_cells(read("dependencies.md")) - {"library", "---"} == names


def test_every_error_and_exit_code_is_documented() -> None:
    page = read("errors.md")
    codes = page.split("\n## ")[0]
    kinds = all_errors()

    assert {kind.__name__ for kind in kinds} >= {name for name in vars(errors) if name.endswith("Error")}
    for kind in kinds:
        assert f"| `{kind.__name__}` | {kind.exit_code} |" in page, kind.__name__
    for code in {0, *(kind.exit_code for kind in kinds)}:
        assert f"\n| {code} | " in codes


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    text = path.read_text(encoding="utf-8")

    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
        if not target.startswith(("http://", "https://")):
            assert (path.parent / target).exists(), target


def test_architecture_shows_the_layers_that_are_checked() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    drawn = re.split(r"\n```\w*\n", read("architecture.md").split("\n## Layers\n")[1])[1].split("\n```")[0]

    told = [re.split(r"\s{2,}", line)[0] for line in drawn.splitlines()]
    assert told == [layer.replace("quarterdeck.", "") for layer in layers]
