"""DICOM films: stored values to what is displayed, and files that are refused."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    MPEG2MPML,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
    JPEGLSLossless,
)

from medinterp.errors import FilmTooLargeError, UnreadableFilmError, UnsupportedFilmError
from medinterp.imaging import read_film
from medinterp.phantom.files import write_dicom

PICTURE = np.linspace(0, 65535, 24 * 10).round().astype(np.uint16).reshape(24, 10)
UNKNOWN_SYNTAX = "1.2.840.10008.1.2.4.9999"[: len(MPEG2MPML)]
RAMP = np.arange(240).reshape(24, 10)


def saved(dataset: Dataset, **options: Any) -> bytes:
    """The bytes of a data set."""
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True, **options)
    return file.getvalue()


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """A valid 16-bit MONOCHROME2 film without window; tests change it."""
    write_dicom(PICTURE, tmp_path / "film.dcm")
    opened = pydicom.dcmread(tmp_path / "film.dcm")
    del opened.WindowCenter, opened.WindowWidth
    return opened


def hold(dataset: Dataset, values: np.ndarray, *, bits: int = 16, signed: bool = False) -> Dataset:
    """Put stored values into the data set."""
    dataset.Rows, dataset.Columns = values.shape
    dataset.BitsAllocated = 16 if bits > 8 else 8
    dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = bits, bits - 1, int(signed)
    dtype = f"<{'i' if signed else 'u'}{dataset.BitsAllocated // 8}"
    dataset.PixelData = values.astype(dtype).tobytes()
    return dataset


@pytest.mark.parametrize("monochrome1", [False, True])
@pytest.mark.parametrize("bits", [12, 16])
def test_12_and_16_bits_bright_is_dense(tmp_path: Path, bits: int, monochrome1: bool) -> None:
    path = tmp_path / "film.dcm"
    write_dicom(PICTURE, path, bits=bits, monochrome1=monochrome1)
    film = read_film(path.read_bytes())
    expected = np.rint((PICTURE >> (16 - bits)) / (2**bits - 1) * 65535)
    np.testing.assert_array_equal(film.pixels, expected)
    assert film.pixels.dtype == np.uint16
    assert film.media_type == "application/dicom"
    assert ("inverted: MONOCHROME1" in film.notes) == monochrome1


def test_nothing_names_the_patient(tmp_path: Path) -> None:
    write_dicom(PICTURE, tmp_path / "film.dcm", seed=77)
    film = read_film((tmp_path / "film.dcm").read_bytes())
    assert "Phantom" not in repr(film)
    assert "PHANTOM-77" not in repr(film)
    assert set(vars(film)) == {"pixels", "media_type", "sha256", "notes"}


def test_without_a_window_the_values_seen_are_black_and_white(dataset: Dataset) -> None:
    film = read_film(saved(hold(dataset, RAMP + 1000)))
    assert (int(film.pixels[0, 0]), int(film.pixels[-1, -1])) == (0, 65535)
    np.testing.assert_array_equal(film.pixels, np.rint(RAMP / 239 * 65535))
    assert "no window: 1000 is black, 1239 white" in film.notes


def test_8_bits_stay_8_bits(dataset: Dataset) -> None:
    film = read_film(saved(hold(dataset, RAMP, bits=8)))
    assert film.pixels.dtype == np.uint8
    np.testing.assert_array_equal(film.pixels, np.rint(RAMP / 239 * 255))


def test_signed_pixels_with_rescale_and_window(dataset: Dataset) -> None:
    hold(dataset, RAMP - 120, signed=True)
    dataset.RescaleSlope, dataset.RescaleIntercept = 2, -10
    dataset.WindowCenter, dataset.WindowWidth = -10, 101
    film = read_film(saved(dataset))
    values = (RAMP - 120) * 2.0 - 10.0
    expected = np.clip((values + 10.5) / 100 + 0.5, 0, 1)  # PS3.3 C.11.2.1.2.1
    np.testing.assert_array_equal(film.pixels, np.rint(expected * 65535))
    assert "rescaled: slope 2, intercept -10" in film.notes
    assert "window: center -10, width 101, LINEAR" in film.notes


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_window_agrees_with_pydicom(dataset: Dataset, function: str) -> None:
    hold(dataset, RAMP * 17, bits=12)
    dataset.WindowCenter, dataset.WindowWidth, dataset.VOILUTFunction = 2000.0, 900.0, function
    film = read_film(saved(dataset))
    expected = pydicom.pixels.apply_windowing(RAMP.astype(np.uint16) * 17, dataset) / 4095
    np.testing.assert_allclose(film.pixels / 65535, expected, atol=2e-5)


def test_the_first_of_several_windows_is_used(dataset: Dataset) -> None:
    dataset.WindowCenter, dataset.WindowWidth = [120, 20], [100, 10]
    assert "window: center 120, width 100, LINEAR" in read_film(saved(hold(dataset, RAMP))).notes


def test_a_voi_table_is_applied(dataset: Dataset) -> None:
    item = Dataset()
    item.LUTDescriptor, item.LUTData = [240, 0, 16], [(239 - k) * 200 for k in range(240)]
    hold(dataset, RAMP)
    item["LUTDescriptor"].VR, item["LUTData"].VR = "US", "US"
    dataset.VOILUTSequence = [item]
    film = read_film(saved(dataset))
    np.testing.assert_array_equal(film.pixels, (239 - RAMP) * 200)
    assert film.notes == ("VOI LUT applied",)


def test_padding_is_black_also_on_an_inverted_film(dataset: Dataset) -> None:
    values = RAMP + 10
    values[0] = 0
    hold(dataset, values)
    dataset.PhotometricInterpretation = "MONOCHROME1"
    dataset.add_new("PixelPaddingValue", "US", 0)
    film = read_film(saved(dataset))
    assert not film.pixels[0].any()
    assert int(film.pixels[1, 0]) == 65535
    assert int(film.pixels[-1, -1]) == 0


def test_a_film_of_one_value_is_black(dataset: Dataset) -> None:
    film = read_film(saved(hold(dataset, RAMP * 0 + 7)))
    assert not film.pixels.any()
    assert film.notes == ("no window: one value only, shown black",)


def test_a_film_that_lies_on_its_side_is_turned(dataset: Dataset) -> None:
    upright = read_film(saved(dataset)).pixels
    for directions, stored in (
        (["R", "F"], upright[:, ::-1]),
        (["R", "H"], upright[::-1, ::-1]),
        (["L", "H"], upright[::-1]),
        (["F", "L"], upright.T),
        (["F", "R"], upright[:, ::-1].T),
        (["H", "L"], upright[::-1].T),
        (["H", "R"], upright[::-1, ::-1].T),
    ):
        dataset.PatientOrientation = directions
        dataset.Rows, dataset.Columns = stored.shape
        dataset.PixelData = stored.astype("<u2").tobytes()
        film = read_film(saved(dataset))
        np.testing.assert_array_equal(film.pixels, upright)
        assert film.notes[-1] == "turned: patient orientation " + "\\".join(directions)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_every_plain_syntax(dataset: Dataset, syntax: str) -> None:
    expected = read_film(saved(dataset)).pixels
    little = syntax != ExplicitVRBigEndian
    written = Dataset()
    written.update({element.tag: element for element in dataset})
    written.PixelData = PICTURE.astype("<u2" if little else ">u2").tobytes()
    written["PixelData"].VR = "OW"
    written.file_meta = dataset.file_meta
    written.file_meta.TransferSyntaxUID = syntax
    np.testing.assert_array_equal(read_film(saved(written)).pixels, expected)


def test_a_data_set_without_preamble(dataset: Dataset) -> None:
    expected = read_film(saved(dataset)).pixels
    file = io.BytesIO()
    bare = Dataset()
    bare.update({element.tag: element for element in dataset})
    bare.save_as(file, implicit_vr=True, little_endian=True)
    film = read_film(file.getvalue())
    np.testing.assert_array_equal(film.pixels, expected)
    assert any("transfer syntax missing" in note for note in film.notes)


def test_a_compressed_syntax_that_can_be_decoded_is(dataset: Dataset) -> None:
    gray = np.repeat(np.linspace(0, 255, 32).astype(np.uint8)[None, :], 16, axis=0)
    file = io.BytesIO()
    Image.fromarray(gray).save(file, "JPEG", quality=100)
    hold(dataset, gray, bits=8)
    dataset.PixelData = encapsulate([file.getvalue()])
    dataset["PixelData"].VR = "OB"
    dataset.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    np.testing.assert_allclose(read_film(saved(dataset)).pixels.astype(int), gray, atol=3)


@pytest.mark.parametrize("syntax", [JPEGLSLossless, MPEG2MPML, UNKNOWN_SYNTAX])
def test_a_compressed_syntax_that_cannot_be_decoded_is_refused(dataset: Dataset, syntax: str) -> None:
    dataset.PixelData = encapsulate([b"\xff\xd8 not looked at"])
    dataset["PixelData"].VR = "OB"
    dataset.file_meta.TransferSyntaxUID = MPEG2MPML if syntax == UNKNOWN_SYNTAX else syntax
    data = saved(dataset).replace(MPEG2MPML.encode(), syntax.encode())
    with pytest.raises(UnsupportedFilmError, match=r"is not read here. Decompress"):
        read_film(data)


def test_a_deflated_film_is_refused_before_it_is_inflated(dataset: Dataset) -> None:
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    with pytest.raises(UnsupportedFilmError, match="deflated"):
        read_film(saved(dataset))


def test_huge_dimensions_are_refused_before_decoding(dataset: Dataset) -> None:
    dataset.Rows = dataset.Columns = 65535
    with pytest.raises(FilmTooLargeError, match="65535 x 65535"):
        read_film(saved(dataset))


def test_fewer_pixels_than_the_header_says(dataset: Dataset) -> None:
    dataset.Rows = 400
    with pytest.raises(UnreadableFilmError, match="fewer pixels"):
        read_film(saved(dataset))


def test_a_file_that_is_cut_off_is_unreadable(dataset: Dataset) -> None:
    data = saved(dataset)
    for length in (133, 200, 400, len(data) - 100):
        with pytest.raises((UnreadableFilmError, UnsupportedFilmError)):
            read_film(data[:length])


def test_what_a_film_must_be(dataset: Dataset) -> None:
    def refused(match: str, **changes: object) -> None:
        changed = pydicom.dcmread(io.BytesIO(saved(dataset)))
        for name, value in changes.items():
            setattr(changed, name, value)
        with pytest.raises(UnsupportedFilmError, match=match):
            read_film(saved(changed))

    refused("2 frames", NumberOfFrames=2)
    refused("PALETTE COLOR", PhotometricInterpretation="PALETTE COLOR")
    refused("of 32 bits", BitsAllocated=32)
    refused("SQUARE is not defined", WindowCenter=5, WindowWidth=5, VOILUTFunction="SQUARE")
    del dataset.PixelData
    with pytest.raises(UnsupportedFilmError, match="no picture"):
        read_film(saved(dataset))


def test_an_impossible_window_is_unreadable(dataset: Dataset) -> None:
    dataset.WindowCenter, dataset.WindowWidth = 5, 0
    with pytest.raises(UnreadableFilmError, match="window width of 0"):
        read_film(saved(dataset))


def test_colour_becomes_luma(dataset: Dataset) -> None:
    hold(dataset, RAMP, bits=8)
    dataset.SamplesPerPixel, dataset.PlanarConfiguration = 3, 0
    dataset.PhotometricInterpretation = "RGB"
    dataset.PixelData = np.repeat(RAMP.astype(np.uint8)[:, :, None], 3, axis=2).tobytes()
    film = read_film(saved(dataset))
    np.testing.assert_array_equal(film.pixels, RAMP)
    assert film.notes == ("gray from RGB",)
