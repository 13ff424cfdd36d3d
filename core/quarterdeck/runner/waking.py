"""What a process that mostly waits is woken by: signals, the end of a child, and the end of whoever started it."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
from types import FrameType
from typing import Self

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Alarm:
    """Waits, and remembers whether it was told to stop. Costs nothing while nothing happens."""

    def __init__(self, lifeline: int | None = None) -> None:
        """`lifeline` is the reading end of a pipe: when the other end is closed, that is a wish to stop."""
        self.stop = False
        self._lifeline = lifeline
        self._reader, self._writer = socket.socketpair()

    def __enter__(self) -> Self:
        for end in (self._reader, self._writer):
            end.setblocking(False)
        signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        for number in STOP_SIGNALS:
            # Whoever started it may have chosen that it ignores the end of the terminal, as `nohup` does.
            if not (number is signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN):
                signal.signal(number, self._told)
        return self

    def __exit__(self, *_: object) -> None:
        signal.set_wakeup_fd(-1)
        self._reader.close()
        self._writer.close()

    def wait(self, seconds: float) -> None:
        """Sleep for `seconds`, or until a signal comes or the lifeline is cut."""
        watched = [self._reader.fileno(), *([] if self._lifeline is None else [self._lifeline])]
        ready: list[int] = select.select(watched, [], [], max(0.0, seconds))[0]
        with contextlib.suppress(BlockingIOError):
            while self._reader.recv(512):
                pass
        lifeline = self._lifeline
        if lifeline is not None and lifeline in ready and not os.read(lifeline, 512):
            self.stop = True

    def _told(self, number: int, frame: FrameType | None) -> None:
        self.stop = True
