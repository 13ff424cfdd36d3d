"""quarterdeck.toml."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.errors import SettingsError
from quarterdeck.settings import Settings, load_settings
from quarterdeck.settings.monitoring import MetricName
from quarterdeck.statistics.quality import METRICS
from quarterdeck.values import as_written, parse_duration


def load(tmp_path: Path, text: str) -> Settings:
    file = tmp_path / "quarterdeck.toml"
    file.write_text(text, encoding="utf-8")
    return load_settings(file)


def test_the_metrics_that_can_be_named_are_those_that_can_be_computed() -> None:
    assert set(get_args(MetricName)) == set(METRICS)


def test_an_environment_variable_that_does_not_fit_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUARTERDECK_WORKSPACE", "/x")
    with pytest.raises(SettingsError, match="environment variable"):
        load(tmp_path, "")


def test_an_empty_file_is_all_defaults(tmp_path: Path) -> None:
    settings = load(tmp_path, "")
    assert settings.gateway.host == "127.0.0.1"
    assert settings.dataset("any").target is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [("90s", 90), ("15m", 900), ("1h30m", 5400), ("3d", 259_200), ("500ms", 0.5)],
)
def test_durations_are_written_as_people_do(tmp_path: Path, text: str, expected: float) -> None:
    settings = load(tmp_path, f'[monitors.m]\ndeployment = "d"\nwindow = "{text}"')
    assert settings.monitors["m"].window == timedelta(seconds=expected)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("[workspace]\nnam = 'x'", "workspace.nam"),
        ("[gateway]\nport = 70000", "gateway.port"),
        ("[monitors.m]\nwindow = '1d'", "monitors.m.deployment"),
        ("[monitors.m]\ndeployment = 'd'\nwindow = '3 days'", "monitors.m.window"),
        ("[monitors.m]\ndeployment = 'd'\nwindow = '0s'", "monitors.m.window"),
        ("[monitors.m]\ndeployment = 'd'\norigin = '2026-01-05'", "monitors.m.origin"),
        ("[monitors.m]\ndeployment = 'd'\npersistence = [3, 2]", "monitors.m"),
        ("[monitors.m]\ndeployment = 'd'\nmetric = 'auc'", "monitors.m.metric"),
        ("[datasets.d]\ndelimiter = '||'", "datasets.d.delimiter"),
        ("[schedules.s]\npipeline = 'p'", "schedules.s"),
        ("[schedules.s]\npipeline = 'p'\ncron = '* * * * *'\nevery = '1d'", "schedules.s"),
        ("[deployments.'a b']", "deployments.a b"),
    ],
)
def test_a_key_that_does_not_fit_is_named_with_the_file(tmp_path: Path, text: str, key: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(tmp_path, text)
    assert key in str(caught.value)
    assert "quarterdeck.toml" in str(caught.value)


@pytest.mark.parametrize("content", [b"[workspace", b"\xff\xfe"])
def test_a_file_that_is_no_toml_is_named(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "quarterdeck.toml"
    file.write_bytes(content)
    with pytest.raises(SettingsError, match=r"quarterdeck\.toml is not"):
        load_settings(file)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read"):
        load_settings(tmp_path / "quarterdeck.toml")


def test_the_environment_goes_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUARTERDECK_GATEWAY__PORT", "9000")
    settings = load(tmp_path, "[gateway]\nport = 8000\nworkers = 2")
    assert (settings.gateway.port, settings.gateway.workers) == (9000, 2)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('cron = "61 3 * * *"', "'61 3 * * *' is not a crontab line"),
        ('cron = "0 3 * *"', "it needs minute, hour, day, month and weekday"),
        ('cron = "@daily"', "is not a crontab line"),
        ('cron = "0 3 31 2 *"', "a day that never comes"),
        ('cron = "0 3 * * *"\ntimezone = "Europe/Nowhere"', "no time zone 'Europe/Nowhere'"),
    ],
)
def test_a_schedule_that_could_never_fire_is_refused(tmp_path: Path, line: str, words: str) -> None:
    file = tmp_path / "quarterdeck.toml"
    file.write_text(f'[schedules.nightly]\npipeline = "train"\n{line}\n')
    with pytest.raises(SettingsError, match=r"schedules\.nightly") as refused:
        load_settings(file)
    assert words in str(refused.value)


@pytest.mark.parametrize(
    ("slo", "words"),
    [
        ("", "give at least one of availability, latency and quality"),
        ("availability = 1", "slo.availability: an objective is a share between 0 and 1, and 1 leaves no"),
        ("availability = 99.9", "write 0.999 for 99.9%"),
        ("availability = -0.1", "a share between 0 and 1, like 0.99, and not -0.1"),
        ("availability = nan", "a share between 0 and 1, like 0.99, and not nan"),
        ('latency = { target = 0.99, within = "45ms" }', "counted up to 45ms; the nearest is 40ms or 50ms"),
        ('latency = { target = 0.99, within = "1h" }', "counted up to 1h; the nearest is 15m"),
        ('latency = { within = "50ms" }', "slo.latency.target"),
        ("quality = 0.9", 'add a [monitors.NAME] with deployment = "d"'),
        ('availability = 0.9\nperiod = "2d"', "period (2d) is shorter than a window of burn_rates (3d)"),
        ('availability = 0.9\nperiod = "91d"', "period (91d) is longer than 90d"),
        ("availability = 0.9\nburn_rates = []", "slo.burn_rates"),
        ("availability = 0.9\n@rate = 2, long = '5m', short = '1h'", "short (1h) must be shorter than long (5m)"),
        ("availability = 0.9\n@rate = 2, long = '1h', short = '30s'", "short (30s) is less than a minute"),
        ("availability = 0.9\n@rate = 0.5, long = '1h', short = '5m'", "burn_rates.0.rate"),
        (
            "availability = 0.9\n@rate = 11, long = '1h', short = '5m'",
            "availability = 0.9 burns 10 times too fast at most",
        ),
    ],
)
def test_objectives_that_cannot_be_kept_or_missed_are_refused(tmp_path: Path, slo: str, words: str) -> None:
    section = re.sub(r"@(.*)", r'burn_rates = [{ \1, severity = "page" }]', slo)
    with pytest.raises(SettingsError) as refused:
        load(tmp_path, f"[deployments.d.slo]\n{section}")
    assert words in str(refused.value)
    assert "deployments.d" in str(refused.value)


MONITOR = '[monitors.m]\ndeployment = "d"\n'


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            MONITOR + 'slice = ["a"]',
            "line 3: monitors.m.slice: there is no such key under [monitors.m]; did you mean `slices`?",
        ),
        (
            MONITOR + "costs.undr = 1",
            "line 3: monitors.m.costs.undr: there is no such key under [monitors.m.costs]; did you mean `under`?",
        ),
        ("# ours\n\n[monitor.m]\n", "line 3: monitor: there is no such table; did you mean `monitors`?"),
        (
            MONITOR + '[[monitors.m.reactions]]\non = "quality"\ndo = "tell"\n'
            '[[monitors.m.reactions]]\non = "outage"\ndo = "tell"\ncooldwn = "3h"',
            "line 9: monitors.m.reactions.1.cooldwn: there is no such key under [[monitors.m.reactions]]; did you mean "
            "`cooldown`?",
        ),
        (
            "[gateway]\nport = 1\nzzz = 1\n",
            "line 3: gateway.zzz: there is no such key under [gateway]. docs/settings.md",
        ),
        ("[gateway]\nport = 'eighty'", "line 2: gateway.port: it should be a valid integer, not 'eighty'."),
        ("[gateway]\nport = 'x'\nworkers = 'y'", "not 'x'. 1 more do not fit. docs/settings.md"),
        ("[monitors.m]\nwindow = '1d'", "line 1: monitors.m.deployment: it has to be given."),
        (
            "[notifications]\nwebhooks = [{ url = 'http://x', severities = [] }]",
            "severities: it would be told of nothing",
        ),
        (MONITOR + "costs.matrix.1.0 = 2\ncosts.under = 1", "a model answers classes or numbers"),
    ],
)
def test_a_mistake_is_told_with_its_line_and_the_nearest_key(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(SettingsError) as refused:
        load(tmp_path, text)
    assert says in str(refused.value)
    assert str(refused.value).startswith(str(tmp_path / "quarterdeck.toml"))
    assert "Extra inputs" not in str(refused.value)


def test_a_variable_that_names_no_key_is_told_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUARTERDECK_GATEWAY__PROT", "9000")
    with pytest.raises(SettingsError, match=r"^The environment variable QUARTERDECK_GATEWAY__PROT: .*`port`\?"):
        load(tmp_path, "")


def test_objectives_have_the_standard_burn_rates(tmp_path: Path) -> None:
    text = '[deployments.d.slo]\navailability = 0.99\nlatency = { target = 0.9, within = "2.5ms" }\nquality = 0.9\n'
    slo = load(tmp_path, text + '[monitors.m]\ndeployment = "d"').deployment("d").slo
    assert slo is not None
    assert slo.targets == {"availability": 0.99, "latency": 0.9, "quality": 0.9}
    assert [(one.rate, one.windows, one.severity) for one in slo.burn_rates] == [
        (14.4, "1h and 5m", "page"),
        (6, "6h and 30m", "page"),
        (1, "3d and 6h", "warning"),
    ]


@given(milliseconds=st.integers(1, 10**9))
def test_durations_are_written_as_they_are_read(milliseconds: int) -> None:
    value = timedelta(milliseconds=milliseconds)
    assert parse_duration(as_written(value)) == value


KPI = "[deployments.d.kpis.sales]\n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("query = 'select 1, 2'", "query and database go together"),
        ("database = 'sqlite:///shop.db'", "query and database go together"),
        ("every = '1h'", "every is about a query, and there is none"),
        ("query = 'select 1, 2'\ndatabase = 'shop.db'", "that is no database URL"),
        ("query = 'select 1, 2'\ndatabase = 'sqlite://'", "the URL names no file"),
        ("query = 'select 1, 2'\ndatabase = 'sqlite:///:memory:'", "the URL names no file"),
        (
            "query = 'select 1, 2'\ndatabase = 'postgresql://me:open-sesame@host/shop'",
            "a password does not belong into",
        ),
        ("query = 'select 1, 2'\ndatabase = 'postgresql://me@host:port/shop'", "that is no database URL"),
        ("query = 'select 1, 2'\ndatabase = 'sqlite:///shop.db'\ntimezone = 'Mars'", "there is no time zone 'Mars'"),
        ("better = 'more'", "kpis.sales.better"),
    ],
)
def test_a_kpi_that_cannot_be_fetched_is_told_of_without_its_password(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(tmp_path, KPI + text)
    assert says in str(caught.value)
    assert "deployments.d.kpis.sales" in str(caught.value)
    assert "open-sesame" not in str(caught.value)


def test_a_kpi_needs_no_query(tmp_path: Path) -> None:
    kpi = load(tmp_path, f"{KPI}unit = 'EUR'\nbetter = 'lower'").deployment("d").kpis["sales"]
    assert (kpi.unit, kpi.better, kpi.query) == ("EUR", "lower", None)
