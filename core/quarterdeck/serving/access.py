"""Who may ask: bearer tokens, checked before anything else is done with a request."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Receive, Scope, Send
from sqlmodel import col, select

from quarterdeck.deployments.token import digest_of, valid_tokens
from quarterdeck.events import Event
from quarterdeck.workspace import Workspace

OPEN = frozenset({"/v2", "/v2/health/live", "/v2/health/ready"})
"""What load balancers and supervisors ask."""
_BEARER = "bearer "


@dataclass(frozen=True, slots=True)
class Denied:
    """An answer to who may not ask."""

    status: int
    message: str

    @property
    def headers(self) -> dict[str, str]:
        return {"www-authenticate": "Bearer"} if self.status == 401 else {}


class Access:
    """The tokens that are valid now, in memory."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._tokens: dict[str, frozenset[str]] = {}
        self._seen = -1

    def reconcile(self) -> None:
        """Follow what was made and revoked. It reads state.db: keep it off the event loop."""
        query = select(Event.id).where(col(Event.id) > self._seen, col(Event.subject).like("token/%"))
        with self._workspace.state.read() as tx:
            newest = tx.exec(query.order_by(col(Event.id).desc()).limit(1)).first()
        if newest is not None or self._seen < 0:
            self._tokens = valid_tokens(self._workspace)
            self._seen = newest or 0

    def refusal(self, path: str, authorization: str) -> Denied | None:
        """Why a request is refused: 401 without a valid token, 403 for another deployment's."""
        if path in OPEN:
            return None
        if not authorization.lower().startswith(_BEARER):
            return Denied(
                401, "A token is needed: send 'Authorization: Bearer TOKEN'. `quarterdeck token create` makes one."
            )
        allowed = self._tokens.get(digest_of(authorization[len(_BEARER) :].strip()))
        if allowed is None:
            return Denied(401, "This token is unknown or was revoked.")
        deployment = _deployment_of(path)
        if allowed and deployment is not None and deployment not in allowed:
            return Denied(403, f"This token is not for deployment '{deployment}'.")
        return None


def _deployment_of(path: str) -> str | None:
    """The deployment that a path is about: `/v2/models/NAME/...`, `/invocations/NAME`."""
    match path.split("/"):
        case ["", "v2", "models", name, *_] | ["", "invocations", name, *_]:
            return name
    return None


class Guarded:
    """The application behind `access`."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == ScopeType.HTTP:
            given = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
            refused = self._access.refusal(scope["path"], given.decode("latin-1"))
            if refused is not None:
                await _refuse(send, refused)
                return
        await self._app(scope, receive, send)


async def _refuse(send: Send, denied: Denied) -> None:
    body = msgspec.json.encode({"error": denied.message})
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    headers += [(name.encode(), value.encode()) for name, value in denied.headers.items()]
    await send({"type": "http.response.start", "status": denied.status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})
