"""Idempotency-Key: a request that is sent again is not done again."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from medinterp.api.access.settings import AccessSettings
from medinterp.errors import MethodError
from tests.api_access import bearer, key_file
from tests.api_backend import png
from tests.api_replicas import Replica
from tests.api_service import problem
from tests.test_api_batches import ended, send
from tests.test_api_jobs import ASYNC, Jobs, accepted, running

KEY = {"Idempotency-Key": "0c9f-7"}


@pytest.fixture
def jobs(tmp_path: Path) -> Iterator[Jobs]:
    with running(tmp_path) as service:
        yield service


def test_the_same_request_is_the_same_report(jobs: Jobs) -> None:
    first = jobs.post(KEY, prompt="Look.")
    again = jobs.post(KEY, prompt="Look.")  # with another boundary
    assert first.request.headers["content-type"] != again.request.headers["content-type"]
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json()["id"] == first.json()["id"] and again.headers["location"] == first.headers["location"]
    assert "idempotency-replayed" not in first.headers and again.headers["idempotency-replayed"] == "true"
    assert len(jobs.backend.tasks) == 1
    quoted = jobs.post({"Idempotency-Key": '"0c9f-7"'}, prompt="Look.")
    assert quoted.json()["id"] == first.json()["id"]
    other = jobs.post({"Idempotency-Key": "0c9f-8"}, prompt="Look.")
    assert other.json()["id"] != first.json()["id"]
    assert jobs.post(prompt="Look.").json()["id"] != first.json()["id"]


def test_the_same_request_in_another_encoding(jobs: Jobs) -> None:
    first = jobs.post({**KEY, "Accept": "text/event-stream"})
    assert "event: text" in first.text
    again = jobs.post({**KEY, "Accept": "text/event-stream"})
    assert "event: text" not in again.text and again.text.startswith("event: report\n")
    packed = jobs.post({**KEY, "Accept": "application/msgpack"})
    assert packed.status_code == 201 and packed.headers["content-type"] == "application/msgpack"
    assert len(jobs.backend.tasks) == 1 and jobs.store.usage().reports == 1


def test_files_names_are_nothing_and_all_else_is(jobs: Jobs) -> None:
    first = jobs.post(KEY)
    renamed = jobs.client.post("/reports", files={"image": ("another name.png", png())}, headers=KEY)
    assert renamed.json()["id"] == first.json()["id"]
    changed: tuple[dict[str, Any], ...] = ({"prompt": "Look."}, {"image": png(seed=9)}, {"force": "true"})
    for form in changed:
        document = problem(jobs.post(KEY, **form), 409)
        assert document["type"] == "urn:medinterp:problem:key-reused"
    problem(jobs.post({**KEY, **ASYNC}), 409)
    problem(send(jobs, [png()], KEY), 409)
    problem(jobs.client.post(f"/reports/{first.json()['id']}/reliance", headers=KEY), 409)


@pytest.mark.parametrize("key", ["", " ", "a b", "k" * 201, "naïve".encode().decode("latin-1"), '"'])
def test_a_key_that_is_none_is_refused(jobs: Jobs, key: str) -> None:
    told = {"Idempotency-Key": key.encode("latin-1")}
    problem(jobs.client.post("/reports", files={"image": png()}, headers=told), 400)
    assert not jobs.backend.tasks


def test_what_is_being_answered_is_not_begun_again(jobs: Jobs) -> None:
    jobs.backend.delay_s = 1.0
    answers: list[httpx.Response] = []
    slow = threading.Thread(target=lambda: answers.append(jobs.post(KEY)))
    slow.start()
    deadline = time.monotonic() + 5
    while not jobs.backend.tasks:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    refused = jobs.post(KEY)
    assert problem(refused, 409)["type"] == "urn:medinterp:problem:request-running"
    assert int(refused.headers["retry-after"]) >= 1
    slow.join()
    assert jobs.post(KEY).json()["id"] == answers[0].json()["id"] and len(jobs.backend.tasks) == 1


def test_what_failed_may_be_tried_again(jobs: Jobs) -> None:
    jobs.backend.early = MethodError("not just now")
    for accept in ("application/json", "text/event-stream"):
        problem(jobs.post({**KEY, "Accept": accept}), 422)
    jobs.backend.early, jobs.backend.late = None, MethodError("nor now")
    assert "event: error" in jobs.post({**KEY, "Accept": "text/event-stream"}).text
    jobs.backend.late = None
    assert jobs.post(KEY).status_code == 201 and jobs.store.usage().reports == 1
    assert not jobs.store.list_records("idempotency-lease")


def test_what_was_deleted_is_made_again(jobs: Jobs) -> None:
    first = jobs.post(KEY).json()["id"]
    assert jobs.client.delete(f"/reports/{first}").status_code == 204
    again = jobs.post(KEY)
    assert again.status_code == 201 and "idempotency-replayed" not in again.headers
    assert len(jobs.backend.tasks) == 2


def test_keys_are_their_owners(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    keys = key_file(path, ward="read,write", clinic="read,write")
    with running(tmp_path, access=AccessSettings(keys_file=str(path), allowed_hosts=("*",))) as jobs:
        ward = jobs.post({**KEY, **bearer(keys["ward"])})
        clinic = jobs.post({**KEY, **bearer(keys["clinic"])}, prompt="Another one.")
        assert (ward.status_code, clinic.status_code) == (201, 201)
        assert ward.json()["id"] != clinic.json()["id"]


def test_after_a_crash_in_the_middle_it_is_done(tmp_path: Path) -> None:
    settings = {"lease_s": 1.0}
    first, second = Replica(tmp_path, **settings), Replica(tmp_path, **settings)
    try:
        first.backend.delay_s = 30
        asked = {"files": {"image": ("f.png", png())}, "headers": KEY}
        lost = first.begin(first.client.post("/reports", **asked))
        deadline = time.monotonic() + 5
        while not first.backend.tasks:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        first.drop()
        assert second.request("POST", "/reports", **asked).status_code == 409
        while (answer := second.request("POST", "/reports", **asked)).status_code == 409:
            assert time.monotonic() < deadline + 10
            time.sleep(0.1)
        assert answer.status_code == 201 and second.store.usage().reports == 1
        first.resume()
        lost.cancel()
    finally:
        first.end()
        second.end()


def test_a_job_is_made_once(jobs: Jobs) -> None:
    first = accepted(jobs.post({**KEY, **ASYNC}))
    again = jobs.post({**KEY, **ASYNC})
    assert accepted(again) == first and again.headers["idempotency-replayed"] == "true"
    report = jobs.ended(first)["report"]
    assert accepted(jobs.post({**KEY, **ASYNC})) == first
    jobs.client.delete(f"/jobs/{first}")  # forgotten, its report is there still
    made = jobs.ended(accepted(jobs.post({**KEY, **ASYNC})))
    assert (made["state"], made["report"]) == ("done", report)
    assert len(jobs.backend.tasks) == 1 and jobs.store.usage().reports == 1


def test_a_batch_is_made_once(jobs: Jobs) -> None:
    films = [png(), png(seed=4)]
    first = send(jobs, films, KEY)
    ended(jobs, first)
    again = send(jobs, films, KEY)
    assert again.json()["id"] == first.json()["id"] and again.headers["idempotency-replayed"] == "true"
    problem(send(jobs, films[::-1], KEY), 409)
    # As if it had gone before the batch was kept: the same jobs.
    jobs.store.delete_record("batch", first.json()["id"])
    ended(jobs, send(jobs, films, KEY))
    assert len(jobs.backend.tasks) == 2


@pytest.mark.parametrize("accept", ["application/json", "application/msgpack", "text/event-stream"])
def test_a_question_is_asked_once(jobs: Jobs, accept: str) -> None:
    report = jobs.report()
    place, asked, headers = f"/reports/{report}/faithfulness", {"words": "0-1"}, {**KEY, "Accept": accept}
    first = jobs.client.post(place, json=asked, headers=headers)
    assert first.status_code == 200 and first.headers["content-type"].startswith(accept)
    again = jobs.client.post(place, json=asked, headers=headers)
    assert again.headers["idempotency-replayed"] == "true" and len(jobs.backend.asked) == 1
    last = "event: faithfulness\n" if accept == "text/event-stream" else ""
    assert again.text.partition(last)[2] == first.text.partition(last)[2] if last else again.content == first.content
    problem(jobs.client.post(place, json={"words": "0"}, headers=headers), 409)
    plain = jobs.client.post(place, json=asked, headers={"Accept": "application/json"})
    assert accept != "application/json" or plain.json() == first.json()


def test_a_question_that_failed_is_asked_again(jobs: Jobs) -> None:
    report = jobs.report()
    place, asked = f"/reports/{report}/maps", {"method": "occlusion"}
    jobs.backend.late = MethodError("not just now")
    assert problem(jobs.client.post(place, json=asked, headers=KEY), 422)["detail"] == "not just now"
    jobs.backend.late = None
    assert jobs.client.post(place, json=asked, headers=KEY).status_code == 200
