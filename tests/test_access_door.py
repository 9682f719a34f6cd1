"""Who is let in over HTTP, what they see, and what stands in the answer where they are not."""

from __future__ import annotations

import json
import os
import secrets
import time
from pathlib import Path
from typing import Any

import pytest

from medinterp.api.access.buckets import Buckets
from medinterp.api.access.keys import KeyEntry, KeyList, hash_of, read_keys, write_keys
from medinterp.api.access.sessions import COOKIE
from medinterp.api.access.settings import AccessSettings
from medinterp.api.report_id import new_report_id
from medinterp.api.store import open_store
from medinterp.api.store.sqlite import SqliteStore
from tests.api_access import Provider, bearer, guarded, key_file
from tests.api_backend import api_settings
from tests.api_service import Service, problem
from tests.test_api_http import EVENTS

NOT_A_BODY = ("request_id",)
READING = (
    ("GET", ""),
    ("GET", "/maps?method=raw"),
    ("GET", "/maps/packed?method=raw"),
    ("POST", "/region"),
    ("GET", "/words/0/overlay.png"),
    ("GET", "/overlay.png?words=0-1"),
    ("GET", "/film.png"),
    ("GET", "/film.png?view=model"),
    ("GET", "/export?format=json"),
)
WRITING = (
    ("POST", "/maps", {"method": "occlusion"}),
    ("POST", "/faithfulness", {"words": "0"}),
    ("POST", "/sensitivity", {"questions": []}),
    ("POST", "/text", {"words": "3"}),
    ("POST", "/heads", {"words": "0"}),
    ("POST", "/reliance", {}),
    ("DELETE", "", None),
)
BOX: dict[str, Any] = {"box": [0.1, 0.1, 0.6, 0.6]}


def test_without_a_key_nobody_comes_in(tmp_path: Path) -> None:
    with guarded(tmp_path) as (service, keys):
        report = service.post(bearer(keys["ward"])).json()["id"]
        calls = [(method, f"/reports/{report}{path}", BOX if method == "POST" else None) for method, path in READING]
        calls += [(method, f"/reports/{report}{path}", body) for method, path, body in WRITING]
        calls += [("GET", "/models", None), ("GET", "/methods", None), ("GET", "/session", None), ("GET", "/no", None)]
        for method, path, body in calls:
            told = problem(service.client.request(method, path, json=body), 401)
            assert "Bearer" in told["detail"]
        answer = service.post()
        problem(answer, 401)
        assert answer.headers["www-authenticate"] == 'Bearer realm="medinterp"'
        assert len(service.backend.tasks) == 1 and service.backend.asked == []
        strange = {"Authorization": b"Bearer mi_\xe9"}
        known = (bearer("mi_" + "A" * 43), bearer("eyJ.a.b"), bearer("x" * 9000), {"Cookie": f"{COOKIE}=x"})
        for wrong in (*known, strange):
            answer = service.client.get("/models", headers=wrong)
            problem(answer, 401)
            assert 'error="invalid_token"' in answer.headers["www-authenticate"]
        for path in ("/healthz", "/readyz", "/openapi.json"):
            assert service.client.get(path).status_code == 200


def test_nothing_of_a_body_is_read_for_a_stranger(tmp_path: Path) -> None:
    with guarded(tmp_path) as (service, _):
        read: list[int] = []

        def body() -> Any:
            for k in range(4):
                read.append(k)
                yield b"x" * 1000

        headers = {"Content-Type": "multipart/form-data; boundary=b"}
        problem(service.client.post("/reports", content=body(), headers=headers), 401)
        told = {"Content-Length": str(2**40), **headers}
        problem(service.client.post("/reports", content=b"", headers=told), 401)


@pytest.mark.parametrize("header", ["Authorization", "X-API-Key"])
def test_a_key_opens_by_either_header(tmp_path: Path, header: str) -> None:
    with guarded(tmp_path) as (service, keys):
        shown = bearer(keys["ward"]) if header == "Authorization" else {header: keys["ward"]}
        assert service.client.get("/models", headers=shown).status_code == 200
        assert service.client.get("/session", headers=shown).json() == {"name": "ward", "scopes": ["read", "write"]}


