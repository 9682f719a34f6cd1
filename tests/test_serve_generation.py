"""The generation deployment without Ray: foreign films, given reports, and what the model gets of a film."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, suppress
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest
from pydantic import ValidationError

from deployments.generation import GenerationDeployment
from deployments.relevancy import RelevancyDeployment
from deployments.settings import GenerationUserConfig
from deployments.user_config import UserConfig
from medinterp.api import metrics
from medinterp.api.backend import ComparingTask, JudgingTask, MeasuringTask, Progress, ReadingTask
from medinterp.api.report_id import new_report_id
from medinterp.api.selection import WordSelection
from medinterp.api.store import SqliteStoreSettings, open_store, pack_record
from medinterp.errors import (
    FilmWithheldError,
    GenerationCancelled,
    ModelError,
    ReportTextError,
    RequestTooLargeError,
    SelectionError,
)
from medinterp.imaging import read_film
from medinterp.model.view import model_view
from medinterp.relevancy import word_maps
from medinterp.types import Explanation, Film
from tests.api_films import raster
from tests.api_samples import sample_explanation
from tests.generation import generation_deployment
from tests.models import noise_film

TASK = ReadingTask(prompt=None, methods=("raw",), max_new_tokens=3, layer_attention=False)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> SqliteStoreSettings:
    return SqliteStoreSettings(path=str(tmp_path_factory.mktemp("store") / "r.sqlite3"))


@pytest.fixture(scope="module")
def generation(store: SqliteStoreSettings) -> Iterator[GenerationDeployment]:
    """The bundled model, which knows its own films."""
    deployment = generation_deployment(store)
    yield deployment
    deployment._store.close()


def by(generation: GenerationDeployment, explanation: Explanation) -> Explanation:
    """The explanation as if this deployment's own model had made it."""
    revision = generation._models.default.generator.loaded.revision
    return replace(explanation, provenance=replace(explanation.provenance, model_revision=revision))


def own() -> Film:
    return read_film(raster("PNG", 400, 480))


def test_a_film_of_the_models_own_kind_is_read(generation: GenerationDeployment) -> None:
    assert asyncio.run(generation.write(own(), TASK)).warnings == ()


def test_another_is_withheld_before_the_model_is_asked(
    generation: GenerationDeployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generation._models.default.generator, "generate", None)

    async def aloud() -> None:
        async for _ in generation.write_aloud(noise_film(), TASK):
            pass

    for reading in (generation.write(noise_film(), TASK), aloud()):
        with pytest.raises(FilmWithheldError) as caught:
            asyncio.run(reading)
        assert [warning.code for warning in caught.value.warnings] == ["foreign"]


def test_by_force_it_is_read_and_the_doubt_goes_with_it(generation: GenerationDeployment) -> None:
    written = asyncio.run(generation.write(noise_film(), replace(TASK, force=True)))
    assert [warning.code for warning in written.warnings] == ["foreign"]
    report, packs, _, doubts, *_ = RelevancyDeployment().explain(written, ("raw",))
    assert (len(report.tokens), list(packs), doubts) == (3, ["raw"], written.warnings)
    again = replace(TASK, force=True, methods=("edge_gradient",), on_model=("edge_gradient",))
    assert asyncio.run(generation.write(noise_film(), again)).warnings == written.warnings


def test_the_models_view_of_a_stored_report(generation: GenerationDeployment, store: SqliteStoreSettings) -> None:
    reports, report_id = open_store(store), new_report_id()
    reports.put(report_id, pack_record(by(generation, sample_explanation(own()))))
    reports.close()
    png = asyncio.run(generation.view(report_id))
    drawn = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(drawn, model_view(generation._models.default.generator.loaded, own()))


# ---- a prior film ----


def earlier() -> Film:
    return read_film(raster("PNG", 380, 420, seed=5))


