"""Secrets in logs: masked while a line is written, again when it is read, and in the file when all have ended."""

from __future__ import annotations

import json
import mmap
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from quarterdeck.logs.lines import PREFIX, PREFIX_LENGTH, rotated

MASK = b"***"
SHORTEST = 4
"""Characters. Whatever is shorter stands in half of all lines and is not masked."""


def secrets_of(names: Iterable[str], environment: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """The values that the environment variables of these names have now; those that are not set are left out."""
    surroundings = os.environ if environment is None else environment
    return tuple(surroundings[name] for name in names if surroundings.get(name))


class Mask:
    """Replaces secrets by `***`, also where they stand quoted for a URL, for JSON or by Python.

    Of a secret of several lines each line is one, and of a URL what stands before its `@`, and its password.
    Secrets, lines and passwords shorter than `SHORTEST` are left alone.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._forms = sorted({form for secret in secrets for form in _forms(secret)}, key=len, reverse=True)
        self.pattern = re.compile(b"|".join(map(re.escape, self._forms))) if self._forms else None
        """Matches every secret, the longest first; None when there is none."""

    def __call__(self, data: bytes) -> bytes:
        if self.pattern is None:
            return data
        # What is left and right of a mask may make a secret with it, if secrets hold asterisks. Each round is shorter.
        while (masked := self.pattern.sub(MASK, data)) != data:
            data = masked
        return data

    def begun(self, data: bytes) -> int:
        """How many bytes at the end may be the beginning of a secret that goes on."""
        longest = 0
        for form in self._forms:
            sizes = range(min(len(form) - 1, len(data)), longest, -1)
            longest = next((size for size in sizes if data.endswith(form[:size])), longest)
        return longest


def masked(text: str, secrets: Iterable[str]) -> str:
    """`text` with the secrets replaced: for what is kept elsewhere than in a log."""
    return Mask(secrets)(text.encode()).decode(errors="replace")


def scrub(path: Path, secrets: Iterable[str]) -> bool:
    """Overwrite secrets in the log and in the file before it, in place; True when there was one.

    Each secret becomes as many asterisks as it has bytes: that needs no room on a full disk, disturbs nobody who
    follows the log, and leaves nothing half-written when it is killed. For logs that nobody writes any more.

    Raises:
        OSError: a file can be read and not be written.
    """
    mask = Mask(secrets)
    if mask.pattern is None:
        return False
    found = [_scrub(file, mask.pattern) for file in (path, rotated(path)) if file.is_file()]
    return any(found)


def _scrub(path: Path, pattern: re.Pattern[bytes]) -> bool:
    found = False
    with path.open("r+b", buffering=0) as file:
        if os.fstat(file.fileno()).st_size == 0:
            return False
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            place = 0
            while (match := pattern.search(content, place)) is not None:
                start, place = match.span()
                if not _is_in_prefix(content, start):
                    # Not through the map: where a write finds no room, this raises and that would end the process.
                    os.pwrite(file.fileno(), b"*" * (place - start), start)
                    found = True
        if found:
            os.fsync(file.fileno())
    return found


def _is_in_prefix(content: mmap.mmap, start: int) -> bool:
    # A secret such as 2026 is part of every line's time.
    line = content.rfind(b"\n", max(0, start - PREFIX_LENGTH), start) + 1
    if line == 0 and start >= PREFIX_LENGTH:
        return False
    match = PREFIX.match(content, line)
    return match is not None and start < match.end()


def _forms(secret: str) -> Iterator[bytes]:
    for part in [*re.split(r"[\r\n]", secret), *_userinfo(secret)]:
        part = part.strip()
        if len(part) < SHORTEST:
            continue
        yield _bytes(part)
        yield part.encode("utf-8", "backslashreplace")
        quoted = quote(_bytes(part), safe="")
        yield from (quoted.encode("ascii"), quoted.replace("%20", "+").encode("ascii"))
        yield from (_bytes(json.dumps(part)[1:-1]), _bytes(json.dumps(part, ensure_ascii=False)[1:-1]))
        yield _bytes(repr(part)[1:-1])


def _userinfo(secret: str) -> Iterator[str]:
    """`user:password` of a URL, and the password alone, as it stands there and as it is meant."""
    try:
        place = urlsplit(secret.strip()).netloc
    except ValueError:
        return
    userinfo, at, _ = place.rpartition("@")
    if at:
        password = userinfo.partition(":")[2]
        yield from (userinfo, unquote(userinfo), password, unquote(password))


def _bytes(text: str) -> bytes:
    # As the bytes of the environment came in, should they be no UTF-8.
    return text.encode("utf-8", "surrogateescape")
