"""What is remembered about each column."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from quarterdeck.datasets.profile import profile_frame
from quarterdeck.datasets.schema import infer_schema
from quarterdeck.errors import SettingsError
from quarterdeck.settings.making import DatasetSettings

FRAME = pd.DataFrame(
    {
        "id": ["a", "b", "c"],
        "amount": [1.0, np.nan, 3.0],
        "count": [1, 2, 2],
        "flag": [True, False, True],
        "at": pd.to_datetime(["2026-01-01", "2026-01-02", "2026-01-03"]),
        "nothing": [np.nan, np.nan, np.nan],
    }
)


def test_types_ranges_and_roles_are_found() -> None:
    settings = DatasetSettings(key="id", time="at", target="flag", exclude=("nothing",))
    found = {column.name: column for column in infer_schema(FRAME, settings)}
    assert [column.type for column in found.values()] == ["text", "number", "integer", "boolean", "time", "number"]
    assert [column.role for column in found.values()] == ["key", "feature", "feature", "target", "time", "excluded"]
    assert (found["amount"].minimum, found["amount"].maximum, found["amount"].nullable) == (1.0, 3.0, True)
    assert found["id"].unique
    assert not found["count"].unique
    assert found["id"].categories == ("a", "b", "c")
    assert found["nothing"].minimum is None


def test_many_values_are_no_categories() -> None:
    frame = pd.DataFrame({"name": [str(n) for n in range(51)]})
    assert infer_schema(frame, DatasetSettings())[0].categories is None


def test_a_role_for_a_column_that_is_not_there_is_refused() -> None:
    with pytest.raises(SettingsError, match="'labels' as target"):
        infer_schema(FRAME, DatasetSettings(target="labels"))


def test_a_profile_counts_and_summarises_what_is_there() -> None:
    found = {column["name"]: column for column in profile_frame(FRAME)}
    amount = found["amount"]
    assert (amount["rows"], amount["missing"], amount["mean"], amount["std"]) == (3, 1, 2.0, 1.0)
    assert len(amount["quantiles"]) == 21
    assert (amount["quantiles"][0], amount["quantiles"][-1]) == (1.0, 3.0)
    assert found["flag"]["categories"] == {"True": 2, "False": 1}
    assert found["nothing"]["mean"] is None
    assert found["at"]["minimum"].startswith("2026-01-01")


def test_infinities_do_not_reach_the_figures() -> None:
    profile = profile_frame(pd.DataFrame({"x": [1.0, np.inf, 3.0]}))[0]
    assert (profile["mean"], profile["maximum"]) == (2.0, 3.0)
