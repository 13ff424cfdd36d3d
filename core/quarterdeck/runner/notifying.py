"""What systemd hears of a service (sd_notify(3)): that it is ready, how it fares, and that it still turns."""

from __future__ import annotations

import contextlib
import os
import socket


class Notifying:
    """Talks to the service manager that started this process; says nothing where there is none."""

    def __init__(self) -> None:
        address = os.environ.get("NOTIFY_SOCKET", "")
        # A leading @ stands for Linux's abstract sockets.
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) if address else None

    def ready(self) -> None:
        self._send("READY=1")

    def alive(self) -> None:
        """Holds the manager's watchdog off; to be called more often than its limit."""
        self._send("WATCHDOG=1")

    def status(self, text: str) -> None:
        self._send(f"STATUS={text}")

    def stopping(self) -> None:
        self._send("STOPPING=1")

    def _send(self, message: str) -> None:
        # A manager that is busy or being restarted hears the next one: nothing here waits for it.
        with contextlib.suppress(OSError):
            if self._socket is not None:
                self._socket.sendto(message.encode(), socket.MSG_DONTWAIT, self._address)
