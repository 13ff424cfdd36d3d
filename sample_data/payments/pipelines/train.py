"""Train the fraud model on the newest labelled payments.

`payments` is an export: the payments whose labels had arrived when it was made, with `is_fraud`.
"""

from __future__ import annotations

import zlib

import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from quarterdeck.pipelines import pipeline, register, step

NUMERIC = ["amount", "account_age_days", "payments_24h", "distance_km", "checkout_seconds"]
# The levels are stated, so that a missing or an unknown one is none of them (all zeros), in training and serving
# alike, whether it comes as NaN, as None or as an empty string.
LEVELS = {
    "channel": ["app", "phone", "pos", "web"],
    "country": ["DE", "ES", "FR", "NL", "PL"],
    "card": ["credit", "debit", "prepaid"],
    "segment": ["business", "family", "single", "student"],
}
CATEGORICAL = list(LEVELS)
TARGET = "is_fraud"


def newest(payments: pd.DataFrame, days: int) -> pd.DataFrame:
    """The payments of the last `days` days before the newest one, that included."""
    paid_at = pd.to_datetime(payments["paid_at"], utc=True)
    return payments[paid_at > paid_at.max() - pd.Timedelta(days=days)]


def is_held_out(payments: pd.DataFrame, share: float) -> pd.Series[bool]:
    """Which payments are kept for the holdout: by their id, so that a payment never changes sides."""
    digest = payments["payment_id"].map(lambda payment_id: zlib.crc32(str(payment_id).encode()) % 10_000)
    return digest < share * 10_000


@step
def training(payments: pd.DataFrame, *, days: int = 5, holdout_share: float = 0.33) -> pd.DataFrame:
    """The newest `days` days of payments, less the holdout."""
    recent = newest(payments, days)
    return recent.loc[~is_held_out(recent, holdout_share), [*NUMERIC, *CATEGORICAL, TARGET]]


@step
def holdout(payments: pd.DataFrame, *, days: int = 5, holdout_share: float = 0.33) -> pd.DataFrame:
    """The rest of the same days."""
    recent = newest(payments, days)
    return recent.loc[is_held_out(recent, holdout_share), [*NUMERIC, *CATEGORICAL, TARGET]]


@step
def estimator(training: pd.DataFrame, *, C: float = 1.0) -> Pipeline:
    """A logistic regression on scaled numbers and one column for each category."""
    numeric = Pipeline([("impute", SimpleImputer(strategy="median")), ("scale", StandardScaler())])
    categorical = OneHotEncoder(categories=list(LEVELS.values()), handle_unknown="ignore")
    columns = ColumnTransformer([("numeric", numeric, NUMERIC), ("categorical", categorical, CATEGORICAL)])
    model = Pipeline([("columns", columns), ("classify", LogisticRegression(C=C, max_iter=1000))])
    return model.fit(training[[*NUMERIC, *CATEGORICAL]], training[TARGET])


train = pipeline(
    "train",
    [training, holdout, estimator],
    registers=register("fraud", estimator="estimator", training="training", holdout="holdout"),
)
