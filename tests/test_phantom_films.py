"""Synthetic films: the same seed is the same film, and every finding lies where the truth says."""

from __future__ import annotations

from collections import Counter

import cv2
import numpy as np
import pytest

from medinterp.phantom import example_films
from medinterp.phantom.films import (
    Drawing,
    SyntheticFilm,
    cells_of,
    draw_film,
    facts_of,
    reference_report,
    sample_film,
    size_in_cells,
    size_word,
)
from medinterp.phantom.findings import NAMES
from medinterp.report import parse_findings

SEEDS = range(24)
EDGE = 8
"""Pixels of a 256-pixel film that a soft edge reaches beyond the mask, which ends at half coverage."""


@pytest.fixture(scope="module")
def drawn() -> list[tuple[SyntheticFilm, Drawing]]:
    """Films that hold every kind of finding, drawn once at 256 x 256."""
    films = [sample_film(seed) for seed in SEEDS]
    assert {finding.name for film in films for finding in film.findings} == set(NAMES)
    return [(film, draw_film(film, 256, 256)) for film in films]


def grown(mask: np.ndarray, margin: int) -> np.ndarray:
    """The mask with a margin of so many pixels."""
    kernel = np.ones((2 * margin + 1, 2 * margin + 1), dtype=np.uint8)
    return cv2.dilate(mask.astype(np.uint8), kernel).astype(bool)


def test_the_same_seed_is_the_same_film() -> None:
    assert sample_film(7) == sample_film(7)
    first, again = draw_film(sample_film(7), 300, 200), draw_film(sample_film(7), 300, 200)
    np.testing.assert_array_equal(first.pixels, again.pixels)
    for one, other in zip(first.masks, again.masks, strict=True):
        np.testing.assert_array_equal(one, other)
    assert not np.array_equal(first.pixels, draw_film(sample_film(8), 300, 200).pixels)


def test_one_to_three_findings_of_every_kind() -> None:
    counts: Counter[int] = Counter()
    names: Counter[str] = Counter()
    for seed in range(600):
        film = sample_film(seed)
        counts[len(film.findings)] += 1
        names.update({finding.name for finding in film.findings})
        sides: dict[str, list[str | None]] = {}
        for finding in film.findings:
            sides.setdefault(finding.name, []).append(finding.side)
        for name, where in sides.items():
            assert len(where) == len(set(where))
            assert len(where) == 1 or (name in ("pleural effusion", "consolidation") and where == ["right", "left"])
            assert (where == [None]) == (name in ("cardiomegaly", "tube"))
    assert set(counts) == {1, 2, 3}
    assert min(counts.values()) > 100
    assert set(names) == set(NAMES)
    assert min(names.values()) > 60


@pytest.mark.parametrize("seed", range(8))
def test_the_same_film_at_any_size(seed: int) -> None:
    film = sample_film(seed)
    small, large = draw_film(film, 256, 256), draw_film(film, 1024, 1024)
    shrunk = cv2.resize(large.pixels, (256, 256), interpolation=cv2.INTER_AREA)
    assert np.corrcoef(shrunk.ravel(), small.pixels.ravel())[0, 1] > 0.998
    assert np.abs(shrunk - small.pixels).mean() < 0.008
    for mask, big in zip(small.masks, large.masks, strict=True):
        share = cv2.resize(big.astype(np.float32), (256, 256), interpolation=cv2.INTER_AREA)
        assert np.minimum(share, mask).sum() / np.maximum(share, mask).sum() > 0.8  # thin wires lose most
        assert abs(size_in_cells(big) - size_in_cells(mask)) < 0.06 + 0.02 * size_in_cells(big)
        assert np.abs(cells_of(mask) - cells_of(big)).max() < 0.15
    assert [fact.name for fact in facts_of(film, small)] == [fact.name for fact in facts_of(film, large)]


@pytest.mark.parametrize(("width", "height"), [(500, 800), (800, 500)])
def test_a_square_drawing_is_the_squashed_film(width: int, height: int) -> None:
    """What training draws at 256 x 256 for an aspect is what the image processor makes of such a film."""
    for seed in range(4):
        film = sample_film(seed)
        square, full = draw_film(film, 256, 256, aspect=width / height), draw_film(film, width, height)
        squashed = cv2.resize(full.pixels, (256, 256), interpolation=cv2.INTER_AREA)
        assert np.corrcoef(squashed.ravel(), square.pixels.ravel())[0, 1] > 0.995
        for mask, big in zip(square.masks, full.masks, strict=True):
            assert np.abs(cells_of(mask) - cells_of(big)).max() < 0.2


