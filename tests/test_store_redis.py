"""The Redis store's own: the server's policy, its password, TLS, and what an earlier version put there."""

from __future__ import annotations

import datetime
import ipaddress
import os
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import msgpack
import numpy as np
import pytest
import redis
from pydantic import ValidationError
from redis.backoff import NoBackoff
from redis.retry import Retry

from medinterp.api.store import RedisStoreSettings, open_store, pack_record, unpack_record
from medinterp.api.store.parts import join_parts
from medinterp.api.store.record import unpack_plain
from medinterp.errors import ReportNotFoundError, StoreError, StoreFullError
from tests.api_samples import sample_explanation
from tests.redis_server import redis_server


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with redis_server(tmp_path_factory.mktemp("redis"), "--maxmemory", "10mb") as port:
        yield port


@pytest.fixture
def client(port: int) -> Iterator[redis.Redis]:
    with redis.Redis(port=port, password="secret") as client:
        client.flushall()
        yield client
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", "10mb")


@pytest.fixture(autouse=True)
def password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDINTERP_REDIS_PASSWORD", "secret")


def settings(port: int, **more: object) -> RedisStoreSettings:
    return RedisStoreSettings.model_validate({"kind": "redis", "url": f"redis://127.0.0.1:{port}/0", **more})


def test_a_server_that_throws_reports_away_is_refused(port: int, client: redis.Redis) -> None:
    for policy in ("allkeys-lru", "volatile-ttl"):
        client.config_set("maxmemory-policy", policy)
        with pytest.raises(StoreError, match=f"{policy}, under which reports vanish: set it to noeviction"):
            open_store(settings(port))
    client.config_set("maxmemory-policy", "noeviction")
    store = open_store(settings(port))
    client.config_set("maxmemory-policy", "allkeys-lru")  # changed while the store is open
    with pytest.raises(StoreError, match="noeviction"):
        store.check()
    store.close()


