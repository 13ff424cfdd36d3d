"""What stands out in a judged window, and the line that says so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from quarterdeck.monitoring.alert import OF_INPUTS, AlertKind
from quarterdeck.monitoring.result import SILENCE, Aspect, Result
from quarterdeck.monitoring.sampled import drawn, off

KINDS = {
    Aspect.INPUTS: OF_INPUTS,
    Aspect.QUALITY: (AlertKind.QUALITY,),
    Aspect.ESTIMATE: (AlertKind.ESTIMATE,),
    Aspect.PREDICTIONS: (AlertKind.PREDICTIONS,),
    Aspect.FAIRNESS: (AlertKind.FAIRNESS,),
    Aspect.ACROSS: (AlertKind.ACROSS,),
    Aspect.TRAFFIC: (AlertKind.TRAFFIC,),
    Aspect.SKEW: (AlertKind.SKEW,),
}
METRICS = (AlertKind.QUALITY, AlertKind.ESTIMATE)
"""About a metric, and not about columns."""
CONSEQUENCES = {
    AlertKind.UNSEEN: (AlertKind.DRIFT,),
    AlertKind.ACROSS: OF_INPUTS,
    AlertKind.ESTIMATE: (*OF_INPUTS, AlertKind.ACROSS),
    AlertKind.PREDICTIONS: (*OF_INPUTS, AlertKind.ACROSS, *METRICS),
}
"""What explains such a finding. While that has an alert somebody was told of, the finding weighs in there: one cause,
one alert."""

LOSSES = {
    "log_loss": "log loss",
    "error_rate": "share of wrong answers",
    "absolute_error": "absolute error",
    "squared_error": "squared error",
}
"""The measures of one row's loss, in words."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that stands out in one window."""

    kind: AlertKind
    column: str
    """The column; the metric's name for quality, realised or estimated; the signal for traffic."""
    slice: str | None
    score: float
    row: dict[str, Any]

    @property
    def causes(self) -> tuple[AlertKind, ...]:
        """The kinds of alerts that explain it: see CONSEQUENCES. So do inputs the errors of one slice and what
        they cost, while the metric that somebody chose is no worse."""
        if self.kind is AlertKind.QUALITY and self.row.get("about") in ("slice", "errors", "cost"):
            return OF_INPUTS
        return CONSEQUENCES.get(self.kind, ())

    @property
    def is_certain(self) -> bool:
        """There is no need to wait for more windows: silence is one long window, rows that were compared one by one are
        no sample, and of a metric that is worse a detector says that the errors rose."""
        if self.kind is AlertKind.SKEW:
            return True
        if self.kind is AlertKind.TRAFFIC:
            return self.column == SILENCE
        return self.row.get("about") == "metric" and self.row.get("change") is not None


def findings_of(result: Result) -> list[Finding]:
    """What a stored result found."""
    kind = KINDS[result.aspect][0]
    if kind in METRICS:
        return [
            Finding(kind, row["metric"], row.get("slice"), row["severity"], row)
            for row in result.scores
            if row["verdict"] == "worse"
        ]
    found = []
    for row in result.scores:
        if row["verdict"] == "drifted":
            found.append(Finding(kind, row["column"], row.get("slice"), row["severity"], row))
        if kind is not AlertKind.DRIFT:
            continue
        if row["missing_verdict"] == "drifted":
            found.append(Finding(AlertKind.MISSING, row["column"], None, row["missing_severity"], row))
        # Of a column that drifted the distance tells already.
        if row["verdict"] != "drifted" and row.get("unseen_verdict") == "drifted":
            found.append(Finding(AlertKind.UNSEEN, row["column"], None, row["unseen_severity"], row))
    return found


def grouped(findings: list[Finding]) -> list[list[Finding]]:
    """What began together, of one kind and in one slice, is one alert: most likely it has one cause."""
    groups: dict[tuple[AlertKind, str | None], list[Finding]] = {}
    for finding in sorted(findings, key=lambda f: f.score, reverse=True):
        groups.setdefault((finding.kind, finding.slice), []).append(finding)
    return list(groups.values())


def summarise(findings: list[Finding], result: Result) -> str:
    """One line: what, where, how much, on how many rows, and whether that is a sample."""
    worst = max(findings, key=lambda f: f.score)
    sample = drawn(worst.row)
    # An effect of inputs is told by sketches of all rows.
    by = f", by {sample}" if sample and worst.kind not in OF_INPUTS else ""
    return f"{_summary(worst, findings, result)}{by}"


