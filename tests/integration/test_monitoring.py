"""From recorded traffic to alerts, on real files."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sqlmodel import delete, select

from quarterdeck import events
from quarterdeck.errors import FencedError, IllegalTransitionError, NotFoundError, SettingsError, UsageError
from quarterdeck.monitoring import queries
from quarterdeck.monitoring.acknowledgement import acknowledge
from quarterdeck.monitoring.alert import Judgement
from quarterdeck.monitoring.alerting import open_outage
from quarterdeck.monitoring.evaluation import evaluate
from quarterdeck.monitoring.incident import as_markdown, incident, link_ticket, note
from quarterdeck.monitoring.notification import tell
from quarterdeck.monitoring.reporting import make_report, request_report
from quarterdeck.monitoring.result import Result
from quarterdeck.monitoring.silence import silence, unsilence
from quarterdeck.traffic.prediction import NO_VERSION, Prediction
from quarterdeck.workspace import Workspace
from quarterdeck_console.screens.monitors import describe
from tests.fakes import FakeClock, FakeNotifier
from tests.watched import HOUR, START, close, judged_rows, label, queued, rows, send, serve, told, watch

IMPORTANT = {"amount": 0.9, "age": 0.1, "channel": 0.0}


def kinds_of_events(workspace: Workspace) -> list[str]:
    with workspace.state.read() as tx:
        return [event.kind for event in events.after(tx, 0)]


@pytest.fixture
def watched(workspace: Workspace) -> Workspace:
    watched = watch(workspace)
    serve(watched, rows(2000, seed=1), importances=IMPORTANT, metrics={"roc_auc": 0.9})
    return watched


def test_traffic_like_the_training_data_is_quiet_and_opens_nothing(watched: Workspace) -> None:
    for window in range(3):
        send(watched, rows(400, seed=10 + window), window)
    close(watched, 2)
    assert [str(result.verdict) for result in judged_rows(watched)] == ["quiet"] * 3
    assert queries.alerts(watched, all=True) == []


def test_a_shift_opens_an_alert_only_when_it_persists_in_two_of_three_windows(watched: Workspace) -> None:
    send(watched, rows(400, seed=10, shift=8), 0)
    close(watched, 0)
    evaluate(watched, "m")
    assert queries.alerts(watched, all=True) == []
    send(watched, rows(400, seed=11, shift=8), 1)
    close(watched, 1)
    evaluate(watched, "m")
    (alert,) = queries.alerts(watched)
    assert (alert.kind, alert.columns, alert.severity, alert.slice) == ("drift", ("amount",), "page", None)
    assert alert.onset < alert.last_window_end
    assert alert.evidence["amount"]["effect"] == pytest.approx(0.8, abs=0.2)
    assert alert.score == pytest.approx(alert.evidence["amount"]["effect"] * 0.9, rel=0.3)


def test_evidentlys_rule_counts_where_the_settings_say_so_and_its_figures_stand_beside_ours(
    workspace: Workspace,
) -> None:
    verdicts: dict[str, dict[str, tuple[str, str]]] = {}
    for rule in ("quarterdeck", "evidently"):
        watched = watch(workspace, rule=rule)
        if rule == "quarterdeck":
            serve(watched, rows(2000, seed=1), importances=IMPORTANT)
        send(watched, rows(60, seed=10 + len(verdicts)), len(verdicts))
        close(watched, len(verdicts))
        (result,) = judged_rows(watched)
        verdicts[rule] = {row["column"]: (row["verdict"], row["preset"]["method"]) for row in result.scores}
        for row in result.scores:
            if rule == "evidently":
                assert (row["verdict"] == "drifted") == row["preset"]["drifted"] == (row["preset"]["score"] >= 0.1)
    assert set(verdicts["quarterdeck"].values()) == {("inconclusive", "wasserstein"), ("inconclusive", "jensenshannon")}
    # Nothing has moved; with sixty rows its distances reach a tenth all the same.
    assert ("drifted", "wasserstein") in verdicts["evidently"].values()


def test_the_alert_names_the_slice_that_carries_the_shift(watched: Workspace) -> None:
    for window in range(2):
        send(watched, rows(600, seed=20 + window, shift=40, only="app"), window)
    close(watched, 1)
    evaluate(watched, "m")
    (alert,) = queries.alerts(watched)
    assert (alert.columns, alert.slice) == (("amount",), "channel=app")
    assert "channel=app" in alert.summary


def test_a_shift_of_a_column_that_the_model_does_not_use_is_informational(workspace: Workspace) -> None:
    watched = watch(workspace)
    serve(watched, rows(2000, seed=1), importances={"amount": 0.0, "age": 1.0, "channel": 0.0})
    for window in range(2):
        send(watched, rows(400, seed=30 + window, shift=8), window)
    close(watched, 1)
    evaluate(watched, "m")
    (alert,) = queries.alerts(watched)
    assert alert.severity == "informational"
    assert alert.evidence["amount"]["effect"] >= 0.1


def test_values_that_training_never_saw_are_a_finding_of_their_own_and_named(workspace: Workspace) -> None:
    watched = watch(workspace)
    serve(watched, rows(2000, seed=1), importances={"amount": 0.1, "age": 0.1, "channel": 0.8})
    for window in range(2):
        frame = rows(600, seed=140 + window)
        frame.loc[frame.index[:9], "channel"] = "kiosk"
        send(watched, frame, window)
    close(watched, 1)
    evaluate(watched, "m")
    (alert,) = queries.alerts(watched)
    assert (alert.kind, alert.columns, alert.severity) == ("unseen", ("channel",), "informational")
    assert alert.summary == "channel: 1.5% of values that training never saw (kiosk)"
    # When the distribution moves as well, it is that alert that tells: one cause.
    for window in range(2, 4):
        frame = rows(600, seed=140 + window)
        frame.loc[frame.index[:150], "channel"] = "kiosk"
        send(watched, frame, window)
    close(watched, 3)
    evaluate(watched, "m")
    (alert,) = queries.alerts(watched)
    assert (alert.kind, alert.columns) == ("drift", ("channel",))


def test_columns_that_no_longer_go_together_are_a_finding_though_none_moved(workspace: Workspace) -> None:
    def paired(seed: int, *, apart: bool) -> pd.DataFrame:
        frame = rows(1_500, seed=seed)
        ranks = frame["amount"].to_numpy().argsort()
        age = np.sort(frame["age"].to_numpy())
        frame.loc[frame.index[ranks], "age"] = age if not apart else np.random.default_rng(seed).permutation(age)
        return frame

    watched = watch(workspace)
    serve(watched, paired(1, apart=False), importances=IMPORTANT)
    for window in range(3):
        send(watched, paired(150 + window, apart=window > 0), window)
    close(watched, 2)
    evaluate(watched, "m")
    found = {row.window_start: row for row in queries.results(watched, monitor="m") if row.aspect == "across"}
    assert [str(found[START + window * HOUR].verdict) for window in range(3)] == ["quiet", "found", "found"]
    assert {row.verdict for row in queries.results(watched, monitor="m") if row.aspect == "inputs"} == {"quiet"}
    (alert,) = queries.alerts(watched)
    assert (alert.kind, alert.severity) == ("across", "warning")
    assert "no column moved by itself, most tell a" in alert.summary
    assert "told apart" in describe(found[START + HOUR]).plain


def test_missing_values_are_a_finding_of_their_own(watched: Workspace) -> None:
    for window in range(2):
        frame = rows(400, seed=40 + window)
        frame.loc[frame.index[:240], "amount"] = np.nan
        send(watched, frame, window)
    close(watched, 1)
    evaluate(watched, "m")
    (alert,) = queries.alerts(watched)
    assert (alert.kind, alert.columns) == ("missing", ("amount",))


def test_requests_that_a_fallback_answered_count_among_the_inputs(watched: Workspace) -> None:
    for window in range(2):
        send(watched, rows(160, seed=44 + window), window)
        lacking = rows(240, seed=46 + window)
        lacking["amount"] = np.nan
        send(watched, lacking, window, version=NO_VERSION)
    close(watched, 1)
    assert {result.version for result in judged_rows(watched)} == {1}
    (alert,) = queries.alerts(watched)
    assert (alert.kind, alert.columns, alert.version) == ("missing", ("amount",), 1)


def test_too_few_rows_are_inconclusive_and_never_quiet(watched: Workspace) -> None:
    send(watched, rows(20, seed=51), 0)
    close(watched, 0)
    (result,) = judged_rows(watched)
    assert str(result.verdict) == "inconclusive"


def test_judging_again_judges_nothing_twice(watched: Workspace) -> None:
    for window in range(2):
        send(watched, rows(400, seed=60 + window, shift=8), window)
    close(watched, 1)
    evaluate(watched, "m")
    before = kinds_of_events(watched)
    assert judged_rows(watched) == []
    assert kinds_of_events(watched) == before


def test_an_alert_resolves_itself_after_as_many_clean_windows_as_it_looks_back(watched: Workspace) -> None:
    for window in range(5):
        send(watched, rows(400, seed=70 + window, shift=8 if window < 2 else 0), window)
    close(watched, 4)
    evaluate(watched, "m")
    (alert,) = queries.alerts(watched, all=True)
    assert alert.state == "resolved"
    assert kinds_of_events(watched)[-2:] == ["alert.opened", "alert.resolved"]


def test_an_alert_on_inputs_goes_on_when_the_version_changes(watched: Workspace) -> None:
    for window in range(2):
        send(watched, rows(400, seed=80 + window, shift=8), window)
    close(watched, 1)
    evaluate(watched, "m")
    serve(watched, rows(2000, seed=2), importances=IMPORTANT)
    send(watched, rows(400, seed=90, shift=8), 3, version=2)
    close(watched, 3)
    evaluate(watched, "m")
    (alert,) = queries.alerts(watched, all=True)
    assert (alert.state, alert.version) == ("open", 2)


def test_a_window_is_also_judged_against_the_version_before(watched: Workspace) -> None:
    send(watched, rows(400, seed=100), 0)
    close(watched, 0)
    evaluate(watched, "m")
    serve(watched, rows(2000, seed=2, shift=50), importances=IMPORTANT)
    send(watched, rows(400, seed=101, shift=50), 2, version=2)
    close(watched, 2)
    evaluate(watched, "m")
    serving, before = queries.window_against(watched, "d", 2), queries.window_against(watched, "d", 1)
    assert serving is not None
    assert before is not None
    assert (serving.verdict, serving.served) == ("quiet", True)
    assert (before.verdict, before.served) == ("found", False)
    assert serving.window_start == before.window_start


def quality_windows(workspace: Workspace, *, good: bool, windows: range, version: int = 1) -> None:
    for window in windows:
        rng = np.random.default_rng(window)
        truth = rng.integers(0, 2, 400)
        scores = np.clip(truth * (0.6 if good else 0.02) + rng.uniform(0, 0.4, 400), 0, 1)
        ids = send(workspace, rows(400, seed=200 + window), window, version=version, scores=scores.tolist())
        label(workspace, ids, truth.tolist())


def test_worse_predictions_open_an_alert_on_the_metric(watched: Workspace) -> None:
    quality_windows(watched, good=False, windows=range(2))
    close(watched, 1)
    evaluate(watched, "m")
    (alert,) = queries.alerts(watched)
    assert (alert.kind, alert.columns, alert.severity, alert.version) == ("quality", ("roc_auc",), "page", 1)
    assert alert.evidence["roc_auc"]["baseline"] == 0.9
    assert alert.evidence["roc_auc"]["high"] < 0.9


def test_good_predictions_open_nothing(watched: Workspace) -> None:
    quality_windows(watched, good=True, windows=range(3))
    close(watched, 2)
    verdicts = {str(r.verdict) for r in judged_rows(watched) if str(r.aspect) == "quality"}
    assert verdicts == {"quiet"}
    assert queries.alerts(watched, all=True) == []


def test_quality_waits_for_enough_labels(watched: Workspace) -> None:
    ids = send(watched, rows(400, seed=300), 0, scores=[0.1] * 400)
    label(watched, ids[:200], [0, 1] * 100)
    close(watched, 0)
    assert [str(r.aspect) for r in judged_rows(watched)] == ["inputs"]
    label(watched, ids[200:], [0, 1] * 100)
    assert [str(r.aspect) for r in judged_rows(watched)] == ["quality"]


def test_a_quality_alert_ends_when_another_version_serves(watched: Workspace) -> None:
    quality_windows(watched, good=False, windows=range(2))
    close(watched, 1)
    evaluate(watched, "m")
    serve(watched, rows(2000, seed=3), metrics={"roc_auc": 0.9})
    send(watched, rows(400, seed=301), 3, version=2)
    close(watched, 3)
    evaluate(watched, "m")
    (alert,) = queries.alerts(watched, all=True)
    assert alert.state == "resolved"


def test_columns_that_begin_together_are_one_alert(workspace: Workspace) -> None:
    watched = watch(workspace)
    serve(watched, rows(2000, seed=1))
    for window in range(2):
        frame = rows(400, seed=310 + window, shift=8)
        frame["age"] += 20
        send(watched, frame, window)
    close(watched, 1)
    evaluate(watched, "m")
    (alert,) = queries.alerts(watched)
    assert set(alert.columns) == {"amount", "age"}


def test_a_fenced_attempt_writes_nothing(watched: Workspace) -> None:
    def fence(tx: Any) -> None:
        raise FencedError

    send(watched, rows(400, seed=320), 0)
    close(watched, 0)
    with pytest.raises(FencedError):
        evaluate(watched, "m", fence=fence)
    with watched.state.read() as tx:
        assert tx.exec(select(Result)).all() == []


def test_an_all_missing_column_and_an_empty_category_are_judged_without_a_crash(watched: Workspace) -> None:
    frame = rows(400, seed=330)
    frame["age"] = np.nan
    frame["channel"] = pd.Series([None] * 400, dtype=object)
    send(watched, frame, 0)
    close(watched, 0)
    (result,) = judged_rows(watched)
    assert str(result.verdict) == "found"


def test_the_report_hangs_on_the_alert(watched: Workspace) -> None:
    for window in range(2):
        send(watched, rows(400, seed=340 + window, shift=8), window)
    close(watched, 1)
    evaluate(watched, "m")
    (alert,) = queries.alerts(watched)
    digest = make_report(watched, alert.id)
    assert queries.alert(watched, alert.id).report == digest
    assert watched.artifacts.read(digest) == b"<html>2000 against 800</html>"


def test_a_report_of_what_no_window_showed_is_refused_with_the_next_step(watched: Workspace) -> None:
    with watched.state.write("test") as tx:
        open_outage(tx, watched, "d", 1, "version 1 took the gateway along")
    for verb in (make_report, request_report):
        with pytest.raises(NotFoundError, match=r"alert/1 is of kind outage, .* `quarterdeck incident 1` tells"):
            verb(watched, 1)
    assert "alert.report_requested" not in kinds_of_events(watched)


def test_a_report_of_rows_that_are_gone_says_so(watched: Workspace) -> None:
    drifting(watched, range(2), shift=8)
    with watched.traffic.write("test") as tx:
        tx.execute(delete(Prediction))
    with pytest.raises(NotFoundError, match=r"No prediction of version 1 is recorded from 2026-01-05 00:00 to"):
        make_report(watched, 1)


def test_a_webhook_gets_the_alert_with_the_line_that_opens_it(watched: Workspace) -> None:
    for window in range(2):
        send(watched, rows(400, seed=350 + window, shift=8), window)
    close(watched, 1)
    evaluate(watched, "m")
    telling, (webhook,) = told(watched, "http://127.0.0.1:1/hook")
    message = queued(telling, 1)
    tell(telling, message, webhook)
    tell(telling, message, webhook)
    tell(telling, message, "one that is in the settings no more")
    notifier = watched.ports.notifier
    assert isinstance(notifier, FakeNotifier)
    (_, payload, key), (_, _, again) = notifier.sent
    assert payload["open"] == "quarterdeck open alert/1"
    assert payload["columns"] == ["amount"]
    assert key == again


def test_acknowledging_keeps_who_and_what_they_judged(watched: Workspace) -> None:
    for window in range(5):
        send(watched, rows(400, seed=360 + window, shift=8 if window < 2 else 0), window)
    close(watched, 1)
    evaluate(watched, "m")
    acknowledge(watched, 1, Judgement.NOISE, actor="ada")
    alert = queries.alert(watched, 1)
    assert (alert.state, alert.acknowledged_by, alert.judgement) == ("acknowledged", "ada", "noise")
    close(watched, 4)
    evaluate(watched, "m")
    with pytest.raises(IllegalTransitionError, match="resolved"):
        acknowledge(watched, 1, Judgement.REAL)


def drifting(workspace: Workspace, windows: range, *, shift: float) -> None:
    for window in windows:
        send(workspace, rows(400, seed=700 + window, shift=shift), window)
    close(workspace, windows[-1])
    evaluate(workspace, "m")


def test_what_comes_back_within_a_day_is_the_same_alert_and_nobody_has_it_any_more(watched: Workspace) -> None:
    drifting(watched, range(2), shift=8)
    acknowledge(watched, 1, Judgement.REAL, actor="ada")
    drifting(watched, range(2, 6), shift=0)
    assert queries.alert(watched, 1).state == "resolved"
    drifting(watched, range(6, 8), shift=8)
    (alert,) = queries.alerts(watched, all=True)
    assert (alert.state, alert.reopened, alert.acknowledged_by, alert.resolved_at) == ("open", 1, None, None)
    assert kinds_of_events(watched)[-1] == "alert.reopened"
    drifting(watched, range(8, 12), shift=0)
    clock = watched.ports.clock
    assert isinstance(clock, FakeClock)
    clock.advance(days=1, seconds=1)
    drifting(watched, range(30, 32), shift=8)
    assert [alert.id for alert in queries.alerts(watched)] == [2], "a day later it is another one"


def test_what_comes_back_days_later_by_event_time_is_another_alert_however_fast_days_are_judged(
    watched: Workspace,
) -> None:
    clock = watched.ports.clock
    assert isinstance(clock, FakeClock)
    clock.advance(days=10)
    drifting(watched, range(2), shift=8)
    drifting(watched, range(2, 6), shift=0)
    assert queries.alert(watched, 1).state == "resolved"
    drifting(watched, range(40, 42), shift=8)
    assert [(alert.id, alert.onset) for alert in queries.alerts(watched)] == [(2, START + 40 * HOUR)]


def test_an_alert_about_one_slice_that_grows_to_all_rows_is_about_all_of_them(watched: Workspace) -> None:
    for window in range(2):
        send(watched, rows(600, seed=700 + window, shift=10, only="app"), window)
    close(watched, 1)
    evaluate(watched, "m")
    assert queries.alert(watched, 1).slice == "channel=app"
    drifting(watched, range(2, 3), shift=60)
    alert = queries.alert(watched, 1)
    assert (alert.slice, alert.summary.partition(":")[0]) == (None, "amount moved")


def test_a_silence_tells_nobody_but_the_alert_is_followed_and_ends_by_itself(watched: Workspace) -> None:
    drifting(watched, range(2), shift=8)
    until = silence(watched, 1, timedelta(hours=8), reason="known", actor="ada")
    alert = queries.alert(watched, 1)
    assert (alert.state, alert.silenced_until) == ("silenced", until)
    drifting(watched, range(2, 4), shift=8)
    assert [row.id for row in queries.alerts(watched)] == [1], "no second one is opened beside it"
    assert queries.alert(watched, 1).last_window_end > alert.last_window_end
    drifting(watched, range(4, 8), shift=0)
    alert = queries.alert(watched, 1)
    assert (alert.state, alert.silenced_until) == ("resolved", None)
    with pytest.raises(IllegalTransitionError, match="resolved: there is nothing to silence"):
        silence(watched, 1, timedelta(hours=1), reason="known")


def test_a_silence_that_ends_leaves_the_alert_with_whoever_had_it(watched: Workspace) -> None:
    drifting(watched, range(2), shift=8)
    acknowledge(watched, 1, Judgement.REAL, actor="ada")
    silence(watched, 1, timedelta(hours=1), reason="known")
    unsilence(watched, 1)
    assert queries.alert(watched, 1).state == "acknowledged"
    with pytest.raises(IllegalTransitionError, match="acknowledged, not silenced"):
        unsilence(watched, 1)


@pytest.mark.parametrize(
    ("length", "reason", "says"),
    [(timedelta(0), "known", "from 1s to 30d"), (timedelta(days=31), "known", "30d"), (HOUR, "  ", "Say why")],
)
def test_a_silence_without_end_or_reason_is_refused(
    watched: Workspace, length: timedelta, reason: str, says: str
) -> None:
    drifting(watched, range(2), shift=8)
    with pytest.raises(UsageError, match=says):
        silence(watched, 1, length, reason=reason)
    assert queries.alert(watched, 1).state == "open"


def test_an_incident_tells_what_people_did_and_what_happened_meanwhile(watched: Workspace) -> None:
    drifting(watched, range(2), shift=8)
    note(watched, 1, "The shop *changed* its | currency.", actor="ada")
    link_ticket(watched, 1, "https://tickets.example/7", actor="ada")
    serve(watched, rows(2000, seed=2), importances=IMPORTANT)
    acknowledge(watched, 1, Judgement.REAL, actor="bob")
    until = silence(watched, 1, timedelta(hours=2), reason="the shop mends it")
    drifting(watched, range(2, 6), shift=0)
    found = incident(watched, 1)
    own = [moment.what for moment in found.timeline if moment.own]
    assert own[0] == "opened"
    assert own[-1].startswith("resolved: ")
    assert "taken on, judged real" in own
    assert f"silenced until {until:%Y-%m-%d %H:%M:%S} UTC: the shop mends it" in own
    assert any("deployment/d: deployed" in moment.what for moment in found.timeline if not moment.own)
    page = as_markdown(found)
    assert page.startswith("# Alert 1: amount moved")
    assert "- **Ticket:** https://tickets.example/7" in page
    assert f"| {found.timeline[0].at:%Y-%m-%d %H:%M:%S} |" in page
    assert "| ada | The shop \\*changed\\* its \\| currency. |" in page
    with pytest.raises(UsageError, match="1 to 4,000 characters"):
        note(watched, 1, " ")
    assert "- **Began (event time):** 2026-01-05T00:00:00" in page
    assert "- **Opened (clock):** 2026-01-05T12:00:00" in page
    assert "| when (clock, UTC) | who | what |" in page
    with pytest.raises(UsageError, match="on one line"):
        link_ticket(watched, 1, "a\nb")


def test_an_outage_begins_by_the_clock(watched: Workspace) -> None:
    with watched.state.write("test") as tx:
        open_outage(tx, watched, "d", 1, "version 1 took the gateway along")
    assert "- **Began (clock):** 2026-01-05T12:00:00" in as_markdown(incident(watched, 1))


@pytest.mark.parametrize(
    "ticket",
    ["javascript:alert(1)", "JavaScript:alert(1)", "data:text/html,x", "file:///etc/passwd", "vbscript:x", "ftp://a/b"],
)
def test_a_ticket_that_a_browser_would_run_or_open_elsewhere_is_refused(watched: Workspace, ticket: str) -> None:
    drifting(watched, range(2), shift=8)
    with pytest.raises(UsageError, match="A ticket is a URL of http or https, or a number such as OPS-12"):
        link_ticket(watched, 1, ticket)
    assert queries.alert(watched, 1).ticket is None
    for known in ("OPS-12", "#7", "http://tickets.example/7", "HTTPS://tickets.example/7", "the board: column 3"):
        link_ticket(watched, 1, known)
        assert queries.alert(watched, 1).ticket == known


def test_a_resolved_alert_says_what_was_worst_and_when(watched: Workspace) -> None:
    for window, shift in enumerate((6, 30, 4)):
        send(watched, rows(400, seed=500 + window, shift=shift), window)
    close(watched, 2)
    evaluate(watched, "m")
    (alert,) = queries.alerts(watched)
    assert alert.summary.startswith("amount moved: 0.3")
    drifting(watched, range(3, 6), shift=0)
    (alert,) = queries.alerts(watched, all=True)
    assert alert.state == "resolved"
    assert alert.summary.startswith("amount moved: 3")
    assert alert.summary.endswith(" (at its worst, 2026-01-05 01:00 UTC)")
    # When it comes back it says what it finds then, and remembers.
    drifting(watched, range(6, 8), shift=8)
    (alert,) = queries.alerts(watched)
    assert (alert.reopened, "worst" in alert.summary) == (1, False)
    drifting(watched, range(8, 11), shift=0)
    (alert,) = queries.alerts(watched, all=True)
    assert alert.summary.endswith(" (at its worst, 2026-01-05 01:00 UTC)")


def test_owner_and_runbook_of_a_monitor_go_with_its_alerts(workspace: Workspace) -> None:
    owned = watch(workspace, owner="payments team", runbook="https://wiki.example/fraud")
    serve(owned, rows(2000, seed=1), importances=IMPORTANT)
    drifting(owned, range(2), shift=8)
    alert = queries.alert(owned, 1)
    assert (alert.owner, alert.runbook) == ("payments team", "https://wiki.example/fraud")
    telling, (webhook,) = told(owned, "http://127.0.0.1:1/hook")
    tell(telling, queued(telling, 1), webhook)
    notifier = owned.ports.notifier
    assert isinstance(notifier, FakeNotifier)
    ((_, payload, _),) = notifier.sent
    assert payload["runbook"] == "https://wiki.example/fraud"


def test_a_secret_that_is_not_there_is_named_and_nothing_is_sent(
    watched: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    drifting(watched, range(2), shift=8)
    monkeypatch.delenv("PAGER_KEY", raising=False)
    pager = {"url": "https://events.example.org", "format": "pagerduty", "secret": "PAGER_KEY"}
    telling, (webhook,) = told(watched, pager)
    message = queued(telling, 1)
    with pytest.raises(UsageError, match=r"PAGER_KEY, which a webhook under \[notifications\] names"):
        tell(telling, message, webhook)
    monkeypatch.setenv("PAGER_KEY", "routing")
    tell(telling, message, webhook)
    notifier = watched.ports.notifier
    assert isinstance(notifier, FakeNotifier)
    ((_, payload, _),) = notifier.sent
    assert (payload["routing_key"], payload["event_action"]) == ("routing", "trigger")


def test_an_unknown_monitor_and_an_unknown_alert_are_named(watched: Workspace) -> None:
    with pytest.raises(NotFoundError, match=r"no monitor 'x'\. Known: m"):
        evaluate(watched, "x")
    with pytest.raises(NotFoundError, match="no alert 9"):
        queries.alert(watched, 9)


def test_a_monitor_whose_deployment_is_still_to_come_judges_nothing(workspace: Workspace) -> None:
    done = evaluate(watch(workspace), "m")
    assert done.nothing_deployed
    assert done.results == []


def test_too_little_data_never_resolves_an_alert(watched: Workspace) -> None:
    for window in range(5):
        send(watched, rows(400 if window < 2 else 5, seed=400 + window, shift=8 if window < 2 else 0), window)
    close(watched, 4)
    evaluate(watched, "m")
    (alert,) = queries.alerts(watched, all=True)
    assert alert.state == "open"


def test_a_handful_of_labels_never_pages(watched: Workspace) -> None:
    for window in range(2):
        ids = send(watched, rows(8, seed=410 + window), window, scores=[0.9, 0.1] * 4)
        label(watched, ids, [0, 1] * 4)
    close(watched, 1)
    verdicts = {str(r.verdict) for r in judged_rows(watched) if str(r.aspect) == "quality"}
    assert verdicts == {"inconclusive"}
    assert queries.alerts(watched, all=True) == []


def test_a_clock_that_runs_ahead_closes_no_window_early(watched: Workspace) -> None:
    clock = watched.ports.clock
    assert isinstance(clock, FakeClock)
    clock.moment = START + 1.5 * HOUR
    send(watched, rows(400, seed=420), 0)
    send(watched, rows(1, seed=421), 24 * 365)
    assert len(judged_rows(watched)) == 1
    clock.moment = START + 2.5 * HOUR
    send(watched, rows(400, seed=422, shift=8), 1)
    assert [str(r.verdict) for r in judged_rows(watched)] == ["found"]


def test_predictions_of_a_version_that_is_not_known_here_do_not_stop_the_others(watched: Workspace) -> None:
    send(watched, rows(400, seed=430), 0)
    send(watched, rows(10, seed=431), 0, version=99)
    close(watched, 0)
    assert {(r.version, str(r.verdict)) for r in judged_rows(watched)} == {(1, "quiet"), (99, "inconclusive")}


def test_a_watched_column_that_the_model_does_not_take_is_named(workspace: Workspace) -> None:
    watched = watch(workspace, columns=("amonut",))
    serve(watched, rows(2000, seed=1))
    send(watched, rows(400, seed=440), 0)
    close(watched, 0)
    with pytest.raises(SettingsError, match="amonut"):
        evaluate(watched, "m")
