"""The part of quarterdeck.toml by which deployments are watched: monitors."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AwareDatetime, Field, FiniteFloat, field_validator, model_validator

from quarterdeck.settings.reactions import ReactionSettings
from quarterdeck.settings.section import Section
from quarterdeck.values import Duration, Name

FairnessMeasure = Literal["demographic_parity_difference", "equal_opportunity_difference", "equalized_odds_difference"]
MetricName = Literal["accuracy", "f1", "log_loss", "roc_auc", "average_precision", "mae", "rmse", "r2"]
CalendarUnit = Literal["hour", "day", "week", "month"]


class FairnessSettings(Section):
    """How differently groups may be treated."""

    columns: tuple[str, ...] = Field(min_length=1)
    """The features whose levels are the groups: of a number its quarters, of a text at most 20 levels."""
    measure: FairnessMeasure = "demographic_parity_difference"
    """What is compared, as Fairlearn names it: the share that gets the positive class, of all rows; of those that are
    (`equal_opportunity_difference`); or the worse of that and of those that are not (`equalized_odds_difference`)."""
    bound: float = Field(default=0.1, gt=0, lt=1)
    """The difference between the groups furthest apart from which it is a finding, where that is no chance."""


class SkewSettings(Section):
    """Where the rows that were served come to for training."""

    dataset: Name
    """The dataset into which they come later, on the way of all data for training: its `key` column has the keys that
    the predictions came with."""
    tolerance: float = Field(default=1e-6, ge=0, lt=1)
    """By how much numbers may lie apart, as a share of the larger one."""
    share: float = Field(default=0.01, gt=0, lt=1)
    """The share of a column's rows that are served with another value from which that is a finding."""


class CostSettings(Section):
    """What wrong answers cost."""

    currency: str = Field(default="EUR", min_length=1, max_length=8)
    """What the figures are in."""
    matrix: dict[str, dict[str, FiniteFloat]] = Field(default_factory=dict)
    """For classes, what an answer costs where the truth was this: `matrix.fraud.good = 120` is a fraud that was called
    good. What is not named costs nothing; what earns is negative."""
    under: FiniteFloat = Field(default=0.0, ge=0)
    """For numbers, what each unit costs that an answer is too low."""
    over: FiniteFloat = Field(default=0.0, ge=0)
    """The same, too high."""
    page: FiniteFloat | None = Field(default=None, gt=0)
    """What a day may cost more than on the holdout until that pages; a warning comes at the same part of it as of
    `page`. When not given, severity goes by the metric."""

    @model_validator(mode="after")
    def _names_a_cost(self) -> CostSettings:
        if not self.matrix and not self.under and not self.over:
            raise ValueError("name what it costs: a matrix for classes, under and over for numbers")
        if self.matrix and (self.under or self.over):
            raise ValueError("a model answers classes or numbers: name a matrix for those, under and over for these")
        return self


