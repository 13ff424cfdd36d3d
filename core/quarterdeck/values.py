"""How people write names, durations, sizes and classes, the types that read them, and what of a URL may be shown."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field

NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}


def parse_duration(value: object) -> object:
    """`"30s"`, `"6h"`, `"3d"`, `"1h30m"` as a timedelta; anything else is left to pydantic."""
    if not isinstance(value, str):
        return value
    parts = re.findall(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)", value)
    if not parts or "".join(number + unit for number, unit in parts) != value.replace(" ", ""):
        raise ValueError(f"'{value}' is not a duration: write 30s, 15m, 6h, 3d or 1h30m")
    return timedelta(seconds=sum(float(number) * _UNITS[unit] for number, unit in parts))


def as_written(value: timedelta) -> str:
    """A duration as people write it, and as `parse_duration` reads it: `5m`, `1h30m`, `2.5ms`."""
    seconds, parts = value.total_seconds(), ""
    for unit in ("d", "h", "m"):
        count, seconds = divmod(seconds, _UNITS[unit])
        parts += f"{count:.0f}{unit}" if count else ""
    if parts:
        return parts + (f"{seconds:.10g}s" if seconds else "")
    return f"{seconds:.10g}s" if seconds >= 1 else f"{seconds * 1000:.10g}ms"


def parse_size(value: object) -> object:
    """`"64MB"`, `"2GB"`, `"1.5GiB"` as bytes; anything else is left to pydantic."""
    if not isinstance(value, str):
        return value
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kKMGT]?)(i?)B?", value.strip())
    if match is None:
        raise ValueError(f"'{value}' is not a size: write 500MB, 2GB or 1.5GiB")
    number, unit, binary = match.groups()
    return int(
        float(number) * (1024 if binary else 1000) ** " kMGT".index(unit.lower() if unit == "K" else unit or " ")
    )


def plain(value: Any) -> str:
    """A class as text, so that 1, 1.0 and "1" from different systems are the same class."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value)


def public_part(url: str) -> str:
    """Scheme and host of `url`: its path, its query and what stands before the host are often a secret."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return "(a URL that cannot be read)"
    return f"{parts.scheme}://{host or ''}" + (f":{port}" if port else "")


def positive(value: timedelta) -> timedelta:
    if value <= timedelta(0):
        raise ValueError("must be longer than zero")
    return value


def check_name(value: str) -> str:
    """`value`, if it can be a name in URLs, files and commands.

    Raises:
        ValueError: it cannot.
    """
    if not NAME_PATTERN.fullmatch(value):
        raise ValueError(f"'{value}' is not a name: use letters, digits, '.', '_' and '-', at most 100, no blank")
    return value


Name = Annotated[str, AfterValidator(check_name)]
Duration = Annotated[timedelta, BeforeValidator(parse_duration), AfterValidator(positive)]
Size = Annotated[int, BeforeValidator(parse_size), Field(ge=0)]