def test_the_counterfactual_differs_only_where_the_finding_lies(drawn: list[tuple[SyntheticFilm, Drawing]]) -> None:
    for film, drawing in drawn:
        for k, mask in enumerate(drawing.masks):
            without = film.without(k)
            assert without.findings == film.findings[:k] + film.findings[k + 1 :]
            other = draw_film(without, 256, 256)
            difference = np.abs(other.pixels - drawing.pixels)
            name = film.findings[k].name
            assert not difference[~grown(mask, EDGE)].any(), (film.seed, name)
            assert difference[mask].mean() > 0.03, (film.seed, name)
            kept = [one for j, one in enumerate(drawing.masks) if j != k]
            for one, again in zip(kept, other.masks, strict=True):
                # Only what shares its place may look different without it (e.g. beside a smaller heart).
                assert not (one != again)[~grown(mask, EDGE)].any()


def test_every_finding_fills_its_mask(drawn: list[tuple[SyntheticFilm, Drawing]]) -> None:
    for film, drawing in drawn:
        for k, mask in enumerate(drawing.masks):
            if film.findings[k].name == "cardiomegaly":
                continue  # its mask is the whole silhouette, of which a normal heart fills most
            changed = np.abs(draw_film(film.without(k), 256, 256).pixels - drawing.pixels) > 1 / 255
            assert changed[mask].mean() > 0.9, (film.seed, film.findings[k].name)


def test_sides_are_the_patients(drawn: list[tuple[SyntheticFilm, Drawing]]) -> None:
    """The patient's right is the film's left."""
    seen = Counter()
    for film, drawing in drawn:
        for finding, mask in zip(film.findings, drawing.masks, strict=True):
            middle = np.nonzero(mask)[1].mean() / mask.shape[1]
            if finding.side is not None:
                assert (middle < 0.5) == (finding.side == "right"), (film.seed, finding.name)
                seen[finding.side] += 1
    assert min(seen["left"], seen["right"]) >= 5


def test_zones_lie_in_order() -> None:
    heights: dict[str, list[float]] = {"upper": [], "mid": [], "lower": []}
    for seed in range(60):
        film = sample_film(seed)
        for finding in film.findings:
            if finding.name == "nodule":
                heights[str(finding.zone)].append(finding.v)
    assert max(heights["upper"]) < min(heights["lower"])
    assert np.mean(heights["upper"]) < np.mean(heights["mid"]) < np.mean(heights["lower"])


def test_cells_and_sizes() -> None:
    mask = np.zeros((256, 256), dtype=bool)
    mask[32:48, 64:72] = True  # half of cell (2, 4)
    cells = cells_of(mask)
    assert cells[2, 4] == pytest.approx(0.5, abs=0.01)
    assert cells.sum() == pytest.approx(0.5, abs=0.01)
    assert size_in_cells(mask) == pytest.approx(0.5)
    assert [size_word(cells) for cells in (1.49, 1.5, 4.99, 5.0)] == ["small", "moderate", "moderate", "large"]


def test_pictures_of_8_and_16_bits() -> None:
    drawing = draw_film(sample_film(3), 64, 64)
    assert drawing.uint8().dtype == np.uint8
    assert drawing.uint16().dtype == np.uint16
    assert np.abs(drawing.uint16() / 65535 - drawing.pixels).max() <= 0.5 / 65535 + 1e-7
    assert 0.0 <= drawing.pixels.min() < 0.2 < 0.7 < drawing.pixels.max() <= 1.0


def test_the_reference_report_says_what_is_there() -> None:
    for seed in range(40):
        film = sample_film(seed)
        text = reference_report(film, draw_film(film, 128, 128))
        present = {finding.name for finding in parse_findings(text) if finding.present}
        assert present == {finding.name for finding in film.findings}


def test_example_films_are_pictures_with_captions() -> None:
    examples = example_films()
    assert len({example.name for example in examples}) == len(examples) == 8
    for example in examples:
        picture = cv2.imdecode(np.frombuffer(example.png, np.uint8), cv2.IMREAD_UNCHANGED)
        assert picture.ndim == 2
        assert picture.shape[0] >= 800
        assert any(name in example.caption for name in NAMES)
