"""Maps, pictures and files of a report over HTTP: every encoding and every option."""

# ruff: noqa: F811 - a fixture is imported, and named again where it is used

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import cv2
import httpx
import msgpack
import numpy as np
import pytest

from medinterp.api.schema import MapsModel
from medinterp.api.store import pack_record, unpack_record
from medinterp.imaging import gray8, read_film
from medinterp.imaging.film import gray16
from medinterp.types import MapPack
from tests.api_backend import MODEL_SIZE, png
from tests.api_service import Service, problem, service  # noqa: F401 - pytest finds fixtures by name


def picture(answer: httpx.Response) -> Any:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "image/png"
    return cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_UNCHANGED)


def test_maps_in_three_encodings(service: Service) -> None:
    place = f"/reports/{service.report()}/maps"
    maps = MapsModel.model_validate_json(service.client.get(place).content)
    packed = service.client.get(place, params={"method": "raw"}, headers={"Accept": "application/msgpack"})
    again = MapsModel.model_validate(msgpack.unpackb(packed.content))
    archive = np.load(
        io.BytesIO(service.client.get(place, headers={"Accept": "application/x-npz"}).content),
        allow_pickle=False,
    )
    assert maps.words.shape == (3, 4, 4)
    assert maps.tokens.shape == (8, 4, 4)
    for name in ("words", "tokens"):
        np.testing.assert_array_equal(getattr(maps, name), getattr(again, name))
        np.testing.assert_array_equal(getattr(maps, name), archive[name])
    assert str(archive["method"]) == "raw"
    tokens = maps.tokens.astype(np.float32)
    np.testing.assert_allclose(maps.words[1], tokens[[2, 3]].mean(axis=0), rtol=1e-3)
    assert maps.low < maps.high
    problem(service.client.get(place, params={"method": "crystal-ball"}), 422)


def test_overlays_are_as_large_as_the_film(service: Service) -> None:
    place = f"/reports/{service.report()}"
    word = picture(service.client.get(f"{place}/words/1/overlay.png"))
    assert word.shape == (40, 60, 3)
    phrase = picture(service.client.get(f"{place}/overlay.png", params={"words": "1-1"}))
    finding = picture(service.client.get(f"{place}/overlay.png", params={"finding": 0}))
    np.testing.assert_array_equal(word, phrase)
    np.testing.assert_array_equal(word, finding)
    other = picture(service.client.get(f"{place}/overlay.png", params={"words": "0-2"}))
    assert (word != other).any()
    faint = picture(service.client.get(f"{place}/words/1/overlay.png", params={"opacity": 0}))
    film = picture(service.client.get(f"{place}/film.png"))
    np.testing.assert_array_equal(faint, np.broadcast_to(film.reshape(40, 60, -1)[..., :3], (40, 60, 3)))


def joined(service: Service) -> tuple[str, MapPack]:
    """A report that has a consensus too, and that consensus."""
    rng = np.random.default_rng(6)
    mean, spread = (rng.random((8, 4, 4)).astype(np.float32) for _ in range(2))
    pack = MapPack("consensus", mean, False, False, members=("attention_flow", "raw"), disagreement=spread / 2)
    report = service.report()

    def add(blob: bytes) -> bytes:
        explanation = unpack_record(blob)
        return pack_record(replace(explanation, packs={**explanation.packs, "consensus": pack}))

    service.store.update(report, add)
    return report, pack


def test_disagreement_is_mapped_and_drawn_like_a_map(service: Service) -> None:
    """Both are the words' means over their tokens, each on a range of its own; the members are named."""
    report, pack = joined(service)
    place = f"/reports/{report}"
    asked = {"method": "consensus", "quantity": "disagreement"}
    maps = MapsModel.model_validate_json(service.client.get(f"{place}/maps", params=asked).content)
    assert pack.disagreement is not None
    np.testing.assert_allclose(maps.words[1], pack.disagreement[[2, 3]].mean(axis=0), rtol=1e-6)
    np.testing.assert_array_equal(maps.tokens, pack.disagreement)
    assert maps.members == ("attention_flow", "raw")
    assert maps.high == maps.words.max(axis=(1, 2)).max()
    agreed = MapsModel.model_validate_json(
        service.client.get(f"{place}/maps", params={"method": "consensus"}).content
    )
    np.testing.assert_array_equal(agreed.tokens, pack.values)
    np.testing.assert_array_equal(agreed.disagreement, maps.disagreement)
    assert maps.high < agreed.high

    drawn = service.client.get(f"{place}/words/1/overlay.png", params=asked)
    other = service.client.get(f"{place}/words/1/overlay.png", params={"method": "consensus"})
    assert (picture(drawn) != picture(other)).any()
    explanation = unpack_record(service.store.get(report).blob)
    explanation.packs["consensus"] = replace(pack, values=pack.disagreement)
    expected = explanation.overlay(explanation.report.words[1], "consensus")
    np.testing.assert_array_equal(picture(drawn)[..., ::-1], expected.pixels)
    phrase = service.client.get(f"{place}/overlay.png", params={"words": "1-1", **asked})
    assert phrase.content == drawn.content


