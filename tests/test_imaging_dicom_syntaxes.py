"""Every transfer syntax that archives keep films in, written by other programs, against the film's stored values."""

from __future__ import annotations

import io
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from medinterp.errors import UnreadableFilmError, UnsupportedFilmError
from medinterp.imaging import dicom_pixels, read_film
from medinterp.phantom.files import write_dicom
from medinterp.phantom.films import draw_film, sample_film
from tests.programs import program

DCMTK = {
    "dcmcjpeg": {JPEGLossless: ["+el"], JPEGLosslessSV1: ["+e1"], JPEGExtended12Bit: ["+ee"]},
    "dcmcjpls": {JPEGLSNearLossless: ["+en", "+md", "1"]},
}


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A film of 12 bits."""
    path = tmp_path_factory.mktemp("film") / "film.dcm"
    write_dicom(draw_film(sample_film(10_000_100), 400, 360).uint16(), path, bits=12)
    return path


def by_pydicom(syntax: str) -> Callable[[Path], bytes]:
    """Compressed by pydicom and its plugins."""

    def write(path: Path) -> bytes:
        dataset = pydicom.dcmread(path)
        options = {"j2k_cr": [4]} if syntax == JPEG2000 else {"jls_error": 1} if syntax == JPEGLSNearLossless else {}
        dataset.compress(syntax, generate_instance_uid=False, **options)
        return saved(dataset)

    return write


def by_dcmtk(name: str, syntax: str) -> Callable[[Path], bytes]:
    """Compressed by DCMTK."""

    def write(path: Path) -> bytes:
        out = path.with_name(f"{syntax}.dcm")
        subprocess.run([program(name, "dcmtk"), *DCMTK[name][syntax], path, out], check=True, capture_output=True)
        return out.read_bytes()

    return write


def by_openjph(syntax: str) -> Callable[[Path], bytes]:
    """The codestream by OpenJPH, in a data set of ours."""

    def write(path: Path) -> bytes:
        dataset = pydicom.dcmread(path)
        values = dataset.pixel_array
        portable, stream = path.with_name("film.pgm"), path.with_name("film.j2c")
        head = f"P5\n{dataset.Columns} {dataset.Rows}\n4095\n".encode()
        portable.write_bytes(head + values.astype(">u2").tobytes())
        lossy = ["-reversible", "false", "-qstep", "0.0002"] if syntax == HTJ2K else ["-reversible", "true"]
        order = ["-prog_order", "RPCL"]
        command = [program("ojph_compress", "openjph-tools"), "-i", portable, "-o", stream, *lossy, *order]
        subprocess.run(command, check=True, capture_output=True)
        return encapsulated(dataset, stream.read_bytes(), syntax)

    return write


def saved(dataset: Dataset) -> bytes:
    """The bytes of a data set."""
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()


def encapsulated(dataset: Dataset, stream: bytes, syntax: str) -> bytes:
    """The data set with its pixels in one compressed frame."""
    dataset.PixelData = encapsulate([stream])
    dataset["PixelData"].VR = "OB"
    dataset.file_meta.TransferSyntaxUID = syntax
    return saved(dataset)


SYNTAXES = (
    (RLELossless, by_pydicom(RLELossless), 0),
    (JPEGLSLossless, by_pydicom(JPEGLSLossless), 0),
    (JPEGLSNearLossless, by_pydicom(JPEGLSNearLossless), 1),
    (JPEG2000Lossless, by_pydicom(JPEG2000Lossless), 0),
    (JPEG2000, by_pydicom(JPEG2000), 60),
    (JPEGLossless, by_dcmtk("dcmcjpeg", JPEGLossless), 0),
    (JPEGLosslessSV1, by_dcmtk("dcmcjpeg", JPEGLosslessSV1), 0),
    (HTJ2KLossless, by_openjph(HTJ2KLossless), 0),
    (HTJ2KLosslessRPCL, by_openjph(HTJ2KLosslessRPCL), 0),
    (HTJ2K, by_openjph(HTJ2K), 4),
)


@pytest.mark.parametrize(("syntax", "write", "off"), SYNTAXES, ids=[str(each[0]) for each in SYNTAXES])
def test_it_is_read(film: Path, syntax: str, write: Callable[[Path], bytes], off: int) -> None:
    """off: how far stored values may be off, of 4,095, because the compression loses something."""
    data = write(film)
    read = read_film(data, window="2048,4096")
    expected = pydicom.dcmread(film).pixel_array / 4095.0 * 65535.0
    difference = np.abs(read.pixels - expected)
    assert float(difference.max()) <= off * 16.004 + 0.5
    # DCMTK takes predictor 6 for process 14, whose damage fades into the picture.
    assert [warning.code for warning in read.warnings] == ["unchecked"] * (syntax == JPEGLossless)
    assert f"decompressed: {syntax.name}" in read.notes


@pytest.mark.parametrize(("syntax", "write", "off"), SYNTAXES, ids=[str(each[0]) for each in SYNTAXES])
def test_cut_off_it_is_refused(film: Path, syntax: str, write: Callable[[Path], bytes], off: int) -> None:
    data = write(film)
    with pytest.raises(UnreadableFilmError, match="cut off"):
        read_film(data[: len(data) // 2])


def test_jpeg_of_twelve_bits_is_read_as_dcmtk_reads_it(film: Path) -> None:
    """DCMTK shifts the values before it compresses, so its own decoder is what to compare with."""
    data = by_dcmtk("dcmcjpeg", JPEGExtended12Bit)(film)
    packed, plain = film.with_name("packed.dcm"), film.with_name("plain.dcm")
    packed.write_bytes(data)
    subprocess.run([program("dcmdjpeg", "dcmtk"), packed, plain], check=True, capture_output=True)
    read = read_film(data)
    np.testing.assert_array_equal(read.pixels, read_film(plain.read_bytes()).pixels)
    assert read.warnings == ()
    expected = pydicom.dcmread(film).pixel_array / 4095.0
    assert float(np.corrcoef(read.pixels.ravel(), expected.ravel())[0, 1]) > 0.999


def test_without_the_extra_the_way_out_is_said(film: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = by_pydicom(JPEGLSLossless)(film)
    monkeypatch.setitem(dicom_pixels._PLUGINS, JPEGLSLossless, ("missing",))
    with pytest.raises(UnsupportedFilmError, match=r"medinterp\[dicom\].*gdcmconv --raw"):
        read_film(data)


def test_a_jpeg_of_another_size_than_the_header_says(film: Path) -> None:
    dataset = pydicom.dcmread(io.BytesIO(by_dcmtk("dcmcjpeg", JPEGLosslessSV1)(film)))
    dataset.Columns = 399
    with pytest.raises(UnreadableFilmError, match="399 x 360 pixels, its picture has 400 x 360"):
        read_film(saved(dataset))


def test_baseline_jpeg_is_read_strictly(film: Path) -> None:
    from PIL import Image

    gray = (pydicom.dcmread(film).pixel_array >> 4).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(gray).save(file, "JPEG", quality=95)
    dataset = pydicom.dcmread(film)
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
    dataset.WindowCenter, dataset.WindowWidth = 128, 256
    whole = file.getvalue()
    read = read_film(encapsulated(dataset, whole, JPEGBaseline8Bit))
    np.testing.assert_allclose(read.pixels.astype(int), gray, atol=24)
    assert float(np.abs(read.pixels.astype(int) - gray).mean()) < 2
    place = len(whole) * 2 // 3
    with pytest.raises(UnreadableFilmError, match="JPEG is broken"):
        read_film(encapsulated(dataset, whole[:place] + whole[place + 60 :], JPEGBaseline8Bit))
