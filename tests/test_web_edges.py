"""The edges of both applications: HEAD, request ids, long texts, host names, what proxies forward, frames."""

# ruff: noqa: F811 - a fixture is imported, and named again where it is used

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
import yaml
from fastapi.testclient import TestClient
from pydantic import ValidationError
from starlette.types import Message

from deployments import edge
from deployments.configuration import StartError, read_configuration
from deployments.listening import refuse_strangers
from deployments.settings import UiArgs
from medinterp.api.access.settings import AccessSettings
from medinterp.api.problems import QUOTED_CHARACTERS, problem_of_status, shortened
from medinterp.errors import AccessError
from medinterp.ui import create_app
from medinterp.web.peers import Peers, allows, is_loopback
from medinterp.web.request_id import plain_id
from tests.api_service import Service, problem, service  # noqa: F401 - pytest finds fixtures by name
from tests.page_fixtures import fake_films  # noqa: F401 - the same

ROOT = Path(__file__).parent.parent
LONG = 100_000


def test_head_is_get_without_its_body(service: Service) -> None:
    report = service.report()
    own = [f"/reports/{report}{path}" for path in ("", "/film.png", "/maps?method=raw", "/export?format=json")]
    others = ("/healthz", "/readyz", "/methods", "/models", "/openapi.json", f"/reports/{'0' * 32}", "/nowhere")
    for path in (*own, *others):
        told, head = service.client.get(path), service.client.head(path)
        assert head.status_code == told.status_code and head.content == b"", path
        assert head.headers["content-type"] == told.headers["content-type"]
        assert head.headers["content-length"] == told.headers["content-length"]


def test_head_of_the_page(fake_films: None) -> None:
    with TestClient(create_app()) as client:
        for path in ("/", "/examples", "/examples/0.png", "/gradio/"):
            told, head = client.get(path), client.head(path)
            assert (head.status_code, head.content) == (200, b""), path
            assert head.headers["content-type"] == told.headers["content-type"]
        assert client.post("/").status_code == 405


@pytest.mark.parametrize("told", ["a", "A-b_c.9", "x" * 64])
def test_a_plain_request_id_is_the_clients(service: Service, told: str) -> None:
    answer = service.client.get("/reports/none", headers={"X-Request-ID": told})
    assert answer.headers.get_list("x-request-id") == [told]
    assert problem(answer, 404)["request_id"] == told


@pytest.mark.parametrize("told", ["", "x" * 65, "x" * 8000, "a b", "a\tb", "<b>", "é".encode("latin-1"), "a,b"])
def test_any_other_is_replaced(service: Service, told: str | bytes) -> None:
    given = told if isinstance(told, bytes) else told.encode()
    answer = service.client.get("/reports/none", headers=[(b"X-Request-ID", given)])
    (found,) = answer.headers.get_list("x-request-id")
    assert len(found) == 32 and plain_id(found) == found
    assert problem(answer, 404)["request_id"] == found
    two = service.client.get("/healthz", headers=[("X-Request-ID", "one"), ("X-Request-ID", "two")])
    assert len(two.headers["x-request-id"]) == 32


def test_every_answer_has_an_id(service: Service) -> None:
    answers = [service.post(), service.post({"Accept": "text/event-stream"}), service.client.post("/reports")]
    answers += [service.client.get(path) for path in ("/nowhere", "/healthz")] + [service.client.delete("/reports")]
    ids = [answer.headers["x-request-id"] for answer in answers]
    assert len(set(ids)) == len(ids)
    service.backend.late = RuntimeError("names nobody")
    broken = service.post({"Accept": "text/event-stream"})
    assert f'"request_id":"{broken.headers["x-request-id"]}"' in broken.text


def sent_by_proxy(headers: list[tuple[bytes, bytes]]) -> tuple[dict[bytes, bytes], list[tuple[bytes, bytes]]]:
    """What Serve's application gets of a request, and what the client gets of its answer."""
    got: dict[bytes, bytes] = {}
    answered: list[Message] = []

    async def serve(scope: Any, receive: Any, send: Any) -> None:
        got.update(scope["headers"])
        # As Serve's RequestIdMiddleware: it appends whatever stands in the request, beside the replica's own.
        own = [(b"x-request-id", got[b"x-request-id"]), (b"X-Request-ID", got[b"x-request-id"])]
        await send({"type": "http.response.start", "status": 200, "headers": own})
        await send({"type": "http.response.body", "body": b""})

    async def send(message: Message) -> None:
        answered.append(message)

    app: Any = serve
    for middleware in edge.middlewares():
        app = middleware.cls(app, *middleware.args, **middleware.kwargs)
    asyncio.run(app({"type": "http", "headers": headers, "path": "/", "method": "GET"}, None, send))
    return got, list(answered[0]["headers"])


