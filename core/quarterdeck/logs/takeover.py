"""Making a log the place where everything goes that a process writes."""

from __future__ import annotations

import atexit
import io
import logging
import os
import sys
import threading
import traceback
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TextIO

from quarterdeck.logs.lines import ERR, OUT, prefix, rotated, visible
from quarterdeck.logs.masking import Mask
from quarterdeck.logs.writing import LineWriter, Log, LogHandler, open_for_appending

_writers: list[LineWriter] = []


def take_over(path: Path, *, secrets: Iterable[str] = (), max_bytes: int = 0, level: int = logging.INFO) -> None:
    """Send everything that this process writes to the log `path`, for good.

    The file descriptors 1 and 2 lead straight to the file, so what subprocesses and C libraries write is there too, as
    it is. `sys.stdout`, `sys.stderr`, the root logger and warnings write whole lines, each with its time in UTC and its
    level, in which `secrets` are masked. What was written is in the file even if the process is killed at once.

    Args:
        max_bytes: a file that grows past this is kept as NAME.1 and continued in a fresh one; 0 for never.
        level: from which level on the root logger writes.

    Raises:
        OSError: the file cannot be opened.
    """
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    handle = open_for_appending(path)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    os.close(handle)
    log = Log(path, (1, 2), Mask(secrets), max_bytes)
    for stream in (sys.__stdout__, sys.__stderr__):
        if isinstance(stream, io.TextIOWrapper):  # Whoever got hold of one before writes raw lines, but at once.
            stream.reconfigure(line_buffering=True, errors="backslashreplace")
    sys.stdout, sys.stderr = _stream(log, 1, OUT, "<stdout>"), _stream(log, 2, ERR, "<stderr>")
    atexit.register(drain)
    _keep_tracebacks_together()
    _take_logging(LogHandler(log, 2), level)


def set_aside(path: Path) -> None:
    """Keep what is at `path`, and before it, as NAME.old: it is of another time, which a restored backup knows not."""
    for file in (rotated(path), path):
        if file.exists():
            os.replace(file, path.with_name(f"{path.name}.old"))


def append(path: Path, level: str, text: str, *, at_most: int = 0) -> None:
    """Add a line to a log that nobody writes any more, cut off at `at_most` bytes before (0: nowhere).

    Raises:
        OSError: the file is not there, or the disk is full.
    """
    handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
    try:
        size = os.fstat(handle).st_size
        if 0 < at_most < size:
            os.ftruncate(handle, at_most)
            text = f"{text} The rest of this log, {(size - at_most) / 1e6:,.0f} MB, was cut off."
        size = os.fstat(handle).st_size
        begin = b"\n" if size and os.pread(handle, 1, size - 1) != b"\n" else b""
        os.write(handle, begin + prefix(level) + visible(text.replace("\n", " ").encode()) + b"\n")
    finally:
        os.close(handle)


def drain() -> None:
    """Write the lines that have not ended: for processes that end by `os._exit`."""
    for writer in _writers:
        writer.drain()


def tell(level: str, text: str) -> None:
    """Write a line to stderr: with time and level, unless that is a terminal.

    Raises:
        OSError: the disk is full, or the terminal is gone.
    """
    stream = sys.stderr
    writer = getattr(stream, "buffer", None)
    if isinstance(writer, LineWriter):
        writer.tell_line(level, text)
        return
    begin = "" if _is_terminal(stream) else prefix(level).decode("ascii")
    stream.write("".join(f"{begin}{line}\n" for line in text.split("\n")))
    stream.flush()


def _is_terminal(stream: TextIO) -> bool:
    isatty = getattr(stream, "isatty", None)
    return isatty is not None and bool(isatty())


def _stream(log: Log, handle: int, level: str, name: str) -> io.TextIOWrapper:
    writer = LineWriter(log, handle, level, name)
    _writers.append(writer)
    return io.TextIOWrapper(writer, encoding="utf-8", errors="backslashreplace", newline="\n", write_through=True)


def _keep_tracebacks_together() -> None:
    # The library writes a traceback line by line, and the interpreter word by word: lines of other threads would stand
    # in between.
    traceback.TracebackException.print = _print  # type: ignore[method-assign, assignment]
    sys.excepthook = traceback.print_exception
    threading.excepthook = _thread_failed


def _print(self: traceback.TracebackException, *, file: TextIO | None = None, chain: bool = True, **more: Any) -> None:
    (sys.stderr if file is None else file).write("".join(self.format(chain=chain, **more)))


def _thread_failed(failure: threading.ExceptHookArgs) -> None:
    if failure.exc_type is not SystemExit:
        name = failure.thread.name if failure.thread is not None else "?"
        lines = traceback.format_exception(failure.exc_type, failure.exc_value, failure.exc_traceback)
        sys.stderr.write(f"Exception in thread {name}:\n{''.join(lines)}")


def _take_logging(handler: LogHandler, level: int) -> None:
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # They tell every address that is asked, and that of a webhook is a secret.
    for name in ("httpx", "httpcore"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.captureWarnings(True)
    basic_config = logging.basicConfig

    def configure(**options: Any) -> None:
        """As the library's, which does nothing where there is a handler already: a script's level and files count."""
        if root.handlers != [handler] or options.get("force"):
            basic_config(**options)
            return
        if options.keys() & {"filename", "handlers"}:
            root.handlers.clear()
            basic_config(**options)
            root.addHandler(handler)
        elif options.get("level") is not None:
            root.setLevel(options["level"])

    logging.basicConfig = configure
