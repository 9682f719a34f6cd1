"""Log lines: what stands in them, and that nothing of a patient, a prompt or a report does."""

from __future__ import annotations

import io
import json
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from deployments.logs import join_serve_log
from medinterp.api.log_lines import JsonLines, OursAsJson, frames_of
from medinterp.api.request_log import DefectError, RequestLog
from tests.api_access import bearer, guarded
from tests.api_films import PATIENT, dicom
from tests.api_service import Service, problem

NAMES = ("zzyzx", "quillfeather", *PATIENT.lower().split("^"))
PLANTED = "Zzyzx Quillfeather 1931"


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """Every record of every logger, as JSON."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    root, ours = logging.getLogger(), logging.getLogger("medinterp")
    levels = root.level, ours.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    ours.setLevel(logging.DEBUG)
    yield stream
    root.removeHandler(handler)
    root.setLevel(levels[0])
    ours.setLevel(levels[1])


def requests_of(lines: io.StringIO) -> list[dict[str, Any]]:
    """The lines of requests; every line of the log has to be an object."""
    told = [json.loads(line) for line in lines.getvalue().splitlines()]
    return [one for one in told if one["logger"] == "medinterp.api.request_log" and "route" in one]


def test_a_request_in_the_log(tmp_path: Path, lines: io.StringIO) -> None:
    with guarded(tmp_path) as (service, keys):
        answer = service.post({**bearer(keys["ward"]), "X-Request-ID": "round-7"})
        report = answer.json()["id"]
        service.client.get(f"/reports/{report}/words/0/overlay.png", headers=bearer(keys["ward"]))
        service.client.get(f"/reports/{report}")
        service.client.get("/readyz")
        service.client.request("BREW", "/nowhere/at/all", headers=bearer(keys["ward"]))
    made, seen, refused, unknown = [one for one in requests_of(lines) if one["level"] == "INFO"]
    assert {name: made[name] for name in ("request_id", "key", "method", "route", "status", "outcome")} == {
        **{"request_id": "round-7", "key": "ward", "method": "POST"},
        **{"route": "/reports", "status": 201, "outcome": "ended"},
    }
    assert made["bytes_in"] > 1000 and made["bytes_out"] > 500
    assert 0 < made["first_byte_s"] <= made["seconds"] < 30
    assert (seen["route"], seen["status"]) == ("/reports/{report_id}/words/{word}/overlay.png", 200)
    assert (refused["key"], refused["status"], refused["route"]) == (None, 401, None)
    assert (unknown["method"], unknown["status"]) == ("other", 404) and unknown["route"] is None
    ours = [line for line in lines.getvalue().splitlines() if '"logger": "medinterp' in line]
    assert ours and not any(report in line for line in ours)


def test_a_defect_is_logged_by_its_places(service_with_defect: tuple[Service, io.StringIO]) -> None:
    service, lines = service_with_defect
    told = problem(service.post(prompt=PLANTED), 500)
    assert "zzyzx" not in json.dumps(told).lower()
    text = lines.getvalue()
    assert "ValueError" in text and "api_backend.py" in text and "zzyzx" not in text.lower()
    assert requests_of(lines)[-1]["outcome"] in ("defect", "ended") and requests_of(lines)[-1]["status"] == 500


@pytest.fixture
def service_with_defect(tmp_path: Path, lines: io.StringIO) -> Iterator[tuple[Service, io.StringIO]]:
    service = Service(tmp_path)
    service.backend.early = ValueError(f"invalid literal: {PLANTED!r}")
    with service.client:
        yield service, lines


def test_what_breaks_after_the_answer_began_says_nothing_either(lines: io.StringIO) -> None:
    app = FastAPI()

    async def broken(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise ValueError(PLANTED) from KeyError(PLANTED)

    app.mount("/", broken)
    app.add_middleware(RequestLog)
    with pytest.raises(DefectError) as caught, TestClient(app) as client:
        client.get("/x")
    assert caught.value.__cause__ is None and caught.value.__suppress_context__
    text = lines.getvalue()
    assert "from KeyError" in text and "zzyzx" not in text.lower()


def test_a_client_that_goes_away_is_in_the_log(tmp_path: Path, lines: io.StringIO) -> None:
    import anyio

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        await anyio.sleep(10)

    async def run() -> None:
        with anyio.move_on_after(0.05):
            unused: Any = None
            await RequestLog(slow)({"type": "http", "method": "GET", "path": "/", "headers": []}, unused, unused)

    anyio.run(run)
    assert [(one["outcome"], one["status"]) for one in requests_of(lines)] == [("broken off", None)]


def test_no_name_is_in_any_line(tmp_path: Path, lines: io.StringIO) -> None:
    """Of the file, its header, the prompt, the report, the address, a header, a question: whole, broken, refused."""
    film = dicom()
    assert PATIENT.encode() in film
    file = (f"{PLANTED}.dcm", film, "application/dicom")
    with guarded(tmp_path) as (service, keys):
        named = {"User-Agent": PLANTED, "Referer": f"http://x/{PLANTED}", "X-Request-ID": PLANTED}
        shown, client = {**bearer(keys["ward"]), **named}, service.client
        for headers in (shown, {**shown, "Accept": "text/event-stream"}):
            for form in (
                *({"prompt": PLANTED}, {"report": f"{PLANTED} has no effusion."}, {"prompt": PLANTED * 2000}),
                *({"methods": PLANTED}, {"window": PLANTED}, {PLANTED: PLANTED}),
            ):
                form = {"force": "true", **form}
                answer = client.post("/reports", files={"image": file}, data=form, headers=headers)
                assert answer.status_code < 500
        for data in (film[: len(film) // 2], film[:200], PLANTED.encode()):
            client.post("/reports", files={"image": (PLANTED, data)}, headers=shown)
        forced = {"files": {"image": file}, "data": {"force": "true"}}
        report = client.post("/reports", headers=shown, **forced).json()["id"]
        for path in (f"?{PLANTED}", f"/maps?method={PLANTED}", "/export?format=json"):
            client.get(f"/reports/{report}{path}", headers=shown)
        for path in (f"/reports/{PLANTED}", f"/{PLANTED}"):
            client.get(path, headers=shown)
        for route, body in (
            *(("sensitivity", {"questions": [PLANTED]}), ("maps", {"method": PLANTED})),
            ("text", {"words": PLANTED}),
        ):
            client.post(f"/reports/{report}/{route}", json=body, headers=shown)
        as_json = {**shown, "Content-Type": "application/json"}
        client.post(f"/reports/{report}/region", content=PLANTED, headers=as_json)
        client.get("/methods", headers={"Authorization": f"Bearer {PLANTED}", "Host": PLANTED.replace(" ", "")})
        client.post("/session", headers={"Authorization": f"Bearer {PLANTED}"})
        client.get("/methods", headers={"Cookie": f"medinterp_session={PLANTED}"})
        for fault in (ValueError(PLANTED), RuntimeError(PLANTED)):
            service.backend.early = fault
            client.post("/reports", headers=shown, **forced)
            service.backend.early, service.backend.late = None, fault
            client.post("/reports", headers={**shown, "Accept": "text/event-stream"}, **forced)
            service.backend.late = None
    text = lines.getvalue().lower()
    assert len(requests_of(lines)) > 30
    found = [line for line in text.splitlines() if any(name in line for name in NAMES)]
    # The test's own client logs the addresses that it asks for.
    assert [line for line in found if '"logger": "httpx' not in line] == []
    assert keys["ward"].lower() not in text


def test_our_lines_are_json_beside_serves_own() -> None:
    serve = logging.getLogger("ray.serve")
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("SERVE %(message)s"))
    ours = logging.getLogger("medinterp")
    before = ours.handlers, ours.propagate, ours.level, serve.handlers, serve.propagate, serve.level
    serve.handlers, serve.propagate = [handler], False
    serve.setLevel(logging.INFO)
    try:
        for _ in range(2):
            join_serve_log(as_json=True)
        logging.getLogger("medinterp.api").info("one", extra={"medinterp": {"status": 200}})
        serve.info("two")
        join_serve_log()
    finally:
        ours.handlers, ours.propagate, serve.handlers, serve.propagate = before[0], before[1], before[3], before[4]
        ours.setLevel(before[2])
        serve.setLevel(before[5])
    first, second = stream.getvalue().splitlines()
    told = json.loads(first)
    assert (told["message"], told["status"], told["logger"], told["level"]) == ("one", 200, "medinterp.api", "INFO")
    assert second == "SERVE two"
    assert isinstance(handler.formatter, OursAsJson)


def test_an_error_with_its_text_is_written_without_it() -> None:
    with pytest.raises(ValueError, match="Zzyzx") as caught:
        int(PLANTED)
    error = caught.value
    cause = (ValueError, error, error.__traceback__)
    record = logging.LogRecord("x", logging.ERROR, __file__, 1, "it failed", None, cause)
    text = JsonLines().format(record)
    told = json.loads(text)
    assert told["error"] == "ValueError" and "test_api_logs.py" in told["places"]
    assert "zzyzx" not in text.lower() and "zzyzx" not in frames_of(error).lower()
    assert abs(time.time() - record.created) < 60