def test_a_prior_film_is_read_beside_it_and_has_maps_of_its_own(
    generation: GenerationDeployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    methods = ("raw", "edge_gradient")
    task = replace(TASK, methods=methods, on_model=("edge_gradient",))
    written = asyncio.run(generation.write(own(), task, prior=earlier()))
    assert len(written.trace.image_spans) == 2
    assert written.trace.provenance.film_sha256 == (own().sha256, earlier().sha256)
    explained = RelevancyDeployment().explain(written, methods)
    assert list(explained.packs) == list(explained.prior_packs) == list(methods)
    for name in methods:
        assert (explained.packs[name].image, explained.prior_packs[name].image) == (0, 1)
        assert not np.array_equal(explained.packs[name].values, explained.prior_packs[name].values)
    given = asyncio.run(generation.write(own(), GIVEN, prior=earlier()))
    assert len(given.trace.image_spans) == 2
    assert RelevancyDeployment().explain(asyncio.run(generation.write(own(), TASK)), ("raw",)).prior_packs == {}


def test_a_foreign_prior_film_is_withheld_and_says_which_it_is(generation: GenerationDeployment) -> None:
    with pytest.raises(FilmWithheldError, match=r"^prior: ") as caught:
        asyncio.run(generation.write(own(), TASK, prior=noise_film()))
    assert caught.value.film == "prior"
    with pytest.raises(FilmWithheldError) as caught:
        asyncio.run(generation.write(noise_film(), TASK, prior=own()))
    assert caught.value.film == "image"
    forced = asyncio.run(generation.write(own(), replace(TASK, force=True), prior=noise_film()))
    assert (forced.warnings, [one.code for one in forced.prior_warnings]) == ((), ["foreign"])


def test_a_stored_report_of_two_films_is_asked_about(
    generation: GenerationDeployment, store: SqliteStoreSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = asyncio.run(generation.write(own(), replace(TASK, max_new_tokens=4), prior=earlier()))
    explained = RelevancyDeployment().explain(written, ("raw",))
    explanation = Explanation(
        own(), explained.report, explained.packs, explained.provenance, None, earlier(), explained.prior_packs
    )
    reports, report_id = open_store(store), new_report_id()
    reports.put(report_id, pack_record(explanation))
    reports.close()
    *progress, film, prior = collected(generation.measure(report_id, MeasuringTask("edge_gradient")))
    assert all(isinstance(one, Progress) for one in progress)
    assert (film.image, prior.image) == (0, 1)
    assert film.values.shape == prior.values.shape == (len(written.report.tokens), 16, 16)
    judged: list[Any] = []  # the verdict itself takes long: tests/test_serve_prior.py has one by a small model
    monkeypatch.setattr(generation, "_judge_map", lambda *asked, **options: judged.append((*asked, options["image"])))
    collected(generation.judge(report_id, JudgingTask(WordSelection(0, 0), image=1)))
    ((_, films, _, _, _, method, values, image),) = judged
    assert ([film.sha256 for film in films], method, image) == ([own().sha256, earlier().sha256], "raw", 1)
    kept = word_maps(explained.prior_packs["raw"], explained.report.words)
    np.testing.assert_array_equal(values, kept[0])
    views = [asyncio.run(generation.view(report_id, image)) for image in (0, 1)]
    assert views[0] != views[1]
    drawn = cv2.imdecode(np.frombuffer(views[1], np.uint8), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(drawn, model_view(generation._models.default.generator.loaded, earlier()))
    with pytest.raises(SelectionError, match="two films cannot be compared"):
        collected(generation.compare(report_id, ComparingTask(("Is there a nodule?",))))


# ---- a report that somebody else wrote ----

GIVEN = replace(TASK, report="LUNGS: No nodule. A zebra.\n", max_new_tokens=60)


def test_a_given_report_has_what_a_written_one_has(generation: GenerationDeployment) -> None:
    task = replace(TASK, methods=("raw", "attention_flow"), max_new_tokens=40, layer_attention=True)
    written = asyncio.run(generation.write(own(), task))
    given = asyncio.run(generation.write(own(), replace(task, report=written.report.text)))
    for ours, its in zip(given.report.words, written.report.words, strict=True):
        assert (ours.text, ours.unlikely) == (its.text, its.unlikely) == (ours.text, False)
        assert ours.logprob == pytest.approx(its.logprob, abs=1e-4)
    explained = [RelevancyDeployment().explain(one, task.methods)[1] for one in (given, written)]
    for method in task.methods:
        ours, its = (packs[method].values for packs in explained)
        np.testing.assert_allclose(ours[: len(its)], its, atol=1e-3 * float(np.abs(its).max()))
    assert (given.trace.provenance.given, written.trace.provenance.given) == (True, False)
    assert given.trace.provenance.prompt == written.trace.provenance.prompt


def test_words_that_the_model_would_hardly_write_are_marked(generation: GenerationDeployment) -> None:
    written = asyncio.run(generation.write(own(), replace(TASK, max_new_tokens=40))).report
    word = written.words[8]
    text = f"{written.text[: word.start]}zebra{written.text[word.end :]}"
    report = asyncio.run(generation.write(own(), replace(GIVEN, report=text))).report
    assert report.text == text
    assert [one.unlikely for one in report.words[:9]] == [False] * 8 + [True]


def collected(items: AsyncGenerator[Any]) -> list[Any]:
    """All items."""

    async def collect() -> list[Any]:
        found = []
        async with aclosing(items):
            async for item in items:
                found.append(item)
        return found

    return asyncio.run(collect())


def test_its_text_comes_whole_and_then_the_progress(generation: GenerationDeployment) -> None:
    task = replace(GIVEN, methods=("edge_gradient",), on_model=("edge_gradient",))
    text, *progress, last = collected(generation.write_aloud(own(), task))
    assert text == GIVEN.report
    assert progress and all(isinstance(one, Progress) for one in progress)
    assert list(last.measured) == ["edge_gradient"]


@pytest.mark.parametrize(
    ("task", "error", "told"),
    [
        (replace(GIVEN, max_new_tokens=3), RequestTooLargeError, r"has \d+ tokens; 3 are explained at most"),
        (replace(GIVEN, report="No nodule.<end_of_turn>"), ReportTextError, "control tokens: <end_of_turn>"),
        (replace(GIVEN, report="no " * 4000, max_new_tokens=9999), RequestTooLargeError, "the model holds"),
    ],
)
def test_what_cannot_be_explained_is_refused_before_the_model_is_asked(
    generation: GenerationDeployment,
    monkeypatch: pytest.MonkeyPatch,
    task: ReadingTask,
    error: type[Exception],
    told: str,
) -> None:
    monkeypatch.setattr("medinterp.model.generation.read_given", None)
    with pytest.raises(error, match=told):
        asyncio.run(generation.write(own(), task))
    with pytest.raises(error, match=told):
        collected(generation.write_aloud(own(), task))


@pytest.mark.parametrize("text", ["The X-ray of Miller", "The X-ray of O'Hara"])
def test_an_error_quotes_nothing_of_a_report(
    generation: GenerationDeployment, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    """Serve writes it to the log."""
    tokenizer = type(generation._models.default.generator.loaded.processor.tokenizer)
    real = tokenizer.__call__
    monkeypatch.setattr(tokenizer, "__call__", lambda self, text, **k: real(self, text.replace("X", "x"), **k))
    with pytest.raises(ReportTextError, match=r"from character 4 on; write that place in plain letters$") as caught:
        asyncio.run(generation.write(own(), replace(GIVEN, report=text)))
    assert caught.value.__context__ is None
    assert not any(word in str(caught.value) for word in text.split()[1:])


def test_a_caller_who_has_gone_is_not_explained_to(
    generation: GenerationDeployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("medinterp.model.generation.read_given", None)
    gone = threading.Event()
    gone.set()
    with pytest.raises(GenerationCancelled):
        generation._models.default.write([own()], GIVEN, None, None, gone)


def test_a_given_report_on_a_film_that_means_nothing_is_withheld_too(generation: GenerationDeployment) -> None:
    with pytest.raises(FilmWithheldError):
        asyncio.run(generation.write(noise_film(), GIVEN))
    forced = asyncio.run(generation.write(noise_film(), replace(GIVEN, force=True)))
    assert [warning.code for warning in forced.warnings] == ["foreign"]


def test_who_goes_away_leaves_no_error_behind(
    generation: GenerationDeployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread that worked for the caller ends by itself, and the next report is written."""
    errors: list[object] = []
    monkeypatch.setattr(threading, "excepthook", errors.append)

    async def leave() -> None:
        writing = asyncio.create_task(generation.write(own(), replace(TASK, max_new_tokens=300)))
        await asyncio.sleep(0.3)
        writing.cancel()
        with suppress(asyncio.CancelledError):
            await writing

    asyncio.run(leave())
    for thread in threading.enumerate():
        if thread.name == "generation":
            thread.join(20)
    assert errors == []
    asyncio.run(generation.check_health())
    assert len(asyncio.run(generation.write(own(), TASK)).report.tokens) == 3


def test_a_replica_whose_writer_has_died_is_replaced(
    generation: GenerationDeployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = threading.Thread()
    monkeypatch.setattr(generation._models.default.generator._scheduler, "_thread", dead)
    with pytest.raises(ModelError, match="writing thread has died"):
        asyncio.run(generation.check_health())


# ---- operation ----


def test_a_replica_whose_model_is_stuck_is_replaced_and_one_that_is_slow_is_not(
    generation: GenerationDeployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, scheduler = generation._models.default.generator.loaded.lock, generation._models.default.generator._scheduler
    generation.reconfigure(GenerationUserConfig(stalled_s=0.4).model_dump())
    try:
        held, let_go = threading.Event(), threading.Event()

        def wedge() -> None:
            with lock.once():
                held.set()
                let_go.wait(20)

        thread = threading.Thread(target=wedge)
        thread.start()
        held.wait(5)
        asyncio.run(generation.check_health())  # a step may take its time
        time.sleep(0.5)
        with pytest.raises(ModelError, match=r"has not gone on for .* a step is stuck"):
            asyncio.run(generation.check_health())
        let_go.set()
        thread.join(5)
        asyncio.run(generation.check_health())
        assert scheduler.still_s == 0
        monkeypatch.setattr(scheduler, "_waiting", [object()])
        monkeypatch.setattr(scheduler, "_moved_at", time.monotonic() - 1)
        with pytest.raises(ModelError, match="a step is stuck"):  # the loop itself, though nobody holds the model
            asyncio.run(generation.check_health())
    finally:
        generation.reconfigure(GenerationUserConfig().model_dump())


def test_a_device_that_fails_is_found(generation: GenerationDeployment, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        raise RuntimeError("CUDA error")

    monkeypatch.setattr("deployments.operation._compute", fail)
    with pytest.raises(RuntimeError, match="CUDA error"):
        asyncio.run(generation.check_health())
    with pytest.raises(RuntimeError, match="CUDA error"):
        asyncio.run(generation.ping())


def test_places_and_pieces_change_without_a_new_replica(generation: GenerationDeployment) -> None:
    model = generation._models.default.generator
    try:
        questions = {"piece_s": 0.5, "memory_share": 0.1}
        generation.reconfigure({"queue": {"reports": 3, "film_bytes": 7}, "questions": questions})
        assert (generation._reports._places, generation._reports._max_bytes) == (3, 7)
        assert (model.loaded.lock.piece_s, model.memory_share) == (0.5, 0.1)
        refused = metrics.REFUSED_CONFIG.value()
        generation.reconfigure({"queue": {"reports": 0}})  # of a replica that runs: what held before holds on
        assert generation._reports._places == 3
        assert metrics.REFUSED_CONFIG.value() == refused + 1
        with pytest.raises(ValidationError):  # but none starts with it
            UserConfig(GenerationUserConfig, lambda _: None).take({"queue": {"reports": 0}})
    finally:
        generation.reconfigure(GenerationUserConfig().model_dump())


def test_writing_and_asking_are_timed_by_stage_and_method(generation: GenerationDeployment) -> None:
    seconds, methods = metrics.STAGE_SECONDS, metrics.METHOD_SECONDS

    def counts() -> dict[str, float]:
        found = {name: seconds.count(stage=name) for name in ("wait", "write", "explain", "measure", "maps")}
        return found | {name: methods.count(method=name) for name in ("raw", "edge_gradient")}

    def grown(task: ReadingTask) -> dict[str, float]:
        before = counts()
        written = asyncio.run(generation.write(own(), task))
        RelevancyDeployment().explain(written, task.methods)
        return {name: count - before[name] for name, count in counts().items() if count != before[name]}

    assert grown(TASK) == {"wait": 1, "write": 1, "maps": 1, "raw": 1}
    assert grown(GIVEN) == {"wait": 1, "explain": 1, "maps": 1, "raw": 1}
    asked = replace(TASK, methods=("raw", "edge_gradient"), on_model=("edge_gradient",))
    assert grown(asked) == {"wait": 2, "write": 1, "measure": 1, "maps": 1, "raw": 1, "edge_gradient": 1}


def test_what_is_under_way_is_shown(generation: GenerationDeployment) -> None:
    def shown() -> dict[str, float]:
        gauges = (metrics.SLOTS, metrics.SLOTS_BUSY, metrics.TRACE_BYTES, metrics.TRACE_MAX_BYTES)
        names = {gauge: gauge.definition.name.removeprefix("medinterp_") for gauge in gauges}
        found = {names[gauge]: value for gauge in gauges for _, value in gauge.values()}
        return found | {labels["queue"]: value for labels, value in metrics.QUEUE.values()}

    generation._operation.show(slots=True)  # this replica, of those that other tests have made
    assert shown()["slots"] == generation._models.default.generator.writing.slots >= 1
    assert shown()["trace_max_bytes"] == 2**28
    assert (shown()["slots_busy"], shown()["reports"], shown()["trace_bytes"]) == (0, 0, 0)

    async def look() -> list[dict[str, float]]:
        writing = asyncio.create_task(generation.write(own(), replace(TASK, max_new_tokens=200)))
        seen = []
        while not writing.done():
            await asyncio.sleep(0.02)
            seen.append(shown())
        await writing
        return seen

    seen = asyncio.run(look())
    assert max(one["slots_busy"] for one in seen) == max(one["reports"] for one in seen) == 1
    assert (shown()["slots_busy"], shown()["reports"], shown()["writer"]) == (0, 0, 0)
