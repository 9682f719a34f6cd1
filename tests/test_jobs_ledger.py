"""Where jobs stand, in both stores: one replica at a time, their owner's, and nothing left of a film."""

# ruff: noqa: F811 - fixtures are imported, and named again where they are used

from __future__ import annotations

import base64
import json
import os
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from medinterp.api.access.settings import AccessSettings
from medinterp.api.backend import (
    ComparingTask,
    ExportTask,
    HeadsTask,
    JudgingTask,
    MeasuringTask,
    PictureTask,
    ReadingTask,
    SourcesTask,
)
from medinterp.api.jobs.ledger import Ledger, LostError
from medinterp.api.jobs.record import JOB, Job
from medinterp.api.jobs.settings import JobSettings
from medinterp.api.report_id import new_report_id
from medinterp.api.selection import FindingSelection, WordSelection
from medinterp.api.work import (
    ExportWork,
    FaithfulnessWork,
    HeadsWork,
    MapsWork,
    RelianceWork,
    ReportWork,
    SensitivityWork,
    TextWork,
    pack_work,
    unpack_work,
)
from medinterp.errors import JobNotFoundError, StoreFullError
from tests.api_access import bearer, key_file
from tests.test_api_jobs import ASYNC, running
from tests.test_store_both import Opens, kind, opens, port  # noqa: F401 - pytest finds fixtures by name

FILM = b"a patient's film " * 400
SQLITE = pytest.mark.parametrize("kind", ["sqlite"])
TASK = ReadingTask("Look at Mrs Miller.", ("raw",), 32, layer_attention=False)


def report_job() -> Job:
    job_id = new_report_id()
    return Job(job_id, ReportWork(job_id, TASK), time.time(), caller="c")


def ledger(opens: Opens, lease_s: float = 5.0, **store: Any) -> Ledger:
    return Ledger(opens(**store), JobSettings(lease_s=lease_s), 60.0)


@pytest.mark.parametrize(
    "work",
    [
        ReportWork("r", TASK, "full", True, "lut-1"),
        MapsWork("r", MeasuringTask("occlusion", {"block": 2, "blur": 0.5, "exact": True}), 1),
        FaithfulnessWork("r", JudgingTask(WordSelection(1, 4), "raw", 1)),
        SensitivityWork("r", ComparingTask(("Is it?", "Is it so?"), ("raw",), ("flip",), 3)),
        SensitivityWork("r", ComparingTask()),
        TextWork("r", SourcesTask(FindingSelection(2))),
        HeadsWork("r", HeadsTask(WordSelection(0, 0), 1)),
        RelianceWork("r"),
        ExportWork("r", ExportTask("png", FindingSelection(0), PictureTask("raw", 0.25, size=99), 1, "0.5")),
        ExportWork("r", ExportTask("html")),
    ],
    ids=lambda work: work.kind,
)
def test_work_comes_back_as_it_was(work: Any) -> None:
    assert unpack_work(pack_work(work)) == work
    job = replace(report_job(), work=work, address="::1", batch="b", index=3, after="a")
    assert JOB.validate_json(JOB.dump_json(job)) == job


def test_a_job_is_its_owners(opens: Opens) -> None:
    everybody = ledger(opens)
    ward, clinic = everybody.of("ward"), everybody.of("clinic")
    job = report_job()
    ward.create(job, (FILM,))
    assert ward.get(job.job_id).job == job and ward.films(job) == (FILM,)
    assert everybody.get(job.job_id).owner == "ward"
    for ask in (clinic.get, clinic.cancel, everybody.of(None).get):
        with pytest.raises(JobNotFoundError):
            ask(job.job_id)
    with pytest.raises(JobNotFoundError):
        clinic.films(job)
    assert set(ward.open_jobs()) == {job.job_id} == set(everybody.open_jobs()) and not clinic.open_jobs()
    everybody.change(job.job_id, lambda job: replace(job, state="running", attempts=1))
    assert ward.get(job.job_id).job.attempts == 1  # and it is the ward's still


def test_one_of_many_takes_a_job(opens: Opens) -> None:
    ledgers, job = [ledger(opens) for _ in range(8)], report_job()
    ledgers[0].of("ward").create(job, (FILM,))
    taken: list[int | None] = []
    start = threading.Barrier(8)

    def take(ledger: Ledger) -> None:
        start.wait()
        taken.append(ledger.take(job.job_id, os.urandom(8).hex()))

    threads = [threading.Thread(target=take, args=(one,)) for one in ledgers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken, key=str) == [1, *[None] * 7]
    assert ledgers[0].leased() == {job.job_id}


