"""TIFF films, written by tifffile: every depth and photometric interpretation at full depth."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from medinterp.errors import FilmTooLargeError, UnreadableFilmError, UnsupportedFilmError
from medinterp.imaging import FilmLimits, read_film
from medinterp.imaging.orientation import upright
from medinterp.types import Film

DEEP = cv2.resize(
    np.random.default_rng(5).integers(0, 65536, size=(6, 5), dtype=np.uint16), (60, 72), interpolation=cv2.INTER_LINEAR
)
DEEP[0, 0] = 65535
GRAY = (DEEP >> 8).astype(np.uint8)


def tiff(array: np.ndarray, **options: object) -> bytes:
    """The file that tifffile writes."""
    file = io.BytesIO()
    tifffile.imwrite(file, array, **options)
    return file.getvalue()


def read(data: bytes, **limits: int) -> Film:
    """The film."""
    film = read_film(data, limits=FilmLimits(**limits))
    assert film.media_type == "image/tiff"
    return film


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("pixels", [GRAY, DEEP], ids=["8 bits", "16 bits"])
@pytest.mark.parametrize("compression", [None, "zlib", "lzw", "packbits"])
def test_gray_at_full_depth(pixels: np.ndarray, byteorder: str, compression: str | None) -> None:
    if compression in ("lzw", "packbits"):
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "TIFF", compression={"lzw": "tiff_lzw"}.get(compression, compression))
        data = file.getvalue()
    else:
        data = tiff(pixels, photometric="minisblack", byteorder=byteorder, compression=compression)
    film = read(data)
    np.testing.assert_array_equal(film.pixels, pixels)
    assert film.pixels.dtype == pixels.dtype


@pytest.mark.parametrize("pixels", [GRAY, DEEP], ids=["8 bits", "16 bits"])
def test_white_is_zero(pixels: np.ndarray) -> None:
    """Pillow 12.3 turns 8 bits over and leaves 16 bits as they are."""
    film = read(tiff(~pixels, photometric="miniswhite"))
    np.testing.assert_array_equal(film.pixels, pixels)
    assert "inverted: white is zero" in film.notes


@pytest.mark.parametrize("pixels", [GRAY, DEEP], ids=["8 bits", "16 bits"])
def test_colour(pixels: np.ndarray) -> None:
    film = read(tiff(np.repeat(pixels[:, :, None], 3, axis=2), photometric="rgb"))
    np.testing.assert_array_equal(film.pixels, pixels)
    assert film.pixels.dtype == pixels.dtype
    red = np.zeros((*pixels.shape, 3), pixels.dtype)
    red[:, :30, 0] = np.iinfo(pixels.dtype).max
    assert abs(int(read(tiff(red, photometric="rgb")).pixels.max()) / np.iinfo(pixels.dtype).max - 0.299) < 0.002


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize("pixels", [GRAY, DEEP], ids=["8 bits", "16 bits"])
def test_orientation_is_applied_once(pixels: np.ndarray, colour: bool, orientation: int) -> None:
    """Pillow 12.3 turns a TIFF as it loads it, as it does no other kind, and so does OpenCV 5.0."""
    stored = np.repeat(pixels[:, :, None], 3, axis=2) if colour else pixels
    tag = [(274, 3, 1, orientation, True)]
    film = read(tiff(stored, photometric="rgb" if colour else "minisblack", extratags=tag))
    np.testing.assert_array_equal(film.pixels, upright(pixels, orientation))


def test_tiles() -> None:
    np.testing.assert_array_equal(read(tiff(DEEP, photometric="minisblack", tile=(32, 32))).pixels, DEEP)


def test_what_is_not_read_says_so() -> None:
    def refused(match: str, data: bytes) -> None:
        with pytest.raises(UnsupportedFilmError, match=match):
            read(data)

    refused("2 pages", tiff(np.stack([DEEP, DEEP]), photometric="minisblack"))
    refused("unsigned whole numbers", tiff(DEEP.astype(np.float32), photometric="minisblack"))
    refused("unsigned whole numbers", tiff(DEEP.astype(np.int16), photometric="minisblack"))
    refused("of 32 bits", tiff(DEEP.astype(np.uint32), photometric="minisblack"))
    refused("BigTIFF", tiff(DEEP, photometric="minisblack", bigtiff=True))


def test_damage_and_limits() -> None:
    data = tiff(DEEP, photometric="minisblack", compression="zlib", rowsperstrip=8)
    for cut in (9, len(data) // 2, len(data) - 40):
        with pytest.raises((UnreadableFilmError, UnsupportedFilmError)):
            read(data[:cut])
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        place = file.pages[0].dataoffsets[3] + 20
    flipped = bytearray(data)
    flipped[place] ^= 0xFF
    with pytest.raises(UnreadableFilmError):  # libtiff passes over a strip whose checksum fails
        read(bytes(flipped))
    with pytest.raises(FilmTooLargeError, match="decoded"):
        read(data, max_decoded_bytes=1000)
    with pytest.raises(FilmTooLargeError, match="60 x 72"):
        read(data, max_pixels=1000)
    plain = tiff(DEEP, photometric="minisblack")
    assert "extra-bytes" in [warning.code for warning in read(plain + bytes(200)).warnings]
