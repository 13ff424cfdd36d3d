"""Stretches of time in which versions were seen: they grow, join, and part where another version came between."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.deployments.sighting import RESOLUTION, TOLERANCE, Stretch, strays, with_seen

START = datetime(2026, 1, 5, 12, tzinfo=UTC)


def at(minutes: float) -> datetime:
    return START + timedelta(minutes=minutes)


def spans(found: list[Stretch]) -> list[tuple[int, float, float]]:
    return [(s.version, (s.first - START).total_seconds() / 60, (s.last - START).total_seconds() / 60) for s in found]


def test_one_version_is_one_stretch_however_rarely_it_is_asked() -> None:
    seen = with_seen([], {1: [at(0), at(600)]})
    assert spans(with_seen(seen, {1: [at(3000), at(300)]})) == [(1, 0, 3000)]


def test_another_version_in_between_parts_them() -> None:
    seen = with_seen([], {1: [at(0), at(10), at(60)], 2: [at(30), at(40)]})
    assert spans(seen) == [(1, 0, 10), (2, 30, 40), (1, 60, 60)]
    assert spans(with_seen(seen, {1: [at(63)]})) == [(1, 0, 10), (2, 30, 40), (1, 60, 63)]


def test_two_versions_side_by_side_are_two_stretches_and_not_hundreds() -> None:
    seen = with_seen([], {1: [at(2 * n) for n in range(100)], 2: [at(2 * n + 1) for n in range(100)]})
    assert spans(seen) == [(1, 0, 198), (2, 1, 199)]


def test_what_comes_late_joins_what_it_lies_between() -> None:
    seen = with_seen([], {1: [at(0), at(60)], 2: [at(30)]})
    assert spans(with_seen(seen, {1: [at(n) for n in range(4, 60, 4)]})) == [(1, 0, 60), (2, 30, 30)]


def test_a_stretch_is_drawn_out_in_steps() -> None:
    seen = with_seen([], {1: [START]})
    assert with_seen(seen, {1: [START + RESOLUTION / 2]}) == seen
    assert with_seen(seen, {1: [START + RESOLUTION]})[0].last == START + RESOLUTION


def test_only_what_is_still_seen_since_the_proof_contradicts_it() -> None:
    both = with_seen([], {1: [at(0), at(12)], 2: [at(10), at(14)]})
    assert strays(both, 2, since=at(10)) == (1,)
    assert strays(both, 2, since=at(12)) == ()
    assert strays(with_seen(both, {2: [at(18)]}), 2, since=at(10)) == ()


@given(
    st.lists(
        st.lists(st.tuples(st.integers(1, 3), st.integers(0, 200)), min_size=1, max_size=6), min_size=1, max_size=8
    )
)
def test_every_moment_is_in_a_stretch_of_its_version_whatever_the_order(
    batches: list[list[tuple[int, int]]],
) -> None:
    found: list[Stretch] = []
    for batch in batches:
        seen: dict[int, list[datetime]] = {}
        for version, minute in batch:
            seen.setdefault(version, []).append(at(minute))
        found = with_seen(found, seen)
        assert with_seen(found, seen) == found
    for version, minute in (one for batch in batches for one in batch):
        assert any(s.version == version and s.first <= at(minute) <= s.last + RESOLUTION for s in found)
    for version in (1, 2, 3):
        mine = [s for s in found if s.version == version]
        assert all(b.first - a.last > TOLERANCE for a, b in pairwise(mine))
