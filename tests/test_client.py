"""medinterp.Client and medinterp.AsyncClient against the HTTP application, over a real connection."""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import openai
import pytest
from pydantic import BaseModel

import medinterp
from medinterp import errors
from medinterp.api import schema, schema_boxes, schema_models, schema_region, schema_sensitivity, schema_sources
from medinterp.api.access.settings import AccessSettings
from medinterp.api.store import unpack_record
from medinterp.client import (
    AsyncRemoteBatch,
    AsyncRemoteJob,
    AsyncRemoteReport,
    ForbiddenError,
    InvalidRequestError,
    KeyRefusedError,
    NotUnderstoodError,
    ProblemError,
    RemoteBatch,
    RemoteJob,
    RemoteReport,
    UnreachableError,
    answers,
    comparisons,
)
from medinterp.client.answers import Progress
from medinterp.client.calls import selected
from medinterp.client.comparisons import Comparison, ReportComparison
from medinterp.client.files import film_bytes
from medinterp.relevancy import select_map
from medinterp.types import Film
from tests.api_access import key_file
from tests.api_backend import png
from tests.api_samples import TEXT
from tests.listening import Listening, listening


@pytest.fixture(scope="module")
def served_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Listening]:
    with listening(tmp_path_factory.mktemp("client"), store_bytes=50_000_000) as served:
        yield served


@pytest.fixture
def served(served_once: Listening) -> Listening:
    served_once.reset()
    return served_once


@pytest.fixture
def client(served: Listening) -> Iterator[medinterp.Client]:
    with medinterp.Client(served.url, patience_s=0) as client:
        yield client


def test_a_film_becomes_a_report(client: medinterp.Client, served: Listening, tmp_path: Path) -> None:
    film = tmp_path / "DOE_JANE.png"
    film.write_bytes(png())
    report = client.report(film, prompt="Look.", methods=["raw"], max_new_tokens=7)
    assert report.text == TEXT
    assert (report.film.height, report.film.width, report.film.bits) == (40, 60, 16)
    assert (report.methods, report.grid, report.prior) == (("raw",), (4, 4), None)
    (task,) = served.backend.tasks
    assert (task.prompt, task.methods, task.max_new_tokens, task.force) == ("Look.", ("raw",), 7, False)
    assert report.report.findings[0].status == "absent" and report.findings[0].word_indices == (1,)
    assert report.provenance.library_versions == {"numpy": np.__version__}
    assert report.expires_at.tzinfo is not None
    assert report.section("heart").text.startswith("Größe")
    assert TEXT not in repr(report) and report.id not in repr(report)


def test_every_kind_of_film_is_the_same_film(client: medinterp.Client, tmp_path: Path) -> None:
    path = tmp_path / "film.png"
    path.write_bytes(png())
    pixels = cv2.imdecode(np.frombuffer(png(), np.uint8), cv2.IMREAD_UNCHANGED)
    stored = [client.report(film).id for film in (path, str(path), png(), pixels)]
    facts = [client.get(report_id).film for report_id in stored]
    assert facts[0] == facts[1] == facts[2]
    assert (facts[3].height, facts[3].width, facts[3].bits) == (40, 60, 16)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_pixels_travel_without_loss(dtype: type[Any]) -> None:
    pixels = np.random.default_rng(1).integers(0, np.iinfo(dtype).max, size=(7, 11)).astype(dtype)
    for given in (pixels, pixels[::-1, ::2], pixels.astype(pixels.dtype.newbyteorder(">"))):
        again = cv2.imdecode(np.frombuffer(film_bytes(given), np.uint8), cv2.IMREAD_UNCHANGED)
        assert again.dtype == dtype and (again == given).all()


