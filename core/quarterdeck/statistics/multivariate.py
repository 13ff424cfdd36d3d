"""Shifts that no single column shows: can a classifier tell both samples apart, and do they lie in one plane?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from quarterdeck.statistics.column import Column
from quarterdeck.statistics.distance import Floats

Rows = NDArray[np.int64]

MOST_ROWS = 1_000
"""Of each side, drawn at random: more cost more than they tell."""
TREES, LEAST_LEAF = 30, 5
NAMED = 3
EXPLAINED = 0.65
"""The share of the variance that the kept components explain."""
FURTHEST = 10.0
"""In standard deviations: one outlier is not the whole plane."""
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Separation:
    """How well a classifier tells the current rows from the reference's: an AUC of 0.5 is not at all."""

    auc: float
    low: float
    high: float
    """The 95% interval of Hanley and McNeil 1982."""
    columns: tuple[str, ...]
    """Those that it goes by most, at most three."""


@dataclass(frozen=True, slots=True)
class Reconstruction:
    """How far rows lie from the plane of the reference's principal components."""

    reference: float
    current: float
    """Mean distance of a row, in standard deviations of the columns."""
    effect: float
    """Their difference in standard deviations of the reference's distances."""
    p_value: float
    """Two-sided, by Welch's test."""


def separation(reference: Sequence[Column], current: Sequence[Column], *, seed: int = 0) -> Separation:
    """Train extremely randomised trees (Geurts, Ernst and Wehenkel 2006) to tell the two samples apart.

    The rows of one half are judged by what was learnt from the other, and the other way round, so that the AUC, the
    mean of both, is not flattered. Both ask how alike the halves are, so their errors go together and the interval is
    no narrower for there being two. The columns come in the same order in both samples.

    Raises:
        ValueError: a side has fewer than two rows, or there is no column.
    """
    from sklearn import config_context

    # What goes in is finite and of the right kind, and to make sure of that again for each tree costs as much as it.
    with config_context(assume_finite=True, skip_parameter_validation=True):
        return _separation(reference, current, seed)


def _separation(reference: Sequence[Column], current: Sequence[Column], seed: int) -> Separation:
    from sklearn.metrics import roc_auc_score

    halves = [np.array_split(side, 2) for side in _tables(reference, current, np.random.default_rng(seed))]
    aucs, errors, told = [], [], np.zeros(len(reference))
    for learnt, judged in ((0, 1), (1, 0)):
        trees = _trees(halves[0][learnt], halves[1][learnt], seed)
        told += np.sum([tree.feature_importances_ for tree in trees], axis=0)
        before, after = (half[judged] for half in halves)
        rows = np.vstack([before, after]).astype(np.float32)
        scores = np.mean([tree.predict_proba(rows, check_input=False)[:, 1] for tree in trees], axis=0)
        auc = float(roc_auc_score(np.repeat([0, 1], [len(before), len(after)]), scores))
        aucs.append(auc)
        errors.append(math.sqrt(_variance(auc, len(after), len(before))))
    mean = sum(aucs) / 2
    reach = float(ndtri((1 + CONFIDENCE) / 2)) * sum(errors) / 2
    furthest = np.argsort(-told, kind="stable")[:NAMED]
    return Separation(mean, max(mean - reach, 0.0), min(mean + reach, 1.0), tuple(reference[i].name for i in furthest))


def _trees(before: Floats, after: Floats, seed: int) -> list[Any]:
    """Trees that tell the two apart, each side as heavy as the other.

    One by one: to copy a tree's settings and to hand it to a thread takes a forest as long as to grow it.
    """
    from sklearn.tree import ExtraTreeClassifier

    sizes = [len(before), len(after)]
    rows, side = np.vstack([before, after]).astype(np.float32), np.repeat([0.0, 1.0], sizes)
    weights = np.repeat([sum(sizes) / (2 * size) for size in sizes], sizes)
    drawn = np.random.default_rng(seed).integers(np.iinfo(np.int32).max, size=TREES)
    trees = [ExtraTreeClassifier(min_samples_leaf=LEAST_LEAF, max_features=0.5, random_state=int(one)) for one in drawn]
    return [tree.fit(rows, side, sample_weight=weights, check_input=False) for tree in trees]


