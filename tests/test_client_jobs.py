"""Jobs and batches by the clients; the service is a script of answers."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import httpx
import pytest

import medinterp
from medinterp import errors
from medinterp.client import ProblemError, UnreachableError

ID, REPORT, BATCH = "a" * 32, "b" * 32, "c" * 32
NOW = "2026-01-02T03:04:05+00:00"
GONE = {"type": "urn:medinterp:problem:unreadable-film", "title": "t", "status": 400, "detail": "no film"}


def job(state: str, **told: Any) -> dict[str, Any]:
    known = {"id": ID, "kind": "report", "state": state, "attempts": 1, "created_at": NOW, "expires_at": NOW}
    return {**known, "report": REPORT, "progress": None, "problem": None, "batch": None, "index": None, **told}


def batch(state: str, *jobs: dict[str, Any]) -> dict[str, Any]:
    counts = dict.fromkeys(("queued", "running", "done", "failed", "cancelled"), 0)
    for one in jobs:
        counts[one["state"]] += 1
    told = {"id": BATCH, "state": state, "counts": counts, "created_at": NOW, "expires_at": NOW, "forgotten": 0}
    return {**told, "jobs": list(jobs)}


class Script:
    """Answers each path in turn, the last one for ever."""

    def __init__(self, **answers: list[tuple[int, Any]]) -> None:
        self._answers = answers
        self.requests: list[httpx.Request] = []
        self.transport = httpx.MockTransport(self._answer)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        request.read()
        self.requests.append(request)
        answers = self._answers[f"{request.method}_{request.url.path.split('/')[2]}".lower()]
        status, body = answers.pop(0) if len(answers) > 1 else answers[0]
        return httpx.Response(status, json=body)

    def client(self) -> medinterp.Client:
        return medinterp.Client("http://service", patience_s=0, transport=self.transport)


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    async def at_once(_: float) -> None:
        return None

    monkeypatch.setattr(time, "sleep", lambda _: None)
    monkeypatch.setattr(asyncio, "sleep", at_once)


def explained() -> dict[str, Any]:
    from medinterp.api.answers import explanation_model
    from tests.api_samples import sample_explanation

    model = explanation_model(REPORT, sample_explanation(), 0.0, with_maps=False)
    return model.model_dump(mode="json")


STEPS = [(200, job("queued")), (200, job("running", progress={"what": "raw", "done": 1, "of": 2})), (200, job("done"))]


def test_a_film_is_handed_in_and_its_report_asked_for_later() -> None:
    script = Script(post_reports=[(202, job("queued"))], get_jobs=[*STEPS], get_reports=[(200, explained())])
    changes: list[str] = []
    with script.client() as client:
        submitted = client.submit(b"film", methods=["raw"])
        assert (submitted.id, submitted.job.state) == (ID, "queued") and ID not in repr(submitted)
        report = submitted.wait(on_change=lambda now: changes.append(now.state))
        assert report.id == REPORT and report.words[1].text == "effusion"
        assert changes == ["running", "done"]
        assert client.job(ID).wait().id == REPORT
    first = script.requests[0]
    assert first.headers["prefer"] == "respond-async" and first.headers["idempotency-key"]
    assert first.headers["accept"] == "application/json" and b"methods" in first.content


def test_a_job_that_made_no_report_says_why() -> None:
    failed = Script(get_jobs=[(200, job("failed", problem=GONE))])
    with failed.client() as client, pytest.raises(errors.UnreadableFilmError, match="no film") as caught:
        client.job(ID).wait()
    assert isinstance(caught.value, ProblemError) and caught.value.status == 400
    cancelled = Script(get_jobs=[(200, job("running")), (200, job("cancelled"))], delete_jobs=[(204, None)])
    with cancelled.client() as client:
        running = client.job(ID)
        running.cancel()
        with pytest.raises(errors.GenerationCancelled):
            running.wait()
    endless = Script(get_jobs=[(200, job("running"))])
    with endless.client() as client, pytest.raises(UnreachableError, match="goes on"):
        client.job(ID).wait(0)


def test_a_batch_has_a_job_for_each_film() -> None:
    done, failed = job("done", index=0, batch=BATCH), job("failed", index=1, batch=BATCH, problem=GONE)
    open_ = batch("open", job("running", index=0), job("queued", index=1))
    script = Script(
        post_batches=[(202, open_)],
        get_batches=[(200, open_), (200, batch("ended", done, failed))],
        get_reports=[(200, explained())],
        delete_batches=[(204, None)],
    )
    changes: list[str] = []
    with script.client() as client:
        sent = client.batch([b"one", b"two"], reports={1: "HEART: Normal."}, methods=["raw"], force=True)
        assert len(sent.jobs) == 2 and BATCH not in repr(sent)
        ended = sent.wait(on_change=lambda now: changes.append(now.state))
        assert (ended.counts["done"], ended.counts["failed"], changes) == (1, 1, ["ended"])
        assert sent.jobs[0].wait().id == REPORT
        with pytest.raises(errors.UnreadableFilmError):
            sent.jobs[1].wait()
        sent.cancel()
        assert client.get_batch(BATCH).batch == ended
    content = script.requests[0].content
    assert content.count(b'name="image"; filename="film"') == 2 and b'name="report.1"' in content
    assert content.index(b"one") < content.index(b"two") and script.requests[0].headers["idempotency-key"]


def test_they_are_awaited_too() -> None:
    both = batch("ended", job("done", index=0))
    script = Script(
        post_reports=[(202, job("queued"))],
        get_jobs=[*STEPS],
        get_reports=[(200, explained())],
        post_batches=[(202, both)],
        get_batches=[(200, both)],
        delete_jobs=[(204, None)],
        delete_batches=[(204, None)],
    )

    async def ask() -> None:
        async with medinterp.AsyncClient("http://service", patience_s=0, transport=script.transport) as client:
            submitted = await client.submit(b"film")
            assert (await submitted.wait()).id == REPORT
            await submitted.cancel()
            sent = await client.batch([b"one"])
            assert (await sent.wait()).state == "ended" and (await sent.jobs[0].wait()).id == REPORT
            await (await client.get_batch(BATCH)).cancel()
            assert (await client.job(ID)).job.ended

    asyncio.run(ask())


def test_ids_that_are_none() -> None:
    with Script().client() as client:
        for call in (client.job, client.get_batch):
            with pytest.raises(errors.SelectionError):
                call("../reports")
