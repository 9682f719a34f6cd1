"""Bearer tokens, against keys made here and served by this machine: which hold, and which do not."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pydantic import ValidationError

from medinterp.api.access import oidc
from medinterp.api.access.oidc import Tokens
from medinterp.api.access.settings import OidcSettings
from medinterp.errors import AccessError
from tests.api_access import AUDIENCE, ISSUER, Provider


@pytest.fixture(scope="module")
def provider() -> Provider:
    return Provider()


def settings(**told: object) -> OidcSettings:
    return OidcSettings.model_validate({"issuer": ISSUER, "audience": AUDIENCE, **told})


def by_file(directory: Path, provider: Provider, **told: object) -> Tokens:
    path = directory / "jwks.json"
    path.write_text(provider.jwks)
    return Tokens(settings(jwks_file=str(path), **told))


class Served(BaseHTTPRequestHandler):
    """Hands out the keys of its server, and counts."""

    def do_GET(self) -> None:
        self.server.asked += 1  # type: ignore[attr-defined]
        status, text = self.server.answer  # type: ignore[attr-defined]
        self.send_response(status)
        if status == 302:
            self.send_header("Location", "/elsewhere")
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextmanager
def serving(text: str) -> Iterator[HTTPServer]:
    server = HTTPServer(("127.0.0.1", 0), Served)
    server.answer, server.asked = (200, text), 0  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_token_names_its_subject_by_a_digest(tmp_path: Path, provider: Provider) -> None:
    tokens = by_file(tmp_path, provider)
    for alg in ("RS256", "ES256"):
        found = tokens.find(provider.token(alg=alg))
        assert found is not None and found.scopes == {"read", "write"}
        assert found.owner.startswith(found.name) and "gray" not in found.owner
        assert found.expires_at == pytest.approx(time.time() + 600, abs=5)
    mine, other = tokens.find(provider.token()), tokens.find(provider.token(sub="somebody else"))
    assert mine is not None and other is not None and mine.owner != other.owner
    only = tokens.find(provider.token(scope=["read"]))
    assert only is not None and only.scopes == {"read"}
    none = tokens.find(provider.token(scope=None))
    assert none is not None and none.scopes == frozenset()


def test_claims_are_named_by_the_settings(tmp_path: Path, provider: Provider) -> None:
    tokens = by_file(tmp_path, provider, subject_claim="oid", scopes_claim="roles", scopes_prefix="xray:")
    found = tokens.find(provider.token(oid="7", roles=["xray:read", "write"]))
    assert found is not None and found.scopes == {"read"}
    assert tokens.find(provider.token(roles=["xray:read"])) is None


def test_tokens_that_do_not_hold(tmp_path: Path, provider: Provider) -> None:
    tokens = by_file(tmp_path, provider)
    stranger = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = provider.rsa.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    good = provider.token()
    head, body, signature = good.split(".")
    wrong = {
        "over": provider.token(exp=time.time() - 60),
        "without an end": provider.token(exp=None),
        "not yet": provider.token(nbf=time.time() + 600),
        "another issuer": provider.token(iss=ISSUER + "/"),
        "no issuer": provider.token(iss=None),
        "for others": provider.token(aud="billing"),
        "for nobody": provider.token(aud=None),
        "of nobody": provider.token(sub=None),
        "of an empty name": provider.token(sub=""),
        "another's signature": provider.token(key=stranger),
        "an unknown key": provider.token(header={"kid": "x"}),
        "unsigned": jwt.encode({"iss": ISSUER, "aud": AUDIENCE, "sub": "x", "exp": time.time() + 60}, None, "none"),
        "an algorithm that is not allowed": provider.token(alg="RS384"),
        "changed": f"{head}.{body[:-2]}AA.{signature}",
        "cut off": good[:-10],
        "no token": "mine",
        "long": "e" * 20_000,
        "with keys of its own": provider.token(key=stranger, header={"kid": "r", "jku": "http://127.0.0.1:9/jwks"}),
    }
    assert tokens.find(good) is not None
    assert {name for name, token in wrong.items() if tokens.find(token) is not None} == set()
    # The classic: the public key as the secret of a symmetric algorithm.
    with pytest.raises(jwt.InvalidKeyError):
        jwt.encode({}, public, "HS256")
    import base64
    import hashlib
    import hmac

    def part(told: object) -> bytes:
        return base64.urlsafe_b64encode(json.dumps(told).encode()).rstrip(b"=")

    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "x", "exp": time.time() + 60, "scope": "read"}
    signed = part({"alg": "HS256", "kid": "r"}) + b"." + part(claims)
    mac = base64.urlsafe_b64encode(hmac.new(public, signed, hashlib.sha256).digest()).rstrip(b"=")
    assert tokens.find((signed + b"." + mac).decode()) is None


def test_keys_of_a_file_are_read_again_when_it_changes(tmp_path: Path, provider: Provider) -> None:
    tokens = by_file(tmp_path, provider)
    other = Provider()
    assert tokens.find(other.token()) is None
    (tmp_path / "jwks.json").write_text(other.jwks + " ")
    assert tokens.find(other.token()) is not None and tokens.find(provider.token()) is None
    (tmp_path / "jwks.json").write_text("no keys")
    with pytest.raises(AccessError, match="holds no keys"):
        tokens.find(other.token())
    (tmp_path / "jwks.json").unlink()
    with pytest.raises(AccessError, match="cannot be read"):
        tokens.find(other.token())


def test_keys_are_fetched_once_and_again_for_a_new_one(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    other = Provider()
    rolled = {"keys": [{**key, "kid": f"{key['kid']}2"} for key in json.loads(other.jwks)["keys"]]}
    now = [1000.0]
    monkeypatch.setattr(oidc.time, "monotonic", lambda: now[0])
    with serving(provider.jwks) as server:
        tokens = Tokens(settings(jwks_url=f"http://127.0.0.1:{server.server_port}/jwks"))
        for _ in range(20):
            assert tokens.find(provider.token()) is not None
        assert server.asked == 1  # type: ignore[attr-defined]
        server.answer = (200, json.dumps(rolled))  # type: ignore[attr-defined]
        fresh = other.token(header={"kid": "r2"})
        assert [tokens.find(fresh) for _ in range(20)] == [None] * 20
        assert server.asked == 1, "a stranger's made-up key ids have nothing fetched"  # type: ignore[attr-defined]
        now[0] += oidc.PAUSE_S
        assert tokens.find(fresh) is not None
        assert server.asked == 2  # type: ignore[attr-defined]
        server.answer = (500, "")  # type: ignore[attr-defined]
        now[0] += oidc.LIFETIME_S - 1
        assert tokens.find(fresh) is not None
        now[0] += 2
        with pytest.raises(AccessError, match="cannot be had"):
            tokens.find(fresh)
        for answer in ((302, ""), (200, "{}"), (200, '{"keys": [1]}'), (200, "x" * 2**21)):
            server.answer = answer  # type: ignore[attr-defined]
            now[0] += oidc.PAUSE_S
            with pytest.raises(AccessError):
                tokens.find(fresh)
        server.answer = (200, json.dumps(rolled))  # type: ignore[attr-defined]
        now[0] += oidc.PAUSE_S
        assert tokens.find(fresh) is not None


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"jwks_url": "https://a/jwks", "jwks_file": "f"},
        {"jwks_url": "http://login.hospital.example/jwks"},
        {"jwks_url": "file:///etc/passwd"},
        {"jwks_file": "f", "algorithms": ["HS256"]},
        {"jwks_file": "f", "algorithms": ["none"]},
        {"jwks_file": "f", "algorithms": []},
        {"jwks_file": "f", "issuer": ""},
    ],
)
def test_settings_that_cannot_hold(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        settings(**wrong)
