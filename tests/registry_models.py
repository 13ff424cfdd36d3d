"""A table and estimators for tests of what happens to models."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

NUMBERS = ["amount", "age"]
TEXTS = ["channel"]
FEATURES = [*NUMBERS, "visits", *TEXTS, "member"]


def table(rows: int = 400, *, seed: int = 0) -> pd.DataFrame:
    """Payments with all kinds of features, some missing; `label` rests on amount and channel, `price` on amount."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "amount": rng.normal(50, 20, rows),
            "age": rng.normal(40, 9, rows),
            "visits": rng.integers(0, 9, rows),
            "channel": rng.choice(["app", "pos", "web"], rows),
            "member": rng.random(rows) < 0.5,
        }
    )
    score = frame["amount"] / 20 + 2.0 * (frame["channel"] == "app") + rng.normal(0, 0.3, rows)
    frame["label"] = np.where(score > 3.0, "yes", "no")
    frame["price"] = 3.0 * frame["amount"] + rng.normal(0, 1, rows)
    frame.loc[::11, "age"] = np.nan
    frame.loc[::13, "channel"] = None
    return frame


def classifier(last: BaseEstimator | None = None) -> Pipeline:
    """Imputed, scaled and encoded; a logistic regression unless another last step is given."""
    number = Pipeline([("impute", SimpleImputer(strategy="median")), ("scale", StandardScaler())])
    text = Pipeline(
        [("impute", SimpleImputer(strategy="most_frequent")), ("encode", OneHotEncoder(handle_unknown="ignore"))]
    )
    columns = ColumnTransformer(
        [("number", number, [*NUMBERS, "visits"]), ("text", text, TEXTS), ("flag", OneHotEncoder(), ["member"])]
    )
    return Pipeline([("columns", columns), ("classify", LogisticRegression(max_iter=1000) if last is None else last)])


def forest() -> RandomForestClassifier:
    return RandomForestClassifier(n_estimators=10, random_state=0)


def plain_rows(frame: pd.DataFrame, rows: range) -> list[dict[str, list[Any]]]:
    """Each row as a request has it: a column of one plain value each, None where missing."""
    plain = frame.astype(object).where(frame.notna(), None).to_dict("records")
    return [{str(name): [value] for name, value in plain[row].items()} for row in rows]
