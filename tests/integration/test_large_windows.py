"""Windows of recorded traffic too large to be held: what is said of them by sketches and by a sample."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest

from quarterdeck.monitoring import queries, reading
from quarterdeck.monitoring.evaluation import evaluate
from quarterdeck.monitoring.monitor import Monitor, Span
from quarterdeck.monitoring.portrait import portraits
from quarterdeck.monitoring.result import Aspect, Result
from quarterdeck.registry.answers import Predictions
from quarterdeck.registry.holdout import Holdout
from quarterdeck.settings.monitoring import MonitorSettings
from quarterdeck.statistics import sketch
from quarterdeck.statistics.column import Column
from quarterdeck.statistics.sketch import sketch_of
from quarterdeck.traffic import compaction, window
from quarterdeck.traffic.compaction import compact
from quarterdeck.traffic.prediction import NO_VERSION
from quarterdeck.traffic.sampling import Sampling, Sketched, sample_window
from quarterdeck.traffic.whole import Whole
from quarterdeck.traffic.window import WindowRows, read_window
from quarterdeck.workspace import Workspace
from quarterdeck_console.cli import verbs
from quarterdeck_console.screens.monitors import describe
from tests.fakes import FakeClock
from tests.watched import HOUR, START, close, label, rows, send, serve, watch

THRESHOLD = 0.1
IMPORTANT = {"amount": 0.9, "age": 0.1, "channel": 0.0}
FAR = 0.03
"""What a sketched distance does not see beyond the 0.05 and 99.95 percentiles, as a share of the distance."""


def holdout(n: int) -> Holdout:
    """Answers as `answered` gives them, that are right as often as they say."""
    rng = np.random.default_rng(90)
    scores = rng.uniform(0.02, 0.98, n)
    truth = (rng.random(n) < scores).astype(np.float64)
    answers = Predictions((scores > 0.5).astype(np.int64), np.column_stack([1 - scores, scores]))
    return Holdout(rows(n, seed=91), truth, answers)


def sent(workspace: Workspace, frame: pd.DataFrame, hour: int, version: int, *, labelled: float = 0.0) -> None:
    """Rows whose answers are less often right than they say, some of them with labels."""
    rng = np.random.default_rng(1000 * hour + version)
    scores = rng.uniform(0.02, 0.98, len(frame))
    ids = send(workspace, frame, hour, version=version, scores=scores.tolist())
    known = int(labelled * len(ids))
    label(workspace, ids[:known], (rng.random(known) < 0.8 * scores[:known]).astype(int).tolist())


def moved_to_files(workspace: Workspace) -> None:
    """All that is there; what is sent after that stays in the table."""
    clock = workspace.ports.clock
    assert isinstance(clock, FakeClock)
    clock.advance(days=4)
    assert compact(workspace).predictions


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Sketches that forget, and files and pieces of few rows; only windows of more than 500 rows are too large."""
    with monkeypatch.context() as patched:
        patched.setattr(sketch, "SIZE", 512)
        patched.setattr(sketch, "ROOM", 3 * 512 + 128)
        patched.setattr(window, "PIECE_ROWS", 700)
        patched.setattr(compaction, "FILE_ROWS", 1_500)
        patched.setattr(compaction, "ROW_GROUP", 300)
        limit(patched, 500)
        yield patched


def limit(patched: pytest.MonkeyPatch, most: int, sample: int = 100_000) -> None:
    """How many rows of three features are held, and how many of what is too large are drawn."""
    patched.setattr(reading, "WHOLE_VALUES", most * (3 + reading.OF_A_ROW))
    patched.setattr(reading, "SAMPLE_VALUES", sample * (3 + reading.OF_A_ROW))
    patched.setattr(reading, "SAMPLE_ROWS", sample)


def two_monitors(workspace: Workspace, **settings: Any) -> Workspace:
    """`m` and `n`, which watch the same in the same way."""
    watched = watch(workspace, **settings)
    both = dict.fromkeys(("m", "n"), watched.settings.monitors["m"])
    return replace(watched, settings=watched.settings.model_copy(update={"monitors": both}))


def by_place(results: list[Result]) -> dict[tuple[Any, ...], Result]:
    return {(result.window_start, result.aspect, result.version): result for result in results}


