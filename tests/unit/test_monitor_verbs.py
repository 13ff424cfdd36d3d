"""What the command line tells of monitors that cannot judge, and of windows that are not complete."""

from __future__ import annotations

import json

import pytest
from sqlmodel import select

from quarterdeck.runner import queue
from quarterdeck.runner.job import Job, JobKind, JobState
from quarterdeck.runner.looks import failures
from quarterdeck.runner.queue import Work
from quarterdeck.runner.terms import terms_of
from quarterdeck.workspace import Workspace
from tests.unit.conftest import SETTINGS, Run
from tests.watched import close, rows, send, serve

SPELT = "`slices` under [monitors.m] names chanel, which model version 1 does not take"


def changed(deck: Workspace, *lines: str) -> None:
    deck.settings_file.write_text(SETTINGS + "\n".join(lines) + "\n", encoding="utf-8")


def looked(deck: Workspace, run: Run, number: int) -> None:
    """A look as the runner makes it: its job ends as `quarterdeck monitor run` does."""
    code, _, said = run("monitor", "run", "m")
    with deck.state.write("test") as tx:
        queue.enqueue(
            tx, deck, Work(JobKind.MONITOR, f"m:{number}", "monitor/m", {"monitor": "m"}, terms_of(deck), "monitor:m")
        )
        job = tx.exec(select(Job).where(Job.key == f"m:{number}")).one()
        job.state, job.error = (JobState.FAILED, said.strip()) if code else (JobState.SUCCEEDED, None)
        tx.add(job)


def test_a_monitor_that_fails_whenever_it_looks_is_told_wherever_monitors_are_shown(deck: Workspace, run: Run) -> None:
    serve(deck, rows(300, seed=1))
    changed(deck, 'slices = ["chanel"]')
    looked(deck, run, 1)
    assert "monitor    m fails: `slices` under [monitors.m] names chanel" in run("status")[1]
    (row,) = json.loads(run("status", "--json")[1])["monitors"]
    assert row["failure"].startswith(SPELT)
    text = run("monitor", "list")[1]
    assert text.splitlines()[1].split()[:3] == ["m", "d", "fails"]
    assert f"m fails: {SPELT}" in text
    (row,) = json.loads(run("monitor", "list", "--json")[1])
    assert (row["name"], row["failure"][: len(SPELT)]) == ("m", SPELT)
    changed(deck)
    looked(deck, run, 2)
    assert "m fails" not in run("status")[1] + run("monitor", "list")[1]
    assert failures(deck) == {}


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (('slices = ["chanel"]',), SPELT),
        (('columns = ["amont"]',), "`columns` under [monitors.m] names amont"),
        (("[monitors.m.fairness]", 'columns = ["gender"]'), "`fairness.columns` under [monitors.m] names gender"),
        (('metric = "mae"',), '`metric = "mae"` under [monitors.m] cannot be computed: model version 1 answers two'),
        (("[monitors.m.costs]", "under = 2"), "[monitors.m.costs] names `under` or `over`, and the model answers"),
        (
            ("[monitors.m.costs]", "matrix.yes.no = 2"),
            "[monitors.m.costs] has costs of no, yes; the model answers 0, 1",
        ),
    ],
)
def test_settings_are_checked_against_the_version_where_no_window_waits(
    deck: Workspace, run: Run, lines: tuple[str, ...], says: str
) -> None:
    serve(deck, rows(300, seed=1))
    changed(deck, *lines)
    code, said, told = run("monitor", "run", "m")
    assert (code, said) == (2, "")
    assert says in told


def test_where_there_is_nothing_to_judge_it_is_said_when_there_will_be(deck: Workspace, run: Run) -> None:
    assert "Nothing was ever deployed as 'd'" in run("monitor", "run", "m")[1]
    serve(deck, rows(300, seed=1))
    nothing = "No window is complete that was not judged yet: "
    assert run("monitor", "run", "m")[1].startswith(f"{nothing}one is 1h, and too little has come")
    send(deck, rows(200, seed=2), 0)
    close(deck, 0)
    assert run("monitor", "run", "m")[1].startswith("FROM")
    again = f"{nothing}the next ends at 2026-01-05 02:00:00 UTC (event time), and is judged once predictions come that"
    code, said, _ = run("monitor", "run", "m")
    assert (code, said) == (0, f"{again} are 1s later.\n")
    code, said, told = run("monitor", "run", "m", "--json")
    assert (code, json.loads(said)) == (0, [])
    assert again in told


def test_objectives_of_a_deployment_that_is_not_there_are_told_of(deck: Workspace, run: Run) -> None:
    changed(deck, "[deployments.misspelt.slo]", "availability = 0.99")
    code, _, told = run("slo")
    assert (code, told) == (
        0,
        "[deployments.misspelt.slo] sets objectives, and nothing is deployed as 'misspelt'.\n",
    )


@pytest.mark.parametrize("verb", [("monitor", "run", "m"), ("slo",), ("status",)])
def test_settings_that_are_broken_are_told_of_with_their_place_though_the_old_ones_hold(
    deck: Workspace, run: Run, verb: tuple[str, ...]
) -> None:
    (deck.folder / "quarterdeck.toml.in-force").write_text(SETTINGS)
    changed(deck, 'slice = ["channel"]')
    code, _, told = run(*verb)
    line = len(SETTINGS.splitlines()) + 1
    assert code == 0
    assert f"{deck.settings_file}, line {line}: monitors.m.slice: there is no such key" in told
    assert "did you mean `slices`?" in told
    assert "The settings before that stay in force." in told
