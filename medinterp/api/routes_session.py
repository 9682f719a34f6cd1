"""Routes by which the page signs in: a key is shown once, and a cookie that no script can read stands for it."""

from __future__ import annotations

import asyncio
from http import HTTPStatus

from fastapi import APIRouter, Request, Response
from starlette.exceptions import HTTPException

from medinterp.api.access.door import REALM, Access, shown
from medinterp.api.access.principal import VISIT
from medinterp.api.access.sessions import COOKIE
from medinterp.api.access.settings import Scope
from medinterp.api.schema import Model
from medinterp.errors import AccessError, ServiceBusyError


class SessionModel(Model):
    """Who asks. name: the key's, None where nobody is asked for one."""

    name: str | None
    scopes: tuple[Scope, ...]


def session_routes(access: Access) -> APIRouter:
    """Build the routes."""
    router = APIRouter(prefix="/session", tags=["session"])

    @router.get("")
    async def get_session() -> SessionModel:
        """Who asks, by key, token or cookie, and what they may do."""
        visit = VISIT.get()
        principal = None if visit is None else visit.principal
        if principal is None:
            return SessionModel(name=None, scopes=("read", "write"))
        return SessionModel(name=principal.name, scopes=_scopes(principal.scopes))

    @router.post("")
    async def begin_session(request: Request, response: Response) -> SessionModel:
        """Sign in with a key or a token (`Authorization: Bearer`): the answer sets a session's cookie.

        HttpOnly, SameSite=Strict, and Secure over https; for this API's own path alone.
        """
        if not access.settings.guarded:
            return SessionModel(name=None, scopes=("read", "write"))
        secret = shown(request.scope).secret
        try:
            session = None if secret is None else await asyncio.to_thread(access.sign_in, secret)
        except AccessError:
            raise ServiceBusyError("who asks cannot be checked just now; try again shortly") from None
        if session is None:
            told = "this key or token does not hold here"
            raise HTTPException(HTTPStatus.UNAUTHORIZED, told, {"WWW-Authenticate": REALM})
        principal, value, lifetime_s = session
        response.set_cookie(
            COOKIE,
            value,
            max_age=int(lifetime_s),
            path=None,  # the browser takes this path as it sees it, also below a proxy's prefix
            secure=access.peers.of(request.scope).scheme == "https",
            httponly=True,
            samesite="strict",
        )
        return SessionModel(name=principal.name, scopes=_scopes(principal.scopes))

    @router.delete("", status_code=HTTPStatus.NO_CONTENT)
    async def end_session(request: Request, response: Response) -> None:
        """Sign out: the session ends here, and the cookie in the browser."""
        cookie = shown(request.scope).cookie
        if cookie is not None:
            await asyncio.to_thread(access.sessions.end, cookie)
        response.headers.append("Set-Cookie", f"{COOKIE}=; Max-Age=0; HttpOnly; SameSite=Strict")

    return router


def _scopes(scopes: frozenset[str]) -> tuple[Scope, ...]:
    known: tuple[Scope, ...] = ("read", "write")
    return tuple(scope for scope in known if scope in scopes)
