"""Pan and scan (Gemma 3): a film's crops have spans of their own, and their maps are put back where the crop was."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from models import noise_film

from medinterp.evaluation.families.tiny import save_tiny
from medinterp.explainer import Explainer
from medinterp.imaging.geometry import cell_densities, film_grid, film_maps
from medinterp.model import LoadedModel, load_model
from medinterp.model.entering import encode_images
from medinterp.model.prompt import build_prompt
from medinterp.relevancy import METHODS
from medinterp.types import Film, ImageSpan, spans_by_film

WIDE, SQUARE, TALL = (260, 601), (300, 310), (580, 290)


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    directory = save_tiny("Gemma 3", tmp_path_factory.mktemp("tiny"))
    for file in directory.glob("*processor_config.json"):
        told = json.loads(file.read_text())
        for entry in (told, told.get("image_processor", {})):
            if "image_processor_type" in entry:
                entry["do_pan_and_scan"] = True
        file.write_text(json.dumps(told))
    return load_model(str(directory))


def test_each_crop_has_a_span_and_a_part(loaded: LoadedModel) -> None:
    films = [noise_film(1, *WIDE), noise_film(2, *SQUARE), noise_film(3, *TALL)]
    prompt = build_prompt(loaded, films, "Describe.")
    parts = [[span.part for span in film] for film in prompt.films]
    assert parts[0] == [None, (0.0, 0.0, 1.0, 301 / 601), (0.0, 301 / 601, 1.0, 1.0)]
    assert parts[1] == [None]
    assert parts[2] == [None, (0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0)]
    assert prompt.cells == 7 * 64 and [film_grid(film) for film in prompt.films] == [(8, 16), (8, 8), (16, 8)]


@pytest.mark.parametrize(("shape", "place"), [(WIDE, (2, 12)), (WIDE, (7, 0)), (TALL, (13, 5)), (TALL, (0, 7))])
def test_a_place_in_a_crop_is_the_maps_place(
    loaded: LoadedModel, shape: tuple[int, int], place: tuple[int, int]
) -> None:
    """The cell of a crop that changes most with a place on the film, alone on a map, is drawn at that place."""
    plain = noise_film(4, *shape).pixels
    prompt = build_prompt(loaded, [Film(plain, "image/png", "0")], "Describe.")
    ((whole, *crops),) = prompt.films
    rows, columns = film_grid([whole, *crops])
    marked = plain.copy()
    top, left = round(place[0] * shape[0] / rows), round(place[1] * shape[1] / columns)
    marked[top : top + shape[0] // rows, left : left + shape[1] // columns] = 255
    with torch.no_grad():
        cells = [
            encode_images(loaded, [build_prompt(loaded, [Film(own, "image/png", "0")], "Describe.")])
            for own in (plain, marked)
        ]
    change = (cells[1] - cells[0]).norm(dim=-1)[64:]
    alone = np.zeros((1, prompt.cells), dtype=np.float32)
    alone[0, 64 + int(change.argmax())] = 1.0
    (drawn,) = film_maps(alone, [whole, *crops])
    assert np.unravel_index(drawn.argmax(), drawn.shape) == place
    assert drawn.sum() == pytest.approx(1.0, abs=1e-6) and drawn.max() > 0.95


def test_sums_stay_and_densities_come_back() -> None:
    left, right = (0.0, 0.0, 1.0, 0.5), (0.0, 0.5, 1.0, 1.0)
    spans = [ImageSpan(0, 6, 2, 3), ImageSpan(9, 15, 2, 3, left), ImageSpan(20, 26, 2, 3, right)]
    values = np.random.default_rng(0).random((4, 18)).astype(np.float32)
    maps = film_maps(values, spans)
    assert maps.shape == (4, 2, 6) and spans_by_film(spans) == [spans]
    np.testing.assert_allclose(maps.sum(axis=(1, 2)), values.sum(axis=1), rtol=1e-6)
    np.testing.assert_allclose(maps[:, :, 0], values[:, [0, 3]] / 2 + values[:, [6, 9]], rtol=1e-6)
    np.testing.assert_allclose(cell_densities(maps[0], spans)[[0, 6, 12]], [maps[0, 0, :2].mean(), *maps[0, 0, [0, 3]]])


def test_every_method_and_question_on_crops(loaded: LoadedModel) -> None:
    explainer = Explainer(loaded)
    explanation = explainer.explain(
        noise_film(1, *WIDE), prior=noise_film(3, *TALL), prompt="Describe it.", report="No rib fracture.",
        methods=list(METHODS),
    )  # fmt: skip
    for packs, grid in ((explanation.packs, (8, 16)), (explanation.prior_packs, (16, 8))):
        for name, pack in packs.items():
            assert pack.values.shape[1:] == grid and np.isfinite(pack.values).all(), name
    assert explanation.trace is not None
    both = explanation.packs["raw"].values.sum(axis=(1, 2)) + explanation.prior_packs["raw"].values.sum(axis=(1, 2))
    last = explanation.trace.image_attention[:, -1].mean(axis=1, dtype=np.float32).sum(axis=1)
    np.testing.assert_allclose(both, last, rtol=1e-3)
    words = [word for word in explanation.report.words if word.token_indices][:1]
    assert explainer.heads(explanation, words, image=1).maps.shape[2:] == (16, 8)
    assert len(explainer.text_sources(explanation, words).film_attention) == 2
    verdict = explainer.faithfulness(explanation, words, "occlusion", image=0, swaps=[noise_film(8, *SQUARE)])
    assert np.isfinite(verdict.scores.deletion.value)