def _summary(worst: Finding, findings: list[Finding], result: Result) -> str:
    row = worst.row
    if worst.kind is AlertKind.QUALITY:
        return _of_quality(row, result)
    if worst.kind is AlertKind.FAIRNESS:
        rates = f"{row['rates'][row['most']]:.0%} {row['rate']} of {row['most']}, {row['rates'][row['least']]:.0%} of"
        return f"{rates} {row['least']}: a difference of {row['difference']:.2f}, allowed are {row['bound']:.2f}"
    if worst.kind is AlertKind.ACROSS:
        return _of_columns_together(row, result)
    if worst.kind is AlertKind.TRAFFIC:
        return "; ".join(_of_traffic(finding.row, result) for finding in findings)
    if worst.kind is AlertKind.ESTIMATE:
        return _of_estimate(row, result)
    others = f" and {len(findings) - 1} more" if len(findings) > 1 else ""
    if worst.kind is AlertKind.SKEW:
        example = row["example"]
        return (
            f"{worst.column}{others} served with another value in {row['different']:,} of {row['n']:,} rows: of key "
            f"{example['key']} {_value(example['served'])}, in the data {_value(example['stored'])}"
        )
    if worst.kind is AlertKind.MISSING:
        return (
            f"{worst.column}{others}: {row['missing_current']:.0%} missing, {row['missing_reference']:.0%} in training"
        )
    if worst.kind is AlertKind.UNSEEN:
        return f"{worst.column}{others}: {row['unseen']:.1%} of values that training never saw{_named(row)}"
    rows = f"{result.n_current:,} rows"
    unit = {"wasserstein_normed": " sigma", "share_moved": " of values moved"}.get(row["measure"], " Jensen-Shannon")
    place = f" in {worst.slice}" if worst.slice else ""
    if worst.kind is AlertKind.PREDICTIONS:
        place = f" in the answers of version {result.version}{place}"
        rows = f"{row['n_slice']:,} of {rows}" if "n_slice" in row else rows
    return f"{worst.column}{others} moved{place}: {row['effect']:.2g}{unit}{off(row)}, {rows}"


def _of_columns_together(row: dict[str, Any], result: Result) -> str:
    shown = f"no column moved by itself, most tell {', '.join(row['columns'])}; {result.n_current:,} rows"
    if row["column"] == "classifier":
        return (
            f"a classifier tells the rows from the reference's, AUC {row['auc']:.2f} (from {row['low']:.2f}): {shown}"
        )
    return f"rows lie {row['current']:.2f} from the plane of the reference, {row['reference']:.2f} before: {shown}"


def _of_traffic(row: dict[str, Any], result: Result) -> str:
    value, usual = row["value"], row["usual"]
    match row["column"]:
        case "volume":
            return f"{value:,} predictions came, usually {usual:,.0f}"
        case "labels":
            return f"labels are {_long(value)} late, at most {_long(usual)} so far"
        case "age":
            return f"version {result.version} is {_long(value)} old, more than {_long(usual)}"
        case "silence":
            return f"nothing has come for {_long(value)}, since {result.window_start:%Y-%m-%d %H:%M} UTC"
        case name:
            of = "predictions" if name == "fallbacks" else "requests"
            return f"{name}: {value:.1%} of {row['requests']:,} {of}, usually {usual:.1%}"


def _long(seconds: float) -> str:
    """In whole days, hours or minutes, two of them at most."""
    minutes = round(seconds / 60)
    days, hours, minutes = minutes // 1440, minutes % 1440 // 60, minutes % 60
    parts = [f"{count} {unit}" for count, unit in ((days, "d"), (hours, "h"), (minutes, "min")) if count]
    return " ".join(parts[:2]) or "less than a minute"


def _value(value: object) -> str:
    return "nothing" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _named(row: dict[str, Any]) -> str:
    new = (row.get("figures") or {}).get("new")
    return f" ({', '.join(new)})" if new else ""


def _of_estimate(row: dict[str, Any], result: Result) -> str:
    rows = f"{result.n_current:,} rows, labels not needed"
    if row.get("about") == "slice":
        part = next(one for one in row["slices"] if one["slice"] == row["slice"])
        return (
            f"{LOSSES[row['measure']]} of version {result.version} in {part['slice']} is estimated at "
            f"{part['after']:.3g}, {part['before']:.3g} on its holdout; {part['n_current']:,} of {rows}"
        )
    place = f", most of it in {row['slice']}" if row.get("slice") else ""
    return (
        f"{row['metric']} of version {result.version} is estimated at {row['value']:.3f} "
        f"({row['low']:.3f} to {row['high']:.3f}), {row['baseline']:.3f} on its holdout{place}; {rows}"
    )


def _of_quality(row: dict[str, Any], result: Result) -> str:
    rows = f"{result.n_labelled:,} labelled rows"
    about, version = row.get("about"), result.version
    if about == "slice":
        part = next(one for one in row["slices"] if one["slice"] == row["slice"])
        return (
            f"{LOSSES[row['measure']]} of version {version} in {part['slice']} is {part['after']:.3g}, "
            f"{part['before']:.3g} on its holdout; {part['n_current']:,} of {rows}"
        )
    if about == "cost":
        cost = row["cost"]
        return (
            f"answers of version {version} cost {cost['currency']} {cost['a_day']:,.0f} a day more than on its holdout "
            f"({cost['low']:,.0f} to {cost['high']:,.0f}); {rows}"
        )
    if about == "errors":
        change = row["change"]
        return (
            f"{LOSSES[row['measure']]} of version {version} rose to {change['now']:.3g}, {change['before']:.3g} on "
            f"its holdout, since {change['at'][:16]}; {rows}"
        )
    place = f", most of it in {row['slice']}" if row.get("slice") else ""
    return (
        f"{row['metric']} of version {version} is {row['value']:.3f} ({row['low']:.3f} to {row['high']:.3f}), "
        f"{row['baseline']:.3f} on its holdout{place}; {rows}"
    )
