"""The gate: bounds that a version's metrics must keep before it may serve."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from quarterdeck.registry.version import GateVerdict
from quarterdeck.settings.making import Bound


@dataclass(frozen=True, slots=True)
class Check:
    """One bound against one metric."""

    metric: str
    bound: Literal["min", "max"]
    limit: float
    value: float | None
    """None where the metric is not known: such a check never passes."""
    passed: bool


def judge(bounds: Mapping[str, Bound], metrics: Mapping[str, float]) -> tuple[GateVerdict, list[Check]]:
    """Hold `metrics` against every bound. No bounds, no verdict; a missing metric fails: no data is never a pass."""
    checks: list[Check] = []
    for metric, bound in bounds.items():
        value = metrics.get(metric)
        if bound.min is not None:
            checks.append(Check(metric, "min", bound.min, value, value is not None and value >= bound.min))
        if bound.max is not None:
            checks.append(Check(metric, "max", bound.max, value, value is not None and value <= bound.max))
    if not checks:
        return GateVerdict.NONE, []
    return (GateVerdict.PASSED if all(check.passed for check in checks) else GateVerdict.FAILED), checks
