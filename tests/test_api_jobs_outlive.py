"""A job outlives the replica that ran it, is never done by two, and ends once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from medinterp.api.backend import ReadingTask
from medinterp.errors import ReportNotFoundError
from medinterp.types import Film
from tests.api_backend import FakeBackend, png
from tests.api_replicas import Replica

ASYNC = {"Prefer": "respond-async"}
QUICK = {"lease_s": 2.0, "look_s": 0.05}


AT_ONCE: list[str] = []
"""The films that are read just now, in all replicas."""
AT_ONCE_SEEN: list[int] = []
"""How many those were, at each film."""


@dataclass
class Counting(FakeBackend):
    """Counts the films that are read at once."""

    delay_s: float = 0.02

    async def read_aloud(self, film: Film, task: ReadingTask, prior: Film | None = None) -> Any:
        AT_ONCE.append(film.sha256)
        AT_ONCE_SEEN.append(len(AT_ONCE))
        try:
            async for item in super().read_aloud(film, task, prior):
                yield item
        finally:
            AT_ONCE.remove(film.sha256)


@contextmanager
def replicas(
    directory: Path, count: int, backend: type[FakeBackend] = FakeBackend, **jobs: Any
) -> Iterator[list[Replica]]:
    with ExitStack() as stack:
        made = []
        for _ in range(count):
            made.append(Replica(directory, backend, **{**QUICK, **jobs}))
            stack.callback(made[-1].end)
        yield made


def hand_in(replica: Replica) -> str:
    answer = replica.request("POST", "/reports", files={"image": ("f.png", png())}, headers=ASYNC)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def until(
    replica: Replica, job_id: str, holds: Callable[[dict[str, Any]], object], within_s: float = 8
) -> dict[str, Any]:
    deadline = time.monotonic() + within_s
    while True:
        answer = replica.request("GET", f"/jobs/{job_id}")
        assert answer.status_code == 200, answer.text
        job: dict[str, Any] = answer.json()
        if holds(job):
            return job
        assert time.monotonic() < deadline, job
        time.sleep(0.02)


def running_at(replica: Replica, job_id: str) -> dict[str, Any]:
    return until(replica, job_id, lambda job: replica.backend.tasks and job["state"] == "running")


def reports(replica: Replica) -> int:
    return replica.store.usage().reports


def test_another_replica_ends_what_one_began(tmp_path: Path) -> None:
    with replicas(tmp_path, 1) as (first,):
        first.backend.delay_s = 30
        job_id = hand_in(first)
        running_at(first, job_id)
        first.drop()
        with replicas(tmp_path, 1) as (second,):
            assert second.request("GET", f"/jobs/{job_id}").json()["state"] == "running"
            job = until(second, job_id, lambda job: job["state"] == "done")
            assert (job["attempts"], len(second.backend.tasks), reports(second)) == (2, 1, 1)
            assert second.request("GET", f"/reports/{job['report']}").status_code == 200
            assert second.request("GET", f"/jobs/{job_id}/result").status_code == 200


def test_who_comes_back_too_late_changes_nothing(tmp_path: Path) -> None:
    with replicas(tmp_path, 1) as (first,):
        first.backend.delay_s = 0.2
        job_id = hand_in(first)
        running_at(first, job_id)
        first.drop()
        with replicas(tmp_path, 1) as (second,):
            until(second, job_id, lambda job: job["state"] == "done")
            before = second.store.get_record("job", job_id)
            report = second.store.stamp(before.record_id)
            first.resume()  # in the middle of its report, which it believes to be its own
            time.sleep(3.0)
            assert second.store.get_record("job", job_id) == before
            assert second.store.stamp(before.record_id).version == report.version
            assert reports(second) == 1 and first.store.list_records("job-lease") == ()


def test_a_report_that_was_put_before_its_replica_went_is_not_made_again(tmp_path: Path) -> None:
    with replicas(tmp_path, 1) as (first,):
        job_id = hand_in(first)
        until(first, job_id, lambda job: job["state"] == "done")
        version = first.store.stamp(job_id).version
        # As if it had gone between the report and the word that the job is done.
        ledger_job = first.store.get_record("job", job_id)
        again = ledger_job.data.replace(b'"state":"done"', b'"state":"running"')
        first.store.put_record("job", job_id, again, ledger_job.version)
        first.store.put_record("job-film", f"{job_id}-0", b"x", 0)
        first.store.put_record("job-open", job_id, b'{"created_at":1.0,"caller":"","after":null}', 0)
        until(first, job_id, lambda job: job["state"] == "done" and job["attempts"] == 2)
        assert len(first.backend.tasks) == 1 and first.store.stamp(job_id).version == version
        deadline = time.monotonic() + 5
        while first.store.list_records("job-film"):
            assert time.monotonic() < deadline
            time.sleep(0.02)


def test_a_job_that_takes_its_replica_along_is_given_up(tmp_path: Path) -> None:
    with ExitStack() as stack:
        job_id = ""
        for attempt in (1, 2):
            (replica,) = stack.enter_context(replicas(tmp_path, 1, attempts=2))
            replica.backend.delay_s = 30
            job_id = job_id or hand_in(replica)
            assert running_at(replica, job_id)["attempts"] == attempt
            replica.drop()
        (last,) = stack.enter_context(replicas(tmp_path, 1, attempts=2))
        job = until(last, job_id, lambda job: job["state"] == "failed")
        assert job["problem"]["type"] == "urn:medinterp:problem:job-abandoned" and job["attempts"] == 2
        assert "2 times" in job["problem"]["detail"] and not last.backend.tasks
        assert last.request("GET", f"/jobs/{job_id}/result").status_code == 500
        assert last.store.list_records("job-film") == ()


def test_who_ends_as_it_should_gives_its_jobs_back_at_once(tmp_path: Path) -> None:
    with replicas(tmp_path, 1) as (second,):
        first = Replica(tmp_path, **{**QUICK, "lease_s": 60.0, "at_once": 1})
        try:
            first.backend.delay_s = 30
            second.drop()
            job_id = hand_in(first)
            running_at(first, job_id)
        finally:
            first.end()
        at = time.monotonic()
        second.resume()
        job = until(second, job_id, lambda job: job["state"] == "done")
        assert job["attempts"] == 1 and time.monotonic() - at < 5


def test_a_job_is_called_off_at_another_replica(tmp_path: Path) -> None:
    with replicas(tmp_path, 2, lease_s=6.0) as (first, second):
        second.backend.delay_s = first.backend.delay_s = 30
        job_id = hand_in(first)
        until(first, job_id, lambda job: first.backend.tasks or second.backend.tasks)
        (runs,) = [one for one in (first, second) if one.backend.tasks]
        other = second if runs is first else first
        at = time.monotonic()
        assert other.request("DELETE", f"/jobs/{job_id}").status_code == 204
        while runs.store.list_records("job-lease"):  # given back when the work has stopped
            assert time.monotonic() - at < 1.0
            time.sleep(0.01)
        with pytest.raises(ReportNotFoundError):
            first.store.stamp(job_id)


def test_each_film_of_a_batch_is_read_once_and_few_at_once(tmp_path: Path) -> None:
    films = [("image", (f"{seed}.png", png(seed=seed))) for seed in range(1, 9)]
    with replicas(tmp_path, 3, Counting, at_once=1) as (first, *others):
        AT_ONCE.clear()
        AT_ONCE_SEEN.clear()
        answer = first.request("POST", "/batches", files=films)
        assert answer.status_code == 202, answer.text
        place = "/" + answer.headers["location"]
        deadline = time.monotonic() + 20
        while (batch := others[0].request("GET", place).json())["state"] != "ended":
            assert time.monotonic() < deadline, batch
            time.sleep(0.05)
        assert batch["counts"]["done"] == 8
        backends = [replica.backend for replica in (first, *others)]
        assert sum(len(backend.tasks) for backend in backends) == 8
        assert sum(bool(backend.tasks) for backend in backends) >= 2
        assert max(AT_ONCE_SEEN) == 2
        assert reports(first) == 8