def test_a_key_that_may_read_only_reads(tmp_path: Path) -> None:
    with guarded(tmp_path) as (service, keys):
        path = tmp_path / "keys.json"
        report = service.post(bearer(keys["ward"])).json()["id"]
        # The same name's key with fewer rights: its reports are there.
        entries = read_keys(path).keys
        write_keys(path, KeyList(keys=tuple(one.model_copy(update={"scopes": ("read",)}) for one in entries)))
        shown = bearer(keys["ward"])
        for method, suffix in READING:
            answer = service.client.request(
                method, f"/reports/{report}{suffix}", json=BOX if method == "POST" else None, headers=shown
            )
            assert answer.status_code == 200, (suffix, answer.text)
        for method, suffix, body in WRITING:
            answer = service.client.request(method, f"/reports/{report}{suffix}", json=body, headers=shown)
            assert "needs the scope write; the key may read" in problem(answer, 403)["detail"]
            assert 'error="insufficient_scope", scope="write"' in answer.headers["www-authenticate"]
        problem(service.post(shown), 403)
        assert service.client.get(f"/reports/{report}", headers=shown).status_code == 200


def test_the_services_numbers_have_a_scope_of_their_own(tmp_path: Path) -> None:
    """Each look asks every replica: whoever reads reports does not get them by that, nor the other way round."""
    with guarded(tmp_path) as (service, keys):
        path = tmp_path / "keys.json"
        problem(service.client.get("/metrics", headers=bearer(keys["ward"])), 403)
        entries = read_keys(path).keys
        write_keys(path, KeyList(keys=tuple(one.model_copy(update={"scopes": ("metrics",)}) for one in entries)))
        assert service.client.get("/metrics", headers=bearer(keys["ward"])).status_code == 200
        problem(service.client.get("/models", headers=bearer(keys["ward"])), 403)


def told_alike(answer: Any) -> tuple[int, Any, dict[str, str]]:
    """What of an answer must not tell one id from another."""
    headers = {name: value for name, value in answer.headers.items() if name not in ("x-request-id", "date")}
    body = {name: value for name, value in answer.json().items() if name not in NOT_A_BODY}
    return answer.status_code, body, headers