@pytest.mark.parametrize("path", ["maps?", "words/1/overlay.png?", "overlay.png?finding=0&"])
def test_a_method_that_joins_no_others_has_no_disagreement(service: Service, path: str) -> None:
    place = f"/reports/{service.report()}"
    found = problem(service.client.get(f"{place}/{path}method=raw&quantity=disagreement"), 422)
    assert "raw joins no other methods" in found["detail"]
    problem(service.client.get(f"{place}/{path}method=raw&quantity=spread"), 422)


@pytest.mark.parametrize(
    ("name", "value"),
    [("colormap", "viridis"), ("scale", "map"), ("contours", "true"), ("opacity", "0.9"), ("size", "30")],
)
def test_options_of_a_picture_change_it(service: Service, name: str, value: str) -> None:
    place = f"/reports/{service.report()}/words/1/overlay.png"
    plain, changed = service.client.get(place), service.client.get(place, params={name: value})
    assert picture(changed) is not None
    assert plain.content != changed.content


@pytest.mark.parametrize(
    "query",
    [
        "words/3/overlay.png",
        "words/-1/overlay.png",
        "words/one/overlay.png",
        "words/0/overlay.png?opacity=2",
        "words/0/overlay.png?opacity=nan",
        "words/0/overlay.png?colormap=no-such",
        "words/0/overlay.png?colourmap=viridis",
        "words/0/overlay.png?scale=word",
        "words/0/overlay.png?size=100000",
        "words/0/overlay.png?method=crystal-ball",
        "overlay.png",
        "overlay.png?words=1-2&finding=0",
        "overlay.png?words=2-1",
        "overlay.png?words=0-3",
        "overlay.png?finding=1",
        "film.png?size=1",
        "film.png?view=patient",
        "film.png?view=model&size=30",
        "film.png?view=model&depth=16",
        "film.png?depth=12",
        "words/0/overlay.png?cutoff=1",
        "export",
        "export?format=docx",
    ],
)
def test_pictures_that_cannot_be_drawn(service: Service, query: str) -> None:
    problem(service.client.get(f"/reports/{service.report()}/{query}"), 422)


def test_the_film_comes_back_as_it_was_read(service: Service) -> None:
    place = f"/reports/{service.report()}/film.png"
    film = picture(service.client.get(place))
    assert film.shape[:2] == (40, 60)
    np.testing.assert_array_equal(film, gray8(read_film(png())))
    assert picture(service.client.get(place, params={"size": 30})).shape[:2] == (20, 30)


def test_the_film_with_all_its_grays(service: Service) -> None:
    """16 bits a pixel where they are asked for: of a film of 8 bits each gray times 257; halved, the means of them."""
    place = f"/reports/{service.report()}/film.png"
    deep = picture(service.client.get(place, params={"depth": 16}))
    assert deep.dtype == np.uint16
    np.testing.assert_array_equal(deep, gray16(read_film(png())))
    small = picture(service.client.get(place, params={"depth": 16, "size": 30}))
    assert small.dtype == np.uint16
    blocks = deep.reshape(20, 2, 30, 2).mean(axis=(1, 3))
    assert np.abs(small - blocks).max() <= 1


def test_what_is_weaker_than_a_cutoff_is_not_drawn(service: Service) -> None:
    place = f"/reports/{service.report()}/words/1/overlay.png"
    free, cut = (picture(service.client.get(place, params={"cutoff": cutoff})) for cutoff in (0, 0.6))
    film = picture(service.client.get(f"{place.rpartition('/words')[0]}/film.png")).reshape(40, 60, -1)[..., :3]
    left_out = (cut == film).all(axis=2)
    assert 0 < left_out.mean() < 1
    np.testing.assert_array_equal(cut[~left_out], free[~left_out])


def test_the_film_as_the_model_gets_it_has_the_models_size(service: Service) -> None:
    place = f"/reports/{service.report()}/film.png"
    assert picture(service.client.get(place, params={"view": "model"})).shape[:2] == (16, MODEL_SIZE)
    plain, named = service.client.get(place), service.client.get(place, params={"view": "film"})
    assert plain.content == named.content


@pytest.mark.parametrize(
    ("form", "media_type", "mark"),
    [
        ("json", "application/json", b"{"),
        ("npz", "application/x-npz", b"PK"),
        ("html", "text/html; charset=utf-8", b"<"),
    ],
)
def test_exports(service: Service, form: str, media_type: str, mark: bytes) -> None:
    answer = service.client.get(f"/reports/{service.report()}/export", params={"format": form})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == media_type
    assert answer.headers["content-disposition"] == f'attachment; filename="report.{form}"'
    assert answer.content.startswith(mark)
