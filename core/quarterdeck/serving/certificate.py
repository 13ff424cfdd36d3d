"""The gateway's certificate, tried out before anything listens."""

from __future__ import annotations

import ssl
from pathlib import Path

from quarterdeck.errors import UsageError
from quarterdeck.settings.host import GatewaySettings


def check_certificate(root: Path, settings: GatewaySettings) -> None:
    """Raises UsageError: the certificate or its key cannot be read, or they do not belong together."""
    if settings.tls_certificate is None or settings.tls_key is None:
        return
    certificate, key = root / settings.tls_certificate, root / settings.tls_key
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password=_no_password)
    except (OSError, ValueError) as error:
        raise UsageError(
            f"The gateway's certificate {certificate} with the key {key} cannot be used: {error}. "
            "Mend tls_certificate and tls_key under [gateway] in quarterdeck.toml."
        ) from error


def _no_password() -> str:
    # Asked at a terminal that nobody watches, the gateway would wait for ever.
    raise ValueError("the key is encrypted, and there is nobody to ask for its password")