def test_a_guessed_id_anothers_and_an_expired_one_are_the_same_404(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By every route; and the store is asked the same for each."""
    rate = {"key_per_minute": 1e6, "key_burst": 10**6, "address_per_minute": 1e6, "address_burst": 10**6}
    with guarded(tmp_path, rate=rate) as (service, keys):
        others = service.post(bearer(keys["ward"])).json()["id"]
        expired = new_report_id()
        brief = open_store(api_settings(tmp_path, lifetime_s=0.05, store_bytes=2**24).store)
        brief.of("key:clinic").put(expired, service.store.get(others).blob)
        brief.close()
        time.sleep(0.1)
        asked: list[str] = []
        for name in ("get", "touch", "stamp", "update", "delete"):
            real = getattr(SqliteStore, name)

            def noted(self: SqliteStore, *arguments: Any, name: str = name, real: Any = real) -> Any:
                asked.append(name)
                return real(self, *arguments)

            monkeypatch.setattr(SqliteStore, name, noted)

        def seen(report_id: str) -> list[Any]:
            found = []
            for method, suffix in READING:
                body = BOX if method == "POST" else None
                asked.clear()
                answer = service.client.request(
                    method, f"/reports/{report_id}{suffix}", json=body, headers=bearer(keys["clinic"])
                )
                found.append((told_alike(answer), tuple(asked)))
            for method, suffix, body in WRITING:
                asked.clear()
                answer = service.client.request(
                    method, f"/reports/{report_id}{suffix}", json=body, headers=bearer(keys["clinic"])
                )
                found.append((told_alike(answer), tuple(asked)))
            return found

        guessed = seen(secrets.token_hex(16))
        assert all(told[0] == 404 and len(calls) == 1 for told, calls in guessed)
        assert seen(others) == guessed
        assert seen(expired) == guessed
        answers = [
            service.client.get(f"/reports/{secrets.token_hex(16)}", headers=bearer(keys["clinic"])) for _ in range(1000)
        ]
        assert {json.dumps(told_alike(answer)) for answer in answers} == {json.dumps(guessed[0][0])}
        assert len({answer.json()["request_id"] for answer in answers}) == 1000
        assert service.client.get(f"/reports/{others}", headers=bearer(keys["ward"])).status_code == 200


def test_a_report_is_its_keys_own(tmp_path: Path) -> None:
    with guarded(tmp_path) as (service, keys):
        ids = {name: service.post(bearer(keys[name])).json()["id"] for name in ("ward", "clinic")}
        for name in ids:
            for other, report in ids.items():
                status = 200 if name == other else 404
                assert service.client.get(f"/reports/{report}", headers=bearer(keys[name])).status_code == status
        problem(service.client.delete(f"/reports/{ids['ward']}", headers=bearer(keys["clinic"])), 404)
        assert service.client.delete(f"/reports/{ids['ward']}", headers=bearer(keys["ward"])).status_code == 204


def test_what_was_made_without_keys_is_nobodys_once_there_are_keys(tmp_path: Path) -> None:
    open_service = Service(tmp_path, store_bytes=2**24)
    with open_service.client:
        report = open_service.report()
        assert open_service.client.get(f"/reports/{report}").status_code == 200
    with guarded(tmp_path) as (service, keys):
        problem(service.client.get(f"/reports/{report}", headers=bearer(keys["ward"])), 404)


def test_a_streamed_report_has_its_owner_too(tmp_path: Path) -> None:
    with guarded(tmp_path) as (service, keys):
        answer = service.post({**bearer(keys["ward"]), **EVENTS})
        report = json.loads(answer.text.split("event: report\ndata: ")[1].split("\n")[0])["id"]
        assert service.client.get(f"/reports/{report}", headers=bearer(keys["ward"])).status_code == 200
        problem(service.client.get(f"/reports/{report}", headers=bearer(keys["clinic"])), 404)


def test_tokens_and_keys_side_by_side(tmp_path: Path) -> None:
    provider = Provider()
    (tmp_path / "jwks.json").write_text(provider.jwks)
    from tests.api_access import AUDIENCE, ISSUER

    oidc = {"issuer": ISSUER, "audience": AUDIENCE, "jwks_file": str(tmp_path / "jwks.json")}
    with guarded(tmp_path, oidc=oidc) as (service, keys):
        token = provider.token()
        report = service.post(bearer(token)).json()["id"]
        again = provider.token(exp=time.time() + 60)
        assert service.client.get(f"/reports/{report}", headers=bearer(again)).status_code == 200
        for other in (provider.token(sub="another"), keys["ward"]):
            problem(service.client.get(f"/reports/{report}", headers=bearer(other)), 404)
        problem(service.post(bearer(provider.token(scope="read"))), 403)
        problem(service.post(bearer(provider.token(scope=None))), 403)
        problem(service.post(bearer(provider.token(exp=time.time() - 60))), 401)
        (tmp_path / "jwks.json").unlink()
        told = problem(service.client.get("/models", headers=bearer(token)), 503)["detail"]
        assert "jwks" not in told and str(tmp_path) not in told
        assert service.client.get("/models", headers=bearer(keys["ward"])).status_code == 200


def test_a_damaged_file_of_keys_lets_nobody_in(tmp_path: Path) -> None:
    with guarded(tmp_path) as (service, keys):
        (tmp_path / "keys.json").write_text("{")
        answer = service.client.get("/models", headers=bearer(keys["ward"]))
        assert str(tmp_path) not in problem(answer, 503)["detail"]
        assert answer.headers["retry-after"]
        new = key_file(tmp_path / "keys.json", ward="read")
        problem(service.client.get("/models", headers=bearer(keys["ward"])), 401)
        assert service.client.get("/models", headers=bearer(new["ward"])).status_code == 200


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What the buckets go by; it stands still."""
    now = [1000.0]
    monkeypatch.setattr(Buckets.__init__, "__defaults__", (lambda: now[0],))
    return now


def test_requests_by_key_and_by_address_are_limited(tmp_path: Path, clock: list[float]) -> None:
    rate = {"key_per_minute": 60, "key_burst": 3, "address_per_minute": 600, "address_burst": 12}
    with guarded(tmp_path, rate=rate) as (service, keys):
        ward = [service.client.get("/methods", headers=bearer(keys["ward"])) for _ in range(4)]
        assert [answer.status_code for answer in ward] == [200] * 3 + [429]
        assert "let in after 1 s" in problem(ward[-1], 429)["detail"] and ward[-1].headers["retry-after"] == "1"
        assert service.client.get("/methods", headers=bearer(keys["clinic"])).status_code == 200
        statuses = [service.client.get("/methods", headers=bearer(f"mi_{k}")).status_code for k in range(10)]
        assert statuses == [401] * 7 + [429] * 3
        assert service.client.get("/readyz").status_code == 200
        clock[0] += float(ward[-1].headers["retry-after"])
        assert service.client.get("/methods", headers=bearer(keys["ward"])).status_code == 200


def test_a_key_may_have_limits_of_its_own(tmp_path: Path, clock: list[float]) -> None:
    with guarded(tmp_path) as (service, _):
        entry = KeyEntry(name="slow", sha256=hash_of("mi_slow"), scopes=("read",), per_minute=6, burst=1)
        write_keys(tmp_path / "keys.json", KeyList(keys=(entry,)))
        answers = [service.client.get("/methods", headers=bearer("mi_slow")) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [200, 429]
        assert answers[1].headers["retry-after"] == "10"


def test_on_this_machine_nobody_is_asked_and_nobody_is_slowed(tmp_path: Path, clock: list[float]) -> None:
    service = Service(tmp_path, access=AccessSettings(allowed_hosts=("testserver",)))
    with service.client:
        assert {service.client.get("/methods").status_code for _ in range(300)} == {200}
        assert service.client.get("/session").json() == {"name": None, "scopes": ["read", "write"]}
        assert service.client.post("/session").json()["name"] is None
    strangers = Service(tmp_path, access=AccessSettings(allowed_hosts=("*",), insecure=True))
    with strangers.client:
        statuses = [strangers.client.get("/methods").status_code for _ in range(250)]
        assert statuses == [200] * 240 + [429] * 10


def test_a_session_stands_for_a_key_until_it_ends(tmp_path: Path) -> None:
    with guarded(tmp_path) as (service, keys):
        client = service.client
        report = service.post(bearer(keys["ward"])).json()["id"]
        problem(client.post("/session"), 401)
        problem(client.post("/session", headers=bearer("mi_wrong")), 401)
        assert not client.cookies
        answer = client.post("/session", headers=bearer(keys["ward"]))
        assert answer.json() == {"name": "ward", "scopes": ["read", "write"]}
        cookie = answer.headers["set-cookie"]
        assert "HttpOnly" in cookie and "SameSite=strict" in cookie and "Max-Age=43200" in cookie
        assert "Secure" not in cookie and "Path" not in cookie and keys["ward"] not in cookie
        value = cookie.split("=", 1)[1].split(";")[0]
        stored = [path.read_bytes() for path in (tmp_path / "store").rglob("*") if path.is_file()]
        assert stored and value.encode() not in b"".join(stored)
        client.cookies.clear()
        signed_in = {"Cookie": f"{COOKIE}={value}"}
        seen = client.get(f"/reports/{report}", headers=signed_in)
        assert seen.status_code == 200 and seen.headers["x-signed-in"] == "ward"
        assert "x-signed-in" not in client.get("/methods", headers=bearer(keys["ward"])).headers
        # A header counts before the cookie, also one that does not hold.
        problem(client.get(f"/reports/{report}", headers={**signed_in, **bearer("mi_no")}), 401)
        problem(client.get(f"/reports/{report}", headers={**signed_in, **bearer(keys["clinic"])}), 404)

        ended = client.delete("/session", headers=signed_in)
        assert ended.status_code == 204 and "Max-Age=0" in ended.headers["set-cookie"]
        problem(client.get(f"/reports/{report}", headers=signed_in), 401)
        assert client.delete("/session", headers=signed_in).status_code == 204


def test_a_session_ends_with_its_key_and_its_time(tmp_path: Path) -> None:
    with guarded(tmp_path, session_s=1.5) as (service, keys):
        values = {}
        for name in ("ward", "clinic"):
            answer = service.client.post("/session", headers=bearer(keys[name]))
            values[name] = {"Cookie": f"{COOKIE}={answer.headers['set-cookie'].split('=', 1)[1].split(';')[0]}"}
            service.client.cookies.clear()
        assert [service.client.get("/methods", headers=values[name]).status_code for name in values] == [200, 200]
        kept = read_keys(tmp_path / "keys.json").keys
        write_keys(tmp_path / "keys.json", KeyList(keys=tuple(one for one in kept if one.name != "ward")))
        assert [service.client.get("/methods", headers=values[name]).status_code for name in values] == [401, 200]
        time.sleep(1.6)
        problem(service.client.get("/methods", headers=values["clinic"]), 401)


def test_the_cookie_is_secure_over_https(tmp_path: Path) -> None:
    forwarded = {"X-Forwarded-Proto": "https"}
    with guarded(tmp_path) as (service, keys):
        answer = service.client.post("/session", headers=bearer(keys["ward"]) | forwarded)
        assert "Secure" not in answer.headers["set-cookie"]
    with guarded(tmp_path, trusted_proxies=["127.0.0.1"]) as (service, keys):
        answer = service.client.post("/session", headers=bearer(keys["ward"]) | forwarded)
        assert "Secure" in answer.headers["set-cookie"]


def test_a_page_of_another_origin_changes_nothing(tmp_path: Path) -> None:
    with guarded(tmp_path, allowed_origins=["https://portal.example"]) as (service, keys):
        shown = bearer(keys["ward"])
        report = service.post(shown).json()["id"]
        refused: tuple[dict[str, str], ...] = (
            {"Origin": "https://evil.example"},
            {"Origin": "null"},
            {"Origin": "http://testserver:81"},
            {"Origin": "http://testserver", "Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-site"},
            {"Origin": "http://testserver.evil.example"},
        )
        for headers in refused:
            for method, path in (
                *(("DELETE", f"/reports/{report}"), ("POST", "/reports")),
                *(("POST", "/session"), ("DELETE", "/session")),
            ):
                answer = service.client.request(method, path, headers={**shown, **headers})
                assert "another origin" in problem(answer, 403)["detail"]
            answer = service.client.get(f"/reports/{report}", headers={**shown, **headers})
            assert answer.status_code == 200
            assert not [name for name in answer.headers if name.startswith("access-control")]
        allowed: tuple[dict[str, str], ...] = (
            {},
            {"Origin": "http://testserver"},
            {"Origin": "https://testserver", "Sec-Fetch-Site": "same-origin"},
            {"Sec-Fetch-Site": "none"},
            {"Origin": "https://portal.example", "Sec-Fetch-Site": "cross-site"},
        )
        for headers in allowed:
            assert service.post({**shown, **headers}).status_code == 201
        preflight = service.client.options("/reports", headers={"Origin": "https://evil.example", **shown})
        assert not [name for name in preflight.headers if name.startswith("access-control")]


def audit_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_audit_log_says_who_read_which_report(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    with guarded(tmp_path, audit_log=str(path)) as (service, keys):
        report = service.post(bearer(keys["ward"])).json()["id"]
        for method, suffix in READING:
            body = BOX if method == "POST" else None
            shown = bearer(keys["ward"])
            answer = service.client.request(method, f"/reports/{report}{suffix}", json=body, headers=shown)
            assert answer.status_code == 200
        answer = service.client.post(f"/reports/{report}/reliance", headers=bearer(keys["ward"]))
        problem(service.client.get(f"/reports/{report}", headers=bearer(keys["clinic"])), 404)
        named = {"X-Request-ID": "round-7", **bearer(keys["ward"])}
        assert service.client.delete(f"/reports/{report}", headers=named).status_code == 204
    told = audit_lines(path)
    assert all(set(one) == {"time", "request", "who", "address", "did", "report", "call"} for one in told)
    assert {(one["who"], one["address"], one["report"]) for one in told} == {("ward", "127.0.0.1", report)}
    assert [one["did"] for one in told] == ["made", *["read"] * len(READING), "read", "changed", "deleted"]
    assert told[0]["call"] == "POST /reports"
    assert told[1]["call"] == "GET /reports/{report_id}" and told[-1]["call"] == "DELETE /reports/{report_id}"
    assert told[-1]["request"] == "round-7"


def test_nothing_is_shown_that_cannot_be_written_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "audit.jsonl"
    with guarded(tmp_path, audit_log=str(path)) as (service, keys):
        shown = bearer(keys["ward"])
        report = service.post(shown).json()["id"]
        with monkeypatch.context() as patched:
            patched.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
            for method, suffix in READING:
                body = BOX if method == "POST" else None
                answer = service.client.request(method, f"/reports/{report}{suffix}", json=body, headers=shown)
                assert "audit log" in problem(answer, 503)["detail"] and answer.headers["retry-after"]
            problem(service.client.delete(f"/reports/{report}", headers=shown), 503)
            problem(service.post(shown), 503)
            streamed = service.post({**shown, **EVENTS})
            assert "event: report" not in streamed.text and '"status":503' in streamed.text
            assert service.client.get("/models", headers=shown).status_code == 200
        assert service.client.get(f"/reports/{report}", headers=shown).status_code == 200
        assert service.store.usage().reports == 1
