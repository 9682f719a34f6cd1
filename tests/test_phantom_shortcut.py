"""Films with a shortcut: how often marker and nodule agree, and where exactly each of them lies."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from medinterp.phantom.films import SyntheticFilm, draw_film, facts_of, marker_cover
from medinterp.phantom.findings import NAMES
from medinterp.phantom.shortcut import (
    CLEAR,
    MARKER_SIZE,
    STRENGTHS,
    TRAINING_CORRELATION,
    nodule_of,
    sample_shortcut_film,
    shortcut_masks,
    without_marker,
    without_nodule,
)
from medinterp.phantom.training.pool import SLOTS, draw_pool

FILMS = 500


def sampled(correlation: float) -> list[SyntheticFilm]:
    return [sample_shortcut_film(seed, correlation) for seed in range(FILMS)]


def counts(films: list[SyntheticFilm]) -> np.ndarray:
    """How many films there are without and with a nodule (rows), without and with a marker (columns), int64 [2, 2]."""
    table = np.zeros((2, 2), dtype=np.int64)
    for film in films:
        table[int(nodule_of(film) is not None), int(film.distractors.marker == "L")] += 1
    return table


@pytest.mark.parametrize(("correlation", "margin"), [(TRAINING_CORRELATION, 0.02), (0.5, 0.05), (0.0, 0.0), (1.0, 0.0)])
def test_marker_and_nodule_agree_as_often_as_asked(correlation: float, margin: float) -> None:
    table = counts(sampled(correlation))
    assert abs(np.trace(table) / FILMS - correlation) <= margin
    assert abs(table[1].sum() / FILMS - 0.5) < 0.06
    with_marker = table[:, 1] / table.sum(axis=1)
    assert abs(with_marker[0] - (1 - correlation)) <= 2 * margin
    assert abs(with_marker[1] - correlation) <= 2 * margin


def test_a_seed_is_one_film_whatever_the_correlation() -> None:
    differ = 0
    for one, other in zip(sampled(0.95)[:100], sampled(0.5)[:100], strict=True):
        differ += one.distractors.marker != other.distractors.marker
        assert without_marker(one) == without_marker(other)
    assert differ > 20
    assert sample_shortcut_film(7, 0.5) == sample_shortcut_film(7, 0.5)


def test_nodules_are_faint_to_clear_and_the_rest_is_rarer() -> None:
    films = sampled(TRAINING_CORRELATION)
    strengths, names = [], []
    for film in films:
        nodule = nodule_of(film)
        assert [f.name for f in film.findings].count("nodule") == (nodule is not None)
        assert film.distractors.marker in (None, "L")
        assert len(film.findings) <= SLOTS
        if nodule is not None:
            strengths.append(film.findings[nodule].strength)
            assert film.findings[nodule].name == "nodule"
        names += [f.name for f in film.findings if f.name != "nodule"]
        places = [(f.side, f.zone) for f in film.findings if f.name in ("nodule", "consolidation", "atelectasis")]
        assert len(places) == len(set(places))
    assert min(strengths) >= STRENGTHS[0] and max(strengths) <= STRENGTHS[1]
    assert abs(np.median(strengths) / np.sqrt(STRENGTHS[0] * STRENGTHS[1]) - 1) < 0.2
    assert 0.05 < np.mean(np.array(strengths) >= CLEAR) < 0.2
    assert set(names) == set(NAMES) - {"nodule"}
    assert 0.4 < len(names) / FILMS < 0.6


@pytest.mark.parametrize("size", [(256, 256), (700, 900), (1000, 640)])
def test_the_markers_mask_is_what_the_marker_changes(size: tuple[int, int]) -> None:
    seen = 0
    for film in sampled(0.5)[:12]:
        drawing = draw_film(film, *size)
        mask = shortcut_masks(film, drawing).marker
        assert mask.shape == drawing.pixels.shape and mask.dtype == bool
        changed = draw_film(without_marker(film), *size).pixels != drawing.pixels
        assert not changed[~mask].any()
        assert mask.any() == (film.distractors.marker is not None)
        if mask.any():
            seen += 1
            assert changed[mask].mean() > 0.9  # a black film beside the letter stays black under a trace of it
            assert changed[marker_cover("L", *size, MARKER_SIZE) > 0.1].all()
            assert np.nonzero(mask)[1].mean() / size[0] > 0.9  # the patient's left is the film's right
    assert seen >= 4


def test_the_nodules_mask_is_where_the_nodule_lies() -> None:
    seen = 0
    for film in sampled(0.5)[:16]:
        drawing = draw_film(film, 256, 256)
        masks = shortcut_masks(film, drawing)
        other = without_nodule(film)
        nodule = nodule_of(film)
        assert nodule_of(other) is None and other.distractors == film.distractors
        if nodule is None:
            assert other == film and not masks.nodule.any()
            continue
        seen += 1
        np.testing.assert_array_equal(masks.nodule, drawing.masks[nodule])
        changed = np.abs(draw_film(other, 256, 256).pixels - drawing.pixels)
        grown = cv2.dilate(masks.nodule.astype(np.uint8), np.ones((17, 17), dtype=np.uint8)).astype(bool)
        assert not changed[~grown].any()
        assert (changed[masks.nodule] > 0).mean() > 0.9
        stronger = replace(film.findings[nodule], strength=2 * film.findings[nodule].strength)
        findings = tuple(stronger if k == nodule else f for k, f in enumerate(film.findings))
        twice = draw_film(replace(film, findings=findings), 256, 256)
        np.testing.assert_array_equal(shortcut_masks(film, twice).nodule, masks.nodule)  # faint ones are no smaller
        assert facts_of(film, twice) == facts_of(film, drawing)
    assert seen >= 5


def test_a_pool_of_shortcut_films_is_drawn_once(tmp_path: Path) -> None:
    first = draw_pool(tmp_path, 0, 24, 64, workers=1, kind="shortcut", chunk=12)
    stamps = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    again = draw_pool(tmp_path, 0, 24, 64, workers=1, kind="shortcut", chunk=12)
    assert len(stamps) == 2 and {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == stamps
    np.testing.assert_array_equal(first.images, again.images)
    assert first.facts == again.facts
    for seed, facts in enumerate(first.facts):  # nothing was taken out, which would part nodule and marker
        film = sample_shortcut_film(seed, TRAINING_CORRELATION)
        assert [fact.name for fact in facts] == [finding.name for finding in film.findings]
