"""The door: who comes in, with what, how often; everything is decided before a byte of a body is read."""

from __future__ import annotations

import asyncio
import logging
import re
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from medinterp.api.access import keys as key_files
from medinterp.api.access.buckets import Buckets
from medinterp.api.access.keys import Keys, hash_of
from medinterp.api.access.oidc import Tokens
from medinterp.api.access.principal import VISIT, Principal, Visit
from medinterp.api.access.sessions import COOKIE, Sessions
from medinterp.api.access.settings import SCOPES, AccessSettings
from medinterp.api.problem_handlers import problem_response
from medinterp.api.problems import problem_of, problem_of_status
from medinterp.api.store import ReportStore
from medinterp.errors import AccessError, StoreError
from medinterp.web.peers import Peers, from_elsewhere, path_of

logger = logging.getLogger(__name__)

PROBES = frozenset({"/healthz", "/readyz"})
"""They say nothing of anybody, and nobody is asked who they are: no key, no host name, no rate."""
DOCS = frozenset(("GET", place) for place in ("/openapi.json", "/docs", "/docs/docs.js", "/docs/docs.css"))
OPEN = frozenset({*DOCS, ("POST", "/session"), ("DELETE", "/session")})
"""What is there without a key. A session is begun by showing one."""
READING_POST = re.compile(r"/reports/[^/]+/region")
"""A POST that only reads."""
REALM = 'Bearer realm="medinterp"'
SIGNED_IN = "X-Signed-In"
"""Names the key of the session that an answer went to: what the page shows beside "Sign out"."""


@dataclass(frozen=True)
class Shown:
    """What a request shows: a key or token of a header, or the cookie of a session."""

    secret: str | None
    cookie: str | None


def shown(scope: Scope) -> Shown:
    """What a request shows; a header counts before a cookie."""
    headers = Headers(scope=scope)
    scheme, _, secret = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and secret.strip():
        return Shown(secret.strip(), None)
    if headers.get("x-api-key"):
        return Shown(headers["x-api-key"].strip(), None)
    return Shown(None, cookie_parser(headers.get("cookie", "")).get(COOKIE))


class Access:
    """Keys, tokens and sessions, as the settings say; one a replica."""

    def __init__(self, settings: AccessSettings, store: ReportStore) -> None:
        """Read the keys. store: the whole one, where sessions are. Raises AccessError."""
        self.settings = settings
        self.peers = Peers(settings.trusted_proxies)
        self.buckets = Buckets()
        self._keys = None if settings.keys_file is None else Keys(Path(settings.keys_file).expanduser())
        self._tokens = None if settings.oidc is None else Tokens(settings.oidc)
        self.sessions = Sessions(store, settings.session_s, self._still)

    def _still(self, name: str, sha256: str) -> Principal | None:
        return None if self._keys is None else self._keys.named(name, sha256)

    def holder(self, secret: str) -> Principal | None:
        """What a key or a token stands for, None when it is neither. Raises AccessError."""
        if secret.startswith(key_files.PREFIX):
            return None if self._keys is None else self._keys.find(secret)
        return None if self._tokens is None else self._tokens.find(secret)

    def sign_in(self, secret: str) -> tuple[Principal, str, float] | None:
        """Begin a session: who it is, the cookie's value, the seconds it holds. Raises AccessError or StoreError."""
        principal = self.holder(secret)
        if principal is None:
            return None
        key_hash = hash_of(secret) if secret.startswith(key_files.PREFIX) else None
        return principal, *self.sessions.begin(principal, key_hash)

    def who(self, what: Shown) -> Principal | None:
        """Who shows it. Raises AccessError or StoreError."""
        if what.secret is not None:
            return self.holder(what.secret)
        return None if what.cookie is None else self.sessions.find(what.cookie)


def needed(method: str, path: str) -> str:
    """The scope that a call asks for: read where nothing changes and the model is not asked."""
    if path == "/metrics":
        return "metrics"  # every replica is asked for it
    return "read" if method in ("GET", "HEAD", "OPTIONS") or READING_POST.fullmatch(path) else "write"


class Door:
    """Lets a request in as a Visit, or answers 401, 403 or 429 with a problem document."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it unread."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        peer = self._access.peers.of(scope)
        visit = Visit(peer.address, scope)
        VISIT.set(visit)
        path = path_of(scope)
        if path in PROBES:
            await self._app(scope, receive, send)
            return
        settings = self._access.settings
        if from_elsewhere(scope, peer, settings.allowed_origins):
            told = "a page of another origin may change nothing here; `access.allowed_origins` names those that may"
            await self._refuse(scope, receive, send, HTTPStatus.FORBIDDEN, told)
            return
        rate, limited = settings.rate, settings.guarded or settings.insecure
        if limited and (wait := self._access.buckets.take(
            (f"address {peer.address}", rate.address_per_minute, rate.address_burst)
        )):  # fmt: skip
            await self._slow_down(scope, receive, send, wait)
            return
        if not settings.guarded or (scope["method"], path) in OPEN:
            await self._app(scope, receive, send)
            return

        what = shown(scope)
        try:
            principal = await asyncio.to_thread(self._access.who, what)
        except AccessError as error:
            logger.error("nobody can be let in: %s", error)
            told = "who asks cannot be checked just now; try again shortly"
            await self._refuse(scope, receive, send, HTTPStatus.SERVICE_UNAVAILABLE, told)
            return
        except StoreError as error:
            await problem_response(problem_of(error))(scope, receive, send)
            return
        if principal is None:
            nothing = what == Shown(None, None)
            told = "show a key: Authorization: Bearer KEY" if nothing else "this key, token or session does not hold"
            challenge = REALM if nothing else f'{REALM}, error="invalid_token"'
            await self._refuse(scope, receive, send, HTTPStatus.UNAUTHORIZED, told, {"WWW-Authenticate": challenge})
            return
        visit.principal = principal
        scope_needed = needed(scope["method"], path)
        if scope_needed not in principal.scopes and path != "/session":
            headers = {"WWW-Authenticate": f'{REALM}, error="insufficient_scope", scope="{scope_needed}"'}
            may = " and ".join(one for one in SCOPES if one in principal.scopes) or "nothing"
            told = f"this call needs the scope {scope_needed}; the key may {may}"
            await self._refuse(scope, receive, send, HTTPStatus.FORBIDDEN, told, headers)
            return
        per_minute, burst = principal.per_minute or rate.key_per_minute, principal.burst or rate.key_burst
        if wait := self._access.buckets.take((f"owner {principal.owner}", per_minute, burst)):
            await self._slow_down(scope, receive, send, wait)
            return

        async def send_named(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[SIGNED_IN] = principal.name
            await send(message)

        await self._app(scope, receive, send if what.cookie is None else send_named)

    async def _slow_down(self, scope: Scope, receive: Receive, send: Send, wait: int) -> None:
        told = f"too many requests; the next one is let in after {wait} s"
        await self._refuse(scope, receive, send, HTTPStatus.TOO_MANY_REQUESTS, told, {"Retry-After": str(wait)})

    async def _refuse(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        status: HTTPStatus,
        told: str,
        headers: dict[str, str] | None = None,
    ) -> None:
        await problem_response(problem_of_status(status, told), headers)(scope, receive, send)
