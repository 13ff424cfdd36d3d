"""Windows too large to be held: counted and sketched in pieces, and held as a sample."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import blake2b
from itertools import chain
from operator import itemgetter
from zlib import crc32

import numpy as np
from numpy.typing import NDArray
from sqlmodel import Session

from quarterdeck.database import timestamp
from quarterdeck.statistics.column import Kind, of_values
from quarterdeck.statistics.sketch import add_column, sketch_for
from quarterdeck.traffic import segments
from quarterdeck.traffic.segments import Row
from quarterdeck.traffic.whole import Whole
from quarterdeck.traffic.window import WindowRows, decoded, from_json, pieces
from quarterdeck.workspace import Workspace

SLACK = 1.2
"""How many times more rows than are to be kept may be held before the furthest are dropped."""
_VERSION, _INPUTS, _LABEL = 3, 4, -1
"""Places in a row."""


@dataclass(frozen=True, slots=True)
class Sketched:
    """A feature that is to be sketched, and its place in the recorded inputs."""

    place: int
    name: str
    kind: Kind


@dataclass(frozen=True, slots=True)
class Sampling:
    """What is kept of a window."""

    columns: Sequence[Sketched]
    rows: int
    """Of all versions together, in equal parts; of what has fewer than its part all."""
    labelled: bool = False
    """The sample is of rows with a label, and those are counted."""


def sample_window(
    workspace: Workspace,
    deployment: str,
    spans: Sequence[tuple[datetime, datetime]],
    sampling: Sampling,
    takes: Callable[[datetime], bool],
    *,
    version: int | None = None,
) -> WindowRows:
    """The predictions with an event time in one of the spans [start, end) that is taken, without probes: a sample.

    It is uniform, of those of each version, and the same whenever it is drawn, wherever the rows are: those whose ids
    have the least hashes, which begin with the first span's start.
    """
    seed = crc32(timestamp(spans[0][0]).encode())

    def read(tx: Session) -> WindowRows:
        sampler = _Sampler(sampling, takes, seed)
        for start, end in spans:
            for rows in pieces(workspace, tx, deployment, start, end, version=version, labelled=sampling.labelled):
                sampler.add(rows)
        return sampler.window()

    return segments.snapshot(workspace, read)


class _Sampler:
    def __init__(self, sampling: Sampling, takes: Callable[[datetime], bool], seed: int) -> None:
        self._sampling, self._takes, self._seed = sampling, takes, seed
        self._versions: dict[int, _OfVersion] = {}

    def add(self, rows: list[Row]) -> None:
        by_version: dict[int, list[Row]] = {}
        for row in rows:
            if self._takes(datetime.fromisoformat(row[0])):
                by_version.setdefault(row[_VERSION], []).append(row)
        for version, some in by_version.items():
            if version not in self._versions:
                self._versions[version] = _OfVersion(self._sampling, (self._seed, version))
                for one in self._versions.values():
                    one.sample.size = max(1, self._sampling.rows // len(self._versions))
            self._versions[version].add(some)

    def window(self) -> WindowRows:
        held = chain.from_iterable(one.sample.rows() for one in self._versions.values())
        whole = {version: one.whole() for version, one in self._versions.items()}
        return replace(decoded(sorted(held, key=itemgetter(0, 1))), whole=whole)


class _OfVersion:
    """What was seen of the rows that one version answered."""

    def __init__(self, sampling: Sampling, seed: tuple[int, int]) -> None:
        self._sampling = sampling
        self._n = self._labelled = 0
        # A coin of its own for each column: see `QuantileSketch`.
        self._sketches = {
            column.name: sketch_for(column.kind, (*seed, crc32(column.name.encode()))) for column in sampling.columns
        }
        self.sample = _Sample(sampling.rows, seed[0])

    def add(self, rows: list[Row]) -> None:
        self._n += len(rows)
        if self._sampling.labelled:
            rows = [row for row in rows if row[_LABEL] != "null"]
            self._labelled += len(rows)
        self.sample.add(rows)
        if self._sketches and rows:
            by_place = list(zip(*from_json([row[_INPUTS] for row in rows]), strict=True))
            for one in self._sampling.columns:
                add_column(self._sketches[one.name], of_values(one.name, one.kind, by_place[one.place]))

    def whole(self) -> Whole:
        return Whole(self._n, self._labelled, self._sketches)


class _Sample:
    """Of all rows the so many whose ids have the least hashes (bottom-k; Cohen and Kaplan 2007).

    `size` may become less while rows are added, never more.
    """

    def __init__(self, size: int, seed: int) -> None:
        self.size, self._salt = size, seed.to_bytes(4, "big")
        self._rows: list[Row] = []
        self._ranks: NDArray[np.uint64] = np.empty(0, dtype=np.uint64)
        self._limit = np.iinfo(np.uint64).max

    def add(self, rows: list[Row]) -> None:
        hashes = [blake2b(row[1].encode(), digest_size=8, salt=self._salt).digest() for row in rows]
        ranks = np.frombuffer(b"".join(hashes), dtype=np.uint64)
        near = np.flatnonzero(ranks <= self._limit)
        self._rows += [rows[place] for place in near.tolist()]
        self._ranks = np.concatenate((self._ranks, ranks[near]))
        if len(self._rows) > SLACK * self.size:
            self._cut()

    def rows(self) -> list[Row]:
        self._cut()
        return self._rows

    def _cut(self) -> None:
        if len(self._rows) <= self.size:
            return
        least = np.argpartition(self._ranks, self.size)[: self.size]
        self._rows = [self._rows[place] for place in least.tolist()]
        self._ranks = self._ranks[least]
        self._limit = int(self._ranks.max())
