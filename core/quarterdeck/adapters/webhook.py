"""Notifications by HTTP POST."""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import hmac
import json
import time
from collections.abc import Mapping, Sequence

from quarterdeck.errors import QuarterdeckError
from quarterdeck.values import public_part

TIMEOUT_SECONDS = 10.0


class HttpNotifier:
    def send(
        self,
        url: str,
        payload: Mapping[str, object] | Sequence[Mapping[str, object]],
        *,
        idempotency_key: str,
        content_type: str = "application/json",
        secret: str | None = None,
    ) -> int:
        """POST `payload` as JSON; returns the status that was answered. The key goes along as `Idempotency-Key`, so
        that a repeat can be told from news.

        With a secret it is signed as https://www.standardwebhooks.com says (1.0.0): `webhook-id`, `webhook-timestamp`
        and `webhook-signature`, the HMAC-SHA256 of all three.

        Raises:
            QuarterdeckError: no answer, or one that is not 2xx.
        """
        # httpx takes 0.2 s to import, and most processes never send anything.
        import httpx

        body = json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()
        headers = {"Idempotency-Key": idempotency_key, "Content-Type": content_type}
        if secret is not None:
            headers |= signature(secret, idempotency_key, int(time.time()), body)
        try:
            # What the answer says beyond its status is not read: it may have no end.
            with httpx.stream("POST", url, content=body, headers=headers, timeout=TIMEOUT_SECONDS) as answer:
                status, taken = answer.status_code, answer.is_success
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise QuarterdeckError(
                f"Webhook {public_part(url)} did not answer: {error}. Check notifications.webhooks in quarterdeck.toml."
            ) from error
        if not taken:
            raise QuarterdeckError(
                f"Webhook {public_part(url)} answered {status}. Check the receiver, and its URL in quarterdeck.toml."
            )
        return status


def signature(secret: str, id_: str, moment: int, body: bytes) -> dict[str, str]:
    """The headers by which a receiver can tell that `body` is ours. A secret `whsec_...` is base64, as the others have
    it; any other is taken as it is."""
    key = secret.encode()
    if secret.startswith("whsec_"):
        with contextlib.suppress(binascii.Error):
            key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    signed = hmac.new(key, f"{id_}.{moment}.".encode() + body, hashlib.sha256).digest()
    return {
        "webhook-id": id_,
        "webhook-timestamp": str(moment),
        "webhook-signature": f"v1,{base64.b64encode(signed).decode()}",
    }