def test_arrays_that_are_no_film_are_not_sent(client: medinterp.Client, served: Listening) -> None:
    with pytest.raises(errors.FilmShapeError, match=r"height and width.*\(4, 4, 3\)"):
        client.report(np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(errors.UnreadableFilmError, match="float64"):
        client.report(np.zeros((4, 4)))
    assert served.backend.tasks == []


def test_a_given_report_a_prior_film_and_force(client: medinterp.Client, served: Listening) -> None:
    report = client.report(png(), prior=png(seed=4), report="HEART: Größe, a zebra.\n", force=True)
    assert report.text == "HEART: Größe, a zebra.\n" and report.provenance.given
    assert [word.text for word in report.words if word.unlikely] == ["zebra"]
    assert report.prior is not None and report.prior.sha256 != report.film.sha256
    assert served.backend.tasks[0].force
    word = report.find("zebra")
    assert not (report.map(word) == report.map(word, image=1)).all()


def test_words_come_as_they_are_written(client: medinterp.Client) -> None:
    with client.stream(png()) as writing:
        with pytest.raises(UnreachableError):
            _ = writing.report
        pieces = list(writing)
        report = writing.report
    assert len(pieces) == len(TEXT.split(" ")) and "".join(pieces).strip() == TEXT
    assert client.get(report.id).text == TEXT
    with pytest.raises(RuntimeError, match="with"):
        list(client.stream(png()))


def test_a_failure_on_the_way_and_before_it_is_the_same_class(client: medinterp.Client, served: Listening) -> None:
    served.backend.late = errors.ServiceInterruptedError("gone")
    with client.stream(png()) as writing, pytest.raises(errors.ServiceInterruptedError) as late:
        list(writing)
    assert isinstance(late.value, ProblemError) and late.value.status == 503
    served.backend.late, served.backend.early = None, errors.ServiceBusyError("full")
    with pytest.raises(errors.ServiceBusyError) as early, client.stream(png()):
        pass
    assert isinstance(early.value, ProblemError) and early.value.retry_after_s


def test_leaving_a_stream_leaves_no_connection_behind(client: medinterp.Client, served: Listening) -> None:
    served.backend.delay_s = 0.05
    with client.stream(png()) as writing:
        next(iter(writing))
    assert client.ready()


@pytest.mark.parametrize("separator", ["\u2028", "\x85", "\x0c"])
def test_a_report_may_hold_what_others_take_for_the_end_of_a_line(client: medinterp.Client, separator: str) -> None:
    text = f"HEART: A{separator}line."
    with client.stream(png(), report=text) as writing:
        assert "".join(writing) == text
    assert writing.report.text == text


def stored(served: Listening, report: RemoteReport | AsyncRemoteReport) -> Any:
    return unpack_record(served.store.get(report.id).blob)


def test_maps_are_those_of_the_library(client: medinterp.Client, served: Listening) -> None:
    report = client.report(png())
    explanation = stored(served, report)
    pack = explanation.packs["raw"]
    for selection in (report.words[1], report.words[:2], report.find("no effusion"), report.findings[0]):
        found = report.map(selection)
        assert found.dtype == np.float32 and found.shape == (4, 4)
        assert found == pytest.approx(select_map(pack, report.tokens_of(selection)).values, abs=1e-7)
    maps = report.maps("raw")
    assert maps.tokens == pytest.approx(pack.values) and maps.words.shape == (3, 4, 4)
    assert maps.low < maps.high
    assert report.maps("raw") is maps
    with pytest.raises(errors.MissingEvidenceError):
        report.maps("layer_weighted")
    with pytest.raises(errors.UnknownMethodError):
        report.maps("nonsense")


def test_words_are_found(client: medinterp.Client) -> None:
    report = client.report(png())
    assert report.word_at(12).text == "effusion"
    assert [word.text for word in report.find("NO EFF")] == ["No", "effusion"]
    assert [word.text for word in report.find("größe")] == ["Größe"]
    for text in ("pneumothorax", "", "  ", ":"):
        with pytest.raises(errors.SelectionError):
            report.find(text)
    with pytest.raises(errors.SelectionError):
        report.word_at(0)
    with pytest.raises(errors.SelectionError, match="PLEURA, HEART"):
        report.section("BONES")


def test_phrases_are_of_words_that_follow_one_another(client: medinterp.Client) -> None:
    report = client.report(png())
    assert selected(report.words[1]) == {"words": "1-1"}
    assert selected(report.words) == {"words": "0-2"}
    assert selected(report.findings[0]) == {"finding": 0}
    for words in ([], [report.words[0], report.words[2]]):
        with pytest.raises(errors.SelectionError):
            report.verdict(words)


def test_the_model_is_asked_again(client: medinterp.Client, served: Listening) -> None:
    report = client.report(png())
    told: list[Progress] = []
    maps = report.measure("occlusion", block=2, on_progress=told.append)
    assert (maps.method, maps.options) == ("occlusion", {"block": 2}) and maps.additive
    assert [(one.what, one.done, one.of) for one in told] == [("occlusion", n, 256) for n in (64, 128, 256)]
    word = report.words[1]
    assert report.map(word, "occlusion") == pytest.approx(maps.tokens[[2, 3]].sum(axis=0))
    assert report.refresh().methods == ("raw", "occlusion")
    told.clear()
    for asked in ({}, {"on_progress": told.append}):
        verdict = report.verdict(word, **asked)
        assert (verdict.verdict, verdict.token_indices, verdict.scores.deletion.low) == ("region", (2, 3), 0.1)
    assert told
    heads = report.heads(word)
    assert heads.maps.dtype == np.float16 and heads.maps.ndim == 4 and heads.mass.dtype == np.float32
    assert (heads.rows, heads.columns) == heads.maps.shape[2:]
    sources = report.text_sources(report.findings[0])
    assert sources.token_indices == (2, 3) and sources.prompt and 0 <= sources.film.attention <= 1
    reliance = report.reliance()
    assert {word.index for word in reliance.words} == {0, 1, 2}
    assert report.refresh().words[1].reliance == pytest.approx(reliance.words[1].reliance)
    assert report.words[1].reliance is None
    compared = report.compare(["Is it?", "Is it so?"], methods=[], perturbations=["noise"], seed=3)
    assert isinstance(compared, Comparison) and compared.seed == 3
    whole = report.compare()
    assert isinstance(whole, ReportComparison) and whole.variants
    region = report.region([0, 0, 0.5, 0.5])
    assert region.coverage.shape == (4, 4) and region.words[0].value >= region.words[-1].value
    assert report.region(cells=[(0, 1)], quantity="relevancy").coverage.sum() == 1


def test_pictures_and_files(client: medinterp.Client, served: Listening, tmp_path: Path) -> None:
    report = client.report(png())
    picture = report.overlay(report.find("effusion"), colormap="cividis", contours=True, size=120)
    assert picture.save(tmp_path / "word.png").read_bytes() == picture
    assert cv2.imread(str(tmp_path / "word.png")).shape == (80, 120, 3)
    film = cv2.imdecode(np.frombuffer(report.film_png(depth=16), np.uint8), cv2.IMREAD_UNCHANGED)
    assert film.dtype == np.uint16 and (film == stored(served, report).film.pixels).all()
    assert b'"No"' in report.export("json")
    assert report.export("png", report.findings[0]).startswith(b"\x89PNG")
    assert report.export("zip", threshold=0.5).startswith(b"PK")
    assert "PNG" not in repr(picture)
    with pytest.raises(errors.ExportError):
        report.export("png")


def test_what_the_service_says_of_itself(client: medinterp.Client, served: Listening) -> None:
    assert client.methods()[0].name == "raw" and client.methods()[0].default
    assert client.models().models[0].id == "sample" and client.models().limits.max_new_tokens == 64
    assert client.perturbations()
    assert client.ready()
    client.wait_until_ready(1)
    served.backend.early = errors.ServiceInterruptedError("gone")
    assert not client.ready()
    with pytest.raises(UnreachableError, match="not ready"):
        client.wait_until_ready(0.1)


def test_a_report_is_deleted(client: medinterp.Client) -> None:
    report = client.report(png())
    report.delete()
    for call in (report.refresh, report.delete, lambda: report.map(report.words[0])):
        with pytest.raises(errors.ReportNotFoundError) as caught:
            call()
        assert isinstance(caught.value, ProblemError) and caught.value.status == 404
        assert report.id not in str(caught.value)


def test_problems_are_the_librarys_own_errors(client: medinterp.Client) -> None:
    with pytest.raises(errors.UnreadableFilmError) as caught:
        client.report(b"no film")
    problem = caught.value
    assert isinstance(problem, ProblemError)
    assert (problem.status, problem.kind) == (400, "urn:medinterp:problem:unreadable-film")
    assert problem.title and problem.detail and str(problem).startswith(problem.detail)
    with pytest.raises(errors.RequestTooLargeError):
        client.report(png(), max_new_tokens=10_000)
    with pytest.raises(InvalidRequestError) as invalid:
        client.report(png(), max_new_tokens=0)
    assert invalid.value.status == 422 and invalid.value.flaws[0].where.endswith("max_new_tokens")
    with pytest.raises(errors.FilmWithheldError) as withheld:
        client.report(np.random.default_rng(1).integers(0, 255, (200, 200)).astype(np.uint8))
    assert withheld.value.warnings and all(warning.code and warning.text for warning in withheld.value.warnings)
    assert withheld.value.film == "image"


def test_ids_that_are_none_ask_for_nothing_else(client: medinterp.Client) -> None:
    for report_id in ("../models", "", "a/b", "a?b"):
        with pytest.raises(errors.SelectionError):
            client.get(report_id)
    with pytest.raises(errors.ReportNotFoundError):
        client.get("0" * 32)


def test_another_program_at_the_address(served: Listening) -> None:
    elsewhere = medinterp.Client(f"{served.url}/elsewhere", patience_s=0)
    with elsewhere as client, pytest.raises(InvalidRequestError, match="HTTP 404"):
        client.models()
    with medinterp.Client(f"{served.url}/v1/", patience_s=0) as client:
        assert client.models()


def test_both_clients_are_asked_alike(served: Listening) -> None:
    async def ask() -> None:
        async with medinterp.AsyncClient(served.url, patience_s=0) as client:
            assert await client.ready()
            reports = await asyncio.gather(*(client.report(png()) for _ in range(4)))
            report = reports[0]
            assert len({one.id for one in reports}) == 4 and report.text == TEXT
            word = report.word_at(12)
            found = await report.map(word)
            assert found.shape == (4, 4) and found.dtype == np.float32
            told: list[Progress] = []
            assert (await report.verdict(word, on_progress=told.append)).verdict == "region"
            assert len(told) == 2
            assert (await report.overlay(word)).startswith(b"\x89PNG")
            assert (await report.measure("occlusion")).method == "occlusion"
            assert (await report.refresh()).methods == ("raw", "occlusion")
            pieces = []
            async with client.stream(png()) as writing:
                async for piece in writing:
                    pieces.append(piece)
            assert "".join(pieces).strip() == TEXT == writing.report.text
            await report.delete()
            with pytest.raises(errors.ReportNotFoundError):
                await report.map(word, "other")
            with pytest.raises(errors.UnreadableFilmError):
                async with client.stream(b"no film"):
                    pass

    asyncio.run(ask())


@pytest.mark.parametrize(
    ("one", "other"), [
        (medinterp.Client, medinterp.AsyncClient),
        (RemoteReport, AsyncRemoteReport),
        (RemoteJob, AsyncRemoteJob),
        (RemoteBatch, AsyncRemoteBatch),
    ]
)
def test_both_clients_have_the_same_calls(one: type[Any], other: type[Any]) -> None:
    def calls(kind: type[Any]) -> dict[str, Any]:
        return {
            name: inspect.signature(call).parameters
            for name, call in vars(kind).items()
            if inspect.isfunction(call) and not name.startswith("_")
        }

    assert calls(one) == calls(other)
    kinds = {name: inspect.iscoroutinefunction(getattr(other, name)) for name in calls(other)}
    assert [name for name, awaited in kinds.items() if not awaited] == (["stream"] if "stream" in kinds else [])


SCHEMA: dict[Any, type[BaseModel]] = {
    answers.FilmFacts: schema.FilmModel,
    answers.Word: schema.WordModel,
    answers.Report: schema.ReportModel,
    answers.Maps: schema.MapsModel,
    answers.RegionWord: schema_region.RegionWordModel,
    answers.Region: schema_region.RegionModel,
    answers.Source: schema_sources.SourceModel,
    answers.FirstToken: schema_sources.FirstTokenModel,
    answers.PromptWord: schema_sources.PromptWordModel,
    answers.ReportWord: schema_sources.ReportWordModel,
    answers.TextSources: schema_sources.TextSourcesModel,
    answers.Heads: schema_sources.HeadsModel,
    answers.RelianceWord: schema_sources.RelianceWordModel,
    answers.Reliance: schema_sources.RelianceModel,
    answers.BoxVerdicts: schema_boxes.BoxVerdictsModel,
    answers.Progress: schema.ProgressModel,
    answers.Setting: schema.SettingModel,
    answers.Method: schema.MethodModel,
    answers.Perturbation: schema_sensitivity.PerturbationModel,
    answers.Model: schema_models.LoadedModelModel,
    answers.Limits: schema_models.LimitsModel,
    comparisons.Margin: schema_sensitivity.MarginModel,
    comparisons.MapShift: schema_sensitivity.MapShiftModel,
    comparisons.Variant: schema_sensitivity.VariantModel,
    comparisons.Comparison: schema_sensitivity.ComparisonModel,
    comparisons.Said: schema_sensitivity.SaidModel,
    comparisons.FindingChange: schema_sensitivity.FindingChangeModel,
    comparisons.ReportVariant: schema_sensitivity.ReportVariantModel,
    comparisons.ReportComparison: schema_sensitivity.ReportComparisonModel,
}


@pytest.mark.parametrize("kind", SCHEMA, ids=lambda kind: kind.__name__)
def test_what_is_understood_is_what_is_told(kind: Any) -> None:
    assert {field.name for field in dataclasses.fields(kind)} == set(SCHEMA[kind].model_fields)


def test_every_dataclass_is_held_to_the_schema() -> None:
    whole = {answers.Explained, answers.Models}  # msgpack's maps are left to `maps`; models have more for others
    whole |= {answers.Job, answers.Batch}  # tests/test_client_jobs.py
    there = {
        kind
        for module in (answers, comparisons)
        for kind in vars(module).values()
        if dataclasses.is_dataclass(kind) and kind.__module__ == module.__name__
    }
    assert there == set(SCHEMA) | whole
    assert {field.name for field in dataclasses.fields(answers.Explained)} == set(
        schema.ExplanationModel.model_fields
    ) - {"maps", "prior_maps"}


def test_nothing_of_a_patient_is_logged_or_told(
    served: Listening, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    film = tmp_path / "DOE_JANE_19600101.png"
    film.write_bytes(png())
    with caplog.at_level(logging.DEBUG), medinterp.Client(served.url, api_key="secret-key", patience_s=0) as client:
        report = client.report(film, prompt="Mrs DOE again", report="HEART: of DOE.")
        report.overlay(report.words[0])
        with pytest.raises(errors.MedInterpError) as caught:
            client.report(film, prompt="Mrs DOE", methods=["DOE"])
        report.delete()
        with pytest.raises(errors.MedInterpError):
            client.get(report.id)
    lines = [record.getMessage() for record in caplog.records if not record.name.startswith("medinterp.api")]
    assert any("/v1/reports/" in line for line in lines)
    for line in [*lines, repr(client), str(caught.value.__cause__)]:
        assert report.id not in line and "DOE" not in line and "secret-key" not in line
    assert "secret-key" not in repr(client._settings)


def test_a_service_that_asks_for_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = key_file(tmp_path / "keys.json", ward="read,write", clinic="read,write", reader="read")
    access = AccessSettings.model_validate({"keys_file": str(tmp_path / "keys.json"), "allowed_hosts": ["*"]})
    with listening(tmp_path, store_bytes=2**24, access=access) as served:
        with medinterp.Client(served.url) as nobody, pytest.raises(KeyRefusedError, match="show a key"):
            nobody.models()
        with medinterp.Client(served.url, api_key="no") as other, pytest.raises(KeyRefusedError, match="does not hold"):
            other.models()
        monkeypatch.setenv("MEDINTERP_API_KEY", keys["ward"])
        with medinterp.Client(served.url) as ward:
            report = ward.report(png())
        reader = medinterp.Client(served.url, api_key=keys["reader"])
        with reader, pytest.raises(ForbiddenError, match="scope write"):
            reader.report(png())
        clinic = medinterp.Client(served.url, api_key=keys["clinic"])
        with clinic, pytest.raises(errors.ReportNotFoundError):
            clinic.get(report.id)
        with openai.OpenAI(base_url=f"{served.url}/v1", api_key="another", max_retries=0) as chats:
            with pytest.raises(openai.AuthenticationError) as caught:
                chats.chat.completions.create(model="sample", messages=[])
            assert caught.value.code == "invalid_api_key" and caught.value.request_id
            with pytest.raises(openai.PermissionDeniedError):
                chats.with_options(api_key=keys["reader"]).chat.completions.create(model="sample", messages=[])


def test_a_film_that_is_a_pixel_array_of_the_library(client: medinterp.Client, served: Listening) -> None:
    film: Film = stored(served, client.report(png())).film
    assert client.report(film.pixels).film.bits == film.bits


def test_an_answer_of_another_version_is_not_guessed_at() -> None:
    from medinterp.client.decoding import array, built, unpacked

    whole = {"what": "x", "done": 1, "of": 2}
    assert built(Progress, {**whole, "of tomorrow": 1}) == Progress("x", 1, 2)
    for wrong in ({"what": "x", "done": 1}, {**whole, "done": "1"}, {**whole, "done": True}, [], None):
        with pytest.raises(NotUnderstoodError):
            built(Progress, wrong)
    good = {"dtype": "float32", "shape": [2], "data": b"\0" * 8}
    assert (array(good) == 0).all()
    for broken in ({"shape": [3]}, {"dtype": "object"}, {"shape": [-2]}, {"data": "%%"}, {"data": None}):
        with pytest.raises(NotUnderstoodError):
            array({**good, **broken})
    for body, kind in ((b"\xc1", "application/msgpack"), (b"{", "application/json"), (b"<html>", "text/html")):
        with pytest.raises(NotUnderstoodError):
            unpacked(body, kind)