def test_serves_proxy_gets_plain_ids_and_no_hints() -> None:
    hints = [(b"x-request-timeout-seconds", b"0"), (b"x-request-disconnect-disabled", b"?1")]
    got, told = sent_by_proxy([(b"x-request-id", b"x" * 8000), *hints, (b"accept", b"*/*")])
    assert set(got) == {b"x-request-id", b"accept"} and len(got[b"x-request-id"]) == 32
    assert [value for name, value in told if name.lower() == b"x-request-id"] == [got[b"x-request-id"]]
    got, _ = sent_by_proxy([(b"x-request-id", b"mine-1")])
    assert got[b"x-request-id"] == b"mine-1"


def longest_repeat(text: str, sent: str) -> int:
    """The longest run of the text that a client sent: of one letter, or of "ab "."""
    longest = run = 0
    for letter in text:
        run = run + 1 if letter in sent else 0
        longest = max(longest, run)
    return longest


@pytest.mark.parametrize("sent", ["Ж" * LONG, "Ж Ш " * (LONG // 4), "Ж'Ш\" " * (LONG // 5), "Ж\\Ш\n" * (LONG // 4)])
def test_no_client_text_is_repeated_at_length(service: Service, sent: str) -> None:
    report = service.report()
    short = sent[:3000]  # of an address
    as_json = {"Content-Type": "application/json"}
    forms: tuple[dict[str, Any], ...] = (
        *({"methods": sent}, {"methods": [sent] * 3}, {"window": sent}, {"force": sent}, {"max_new_tokens": sent}),
        *({sent[:900]: "1"}, {"prior_window": sent}),
    )
    answers = [service.post(**form) for form in forms]
    answers += [
        service.client.get(f"/reports/{report}/maps", params={"method": short}),
        service.client.get(f"/reports/{report}/maps", params={"method": "raw", short: "1"}),
        service.client.get(f"/reports/{report}/maps", params={f"{k} {short[:90]}": "1" for k in range(50)}),
        service.client.get(f"/reports/{report}/overlay.png", params={"words": short, "colormap": short}),
        service.client.get(f"/reports/{report}/overlay.png", params={"words": short}),
        service.client.get(f"/reports/{report}/export", params={"format": short}),
        service.client.get("/nowhere", params={"a": short}),
        service.client.post(f"/reports/{report}/maps", json={"method": sent}),
        service.client.post(f"/reports/{report}/maps", json={"method": "occlusion", sent: 1}),
        service.client.post(f"/reports/{report}/faithfulness", json={"words": sent}),
        service.client.post(f"/reports/{report}/faithfulness", json={"words": "0", "method": sent}),
        service.client.post(f"/reports/{report}/sensitivity", json={"questions": ["?"], "perturbations": [sent]}),
        service.client.post(f"/reports/{report}/sensitivity", json={"questions": ["?"], "methods": [sent]}),
        service.client.post(f"/reports/{report}/region", json={"box": sent, "method": sent}),
        service.client.post(f"/reports/{report}/region", content=sent.encode(), headers=as_json),
    ]
    assert sum(answer.status_code >= 400 for answer in answers) >= len(answers) - 3
    for answer in answers:
        if answer.status_code >= 400:
            told = problem(answer, answer.status_code)
            assert answer.status_code < 500
            for text in (told["detail"], *(flaw[part] for flaw in told["flaws"] for part in ("where", "what"))):
                assert longest_repeat(text, "ЖШ '\"\\n") <= QUOTED_CHARACTERS + 20, text
            assert len(answer.content) < 12_000


def test_our_own_sentences_are_not_cut() -> None:
    own = "the film's pixels say that it isn't a chest film; the reader's own window, 'full', holds. " * 5
    assert shortened(own) == own
    assert len(shortened(own * 9)) == 600
    assert problem_of_status(404, "x" * 5000).detail.count("x") <= QUOTED_CHARACTERS


def test_host_names(tmp_path: Path) -> None:
    names = ("127.0.0.1", "x-ray.example", "*.clinic.example", "[::1]")
    known = Service(tmp_path, access=AccessSettings(allowed_hosts=names))
    good = ("127.0.0.1:8000", "X-RAY.example", "a.clinic.example:443", "[::1]:8000")
    bad = ("clinic.example", "evil.example", "x-ray.example.evil.example", "x-ray.example@evil.example", "")
    with known.client:
        for host in (*good, *bad, "x-ray.example:80:80", "notclinic.example"):
            allowed = host in good
            answer = known.client.get("/methods", headers={"Host": host})
            assert answer.status_code == (200 if allowed else 421), host
            if not allowed:
                assert "allowed_hosts" in problem(answer, 421)["detail"] and "evil" not in answer.text
            forwarded = known.client.get("/methods", headers={"Host": host, "X-Forwarded-Host": "x-ray.example"})
            assert forwarded.status_code == answer.status_code, "nobody trusts whoever forwards"
            assert known.client.get("/readyz", headers={"Host": host}).status_code == 200


def test_what_trusted_proxies_forward_is_believed(tmp_path: Path) -> None:
    access = AccessSettings(allowed_hosts=("x-ray.example",), trusted_proxies=("127.0.0.0/8",))
    behind = Service(tmp_path, access=access)
    with behind.client:
        assert behind.client.get("/methods", headers={"Host": "upstream"}).status_code == 421
        headers = {"Host": "upstream", "X-Forwarded-Host": "x-ray.example"}
        assert behind.client.get("/methods", headers=headers).status_code == 200
        same = {**headers, "Origin": "https://x-ray.example"}
        assert behind.post(same).status_code == 201
        problem(behind.post({**headers, "Origin": "https://upstream"}), 403)


def test_the_address_behind_proxies() -> None:
    peers = Peers(("127.0.0.1", "10.0.0.0/8"))

    def address(client: str, *forwarded: str) -> str:
        headers = [(b"x-forwarded-for", one.encode()) for one in forwarded]
        return peers.of({"type": "http", "client": (client, 1), "headers": headers, "scheme": "http"}).address

    assert address("192.0.2.1", "198.51.100.9") == "192.0.2.1"
    assert address("127.0.0.1") == "127.0.0.1"
    assert address("127.0.0.1", "198.51.100.9") == "198.51.100.9"
    assert address("127.0.0.1", "6.6.6.6, 198.51.100.9, 10.1.2.3") == "198.51.100.9", "a client's own claim"
    assert address("127.0.0.1", "10.9.9.9") == "10.9.9.9"


def test_loopback_and_patterns() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.8.8.8", "localhost", "::1", "[::1]")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "10.0.0.1", "x-ray.example", "")))
    assert allows(("*",), "whatever:1") and not allows(("*",), "a b")
    for wrong in (
        *({"allowed_hosts": ["a:80"]}, {"allowed_hosts": ["http://a"]}, {"allowed_hosts": []}),
        *({"trusted_proxies": ["a"]}, {"allowed_origins": ["a.example"]}, {"allowed_origins": ["https://a/b"]}),
        {"insecure": True, "keys_file": "f"},
    ):
        with pytest.raises(ValidationError):
            AccessSettings.model_validate(wrong)


def test_the_page_is_known_by_its_names_and_believes_no_stranger(fake_films: None) -> None:
    app = create_app(allowed_hosts=("x-ray.example",), trusted_proxies=("127.0.0.1",))
    forwarded = {"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "https"}
    with TestClient(app, base_url="http://x-ray.example", client=("192.0.2.1", 1)) as client:
        assert client.get("/").status_code == 200
        assert client.get("/", headers={"Host": "evil.example"}).status_code == 421
        seen = client.get("/gradio/", headers=forwarded)
        assert seen.status_code == 200 and "evil.example" not in seen.text
    with TestClient(app, base_url="http://x-ray.example", client=("127.0.0.1", 1)) as client:
        assert client.get("/", headers=forwarded).status_code == 421


def directive(answer: Any) -> str:
    policy = [part.strip() for part in answer.headers["content-security-policy"].split(";")]
    (found,) = [part for part in policy if part.startswith("frame-ancestors")]
    return found


def test_who_may_frame_the_page(fake_films: None) -> None:
    for named, told in (
        (("self",), "frame-ancestors 'self'"),
        (("none",), "frame-ancestors 'none'"),
        (("self", "https://portal.example:8443"), "frame-ancestors 'self' https://portal.example:8443"),
        ((), "frame-ancestors 'none'"),
    ):
        with TestClient(create_app(frame_ancestors=named)) as client:
            for path in ("/", "/gradio/", "/examples"):
                assert directive(client.get(path)) == told
    assert UiArgs().frame_ancestors == ("self",)
    for wrong in ("*", "portal.example", "https://a; script-src *", "'self'", "https://a/b", "javascript:"):
        with pytest.raises(ValidationError):
            UiArgs.model_validate({"frame_ancestors": [wrong]})
    with pytest.raises(ValueError, match="none stands alone"):
        create_app(frame_ancestors=("none", "self"))


def test_no_keys_on_an_address_that_others_reach(tmp_path: Path) -> None:
    """By the configuration, before anything starts, and in a replica by what Serve's controller says."""
    path = tmp_path / "serve.yaml"

    def read(host: str | None, *, insecure: bool = False, **access: Any) -> AccessSettings:
        config = yaml.safe_load((ROOT / "serve_config.yaml").read_text())
        config["http_options"] = {} if host is None else {"host": host}
        config["applications"][0]["args"]["access"] = access
        path.write_text(yaml.safe_dump(config))
        told = read_configuration(path, insecure=insecure).serve.applications[0].args
        return AccessSettings.model_validate(told["access"])

    for host in ("127.0.0.1", "localhost", "::1"):
        assert read(host) == AccessSettings()
    for host in ("0.0.0.0", "10.0.0.5", "::", None):
        with pytest.raises(StartError, match=r"without keys.*medinterp keys new.*--insecure"):
            read(host)
        assert read(host, insecure=True).insecure and read(host, insecure=True).guarded is False
        assert read(host, **{"insecure": True} if host else {"keys_file": "keys.json"})
    with pytest.raises(AccessError):
        refuse_strangers(AccessSettings(), "0.0.0.0")
    refuse_strangers(AccessSettings(), "127.0.0.1")
