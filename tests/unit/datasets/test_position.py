"""Where a value lies among the reference rows, told from their profile."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from quarterdeck.datasets.position import position
from quarterdeck.datasets.profile import MOST_CATEGORIES, profile_frame


def profile(values: Any) -> dict[str, Any]:
    (found,) = profile_frame(pd.DataFrame({"x": values}))
    return found


NUMBERS = profile([*(float(n) for n in range(101)), None])


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (62.0, "percentile 62"),
        (62, "percentile 62"),
        (0.0, "percentile 0"),
        (100.0, "percentile 100"),
        (-0.5, "below the least, 0"),
        (1e9, "above the most, 100"),
        (None, "missing, as in 1.0%"),
    ],
)
def test_a_number_has_a_percentile_or_lies_outside(value: float | None, words: str) -> None:
    assert position(NUMBERS, value).words == words


def test_a_value_that_many_rows_have_spans_their_percentiles() -> None:
    found = position(profile([0.0] * 70 + [1.0, 2.0, 3.0] * 10), 0.0)
    assert found.words == "percentiles 0 to 65"
    assert (found.low, found.high) == (0.0, 65.0)
    assert position(profile([5.0] * 10), 5.0).words == "percentiles 0 to 100"


def test_percentiles_rise_with_the_value() -> None:
    found = [position(NUMBERS, n / 3).low for n in range(301)]
    assert found == sorted(number for number in found if number is not None)


def test_a_category_has_its_share_of_all_rows_the_missing_ones_among_them() -> None:
    channels = profile(["app"] * 6 + ["web"] * 2 + [None] * 2)
    assert position(channels, "app").words == "60.0% of the rows"
    assert position(channels, "pos").words == "never seen"
    assert position(channels, None).words == "missing, as in 20.0%"
    assert position(profile([True, True, False, False]), True).share == 0.5


def test_of_rare_categories_it_is_not_known_whether_they_were_seen() -> None:
    many = profile([f"city {n}" for n in range(MOST_CATEGORIES + 20)])
    assert position(many, "city of mine").words == f"rarer than the top {MOST_CATEGORIES}"


def test_columns_without_values_and_without_rows_have_words_of_their_own() -> None:
    assert position(profile([1.0, 2.0]), None).words == "never missing"
    assert position(profile([float("nan")] * 3), 1.0).words == "all missing"
    assert position({**NUMBERS, "rows": 0}, 1.0).words == "no rows to compare with"
