"""What drove some words, over the Ray Serve graph: asked of the generation replica by id, ended with the caller."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from deployments.generation import GenerationDeployment
from medinterp.api.backend import HeadsTask, Progress, ReadingTask, RelianceTask, SourcesTask
from medinterp.api.report_id import new_report_id
from medinterp.api.schema_sources import HeadsModel, RelianceModel, TextSourcesModel
from medinterp.api.selection import FindingSelection, WordSelection
from medinterp.api.store import SqliteStoreSettings, open_store, pack_record
from medinterp.errors import ReportNotFoundError, SelectionError
from medinterp.evaluation.faithfulness import Judge
from medinterp.imaging import read_film
from medinterp.model.selection import token_ids_of
from medinterp.types import Explanation
from tests.api_films import raster
from tests.generation import generation_deployment
from tests.served import Served
from tests.sources_samples import sample_heads, sample_text_sources
from tests.test_serve_backend import Handle, backend
from tests.test_serve_graph import EVENTS, events, film, post

WORD = WordSelection(1, 1)
REPORT = "LUNGS: No nodule. PLEURA: Left effusion."


def test_it_is_asked_for_by_id_and_ends_with_its_caller() -> None:
    sources, heads = sample_text_sources(), sample_heads()
    generation = Handle([sources], [heads], [sources, sources])
    service = backend(generation)

    async def run() -> list[Any]:
        found = [item async for item in service.sources("id", SourcesTask(WORD))]
        found += [item async for item in service.sources("id", HeadsTask(WORD))]
        stream = service.sources("id", SourcesTask(WORD))
        await anext(stream)
        await stream.aclose()
        return found

    assert asyncio.run(run()) == [sources, heads]
    assert [(call.method, call.arguments[1], call.cancelled) for call in generation.calls] == [
        ("sources", SourcesTask(WORD), False),
        ("sources", HeadsTask(WORD), False),
        ("sources", SourcesTask(WORD), True),
    ]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> SqliteStoreSettings:
    return SqliteStoreSettings(path=str(tmp_path_factory.mktemp("store") / "r.sqlite3"))


@pytest.fixture(scope="module")
def generation(store: SqliteStoreSettings) -> Iterator[GenerationDeployment]:
    deployment = generation_deployment(store)
    yield deployment
    deployment._store.close()


@pytest.fixture(scope="module")
def kept(generation: GenerationDeployment, store: SqliteStoreSettings) -> str:
    """The id of a given report that is kept."""
    film = read_film(raster("PNG", 400, 480))
    task = ReadingTask(prompt=None, methods=("raw",), max_new_tokens=60, layer_attention=False, report=REPORT)
    written = asyncio.run(generation.write(film, task))
    reports, report_id = open_store(store), new_report_id()
    reports.put(report_id, pack_record(Explanation(film, written.report, {}, written.trace.provenance)))
    reports.close()
    return report_id


def asked(generation: GenerationDeployment, report_id: str, task: SourcesTask | HeadsTask) -> Any:
    async def run() -> list[Any]:
        return [item async for item in generation.sources(report_id, task)]

    (found,) = asyncio.run(run())
    return found


def test_a_given_report_is_asked_about(generation: GenerationDeployment, kept: str) -> None:
    found = asked(generation, kept, SourcesTask(FindingSelection(1)))
    report = generation._report(kept).report
    words = [report.words[k] for k in report.findings[1].word_indices]
    assert found.token_indices == tuple(t for word in words for t in word.token_indices)
    assert found.logprob == pytest.approx(sum(word.logprob for word in words), abs=1e-3)
    heads = asked(generation, kept, HeadsTask(FindingSelection(1)))
    assert float(heads.mass.mean()) == pytest.approx(found.film_attention[0], abs=1e-5)


def test_every_word_of_a_given_report_is_asked_about(generation: GenerationDeployment, kept: str) -> None:
    """With progress, and by the judge's own numbers."""

    async def run() -> list[Any]:
        return [item async for item in generation.sources(kept, RelianceTask())]

    *told, found = asyncio.run(run())
    assert told == [Progress("reliance", done, 6) for done in range(1, 7)]
    explanation, loaded = generation._report(kept), generation._models.default.generator.loaded
    report, prompt = explanation.report, explanation.provenance.prompt
    assert len(found.reliance) == len(report.words) and len(found.swap_drops) == 4
    effusion = report.words[-1]
    assert effusion.text == "effusion"
    with loaded.lock:
        judge = Judge(loaded, explanation.films, prompt, token_ids_of(report), effusion.token_indices)
    assert found.reliance[effusion.index] == pytest.approx(judge.reliance, abs=1e-3)
    np.testing.assert_allclose(found.swap_drops[:, effusion.index], judge.drops[1:], atol=1e-3)
    assert found.reliance.max() > 1, "phantom reads the film"


