"""A prior film beside the current one: over HTTP it is read, kept, drawn, asked about and forgotten like the film."""

# ruff: noqa: F811 - a fixture is imported, and named again where it is used

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import httpx
import msgpack
import numpy as np
import pytest

from medinterp.api.backend import JudgingTask
from medinterp.api.schema import ExplanationModel, MapsModel
from medinterp.api.store import unpack_record
from medinterp.imaging import gray8, read_film
from tests.api_backend import png
from tests.api_films import dicom
from tests.api_service import Service, problem, service  # noqa: F401 - pytest finds fixtures by name
from tests.test_api_http import EVENTS, sent_events

FILM, PRIOR = png(), png(50, 44, seed=4)
INVERTED = bytes(cv2.imencode(".png", np.uint16(65535) - read_film(png(200, 160, seed=3)).pixels)[1])


def post(service: Service, prior: bytes = PRIOR, headers: dict[str, str] | None = None, **form: Any) -> httpx.Response:
    files = {"image": ("a.png", FILM), "prior": ("b.png", prior)}
    return service.client.post("/reports", files=files, data=form, headers=headers)


def place(service: Service) -> str:
    answer = post(service)
    assert answer.status_code == 201, answer.text
    return f"/reports/{answer.json()['id']}"


def picture(answer: httpx.Response) -> Any:
    assert answer.status_code == 200, answer.text
    return cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_UNCHANGED)


def test_it_is_read_told_and_kept(service: Service) -> None:
    answer = post(service)
    assert answer.status_code == 201
    model = ExplanationModel.model_validate_json(answer.content)
    assert model.prior is not None
    assert (model.prior.width, model.prior.height) == (44, 50)
    assert model.prior.sha256 == read_film(PRIOR).sha256 != model.film.sha256
    assert (model.maps, model.prior_maps) == (None, None)
    again = service.client.get(f"/reports/{model.id}", headers={"Accept": "application/msgpack"})
    packed = ExplanationModel.model_validate(msgpack.unpackb(again.content))
    assert packed.prior == model.prior
    assert packed.maps is not None and packed.prior_maps is not None
    assert (packed.maps["raw"].image, packed.prior_maps["raw"].image) == (0, 1)
    kept = unpack_record(service.store.get(model.id).blob)
    assert kept.prior is not None
    np.testing.assert_array_equal(kept.prior.pixels, read_film(PRIOR).pixels)
    np.testing.assert_array_equal(kept.prior_packs["raw"].values, 1 - kept.packs["raw"].values)
    assert service.post().json()["prior"] is None


def test_it_comes_with_the_event_stream(service: Service) -> None:
    name, report = sent_events(post(service, headers=EVENTS))[-1]
    assert name == "report"
    assert report["prior"]["width"] == 44


def test_pictures_and_maps_of_it(service: Service) -> None:
    there = place(service)
    one = {"image": 1}
    np.testing.assert_array_equal(
        picture(service.client.get(f"{there}/film.png", params=one)), gray8(read_film(PRIOR))
    )
    view = picture(service.client.get(f"{there}/film.png", params={**one, "view": "model"}))
    assert max(view.shape) == 24
    for path, query in (
        ("words/1/overlay.png", {}),
        ("overlay.png", {"words": "0-1"}),
        ("overlay.png", {"finding": 0}),
    ):
        assert picture(service.client.get(f"{there}/{path}", params={**query, **one})).shape == (50, 44, 3)
        assert picture(service.client.get(f"{there}/{path}", params=query)).shape == (40, 60, 3)
    own, on_prior = (
        MapsModel.model_validate_json(service.client.get(f"{there}/maps", params={"image": k}).content) for k in (0, 1)
    )
    assert (own.image, on_prior.image) == (0, 1)
    np.testing.assert_allclose(on_prior.tokens, 1 - own.tokens)
    packed = service.client.get(f"{there}/maps/packed", params=one).json()
    assert (packed["image"], packed["method"]) == (1, "raw")
    assert service.client.post(f"{there}/region", json={"box": [0, 0, 1, 1], "image": 1}).json()["image"] == 1


