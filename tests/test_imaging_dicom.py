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
)

from medinterp.errors import (
    FilmError,
    FilmTooLargeError,
    NoPictureError,
    SelectionError,
    UnreadableFilmError,
    UnsupportedFilmError,
)
from medinterp.imaging import FilmLimits, read_film
from medinterp.phantom.files import write_dicom
from medinterp.types import Film

PICTURE = np.linspace(0, 65535, 24 * 10).round().astype(np.uint16).reshape(24, 10)
UNKNOWN_SYNTAX = "1.2.840.10008.1.2.4.9999"[: len(MPEG2MPML)]
RAMP = np.arange(240).reshape(24, 10)


def read(data: bytes, **options: Any) -> Film:
    """The film, small and narrow as it is here."""
    return read_film(data, limits=FilmLimits(min_side=1, max_aspect=1000), **options)


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
    film = read(path.read_bytes())
    expected = np.rint((PICTURE >> (16 - bits)) / (2**bits - 1) * 65535)
    np.testing.assert_array_equal(film.pixels, expected)
    assert film.pixels.dtype == np.uint16
    assert film.media_type == "application/dicom"
    assert ("inverted: MONOCHROME1" in film.notes) == monochrome1


def test_nothing_names_the_patient(tmp_path: Path) -> None:
    write_dicom(PICTURE, tmp_path / "film.dcm", seed=77)
    film = read((tmp_path / "film.dcm").read_bytes())
    assert "Phantom" not in repr(film)
    assert "PHANTOM-77" not in repr(film)
    told = {"media_type", "sha256", "notes", "warnings", "windows", "window", "source", "spacing", "sides_told"}
    assert set(vars(film)) == {"pixels", *told}


def test_without_a_window_the_values_seen_are_black_and_white(dataset: Dataset) -> None:
    film = read(saved(hold(dataset, RAMP + 1000)))
    assert (int(film.pixels[0, 0]), int(film.pixels[-1, -1])) == (0, 65535)
    np.testing.assert_array_equal(film.pixels, np.rint(RAMP / 239 * 65535))
    assert "no window: 1000 is black, 1239 white" in film.notes


def test_8_bits_stay_8_bits(dataset: Dataset) -> None:
    film = read(saved(hold(dataset, RAMP, bits=8)))
    assert film.pixels.dtype == np.uint8
    np.testing.assert_array_equal(film.pixels, np.rint(RAMP / 239 * 255))


def test_signed_pixels_with_rescale_and_window(dataset: Dataset) -> None:
    hold(dataset, RAMP - 120, signed=True)
    dataset.RescaleSlope, dataset.RescaleIntercept = 2, -10
    dataset.WindowCenter, dataset.WindowWidth = -10, 101
    film = read(saved(dataset))
    values = (RAMP - 120) * 2.0 - 10.0
    expected = np.clip((values + 10.5) / 100 + 0.5, 0, 1)  # PS3.3 C.11.2.1.2.1
    np.testing.assert_array_equal(film.pixels, np.rint(expected * 65535))
    assert "rescaled: slope 2, intercept -10" in film.notes
    assert "window: center -10, width 101, LINEAR" in film.notes


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_window_agrees_with_pydicom(dataset: Dataset, function: str) -> None:
    hold(dataset, RAMP * 17, bits=12)
    dataset.WindowCenter, dataset.WindowWidth, dataset.VOILUTFunction = 2000.0, 900.0, function
    film = read(saved(dataset))
    expected = pydicom.pixels.apply_windowing(RAMP.astype(np.uint16) * 17, dataset) / 4095
    np.testing.assert_allclose(film.pixels / 65535, expected, atol=2e-5)


def test_the_first_of_several_windows_is_used(dataset: Dataset) -> None:
    dataset.WindowCenter, dataset.WindowWidth = [120, 20], [100, 10]
    assert "window: center 120, width 100, LINEAR" in read(saved(hold(dataset, RAMP))).notes


def test_a_voi_table_is_applied(dataset: Dataset) -> None:
    item = Dataset()
    item.LUTDescriptor, item.LUTData = [240, 0, 16], [(239 - k) * 200 for k in range(240)]
    hold(dataset, RAMP)
    item["LUTDescriptor"].VR, item["LUTData"].VR = "US", "US"
    dataset.VOILUTSequence = [item]
    film = read(saved(dataset))
    np.testing.assert_array_equal(film.pixels, (239 - RAMP) * 200)
    assert film.notes == ("VOI LUT 1, 240 entries from 0 applied",)


def test_padding_is_black_also_on_an_inverted_film(dataset: Dataset) -> None:
    values = RAMP + 10
    values[0] = 0
    hold(dataset, values)
    dataset.PhotometricInterpretation = "MONOCHROME1"
    dataset.add_new("PixelPaddingValue", "US", 0)
    film = read(saved(dataset))
    assert not film.pixels[0].any()
    assert int(film.pixels[1, 0]) == 65535
    assert int(film.pixels[-1, -1]) == 0