def test_what_the_report_has_not_is_refused(generation: GenerationDeployment, kept: str) -> None:
    for task, told in (
        (SourcesTask(WordSelection(0, 99)), "counted from 0"),
        (HeadsTask(FindingSelection(9)), "counted from 0"),
        (HeadsTask(WORD, image=1), "read of 1 film"),
    ):
        with pytest.raises(SelectionError, match=told):
            asked(generation, kept, task)
    with pytest.raises(ReportNotFoundError):
        asked(generation, new_report_id(), SourcesTask(WORD))


def test_who_goes_away_while_waiting_is_not_answered(
    generation: GenerationDeployment, kept: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model is held by another; the caller leaves; when it is free again nothing is computed."""
    ended = threading.Event()
    compute = generation._text_sources

    def noted(*args: Any, **options: Any) -> Any:
        try:
            return compute(*args, **options)
        finally:
            ended.set()

    monkeypatch.setattr(generation, "_text_sources", noted)

    async def run() -> None:
        stream = generation.sources(kept, SourcesTask(WORD))
        waiting = asyncio.create_task(anext(stream))
        await asyncio.sleep(0.3)
        assert not ended.is_set()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert await asyncio.to_thread(ended.wait, 5), "it still waits for the model"

    with generation._models.default.generator.loaded.lock:
        asyncio.run(run())


def test_over_http(served: Served) -> None:
    given = {"report": "No tube. Small nodule."}  # for what a random model writes may be one word
    made = served.client.post("/v1/reports", files=film(), data=given).json()
    place = f"/v1/reports/{made['id']}"
    word = next(word for word in made["report"]["words"][1:] if word["token_indices"])
    body = {"words": str(word["index"])}
    answer = served.client.post(f"{place}/text", json=body, headers=EVENTS)
    assert answer.status_code == 200, answer.text
    name, data = events(answer.text.splitlines())[-1]
    assert name == "text_sources"
    found = TextSourcesModel.model_validate(data)
    assert found.logprob == pytest.approx(word["logprob"], abs=1e-3)
    parts = (found.film, found.first_token, found.template, found.punctuation, *found.prompt, *found.report)
    assert sum(part.attention for part in parts) == pytest.approx(1.0, abs=1e-4)
    assert len(found.prompt) > 5
    assert all(made["provenance"]["prompt"][one.start : one.end] == one.text for one in found.prompt)
    heads = HeadsModel.model_validate_json(served.client.post(f"{place}/heads", json=body).content)
    assert heads.maps.shape == (*heads.mass.shape, 16, 16)
    assert heads.layer_types == tuple(made["provenance"]["layer_types"])
    assert float(heads.mass.mean()) == pytest.approx(found.film.attention, abs=1e-4)
    whole = heads.maps.astype(np.float32).sum(axis=(2, 3)) * heads.scale
    np.testing.assert_allclose(whole, heads.mass, rtol=2e-3, atol=1e-5)
    (kept,) = served.client.get(f"{place}/export?format=json").json()["text_sources"]
    assert tuple(kept["token_indices"]) == found.token_indices
    refused = served.client.post(f"{place}/text", json={"words": "5000"}, headers=EVENTS)
    assert (refused.status_code, refused.headers["content-type"]) == (422, "application/problem+json")


def test_reliance_over_http(served: Served) -> None:
    made = post(served, 40).json()
    place = f"/v1/reports/{made['id']}"
    told = events(served.client.post(f"{place}/reliance", headers=EVENTS).text.splitlines())
    assert [name for name, _ in told] == ["progress"] * 6 + ["reliance"]
    assert told[-2][1] == {"what": "reliance", "done": 6, "of": 6}
    found = RelianceModel.model_validate(told[-1][1])
    words = [word for word in made["report"]["words"] if word["token_indices"]]
    assert [word.index for word in found.words] == [word["index"] for word in words]
    assert [word.logprob for word in found.words] == pytest.approx([word["logprob"] for word in words], abs=1e-3)
    assert all(word.reliance == max(word.swap_drops) and len(word.swap_drops) == found.films for word in found.words)
    again = served.client.post(f"{place}/reliance")
    assert again.json() == told[-1][1]
    kept = served.client.get(place).json()["report"]["words"]
    assert [word["reliance"] for word in kept if word["token_indices"]] == [word.reliance for word in found.words]
    exported = served.client.get(f"{place}/export?format=json").json()["reliance"]
    assert exported["fills"][0] == "blank" and len(exported["swap_drops"]) == found.films


def test_what_is_asked_is_not_in_the_log(served: Served) -> None:
    made = post(served, 30).json()
    for path, body in (("text", {"words": "0"}), ("heads", {"words": "0"}), ("reliance", {})):
        assert served.client.post(f"/v1/reports/{made['id']}/{path}", json=body).status_code == 200
    time.sleep(1)
    log = served.log.read_text()
    assert made["id"] not in log and made["report"]["text"][:20] not in log
