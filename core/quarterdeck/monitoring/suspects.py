"""What may be behind an alert: what was changed, or came in otherwise, before it began; the likeliest first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from sqlmodel import Session

from quarterdeck.monitoring.alert import OF_INPUTS, AlertKind, find_alert
from quarterdeck.monitoring.changes import (
    Change,
    Move,
    datasets_of,
    in_force,
    learnt_otherwise,
    moves_before,
    schema_changes,
)
from quarterdeck.monitoring.onset import Onset, Sign, Strange, answered_well, find_onset, strange_in, windows_before
from quarterdeck.monitoring.result import Verdict
from quarterdeck.monitoring.sampled import off
from quarterdeck.traffic.reached import event_time_at
from quarterdeck.workspace import Workspace

LEAST_SCORE = 0.05
"""What scores below explains nothing."""
CHAIN = {"data": 0.9, "schema": 0.85, "code": 0.8, "packages": 0.5}
"""What made a version stands below the revision that put it there, in this order."""
BY_CLOCK = (AlertKind.OUTAGE, AlertKind.SLO)
CONCEPT = 0.9
"""Nothing that was changed, and nothing that came in, explains it."""
WINDOWS = 60
"""So many windows before the onset are looked at for how long something had been so, or quiet."""
UNITS = {"wasserstein_normed": " sigma", "jensen_shannon": " Jensen-Shannon", "share_moved": " of values"}


@dataclass(frozen=True, slots=True)
class Suspect:
    """Something that may be behind an alert."""

    kind: str
    """`inputs`, `concept`, `revision`, `data`, `schema`, `code` or `packages`."""
    reference: str
    """What it is, as people type it: `data/payments@2`, `revision/fraud@4`; the monitor for inputs."""
    what: str
    when: datetime
    """In event time, as the windows are."""
    at: datetime | None
    """By the clock, where an event tells it; None for what the windows show."""
    seconds_before: float
    """From `when` to the onset of the alert; 0 within its first window."""
    columns: tuple[str, ...]
    score: float
    """How well it fits the alert, times how much of the alert's columns it explains, times how near it is: 0 to 1."""
    why: str


def suspects(workspace: Workspace, alert_id: int) -> tuple[Suspect, ...]:
    """What may be behind an alert, the likeliest first.

    The rule: `score = fit * overlap * nearness`.

    - *fit* asks whether this can be the cause of that kind of alert, by the alert's first window as every version
      judged it. What is strange to the serving version and to every earlier one that was asked has its cause in what
      comes in (1, and 0.8 where no earlier one was asked). What is strange to the new version only has its cause in
      the revision that put it there (1). Else a revision has 0.8 for worse answers to inputs that both know, 0.5
      where the earlier version could not be asked, 0.3 for worse answers to what is strange to both or where nothing
      served before, 0.2 where it put the same version there, and 0.1 for inputs that are strange to both. What a
      version was made from, otherwise than the one before it, stands just below its revision: data 0.9 of it,
      schema 0.85, code 0.8, packages 0.5. For worse answers to inputs of which none is strange, after windows in
      which the version answered well, what inputs mean has 0.9, and its revision nothing.
    - *overlap* is 1 for the alert's own columns, half for others; for an alert on a metric, the share of the columns
      in the model's quality, 0.1 at least.
    - *nearness* is `1 / (1 + gap / reach)`: the gap from it to the onset, over the k windows of `persistence`.

    Times are event time: a moment of the clock is placed where the traffic was by then (`traffic.reached`). Nothing
    counts that happened after the alert's first window, was replaced again before it, or belongs to another
    deployment or dataset; nor a first revision that had served a window in which the alert's columns were quiet.

    Raises:
        NotFoundError: there is no such alert.
    """
    with workspace.state.read() as tx:
        alert = find_alert(tx, alert_id)
        onset = find_onset(tx, workspace, alert)
        return _ranked(_Search(tx, workspace, onset).found())


def _ranked(found: Iterable[Suspect]) -> tuple[Suspect, ...]:
    best: dict[tuple[str, str, str], Suspect] = {}
    for one in found:
        # A data version may be there for what was learnt from it and for its shape.
        key = (one.kind, one.reference, one.what if one.kind in ("inputs", "revision") else "")
        if one.score >= LEAST_SCORE and (key not in best or one.score > best[key].score):
            best[key] = one
    return tuple(sorted(best.values(), key=lambda one: (-one.score, one.seconds_before, one.kind)))


