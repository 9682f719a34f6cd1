"""Films as files: what is written is read back as the same film."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pydicom
import pytest

from medinterp.errors import SelectionError
from medinterp.imaging import read_film
from medinterp.phantom.files import write_dicom, write_film
from medinterp.phantom.films import draw_film, sample_film
from tests.programs import program

WIDTH, HEIGHT = 1500, 1200


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Film 7 at 1500 x 1200, written once."""
    directory = tmp_path_factory.mktemp("film") / "new"
    written = write_film(sample_film(7), WIDTH, HEIGHT, directory)
    assert sorted(written) == sorted(directory.iterdir())
    return directory


def test_png_and_dicom_are_the_drawn_film(folder: Path) -> None:
    drawing = draw_film(sample_film(7), WIDTH, HEIGHT)
    png = read_film((folder / "film-7.png").read_bytes())
    dicom = read_film((folder / "film-7.dcm").read_bytes())
    assert (png.width, png.height) == (dicom.width, dicom.height) == (WIDTH, HEIGHT)
    np.testing.assert_array_equal(png.pixels, drawing.uint8())
    np.testing.assert_array_equal(dicom.pixels, drawing.uint16())
    assert np.abs(dicom.pixels / 65535 - png.pixels / 255).max() <= 0.51 / 255


def test_the_dicom_is_valid(folder: Path) -> None:
    dataset = pydicom.dcmread(folder / "film-7.dcm")
    pydicom.dataset.validate_file_meta(dataset.file_meta, enforce_standard=True)
    assert dataset.file_meta.MediaStorageSOPClassUID.name == "Digital X-Ray Image Storage - For Presentation"
    assert dataset.SOPInstanceUID == dataset.file_meta.MediaStorageSOPInstanceUID
    assert (dataset.Rows, dataset.Columns, dataset.BitsStored, dataset.HighBit) == (HEIGHT, WIDTH, 16, 15)
    np.testing.assert_array_equal(dataset.pixel_array, draw_film(sample_film(7), WIDTH, HEIGHT).uint16())


@pytest.mark.parametrize("monochrome1", [False, True])
@pytest.mark.parametrize("bits", [12, 16])
def test_every_kind_of_dicom_reads_the_same(tmp_path: Path, bits: int, monochrome1: bool) -> None:
    pixels = draw_film(sample_film(7), 150, 120).uint16()
    write_dicom(pixels, tmp_path / "film.dcm", bits=bits, monochrome1=monochrome1, seed=7)
    dataset = pydicom.dcmread(tmp_path / "film.dcm")
    assert dataset.PhotometricInterpretation == ("MONOCHROME1" if monochrome1 else "MONOCHROME2")
    assert dataset.BitsStored == bits
    read = read_film((tmp_path / "film.dcm").read_bytes()).pixels
    np.testing.assert_array_equal(read, np.rint((pixels >> (16 - bits)) / (2**bits - 1) * 65535))


@pytest.mark.parametrize("bits", [12, 16])
@pytest.mark.parametrize("monochrome1", [False, True])
def test_dciodvfy_has_nothing_to_say(tmp_path: Path, bits: int, monochrome1: bool) -> None:
    """David Clunie's validator of DICOM objects: no error and no warning, its first line names the object."""
    path = tmp_path / "film.dcm"
    write_dicom(draw_film(sample_film(7), 300, 240).uint16(), path, bits=bits, monochrome1=monochrome1)
    told = subprocess.run([program("dciodvfy", "dicom3tools"), path], capture_output=True, text=True, check=True)
    assert (told.stdout + told.stderr).split() == ["DXImageForPresentation"]


def test_another_number_of_bits_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="12 or 16 bits stored, not 10"):
        write_dicom(np.zeros((4, 4), np.uint16), tmp_path / "film.dcm", bits=10)


def test_masks_truth_and_counterfactual(folder: Path) -> None:
    film = sample_film(7)
    drawing = draw_film(film, WIDTH, HEIGHT)
    truth = json.loads((folder / "film-7.json").read_text())
    assert (truth["seed"], truth["width"], truth["height"]) == (7, WIDTH, HEIGHT)
    assert len(truth["findings"]) == len(film.findings)
    for finding, said, mask in zip(film.findings, truth["findings"], drawing.masks, strict=True):
        assert (said["name"], said["side"], said["zone"]) == (finding.name, finding.side, finding.zone)
        assert said["size_in_cells"] == pytest.approx(mask.mean() * 256, abs=1e-3)
        stored = cv2.imread(str(folder / said["mask"]), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(stored, mask * np.uint8(255))
        assert finding.name in truth["report"] or finding.name == "cardiomegaly"
    stored = cv2.imread(str(folder / "film-7-without-0.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(stored, draw_film(film.without(0), WIDTH, HEIGHT).uint8())
    assert not np.array_equal(stored, drawing.uint8())


def test_a_finding_that_the_film_lacks_is_named(tmp_path: Path) -> None:
    with pytest.raises(SelectionError, match="--without 9"):
        write_film(sample_film(7), 64, 64, tmp_path / "new", without=9)
    assert not (tmp_path / "new").exists()
    names = {path.name for path in write_film(sample_film(7), 64, 64, tmp_path, without=None)}
    assert not any("without" in name for name in names)