class MonitorSettings(Section):
    deployment: Name
    """The deployment to watch."""
    window: Duration = timedelta(days=1)
    """Length of a window, in event time. Windows are aligned to `origin`, and overlap only where there is a `slide`."""
    slide: Duration | None = None
    """Windows overlap: one begins every so often."""
    rows: int | None = Field(default=None, ge=2)
    """A window is so many predictions in the order of their event times, however long that takes."""
    calendar: CalendarUnit | None = None
    """A window is an hour, day, week (from Monday) or month of `timezone`'s calendar."""
    timezone: str = "UTC"
    """Whose `calendar` and `hours`: a name such as `Europe/Berlin`."""
    hours: tuple[int, int] | None = None
    """Only event times from this hour of the day, and before that one: `[12, 18]`. `[22, 6]` goes over midnight."""
    origin: AwareDatetime = datetime(1970, 1, 5, tzinfo=UTC)
    """A moment at which a window begins: a Monday, so that weekly windows begin on Mondays."""
    grace: Duration = timedelta(minutes=5)
    """A window is judged once the newest event time lies this far behind its end."""
    every: Duration = timedelta(minutes=5)
    """How often to look for windows that can be judged."""
    reference: Literal["training", "period", "calendar"] = "training"
    """What a window is compared with: what the version was trained on; the traffic of `reference_period`; or that of
    the same weekdays and hours in `reference_weeks` earlier weeks."""
    reference_period: tuple[AwareDatetime, AwareDatetime] | None = None
    """From when, and until before when, in event time."""
    reference_weeks: int = Field(default=4, ge=1, le=52)
    """For windows longer than a week: how many earlier windows, each whole weeks before."""
    columns: tuple[str, ...] = ()
    """The features to watch; all of them when empty."""
    rule: Literal["quarterdeck", "evidently"] = "quarterdeck"
    """Whose verdict counts: ours, which minds the sizes, or that of Evidently's DataDriftPreset, which does not."""
    threshold: float = Field(default=0.1, gt=0)
    """The effect from which a significant shift is called drift."""
    significance: float = Field(default=0.05, gt=0, lt=1)
    """Bound on the Benjamini-Hochberg q value."""
    unseen: float = Field(default=0.01, gt=0, le=1)
    """The share of values out of the reference's range, or of categories new to it, from which that is a finding."""
    minimum_rows: int = Field(default=180, ge=2)
    """Below this many rows a window that shows no drift is inconclusive, not quiet."""
    persistence: tuple[int, int] = (2, 3)
    """Open an alert when a finding stands in `m` of the last `k` windows."""
    metric: MetricName | None = None
    """The quality metric to follow when labels arrive; by default roc_auc (two classes), f1 or rmse."""
    tolerance: float = Field(default=0.1, gt=0)
    """The relative loss of quality from which a significant loss is a finding."""
    slices: tuple[str, ...] = ()
    """Features whose levels are judged on their own, too: of a number its quarters, of a text at most 20 levels."""
    worth: float = Field(default=0.02, ge=0)
    """The relative gain of quality from which a backtest calls retraining, or rolling back, worth it."""
    fairness: FairnessSettings | None = None
    """How differently groups may be treated, for two classes."""
    costs: CostSettings | None = None
    """What wrong answers cost: it stands on alerts, and severity can go by it."""
    skew: SkewSettings | None = None
    """Compare what was served with what the data for training says of the same rows."""
    label_coverage: float = Field(default=0.6, gt=0, le=1)
    """A window's quality is judged once this share of its predictions has labels."""
    volume: float = Field(default=2.0, gt=1)
    """How many times more or fewer predictions than usual are a finding, where that is no chance."""
    rejections: float = Field(default=0.05, gt=0, le=1)
    """By how much the share of requests that are rejected, or fail, must have grown to be a finding."""
    silence: Duration | None = None
    """How long nothing may come where traffic came as it happened; as long as a window when not given."""
    oldest: Duration | None = None
    """How old the version that answers may be; any age when not given."""
    warning: float = Field(default=0.02, ge=0)
    """Severity score from which an alert is a warning; below it is informational and tells nobody."""
    page: float = Field(default=0.1, ge=0)
    """Severity score from which an alert pages."""
    owner: str | None = None
    """Who is asked about its alerts: shown with each of them."""
    runbook: str | None = None
    """What to do about its alerts, as a URL: shown with each of them, and sent along."""
    reactions: tuple[ReactionSettings, ...] = ()
    """What follows from its alerts by itself: `[[monitors.NAME.reactions]]`."""

    @model_validator(mode="after")
    def _reactions_differ(self) -> MonitorSettings:
        names = [one.name for one in self.reactions]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"two reactions do the same ({twice}): give one of them all kinds, as on = [...]")
        return self

    @model_validator(mode="after")
    def _persistence_is_possible(self) -> MonitorSettings:
        needed, of = self.persistence
        if not 1 <= needed <= of:
            raise ValueError("persistence = [m, k] needs 1 <= m <= k")
        return self

    @field_validator("timezone")
    @classmethod
    def _zone_is_known(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError(f"there is no time zone {value!r}; name one such as Europe/Berlin") from error
        return value

    @field_validator("hours")
    @classmethod
    def _hours_of_a_day(cls, value: tuple[int, int] | None) -> tuple[int, int] | None:
        if value is not None and not (0 <= value[0] <= 23 and 0 <= value[1] <= 24 and value[0] != value[1]):
            raise ValueError("hours = [from, before] are two different hours of a day, 0 to 23 and 0 to 24")
        return value

    @model_validator(mode="after")
    def _windows_are_of_one_kind(self) -> MonitorSettings:
        given = [name for name in ("slide", "rows", "calendar") if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"give one of slide, rows and calendar, not {' and '.join(given)}")
        if self.slide is not None and self.slide > self.window:
            raise ValueError("slide is longer than window: what lies between two windows would be seen by none")
        return self

    @model_validator(mode="after")
    def _reference_is_told(self) -> MonitorSettings:
        period = self.reference_period
        if (self.reference == "period") != (period is not None):
            raise ValueError('reference = "period" goes with reference_period = [from, before], and it with that')
        if period is not None and period[0] >= period[1]:
            raise ValueError("reference_period = [from, before]: the first comes first")
        if self.reference == "calendar" and self.rows is not None:
            raise ValueError("windows of so many rows have no weekday: give them another reference")
        return self
