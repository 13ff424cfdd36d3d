"""The labelled traffic of a deployment, cut by event time into what is learnt from and what is compared on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlmodel import Session

from quarterdeck.deployments.deployment import Deployment
from quarterdeck.deployments.fitness import signature_difference
from quarterdeck.deployments.revision import newest_of_versions
from quarterdeck.registry.version import ModelVersion, find_version
from quarterdeck.traffic.window import WindowRows, label_coverage, merge_windows, newest_window, watermark
from quarterdeck.workspace import Workspace

ROWS = 20_000
"""At most so many labelled rows of each version are looked at: the newest."""
VERSIONS = 4
"""At most so many earlier versions give rows to learn from."""
NO_LAG = timedelta(0)


@dataclass(frozen=True, slots=True)
class Cut:
    """Labelled rows before and after a moment; the rows of a gap between them are left out."""

    before: WindowRows
    after: WindowRows


@dataclass(frozen=True, slots=True)
class Evidence:
    """What there is to compare on, and to learn from."""

    held: WindowRows
    """The newest labelled rows that the serving version answered: every candidate is judged on these."""
    recent: WindowRows
    """Labelled rows of the same features that are older, whoever answered them."""
    behind: timedelta
    """How far the labels are behind the traffic. A model that was trained when the compared rows began would not have
    known the labels of so long before them, so those rows are left out."""
    coverage: float
    """The share of the serving version's predictions, in the time of the compared rows, whose label is known."""


def compatible_versions(tx: Session, deployment: Deployment, serving: ModelVersion) -> list[int]:
    """The newest other versions that the deployment was meant to serve, and that take the same inputs."""
    assert deployment.id is not None
    newest = newest_of_versions(tx, deployment.id)
    others = sorted((number for number in newest if number != serving.number), key=lambda n: -newest[n])
    found = (find_version(tx, deployment.model, number) for number in others)
    return [one.number for one in found if signature_difference(serving, one) is None][:VERSIONS]


def gather(
    workspace: Workspace, name: str, serving: int, others: list[int], least: int, onset: datetime | None = None
) -> Evidence:
    """Cut the labelled rows: compared are the newest third of the serving version's, `least` at the least.

    With an `onset`, from which on something is wrong, it is the newest third of those since then: what came before
    would hide it, and nothing would be left to learn it from.
    """
    own = newest_window(workspace, name, serving, ROWS).known()
    wrong = own if onset is None else own.at(lambda time: time >= onset)
    held = _newest(own, max(least, wrong.n // 3))
    if not held.n:
        return Evidence(held, held, NO_LAG, 0.0)
    edge = watermark(workspace, name) or held.event_times[-1]
    behind = max(edge - held.event_times[-1], NO_LAG)
    everything = merge_windows([own, *(newest_window(workspace, name, one, ROWS).known() for one in others)])
    until = held.event_times[0] - behind
    end = held.event_times[-1] + timedelta(microseconds=1)
    n, labelled = label_coverage(workspace, name, held.event_times[0], end, version=serving)
    return Evidence(held, everything.at(lambda time: time < until), behind, labelled / max(n, 1))


def cut(rows: WindowRows, gap: timedelta) -> Cut:
    """The newest third of the rows, and those that lie more than `gap` before it."""
    after = _newest(rows, rows.n // 3)
    if not after.n:
        return Cut(rows, after)
    until = after.event_times[0] - gap
    return Cut(rows.at(lambda time: time < until), after)


def _newest(rows: WindowRows, count: int) -> WindowRows:
    """The newest `count` rows, and those of the same moment as the oldest of them: a moment is never cut."""
    if rows.n <= count:
        return rows
    since = rows.event_times[rows.n - count] if count else rows.event_times[-1] + timedelta(microseconds=1)
    return rows.at(lambda time: time >= since)
