"""Write the sample of card payments: fourteen weeks, three planted events, labels that arrive late.

Run `python generate.py [--out DIR]`; it writes `payments.csv.gz`. The same code and the same libraries give the same
bytes each time. README.md beside this file tells the story and says why the sizes are what they are.

The file holds what the *receiving* system saw: during the bug the amounts of one channel are in cents. Whether a
payment is fraud is decided by the true amount, before the bug touches it. Days count from zero, at 00:00 UTC.
"""

from __future__ import annotations

import argparse
import gzip
import io
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import special, stats

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Names = npt.NDArray[np.str_]

# Any seed tells the same story (eleven were tried); this one is fixed so that the figures in README.md hold.
SEED = 20260105
# A Monday, so that whole weeks of the sample are whole weeks of the calendar.
START = pd.Timestamp("2026-01-05T00:00:00Z")
DAYS = 98
# 445 payments a day: windows of four days hold about 1,780 payments and 120 frauds, enough to judge quality.
ROWS = 43_600
# Features are drawn evenly within each run of this many payments (stratified sampling), so that two windows without
# an event differ by less than chance would have it: a reference of 1,100 rows and a threshold of 0.1 leave little
# room. About half a day of traffic; it divides ROWS.
BLOCK = 200
OUTPUT_NAME = "payments.csv.gz"

# The first day of each event and the first day after it. All lie on borders of the four-day windows that start on
# day 30 (30, 34, 38, ...), so that no window is half of one world and half of another.
CAMPAIGN_DAYS = (38, 46)  # two windows: just what "in two of the last three windows" asks for
CENTS_DAYS = (50, 66)  # four windows: two until the alert opens, two more that version 2 serves while it lasts
PATTERN_DAYS = (86, 98)  # three windows: two whose labels are there before the sample ends, and the days until then
# The channel whose amounts arrive in cents. It is the largest one and holds most of the fraud, so that a model
# that was trained on its cents has something to lose.
CENTS_CHANNEL = "app"
CENTS_PER_EURO = 100.0

# Fewer payments at night and at weekends; both are the same in every window, but for the weekday's share.
HOUR_WEIGHTS = (1, 1, 1, 1, 1, 2, 4, 6, 8, 9, 9, 10, 11, 10, 9, 9, 10, 12, 12, 10, 8, 6, 4, 2)
WEEKDAY_WEIGHTS = (1.0, 1.0, 1.0, 1.0, 1.05, 0.95, 0.9)

# Euros: median 35, one payment in a hundred above 225, none above the cards' limit. The limit keeps the chance
# distance between two clean windows well below 0.1; cents in one channel still move the mean by tens of deviations.
AMOUNT_MEDIAN = 35.0
AMOUNT_SIGMA = 0.8
AMOUNT_LEAST = 0.5
AMOUNT_MOST = 400.0
# Account ages in days: most accounts are young, some are ten years old.
ACCOUNT_AGE_MEAN = 600.0
ACCOUNT_AGE_MOST = 3650
PAYMENTS_24H_MEAN = 1.6
# Kilometres between the customer's home and the payment; unknown for one payment in sixteen.
DISTANCE_SHAPE = 1.5  # of a gamma distribution: many near, few far
DISTANCE_SCALE = 8.0
DISTANCE_MISSING = 0.06
# How long the checkout took. It stands where an hour of the day might: in a training set of recent labels the
# youngest day is labelled for its early hours only, so that the hour would drift by itself.
CHECKOUT_SHAPE = 4.0
CHECKOUT_SCALE = 12.0
SEGMENT_MISSING = 0.03

CHANNELS = {"app": 0.40, "web": 0.30, "pos": 0.20, "phone": 0.10}
COUNTRIES = {"DE": 0.40, "FR": 0.22, "NL": 0.16, "ES": 0.12, "PL": 0.10}
CARDS = {"debit": 0.55, "credit": 0.35, "prepaid": 0.10}
# The customer mix. The campaign brings in students: a Jensen-Shannon distance of about 0.21 (in nats), twice the
# usual threshold; the fraud does not depend on the segment, so that the shift harms nobody.
SEGMENTS = {"family": 0.40, "single": 0.28, "student": 0.17, "business": 0.15}
CAMPAIGN_SEGMENTS = {"family": 0.26, "single": 0.18, "student": 0.46, "business": 0.10}

