"""Cells of the grid and pixels of the film: one hot cell stays where it is on films of every shape."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medinterp.errors import SelectionError
from medinterp.imaging import geometry

GRIDS = [(16, 16), (7, 12)]
FILMS = [(300, 1200), (1200, 300), (640, 640), (1001, 333)]  # width, height


@st.composite
def cells(draw: st.DrawFn) -> tuple[int, int, int, int, int, int]:
    """row, column, rows, columns, width, height; every cell holds at least one pixel."""
    rows, columns = draw(st.integers(1, 32)), draw(st.integers(1, 32))
    width, height = draw(st.integers(columns, 4000)), draw(st.integers(rows, 4000))
    return draw(st.integers(0, rows - 1)), draw(st.integers(0, columns - 1)), rows, columns, width, height


@given(cells())
def test_a_cells_centre_lies_in_the_cell(cell: tuple[int, int, int, int, int, int]) -> None:
    row, column, rows, columns, width, height = cell
    x, y = geometry.cell_to_source(*cell)
    assert geometry.source_to_cell(x, y, rows, columns, width, height) == (row, column)
    assert x == pytest.approx((column + 0.5) / columns * width)
    assert y == pytest.approx((row + 0.5) / rows * height)


@given(cells(), st.floats(0.001, 0.999), st.floats(0.001, 0.999))
def test_every_point_of_a_cell_belongs_to_it(
    cell: tuple[int, int, int, int, int, int], across: float, down: float
) -> None:
    row, column, rows, columns, width, height = cell
    x, y = (column + across) / columns * width, (row + down) / rows * height
    assert geometry.source_to_cell(x, y, rows, columns, width, height) == (row, column)


def test_the_far_edge_belongs_to_the_last_cell_and_nothing_lies_beyond() -> None:
    assert geometry.source_to_cell(300, 1200, 16, 16, 300, 1200) == (15, 15)
    for x, y in ((-0.1, 5), (300.1, 5), (5, 1200.1), (5, -1)):
        with pytest.raises(SelectionError, match="not on a film of 300 x 1200"):
            geometry.source_to_cell(x, y, 16, 16, 300, 1200)
    for row, column in ((-1, 0), (0, -1), (16, 0), (0, 16)):
        with pytest.raises(SelectionError, match="no cell"):
            geometry.cell_to_source(row, column, 16, 16, 300, 1200)


@pytest.mark.parametrize(("width", "height"), FILMS)
@pytest.mark.parametrize(("rows", "columns"), GRIDS)
def test_one_hot_cell_to_film_and_back(rows: int, columns: int, width: int, height: int) -> None:
    """Grid -> film -> grid, the way back being the image processor's squash to the grid's own size."""
    for row in range(rows):
        for column in range(columns):
            hot = np.zeros((rows, columns), dtype=np.float32)
            hot[row, column] = 1.0
            nearest = geometry.upsample(hot, height, width, "nearest")
            smooth = geometry.upsample(hot, height, width)
            assert nearest.shape == smooth.shape == (height, width)
            x, y = geometry.cell_to_source(row, column, rows, columns, width, height)
            ys, xs = np.nonzero(nearest)
            assert abs(xs.mean() + 0.5 - x) <= 1.0
            assert abs(ys.mean() + 0.5 - y) <= 1.0
            for picture in (nearest, smooth):
                squashed = cv2.resize(picture, (columns, rows), interpolation=cv2.INTER_AREA)
                assert np.unravel_index(int(squashed.argmax()), squashed.shape) == (row, column)
            peak_y, peak_x = (values.mean() + 0.5 for values in np.nonzero(smooth == smooth.max()))
            inside = geometry.source_to_cell(float(peak_x), float(peak_y), rows, columns, width, height)
            assert inside == (row, column)


@pytest.mark.parametrize(("width", "height"), FILMS)
def test_a_mark_on_the_film_is_found_in_its_cell(width: int, height: int) -> None:
    """Film -> grid -> film: a bright patch of the film lights the cell that its centre belongs to."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        x, y = float(rng.uniform(0, width)), float(rng.uniform(0, height))
        row, column = geometry.source_to_cell(x, y, 16, 16, width, height)
        picture = np.zeros((height, width), dtype=np.float32)
        top, left = round(row * height / 16), round(column * width / 16)
        picture[top : round((row + 1) * height / 16), left : round((column + 1) * width / 16)] = 1.0
        grid = cv2.resize(picture, (16, 16), interpolation=cv2.INTER_AREA)
        assert np.unravel_index(int(grid.argmax()), grid.shape) == (row, column)
        assert grid.sum() == pytest.approx(grid.max(), rel=0.15)


def test_linear_never_overshoots_and_keeps_the_centres() -> None:
    values = np.random.default_rng(1).normal(size=(16, 16)).astype(np.float32)
    drawn = geometry.upsample(values, 16 * 9, 16 * 5)
    assert drawn.dtype == np.float32
    assert drawn.min() >= values.min() - 1e-6
    assert drawn.max() <= values.max() + 1e-6
    np.testing.assert_allclose(drawn[4::9, 2::5], values, atol=1e-5)
    with pytest.raises(ValueError, match="linear, nearest"):
        geometry.upsample(values, 16, 16, "cubic")
