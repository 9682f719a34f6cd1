"""What a DICOM says of a film's size in millimetres, and of the patient's sides."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from medinterp.imaging import FilmLimits, read_film
from medinterp.imaging.limits import FilmLimits as Limits
from medinterp.imaging.worker_messages import film_header, film_of
from medinterp.phantom.files import write_dicom
from medinterp.types import Film, PixelSpacing

PICTURE = np.linspace(0, 65535, 24 * 10).round().astype(np.uint16).reshape(24, 10)
GONE = object()


def film_with(tmp_path: Path, **elements: Any) -> Film:
    """A film whose header has these elements; GONE: without that one."""
    write_dicom(PICTURE, tmp_path / "film.dcm")
    dataset = pydicom.dcmread(tmp_path / "film.dcm")
    del dataset.ImagerPixelSpacing
    for name, value in elements.items():
        if value is GONE:
            delattr(dataset, name)
        else:
            setattr(dataset, name, value)
    file = io.BytesIO()
    dataset.save_as(file)
    return read_film(file.getvalue(), limits=FilmLimits(min_side=1, max_aspect=1000))


@pytest.mark.parametrize(
    ("elements", "expected"),
    [
        ({}, None),
        ({"ImagerPixelSpacing": ["0.15", "0.15"]}, (0.15, "detector")),
        ({"PixelSpacing": ["0.15", "0.15"]}, (0.15, "detector")),
        ({"PixelSpacing": ["0.15", "0.15"], "ImagerPixelSpacing": ["0.15", "0.15"]}, (0.15, "detector")),
        ({"PixelSpacing": ["0.13", "0.13"], "ImagerPixelSpacing": ["0.15", "0.15"]}, (0.13, "patient")),
        ({"PixelSpacing": ["0.15", "0.15"], "PixelSpacingCalibrationType": "FIDUCIAL"}, (0.15, "patient")),
        (
            {"ImagerPixelSpacing": ["0.15", "0.15"], "EstimatedRadiographicMagnificationFactor": "1.2"},
            (0.125, "patient"),
        ),
        (
            {"ImagerPixelSpacing": ["0.15", "0.15"], "EstimatedRadiographicMagnificationFactor": "0"},
            (0.15, "detector"),
        ),
        ({"NominalScannedPixelSpacing": ["0.2", "0.2"]}, (0.2, "detector")),
        ({"ImagerPixelSpacing": ["0", "0"]}, None),
        ({"ImagerPixelSpacing": ["140", "140"]}, None),
        # Rows were added until pixels were square: they are as large as they were wide.
        ({"ImagerPixelSpacing": ["0.3", "0.15"]}, (0.15, "detector")),
        ({"ImagerPixelSpacing": ["0.15", "0.3"]}, (0.15, "detector")),
    ],
)
def test_how_large_pixels_are(
    tmp_path: Path, elements: dict[str, Any], expected: tuple[float, str] | None
) -> None:
    found = film_with(tmp_path, **elements).spacing
    assert (None if found is None else (pytest.approx(found.mm), found.plane)) == expected


def test_a_film_that_was_made_square_is_as_wide_as_before(tmp_path: Path) -> None:
    film = film_with(tmp_path, ImagerPixelSpacing=["0.3", "0.15"])
    assert film.spacing is not None
    assert (film.height, film.width) == (48, 10)
    assert film.height * film.spacing.mm == pytest.approx(24 * 0.3)
    assert film.width * film.spacing.mm == pytest.approx(10 * 0.15)


@pytest.mark.parametrize(
    ("orientation", "told"),
    [(["L", "F"], True), (["R", "F"], True), (["F", "L"], True), (GONE, False), (["A", "F"], False)],
)
def test_whether_the_sides_are_told(tmp_path: Path, orientation: Any, told: bool) -> None:
    assert film_with(tmp_path, PatientOrientation=orientation).sides_told is told


def test_what_a_worker_says_of_them_comes_through(tmp_path: Path) -> None:
    film = film_with(tmp_path, ImagerPixelSpacing=["0.15", "0.15"])
    limits = Limits(min_side=1, max_aspect=1000)
    again = film_of(film_header(film), film.pixels.reshape(-1).view(np.uint8), limits)
    assert again.spacing == film.spacing == PixelSpacing(0.15, "detector")
    assert again.sides_told