def test_a_lease_is_renewed_or_runs_out(opens: Opens) -> None:
    first = ledger(opens, lease_s=1.5)
    version = first.take("a" * 32, "first")
    assert version == 1
    for _ in range(4):
        time.sleep(0.5)
        version = first.renew("a" * 32, "first", version)
    assert first.take("a" * 32, "second") is None
    time.sleep(1.7)
    assert first.leased() == frozenset() and first.take("a" * 32, "second") is not None
    with pytest.raises(LostError):
        first.renew("a" * 32, "first", version)
    first.release("a" * 32, "first")  # not its own any more
    assert first.leased() == {"a" * 32}
    first.release("a" * 32, "second")
    assert first.leased() == frozenset()


def test_a_renewal_whose_answer_was_lost_holds(opens: Opens) -> None:
    """The Redis client sends such a one again, and it then meets its own version."""
    one = ledger(opens)
    assert one.take("a" * 32, "mine") == 1
    assert one.take("a" * 32, "mine") == 1
    assert one.renew("a" * 32, "mine", 1) == 2
    assert one.renew("a" * 32, "mine", 1) == 2


def test_changes_of_two_are_both_kept(opens: Opens) -> None:
    one, job = ledger(opens), report_job()
    one.create(job, (FILM,))

    def count() -> None:
        for _ in range(10):
            one.change(job.job_id, lambda job: replace(job, attempts=job.attempts + 1))

    threads = [threading.Thread(target=count) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert one.get(job.job_id).job.attempts == 20


def test_the_same_job_twice_is_one_and_is_made_whole(opens: Opens) -> None:
    one, job = ledger(opens), report_job()
    one.create(job, (FILM,))
    one.drop_marker(job.job_id)  # as if it had broken off before that
    one.create(replace(job, created_at=job.created_at + 1), (FILM,))
    assert one.get(job.job_id).job == job and set(one.open_jobs()) == {job.job_id}
    one.cancel(job.job_id)
    one.create(job, (FILM,))
    assert one.get(job.job_id).job.state == "cancelled" and not one.open_jobs()
    with pytest.raises(JobNotFoundError):
        one.films(job)


@SQLITE
def test_a_job_that_finds_no_room_leaves_nothing(opens: Opens) -> None:
    one = ledger(opens, max_bytes=len(FILM) + 200)
    with pytest.raises(StoreFullError):
        one.create(report_job(), (FILM,))
    store = opens(max_bytes=2**20)
    assert not any(store.list_records(name) for name in ("job", "job-film", "job-open"))


@SQLITE
def test_nothing_is_left_of_a_film_once_its_job_has_ended(opens: Opens, tmp_path: Path) -> None:
    one, job = ledger(opens), report_job()
    one.create(job, (FILM,))
    assert planted(tmp_path, FILM[:64]) and planted(tmp_path, b"Mrs Miller")
    one.cancel(job.job_id)
    assert not planted(tmp_path, FILM[:64])
    one.cancel(job.job_id)
    assert not planted(tmp_path, b"Mrs Miller")


@SQLITE
def test_films_and_prompts_are_encrypted_as_reports_are(opens: Opens, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_bytes(base64.b64encode(os.urandom(32)) + b"\n")
    key.chmod(0o600)
    one, job = ledger(opens, encryption_key_file=str(key)), report_job()
    one.create(job, (FILM,))
    one.put_result(job.job_id, b"Mrs Miller's answer")
    assert one.films(job) == (FILM,) and one.result(job.job_id) == b"Mrs Miller's answer"
    assert not planted(tmp_path, FILM[:64]) and not planted(tmp_path, b"Mrs Miller")


def planted(directory: Path, text: bytes) -> bool:
    """Whether the text stands in any file there."""
    return any(text in path.read_bytes() for path in directory.rglob("*") if path.is_file())


def test_the_audit_log_has_what_a_job_does(tmp_path: Path) -> None:
    keys = key_file(tmp_path / "keys.json", ward="read,write")
    log = tmp_path / "audit.jsonl"
    access = AccessSettings(keys_file=str(tmp_path / "keys.json"), allowed_hosts=("*",), audit_log=str(log))
    with running(tmp_path, access=access) as jobs:
        ward = bearer(keys["ward"])
        answer = jobs.post({**ASYNC, **ward, "X-Request-ID": "asked-1"})
        job_id = answer.json()["id"]
        deadline = time.monotonic() + 5
        while jobs.job(job_id, ward)["state"] != "done":
            assert time.monotonic() < deadline
            time.sleep(0.02)
    made = [line for line in map(json.loads, log.read_text().splitlines()) if line["did"] == "made"]
    assert [(line["who"], line["report"], line["call"], line["request"]) for line in made] == [
        ("ward", job_id, "JOB /jobs/{job_id}", "asked-1")
    ]