# Log-odds of fraud for a median payment by channel, and what each unit of log(amount / median) adds. The app holds
# four frauds in five and its amounts tell most: a model that learnt its cents loses both when they are euros again.
BASE_LOGIT = {"app": -3.7, "web": -4.2, "pos": -4.8, "phone": -4.2}
AMOUNT_LOGIT = {"app": 3.2, "web": 1.0, "pos": 1.0, "phone": 1.0}
CARD_LOGIT = {"debit": 0.0, "credit": 0.0, "prepaid": 0.5}
YOUNG_ACCOUNT_DAYS = 60
YOUNG_ACCOUNT_LOGIT = 0.6
PAYMENTS_24H_LOGIT = 0.12
DISTANCE_LOGIT = 0.02  # for each kilometre more than the mean of twelve

# The new pattern: small amounts, mostly by phone. Inputs stay as they were; what they mean does not.
PATTERN_BASE_LOGIT = {"app": -5.0, "web": -3.6, "pos": -5.0, "phone": -2.2}
PATTERN_AMOUNT_LOGIT = -1.0

# Days until the label is known: never before 3, most within five days, one in eight slow, none after 30. Fast enough
# that a window of four days is labelled for 60% two days after its end.
DELAY_LEAST = 3.0
DELAY_MOST = 30.0
DELAY_USUAL_MEAN = 0.8
DELAY_SLOW_MEAN = 7.0
DELAY_SLOW_SHARE = 0.12

SECONDS_PER_DAY = 86_400


@dataclass(frozen=True)
class Payments:
    """The payments as they truly were, one array element each, in the order of time."""

    seconds: Ints
    amount: Floats
    account_age_days: Ints
    payments_24h: Ints
    distance_km: Floats
    checkout_seconds: Floats
    channel: Names
    country: Names
    card: Names
    segment: Names

    def between(self, days: tuple[int, int]) -> Flags:
        """Which payments lie in days [first, end)."""
        first, end = days
        return (self.seconds >= first * SECONDS_PER_DAY) & (self.seconds < end * SECONDS_PER_DAY)


def generate(seed: int = SEED) -> pd.DataFrame:
    """Make all the payments as the receiving system stored them, sorted by time, labels included."""
    rng = np.random.default_rng(seed)
    payments = _draw_payments(rng)
    is_fraud = rng.random(ROWS) < _probability(_fraud_logit(payments))
    delay = _label_delay(rng)
    distance = np.where(rng.random(ROWS) < DISTANCE_MISSING, np.nan, payments.distance_km)
    segment_missing = rng.random(ROWS) < SEGMENT_MISSING
    return pd.DataFrame(
        {
            "payment_id": [f"p{number:05d}" for number in range(1, ROWS + 1)],
            "paid_at": _iso(payments.seconds),
            "amount": _amount_received(payments),
            "account_age_days": payments.account_age_days,
            "payments_24h": payments.payments_24h,
            "distance_km": distance,
            "checkout_seconds": payments.checkout_seconds,
            "channel": payments.channel,
            "country": payments.country,
            "card": payments.card,
            "segment": pd.Series(payments.segment).mask(pd.Series(segment_missing)),
            "is_fraud": is_fraud.astype(np.int64),
            "labelled_at": _iso(payments.seconds + delay),
        }
    )


def write(folder: Path, seed: int = SEED) -> Path:
    """Write the sample into `folder`, which is made if need be, and return the file's path."""
    text = generate(seed).to_csv(index=False, lineterminator="\n")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / OUTPUT_NAME
    buffer = io.BytesIO()
    # No time and no file name in the header: both would differ from run to run.
    with gzip.GzipFile(filename="", mode="wb", compresslevel=9, fileobj=buffer, mtime=0) as stream:
        stream.write(text.encode())
    path.write_bytes(buffer.getvalue())
    return path


def _draw_payments(rng: np.random.Generator) -> Payments:
    seconds = _draw_times(rng)
    amount = AMOUNT_MEDIAN * np.exp(AMOUNT_SIGMA * special.ndtri(_even(rng)))
    age = np.minimum(-ACCOUNT_AGE_MEAN * np.log1p(-_even(rng)), ACCOUNT_AGE_MOST)
    payments = Payments(
        seconds=seconds,
        amount=np.clip(amount, AMOUNT_LEAST, AMOUNT_MOST).round(2),
        account_age_days=age.astype(np.int64),
        payments_24h=stats.poisson.ppf(_even(rng), PAYMENTS_24H_MEAN).astype(np.int64),
        distance_km=_draw_gamma(rng, DISTANCE_SHAPE, DISTANCE_SCALE),
        checkout_seconds=_draw_gamma(rng, CHECKOUT_SHAPE, CHECKOUT_SCALE),
        channel=_draw_names(rng, CHANNELS),
        country=_draw_names(rng, COUNTRIES),
        card=_draw_names(rng, CARDS),
        segment=_draw_names(rng, SEGMENTS),
    )
    campaign = _draw_names(rng, CAMPAIGN_SEGMENTS)
    during = payments.between(CAMPAIGN_DAYS)
    payments.segment[during] = campaign[during]
    return payments


