"""Sessions of the page: a cookie that stands for a key or a token, which itself stays out of the browser's hands.

What a session stands for is in the store, so that any replica knows it and signing out ends it; the cookie is 256
random bits, of which the store has the hash. A session ends with its time, with its token's, and at once when its key
leaves the file.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from collections.abc import Callable
from contextlib import suppress

from medinterp.api.access.principal import Principal
from medinterp.api.store import ReportStore
from medinterp.errors import RecordNotFoundError

KIND = "session"
COOKIE = "medinterp_session"


class Sessions:
    """Begins, finds and ends sessions. `still` tells what a key of a name and hash stands for by now."""

    def __init__(self, store: ReportStore, lifetime_s: float, still: Callable[[str, str], Principal | None]) -> None:
        self._store = store
        self._lifetime_s = lifetime_s
        self._still = still

    def begin(self, principal: Principal, key_hash: str | None) -> tuple[str, float]:
        """Begin one; returns the cookie's value and the seconds it holds. Raises StoreError.

        key_hash: of the key that was shown; None for a token, which is over when it says so.
        """
        lifetime_s = self._lifetime_s
        if principal.expires_at is not None:
            lifetime_s = max(1.0, min(lifetime_s, principal.expires_at - time.time()))
        told = {
            "name": principal.name,
            "owner": principal.owner,
            "scopes": sorted(principal.scopes),
            "until": time.time() + lifetime_s,
            "sha256": key_hash,
        }
        value = secrets.token_urlsafe(32)
        self._store.put_record(KIND, _id(value), json.dumps(told).encode(), 0, lifetime_s=lifetime_s)
        return value, lifetime_s

    def find(self, value: str) -> Principal | None:
        """What a cookie stands for; None when it is unknown or over. Raises StoreError or AccessError."""
        try:
            told = json.loads(self._store.get_record(KIND, _id(value)).data)
        except RecordNotFoundError:
            return None
        if time.time() >= told["until"]:
            return None
        if told["sha256"] is not None:
            return self._still(told["name"], told["sha256"])
        return Principal(told["name"], told["owner"], frozenset(told["scopes"]), expires_at=told["until"])

    def end(self, value: str) -> None:
        """Forget it, if it is known. Raises StoreError."""
        with suppress(RecordNotFoundError):
            self._store.delete_record(KIND, _id(value))


def _id(value: str) -> str:
    return hashlib.sha256(value.encode()).hexdigest()
