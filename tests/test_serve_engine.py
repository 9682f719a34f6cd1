"""The generation deployment with an engine that writes: streamed, explained here, and its faults told."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from deployments.generation import GenerationDeployment
from deployments.settings import EngineSettings
from medinterp.api.backend import ReadingTask
from medinterp.api.store import SqliteStoreSettings
from medinterp.errors import EngineError, FilmWithheldError, PromptError, RequestTooLargeError, ServiceInterruptedError
from medinterp.imaging import read_film
from medinterp.model import Generator, load_model
from medinterp.types import Film, Generation
from tests.api_films import raster
from tests.generation import generation_deployment
from tests.models import noise_film
from tests.openai_server import KEY, MODEL, OpenAIServer, openai_server

TASK = ReadingTask(prompt=None, methods=("raw",), max_new_tokens=40, layer_attention=False)


@pytest.fixture(scope="module")
def generator() -> Generator:
    return Generator(load_model("phantom"))


@pytest.fixture(scope="module")
def running(generator: Generator) -> Iterator[OpenAIServer]:
    with openai_server(generator) as server:
        yield server


@pytest.fixture
def server(running: OpenAIServer) -> OpenAIServer:
    running.reset()
    return running


@pytest.fixture(scope="module")
def deployment(running: OpenAIServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GenerationDeployment]:
    store = SqliteStoreSettings(path=str(tmp_path_factory.mktemp("store") / "r.sqlite3"))
    writer = EngineSettings(kind="openai", base_url=running.base_url, model=MODEL)
    made = generation_deployment(store, writer)
    yield made
    made._store.close()


def film() -> Film:
    return read_film(raster("PNG", 400, 480))


def aloud(deployment: GenerationDeployment, task: ReadingTask, picture: Film) -> list[Any]:
    async def collect() -> list[Any]:
        async with aclosing(deployment.write_aloud(picture, task)) as items:
            return [item async for item in items]

    return asyncio.run(collect())


def test_the_engine_writes_and_this_replica_explains(
    deployment: GenerationDeployment, server: OpenAIServer, generator: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deployment._models.default.generator, "generate", None)
    own = generator.generate([film()], max_new_tokens=40)
    *words, last = aloud(deployment, TASK, film())
    explained: Generation = last
    assert "".join(words) == own.report.text and len(words) > 5
    assert explained.report.text == own.report.text
    assert explained.report.complete == own.report.complete
    np.testing.assert_allclose(explained.trace.token_logprob, own.trace.token_logprob, atol=1e-3)
    np.testing.assert_allclose(explained.trace.attention_mass, own.trace.attention_mass, atol=1e-3)
    told = explained.trace.provenance
    assert (told.given, told.writer, told.tokens_compared, told.retokenised_at) == (False, MODEL, True, None)
    assert told.max_new_tokens == 40
    assert asyncio.run(deployment.models())[0].writer == f"the engine's model {MODEL}"


def test_a_given_report_does_not_go_to_the_engine(deployment: GenerationDeployment, server: OpenAIServer) -> None:
    server.manners.status = 500
    given = asyncio.run(deployment.write(film(), replace(TASK, report="LUNGS: No nodule.")))
    assert given.trace.provenance.given and given.trace.provenance.writer is None


@pytest.mark.parametrize(
    ("task", "picture", "error"),
    [
        (TASK, noise_film(), FilmWithheldError),
        (replace(TASK, prompt="<start_of_turn>"), film(), PromptError),
        (replace(TASK, max_new_tokens=9999), film(), RequestTooLargeError),
    ],
)
def test_what_cannot_be_explained_is_refused_before_the_engine_is_asked(
    deployment: GenerationDeployment,
    server: OpenAIServer,
    monkeypatch: pytest.MonkeyPatch,
    task: ReadingTask,
    picture: Film,
    error: type[Exception],
) -> None:
    monkeypatch.setattr(type(deployment._models.default.engine), "write", None)
    with pytest.raises(error):
        asyncio.run(deployment.write(picture, task))


def test_the_engines_faults_are_told(deployment: GenerationDeployment, server: OpenAIServer) -> None:
    server.manners.status = 404
    with pytest.raises(EngineError, match=MODEL):
        asyncio.run(deployment.write(film(), TASK))
    server.reset()
    server.manners.cut = 3
    with pytest.raises(ServiceInterruptedError):
        asyncio.run(deployment.write(film(), TASK))
    server.reset()
    server.manners.text = "No nodule.<end_of_turn>Miller"
    with pytest.raises(EngineError, match="the same checkpoint") as caught:
        asyncio.run(deployment.write(film(), TASK))
    assert caught.value.__context__ is None and "Miller" not in str(caught.value)


def test_a_key_that_is_not_there_keeps_the_replica_from_serving(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.delenv("ENGINE_KEY_OF_TEST", raising=False)
    store = SqliteStoreSettings(path=str(tmp_path / "r.sqlite3"))
    for settings, told in (
        ({"base_url": "http://vllm:8000/v1", "api_key_env": "ENGINE_KEY_OF_TEST"}, "ENGINE_KEY_OF_TEST, which is not"),
        ({"base_url": "vllm:8000"}, "writer.base_url: "),
    ):
        writer = EngineSettings(kind="openai", model=MODEL, **settings)
        with pytest.raises(EngineError, match=told):
            generation_deployment(store, writer)
    monkeypatch.setenv("ENGINE_KEY_OF_TEST", KEY)
    from deployments.writers import make_engine

    keyed = EngineSettings(kind="openai", model=MODEL, base_url="http://vllm:8000/v1", api_key_env="ENGINE_KEY_OF_TEST")
    assert make_engine(keyed, image_first=False).api_key == KEY
    assert KEY not in repr(make_engine(keyed, image_first=False))
