"""The sample is what its README says, and its generator still makes it."""

from __future__ import annotations

import gzip
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

SAMPLE = Path(__file__).parents[2] / "sample_data" / "payments"
FEATURES_UNTOUCHED = ["account_age_days", "payments_24h", "distance_km", "checkout_seconds"]


@pytest.fixture(scope="module")
def generator() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("payments_generate", SAMPLE / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.fixture(scope="module")
def payments() -> pd.DataFrame:
    frame = pd.read_csv(SAMPLE / "payments.csv.gz")
    frame["day"] = (pd.to_datetime(frame["paid_at"]) - pd.Timestamp("2026-01-05", tz="UTC")) / pd.Timedelta(days=1)
    return frame


def between(payments: pd.DataFrame, days: tuple[int, int]) -> pd.DataFrame:
    return payments[(payments["day"] >= days[0]) & (payments["day"] < days[1])]


def jensen_shannon(reference: pd.Series, current: pd.Series) -> float:
    """Distance in nats, as Evidently defines it."""
    shares = pd.concat([reference.value_counts(normalize=True), current.value_counts(normalize=True)], axis=1)
    p, q = shares.fillna(0.0).to_numpy().T
    middle = (p + q) / 2

    def divergence(one: np.ndarray) -> float:
        held = one > 0
        return float(np.sum(one[held] * np.log(one[held] / middle[held])))

    return float(np.sqrt((divergence(p) + divergence(q)) / 2))


def test_two_runs_write_the_same_bytes(generator: ModuleType, tmp_path: Path) -> None:
    first = generator.write(tmp_path / "first").read_bytes()
    assert generator.write(tmp_path / "second").read_bytes() == first


def test_the_generator_makes_the_file_that_is_kept(generator: ModuleType, tmp_path: Path) -> None:
    made, kept = generator.write(tmp_path).read_bytes(), (SAMPLE / "payments.csv.gz").read_bytes()
    # The rows are what matters: another zlib may pack the same rows into other bytes.
    assert gzip.decompress(made) == gzip.decompress(kept)


def test_the_file_is_small_and_holds_fourteen_weeks(payments: pd.DataFrame) -> None:
    assert (SAMPLE / "payments.csv.gz").stat().st_size <= 2_000_000
    assert len(payments) == 43_600
    assert payments["payment_id"].is_unique
    assert payments["paid_at"].is_monotonic_increasing
    assert (payments["paid_at"].min()[:10], payments["paid_at"].max()[:10]) == ("2026-01-05", "2026-04-12")
    assert payments["paid_at"].str.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ").all()
    assert 0.04 < payments["is_fraud"].mean() < 0.065


def test_labels_arrive_three_to_thirty_days_late(payments: pd.DataFrame) -> None:
    delay = pd.to_datetime(payments["labelled_at"]) - pd.to_datetime(payments["paid_at"])
    assert delay.min() >= pd.Timedelta(days=3)
    assert delay.max() <= pd.Timedelta(days=30)
    assert (delay > pd.Timedelta(days=20)).any()


def test_one_number_and_one_category_have_missing_values(payments: pd.DataFrame) -> None:
    missing = payments.isna().mean()
    assert set(missing[missing > 0].index) == {"distance_km", "segment"}
    assert missing[["distance_km", "segment"]].between(0.02, 0.08).all()


@pytest.mark.parametrize("window", [(38, 42), (42, 46)])
def test_the_campaign_is_a_real_shift_of_the_customer_mix_only(payments: pd.DataFrame, window: tuple[int, int]) -> None:
    reference, during = between(payments, (0, 30)), between(payments, window)
    assert jensen_shannon(reference["segment"], during["segment"]) > 0.15
    for column in ("channel", "country", "card"):
        assert jensen_shannon(reference[column], during[column]) < 0.05, column
    for column in ("amount", *FEATURES_UNTOUCHED):
        assert abs(during[column].mean() - reference[column].mean()) < 0.1 * reference[column].std(), column


def test_the_mix_is_as_before_outside_the_campaign(payments: pd.DataFrame) -> None:
    reference = between(payments, (0, 30))["segment"]
    for first in [*range(30, 38, 4), *range(46, 98, 4)]:
        assert jensen_shannon(reference, between(payments, (first, first + 4))["segment"]) < 0.05, first


def test_cents_are_in_the_app_from_day_50_to_65_and_nowhere_else(payments: pd.DataFrame, generator: ModuleType) -> None:
    assert generator.CENTS_DAYS == (50, 66)
    in_cents = payments["day"].between(50, 66, inclusive="left") & (payments["channel"] == "app")
    # The card's limit holds for euros: what is above it is in cents.
    assert payments.loc[~in_cents, "amount"].max() <= 400
    ordinary = between(payments, (0, 50)).query("channel == 'app'")["amount"]
    assert payments.loc[in_cents, "amount"].median() == pytest.approx(100 * ordinary.median(), rel=0.05)
    assert payments.loc[in_cents, "amount"].min() >= 100 * 0.5
    for column in FEATURES_UNTOUCHED:
        usual = payments.loc[~in_cents, column]
        assert abs(payments.loc[in_cents, column].mean() - usual.mean()) < 0.1 * usual.std(), column


def test_the_fraud_pattern_changes_on_day_86_and_the_inputs_do_not(payments: pd.DataFrame) -> None:
    before, after = between(payments, (66, 86)), between(payments, (86, 98))

    def fraud_in(frame: pd.DataFrame, channel: str) -> float:
        return float(frame.loc[frame["channel"] == channel, "is_fraud"].mean())

    assert fraud_in(before, "app") > 0.1 > 0.03 > fraud_in(after, "app")
    assert fraud_in(after, "phone") > 3 * fraud_in(before, "phone")
    fraud_amounts = [frame.loc[frame["is_fraud"] == 1, "amount"].median() for frame in (before, after)]
    assert fraud_amounts[0] > 2 * fraud_amounts[1]
    for column in ("channel", "country", "card", "segment"):
        assert jensen_shannon(before[column], after[column]) < 0.05, column
    for column in ("amount", *FEATURES_UNTOUCHED):
        assert abs(after[column].mean() - before[column].mean()) < 0.1 * before[column].std(), column