class _Search:
    """One look for suspects: the alert's first window, and what was in force in it."""

    def __init__(self, tx: Session, workspace: Workspace, onset: Onset) -> None:
        self.tx = tx
        self.onset = onset
        self.alert = onset.alert
        # An outage and a budget are known by the clock: they have no window of event time.
        by_clock = self.alert.kind in BY_CLOCK
        self.clock = (lambda at: at) if by_clock else partial(event_time_at, workspace, self.alert.deployment)
        self.moves = moves_before(tx, self.alert.deployment, onset.end, self.clock)
        self.of_inputs = self.alert.kind in OF_INPUTS
        served = {move.version for move in self.moves} - {onset.version}
        self.asked = {version: found for version, found in onset.others.items() if version in served}
        self.earlier = windows_before(tx, onset, WINDOWS)

    def found(self) -> Iterator[Suspect]:
        if self.alert.kind not in BY_CLOCK:
            yield from self._inputs()
        if self.alert.kind is AlertKind.QUALITY:
            yield from self._concept()
        for move in in_force(self.moves, self.onset.start):
            if move.version == self.onset.version:
                yield from self._revision(move)
        yield from self._schemas()

    def _inputs(self) -> Iterator[Suspect]:
        """Columns that came in otherwise, by how they did; the alert's own apart from others."""
        groups: dict[tuple[Sign, bool], Strange] = {}
        for (column, sign), row in self.onset.strange.items():
            if all((column, sign) in found for found in self.asked.values()):
                groups.setdefault((sign, column in self.alert.columns), {})[column, sign] = row
        for (sign, _), rows in groups.items():
            columns = tuple(column for column, _ in rows)
            since = self.onset.start
            for window in self.earlier:
                if not set(rows) <= set(strange_in([window])):
                    break
                since = window.window_start
            fit = 1.0 if self.asked else 0.8
            words = "; ".join(_in_words(column, sign, row) for (column, _), row in rows.items())
            yield Suspect(
                kind="inputs",
                reference=f"monitor/{self.alert.monitor}",
                what=words,
                when=since,
                at=None,
                seconds_before=self._gap(since).total_seconds(),
                columns=columns,
                score=fit * self._overlap(columns) * self._nearness(since),
                why=self._why_inputs(),
            )

    def _concept(self) -> Iterator[Suspect]:
        """What inputs mean: none is strange, and the version had answered well."""
        move = next((one for one in in_force(self.moves, self.onset.start) if one.version == self.onset.version), None)
        well = None if move is None else answered_well(self.tx, self.onset, move.when)
        if well is None or self.onset.strange:
            return
        place = f" in {self.alert.slice}" if self.alert.slice else ""
        yield Suspect(
            kind="concept",
            reference=f"monitor/{self.alert.monitor}",
            what=f"the same inputs mean something else{place}",
            when=self.onset.start,
            at=None,
            seconds_before=0.0,
            columns=(),
            score=CONCEPT,
            why=f"no column moved, and version {self.onset.version} had answered well until {well:%Y-%m-%d %H:%M}",
        )

    def _why_inputs(self) -> str:
        version = self.onset.version
        if self.asked:
            others = ", ".join(str(number) for number in sorted(self.asked))
            return f"strange to version {version} and to version {others} alike: it comes from upstream"
        if self._was_quiet(version):
            return f"version {version} had served quiet windows before: the change came from upstream"
        return f"no earlier version could be asked whether it is strange to version {version} only"

    def _revision(self, move: Move) -> Iterator[Suspect]:
        fit, columns, why = self._fit(move)
        if fit == 0.0:
            return
        before = f", in place of version {move.before}" if move.before is not None else ""
        reason = f" ({move.event.data['reason']})" if move.event.data.get("reason") else ""
        who = f"revision {move.revision}, by {move.event.actor}{reason}"
        overlap = self._overlap(columns) if columns and self.of_inputs else 1.0
        yield Suspect(
            kind="revision",
            reference=f"revision/{self.alert.deployment}@{move.revision}",
            what=f"{move.words}{before}: {who}",
            when=move.when,
            at=move.event.at,
            seconds_before=self._gap(move.when).total_seconds(),
            columns=columns,
            score=fit * overlap * self._nearness(move.when),
            why=why,
        )
        for change in learnt_otherwise(self.tx, move, self.clock):
            part = CHAIN[change.kind] * fit * overlap
            because = why if fit == 1.0 else f"it made version {move.version}"
            yield self._of_change(change, part, change.columns or columns, because)

    def _fit(self, move: Move) -> tuple[float, tuple[str, ...], str]:
        """How well a revision explains the alert, by which columns, and why."""
        new, old = move.version, move.before
        if self.alert.kind is AlertKind.OUTAGE:
            return 1.0, (), f"version {new} is what took the gateway along"
        well = self.alert.kind is AlertKind.QUALITY and answered_well(self.tx, self.onset, move.when) is not None
        if old is None:
            if well or self._was_quiet(new):
                return 0.0, (), ""
            return 0.3, (), f"version {new} is the first that served, and had seen no quiet window"
        if old == new:
            return 0.2, (), f"it served version {new} before and after"
        only = tuple(dict.fromkeys(column for column, _ in self.onset.familiar_to(old)))
        if only and (not self.of_inputs or set(only) & set(self.alert.columns)):
            return 1.0, only, f"{_listed(only)} is strange to version {new} and familiar to version {old}"
        if well:
            return 0.0, (), ""
        if old not in self.asked:
            return 0.5, (), f"version {old} could not be asked about that window"
        both = tuple(dict.fromkeys(column for column, _ in self.onset.strange))
        if self.of_inputs:
            return 0.1, self._own(both), f"{_listed(self._own(both))} is as strange to version {old}"
        if both:
            return 0.3, both, f"{_listed(both)} is strange to version {old} too"
        return 0.8, (), f"what comes in is familiar to versions {old} and {new} alike: the answers differ"

    def _own(self, columns: Sequence[str]) -> tuple[str, ...]:
        return tuple(column for column in columns if column in self.alert.columns)

    def _was_quiet(self, version: int) -> bool:
        """Whether a version had served a window in which nothing that the alert is about was strange."""
        judged = (one for one in self.earlier if one.version == version and one.verdict is not Verdict.INCONCLUSIVE)
        if not self.of_inputs:
            return any(one.verdict is Verdict.QUIET for one in judged)
        return any(not self._own([column for column, _ in strange_in([one])]) for one in judged)

    def _schemas(self) -> Iterator[Suspect]:
        """Data versions of another shape, in the datasets that the deployment's versions were made from."""
        if not self.moves:
            return
        model, versions = self.moves[-1].model, sorted({move.version for move in self.moves})
        for change in schema_changes(self.tx, datasets_of(self.tx, model, versions), self.clock):
            yield self._of_change(change, CHAIN["schema"] * self._overlap(change.columns), change.columns, "")

    def _of_change(self, change: Change, part: float, columns: tuple[str, ...], why: str) -> Suspect:
        late = change.when >= self.onset.end
        return Suspect(
            kind=change.kind,
            reference=change.reference,
            what=change.what,
            when=change.when,
            at=change.at,
            seconds_before=self._gap(change.when).total_seconds(),
            columns=columns,
            score=0.0 if late else part * self._nearness(change.when),
            why=why or "it shows what the source gives now",
        )

    def _gap(self, when: datetime) -> timedelta:
        return max(self.onset.start - when, timedelta())

    def _nearness(self, when: datetime) -> float:
        return 1 / (1 + self._gap(when) / self.onset.reach)

    def _overlap(self, columns: Sequence[str]) -> float:
        if self.of_inputs:
            return 1.0 if set(columns) & set(self.alert.columns) else 0.5
        weights = {column: float(row.get("importance", 0.0)) for (column, _), row in self.onset.strange.items()}
        return min(max(sum(weights.get(column, 0.0) for column in columns), 0.1), 1.0)


def _in_words(column: str, sign: Sign, row: dict[str, object]) -> str:
    if sign is Sign.MISSING:
        return f"{row['missing_current']:.0%} of {column} missing, {row['missing_reference']:.0%} in the reference"
    if sign is Sign.UNSEEN:
        return f"{row['unseen']:.0%} of {column} are values that the reference has not"
    place = f" in {row['slice']}" if row.get("slice") else ""
    return f"{column} moved{place} by {row['effect']:.2g}{UNITS.get(str(row.get('measure')), '')}{off(row)}"


def _listed(columns: Sequence[str]) -> str:
    return ", ".join(columns)
