"""The predictions of a window against their labels."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

from quarterdeck.monitoring.costs import Excess
from quarterdeck.monitoring.errors import Errors
from quarterdeck.monitoring.monitor import Monitor
from quarterdeck.registry.signature import Signature
from quarterdeck.registry.truth import default_metric, truth_and_score
from quarterdeck.registry.version import ModelVersion
from quarterdeck.settings.monitoring import MonitorSettings
from quarterdeck.statistics.quality import METRICS, bootstrap_interval
from quarterdeck.statistics.reliability import reliability
from quarterdeck.traffic.window import WindowRows
from quarterdeck.values import plain


def judge_quality(
    monitor: Monitor, version: ModelVersion, rows: WindowRows, errors: Errors | None = None
) -> dict[str, Any]:
    """Realised quality of `version` on its own labelled rows of a window, against its holdout.

    Returns `reliability` (a `statistics.reliability.Reliability`'s fields and whether it is calibrated; None without
    probabilities), metric, baseline (on the holdout; None when there was none), low, value, high (95% percentile
    bootstrap), loss (relative, positive is worse), coverage (labelled share), and the verdict: *inconclusive* with
    fewer labelled rows than the monitor's minimum, no baseline, or an undefined metric; otherwise *worse* when the
    loss reaches the monitor's tolerance and the baseline lies outside the interval; otherwise *quiet*. With `errors`
    also their `as_row`, and what `of_errors` makes of it.
    """
    settings = monitor.settings
    signature = Signature.from_dict(version.signature)
    metric = settings.metric or default_metric(version.task, signature)
    truth, score = truth_and_score(signature, metric, rows.labels, rows.predictions, rows.probabilities)
    low, value, high = bootstrap_interval(metric, truth, score)
    baseline = version.metrics.get(metric)
    greater_is_better = METRICS[metric].greater_is_better
    loss = 0.0 if baseline is None else loss_of(baseline, value, greater_is_better=greater_is_better)
    outside = baseline is not None and (high < baseline if greater_is_better else low > baseline)
    if baseline is None or math.isnan(value) or len(truth) < settings.minimum_rows:
        # The bootstrap of a few rows is narrow because it cannot know better, not because they agree.
        verdict = "inconclusive"
    else:
        verdict = "worse" if loss >= settings.tolerance and outside else "quiet"
    row = {
        "metric": metric,
        "baseline": baseline,
        "low": _finite(low),
        "value": _finite(value),
        "high": _finite(high),
        "loss": loss,
        "severity": loss,
        "coverage": rows.labelled / max(rows.n, 1),
        "verdict": verdict,
        "reliability": _reliability(signature, rows),
    }
    if errors is None:
        return row
    return _with_money(settings, {**row, **errors.as_row(), **of_errors(settings, row, errors)}, errors.cost)


def _with_money(settings: MonitorSettings, row: dict[str, Any], cost: Excess | None) -> dict[str, Any]:
    """Where the settings say what a day may cost, that is the severity; and a finding where only the cost rose."""
    if cost is None or settings.costs is None or settings.costs.page is None:
        return row
    weight = max(settings.page * cost.a_day / settings.costs.page, 0.0)
    rose = row["verdict"] == "quiet" or row["about"] == "errors"
    if rose and cost.low > 0 and weight >= settings.warning:
        return {**row, "about": "cost", "verdict": "worse", "severity": weight}
    if row["verdict"] != "worse":
        return row
    # A worse metric is worth a word, unless it is sure that it costs nothing.
    least = settings.warning if cost.high > 0 else 0.0
    return {**row, "severity": max(weight, least)}


def of_errors(settings: MonitorSettings, row: dict[str, Any], errors: Errors) -> dict[str, Any]:
    """What the verdict is `about`, and the `slice` that it names.

    A metric that is worse names the slice that stands for it. One that is not may hide a slice: that weighs as the
    growth of its errors times its share of the traffic. A change of the errors alone is no loss of the metric that
    somebody chose, and warns at most.
    """
    if row["verdict"] == "worse":
        return {"about": "metric", "slice": None if errors.culprit is None else errors.culprit.slice}
    if errors.worse:
        one = errors.worse[0]
        return {"about": "slice", "slice": one.slice, "verdict": "worse", "severity": one.growth * one.share}
    if errors.change is not None:
        return {"about": "errors", "slice": None, "verdict": "worse", "severity": settings.warning}
    return {"about": "metric", "slice": None}


def _reliability(signature: Signature, rows: WindowRows) -> dict[str, Any] | None:
    """How often probabilities came true; None without any.

    Of two classes those of the second, of more those of the answer that was given.
    """
    classes = [plain(label) for label in signature.classes or ()]
    came, said = [], []
    for label, answer, shares in zip(rows.labels, rows.predictions, rows.probabilities, strict=True):
        if label is None or not shares or len(shares) != len(classes):
            continue
        place = 1 if len(classes) == 2 else classes.index(plain(answer)) if plain(answer) in classes else None
        if place is not None:
            came.append(plain(label) == classes[place])
            said.append(min(max(shares[place], 0.0), 1.0))
    found = reliability(came, said)
    return None if found is None else {**asdict(found), "calibrated": found.calibrated}


def loss_of(baseline: float, value: float, *, greater_is_better: bool) -> float:
    """How much worse `value` is than `baseline`, as a share of that; 0 where one of them says nothing."""
    if math.isnan(value) or baseline == 0:
        return 0.0
    change = (baseline - value) if greater_is_better else (value - baseline)
    return change / abs(baseline)


def _finite(value: float) -> float | None:
    return None if math.isnan(value) else value