def test_no_server_or_a_wrong_password_is_told_at_start(
    port: int, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(StoreError, match="cannot be used"):
        open_store(settings(1))
    for wrong in ("wrong", None):
        monkeypatch.delenv("MEDINTERP_REDIS_PASSWORD", raising=False)
        if wrong is not None:
            monkeypatch.setenv("MEDINTERP_REDIS_PASSWORD", wrong)
        with pytest.raises(StoreError, match="cannot be used"):
            open_store(settings(port))


def test_a_user_of_its_own(port: int, client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who may do what the store does, and not configure the server."""
    may = ["on", ">other", "~medinterp:*", "+@all", "-@admin", "-@dangerous", "+info"]
    client.execute_command("ACL", "SETUSER", "medinterp", *may)
    monkeypatch.setenv("MEDINTERP_REDIS_PASSWORD", "other")
    store = open_store(settings(port, url=f"redis://medinterp@127.0.0.1:{port}/0"))
    store.put("a" * 32, join_parts(b"body", (b"film",)))
    store.update("a" * 32, lambda blob: blob)
    assert store.usage().reports == 1
    store.delete("a" * 32)
    store.close()


def test_a_server_that_comes_back_is_used_again(tmp_path: Path) -> None:
    with redis_server(tmp_path) as port:
        store = open_store(settings(port))
        store.put("a" * 32, b"one")
        with redis.Redis(port=port, password="secret", retry=Retry(NoBackoff(), 0)) as client:
            client.shutdown(nosave=True)
        begun = time.monotonic()
        with pytest.raises(StoreError, match="cannot be used"):
            store.get("a" * 32)
        assert time.monotonic() - begun < 3
        with pytest.raises(StoreError):
            store.check()
    with redis_server(tmp_path, port=port):
        store.check()
        store.put("b" * 32, b"two")
        assert store.get("b" * 32).blob == b"two"
    store.close()


def test_what_expires_takes_its_film_with_it(port: int, client: redis.Redis) -> None:
    store = open_store(settings(port, lifetime_s=0.4))
    store.put("a" * 32, join_parts(b"one", (b"film " * 99,)))
    time.sleep(0.25)
    store.put("b" * 32, join_parts(b"two", (b"film " * 99,)))
    time.sleep(0.25)
    with pytest.raises(ReportNotFoundError):
        store.get("a" * 32)
    assert store.usage().reports == 1
    store.delete("b" * 32)  # "a" has expired without a word, and holds no film any longer
    left = sorted(client.keys("*"))
    assert left == [b"medinterp:3:canary", b"medinterp:format"]
    store.put("c" * 32, join_parts(b"one", (b"film " * 99,)))
    time.sleep(0.5)
    assert store.purge() == 1
    assert sorted(client.keys("*")) == left
    store.close()


def test_a_full_server_can_be_read_and_emptied(port: int, client: redis.Redis) -> None:
    store = open_store(settings(port, when_full="refuse"))
    kept = []
    with pytest.raises(StoreFullError):
        for number in range(100):
            store.put(f"{number:032x}", join_parts(os.urandom(50_000), (os.urandom(200_000),)))
            kept.append(f"{number:032x}")
    client.config_set("maxmemory", "1mb")
    with pytest.raises(StoreFullError):
        store.check()
    for report_id in kept:
        assert len(store.get(report_id).blob) > 250_000
        store.touch(report_id)
        store.delete(report_id)
        with pytest.raises(ReportNotFoundError):
            store.stamp(report_id)
    assert sorted(client.keys("*")) == [b"medinterp:3:canary", b"medinterp:format"]
    store.close()


def test_reports_of_the_format_before_are_brought_up(port: int, client: redis.Redis) -> None:
    """As the version before this one put them: 8 bytes of version, and a record of version 4 in one value."""
    sample = sample_explanation()
    plain, _ = unpack_plain(pack_record(sample))
    png = cv2.imencode(".png", sample.film.pixels, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes()
    plain["film"] = {**{k: v for k, v in plain["film"].items() if k not in ("part", "coding")}, "png": png}
    blob = msgpack.packb({**plain, "version": 4}, use_bin_type=True)
    client.set(f"medinterp:report:2:{'a' * 32}", (77).to_bytes(8, "big") + blob, px=50_000)
    store = open_store(settings(port, lifetime_s=60))
    stamp = store.stamp("a" * 32)
    assert abs(stamp.expires_at - time.time() - 50) < 2 and abs(stamp.made_at - time.time() + 10) < 2
    again = unpack_record(store.of(None).get("a" * 32).blob)
    np.testing.assert_array_equal(again.film.pixels, sample.film.pixels)
    assert again.report == sample.report
    assert client.keys("medinterp:report:2:*") == []
    open_store(settings(port)).close()
    store.close()


def test_a_later_format_is_refused(port: int, client: redis.Redis) -> None:
    client.set("medinterp:format", 4)
    with pytest.raises(StoreError, match=r"format 4, this one reads 3.*name another database"):
        open_store(settings(port))


def test_tls_with_an_authority_of_its_own(tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path)
    told = ["--tls-cert-file", certificate, "--tls-key-file", key, "--tls-auth-clients", "no"]
    with redis_server(tmp_path, *told, tls=True) as port:
        secure = {"url": f"rediss://127.0.0.1:{port}/0"}
        store = open_store(settings(port, **secure, ca_file=certificate))
        store.put("a" * 32, b"blob")
        assert store.get("a" * 32).blob == b"blob"
        store.close()
        with pytest.raises(StoreError, match="certificate verify failed"):
            open_store(settings(port, **secure))
        with pytest.raises(StoreError):
            open_store(settings(port))
        with pytest.raises(StoreError):
            open_store(settings(port, **secure, ca_file=str(tmp_path / "none")))


def self_signed(directory: Path) -> tuple[str, str]:
    """A certificate for 127.0.0.1 that signs itself, and its key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    (directory / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    (directory / "key.pem").write_bytes(key.private_bytes(encoding, form, serialization.NoEncryption()))
    return str(directory / "cert.pem"), str(directory / "key.pem")


@pytest.mark.parametrize(
    "wrong",
    [
        {"url": "http://x"},
        {"url": "redis://:secret@host/0"},
        {"url": "unix:///tmp/x"},
        {"url": "rediss://host/0?ssl_cert_reqs=none"},
        {"url": "redis://host/0", "ca_file": "ca.pem"},
        {"url": "redis://host/0", "max_bytes": 5},
    ],
)
def test_settings_that_would_not_hold_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        RedisStoreSettings.model_validate({"kind": "redis", **wrong})
