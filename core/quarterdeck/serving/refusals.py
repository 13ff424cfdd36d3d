"""What an error is called over HTTP: its status, what is told of it, and what is kept for the log."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from litestar.exceptions import HTTPException

from quarterdeck.errors import BusyError, NotFoundError, QuarterdeckError, RefusedError, UsageError
from quarterdeck.registry.hosted import ModelDownError, ModelTimeoutError
from quarterdeck.serving.fallback import FallbackError
from quarterdeck.serving.gateway import NotReadyError
from quarterdeck.serving.runtime import Busy

GENERAL_ERROR = "The gateway could not answer this. Its log, .quarterdeck/logs, says why."
_RETRY = {"retry-after": "1"}
# The first that fits: a class comes before its parents.
_STATUS: tuple[tuple[type[QuarterdeckError], int], ...] = (
    (NotFoundError, 404),
    (UsageError, 400),
    (RefusedError, 409),
    (NotReadyError, 503),
    (FallbackError, 503),
    (BusyError, 503),
    (ModelTimeoutError, 504),
    (ModelDownError, 503),
)
log = logging.getLogger("quarterdeck.gateway")


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer that is none."""

    status: int
    message: str
    headers: dict[str, str] | None = None


def refusal(error: Exception, request: str, *, limit: int) -> Refusal:
    """What to answer to `request` (its method and path) after `error`; logged where it is not the client's fault.

    `limit`: how large a body may be, in bytes.
    """
    if isinstance(error, Busy):
        return Refusal(503, "Too many requests are waiting for an answer. Try again in a second.", _RETRY)
    if isinstance(error, QuarterdeckError):
        status = next((status for kind, status in _STATUS if isinstance(error, kind)), 500)
        if status == 500:
            log.error("%s: %s", request, error)
        return Refusal(status, str(error), _RETRY if status == 503 else None)
    if isinstance(error, HTTPException) and error.status_code < 500:
        if error.status_code == 413:
            return Refusal(413, f"The body is larger than {limit} bytes, which max_body_bytes under [gateway] sets.")
        return Refusal(error.status_code, error.detail, error.headers)
    log.error("%s failed", request, exc_info=error)
    return Refusal(500, GENERAL_ERROR)
