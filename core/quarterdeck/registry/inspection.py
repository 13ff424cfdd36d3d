"""Finding out what a model takes and answers, from the frame that it was trained on or a sample of its input."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from quarterdeck.errors import DataError
from quarterdeck.registry.inputs import missing_column
from quarterdeck.registry.signature import Feature, FeatureType, Signature

if TYPE_CHECKING:
    import pandas as pd

MOST_CATEGORIES = 50
# A target of whole numbers with at most this many values is taken for classes where no estimator says otherwise.
MOST_NUMBERED_CLASSES = 10
EXAMPLE_ROWS = 5
PACKAGES = ("numpy", "pandas", "scikit-learn", "scipy", "skops", "onnxruntime", "quarterdeck")


def infer_signature(
    frame: pd.DataFrame,
    *,
    target: str | None,
    time: str | None = None,
    key: str | None = None,
    exclude: Sequence[str] = (),
) -> Signature:
    """The signature of a model that predicts `target` from all other columns but `time`, `key` and `exclude`.

    `classes` are those of the target where it is text, boolean, or a few whole numbers.

    Raises:
        DataError: a named column is not there, no feature is left, or a column can be no feature.
    """
    for name in (target, time, key):
        if name is not None and name not in frame.columns:
            raise missing_column(name, frame.columns)
    others = {target, time, key, *exclude}
    features = tuple(_feature(str(name), frame[name]) for name in frame.columns if name not in others)
    if not features:
        raise DataError("No column is left to predict from: all are target, time, key or excluded.")
    classes = None if target is None else _classes(frame[target])
    return Signature(features, target, classes, time, key)


def feature_type(column: pd.Series[Any]) -> FeatureType | None:
    """The type of a feature that holds `column`; None where a model could not take it (times, lists, mixed types)."""
    import pandas as pd

    inferred = pd.api.types.infer_dtype(column, skipna=True)
    if inferred == "categorical":
        return feature_type(pd.Series(column.cat.categories))
    if inferred == "empty":
        return "text" if pd.api.types.is_string_dtype(column.dtype) else "number"
    known: dict[str, FeatureType] = {
        "string": "text",
        "boolean": "boolean",
        "integer": "integer",
        "integer-na": "integer",
        "floating": "number",
        "mixed-integer-float": "number",
        "decimal": "number",
    }
    return known.get(inferred)


def example_rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The first few rows of `frame` as plain values, None where missing. Rows without a gap come first."""
    complete = frame.dropna()
    chosen = (complete if len(complete) >= EXAMPLE_ROWS else frame).head(EXAMPLE_ROWS)
    columns = {str(name): [_plain(value) for value in chosen[name].tolist()] for name in chosen.columns}
    return [{name: values[row] for name, values in columns.items()} for row in range(len(chosen))]


def package_versions() -> dict[str, str]:
    """Versions of the packages that a model's answers depend on, and of Python."""
    import platform

    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # an installation that left an optional one out
            continue
    return found


def plain_classes(classes: Any) -> tuple[str | int | bool, ...]:
    """An estimator's `classes_` as plain values, in their order; whole floats as integers."""
    plain = [_plain(value) for value in classes.tolist()]
    return tuple(int(value) if isinstance(value, float) and value.is_integer() else value for value in plain)


def _feature(name: str, column: pd.Series[Any]) -> Feature:
    kind = feature_type(column)
    if kind is None:
        raise DataError(
            f"Column '{name}' ({column.dtype}) can be no feature: features are numbers, text or booleans. "
            f"Exclude it, or name it as the time or the key."
        )
    present = column.dropna()
    categories = None
    if kind == "text":
        found = present.unique()
        categories = tuple(sorted(str(value) for value in found)) if len(found) <= MOST_CATEGORIES else None
    return Feature(name, kind, nullable=len(present) < len(column), categories=categories)


def _classes(target: pd.Series[Any]) -> tuple[Any, ...] | None:
    kind = feature_type(target)
    if kind not in ("text", "boolean", "integer"):
        return None
    values = sorted(_plain(value) for value in target.dropna().unique())
    return tuple(values) if values and (kind != "integer" or len(values) <= MOST_NUMBERED_CLASSES) else None


def _plain(value: Any) -> Any:
    """`value` as JSON has it: no numpy scalar, None for a missing one, ISO text for a time."""
    import pandas as pd

    if value is None or value is pd.NA or value != value:
        return None
    if hasattr(value, "isoformat"):
        return value.isoformat()
    return value.item() if hasattr(value, "item") else value
