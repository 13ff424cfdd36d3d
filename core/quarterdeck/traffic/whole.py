"""What is known of all rows of a window that is too large to be held, beside a sample of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from zlib import crc32

import numpy as np

from quarterdeck.statistics.sketch import ColumnSketch, merged


@dataclass(frozen=True, slots=True)
class Whole:
    """All rows that one version answered."""

    n: int
    labelled: int
    """How many have a label; 0 where labels were not asked for."""
    inputs: Mapping[str, ColumnSketch]
    """The features that were to be sketched, by name."""


def together(parts: Sequence[Whole]) -> Whole:
    """What several versions answered, as one; the parts are to be used no more."""
    if len(parts) == 1:
        return parts[0]
    inputs = {name: merged([part.inputs[name] for part in parts], (crc32(name.encode()),)) for name in parts[0].inputs}
    return Whole(sum(part.n for part in parts), sum(part.labelled for part in parts), inputs)


def in_proportion(versions: Sequence[int], whole: Mapping[int, Whole], groups: Iterable[Sequence[int]]) -> list[bool]:
    """Which rows of a sample to keep, so that the versions of a group have a share of it as of all rows.

    `versions` says for each row of the sample who answered it.
    """
    held, by, random = Counter(versions), np.array(versions, dtype=np.int64), np.random.default_rng(0)
    kept = np.ones(by.size, dtype=bool)
    for group in groups:
        share = min(held[version] / whole[version].n for version in group)
        for version in group:
            places = random.permutation(np.flatnonzero(by == version))
            kept[places[round(share * whole[version].n) :]] = False
    return [bool(one) for one in kept]
