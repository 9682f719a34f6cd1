"""Overlays: where the colour goes, how much of it, and on whose scale."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

from medinterp.render import (
    COLORMAPS,
    DEFAULT_COLORMAP,
    RenderOptions,
    colormap,
    encode_png,
    overlay,
    report_range,
    scaled,
)
from medinterp.types import Film, MapPack, RelevancyMap


def film(height: int = 120, width: int = 80, gray: int = 100) -> Film:
    return Film(np.full((height, width), gray, dtype=np.uint8), "image/png", "0")


def relevancy(values: Any, signed: bool = False) -> RelevancyMap:
    return RelevancyMap("some", np.asarray(values, dtype=np.float32), (0,), signed)


def one_hot(row: int, column: int, value: float = 1.0) -> RelevancyMap:
    values = np.zeros((16, 16))
    values[row, column] = value
    return relevancy(values)


@pytest.mark.parametrize(("height", "width"), [(320, 160), (160, 480), (97, 211)])
@pytest.mark.parametrize("cell", [(0, 0), (3, 12), (15, 15)])
def test_the_strongest_colour_lies_in_the_cell_on_tall_and_wide_films(
    height: int, width: int, cell: tuple[int, int]
) -> None:
    picture = overlay(film(height, width), one_hot(*cell), RenderOptions(opacity=1.0), value_range=(0, 1))
    change = np.abs(picture.astype(int) - 100).sum(axis=-1)
    rows, columns = np.nonzero(change == change.max())
    assert int(rows.mean() / height * 16) == cell[0]
    assert int(columns.mean() / width * 16) == cell[1]


def test_where_the_map_has_nothing_the_film_is_untouched() -> None:
    picture = overlay(film(), one_hot(2, 2), RenderOptions(), value_range=(0, 1))
    assert (picture[60:] == 100).all()
    assert (overlay(film(), relevancy(np.zeros((16, 16))), RenderOptions()) == 100).all()


def test_colours_follow_the_square_root_on_both_sides_of_zero() -> None:
    values = np.array([[0.0, 0.01, 0.25, 1.0]], dtype=np.float32)
    np.testing.assert_allclose(scaled(relevancy(values), (0.0, 1.0)), [[0.0, 0.1, 0.5, 1.0]], atol=1e-6)
    both = relevancy(np.concatenate([values, -values]), signed=True)
    np.testing.assert_allclose(
        scaled(both, (-1.0, 1.0)), [[0.5, 0.55, 0.75, 1.0], [0.5, 0.45, 0.25, 0.0]], atol=1e-6
    )


def test_the_top_of_the_scale_is_blended_with_the_given_opacity() -> None:
    full = relevancy(np.ones((16, 16)))
    picture = overlay(film(), full, RenderOptions(opacity=0.25), value_range=(0, 1))
    expected = np.round(100 + 0.25 * (colormap(DEFAULT_COLORMAP)[255].astype(float) - 100))
    assert (picture == expected).all()


def test_a_weak_word_stays_weak_on_the_reports_scale_and_not_on_its_own() -> None:
    values = np.zeros((2, 16, 16), dtype=np.float32)
    values[0, 4, 4], values[1, 8, 8] = 1.0, 0.01
    pack = MapPack("some", values, signed=False, additive=False)
    weak = relevancy(values[1])
    both = pack.values.astype(np.float32)
    assert report_range(both, False) == (0.0, 1.0)
    on_report = overlay(film(), weak, RenderOptions(), value_range=report_range(both, False))
    on_own = overlay(film(), weak, RenderOptions(scale="map"))
    assert np.abs(on_report.astype(int) - 100).max() <= 4
    assert np.abs(on_own.astype(int) - 100).max() > 20


def test_the_sharpest_word_in_ten_does_not_hide_the_others() -> None:
    peaks = np.arange(1.0, 21.0)
    peaks[-1] = 1000.0
    maps = np.zeros((20, 16, 16), dtype=np.float32)
    maps[:, 3, 4] = peaks
    assert report_range(maps, False) == (0.0, 19.0)
    assert report_range(-maps, True) == (-19.0, 19.0)
    assert report_range(maps[:10], False) == (0.0, 10.0)  # of a few words none is cut
    maps[:19] = 0
    assert report_range(maps, False) == (0.0, 1000.0)
    top = overlay(film(), relevancy(maps[19]), RenderOptions(), value_range=(0.0, 19.0))
    assert top.dtype == np.uint8


def test_a_signed_map_is_untouched_at_zero_and_differs_on_both_sides() -> None:
    values = np.zeros((16, 16))
    values[:, :4], values[:, 12:] = -1.0, 1.0
    picture = overlay(film(), relevancy(values, signed=True), RenderOptions(), value_range=(-1, 1))
    assert (picture[:, 35:45] == 100).all()
    against, for_ = picture[60, 2].astype(int), picture[60, -2].astype(int)
    assert against[2] > against[0]
    assert for_[0] > for_[2]
    assert report_range(values[None].astype(np.float32), True) == (-1.0, 1.0)


def test_contours_surround_the_peak() -> None:
    blob = np.zeros((16, 16))
    blob[6:10, 6:10] = 1.0
    plain = overlay(film(), relevancy(blob), RenderOptions(opacity=0.0), value_range=(0, 1))
    lined = overlay(film(), relevancy(blob), RenderOptions(opacity=0.0, contours=True), value_range=(0, 1))
    rows, columns = np.nonzero((plain != lined).any(axis=-1))
    assert len(rows) > 20
    assert 120 * 5 / 16 <= rows.min() <= rows.max() <= 120 * 11 / 16
    assert 80 * 5 / 16 <= columns.min() <= columns.max() <= 80 * 11 / 16


def test_size_is_the_longest_side() -> None:
    assert overlay(film(), one_hot(0, 0), RenderOptions(size=60)).shape == (60, 40, 3)
    assert overlay(film(), one_hot(0, 0), RenderOptions()).shape == (120, 80, 3)


@pytest.mark.parametrize(
    "options", [{"opacity": 1.1}, {"opacity": -0.1}, {"scale": "word"}, {"size": 0}, {"colormap": "jet"}]
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"."):
        RenderOptions(**options)


@pytest.mark.parametrize("name", COLORMAPS)
def test_a_colour_map_has_256_colours_that_cannot_be_changed(name: str) -> None:
    table = colormap(name)
    assert table.shape == (256, 3)
    assert table.dtype == np.uint8
    with pytest.raises(ValueError, match="read-only"):
        table[0] = 0


@pytest.mark.parametrize("gray", range(0, 256, 15))
def test_a_third_of_the_range_is_coloured_on_a_film_of_any_gray(gray: int) -> None:
    """A gray map on a gray film cannot be seen, whatever it says."""
    values = np.linspace(1 / 3, 1, 256, dtype=np.float32).reshape(16, 16)
    picture = overlay(film(gray=gray), relevancy(values), RenderOptions(), value_range=(0, 1)).astype(int)
    assert (picture.max(axis=-1) - picture.min(axis=-1)).min() > 16


def test_cividis_runs_from_blue_to_yellow() -> None:
    low, high = colormap("cividis")[0].astype(int), colormap("cividis")[255].astype(int)
    assert low[2] > low[0]
    assert high[0] > high[2]
    assert (np.diff(colormap("cividis").astype(int).sum(axis=1)) >= -2).all()


def test_png_keeps_every_pixel() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    read = cv2.imdecode(np.frombuffer(encode_png(picture), dtype=np.uint8), cv2.IMREAD_COLOR)
    assert read is not None
    np.testing.assert_array_equal(read[..., ::-1], picture)
