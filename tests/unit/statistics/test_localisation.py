"""Naming the level that carries a shift, and none where none does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from quarterdeck.statistics.localisation import Slice, localise
from tests.unit.statistics.frames import categorical, numeric

CHANNELS = ["app", "branch", "phone", "web"]
Levels = dict[str, NDArray[Any]]


def frame(rng: np.random.Generator, rows: int) -> tuple[NDArray[Any], Levels]:
    """Amounts, by channel (evenly) and by device, which follows the channel: app is mostly mobile."""
    channel = rng.choice(CHANNELS, rows).astype(object)
    mobile = rng.random(rows) < np.where(channel == "app", 0.9, 0.1)
    device = np.where(mobile, "mobile", "desktop").astype(object)
    return rng.lognormal(3, 1, rows), {"device": device, "channel": channel}


def located(change: Any, rows: int = 1_300, **options: Any) -> Slice | None:
    rng = np.random.default_rng(0)
    before, before_levels = frame(rng, 5_000)
    after, after_levels = frame(rng, rows)
    return localise(numeric(before), numeric(change(after, after_levels)), before_levels, after_levels, **options)


def in_app(values: NDArray[Any], levels: Levels) -> NDArray[Any]:
    return np.where(levels["channel"] == "app", values * 100, values)


def test_amounts_times_a_hundred_in_one_channel_are_named() -> None:
    found = located(in_app)
    assert found is not None
    # The device that goes with the channel moved too; the channel explains it better.
    assert (found.column, found.level) == ("channel", "app")
    assert found.effect > 10
    assert found.effect_elsewhere < 0.2
    assert 250 < found.n_current < 400


def test_a_shift_of_the_device_is_named_as_the_device() -> None:
    found = located(lambda values, levels: np.where(levels["device"] == "mobile", values * 10, values))
    assert found is not None
    assert (found.column, found.level) == ("device", "mobile")


@pytest.mark.parametrize("factor", [1, 1.5, 3, 100])
def test_a_shift_everywhere_or_nowhere_names_no_level(factor: float) -> None:
    assert located(lambda values, levels: values * factor) is None
    assert located(lambda values, levels: values * factor, rows=200) is None


def test_a_shift_of_two_channels_names_neither() -> None:
    def change(values: NDArray[Any], levels: Levels) -> NDArray[Any]:
        return np.where(np.isin(levels["channel"], ["app", "web"]), values * 3, values)

    rng = np.random.default_rng(1)
    before, before_levels = frame(rng, 5_000)
    after, after_levels = frame(rng, 1_300)
    only = {"channel": before_levels["channel"]}
    assert localise(numeric(before), numeric(change(after, after_levels)), only, after_levels) is None


def by_channel(before: NDArray[Any], after: NDArray[Any], channel: NDArray[Any]) -> Slice | None:
    return localise(numeric(before), numeric(after), {"channel": channel}, {"channel": channel})


def test_a_level_is_not_named_while_the_others_drift_too() -> None:
    rng = np.random.default_rng(5)
    channel = rng.choice(CHANNELS, 4_000).astype(object)
    before, after = rng.normal(size=4_000), rng.normal(size=4_000)
    assert by_channel(before, after + np.where(channel == "app", 5.0, 1.0), channel) is None


def test_a_shift_elsewhere_below_the_threshold_does_not_keep_a_level_from_being_named() -> None:
    rng = np.random.default_rng(6)
    channel = rng.choice(CHANNELS, 40_000).astype(object)
    before, after = rng.normal(size=40_000), rng.normal(size=40_000)
    found = by_channel(before, after + np.where(channel == "app", 1.0, 0.06), channel)
    assert found is not None
    assert found.level == "app"
    assert 0.04 < found.effect_elsewhere < 0.08


def test_two_rare_levels_that_both_drift_name_none() -> None:
    rng = np.random.default_rng(7)
    channel = rng.choice(CHANNELS, 8_000, p=[0.04, 0.04, 0.02, 0.9]).astype(object)
    before, after = rng.normal(size=8_000), rng.normal(size=8_000)
    shift = np.where(np.isin(channel, ["app", "branch"]), 1.0, 0.0)
    assert by_channel(before, after + shift, channel) is None
    assert by_channel(before, after + shift * (channel == "app"), channel) is not None


def test_a_categorical_column_is_localised_too() -> None:
    rng = np.random.default_rng(2)
    levels = {"channel": rng.choice(CHANNELS, 4_000).astype(object)}
    before = rng.choice(["ok", "failed"], 4_000, p=[0.9, 0.1]).astype(object)
    after = np.where((levels["channel"] == "web") & (rng.random(4_000) < 0.6), "failed", before)
    found = localise(categorical(before, "state"), categorical(after, "state"), levels, levels)
    assert found is not None
    assert found.level == "web"


def test_the_drifted_column_does_not_explain_itself() -> None:
    rng = np.random.default_rng(3)
    before = rng.choice(["a", "b"], 1_000, p=[0.9, 0.1]).astype(object)
    after = rng.choice(["a", "b"], 1_000).astype(object)
    assert localise(categorical(before), categorical(after), {"channel": before}, {"channel": after}) is None
    # Not even where its levels, rounded or binned, would divide it.
    moved = np.where(before == "a", 5.0, 0.0) + rng.normal(size=1_000)
    assert (
        localise(numeric(np.zeros(1_000) + rng.normal(size=1_000)), numeric(moved), *[{"amount": before}] * 2) is None
    )


def test_too_many_levels_or_too_few_rows_name_nothing() -> None:
    without_channel = located(in_app, max_levels=3)
    assert without_channel is not None
    assert without_channel.column == "device"
    assert located(in_app, rows=60) is None
    assert located(in_app, rows=60, minimum_rows=5) is not None


def test_missing_levels_and_columns_are_passed_over() -> None:
    rng = np.random.default_rng(4)
    before, before_levels = frame(rng, 4_000)
    after, after_levels = frame(rng, 1_300)
    for levels in (before_levels, after_levels):
        levels["channel"][::10] = None
    changed = in_app(after, after_levels)
    before_levels["gone"] = before_levels["channel"]
    before_levels["one"], after_levels["one"] = np.full(4_000, "x", object), np.full(1_300, "x", object)
    found = localise(numeric(before), numeric(changed), before_levels, after_levels)
    assert found is not None
    assert (found.column, found.level) == ("channel", "app")


def test_levels_of_another_length_are_refused() -> None:
    with pytest.raises(ValueError, match="'channel' must be as many"):
        localise(numeric([1.0]), numeric([1.0]), {"channel": np.array(["a"])}, {"channel": np.array(["a", "b"])})
