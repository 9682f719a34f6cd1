"""Keys, tokens and services that ask for them: what tests of the door share."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from medinterp.api.access.keys import KeyEntry, KeyList, hash_of, new_key, write_keys
from medinterp.api.access.settings import AccessSettings
from tests.api_service import Service

ISSUER = "https://login.hospital.example/realms/x-ray"
AUDIENCE = "medinterp"


def key_file(path: Path, **scopes: str) -> dict[str, str]:
    """Write a file with a key for each name, "read" or "read,write"; the keys by name."""
    keys = {name: new_key() for name in scopes}
    entries = [
        KeyEntry.model_validate({"name": name, "sha256": hash_of(key), "scopes": scopes[name].split(",")})
        for name, key in keys.items()
    ]
    write_keys(path, KeyList(keys=tuple(entries)))
    return keys


def bearer(secret: str) -> dict[str, str]:
    """The header that shows a key or a token."""
    return {"Authorization": f"Bearer {secret}"}


@contextmanager
def guarded(directory: Path, *, lifetime_s: float = 3600, **access: Any) -> Iterator[tuple[Service, dict[str, str]]]:
    """A running service with the keys ward and clinic (read, write) and reader (read)."""
    path = directory / "keys.json"
    keys = key_file(path, ward="read,write", clinic="read,write", reader="read")
    settings = AccessSettings.model_validate({"keys_file": str(path), "allowed_hosts": ["*"], **access})
    service = Service(directory, lifetime_s=lifetime_s, store_bytes=2**24, access=settings)
    with service.client:
        yield service, keys


class Provider:
    """An OpenID Connect provider's keys, and the tokens that it signs."""

    def __init__(self) -> None:
        self.rsa = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.ec = ec.generate_private_key(ec.SECP256R1())

    @property
    def jwks(self) -> str:
        """The public keys."""
        return json.dumps(
            {
                "keys": [
                    {**json.loads(RSAAlgorithm.to_jwk(self.rsa.public_key())), "kid": "r", "alg": "RS256"},
                    {**json.loads(ECAlgorithm.to_jwk(self.ec.public_key())), "kid": "e", "use": "sig", "alg": "ES256"},
                ]
            }
        )

    def token(self, *, alg: str = "RS256", key: Any = None, header: dict[str, Any] | None = None, **claims: Any) -> str:
        """A token that holds for ten minutes, unless the claims say otherwise; a claim of None is left out."""
        now = time.time()
        told = {
            **{"iss": ISSUER, "aud": AUDIENCE, "sub": "dr.gray@hospital.example", "scope": "openid read write"},
            **{"iat": now, "exp": now + 600},
            **claims,
        }
        told = {name: value for name, value in told.items() if value is not None}
        secret = key if key is not None else {"RS256": self.rsa, "RS384": self.rsa, "ES256": self.ec}[alg]
        return jwt.encode(told, secret, alg, headers={"kid": "e" if alg == "ES256" else "r", **(header or {})})