def reconstruction(reference: Sequence[Column], current: Sequence[Column], *, seed: int = 0) -> Reconstruction:
    """Compare how far rows lie from the plane of the principal components of one half of the reference.

    The other half says what is usual (NannyML 2022 compares chunks so). Columns are standardised by the reference.

    Raises:
        ValueError: a side has fewer than two rows, or there is no column.
    """
    before, after = _tables(reference, current, np.random.default_rng(seed))
    spread = before.std(axis=0)
    mean, spread = before.mean(axis=0), np.where(spread > 0, spread, 1.0)
    known, usual = np.array_split(((before - mean) / spread).clip(-FURTHEST, FURTHEST), 2)
    now = ((after - mean) / spread).clip(-FURTHEST, FURTHEST)
    centre = known - known.mean(axis=0)
    variances, directions = np.linalg.eigh(centre.T @ centre)
    explained = np.cumsum(variances[::-1]) / max(float(variances.sum()), np.finfo(np.float64).tiny)
    plane = directions.T[::-1][: int(np.searchsorted(explained, EXPLAINED)) + 1]

    def distances(rows: Floats) -> Floats:
        centred = rows - known.mean(axis=0)
        return np.asarray(np.linalg.norm(centred - centred @ plane.T @ plane, axis=1))

    old, new = distances(usual), distances(now)
    scatter = float(old.std()) if old.size else 0.0
    error = math.sqrt(old.var() / max(old.size, 1) + new.var() / max(new.size, 1))
    gap = float(new.mean() - old.mean())
    p = math.erfc(abs(gap) / error / math.sqrt(2)) if error else float(gap == 0)
    return Reconstruction(float(old.mean()), float(new.mean()), gap / scatter if scatter else 0.0, p)


def _tables(reference: Sequence[Column], current: Sequence[Column], rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Both sides as tables of numbers, shuffled, at most 1,000 rows each."""
    if not reference or min(len(reference[0].values), len(current[0].values)) < 2:
        raise ValueError("There is nothing to compare: a side has fewer than two rows, or there is no column.")
    before, after = (rng.permutation(len(side[0].values))[:MOST_ROWS] for side in (reference, current))
    pairs = [_encoded(one, other, before, after) for one, other in zip(reference, current, strict=True)]
    return np.column_stack([old for old, _ in pairs]), np.column_stack([new for _, new in pairs])


def _encoded(one: Column, other: Column, before: Rows, after: Rows) -> tuple[Floats, Floats]:
    """Numbers with the median for missing ones; categories by how frequent they were, new and missing ones behind."""
    old, new = one.values[before], other.values[after]
    if one.kind == "numeric":
        known = old[np.isfinite(old)]
        median = float(np.median(known)) if known.size else 0.0
        return np.where(np.isfinite(old), old, median), np.where(np.isfinite(new), new, median)
    names, counts = np.unique([value for value in old if value is not None], return_counts=True)
    ranks = {str(name): place for place, name in enumerate(names[np.argsort(-counts, kind="stable")])}
    return _ranked(old, ranks), _ranked(new, ranks)


def _ranked(values: NDArray[Any], ranks: dict[str, int]) -> Floats:
    new, missing = len(ranks), len(ranks) + 1
    found = [missing if value is None else ranks.get(str(value), new) for value in values]
    return np.array(found, dtype=np.float64)


def _variance(auc: float, positive: int, negative: int) -> float:
    """The variance of an AUC by Hanley and McNeil 1982."""
    of_two, of_others = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    both = (positive - 1) * (of_two - auc**2) + (negative - 1) * (of_others - auc**2)
    return max(auc * (1 - auc) + both, 0.0) / (positive * negative)
