"""PNG and JPEG films of every kind, and bytes that are none."""

from __future__ import annotations

import hashlib
import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from medinterp.errors import FilmTooLargeError, UnreadableFilmError, UnsupportedFilmError
from medinterp.imaging import read_film, rgb8
from medinterp.types import Film

GRAY = np.random.default_rng(3).integers(0, 256, size=(6, 9), dtype=np.uint8)
DEEP = np.random.default_rng(4).integers(0, 65536, size=(6, 9), dtype=np.uint16)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    """The file that Pillow writes."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def png(array: np.ndarray) -> bytes:
    """The PNG that OpenCV writes: 8 or 16 bits, channels in the order blue, green, red."""
    done, data = cv2.imencode(".png", array)
    assert done
    return data.tobytes()


def chunk(kind: bytes, body: bytes) -> bytes:
    """One chunk of a PNG."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def claimed_png(width: int, height: int) -> bytes:
    """A PNG whose header claims a size that its data do not have."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    data = zlib.compress(b"\0" * 100)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def test_gray_png_is_read_as_it_is() -> None:
    data = png(GRAY)
    film = read_film(data)
    np.testing.assert_array_equal(film.pixels, GRAY)
    assert film.pixels.dtype == np.uint8
    assert (film.width, film.height) == (9, 6)
    assert film.media_type == "image/png"
    assert film.sha256 == hashlib.sha256(data).hexdigest()
    assert film.notes == ()


@given(st.integers(0, 2**32 - 1), st.integers(1, 20), st.integers(1, 20))
@settings(max_examples=30)
def test_16_bit_png_keeps_every_bit(seed: int, height: int, width: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 65536, size=(height, width), dtype=np.uint16)
    film = read_film(png(pixels))
    assert film.pixels.dtype == np.uint16
    np.testing.assert_array_equal(film.pixels, pixels)


def test_16_bit_colour_png_keeps_16_bits() -> None:
    colour = np.stack([DEEP, DEEP, DEEP], axis=2)
    film = read_film(png(colour))
    np.testing.assert_array_equal(film.pixels, DEEP)
    blue, red = np.zeros_like(colour), np.zeros_like(colour)
    blue[:, :, 0], red[:, :, 2] = 65535, 65535
    assert int(read_film(png(blue)).pixels[0, 0]) == round(0.114 * 65535)
    assert abs(int(read_film(png(red)).pixels[0, 0]) - 0.299 * 65535) <= 1
    see_through = np.dstack([colour, np.zeros_like(DEEP)])
    film = read_film(png(see_through))
    assert not film.pixels.any()
    assert "transparency blended onto black" in film.notes


def test_a_dark_16_bit_png_says_that_it_uses_12_bits() -> None:
    assert any("12 bits" in note for note in read_film(png(DEEP // 16)).notes)
    assert read_film(png(DEEP | 0x8000)).notes == ()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_exif_orientation_is_applied(kind: str, orientation: int) -> None:
    stored = Image.fromarray(cv2.resize(GRAY, (32, 16), interpolation=cv2.INTER_CUBIC))
    exif = Image.Exif()
    exif[274] = orientation
    data = encoded(stored, kind, exif=exif)
    film = read_film(data)
    with Image.open(io.BytesIO(data)) as image:
        expected = np.asarray(ImageOps.exif_transpose(image))
    np.testing.assert_array_equal(film.pixels, expected)
    assert film.pixels.flags.c_contiguous
    assert (f"turned: EXIF orientation {orientation}" in film.notes) == (orientation != 1)
    assert (film.width < film.height) == (orientation >= 5)


def test_an_undefined_orientation_is_noted_and_not_applied() -> None:
    exif = Image.Exif()
    exif[274] = 9
    film = read_film(encoded(Image.fromarray(GRAY), "PNG", exif=exif))
    np.testing.assert_array_equal(film.pixels, GRAY)
    assert film.notes == ("EXIF orientation 9 is not defined and was not applied",)


def test_palette_png_is_read_by_its_colours() -> None:
    image = Image.fromarray(GRAY % 4)
    image = image.copy()
    image.putpalette([200, 200, 200, 10, 10, 10, 90, 90, 90, 255, 255, 255])
    film = read_film(encoded(image, "PNG"))
    np.testing.assert_array_equal(film.pixels, np.array([200, 10, 90, 255], np.uint8)[GRAY % 4])
    assert film.notes == ("gray from P",)


def test_transparency_is_blended_onto_black() -> None:
    alpha = np.full_like(GRAY, 255)
    alpha[0], alpha[1] = 0, 128
    film = read_film(encoded(Image.merge("LA", [Image.fromarray(GRAY), Image.fromarray(alpha)]), "PNG"))
    assert not film.pixels[0].any()
    np.testing.assert_allclose(film.pixels[1], GRAY[1] * (128 / 255), atol=0.51)
    np.testing.assert_array_equal(film.pixels[2:], GRAY[2:])
    assert "transparency blended onto black" in film.notes
    opaque = Image.merge("RGBA", [Image.fromarray(GRAY)] * 3 + [Image.new("L", (9, 6), 255)])
    film = read_film(encoded(opaque, "PNG"))
    np.testing.assert_array_equal(film.pixels, GRAY)
    assert film.notes == ("gray from RGBA",)


def test_a_transparent_palette_entry_is_black() -> None:
    image = Image.fromarray(GRAY % 2)
    image.putpalette([255, 255, 255, 120, 120, 120])
    film = read_film(encoded(image, "PNG", transparency=0))
    np.testing.assert_array_equal(film.pixels, np.where(GRAY % 2 == 1, 120, 0))


def test_bilevel_png() -> None:
    film = read_film(encoded(Image.fromarray(GRAY > 127), "PNG"))
    np.testing.assert_array_equal(film.pixels, np.where(GRAY > 127, 255, 0))


def test_colour_is_luma() -> None:
    for colour, gray in (((255, 0, 0), 76), ((0, 255, 0), 150), ((0, 0, 255), 29), ((9, 9, 9), 9)):
        film = read_film(encoded(Image.new("RGB", (4, 3), colour), "PNG"))
        assert (film.pixels == gray).all()
        assert film.notes == ("gray from RGB",)


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_jpeg_of_every_mode_is_bright_where_the_film_is(mode: str) -> None:
    gray = np.repeat(np.linspace(0, 255, 64).astype(np.uint8)[None, :], 48, axis=0)
    image = Image.fromarray(gray).convert("RGB").convert(mode)
    film = read_film(encoded(image, "JPEG", quality=95))
    assert film.media_type == "image/jpeg"
    assert film.pixels.dtype == np.uint8
    np.testing.assert_allclose(film.pixels.astype(int), gray, atol=4)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_file_that_is_cut_off_is_unreadable(kind: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, size=(80, 80), dtype=np.uint8)
    data = encoded(Image.fromarray(noise), kind)
    for length in (12, len(data) // 3, len(data) // 2):
        with pytest.raises(UnreadableFilmError, match=kind):
            read_film(data[:length])


@given(st.integers(9, 400), st.integers(0, 255))
@settings(max_examples=60)
def test_one_wrong_byte_is_an_error_of_ours_or_a_film(place: int, value: int) -> None:
    data = bytearray(png(np.arange(400, dtype=np.uint8).reshape(20, 20)))
    data[place % len(data)] = value
    try:
        film = read_film(bytes(data))
    except (UnreadableFilmError, UnsupportedFilmError, FilmTooLargeError):
        return
    assert isinstance(film, Film)
    assert film.pixels.ndim == 2


@pytest.mark.parametrize("data", [b"", b"hello, this is text", b"\xff" * 200, b"<html></html>", bytes(500)])
def test_what_is_no_image_is_unreadable(data: bytes) -> None:
    with pytest.raises(UnreadableFilmError, match="PNG, JPEG or DICOM"):
        read_film(data)


@pytest.mark.parametrize(("kind", "name"), [("GIF", "GIF"), ("BMP", "BMP"), ("TIFF", "TIFF"), ("WEBP", "WebP")])
def test_other_images_are_named_and_refused(kind: str, name: str) -> None:
    with pytest.raises(UnsupportedFilmError, match=name):
        read_film(encoded(Image.fromarray(GRAY), kind))


def test_an_animated_png_is_refused() -> None:
    frames = [Image.fromarray(GRAY), Image.fromarray(255 - GRAY)]
    with pytest.raises(UnsupportedFilmError, match="animated"):
        read_film(encoded(frames[0], "PNG", save_all=True, append_images=frames[1:]))


def test_huge_dimensions_are_refused_before_decoding() -> None:
    """The data behind the header are cut off: whoever decoded them would say so instead."""
    with pytest.raises(FilmTooLargeError, match="100000 x 90000"):
        read_film(claimed_png(100_000, 90_000))
    with pytest.raises(UnreadableFilmError):
        read_film(claimed_png(100, 90))
    jpeg = bytearray(encoded(Image.fromarray(GRAY), "JPEG"))
    start = jpeg.index(b"\xff\xc0")
    jpeg[start + 5 : start + 9] = struct.pack(">HH", 65000, 64000)
    with pytest.raises(FilmTooLargeError, match="64000 x 65000"):
        read_film(bytes(jpeg))


def test_limits_are_the_callers() -> None:
    data = png(GRAY)
    assert read_film(data, max_bytes=len(data), max_pixels=54).width == 9
    with pytest.raises(FilmTooLargeError, match="bytes"):
        read_film(data, max_bytes=len(data) - 1)
    with pytest.raises(FilmTooLargeError, match="9 x 6 pixels"):
        read_film(data, max_pixels=53)


def test_the_model_sees_the_full_range_in_8_bits() -> None:
    deep = np.array([[0, 127, 128, 129, 257, 32768, 65535]], dtype=np.uint16)
    seen = rgb8(Film(deep, "image/png", ""))
    assert seen.dtype == np.uint8
    assert seen.shape == (1, 7, 3)
    np.testing.assert_array_equal(seen[0, :, 0], np.rint(deep[0] / 257))
    assert (seen == seen[:, :, :1]).all()
    np.testing.assert_array_equal(rgb8(Film(GRAY, "image/png", ""))[:, :, 1], GRAY)
