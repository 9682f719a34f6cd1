"""The HTTP application over a fake backend: reports, uploads, errors, and what it says of itself."""

# ruff: noqa: F811 - a fixture is imported, and named again where it is used

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgpack
import pytest

from medinterp import errors
from medinterp.api.schema import ExplanationModel
from tests.api_backend import png
from tests.api_samples import TEXT
from tests.api_service import Service, problem, service  # noqa: F401 - pytest finds fixtures by name

SNAPSHOT = Path(__file__).parent / "snapshots" / "openapi.json"
EVENTS = {"Accept": "text/event-stream"}


def sent_events(answer: httpx.Response) -> list[tuple[str, Any]]:
    assert answer.headers["content-type"].startswith("text/event-stream")
    frames = [frame.split("\n") for frame in answer.text.split("\n\n") if frame and not frame.startswith(":")]
    return [(name.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for name, data in frames]


def test_a_film_becomes_a_report(service: Service) -> None:
    answer = service.post(prompt="Look.", methods="raw", max_new_tokens=7)
    assert answer.status_code == 201
    model = ExplanationModel.model_validate_json(answer.content)
    assert answer.headers["location"] == f"reports/{model.id}"
    assert model.report.text == TEXT
    assert (model.film.height, model.film.width) == (40, 60)
    assert (model.methods, model.rows, model.columns, model.maps) == (("raw",), 4, 4, None)
    (task,) = service.backend.tasks
    assert (task.prompt, task.methods, task.max_new_tokens) == ("Look.", ("raw",), 7)
    for word in model.report.words:
        assert model.report.text[word.start : word.end] == word.text


def test_defaults_are_the_settings(service: Service) -> None:
    service.report()
    (task,) = service.backend.tasks
    assert (task.prompt, task.methods, task.max_new_tokens) == (None, ("raw",), 32)


def test_the_same_again_until_it_is_deleted(service: Service) -> None:
    first = service.post()
    place = f"/reports/{first.json()['id']}"
    again = service.client.get(place)
    assert again.status_code == 200
    assert again.json() == first.json()
    assert service.client.delete(place).status_code == 204
    for path in (
        "",
        "/maps",
        "/film.png",
        "/words/0/overlay.png",
        "/overlay.png?finding=0",
        "/export?format=json",
    ):
        document = problem(service.client.get(place + path), 404)
        assert document["type"] == "urn:medinterp:problem:report-not-found"
    problem(service.client.delete(place), 404)


@pytest.mark.parametrize("report_id", ["0" * 32, "unknown", "A" * 32, "0" * 31, "%2e%2e", "0" * 32 + "%0a"])
def test_unknown_and_malformed_ids_are_the_same(service: Service, report_id: str) -> None:
    problem(service.client.get(f"/reports/{report_id}"), 404)
    problem(service.client.get(f"/reports/{report_id}/film.png"), 404)


def test_msgpack_carries_the_maps_too(service: Service) -> None:
    answer = service.post({"Accept": "application/msgpack"})
    assert answer.headers["content-type"] == "application/msgpack"
    model = ExplanationModel.model_validate(msgpack.unpackb(answer.content))
    assert model.maps is not None
    assert model.maps["raw"].values.shape == (8, 4, 4)
    plain = service.client.get(f"/reports/{model.id}").json()
    assert json.loads(model.model_dump_json(exclude={"maps"})) == {
        k: v for k, v in plain.items() if k != "maps"
    }


def test_words_are_streamed_and_then_the_report(service: Service) -> None:
    events = sent_events(service.post(EVENTS))
    assert [name for name, _ in events] == ["text"] * (len(events) - 1) + ["report"]
    assert "".join(data["delta"] for name, data in events if name == "text").strip() == TEXT
    report = events[-1][1]
    assert service.client.get(f"/reports/{report['id']}").json() == report


def test_a_failure_before_the_first_word_has_its_own_status(service: Service) -> None:
    service.backend.early = errors.ServiceBusyError("every place is taken")
    answer = service.post(EVENTS)
    problem(answer, 503)
    assert int(answer.headers["retry-after"]) > 0
    assert int(service.post().headers["retry-after"]) > 0


def test_a_failure_after_the_first_word_is_an_event(service: Service) -> None:
    service.backend.late = errors.ServiceInterruptedError("gone")
    answer = service.post(EVENTS)
    events = sent_events(answer)
    assert events[0][0] == "text"
    assert events[-1] == (
        "error",
        {
            "type": "urn:medinterp:problem:service-interrupted",
            "title": "A part of the service went away while it worked on the request.",
            "status": 503,
            "detail": "gone",
            "flaws": [],
            "request_id": answer.headers["x-request-id"],
        },
    )


def test_a_defect_says_nothing_of_the_inside(service: Service) -> None:
    service.backend.late = service.backend.early = None
    service.backend.late = RuntimeError("secret")
    name, data = sent_events(service.post(EVENTS))[-1]
    assert (name, data["status"]) == ("error", 500)
    assert "secret" not in json.dumps(data)
    service.backend.early = RuntimeError("secret")
    answer = service.post()
    problem(answer, 500)
    assert "secret" not in answer.text


@pytest.mark.parametrize("headers", [None, EVENTS])
def test_what_takes_too_long_is_given_up(tmp_path: Path, headers: dict[str, str] | None) -> None:
    service = Service(tmp_path, timeout_s=0.2)
    service.backend.delay_s = 0.15 if headers else 5
    answer = service.post(headers)
    if headers is None:
        problem(answer, 504)
    else:
        assert [name for name, _ in sent_events(answer)] == ["text", "error"]
        assert sent_events(answer)[-1][1]["status"] == 504


def test_a_full_store_is_507_before_anything_is_read(tmp_path: Path) -> None:
    service = Service(tmp_path, when_full="refuse")
    with service.client:
        codes = [service.post().status_code for _ in range(60)]
        assert codes[0] == 201
        read = len(service.backend.tasks)
        problem(service.post(), 507)
        problem(service.post({"accept": "text/event-stream"}), 507)
        assert len(service.backend.tasks) == read
        not_ready = problem(service.client.get("/readyz"), 503)
        assert "of 50000 bytes" in not_ready["detail"]


def test_in_a_full_store_the_reports_read_longest_ago_make_room(service: Service) -> None:
    first = service.report()
    ids = [service.report() for _ in range(60)]
    problem(service.client.get(f"/reports/{first}"), 404)
    assert service.client.get(f"/reports/{ids[-1]}").status_code == 200
    assert service.client.get("/readyz").status_code == 200
    assert service.store.usage().share <= 1


def test_an_upload_that_declares_its_length_is_refused_unread(service: Service) -> None:
    problem(service.post(image=b"x" * 400_000), 413)


def test_an_upload_without_a_length_is_read_to_the_limit_only(service: Service) -> None:
    read = 0

    def endless() -> Iterator[bytes]:
        nonlocal read
        yield b'--b\r\nContent-Disposition: form-data; name="image"; filename="f"\r\n\r\n'
        for _ in range(1000):
            read += 10_000
            yield b"x" * 10_000

    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    problem(service.client.post("/reports", content=endless(), headers=headers), 413)


@pytest.mark.parametrize(
    ("image", "status"),
    [
        (b"not a film", 400),
        (b"", 400),
        (png()[:200], 400),
        (b"GIF89a" + bytes(100), 415),
        (b"%PDF-1.7" + bytes(100), 415),
        (png(400, 400), 413),
    ],
)
def test_films_that_cannot_be_used(service: Service, image: bytes, status: int) -> None:
    problem(service.post(image=image), status)
    assert service.backend.tasks == []


@pytest.mark.parametrize(
    "form",
    [
        {"methods": "crystal-ball"},
        {"methods": ["raw", "crystal-ball"]},
        {"max_new_tokens": "0"},
        {"max_new_tokens": "65"},
        {"max_new_tokens": "many"},
        {"prompt": "x" * 8001},
        {"method": "raw"},
    ],
)
def test_parameters_that_cannot_be_used(service: Service, form: dict[str, Any]) -> None:
    document = problem(service.post(**form), 422)
    assert "x" * 100 not in json.dumps(document)
    assert service.backend.tasks == []


def test_a_film_is_needed(service: Service) -> None:
    document = problem(service.client.post("/reports", data={"prompt": "a secret"}), 422)
    assert document["flaws"][0]["where"] == "body.image"
    assert "secret" not in json.dumps(document)
    problem(service.client.post("/reports", json={"image": "x"}), 422)


def test_encodings_that_are_not_offered(service: Service) -> None:
    problem(service.post({"Accept": "application/xml"}), 406)
    assert service.backend.tasks == []
    problem(service.client.get(f"/reports/{service.report()}/maps", headers={"Accept": "image/png"}), 406)


def test_what_the_service_says_of_itself(service: Service) -> None:
    methods = service.client.get("/methods").json()["methods"]
    assert {"raw": True}.items() <= {method["name"]: method["default"] for method in methods}.items()
    assert all(method["citation"] and method["meaning"] for method in methods)
    models = service.client.get("/models").json()
    assert models["models"][0]["notice"] == "not for diagnosis"
    assert models["limits"]["max_upload_bytes"] == 100_000
    assert service.client.get("/healthz").json() == {"status": "ok"}
    assert service.client.get("/readyz").json() == {"status": "ready"}
    service.backend.early = errors.ServiceBusyError("busy")
    problem(service.client.get("/readyz"), 503)
    assert service.client.get("/healthz").status_code == 200


def test_a_store_that_is_gone_is_not_ready(service: Service) -> None:
    service.store.close()
    problem(service.client.get("/readyz"), 503)
    problem(service.client.get(f"/reports/{'0' * 32}"), 503)


def test_the_expired_are_removed_though_nobody_asks(tmp_path: Path) -> None:
    service = Service(tmp_path, lifetime_s=0.3)
    with service.client:
        service.report()
        payloads = tmp_path / "store" / "r.sqlite3.d"
        assert len(list(payloads.iterdir())) == 3
        time.sleep(1.0)
        assert [file.name for file in payloads.iterdir()] == ["reserve"]
        assert service.store.usage().reports == 0


def test_nothing_is_cached_and_nothing_comes_from_elsewhere(service: Service) -> None:
    for path in ("/healthz", "/methods", f"/reports/{service.report()}", "/nowhere", "/docs", "/redoc"):
        answer = service.client.get(path)
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
    for path in ("/nowhere", "/docs", "/redoc"):
        problem(service.client.get(path), 404)
    problem(service.client.put("/reports"), 405)


def test_logs_hold_neither_the_prompt_nor_a_usable_id(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, logger="medinterp"):
        report_id = service.post(prompt="Mrs. Miller's film").json()["id"]
        service.client.delete(f"/reports/{report_id}")
    assert report_id[:8] in caplog.text
    assert report_id not in caplog.text
    assert "Miller" not in caplog.text
    assert "effusion" not in caplog.text


def test_the_openapi_document_has_not_changed(service: Service) -> None:
    """After a wanted change: `python -m tests.test_api_http` writes the snapshot anew."""
    assert outline(service.app.openapi()) == json.loads(SNAPSHOT.read_text())


def outline(document: dict[str, Any]) -> dict[str, Any]:
    """The paths with their parameters and answers, and the schemas with their fields."""
    operations = {
        f"{verb.upper()} {path}": {
            "parameters": sorted(f"{p['in']} {p['name']}" for p in operation.get("parameters", [])),
            "answers": {code: sorted(a.get("content", {})) for code, a in operation["responses"].items()},
        }
        for path, verbs in document["paths"].items()
        for verb, operation in verbs.items()
    }
    schemas = document["components"]["schemas"]
    return {
        "operations": operations,
        "schemas": {name: sorted(schema.get("properties", {})) for name, schema in schemas.items()},
    }


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as directory:
        found = outline(Service(Path(directory)).app.openapi())
    SNAPSHOT.parent.mkdir(exist_ok=True)
    SNAPSHOT.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
