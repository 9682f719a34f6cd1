"""Long work as jobs, over HTTP: handed in, looked at, followed, called off, and whose they are."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import msgpack
import pytest
from fastapi.testclient import TestClient

from medinterp.api.access.settings import AccessSettings
from medinterp.api.app import create_api
from medinterp.api.jobs.settings import JobSettings
from medinterp.api.schema import ExplanationModel, MapsModel
from medinterp.api.schema_jobs import JobModel
from medinterp.api.store import open_store
from medinterp.api.store.sqlite import SqliteStore
from medinterp.errors import MethodError, ServiceBusyError, ServiceInterruptedError
from tests.api_access import bearer, key_file
from tests.api_backend import FakeBackend, api_settings, png
from tests.api_samples import TEXT
from tests.api_service import Here, problem

ASYNC = {"Prefer": "respond-async"}
QUICK = {"lease_s": 3.0, "look_s": 0.05}


class Jobs:
    """The application with quick jobs."""

    def __init__(
        self, directory: Path, access: AccessSettings | None = None, store_bytes: int = 2**24, **jobs: Any
    ) -> None:
        settings = api_settings(directory, store_bytes=store_bytes, access=access).model_copy(
            update={"jobs": JobSettings(**{**QUICK, **jobs})}
        )
        self.store = open_store(settings.store)
        self.backend = FakeBackend(self.store)
        self.app = create_api(self.backend, settings, self.store, Here(settings.limits.film()))
        self.client = TestClient(self.app, raise_server_exceptions=False)

    def post(self, headers: dict[str, str] | None = None, image: bytes | None = None, **form: Any) -> httpx.Response:
        files = {"image": ("film.png", png() if image is None else image)}
        return self.client.post("/reports", files=files, data=form, headers=headers)

    def report(self) -> str:
        answer = self.post()
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def job(self, job_id: str, headers: dict[str, str] | None = None) -> dict[str, Any]:
        answer = self.client.get(f"/jobs/{job_id}", headers=headers)
        assert answer.status_code == 200, answer.text
        JobModel.model_validate_json(answer.content)
        job: dict[str, Any] = answer.json()
        return job

    def until(self, job_id: str, holds: Callable[[dict[str, Any]], bool], within_s: float = 5.0) -> dict[str, Any]:
        """The job once that holds."""
        deadline = time.monotonic() + within_s
        while not holds(job := self.job(job_id)):
            assert time.monotonic() < deadline, job
            time.sleep(0.02)
        return job

    def ended(self, job_id: str) -> dict[str, Any]:
        return self.until(job_id, lambda job: job["state"] in ("done", "failed", "cancelled"))

    def kinds(self) -> list[str]:
        """The kinds of all records that the store has of jobs."""
        kinds = ("job", "job-film", "job-open", "job-lease", "job-result", "batch")
        return [kind for kind in kinds for _ in self.store.list_records(kind)]

    def settled(self, *kinds: str) -> None:
        """Once the runner has put its things away, no more than these are there."""
        deadline = time.monotonic() + 5
        while sorted(self.kinds()) != sorted(kinds):
            assert time.monotonic() < deadline, self.kinds()
            time.sleep(0.02)


@contextmanager
def running(directory: Path, **jobs: Any) -> Iterator[Jobs]:
    service = Jobs(directory, **jobs)
    with service.client:
        yield service


@pytest.fixture
def jobs(tmp_path: Path) -> Iterator[Jobs]:
    with running(tmp_path) as service:
        yield service


def accepted(answer: httpx.Response) -> str:
    """The id of the job that it answers with."""
    assert answer.status_code == 202, answer.text
    assert answer.headers["preference-applied"] == "respond-async"
    job = JobModel.model_validate_json(answer.content)
    assert answer.headers["location"].lstrip("./") == f"jobs/{job.id}"
    return job.id


def test_a_film_becomes_a_report_as_a_job(jobs: Jobs) -> None:
    job_id = accepted(jobs.post({**ASYNC, "Idempotency-Key": "k"}, prompt="Look.", max_new_tokens=7))
    job = jobs.ended(job_id)
    assert (job["state"], job["kind"], job["attempts"], job["problem"]) == ("done", "report", 1, None)
    assert job["result"] == f"reports/{job['report']}" and job["progress"] is None
    assert job["created_at"] <= job["started_at"] <= job["ended_at"]
    report = jobs.client.get(f"/reports/{job['report']}")
    assert report.status_code == 200 and report.json()["report"]["text"] == TEXT
    result = jobs.client.get(f"/jobs/{job_id}/result")
    assert result.json()["id"] == job["report"]
    (task,) = jobs.backend.tasks
    assert (task.prompt, task.max_new_tokens) == ("Look.", 7)
    jobs.settled("job")  # the film is gone, and so are marker and lease
    packed = jobs.client.get(f"/jobs/{job_id}/result", headers={"Accept": "application/msgpack"})
    assert ExplanationModel.model_validate(msgpack.unpackb(packed.content)).maps is not None


def test_locations_are_relative_to_the_call(jobs: Jobs) -> None:
    report = jobs.report()
    first = jobs.post(ASYNC).headers["location"]
    second = jobs.client.post(f"/reports/{report}/reliance", headers=ASYNC).headers["location"]
    for base, place in (("reports", first), (f"reports/{report}/reliance", second)):
        assert httpx.URL(f"http://x/sub/v1/{base}").join(place).path.startswith("/sub/v1/jobs/")


@pytest.mark.parametrize(
    ("call", "asked", "kind"),
    [
        ("maps", {"method": "occlusion"}, "maps"),
        ("faithfulness", {"words": "0-1"}, "faithfulness"),
        ("sensitivity", {"questions": ["Is it?", "Is it so?"]}, "sensitivity"),
        ("text", {"words": "0-1"}, "text_sources"),
        ("heads", {"words": "0-1"}, "heads"),
        ("reliance", {}, "reliance"),
    ],
)
def test_what_is_asked_as_a_job_is_answered_as_at_once(jobs: Jobs, call: str, asked: Any, kind: str) -> None:
    report = jobs.report()
    job_id = accepted(jobs.client.post(f"/reports/{report}/{call}", json=asked, headers=ASYNC))
    job = jobs.ended(job_id)
    assert (job["state"], job["kind"], job["report"]) == ("done", kind, report), job
    assert job["result"] == f"jobs/{job_id}/result"
    at_once = jobs.client.post(f"/reports/{report}/{call}", json=asked)
    result = jobs.client.get(f"/jobs/{job_id}/result")
    assert result.json() == at_once.json()
    packed = {"Accept": "application/msgpack"}
    assert jobs.client.get(f"/jobs/{job_id}/result", headers=packed).content == jobs.client.post(
        f"/reports/{report}/{call}", json=asked, headers=packed
    ).content


def test_a_file_is_made_as_a_job(jobs: Jobs) -> None:
    report = jobs.report()
    job_id = accepted(jobs.client.get(f"/reports/{report}/export", params={"format": "json"}, headers=ASYNC))
    assert jobs.ended(job_id)["kind"] == "export"
    result = jobs.client.get(f"/jobs/{job_id}/result")
    at_once = jobs.client.get(f"/reports/{report}/export", params={"format": "json"})
    assert result.content == at_once.content
    for header in ("content-type", "content-disposition", "content-security-policy", "cache-control"):
        assert result.headers[header] == at_once.headers[header]


def test_maps_of_a_job_are_kept_with_the_report(jobs: Jobs) -> None:
    report = jobs.report()
    asked = {"method": "occlusion", "block": 2}
    jobs.ended(accepted(jobs.client.post(f"/reports/{report}/maps", json=asked, headers=ASYNC)))
    maps = MapsModel.model_validate_json(
        jobs.client.get(f"/reports/{report}/maps", params={"method": "occlusion"}).content
    )
    assert maps.options == {"block": 2}


def test_what_is_wrong_is_said_before_there_is_a_job(jobs: Jobs) -> None:
    report = jobs.report()
    problem(jobs.client.post(f"/reports/{report}/maps", json={"method": "raw"}, headers=ASYNC), 422)
    problem(jobs.client.post(f"/reports/{'0' * 32}/reliance", headers=ASYNC), 404)
    problem(jobs.client.get(f"/reports/{'0' * 32}/export?format=json", headers=ASYNC), 404)
    problem(jobs.post(ASYNC, methods="none"), 422)
    problem(jobs.post({**ASYNC, "Accept": "text/event-stream"}), 406)
    assert jobs.kinds() == []


def test_a_job_that_fails_says_why(jobs: Jobs) -> None:
    unreadable = accepted(jobs.post(ASYNC, image=b"no film"))
    job = jobs.ended(unreadable)
    assert (job["state"], job["problem"]["status"], job["result"]) == ("failed", 400, None)
    document = problem(jobs.client.get(f"/jobs/{unreadable}/result"), 400)
    assert document["type"] == "urn:medinterp:problem:unreadable-film"
    problem(jobs.client.get(f"/reports/{job['report']}"), 404)
    report = jobs.report()
    jobs.backend.late = MethodError("names nobody")
    failed = accepted(jobs.client.post(f"/reports/{report}/maps", json={"method": "occlusion"}, headers=ASYNC))
    assert jobs.ended(failed)["problem"]["detail"] == "names nobody"
    jobs.backend.late = RuntimeError("the patient's name")
    defect = jobs.ended(accepted(jobs.client.post(f"/reports/{report}/reliance", headers=ASYNC)))
    assert defect["problem"]["status"] == 500 and "patient" not in json.dumps(defect)
    jobs.settled("job", "job", "job")


def test_a_busy_service_is_asked_again_and_that_is_no_attempt(jobs: Jobs) -> None:
    report = jobs.report()
    jobs.backend.early = ServiceBusyError("every place is taken", retry_after_s=1)
    job_id = accepted(jobs.client.post(f"/reports/{report}/maps", json={"method": "occlusion"}, headers=ASYNC))
    jobs.until(job_id, lambda job: job["state"] == "queued" and job["started_at"])
    jobs.backend.early = None
    job = jobs.ended(job_id)
    assert (job["state"], job["attempts"]) == ("done", 1) and len(jobs.backend.asked) == 2


def test_a_part_that_goes_away_is_asked_again_so_often(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("medinterp.api.jobs.running.BUSY_S", 0.05)
    with running(tmp_path, attempts=2) as jobs:
        report = jobs.report()
        jobs.backend.late = ServiceInterruptedError("went away")
        job_id = accepted(jobs.client.post(f"/reports/{report}/maps", json={"method": "occlusion"}, headers=ASYNC))
        job = jobs.ended(job_id)
        assert (job["state"], job["attempts"], len(jobs.backend.asked)) == ("failed", 2, 2)
        assert job["problem"]["type"] == "urn:medinterp:problem:service-interrupted"


def test_a_job_takes_no_longer_than_it_may(tmp_path: Path) -> None:
    with running(tmp_path, timeout_s=0.2) as jobs:
        jobs.backend.delay_s = 5
        job = jobs.ended(accepted(jobs.post(ASYNC)))
        assert (job["state"], job["problem"]["status"]) == ("failed", 504)


def test_a_job_is_called_off_and_its_work_stops(jobs: Jobs) -> None:
    report = jobs.report()
    jobs.backend.delay_s = 1.0
    job_id = accepted(jobs.client.post(f"/reports/{report}/maps", json={"method": "occlusion"}, headers=ASYNC))
    jobs.until(job_id, lambda job: job["progress"] is not None)
    assert jobs.job(job_id)["progress"] == {"what": "occlusion", "done": 64, "of": 256}
    document = problem(jobs.client.get(f"/jobs/{job_id}/result"), 409)
    assert document["type"] == "urn:medinterp:problem:job-not-ended"
    at = time.monotonic()
    assert jobs.client.delete(f"/jobs/{job_id}").status_code == 204
    assert jobs.job(job_id)["state"] == "cancelled"
    while jobs.backend.stopped < 1:
        assert time.monotonic() < at + 1
        time.sleep(0.01)
    problem(jobs.client.get(f"/jobs/{job_id}/result"), 409)
    jobs.settled("job")
    assert jobs.client.delete(f"/jobs/{job_id}").status_code == 204
    problem(jobs.client.get(f"/jobs/{job_id}"), 404)
    problem(jobs.client.delete(f"/jobs/{job_id}"), 404)
    assert jobs.kinds() == []


def test_a_report_that_is_called_off_is_not_made(jobs: Jobs) -> None:
    jobs.backend.delay_s = 0.3
    job_id = accepted(jobs.post(ASYNC))
    report = jobs.until(job_id, lambda job: job["progress"] is not None)["report"]
    assert jobs.client.delete(f"/jobs/{job_id}").status_code == 204
    assert [record.record_id for record in jobs.store.list_records("job-film")] == []
    jobs.settled("job")
    time.sleep(0.5)
    problem(jobs.client.get(f"/reports/{report}"), 404)


def test_a_report_that_is_put_while_it_is_called_off_is_taken_back(
    jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    putting, put = threading.Event(), SqliteStore.put

    def slow_put(store: SqliteStore, report_id: str, blob: bytes) -> float:
        putting.set()
        time.sleep(1.0)
        return put(store, report_id, blob)

    monkeypatch.setattr(SqliteStore, "put", slow_put)
    job_id = accepted(jobs.post(ASYNC))
    assert putting.wait(5)
    assert jobs.client.delete(f"/jobs/{job_id}").status_code == 204
    time.sleep(1.2)
    jobs.settled("job")
    assert jobs.job(job_id)["state"] == "cancelled" and jobs.store.usage().reports == 0


def test_a_job_is_followed_and_goes_on_where_one_was(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("medinterp.api.jobs.running.TELL_S", 0.0)
    report = jobs.report()
    jobs.backend.delay_s = 1.0
    job_id = accepted(jobs.client.post(f"/reports/{report}/maps", json={"method": "occlusion"}, headers=ASYNC))
    seen: list[tuple[str, dict[str, Any]]] = []
    with jobs.client.stream("GET", f"/jobs/{job_id}/events") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        seen = list(events_of("".join(answer.iter_text())))
    states = [job["state"] for _, job in seen]
    assert states[-1] == "done" and "running" in states
    assert [job["progress"]["done"] for _, job in seen if job["progress"]][:2] == [64, 128]
    numbers = [int(number) for number, _ in seen]
    assert numbers == sorted(set(numbers))
    again = jobs.client.get(f"/jobs/{job_id}/events", headers={"Last-Event-ID": seen[0][0]})
    assert list(events_of(again.text)) == [seen[-1]]
    problem(jobs.client.get(f"/jobs/{'0' * 32}/events"), 404)


def events_of(text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for block in text.split("\n\n"):
        if block and not block.startswith(":"):
            number, name, data = block.split("\n")
            assert name == "event: job"
            yield number.removeprefix("id: "), json.loads(data.removeprefix("data: "))


def test_jobs_are_their_owners(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    keys = key_file(path, ward="read,write", clinic="read,write")
    access = AccessSettings(keys_file=str(path), allowed_hosts=("*",))
    with running(tmp_path, access=access) as jobs:
        ward, clinic = bearer(keys["ward"]), bearer(keys["clinic"])
        job_id = accepted(jobs.post({**ASYNC, **ward}))
        deadline = time.monotonic() + 5
        while jobs.job(job_id, ward)["state"] != "done":
            assert time.monotonic() < deadline
        for call in ("", "/events", "/result"):
            told = problem(jobs.client.get(f"/jobs/{job_id}{call}", headers=clinic), 404)
            unknown = problem(jobs.client.get(f"/jobs/{'0' * 32}{call}", headers=clinic), 404)
            assert told["detail"] == unknown["detail"]
        problem(jobs.client.delete(f"/jobs/{job_id}", headers=clinic), 404)
        report = jobs.job(job_id, ward)["report"]
        problem(jobs.client.get(f"/reports/{report}", headers=clinic), 404)
        assert jobs.client.get(f"/reports/{report}", headers=ward).status_code == 200
        batch = jobs.client.post(
            "/batches", files=[("image", ("a.png", png())), ("image", ("b.png", png(seed=4)))], headers=ward
        )
        place = batch.headers["location"]
        problem(jobs.client.get(place, headers=clinic), 404)
        problem(jobs.client.delete(place, headers=clinic), 404)
        assert jobs.client.get(place, headers=ward).status_code == 200


def test_a_callers_jobs_are_bounded(tmp_path: Path) -> None:
    with running(tmp_path, open_per_caller=2) as jobs:
        jobs.backend.delay_s = 1
        for _ in range(2):
            accepted(jobs.post(ASYNC))
        refused = jobs.post(ASYNC)
        problem(refused, 503)
        assert int(refused.headers["retry-after"]) > 0
        problem(jobs.client.get("/jobs"), 404)  # without keys a list would hand out everybody's reports


def test_a_job_that_nobody_runs_is_forgotten_with_its_film(tmp_path: Path) -> None:
    jobs = Jobs(tmp_path, wait_s=0.4)  # not started: nothing looks for jobs
    waiting = accepted(jobs.post(ASYNC))
    assert jobs.job(waiting)["state"] == "queued" and jobs.kinds() == ["job", "job-film", "job-open"]
    time.sleep(0.5)
    problem(jobs.client.get(f"/jobs/{waiting}"), 404)
    jobs.store.purge()
    assert jobs.kinds() == []
    jobs.store.close()
