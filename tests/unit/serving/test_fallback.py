"""Rules and constants: loaded from the workspace's folder once, and held to what the model could have answered."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from quarterdeck.registry.signature import Feature, Signature
from quarterdeck.serving.fallback import FallbackError, StandIn, answerable, load_rule

FEATURES = (Feature("amount", "number", nullable=True),)
LABELS = Signature(FEATURES, "fraud", ("no", "yes"))
FLAGS = Signature(FEATURES, "fraud", (False, True))
NUMBERS = Signature(FEATURES, "cost", None)
RULE = """
from __future__ import annotations
from dataclasses import dataclass
from rule_neighbour import LIMIT

@dataclass
class Case:
    amount: float

def decide(row):
    return "yes" if Case(row["amount"]).amount > LIMIT else "no"

wanted = 3
"""


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """A workspace's folder with a rule, of which nothing stays imported."""
    before, path = set(sys.modules), list(sys.path)
    (tmp_path / "fraud_rule.py").write_text(RULE)
    (tmp_path / "rule_neighbour.py").write_text("LIMIT = 10\n")
    (tmp_path / "wrong_rule.py").write_text("raise RuntimeError('not today')\n")
    (tmp_path / "json.py").write_text("def decide(row): ...\n")
    yield tmp_path
    sys.path[:] = path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_a_rule_is_imported_once_and_may_import_its_neighbours(root: Path) -> None:
    rule = load_rule(root, "fraud_rule:decide")
    assert (rule({"amount": 11}), rule({"amount": 9})) == ("yes", "no")
    (root / "fraud_rule.py").write_text("")
    assert load_rule(root, "fraud_rule:decide") is rule


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("nowhere:decide", "there is no module 'nowhere'"),
        ("fraud_rule:undecided", "fraud_rule.py has no function 'undecided'"),
        ("fraud_rule:wanted", "has no function 'wanted'"),
        ("json:decide", "is that of another module, json: rename it"),
    ],
)
def test_a_rule_that_cannot_be_had_is_named(root: Path, rule: str, expected: str) -> None:
    with pytest.raises(FallbackError, match=expected):
        load_rule(root, rule)


def test_a_module_that_fails_may_be_tried_again(root: Path) -> None:
    for _ in range(2):
        with pytest.raises(RuntimeError, match="not today"):
            load_rule(root, "wrong_rule:decide")


@pytest.mark.parametrize(
    ("value", "signature", "expected"),
    [("no", LABELS, "no"), (True, FLAGS, True), (3, NUMBERS, 3.0), (2.5, NUMBERS, 2.5)],
)
def test_what_the_model_could_have_answered_is_an_answer(value: Any, signature: Signature, expected: Any) -> None:
    answer = answerable(value, signature, "the constant")
    assert (answer, type(answer)) == (expected, type(expected))


@pytest.mark.parametrize(
    ("value", "signature"),
    [("perhaps", LABELS), (None, LABELS), (1, FLAGS), ("3", NUMBERS), (True, NUMBERS), (float("nan"), NUMBERS)],
)
def test_anything_else_is_none(value: Any, signature: Signature) -> None:
    with pytest.raises(FallbackError, match="the constant"):
        answerable(value, signature, "the constant")


def test_a_rule_sees_each_row_by_its_columns_and_its_failure_is_told() -> None:
    seen: list[dict[str, Any]] = []

    def rule(row: dict[str, Any]) -> Any:
        seen.append(row)
        return {1: 4, None: "4"}[row["amount"]]

    stand_in = StandIn("cost", NUMBERS, "the rule r:f", rule, row_seconds=0.0)
    assert stand_in.predict({"amount": [1, 1]}).values == [4.0, 4.0]
    assert seen == [{"amount": 1}, {"amount": 1}]
    with pytest.raises(FallbackError, match="the rule r:f, failed: KeyError: 2"):
        stand_in.predict({"amount": [2]})
    with pytest.raises(FallbackError, match="answered what it may not: '4' is no finite number"):
        stand_in.predict({"amount": [None]})