def test_a_window_too_large_to_be_held_is_judged_as_one_that_is_within_the_stated_error(
    workspace: Workspace, small: pytest.MonkeyPatch
) -> None:
    watched = two_monitors(workspace, slices=("channel",), tolerance=0.01, fairness={"columns": ["channel"]})
    for _ in range(3):
        serve(watched, rows(2000, seed=1), importances=IMPORTANT, metrics={"roc_auc": 0.83}, holdout=holdout(1000))
    first = rows(4000, seed=10, shift=3)
    first.loc[first.index[:400], "age"] = None
    first.loc[first.index[:90], "channel"] = "kiosk"
    sent(watched, rows(300, seed=13, shift=3), 0, 1)
    sent(watched, first, 1, 3, labelled=0.8)
    sent(watched, rows(600, seed=11), 1, NO_VERSION)
    moved_to_files(watched)
    sent(watched, rows(3000, seed=12, shift=-4, only="app"), 1, 2, labelled=0.7)
    close(watched, 1)
    limit(small, 100_000)
    whole = by_place(evaluate(watched, "m").results)
    limit(small, 500)
    found = by_place(evaluate(watched, "n").results)
    assert found.keys() == whole.keys()
    assert {aspect for _, aspect, _ in found} >= set(Aspect) - {Aspect.TRAFFIC, Aspect.SKEW}
    large = {place for place in found if place[0] == START + HOUR}
    assert {version for _, aspect, version in large if aspect is Aspect.INPUTS} == {3, 2, 1}
    for place, result in found.items():
        other = whole[place]
        assert (result.verdict, result.n_current, result.n_labelled) == (
            other.verdict,
            other.n_current,
            other.n_labelled,
        )
        if place not in large or place[1] is Aspect.TRAFFIC:
            assert result.scores == other.scores
        elif place[1] is Aspect.INPUTS:
            errors = [close_to(one, exact) for one, exact in zip(result.scores, other.scores, strict=True)]
            assert max(errors) > 0
        elif result.served:
            # The sample holds every row here, so that what it says is the same.
            unmarked = [{name: value for name, value in row.items() if name != "sampled"} for row in result.scores]
            assert unmarked == other.scores


def close_to(row: dict[str, Any], exact: dict[str, Any]) -> float:
    """Check a score by sketches against the one by all rows; returns the error that it states."""
    error: float = row["error"]
    assert row["column"] == exact["column"]
    assert abs(row["effect"] - exact["effect"]) <= error + FAR * exact["effect"] + 1e-9
    assert error == 0.0 or row["column"] != "channel"
    if abs(exact["effect"] - THRESHOLD) > 2 * error:
        assert row["verdict"] == exact["verdict"]
    else:
        assert row["verdict"] in (exact["verdict"], "inconclusive")
    same = ("missing_verdict", "unseen_verdict", "n_current", "n_reference", "missing_current", "measure")
    assert {name: row[name] for name in same} == {name: exact[name] for name in same}
    assert row["slice"] == exact["slice"]
    return error


def test_a_sample_is_uniform_and_the_same_wherever_the_rows_are(workspace: Workspace, small: object) -> None:
    watched = watch(workspace)
    frame = rows(6000, seed=1)
    frame["age"] = np.arange(6000.0)
    send(watched, frame, 0)
    send(watched, rows(40, seed=2), 0, version=2)
    sampling = Sampling([Sketched(1, "age", "numeric")], 500)

    def drawn() -> WindowRows:
        return sample_window(watched, "d", [(START, START + HOUR)], sampling, lambda _: True)

    before = drawn()
    moved_to_files(watched)
    after = drawn()
    assert before.lists() == after.lists()
    assert (before.n, before.sampled, dict(before.by_version)) == (6040, 290, {1: 6000, 2: 40})
    # The mean of 250 of the numbers up to 6,000 has a standard error of 107.
    assert abs(np.mean([values[1] for values in before.of_version(1).inputs]) - 3000) < 400
    (part,) = (after.of_version(1).whole or {}).values()
    age = part.inputs["age"]
    assert isinstance(age, sketch.NumericSketch)
    assert (age.rows, age.moments.minimum, age.moments.maximum, age.exact) == (6000, 0.0, 5999.0, False)


def test_versions_that_are_taken_for_one_are_drawn_in_proportion() -> None:
    def part(n: int) -> Whole:
        return Whole(n, 0, {"x": sketch_of(Column("x", "numeric", np.arange(float(n))), (n,))})

    names = ["ids", "keys", "event_times", "inputs", "predictions", "probabilities", "labels"]
    versions = [1] * 100 + [2] * 100 + [3] * 10
    lists: dict[str, Any] = {name: list(range(210)) for name in names}
    held = WindowRows(**lists, versions=versions, whole={1: part(1000), 2: part(500), 3: part(10)})
    found = held.taken_as(lambda version: 1 if version in (1, 2) else version)
    assert (found.n, found.sampled, dict(found.by_version)) == (1510, 160, {1: 1500, 3: 10})
    assert len([one for one in found.ids if 100 <= int(one) < 200]) == 50
    assert (found.whole or {})[1].inputs["x"].rows == 1500
    only = found.of_version(3)
    assert (only.n, only.sampled, only.known().n) == (10, 10, 10)


