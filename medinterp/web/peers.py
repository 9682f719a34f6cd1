"""Who is at the other end, and under which name this service was asked: what of a request's headers is believed."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
"""The names of this machine for itself."""
FORWARDED = frozenset(
    name.encode()
    for name in (
        "forwarded",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
        "x-forwarded-port",
        "x-forwarded-prefix",
        "x-forwarded-server",
        "x-real-ip",
    )
)
"""What proxies say of a request, and anybody may claim."""

Refuse = Callable[[HTTPStatus, str], Response]

_HOST = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::(?P<port>[0-9]{1,5}))?")
_PATTERN = re.compile(r"\*|(\*\.)?[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]")


def _network(text: str) -> str:
    ip_network(text, strict=False)
    return text


def _host_pattern(text: str) -> str:
    if not _PATTERN.fullmatch(text):
        raise ValueError('a host is a name, "*.a.domain", an address, or "*" for any; without a port')
    return text.lower()


Network = Annotated[str, AfterValidator(_network)]
"""An address or a network, "10.0.0.0/8"."""
HostPattern = Annotated[str, AfterValidator(_host_pattern)]
"""A host name, "*.a.domain" for those under a domain, "*" for any."""


def is_loopback(host: str) -> bool:
    """Whether a server that listens on `host` can be reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True)
class Peer:
    """address: the client's, as far as it is known; host: the name that it asked for, with a port where it is named;
    scheme: http or https, as the client sees it."""

    address: str
    host: str
    scheme: str


class Peers:
    """Tells the peer of a request. X-Forwarded-For, -Host and -Proto are believed of trusted proxies alone."""

    def __init__(self, trusted: Sequence[str] = ()) -> None:
        """trusted: addresses or networks of proxies. Raises ValueError for what is none."""
        self._trusted: list[IPv4Network | IPv6Network] = [ip_network(text, strict=False) for text in trusted]

    def trusts(self, address: str) -> bool:
        """Whether the address is a trusted proxy's."""
        try:
            found = ip_address(address)
        except ValueError:
            return False
        return any(found in network for network in self._trusted)

    def of(self, scope: Scope) -> Peer:
        """The peer of a request."""
        address = str((scope.get("client") or ("",))[0])
        headers = Headers(scope=scope)
        host, scheme = headers.get("host", ""), str(scope.get("scheme", "http"))
        if not self.trusts(address):
            return Peer(address, host, scheme)
        # The nearest proxy wrote the last entry: of the chain, the last one that is no proxy of ours.
        for entry in reversed([part.strip() for part in headers.get("x-forwarded-for", "").split(",") if part.strip()]):
            address = entry
            if not self.trusts(entry):
                break
        host = headers.get("x-forwarded-host", host).rpartition(",")[2].strip()
        scheme = headers.get("x-forwarded-proto", scheme).rpartition(",")[2].strip().lower()
        return Peer(address[:64], host, scheme if scheme in ("http", "https") else "http")


class Hosts:
    """Refuses what was asked under a name that is not allowed (421), and drops what nobody trusted forwarded.

    A page of another site that has its own name resolved to this machine (DNS rebinding) asks under that name.
    open_paths: where any name will do, as probes ask by a pod's address.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        allowed: Sequence[str],
        peers: Peers,
        refuse: Refuse,
        open_paths: frozenset[str] = frozenset(),
    ) -> None:
        self._app = app
        self._allowed = tuple(allowed)
        self._peers = peers
        self._refuse = refuse
        self._open_paths = open_paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        peer = self._peers.of(scope)
        if not allows(self._allowed, peer.host) and path_of(scope) not in self._open_paths:
            told = "the service is not known under this host name: `allowed_hosts` in its settings names those it has"
            await self._refuse(HTTPStatus.MISDIRECTED_REQUEST, told)(scope, receive, send)
            return
        if not self._peers.trusts(str((scope.get("client") or ("",))[0])):
            scope["headers"] = [(name, value) for name, value in scope["headers"] if name.lower() not in FORWARDED]
        else:
            headers = MutableHeaders(scope=scope)
            for name in ("x-forwarded-host", "x-forwarded-proto"):
                if name in headers:
                    headers[name] = peer.host if name == "x-forwarded-host" else peer.scheme
        await self._app(scope, receive, send)


def allows(patterns: Sequence[str], host: str) -> bool:
    """Whether a Host header, with or without a port, is one of those allowed."""
    found = _HOST.fullmatch(host)
    if found is None:
        return False
    name = found["name"].lower()
    return any(
        pattern in ("*", name) or (pattern.startswith("*.") and name.endswith(pattern[1:])) for pattern in patterns
    )


def path_of(scope: Scope) -> str:
    """The path below the one that the application is mounted at."""
    path, root = str(scope["path"]), str(scope.get("root_path", ""))
    return path[len(root) :] if root and path.startswith(f"{root}/") else path


SAFE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
"""Methods that change nothing (RFC 9110, section 9.2.1)."""


def from_elsewhere(scope: Scope, peer: Peer, allowed_origins: Sequence[str] = ()) -> bool:
    """Whether a browser sends, for a page of another site, what changes something here.

    By Sec-Fetch-Site, which no page can forge and which holds behind any proxy; by Origin against the host asked for
    where a browser sends none (it does so to https and to this machine). What sends neither is no browser.
    The same as Go's net/http.CrossOriginProtection.
    """
    if scope["method"] in SAFE:
        return False
    headers = Headers(scope=scope)
    origin, site = headers.get("origin"), headers.get("sec-fetch-site")
    if origin is not None and origin in allowed_origins:
        return False
    if site is not None:
        return site not in ("same-origin", "none")
    if origin is None:
        return False
    return urlsplit(origin).netloc.lower() != peer.host.lower()
