"""Settings of reactions: what fits, and what is refused with the reason."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from quarterdeck.errors import SettingsError
from quarterdeck.monitoring.alert import AlertKind, Severity
from quarterdeck.settings import load_settings
from quarterdeck.settings.reactions import AlertName, SeverityName

HEAD = '[monitors.m]\ndeployment = "fraud"\n'


def load(folder: Path, *reactions: str) -> Path:
    file = folder / "quarterdeck.toml"
    file.write_text(HEAD + "".join(f"[[monitors.m.reactions]]\n{one}\n" for one in reactions))
    return file


def test_one_kind_may_be_a_text_and_the_defaults_are_careful(tmp_path: Path) -> None:
    settings = load_settings(
        load(tmp_path, 'on = "quality"\ndo = "retrain"\npipeline = "train"', 'on = ["drift"]\ndo = "tell"')
    )
    retrain, tell = settings.monitors["m"].reactions
    assert (retrain.on, retrain.name, retrain.asks_backtest) == (("quality",), "retrain/train", True)
    assert (retrain.cooldown.total_seconds(), retrain.daily_limit, retrain.severity) == (6 * 3600, 1, "page")
    assert (tell.name, tell.asks_backtest) == ("tell", False)


def test_every_kind_and_severity_of_alerts_can_be_named() -> None:
    assert set(get_args(AlertName)) == {str(kind) for kind in AlertKind}
    assert set(get_args(SeverityName)) == {str(severity) for severity in Severity}


@pytest.mark.parametrize(
    ("reaction", "why"),
    [
        ('do = "tell"', "reactions.0.on: it has to be given"),
        ('on = []\ndo = "tell"', "reactions.0.on: it needs at least 1, and has 0"),
        ('on = "weather"\ndo = "tell"', "reactions.0.on.0: it should be 'drift', 'missing'"),
        ('on = "quality"\ndo = "panic"', "reactions.0.do: it should be 'retrain', 'rollback' or 'tell'"),
        ('on = "quality"\ndo = "retrain"', 'do = "retrain" goes with pipeline = "NAME"'),
        ('on = "quality"\ndo = "rollback"\npipeline = "train"', 'do = "retrain" goes with pipeline = "NAME"'),
        ('on = "quality"\ndo = "tell"\nparameters = {a = 1}', 'parameters go with do = "retrain"'),
        (
            'on = ["quality", "drift"]\ndo = "retrain"\npipeline = "t"',
            'does not go with on = "drift": while an alert on',
        ),
        ('on = "outage"\ndo = "retrain"\npipeline = "t"', "is not mended by training"),
        ('on = "quality"\ndo = "tell"\ncooldown = "soon"', "'soon' is not a duration"),
        ('on = "quality"\ndo = "tell"\ndaily_limit = 0', "reactions.0.daily_limit"),
        ('on = "quality"\ndo = "tell"\nafter = "1h"', "reactions.0.after: there is no such key"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_key_and_the_reason(tmp_path: Path, reaction: str, why: str) -> None:
    with pytest.raises(SettingsError) as refused:
        load_settings(load(tmp_path, reaction))
    assert why in str(refused.value)


def test_two_that_do_the_same_are_one(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"two reactions do the same \(rollback\)"):
        load_settings(load(tmp_path, 'on = "quality"\ndo = "rollback"', 'on = "outage"\ndo = "rollback"'))