def test_a_film_of_one_value_shows_no_picture(dataset: Dataset) -> None:
    with pytest.raises(NoPictureError, match="no picture"):
        read(saved(hold(dataset, RAMP * 0 + 7)))


def test_a_film_that_lies_on_its_side_is_turned(dataset: Dataset) -> None:
    upright = read(saved(dataset)).pixels
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
        film = read(saved(dataset))
        np.testing.assert_array_equal(film.pixels, upright)
        assert film.notes[-1] == "turned: patient orientation " + "\\".join(directions)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_every_plain_syntax(dataset: Dataset, syntax: str) -> None:
    expected = read(saved(dataset)).pixels
    little = syntax != ExplicitVRBigEndian
    written = Dataset()
    written.update({element.tag: element for element in dataset})
    written.PixelData = PICTURE.astype("<u2" if little else ">u2").tobytes()
    written["PixelData"].VR = "OW"
    written.file_meta = dataset.file_meta
    written.file_meta.TransferSyntaxUID = syntax
    np.testing.assert_array_equal(read(saved(written)).pixels, expected)


def test_a_data_set_without_preamble(dataset: Dataset) -> None:
    expected = read(saved(dataset)).pixels
    file = io.BytesIO()
    bare = Dataset()
    bare.update({element.tag: element for element in dataset})
    bare.save_as(file, implicit_vr=True, little_endian=True)
    film = read(file.getvalue())
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
    np.testing.assert_allclose(read(saved(dataset)).pixels.astype(int), gray, atol=3)


@pytest.mark.parametrize("syntax", [MPEG2MPML, UNKNOWN_SYNTAX])
def test_a_compressed_syntax_that_cannot_be_decoded_is_refused(dataset: Dataset, syntax: str) -> None:
    dataset.PixelData = encapsulate([b"\xff\xd8 not looked at"])
    dataset["PixelData"].VR = "OB"
    dataset.file_meta.TransferSyntaxUID = MPEG2MPML if syntax == UNKNOWN_SYNTAX else syntax
    data = saved(dataset).replace(MPEG2MPML.encode(), syntax.encode())
    with pytest.raises(UnsupportedFilmError, match=r"is not read here. Decompress"):
        read(data)


def test_a_deflated_film_is_inflated_up_to_the_limit(dataset: Dataset) -> None:
    expected = read(saved(dataset)).pixels
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    data = saved(dataset)
    film = read(data)
    np.testing.assert_array_equal(film.pixels, expected)
    assert "inflated: the file was deflated" in film.notes
    with pytest.raises(UnreadableFilmError, match="cut off"):
        read(data[:-20])
    with pytest.raises(FilmTooLargeError, match="more than 1,000 bytes"):
        read_film(data, limits=FilmLimits(min_side=1, max_decoded_bytes=1000))


def test_huge_dimensions_are_refused_before_decoding(dataset: Dataset) -> None:
    dataset.Rows = dataset.Columns = 65535
    with pytest.raises(FilmTooLargeError, match="65535 x 65535"):
        read(saved(dataset))


def test_fewer_pixels_than_the_header_says(dataset: Dataset) -> None:
    dataset.Rows = 400
    with pytest.raises(UnreadableFilmError, match="fewer pixels"):
        read(saved(dataset))


def test_a_file_that_is_cut_off_is_unreadable(dataset: Dataset) -> None:
    data = saved(dataset)
    for length in (133, 200, 400, len(data) - 100):
        with pytest.raises((UnreadableFilmError, UnsupportedFilmError)):
            read(data[:length])


def test_what_a_film_must_be(dataset: Dataset) -> None:
    def refused(match: str, **changes: object) -> None:
        changed = pydicom.dcmread(io.BytesIO(saved(dataset)))
        for name, value in changes.items():
            setattr(changed, name, value)
        with pytest.raises(UnsupportedFilmError, match=match):
            read(saved(changed))

    refused("2 frames", NumberOfFrames=2)
    refused("PALETTE COLOR", PhotometricInterpretation="PALETTE COLOR")
    refused("of 32 bits", BitsAllocated=32)
    del dataset.PixelData
    with pytest.raises(UnsupportedFilmError, match="no picture"):
        read(saved(dataset))


def test_the_window_is_the_readers_to_choose(dataset: Dataset) -> None:
    dataset.WindowCenter, dataset.WindowWidth = [32768, 20000], [65536, 10000]
    data = saved(dataset)
    film = read(data)
    assert film.window == "window-1"
    assert [choice.name for choice in film.windows] == ["window-1", "window-2", "full"]
    assert [choice.label for choice in film.windows][1] == "center 20000, width 10000, LINEAR"
    second = read(data, window="window-2")
    values = PICTURE.astype(float)
    np.testing.assert_array_equal(
        second.pixels, np.rint(np.clip((values - 19999.5) / 9999 + 0.5, 0, 1) * 65535).astype(np.uint16)
    )
    assert second.window == "window-2"
    assert read(data, window="30000,20000").window == "30000,20000"
    assert read(data, window="full").notes == ("no window: 0 is black, 65535 white",)
    for wrong in ("window-3", "lut-1", "1,2,3", "nan,5", "5,0", "", "Doe"):
        with pytest.raises(SelectionError, match=r"window-2 \(center 20000, width 10000, LINEAR\)"):
            read(data, window=wrong)
    with pytest.raises(NoPictureError, match="leaves nothing to see"):
        read(data, window="200000,5")


