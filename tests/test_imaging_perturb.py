"""Perturbed films, and maps that find their way back."""

from __future__ import annotations

import hashlib

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from models import noise_film

from medinterp.errors import SelectionError
from medinterp.imaging.perturb import PERTURBATIONS, contrast, crop, flip, get_perturbations, noise
from medinterp.types import Film, Float32Array

SIDE = 64


def smooth_film(dtype: type, height: int, width: int) -> Film:
    """A film without grain: a slope from a tenth to nine tenths of the range."""
    full = np.iinfo(dtype).max
    slope = np.linspace(0.1, 0.9, width)[None, :] * np.linspace(0.8, 1.0, height)[:, None]
    return Film((slope * full).astype(dtype), "image/png", "of the file")


def seen(film: Film, side: int = SIDE) -> Float32Array:
    """The film as a model's input, 0..1: squashed to side x side with the mean over each input pixel."""
    shares = film.pixels.astype(np.float32) / np.iinfo(film.pixels.dtype).max
    return np.asarray(cv2.resize(shares, (side, side), interpolation=cv2.INTER_AREA))


@pytest.mark.parametrize("name", PERTURBATIONS)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize(("height", "width"), [(300, 200), (40, 50)])
def test_a_changed_film_is_a_film_and_can_be_made_again(name: str, dtype: type, height: int, width: int) -> None:
    film = smooth_film(dtype, height, width)
    before = film.pixels.copy()
    changed = PERTURBATIONS[name].apply(film, seed=3, side=SIDE)
    again = PERTURBATIONS[name].apply(film, seed=3, side=SIDE)
    assert changed.pixels.dtype == dtype
    assert changed.pixels.flags.c_contiguous
    assert np.array_equal(changed.pixels, again.pixels)
    assert np.array_equal(film.pixels, before)
    assert changed.pixels.shape != before.shape or not np.array_equal(changed.pixels, before)
    assert changed.sha256 == again.sha256 == hashlib.sha256(changed.pixels.tobytes()).hexdigest()
    assert "seed 3" in changed.notes[-1] and PERTURBATIONS[name].meaning in changed.notes[-1]


@pytest.mark.parametrize("name", ["noise", "five_pixels"])
def test_another_seed_draws_another_film(name: str) -> None:
    film = smooth_film(np.uint8, 300, 200)
    first, second = (PERTURBATIONS[name].apply(film, seed=seed, side=SIDE).pixels for seed in (0, 1))
    assert not np.array_equal(first, second)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize(("height", "width"), [(640, 960), (64, 64), (30, 50)])
