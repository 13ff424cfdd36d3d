"""SIGTERM as an exception: what holds buffers or children can let go of them on the way out."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import NoReturn


class Terminated(BaseException):
    """SIGTERM came. Not an Exception, so that a step's `except Exception` does not swallow it; and not SystemExit,
    which a step may raise by itself."""

    exit_status = 128 + signal.SIGTERM


@contextlib.contextmanager
def raising_on_sigterm() -> Iterator[None]:
    """Raise Terminated in the main thread when SIGTERM comes; elsewhere signals are the main thread's affair."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _raise)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _raise(number: int, frame: FrameType | None) -> NoReturn:
    raise Terminated
