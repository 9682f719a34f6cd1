"""Pictures pixel by pixel, beside the formulas that the page draws by too."""

from __future__ import annotations

import io
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from medinterp.imaging import gray8
from medinterp.imaging.geometry import upsample
from medinterp.render import COLORMAPS, CONTOUR_LEVELS, RenderOptions, canvas, colormap, encode_png, overlay, scaled
from medinterp.types import Film, RelevancyMap


def noisy_film(height: int, width: int) -> Film:
    pixels = np.random.default_rng(height).integers(0, 2**16, (height, width), dtype=np.uint16)
    return Film(pixels, "image/png", "0")


def some_map(signed: bool) -> RelevancyMap:
    rng = np.random.default_rng(4)
    values = rng.normal(size=(7, 5)) if signed else rng.random((7, 5)) ** 2
    return RelevancyMap("some", values.astype(np.float32), (0,), signed)


def blended(gray: Any, shares: Any, signed: bool, name: str, opacity: float) -> Any:
    """The formula of `overlay`, in numpy and double precision."""
    strength = np.abs(2.0 * shares - 1.0) if signed else shares
    colours = colormap(name)[np.round(255.0 * shares).astype(np.uint8)].astype(np.float64)
    return gray[..., None] + (opacity * strength)[..., None] * (colours - gray[..., None])


def lined(picture: Any, strength: Any, table: Any) -> Any:
    """The formula of `draw_contours`, pixel by pixel."""
    height, width = strength.shape
    thickness = max(1.0, max(height, width) / 500)
    drawn = np.asarray(picture, dtype=np.float64).copy()
    for y in range(height):
        for x in range(width):
            left, right = max(x - 1, 0), min(x + 1, width - 1)
            above, below = max(y - 1, 0), min(y + 1, height - 1)
            gx = (strength[y, right] - strength[y, left]) / max(right - left, 1)
            gy = (strength[below, x] - strength[above, x]) / max(below - above, 1)
            g = max(np.hypot(gx, gy), 1e-6)
            for level in CONTOUR_LEVELS:
                cover = np.clip(thickness / 2 + 0.5 - abs(strength[y, x] - level) / g, 0, 1)
                drawn[y, x] += cover * (table[round(level * 255)] - drawn[y, x])
    return drawn


@pytest.mark.parametrize("name", COLORMAPS)
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("opacity", [0.0, 0.3, 0.5, 1.0])
def test_an_overlay_is_the_formula_within_a_gray_level(name: str, signed: bool, opacity: float) -> None:
    film, map_ = noisy_film(211, 160), some_map(signed)
    limits = (-2.0, 2.0) if signed else (0.0, 0.8)
    picture = overlay(film, map_, RenderOptions(opacity=opacity, colormap=name), value_range=limits)
    shares = upsample(scaled(map_, limits), 211, 160).astype(np.float32)
    wanted = blended(gray8(film).astype(np.float64), shares, signed, name, opacity)
    assert np.abs(picture - wanted).max() <= 1.0
    assert np.abs(picture - np.round(wanted)).max() <= 1


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("size", [(90, 130), (40, 700), (1, 60), (60, 1)])
def test_contours_are_the_formula_within_a_gray_level(signed: bool, size: tuple[int, int]) -> None:
    film, map_ = noisy_film(*size), some_map(signed)
    limits = (-2.0, 2.0) if signed else (0.0, 0.8)
    options = RenderOptions(opacity=0.4, colormap="magma", contours=True)
    picture = overlay(film, map_, options, value_range=limits)
    plain = overlay(film, map_, RenderOptions(opacity=0.4, colormap="magma"), value_range=limits)
    shares = upsample(scaled(map_, limits), *size).astype(np.float64)
    wanted = lined(plain, np.abs(2 * shares - 1) if signed else shares, colormap("magma"))
    assert np.abs(picture - wanted).max() <= 1.0
    if min(size) > 1:
        assert (picture != plain).any()


def test_a_ramps_contours_run_where_it_passes_the_levels() -> None:
    """By hand: s rises by 1/64 a pixel along x between the centres of two cells."""
    film = Film(np.zeros((9, 128), dtype=np.uint8), "image/png", "0")
    ramp = RelevancyMap("some", np.array([[0.0, 1.0]], dtype=np.float32), (0,), False)
    picture = overlay(film, ramp, RenderOptions(opacity=0.0, colormap="gray", contours=True), value_range=(0, 1))
    # s = (x + 0.5 - 32) / 64: 0.5 between x = 63 and 64, 0.75 between 79 and 80; half of a line falls on each
    expected = np.zeros(128, dtype=int)
    expected[[63, 64]], expected[[79, 80]] = round(0.5 * 128), round(0.5 * 191)
    for row in picture:
        assert np.abs(row[:, 0].astype(int) - expected).max() <= 1


def test_a_flat_map_has_no_lines() -> None:
    film = noisy_film(50, 60)
    flat = RelevancyMap("some", np.full((4, 4), 0.6, dtype=np.float32), (0,), False)
    options = RenderOptions(opacity=0.3, contours=True)
    plain = overlay(film, flat, RenderOptions(opacity=0.3), value_range=(0, 1))
    np.testing.assert_array_equal(overlay(film, flat, options, value_range=(0, 1)), plain)


@pytest.mark.parametrize("size", [None, 60, 300])
def test_a_kept_canvas_gives_the_same_picture(size: int | None) -> None:
    film, map_, options = noisy_film(120, 90), some_map(False), RenderOptions(size=size)
    base = canvas(film, size)
    assert base.dtype == np.uint8
    assert max(base.shape) == (size or 120)
    np.testing.assert_array_equal(overlay(film, map_, options, base=base), overlay(film, map_, options))


@pytest.mark.parametrize("shape", [(9, 7, 3), (9, 7), (1, 1), (1, 5, 3), (300, 1)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_two_other_readers_get_every_pixel_of_a_png_back(shape: tuple[int, ...], dtype: Any) -> None:
    picture = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True)
    written = encode_png(picture)
    read = cv2.imdecode(np.frombuffer(written, np.uint8), cv2.IMREAD_UNCHANGED)
    assert read is not None and read.dtype == dtype
    np.testing.assert_array_equal(read[..., ::-1] if picture.ndim == 3 else read, picture)
    with Image.open(io.BytesIO(written)) as image:
        image.load()  # verifies the checksums
        if dtype == np.uint8:
            np.testing.assert_array_equal(np.asarray(image), picture)


def test_a_png_of_an_overlay_is_no_larger_than_opencvs() -> None:
    ramp = np.linspace(0, 200, 400 * 300).reshape(400, 300)
    pixels = (ramp + np.random.default_rng(0).normal(0, 3, ramp.shape)).clip(0, 255).astype(np.uint8)
    picture = overlay(Film(pixels, "image/png", "0"), some_map(False), RenderOptions())
    assert len(encode_png(picture)) < 1.05 * len(cv2.imencode(".png", picture[..., ::-1])[1])


@pytest.mark.parametrize("wrong", [np.zeros((3, 3)), np.zeros((3, 3, 4), np.uint8), np.zeros((0, 3), np.uint8)])
def test_what_is_no_picture_is_refused(wrong: Any) -> None:
    with pytest.raises(ValueError, match="shape"):
        encode_png(wrong)
