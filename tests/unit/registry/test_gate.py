"""The gate's verdicts."""

from __future__ import annotations

import pytest

from quarterdeck.registry.gate import judge
from quarterdeck.registry.version import GateVerdict
from quarterdeck.settings.making import Bound


@pytest.mark.parametrize(
    ("bounds", "metrics", "verdict"),
    [
        ({}, {"auc": 0.1}, GateVerdict.NONE),
        ({"auc": Bound(min=0.8)}, {"auc": 0.8}, GateVerdict.PASSED),
        ({"auc": Bound(min=0.8)}, {"auc": 0.79}, GateVerdict.FAILED),
        ({"loss": Bound(max=0.5)}, {"loss": 0.6}, GateVerdict.FAILED),
        ({"auc": Bound(min=0.8)}, {}, GateVerdict.FAILED),
        ({"auc": Bound(min=0.8)}, {"auc": float("nan")}, GateVerdict.FAILED),
        ({"auc": Bound(min=0.1), "loss": Bound(max=0.5)}, {"auc": 0.9, "loss": 0.9}, GateVerdict.FAILED),
    ],
)
def test_every_bound_must_hold_and_no_data_is_never_a_pass(
    bounds: dict[str, Bound], metrics: dict[str, float], verdict: GateVerdict
) -> None:
    assert judge(bounds, metrics)[0] is verdict


def test_a_check_keeps_its_evidence() -> None:
    (low, high) = judge({"auc": Bound(min=0.8, max=0.99)}, {"auc": 0.7})[1]
    assert (low.bound, low.limit, low.value, low.passed) == ("min", 0.8, 0.7, False)
    assert (high.bound, high.limit, high.passed) == ("max", 0.99, True)
