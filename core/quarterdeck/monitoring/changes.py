"""What was changed before an alert began, as events and lineage tell it: revisions, data versions, code, schemas."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlmodel import Session, col, select

from quarterdeck import lineage
from quarterdeck.datasets.dataset import Dataset
from quarterdeck.datasets.version import DatasetVersion
from quarterdeck.errors import NotFoundError
from quarterdeck.events import Event
from quarterdeck.monitoring.serving import MOVES
from quarterdeck.registry.signature import Signature
from quarterdeck.registry.version import ModelVersion, find_version

Clock = Callable[[datetime], datetime]
"""A moment of the clock as event time."""
MOST_NAMED = 4
MOST_VERSIONS = 200
"""So many of the newest data versions are compared, each with the one before it."""
RAN = ("run.succeeded", "run.held")
VERBS = {
    "deployment.deployed": "was deployed",
    "deployment.rolled_back": "came back by a rollback",
    "deployment.undone": "came back by an undo",
}


@dataclass(frozen=True, slots=True)
class Move:
    """A change of what a deployment answers with."""

    event: Event
    when: datetime
    """In event time."""
    model: str
    version: int
    before: int | None
    """The version that answered until then; None for the first one."""
    revision: int

    @property
    def words(self) -> str:
        return f"version {self.version} {VERBS[self.event.kind]}"


@dataclass(frozen=True, slots=True)
class Change:
    """Something else that was changed, with a sentence about it."""

    kind: str
    """`data`, `code`, `packages` or `schema`."""
    reference: str
    at: datetime
    """By the clock."""
    when: datetime
    """In event time."""
    what: str
    columns: tuple[str, ...] = ()


def moves_before(tx: Session, deployment: str, end: datetime, clock: Clock) -> list[Move]:
    """The changes of a deployment that happened before `end`, in event time; oldest first."""
    query = select(Event).where(Event.subject == f"deployment/{deployment}", col(Event.kind).in_(MOVES))
    moves: list[Move] = []
    before = None
    for event in tx.exec(query.order_by(col(Event.id))):
        when = clock(event.at)
        if when < end:
            moves.append(Move(event, when, event.data["model"], event.data["version"], before, event.data["to"]))
        before = event.data["version"]
    return moves


def in_force(moves: Sequence[Move], start: datetime) -> list[Move]:
    """The last of the moves before `start`, and those after it: what was replaced again before is none of them."""
    earlier = [move for move in moves if move.when < start]
    return earlier[-1:] + [move for move in moves if move.when >= start]


def learnt_otherwise(tx: Session, move: Move, clock: Clock) -> Iterator[Change]:
    """How the version that came differs from the one before it: data, code, packages and what it takes."""
    if move.before is None or move.before == move.version:
        return
    new, old = f"version/{move.model}@{move.version}", f"version/{move.model}@{move.before}"
    sources, known = lineage.upstream(tx, new), lineage.upstream(tx, old)
    former = [name for name in known if name.startswith("data/")]
    for reference in sources:
        if reference.startswith("data/") and reference not in known:
            event = _newest(tx, reference, ("data.added",))
            if event is not None:
                learnt = ", ".join(name.removeprefix("data/") for name in former) or "data that is not known"
                what = f"version {move.version} learnt from it, version {move.before} from {learnt}"
                yield Change("data", reference, event.at, clock(event.at), what)
    yield from _other_code(tx, move, sources, known, clock)
    yield from _other_version(tx, move, new, clock)


def _other_code(
    tx: Session, move: Move, sources: Sequence[str], known: Sequence[str], clock: Clock
) -> Iterator[Change]:
    new, old = (_newest(tx, _run_of(names), RAN) for names in (sources, known))
    if new is None or old is None or new.data.get("source") in (None, old.data.get("source")):
        return
    if old.data.get("source") is None:
        return
    commit = new.data.get("commit")
    at = f" (commit {str(commit)[:10]})" if commit else ""
    what = f"version {move.version} was trained by other pipeline code{at} than version {move.before} by {old.subject}"
    yield Change("code", new.subject, new.at, clock(new.at), what)


def _other_version(tx: Session, move: Move, reference: str, clock: Clock) -> Iterator[Change]:
    try:
        new, old = (find_version(tx, move.model, number) for number in (move.version, move.before or 0))
    except NotFoundError:
        return  # An outside system named a version that is not registered here.
    when = clock(new.created_at)
    packages = _other_packages(new, old)
    if packages:
        yield Change("packages", reference, new.created_at, when, f"version {new.number} was made with {packages}")
    taken = _other_features(new, old)
    if taken:
        what = f"version {new.number} takes other inputs than version {old.number}: {_some(list(taken.values()))}"
        yield Change("schema", reference, new.created_at, when, what, tuple(taken))


def schema_changes(tx: Session, datasets: Sequence[str], clock: Clock) -> Iterator[Change]:
    """The data versions whose table differs in shape from the version before it."""
    query = select(DatasetVersion, Dataset.name).join(Dataset).where(col(Dataset.name).in_(datasets))
    before: dict[str, DatasetVersion] = {}
    newest = tx.exec(query.order_by(col(DatasetVersion.id).desc()).limit(MOST_VERSIONS)).all()
    for version, name in reversed(newest):
        former, before[name] = before.get(name), version
        found = {} if former is None else _other_columns(version.columns, former.columns)
        notes = [*found.values(), *version.warnings]
        if former is not None and notes:
            at = version.created_at
            what = f"unlike version {former.number}: {_some(notes)}"
            yield Change("schema", f"data/{name}@{version.number}", at, clock(at), what, tuple(found))


def data_versions(tx: Session, datasets: Sequence[str], clock: Clock) -> Iterator[tuple[str, datetime]]:
    """The newest versions of those datasets, and when each was added, in event time."""
    query = select(DatasetVersion, Dataset.name).join(Dataset).where(col(Dataset.name).in_(datasets))
    for version, name in tx.exec(query.order_by(col(DatasetVersion.id).desc()).limit(MOST_VERSIONS)):
        yield f"data/{name}@{version.number}", clock(version.created_at)


def datasets_of(tx: Session, model: str, versions: Sequence[int]) -> list[str]:
    """The datasets that any of those versions was made from."""
    names = [name for number in versions for name in lineage.upstream(tx, f"version/{model}@{number}")]
    return sorted({name.removeprefix("data/").partition("@")[0] for name in names if name.startswith("data/")})


def _newest(tx: Session, subject: str | None, kinds: Sequence[str]) -> Event | None:
    if subject is None:
        return None
    query = select(Event).where(Event.subject == subject, col(Event.kind).in_(kinds))
    return tx.exec(query.order_by(col(Event.id).desc()).limit(1)).first()


def _run_of(names: Sequence[str]) -> str | None:
    return next((name for name in names if name.startswith("run/")), None)


def _other_packages(new: ModelVersion, old: ModelVersion) -> str:
    if not new.environment or not old.environment:
        return ""
    differ = sorted(name for name in new.environment if new.environment[name] != old.environment.get(name))
    return _some([f"{name} {new.environment[name]} instead of {old.environment.get(name, 'none')}" for name in differ])


def _other_features(new: ModelVersion, old: ModelVersion) -> dict[str, str]:
    ours, theirs = ({one.name: one for one in Signature.from_dict(v.signature).features} for v in (new, old))
    told = {name: f"{name} is new" for name in ours if name not in theirs}
    told |= {name: f"{name} is gone" for name in theirs if name not in ours}
    for name, feature in ours.items():
        if name in theirs and feature.type != theirs[name].type:
            told[name] = f"{name} is {feature.type}, was {theirs[name].type}"
    return told


def _other_columns(new: list[dict[str, Any]], old: list[dict[str, Any]]) -> dict[str, str]:
    ours, theirs = ({one["name"]: one for one in columns} for columns in (new, old))
    told = {name: f"{name} is new" for name in ours if name not in theirs}
    told |= {name: f"{name} is gone" for name in theirs if name not in ours}
    for name, column in ours.items():
        former = theirs.get(name)
        if former is None:
            continue
        unseen = sorted(set(column["categories"] or ()) - set(former["categories"] or column["categories"] or ()))
        if column["type"] != former["type"]:
            told[name] = f"{name} is {column['type']}, was {former['type']}"
        elif column["nullable"] and not former["nullable"]:
            told[name] = f"{name} has missing values, had none"
        elif unseen:
            told[name] = f"{name} has {_some(unseen)}, had not"
    return told


def _some(words: Sequence[str]) -> str:
    more = len(words) - MOST_NAMED
    return ", ".join(words[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
