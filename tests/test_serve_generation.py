"""The generation deployment without Ray: films that the model was not made for, and what it gets of a film."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace

import cv2
import numpy as np
import pytest

from deployments.generation import GenerationDeployment
from deployments.relevancy import RelevancyDeployment
from deployments.settings import ModelSettings
from medinterp.api.backend import ReadingTask
from medinterp.api.report_id import new_report_id
from medinterp.api.store import SqliteStoreSettings, open_store, pack_record
from medinterp.errors import FilmWithheldError
from medinterp.imaging import read_film
from medinterp.model.view import model_view
from medinterp.types import Film
from tests.api_films import raster
from tests.api_samples import sample_explanation
from tests.models import noise_film

TASK = ReadingTask(prompt=None, methods=("raw",), max_new_tokens=3, layer_attention=False)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> SqliteStoreSettings:
    return SqliteStoreSettings(path=str(tmp_path_factory.mktemp("store") / "r.sqlite3"))


@pytest.fixture(scope="module")
def generation(store: SqliteStoreSettings) -> Iterator[GenerationDeployment]:
    """The bundled model, which knows its own films."""
    deployment = GenerationDeployment(ModelSettings(name="phantom"), store)
    yield deployment
    deployment._worker.shutdown()
    deployment._store.close()


def own() -> Film:
    return read_film(raster("PNG", 400, 480))


def test_a_film_of_the_models_own_kind_is_read(generation: GenerationDeployment) -> None:
    assert asyncio.run(generation.write(own(), TASK)).warnings == ()


def test_another_is_withheld_before_the_model_is_asked(
    generation: GenerationDeployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generation._generator, "generate", None)

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
    report, packs, _, doubts = RelevancyDeployment().explain(written, ("raw",))
    assert (len(report.tokens), list(packs), doubts) == (3, ["raw"], written.warnings)
    again = replace(TASK, force=True, methods=("edge_gradient",), on_model=("edge_gradient",))
    assert asyncio.run(generation.write(noise_film(), again)).warnings == written.warnings


def test_the_models_view_of_a_stored_report(generation: GenerationDeployment, store: SqliteStoreSettings) -> None:
    reports, report_id = open_store(store), new_report_id()
    reports.put(report_id, pack_record(sample_explanation(own())))
    reports.close()
    png = asyncio.run(generation.view(report_id))
    drawn = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(drawn, model_view(generation._generator.loaded, own()))
