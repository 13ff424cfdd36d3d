"""The frame that a model takes: the signature's columns in order, with the types they had in training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from quarterdeck.errors import DataError
from quarterdeck.registry.signature import Feature, Signature

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

_PLAIN_NUMBERS = frozenset({int, float, bool, type(None)})


def inputs_frame(signature: Signature, columns: Mapping[str, Sequence[Any]]) -> pd.DataFrame:
    """Build the frame that a model takes from columns of plain values, where None is a missing value.

    The types are those of training: float64 with NaN for numbers and integers; objects with NaN for text and
    booleans (booleans are bool where nothing is missing). Columns that the signature does not name are left out.

    Raises:
        DataError: a feature is missing or a value does not fit its type; the message names the column.
    """
    import numpy as np
    import pandas as pd

    features = signature.features
    values = [_values(feature, _named(columns, feature.name)) for feature in features]
    rows = len(values[0]) if values else 0
    if all(column.dtype == np.float64 for column in values):
        table = np.column_stack(values) if values else np.empty((0, 0))
        return pd.DataFrame(table, columns=_index(signature.names), copy=False)
    if rows == 1:
        # For one row a single object block is built 20 times faster than a block for each column, and
        # scikit-learn converts each column to what it was fitted on either way.
        single = np.empty((1, len(features)), dtype=object)
        single[0] = [column[0] for column in values]
        return pd.DataFrame(single, columns=_index(signature.names), dtype=object, copy=False)
    named = dict(zip(signature.names, values, strict=True))
    return pd.DataFrame({name: pd.Series(column, dtype=column.dtype) for name, column in named.items()})


@lru_cache(maxsize=1_000)
def _index(names: tuple[str, ...]) -> pd.Index[str]:
    """The names as pandas has them: a third of the time that a frame takes. An index never changes."""
    import pandas as pd

    return pd.Index(names)


def as_inputs(frame: pd.DataFrame, signature: Signature) -> pd.DataFrame:
    """The features of `frame`, in the signature's order and with the types of `inputs_frame`.

    Raises:
        DataError: a feature is missing or a column does not fit its type; the message names the column.
    """
    import pandas as pd

    columns = {}
    for feature in signature.features:
        if feature.name not in frame.columns:
            raise missing_column(feature.name, frame.columns)
        values = _values(feature, frame[feature.name])
        columns[feature.name] = pd.Series(values, dtype=values.dtype, index=frame.index)
    return pd.DataFrame(columns, index=frame.index)


def missing_column(name: str, known: Iterable[Any]) -> DataError:
    """The error for a feature that is not there."""
    names = ", ".join(str(column) for column in known)
    return DataError(f"Column '{name}' is missing: the model needs it. There are: {names or 'no columns'}.")


def _named(columns: Mapping[str, Sequence[Any]], name: str) -> Sequence[Any]:
    if name not in columns:
        raise missing_column(name, columns)
    return columns[name]


def _values(feature: Feature, given: Sequence[Any] | pd.Series[Any]) -> NDArray[Any]:
    """`given` as float64 with NaN for numbers, else as objects with NaN where missing (bool where none is)."""
    if feature.kind == "numeric":
        return _numbers(feature, given)
    import numpy as np
    import pandas as pd

    expected = (str,) if feature.type == "text" else (bool, np.bool_)
    if isinstance(given, pd.Series):
        given = given.astype(object).where(given.notna(), None).tolist()
    # NaN, not None: it is how pandas 3 holds a missing text, so what imputers and encoders have met in training.
    plain = [np.nan if value is None or value != value else value for value in given]
    complete = True
    for row, value in enumerate(plain):
        if not isinstance(value, expected):
            if value is not np.nan:
                raise _unfit(feature, value, row)
            complete = False
    if feature.type == "boolean" and complete:
        return np.array(plain, dtype=bool)
    objects = np.empty(len(plain), dtype=object)
    objects[:] = plain
    return objects


def _numbers(feature: Feature, given: Sequence[Any] | pd.Series[Any]) -> NDArray[Any]:
    import numpy as np
    import pandas as pd

    if isinstance(given, pd.Series):
        if pd.api.types.is_numeric_dtype(given.dtype):
            return given.to_numpy(dtype=np.float64, na_value=np.nan)
        given = given.astype(object).where(given.notna(), None).tolist()
    if not set(map(type, given)) <= _PLAIN_NUMBERS:
        for row, value in enumerate(given):
            # numpy would read the text "1.5" as a number, and nothing is coerced silently.
            if value is not None and not isinstance(value, (int, float, np.number, np.bool_)):
                raise _unfit(feature, value, row)
    return np.array(given, dtype=np.float64)


def _unfit(feature: Feature, value: Any, row: int) -> DataError:
    expected = {"text": "a text", "boolean": "true or false"}.get(feature.type, "a number")
    return DataError(f"Column '{feature.name}', row {row + 1}: {value!r} is not {expected}.")