def test_quality_is_of_a_sample_of_the_labelled_rows_and_says_so(
    workspace: Workspace, small: pytest.MonkeyPatch
) -> None:
    watched = two_monitors(workspace, hours=(0, 1), label_coverage=0.4)
    serve(watched, rows(2000, seed=1), metrics={"roc_auc": 0.83}, holdout=holdout(1000))
    sent(watched, rows(4000, seed=10), 0, 1, labelled=0.5)
    moved_to_files(watched)
    close(watched, 0)
    limit(small, 100_000)
    (whole,) = (result for result in evaluate(watched, "m").results if result.aspect is Aspect.QUALITY)
    limit(small, 500, sample=800)
    results = {result.aspect: result for result in evaluate(watched, "n").results}
    found = results[Aspect.QUALITY]
    assert (found.n_current, found.n_labelled, found.scores[0]["coverage"]) == (4000, 2000, 0.5)
    assert (found.scores[0]["sampled"], found.verdict) == (800, whole.verdict)
    assert sum(one["rows"] for one in found.scores[0]["reliability"]["bins"]) == 800
    assert found.scores[0]["low"] < whole.scores[0]["value"] < found.scores[0]["high"]
    assert results[Aspect.INPUTS].scores[0]["sampled"] == 800
    assert results[Aspect.TRAFFIC].n_current == 4000


def test_what_is_sketched_says_so_in_the_alert_in_the_pane_and_on_the_command_line(
    workspace: Workspace, small: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    watched = watch(workspace)
    serve(watched, rows(2000, seed=1), importances=IMPORTANT)
    limit(small, 500, sample=900)
    for hour in range(2):
        send(watched, rows(2500, seed=20 + hour, shift=8), hour)
    close(watched, 1)
    evaluate(watched, "m")
    (alert,) = queries.alerts(watched)
    error = alert.evidence["amount"]["error"]
    assert 0 < error < 0.2
    assert alert.evidence["amount"]["sampled"] == 900
    assert f"sigma, sketched, +-{error:.2g}, 2,500 rows" in alert.summary
    assert portraits(watched, alert.id)["amount"].sampled
    shown = {row.aspect: describe(row).plain for row in queries.results(watched, monitor="m", limit=20)}
    assert "sketches of all rows, +-" in shown["inputs"]
    assert re.search(r"sigma \+-0\.\d", shown["inputs"])
    assert "a sample of 900 rows" in shown["across"]
    assert "judged by" not in shown["traffic"]

    def said(*arguments: str) -> str:
        small.setattr(sys, "argv", ["quarterdeck", "-w", str(watched.root), *arguments])
        assert verbs.run() == 0
        return capsys.readouterr().out

    settings = f'[monitors.m]\ndeployment = "d"\nwindow = "1h"\norigin = "{START.isoformat()}"\ngrace = "1s"\n'
    watched.settings_file.write_text(watched.settings_file.read_text() + settings)
    send(watched, rows(2500, seed=22, shift=8), 2)
    close(watched, 2)
    judged = {row["aspect"]: row for row in json.loads(said("monitor", "run", "m", "--json"))}
    assert judged["inputs"]["judged_by"].startswith("sketches of all rows")
    assert judged["traffic"]["judged_by"] == "all rows"
    assert judged["inputs"]["scores"][0]["error"] > 0


def test_a_reference_too_large_to_be_held_is_sketched_too(workspace: Workspace, small: pytest.MonkeyPatch) -> None:
    period = {"reference": "period", "reference_period": (START, START + 2 * HOUR), "origin": START + 2 * HOUR}
    watched = two_monitors(workspace, **period)
    serve(watched, rows(2000, seed=1), importances=IMPORTANT)
    for hour in range(2):
        send(watched, rows(2000, seed=30 + hour), hour)
    send(watched, rows(450, seed=32, shift=8), 2)
    close(watched, 2)
    limit(small, 100_000)
    whole = by_place(evaluate(watched, "m").results)
    limit(small, 500, sample=700)
    found = by_place(evaluate(watched, "n").results)
    place = (START + 2 * HOUR, Aspect.INPUTS, 1)
    assert (found[place].n_reference, found[place].n_current) == (4000, 450)
    for row, exact in zip(found[place].scores, whole[place].scores, strict=True):
        close_to(row, exact)
        assert row["sampled_reference"] == 700
        assert "sampled" not in row


def test_nothing_is_drawn_of_a_window_that_can_be_held(workspace: Workspace, small: pytest.MonkeyPatch) -> None:
    watched = watch(workspace)
    send(watched, rows(2000, seed=1), 0)
    moved_to_files(watched)
    small.setattr(reading, "WHOLE_VALUES", 400 * (reading.USUAL_FEATURES + reading.OF_A_ROW))
    span = Span(START + timedelta(minutes=6), START + timedelta(minutes=12))
    monitor = Monitor("m", MonitorSettings(deployment="d"))
    # 200 of the 2,000 rows, which lie in two files; the statistics of those say how few they are.
    read = reading.read_span(watched, monitor, span, None)
    assert (read.sampled, read.n) == (200, 200)
    small.setattr(reading, "WHOLE_VALUES", 800 * (reading.USUAL_FEATURES + reading.OF_A_ROW))
    read = reading.read_span(watched, monitor, span, None)
    assert read == read_window(watched, "d", span.start, span.end)
