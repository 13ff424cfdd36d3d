"""The columns of a window together against those of the reference: what no single one shows."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from quarterdeck.monitoring.inputs import Reference
from quarterdeck.monitoring.monitor import Monitor
from quarterdeck.monitoring.result import moved
from quarterdeck.statistics.drift import Column
from quarterdeck.statistics.multivariate import reconstruction, separation

CLASSIFIER, PLANE = "classifier", "plane"


def judge_across(
    monitor: Monitor, reference: Reference, current: dict[str, Column], scores: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """One row each for what a classifier tells apart and for the distance from the plane of the reference.

    Columns that were found by themselves are left out: they have told already. A classifier is a finding where the
    whole interval of its AUC lies half a `threshold` or more above 0.5; the plane where the mean distance moved by
    two `threshold`s of standard deviations, significantly. Both are *inconclusive* with too few rows. Nobody knows what
    such a shift costs before the quality is estimated or known, so it warns. Empty where fewer than two columns are
    left.
    """
    settings = monitor.settings
    told = {row["column"] for row in scores if moved(row)}
    before = [column for column in reference.columns if column.name not in told]
    after = [current[column.name] for column in before]
    rows = min((len(side[0].values) for side in (before, after) if side), default=0)
    if len(before) < 2 or rows < 2:
        return []
    apart, away = separation(before, after), reconstruction(before, after)
    far = abs(away.effect) >= 2 * settings.threshold and away.p_value < settings.significance
    found = {CLASSIFIER: apart.low >= 0.5 + settings.threshold / 2, PLANE: far}
    figures = {CLASSIFIER: asdict(apart), PLANE: {**asdict(away), "columns": apart.columns}}
    too_few = "inconclusive" if rows < settings.minimum_rows else "quiet"
    return [
        {
            **figures[name],
            "column": name,
            "verdict": "drifted" if found[name] else too_few,
            "severity": settings.warning,
        }
        for name in (CLASSIFIER, PLANE)
    ]