def test_noise_has_its_sigma_where_the_model_looks(dtype: type, height: int, width: int) -> None:
    film = Film(np.full((height, width), np.iinfo(dtype).max // 2, dtype), "image/png", "")
    changed = noise(0.05).apply(film, seed=0, side=SIDE)
    side = min(SIDE, height, width)
    assert seen(changed, side).std() == pytest.approx(0.05, rel=0.35 if side < SIDE else 0.1)
    shares = changed.pixels / np.iinfo(dtype).max
    assert shares.std() == pytest.approx(0.05, rel=0.1)
    assert shares.mean() == pytest.approx(0.5, abs=0.01)


def test_noise_stays_in_range_and_does_not_wrap() -> None:
    for value in (0, 255):
        changed = noise(0.2).apply(Film(np.full((80, 80), value, np.uint8), "image/png", ""), seed=0, side=SIDE)
        far = np.abs(changed.pixels.astype(int) - value)
        assert far.max() < 255 and np.median(far) <= 1 and (far > 0).any()


def test_contrast_turns_about_the_mean() -> None:
    film = smooth_film(np.uint16, 100, 120)
    flat = contrast(0.5).apply(film, seed=0, side=SIDE).pixels.astype(float)
    assert flat.mean() == pytest.approx(film.pixels.mean(), abs=1.0)
    assert flat.std() == pytest.approx(film.pixels.std() / 2, rel=1e-3)
    assert np.ptp(contrast(0.0).apply(film, seed=0, side=SIDE).pixels) == 0


@pytest.mark.parametrize(("height", "width"), [(900, 700), (64, 64), (65, 127), (3000, 200)])
def test_five_pixels_survive_the_way_into_the_model(height: int, width: int) -> None:
    film = smooth_film(np.uint8, height, width)
    changed = PERTURBATIONS["five_pixels"].apply(film, seed=0, side=SIDE)
    ends = np.isin(changed.pixels, (0, 255)) & (changed.pixels != film.pixels)
    count, _ = cv2.connectedComponents(ends.astype(np.uint8))
    assert 2 <= count <= 6
    blocks = (height / SIDE) * (width / SIDE)
    assert ends.sum() == pytest.approx(5 * blocks, rel=0.6)
    moved = np.abs(seen(changed) - seen(film))
    assert np.sort(moved.ravel())[-5] > 0.1
    assert (moved > 0.02).sum() <= 5 * 4


def test_five_pixels_change_a_film_that_is_black() -> None:
    black = Film(np.zeros((64, 64), np.uint8), "image/png", "")
    changed = PERTURBATIONS["five_pixels"].apply(black, seed=0, side=SIDE)
    assert (changed.pixels == 255).sum() == 5


def test_flip_mirrors_film_and_map_alike() -> None:
    film = noise_film(4, 128, 96)
    change = flip()
    assert change.mirrors
    changed = change.apply(film, seed=0, side=SIDE)
    assert np.array_equal(changed.pixels[:, 0], film.pixels[:, -1])
    values = np.random.default_rng(0).random((16, 12), dtype=np.float32)
    assert np.array_equal(change.back(change.forth(values)), values)
    assert np.array_equal(change.forth(values)[:, 0], values[:, -1])


@settings(deadline=None)
@given(
    share=st.floats(0.01, 0.3),
    rows=st.integers(2, 20),
    columns=st.integers(2, 20),
    seed=st.integers(0, 1000),
)
def test_crop_back_keeps_a_maps_mass_and_leaves_the_border_empty(
    share: float, rows: int, columns: int, seed: int
) -> None:
    values = np.random.default_rng(seed).random((rows, columns), dtype=np.float32)
    back = crop(share).back(values)
    assert back.shape == values.shape and back.dtype == np.float32
    assert back.sum() == pytest.approx(float(values.sum()), rel=1e-4)
    outside = int(share * rows)
    assert not back[:outside].any() and not back[rows - outside :].any()


def test_crop_moves_a_map_to_the_place_that_the_picture_moved_from() -> None:
    # One bright square that lies in cell (10, 3) of a 16 x 16 grid; the map of the cropped film points at it.
    pixels = np.zeros((1600, 1600), np.uint8)
    pixels[1010:1090, 310:390] = 255
    change = crop(0.1)
    cropped = change.apply(Film(pixels, "image/png", ""), seed=0, side=SIDE)
    assert cropped.pixels.shape == (1280, 1280)
    there = seen(cropped, 16)
    assert np.unravel_index(there.argmax(), there.shape) != (10, 3)
    back = change.back(there)
    assert np.unravel_index(back.argmax(), back.shape) == (10, 3)
    # Forth is the same way in the other direction, and loses what was cut off.
    whole = seen(Film(pixels, "image/png", ""), 16)
    assert np.unravel_index(change.forth(whole).argmax(), (16, 16)) == np.unravel_index(there.argmax(), (16, 16))
    assert change.forth(np.ones((16, 16), np.float32)).sum() == pytest.approx(256 * 0.8**2, rel=1e-5)


@pytest.mark.parametrize("make", [lambda: noise(0.0), lambda: contrast(-1.0), lambda: crop(0.5), lambda: crop(0.0)])
def test_strengths_that_make_no_sense_are_refused(make: object) -> None:
    with pytest.raises(ValueError, match="is"):
        make()  # type: ignore[operator]


def test_perturbations_are_found_by_name() -> None:
    assert [one.name for one in get_perturbations(["crop", "noise"])] == ["crop", "noise"]
    assert set(PERTURBATIONS) == {"noise", "contrast", "five_pixels", "flip", "crop"}
    with pytest.raises(SelectionError, match="five_pixels"):
        get_perturbations(["blur"])
