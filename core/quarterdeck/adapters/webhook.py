"""Notifications by HTTP POST."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from quarterdeck.errors import QuarterdeckError

TIMEOUT_SECONDS = 10.0


class HttpNotifier:
    def send(self, url: str, payload: Mapping[str, object], *, idempotency_key: str) -> None:
        """POST `payload` as JSON. The key goes along as `Idempotency-Key`, so that a repeat can be told from news.

        Raises:
            QuarterdeckError: no answer, or one that is not 2xx.
        """
        # httpx takes 0.2 s to import, and most processes never send anything.
        import httpx

        try:
            answer = httpx.post(
                url, json=dict(payload), headers={"Idempotency-Key": idempotency_key}, timeout=TIMEOUT_SECONDS
            )
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise QuarterdeckError(
                f"Webhook {shown(url)} did not answer: {error}. Check notifications.webhooks in quarterdeck.toml."
            ) from error
        if not answer.is_success:
            raise QuarterdeckError(f"Webhook {shown(url)} answered {answer.status_code}. It will be tried again.")


def shown(url: str) -> str:
    """Scheme and host of `url`: its path, its query and what stands before the host are often a secret."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return "(a URL that cannot be read)"
    return f"{parts.scheme}://{host or ''}" + (f":{port}" if port else "")
