"""Policies of columns: what becomes of a request that lacks a value, and what it is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from quarterdeck.registry.signature import Feature, Signature
from quarterdeck.registry.version import Format, GateVerdict, ModelVersion, Task
from quarterdeck.serving.columns import BadInput
from quarterdeck.serving.inputs import Inputs, Taken
from quarterdeck.settings.serving import DeploymentSettings

SIGNATURE = Signature(
    (
        Feature("amount", "number", nullable=True),
        Feature("visits", "integer", nullable=True),
        Feature("channel", "text", nullable=True, categories=("app", "web")),
        Feature("member", "boolean", nullable=True, categories=("False", "True")),
    ),
    target="fraud",
    classes=("no", "yes"),
    key="payment",
)
QUANTILES = [float(value) for value in range(21)]
PROFILE: list[dict[str, Any]] = [
    {"name": "amount", "type": "numeric", "quantiles": [value + 0.25 for value in QUANTILES], "categories": None},
    {"name": "visits", "type": "numeric", "quantiles": [value + 0.25 for value in QUANTILES], "categories": None},
    {"name": "channel", "type": "categorical", "quantiles": None, "categories": {"web": 90, "app": 10}},
    {"name": "member", "type": "categorical", "quantiles": None, "categories": {"False": 90, "True": 10}},
]
GOOD: dict[str, list[Any]] = {
    "amount": [1.0, 2.0],
    "visits": [3, 4],
    "channel": ["app", "web"],
    "member": [True, False],
}


def version(profile: Sequence[dict[str, Any]] = PROFILE, **agreement: tuple[str, ...]) -> ModelVersion:
    return ModelVersion(
        model_id=1,
        number=1,
        format=Format.SKOPS,
        task=Task.CLASSIFICATION,
        agreement=agreement,
        signature=SIGNATURE.as_dict(),
        example=[],
        profile=list(profile),
        metrics={},
        importances={},
        gate=GateVerdict.NONE,
        gate_checks=[],
        environment={},
        unknown=[],
        created_by="tester",
        created_at=datetime(2026, 1, 6, tzinfo=UTC),
    )


def inputs(found: ModelVersion | None = None, **columns: dict[str, Any]) -> Inputs:
    """What a version takes under the policies of `columns`."""
    return of(columns, found)


def of(columns: Mapping[str, dict[str, Any]], found: ModelVersion | None = None) -> Inputs:
    settings = DeploymentSettings.model_validate({"columns": columns, "fallback": {"constant": "no"}})
    return Inputs.of(SIGNATURE, found or version(), settings)


def take(taker: Inputs, **changes: list[Any] | None) -> Taken:
    """The columns of a good request, changed, or left out where None."""
    sent = {name: values for name, values in {**GOOD, **changes}.items() if values is not None}
    return taker.take(lambda column: sent.get(column.name), 2, sent)


def test_null_is_passed_on_where_nothing_is_said_of_it() -> None:
    taken = take(inputs(), amount=[None, 2.0])
    assert taken.columns["amount"] == [None, 2.0]
    assert (taken.imputed, taken.fallback) == ({}, ())


def test_null_is_refused_where_the_model_refuses_it() -> None:
    with pytest.raises(BadInput, match="Column 'amount' is missing in row 1, and the model cannot answer without it"):
        take(inputs(version(refuses_missing=("amount",))), amount=[1.0, None])
    assert take(inputs(version(refuses_missing=("amount",)))).columns == GOOD


def test_an_unseen_category_is_refused_where_the_model_refuses_it() -> None:
    with pytest.raises(BadInput, match=r"'channel' has 'fax' in row 1, which the model cannot take.*: app, web"):
        take(inputs(version(refuses_unseen=("channel",))), channel=["app", "fax"])
    assert take(inputs(), channel=["app", "fax"]).columns["channel"] == ["app", "fax"]
    assert take(inputs(version(refuses_unseen=("channel",))), channel=["app", None]).columns["channel"][1] is None


def test_reject_refuses_null_as_well_as_an_absent_column() -> None:
    taker = inputs(amount={"missing": "reject"})
    with pytest.raises(BadInput, match="'amount' is missing in row 0, and its policy"):
        take(taker, amount=[None, 2.0])
    with pytest.raises(BadInput, match="Missing columns: amount"):
        take(taker, amount=None)


@pytest.mark.parametrize(("name", "usual"), [("amount", 10.25), ("visits", 10), ("channel", "web"), ("member", False)])
def test_impute_puts_in_the_median_or_the_most_frequent_value(name: str, usual: Any) -> None:
    taker = of({name: {"missing": "impute"}})
    absent = take(taker, **{name: None})
    assert absent.columns[name] == [usual, usual]
    assert type(absent.columns[name][0]) is type(usual)
    assert absent.imputed == {name: 2}
    assert list(absent.columns) == list(SIGNATURE.names)
    second = take(taker, **{name: [None, GOOD[name][1]]})
    assert second.columns[name] == [usual, GOOD[name][1]]
    assert second.imputed == {name: 1}


def test_impute_puts_in_the_value_of_the_settings() -> None:
    taken = take(inputs(amount={"missing": "impute", "value": 0}), amount=[None, 2.0])
    assert taken.columns["amount"] == [0, 2.0]


@pytest.mark.parametrize(
    ("found", "policy"),
    [
        (version(profile=[]), {"missing": "impute"}),
        (version(), {"missing": "impute", "value": "much"}),
        (version(), {"missing": "impute", "value": float("inf")}),
    ],
)
def test_impute_without_a_fitting_value_refuses_and_says_so(found: ModelVersion, policy: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match="'amount' is missing in row 0, and nothing is known that could be put in"):
        take(inputs(found, amount=policy), amount=None)


def test_fallback_names_the_columns_that_lack_values() -> None:
    taker = inputs(amount={"missing": "fallback"}, channel={"missing": "fallback"})
    taken = take(taker, amount=None, channel=["app", None])
    assert taken.fallback == ("amount", "channel")
    assert taken.columns["amount"] == [None, None]
    assert take(taker).fallback == ()


def test_a_policy_for_a_column_that_there_is_not_is_ignored() -> None:
    assert take(inputs(amuont={"missing": "reject"})).columns == GOOD


@pytest.mark.parametrize("extra", ["amout", "Amount", "AMOUNT_", "amounts"])
def test_a_renamed_column_is_hinted_at(extra: str) -> None:
    with pytest.raises(BadInput, match=f"Hint: did '{extra}' mean 'amount'?"):
        take(inputs(), amount=None, **{extra: [1.0, 2.0]})
    assert take(inputs(amount={"missing": "impute"}), amount=None, **{extra: [1.0, 2.0]}).hint


@pytest.mark.parametrize("extra", ["weather", "payment", "x"])
def test_a_column_that_resembles_none_is_not(extra: str) -> None:
    with pytest.raises(BadInput) as raised:
        take(inputs(), amount=None, **{extra: [1.0, 2.0]})
    assert "Hint" not in str(raised.value)


def test_a_request_with_none_of_the_columns_is_refused_whatever_the_policies_are() -> None:
    policies: dict[str, dict[str, Any]] = {name: {"missing": "impute"} for name in SIGNATURE.names}
    with pytest.raises(BadInput, match="Missing columns: amount, visits, channel, member"):
        of(policies).take(lambda column: None, 10**15, ["x"])


def test_a_million_columns_make_no_long_message() -> None:
    sent = {f"amount {number}": [1.0] for number in range(1_000_000)}
    with pytest.raises(BadInput, match="and 999900 more") as raised:
        inputs().take(lambda column: sent.get(column.name), 1, sent)
    assert len(str(raised.value)) < 5_000
