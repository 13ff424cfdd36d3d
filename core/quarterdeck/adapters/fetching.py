"""Reading what a URL answers."""

from __future__ import annotations

from quarterdeck.errors import QuarterdeckError
from quarterdeck.values import public_part

MOST_CHARACTERS = 10_000


class HttpFetcher:
    def fetch(self, url: str, *, seconds: float) -> str:
        """The text that a GET of `url` answers, its first 10,000 characters.

        Raises:
            QuarterdeckError: no answer within `seconds`, or one that is not 2xx.
        """
        # httpx takes 0.2 s to import, and most processes never ask anybody.
        import httpx

        try:
            answer = httpx.get(url, timeout=seconds, follow_redirects=True)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise QuarterdeckError(
                f"{public_part(url)} did not answer: {error}. Check that it runs, and the URL."
            ) from error
        if not answer.is_success:
            raise QuarterdeckError(f"{public_part(url)} answered {answer.status_code}. Check the URL.")
        return answer.text[:MOST_CHARACTERS]
