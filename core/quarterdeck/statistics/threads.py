"""One thread of computation: where several processes work side by side, threads of one wait for each other and turn in
circles meanwhile. Where others worked too, 4,000 rows took two processors 25 seconds of their time, and one thread 1.
"""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager

_kept = threading.local()


def one_thread() -> AbstractContextManager[object]:
    """For a block: BLAS and OpenMP compute by one thread."""
    from threadpoolctl import threadpool_limits

    limits: AbstractContextManager[object] = threadpool_limits(1)
    return limits


def stay_at_one_thread() -> None:
    """The same for the calling thread, from now on. OpenMP keeps its limit for each thread of its own.

    Entering the limit costs more than a small prediction, so it is entered once and never left.
    """
    if not hasattr(_kept, "limits"):
        _kept.limits = one_thread()