def test_a_film_of_another_kind_has_no_windows() -> None:
    file = io.BytesIO()
    Image.fromarray(RAMP.astype(np.uint8)).save(file, "PNG")
    with pytest.raises(SelectionError, match="no windows"):
        read(file.getvalue(), window="full")


def test_a_shutter_and_tall_pixels(dataset: Dataset) -> None:
    whole = read(saved(dataset)).pixels
    dataset.ShutterShape = ["RECTANGULAR", "CIRCULAR", "POLYGONAL"]
    dataset.ShutterLeftVerticalEdge, dataset.ShutterRightVerticalEdge = 2, 9
    dataset.ShutterUpperHorizontalEdge, dataset.ShutterLowerHorizontalEdge = 1, 24
    dataset.CenterOfCircularShutter, dataset.RadiusOfCircularShutter = [12, 5], 11
    dataset.VerticesOfThePolygonalShutter = [1, 1, 1, 10, 24, 10, 24, 3, 12, 1]
    film = read(saved(dataset))
    rows, columns = np.ogrid[1:25, 1:11]
    opened = (columns >= 2) & (columns <= 9) & ((rows - 12) ** 2 + (columns - 5) ** 2 <= 121)
    assert not film.pixels[~opened].any()
    kept = film.pixels == whole
    assert kept[opened].mean() > 0.9, "the polygon cuts off a corner only"
    assert not film.pixels[23, 0]
    assert "black outside the display shutter" in film.notes

    del dataset.ShutterShape
    dataset.PixelAspectRatio = [2, 1]
    tall = read(saved(dataset))
    assert tall.pixels.shape == (48, 10)
    assert "pixels 2 times as tall as wide: resampled to 10 x 48" in tall.notes
    dataset.PixelAspectRatio = [1, 3]
    assert read(saved(dataset)).pixels.shape == (24, 30)


def test_a_dicom_that_is_a_tiff_as_well_is_read_as_dicom(dataset: Dataset) -> None:
    """PS3.10, 7.1 lets the preamble hold a TIFF's header; what that leads to knows nothing of side and window."""
    dataset.PatientOrientation = ["R", "F"]
    data = saved(dataset)
    film = read(b"II*\0" + data[4:])
    assert film.media_type == "application/dicom"
    np.testing.assert_array_equal(film.pixels, read(data).pixels)


def test_neither_log_nor_error_quotes_the_header(dataset: Dataset, caplog: pytest.LogCaptureFixture) -> None:
    dataset.PatientName = "Doe^Planted"
    data = saved(dataset)
    place = data.index(b"MONOCHROME2")
    told = []
    for changed in (
        data[:place] + b"Doe^Planted" + data[place + 11 :],
        data.replace(b"CHEST ", b"Doe^Pl", 1),
        data.replace(b"\x28\x00\x10\x00US", b"\x28\x00\x10\x00PN", 1),
        data[: place + 5],
    ):
        try:
            film = read(changed)
            told.append(" ".join((*film.notes, *(warning.text for warning in film.warnings))))
        except FilmError as error:
            told.append(str(error))
    assert not any("Doe" in each for each in (*told, caplog.text))


def test_too_many_elements_are_too_many(dataset: Dataset) -> None:
    for element in range(300):
        dataset.add_new(0x00991000 + element, "LO", "x")
    with pytest.raises(FilmTooLargeError, match="200 parts"):
        read_film(saved(dataset), limits=FilmLimits(min_side=1, max_parts=200))


def test_what_lies_behind_the_pixels_is_told(dataset: Dataset) -> None:
    def told(data: bytes) -> bool:
        return "extra-bytes" in [warning.code for warning in read(data).warnings]

    assert not told(saved(dataset))
    dataset.add_new(0xFFFCFFFC, "OB", b"\0" * 10)
    assert not told(saved(dataset)), "padding may stand there"
    assert told(saved(dataset) + bytes(range(64)))


def test_colour_becomes_luma(dataset: Dataset) -> None:
    hold(dataset, RAMP, bits=8)
    dataset.SamplesPerPixel, dataset.PlanarConfiguration = 3, 0
    dataset.PhotometricInterpretation = "RGB"
    dataset.PixelData = np.repeat(RAMP.astype(np.uint8)[:, :, None], 3, axis=2).tobytes()
    film = read(saved(dataset))
    np.testing.assert_array_equal(film.pixels, RAMP)
    assert film.notes == ("gray from RGB",)