def test_the_model_is_asked_about_both(service: Service) -> None:
    there = place(service)
    answer = service.client.post(f"{there}/maps", json={"method": "occlusion", "image": 1})
    assert answer.status_code == 200, answer.text
    assert answer.json()["image"] == 1
    assert service.client.get(there).json()["methods"] == ["raw", "occlusion"]
    maps = [service.client.get(f"{there}/maps", params={"method": "occlusion", "image": k}).json() for k in (0, 1)]
    assert maps[0]["tokens"] != maps[1]["tokens"]
    judged = service.client.post(f"{there}/faithfulness", json={"words": "1-1", "image": 1})
    assert judged.json()["image"] == 1
    task = service.backend.asked[-1]
    assert isinstance(task, JudgingTask) and task.image == 1


def test_a_report_without_one_says_so_before_anything_is_spent(service: Service) -> None:
    there = f"/reports/{service.report()}"
    for path in ("film.png", "words/1/overlay.png", "overlay.png?finding=0", "maps", "maps/packed"):
        joined = f"{there}/{path}{'&' if '?' in path else '?'}image="
        assert "image 1" in problem(service.client.get(f"{joined}1"), 422)["detail"]
        problem(service.client.get(f"{joined}2"), 422)
    problem(service.client.post(f"{there}/maps", json={"method": "occlusion", "image": 1}), 422)
    assert service.backend.asked == []
    problem(service.client.post(f"{there}/faithfulness", json={"words": "1-1", "image": 1}), 422)


@pytest.mark.parametrize(
    ("prior", "status", "name"),
    [
        (b"", 400, "unreadable-film"),
        (b"%PDF-1.7 nothing", 415, "unsupported-film"),
        (FILM[:200], 400, "unreadable-film"),
        (png(8, 8), 422, "film-shape"),
        (png(400, 300), 413, "film-too-large"),
    ],
)
def test_errors_say_that_it_is_the_prior_film(service: Service, prior: bytes, status: int, name: str) -> None:
    document = problem(post(service, prior), status)
    assert document["type"] == f"urn:medinterp:problem:{name}"
    assert document["detail"].startswith("prior: ")
    assert service.backend.tasks == []


def test_each_film_may_be_as_long_as_one(tmp_path: Path) -> None:
    service = Service(tmp_path, max_upload_bytes=len(FILM) + 10)
    with service.client:
        assert post(service, FILM).status_code == 201
        longer = problem(post(service, FILM + bytes(11)), 413)
        assert longer["detail"].startswith("prior: ")


def test_what_makes_a_report_meaningless_is_told_of_the_prior_film(tmp_path: Path) -> None:
    service = Service(tmp_path, store_bytes=10**6)
    with service.client:
        check_withholding(service)


def check_withholding(service: Service) -> None:
    document = problem(post(service, INVERTED), 422)
    assert document["type"] == "urn:medinterp:problem:film-withheld"
    assert [flaw["where"] for flaw in document["flaws"]] == ["prior.inverted"]
    assert document["detail"].startswith("prior: ")
    forced = post(service, INVERTED, force="true")
    assert forced.status_code == 201
    assert [warning["code"] for warning in forced.json()["prior"]["warnings"]] == ["inverted"]
    assert forced.json()["film"]["warnings"] == []
    swapped = service.client.post("/reports", files={"image": ("a", INVERTED), "prior": ("b", FILM)})
    assert [flaw["where"] for flaw in problem(swapped, 422)["flaws"]] == ["image.inverted"]


def test_it_has_a_window_of_its_own(service: Service) -> None:
    answer = post(service, dicom(), prior_window="full")
    assert answer.status_code == 201, answer.text
    assert answer.json()["prior"]["window"] == "full"
    wrong = problem(post(service, dicom(), prior_window="window-9"), 422)
    assert wrong["detail"].startswith("prior: ")
    problem(post(service, PRIOR, prior_window="full"), 422)
    alone = problem(service.post(prior_window="full"), 422)
    assert "prior_window" in alone["detail"]


def test_two_prior_films_are_refused(service: Service) -> None:
    files = [("image", ("a", FILM)), ("prior", ("b", PRIOR)), ("prior", ("c", PRIOR))]
    assert "prior" in problem(service.client.post("/reports", files=files), 422)["detail"]


def test_nothing_of_it_is_left_when_the_report_is_deleted(service: Service, tmp_path: Path) -> None:
    there = place(service)
    assert service.client.delete(there).status_code == 204
    problem(service.client.get(f"{there}/film.png", params={"image": 1}), 404)


def test_an_export_has_it(service: Service) -> None:
    exported = service.client.get(f"{place(service)}/export", params={"format": "json"})
    assert json.loads(exported.content)["prior"]["width"] == 44
