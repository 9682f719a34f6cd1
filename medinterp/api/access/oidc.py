"""Bearer tokens of an OpenID Connect provider (RFC 7519, RFC 7517), checked by its public keys.

Where the keys are is the settings' word alone: what a token's header says of that (jku, x5u, jwk) is not read.
"""

from __future__ import annotations

import hashlib
import json
import logging
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

import jwt

from medinterp.api.access.principal import Principal
from medinterp.api.access.settings import SCOPES, OidcSettings
from medinterp.errors import AccessError

logger = logging.getLogger(__name__)

LIFETIME_S = 300.0
"""How long fetched keys are taken for the provider's."""
PAUSE_S = 10.0
"""For an unknown key's id, and after a failure: strangers make up as many as they like."""
TIMEOUT_S = 5.0
MAX_BYTES = 2**20
MAX_TOKEN = 16 * 1024


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


class KeySet:
    """The provider's public keys, from a URL or a file. Safe to use from several threads."""

    def __init__(self, settings: OidcSettings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._keys: dict[str | None, jwt.PyJWK] = {}
        self._good_until = self._not_before = 0.0
        self._seen: tuple[int, ...] | None = None
        self._opener = urllib.request.build_opener(_NoRedirect)

    def find(self, kid: str | None) -> jwt.PyJWK | None:
        """The key of an id; without an id the only one. Raises AccessError when there are none to be had."""
        with self._lock:
            if self._settings.jwks_file is not None:
                self._read_changed(Path(self._settings.jwks_file).expanduser())
            else:
                now = time.monotonic()
                missing = kid is not None and kid not in self._keys
                if (now >= self._good_until or missing) and now >= self._not_before:
                    self._fetch(now)
                if time.monotonic() >= self._good_until:
                    raise AccessError("the provider's keys cannot be had; try again shortly")
            if kid is None:
                return next(iter(self._keys.values())) if len(self._keys) == 1 else None
            return self._keys.get(kid)

    def _fetch(self, now: float) -> None:
        """Ask the provider. What fails leaves the keys as they are until their time is over."""
        self._not_before = now + PAUSE_S
        try:
            with self._opener.open(str(self._settings.jwks_url), timeout=TIMEOUT_S) as answer:
                self._keys = _parsed(answer.read(MAX_BYTES))
        except (OSError, ValueError, AccessError) as error:
            logger.warning("the provider's keys could not be fetched: %s", type(error).__name__)
            return
        self._good_until = time.monotonic() + LIFETIME_S

    def _read_changed(self, path: Path) -> None:
        try:
            now = path.stat()
            seen = (now.st_ino, now.st_mtime_ns, now.st_size)
            if seen != self._seen:
                self._seen, self._keys = None, _parsed(path.read_bytes())
                self._seen = seen
        except OSError as error:
            raise AccessError(f"the keys in {path} cannot be read: {error.strerror}") from error


def _parsed(text: bytes) -> dict[str | None, jwt.PyJWK]:
    """The keys of a JWK set that sign, by their ids; what this library does not know is left out (RFC 7517, 5)."""
    try:
        keys = jwt.PyJWKSet.from_dict(json.loads(text)).keys
    except (ValueError, AttributeError, TypeError, jwt.PyJWTError) as error:
        raise AccessError(f"what the provider gave holds no keys: {type(error).__name__}") from None
    return {key.key_id: key for key in keys if key.public_key_use in (None, "sig")}


class Tokens:
    """Says whom a token names."""

    def __init__(self, settings: OidcSettings) -> None:
        self._settings = settings
        self._keys = KeySet(settings)

    def find(self, token: str) -> Principal | None:
        """What a token stands for; None when it is not the provider's, not for us, or over. Raises AccessError."""
        told = self._settings
        if len(token) > MAX_TOKEN:
            return None
        try:
            header = jwt.get_unverified_header(token)
            kid = header.get("kid")
            if header.get("alg") not in told.algorithms or not isinstance(kid, str | None):
                return None
            key = self._keys.find(kid)
            if key is None:
                return None
            claims = jwt.decode(
                token,
                key,
                algorithms=list(told.algorithms),
                audience=told.audience,
                issuer=told.issuer,
                leeway=told.leeway_s,
                options={"require": ["exp", "iss", "aud", told.subject_claim]},
            )
        except jwt.PyJWTError:
            return None
        subject = claims[told.subject_claim]
        if not isinstance(subject, str) or not subject:
            return None
        digest = hashlib.sha256(f"{told.issuer}\n{subject}".encode()).hexdigest()
        return Principal(
            f"oidc:{digest[:12]}",  # a subject may be somebody's name or address: logs do not get it
            f"oidc:{digest}",
            self._scopes(claims.get(told.scopes_claim)),
            expires_at=float(claims["exp"]),
        )

    def _scopes(self, claim: object) -> frozenset[str]:
        words = claim.split() if isinstance(claim, str) else claim if isinstance(claim, list) else []
        return frozenset(scope for scope in SCOPES if f"{self._settings.scopes_prefix}{scope}" in words)