def _even(rng: np.random.Generator) -> Floats:
    """Uniform numbers in (0, 1), exactly one in each BLOCK-th of the interval for each BLOCK payments in a row."""
    strata = rng.permuted(np.tile(np.arange(BLOCK), (ROWS // BLOCK, 1)), axis=1).ravel()
    return np.clip((strata + rng.random(ROWS)) / BLOCK, 1e-9, 1 - 1e-9)


def _draw_times(rng: np.random.Generator) -> Ints:
    """Seconds since the start, sorted."""
    weights = np.array([WEEKDAY_WEIGHTS[day % 7] for day in range(DAYS)])
    day = rng.choice(DAYS, size=ROWS, p=weights / weights.sum())
    hours = np.array(HOUR_WEIGHTS, dtype=np.float64)
    hour = rng.choice(24, size=ROWS, p=hours / hours.sum())
    seconds = day * SECONDS_PER_DAY + hour * 3600 + rng.integers(0, 3600, ROWS)
    return np.sort(seconds.astype(np.int64))


def _draw_gamma(rng: np.random.Generator, shape: float, scale: float) -> Floats:
    """Gamma-distributed numbers to one decimal."""
    values: Floats = (scale * special.gammaincinv(shape, _even(rng))).astype(np.float64)
    return values.round(1)


def _draw_names(rng: np.random.Generator, shares: dict[str, float]) -> Names:
    edges = np.cumsum(list(shares.values()))[:-1]
    return np.array(list(shares))[np.searchsorted(edges, _even(rng), side="right")]


def _by_name(names: Names, values: dict[str, float]) -> Floats:
    result = np.zeros(len(names))
    for name, value in values.items():
        result[names == name] = value
    return result


def _fraud_logit(payments: Payments) -> Floats:
    """Log-odds of fraud: what the amount and the channel say (that changes), and the rest (that does not)."""
    log_amount = np.log(payments.amount / AMOUNT_MEDIAN)
    usual = _by_name(payments.channel, BASE_LOGIT) + _by_name(payments.channel, AMOUNT_LOGIT) * log_amount
    changed = _by_name(payments.channel, PATTERN_BASE_LOGIT) + PATTERN_AMOUNT_LOGIT * log_amount
    rest = (
        _by_name(payments.card, CARD_LOGIT)
        + YOUNG_ACCOUNT_LOGIT * (payments.account_age_days < YOUNG_ACCOUNT_DAYS)
        + PAYMENTS_24H_LOGIT * (payments.payments_24h - PAYMENTS_24H_MEAN)
        + DISTANCE_LOGIT * (payments.distance_km - DISTANCE_SHAPE * DISTANCE_SCALE)
    )
    logit: Floats = np.where(payments.between(PATTERN_DAYS), changed, usual) + rest
    return logit


def _probability(logit: Floats) -> Floats:
    result: Floats = 1.0 / (1.0 + np.exp(-logit))
    return result


def _amount_received(payments: Payments) -> Floats:
    """Euros; cents where the bug is."""
    in_cents = payments.between(CENTS_DAYS) & (payments.channel == CENTS_CHANNEL)
    received: Floats = np.where(in_cents, payments.amount * CENTS_PER_EURO, payments.amount).round(2)
    return received


def _label_delay(rng: np.random.Generator) -> Ints:
    """Seconds from the payment to its label. It does not depend on the label: late labels bias nothing."""
    mean = np.where(rng.random(ROWS) < DELAY_SLOW_SHARE, DELAY_SLOW_MEAN, DELAY_USUAL_MEAN)
    days = np.minimum(DELAY_LEAST + rng.exponential(1.0, ROWS) * mean, DELAY_MOST)
    return (days * SECONDS_PER_DAY).astype(np.int64)


def _iso(seconds: Ints) -> pd.Series[str]:
    moments = pd.Series(START + pd.to_timedelta(seconds, unit="s"))
    return moments.dt.strftime("%Y-%m-%dT%H:%M:%SZ")


def main() -> None:
    """Write the sample beside this file, or where `--out` says."""
    parser = argparse.ArgumentParser(description="Write the sample of card payments.")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="folder to write to")
    path = write(parser.parse_args().out)
    sys.stderr.write(f"Wrote {path} ({path.stat().st_size:,} bytes).\n")


if __name__ == "__main__":
    main()
