"""What was not said of every row by itself, in words: figures of sketches, with their error, and of samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Score = Mapping[str, Any]
"""One of a result's scores, as `monitoring.result` has them."""


def off(score: Score) -> str:
    """To be put behind an effect: `, sketched, +-0.0012`; empty where every value was looked at."""
    return f", sketched, +-{score['error']:.2g}" if score.get("error") else ""


def drawn(score: Score) -> str:
    """`a sample of 50,000 rows`; empty where that is all of them."""
    if "sampled" in score:
        return f"a sample of {score['sampled']:,} rows"
    return f"a sample of {score['sampled_reference']:,} rows of the reference" if "sampled_reference" in score else ""


def judged_by(scores: Sequence[Score]) -> str:
    """What a result goes by where that is not every row: see `off` and `drawn`."""
    sample = next(filter(None, map(drawn, scores)), "")
    errors = [score["error"] for score in scores if "error" in score]
    if not errors:
        return sample
    return f"sketches of all rows, +-{max(errors):.2g} at most; but slices and customary figures by {sample}"
