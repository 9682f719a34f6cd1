"""PNG and JPEG films of every kind, and bytes that are none."""

from __future__ import annotations

import hashlib
import io
import struct
import zlib
from contextlib import suppress

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from medinterp.errors import FilmError, FilmShapeError, FilmTooLargeError, UnreadableFilmError, UnsupportedFilmError
from medinterp.imaging import FilmLimits, read_film, rgb8
from medinterp.imaging.raster import read_raster
from medinterp.types import Film

GRAY = np.random.default_rng(3).integers(0, 256, size=(6, 9), dtype=np.uint8)
DEEP = np.random.default_rng(4).integers(0, 65536, size=(6, 9), dtype=np.uint16)


def read(data: bytes, **limits: int) -> Film:
    """The film, small as it is here."""
    return read_film(data, limits=FilmLimits(**{"min_side": 1, "max_aspect": 1000, **limits}))


SMALL = FilmLimits(min_side=1)


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
    film = read(data)
    np.testing.assert_array_equal(film.pixels, GRAY)
    assert film.pixels.dtype == np.uint8
    assert (film.width, film.height) == (9, 6)
    assert film.media_type == "image/png"
    assert film.sha256 == hashlib.sha256(data).hexdigest()
    assert film.notes == ()


@given(st.integers(0, 2**32 - 1), st.integers(5, 20), st.integers(5, 20))
@settings(max_examples=30)
def test_16_bit_png_keeps_every_bit(seed: int, height: int, width: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 65536, size=(height, width), dtype=np.uint16)
    film = read(png(pixels))
    assert film.pixels.dtype == np.uint16
    np.testing.assert_array_equal(film.pixels, pixels)


def test_16_bit_colour_png_keeps_16_bits() -> None:
    colour = np.stack([DEEP, DEEP, DEEP], axis=2)
    film = read(png(colour))
    np.testing.assert_array_equal(film.pixels, DEEP)
    blue, red = np.zeros_like(colour), np.zeros_like(colour)
    blue[:, :, 0], red[:, :, 2] = 65535, 65535
    blue[0, 0] = red[0, 0] = 65535  # all of one value would be no picture
    seen_blue, seen_red = (read_raster(png(each), "PNG", SMALL)[0] for each in (blue, red))
    assert int(seen_blue[5, 5]) == round(0.114 * 65535)
    assert abs(int(seen_red[5, 5]) - 0.299 * 65535) <= 1
    alpha = np.full_like(DEEP, 65535)
    alpha[0] = 0
    film = read(png(np.dstack([colour, alpha])))
    assert not film.pixels[0].any()
    np.testing.assert_array_equal(film.pixels[1:], DEEP[1:])
    assert "transparency blended onto black" in film.notes


@pytest.mark.parametrize("share", [0, 128])
def test_alpha_of_a_film_that_is_opaque_nowhere_is_dropped(share: int) -> None:
    """Blended onto black, such a film is dark or gone, and is read as a normal one."""
    film = read(png(np.dstack([GRAY, GRAY, GRAY, np.full_like(GRAY, share)])))
    np.testing.assert_array_equal(film.pixels, GRAY)
    assert "transparency dropped: 0% of the film is opaque" in film.notes
    deep = read(png(np.dstack([DEEP, DEEP, DEEP, np.full_like(DEEP, 257 * share)])))
    np.testing.assert_array_equal(deep.pixels, DEEP)


@pytest.mark.parametrize("bits", [10, 12, 13, 14])
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_files_that_use_fewer_bits_are_read_as_such(kind: str, bits: int) -> None:
    few = (DEEP >> (16 - bits)).astype(np.uint16)
    few[0, 0] = 2**bits - 1
    film = read(png(few) if kind == "PNG" else encoded(Image.fromarray(few), "TIFF"))
    np.testing.assert_array_equal(film.pixels, np.rint(few / (2**bits - 1) * 65535))
    (warning,) = film.warnings[:1]
    assert (warning.code, warning.withholds) == ("bit-depth", False)
    assert f"read as {bits} bits" in warning.text


def test_all_16_bits_are_left_alone() -> None:
    assert [warning.code for warning in read(png(DEEP | 0x8000)).warnings if warning.code != "noise"] == []
    faint = (30000 + DEEP // 64).astype(np.uint16)
    film = read(png(faint))
    assert "stretched" in [warning.code for warning in film.warnings]
    assert (int(film.pixels.min()), int(film.pixels.max())) == (0, 65535)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_exif_orientation_is_applied(kind: str, orientation: int) -> None:
    stored = Image.fromarray(cv2.resize(GRAY, (32, 16), interpolation=cv2.INTER_CUBIC))
    exif = Image.Exif()
    exif[274] = orientation
    data = encoded(stored, kind, exif=exif)
    film = read(data)
    with Image.open(io.BytesIO(data)) as image:
        expected = np.asarray(ImageOps.exif_transpose(image))
    np.testing.assert_array_equal(film.pixels, expected)
    assert film.pixels.flags.c_contiguous
    assert (f"turned: EXIF orientation {orientation}" in film.notes) == (orientation != 1)
    assert (film.width < film.height) == (orientation >= 5)


def test_an_undefined_orientation_is_noted_and_not_applied() -> None:
    exif = Image.Exif()
    exif[274] = 9
    film = read(encoded(Image.fromarray(GRAY), "PNG", exif=exif))
    np.testing.assert_array_equal(film.pixels, GRAY)
    assert film.notes == ("EXIF orientation 9 is not defined and was not applied",)


def test_palette_png_is_read_by_its_colours() -> None:
    image = Image.fromarray(GRAY % 4)
    image = image.copy()
    image.putpalette([200, 200, 200, 10, 10, 10, 90, 90, 90, 255, 255, 255])
    film = read(encoded(image, "PNG"))
    np.testing.assert_array_equal(film.pixels, np.array([200, 10, 90, 255], np.uint8)[GRAY % 4])
    assert film.notes == ("gray from P",)


def test_transparency_is_blended_onto_black() -> None:
    alpha = np.full_like(GRAY, 255)
    alpha[0], alpha[1] = 0, 128
    film = read(encoded(Image.merge("LA", [Image.fromarray(GRAY), Image.fromarray(alpha)]), "PNG"))
    assert not film.pixels[0].any()
    np.testing.assert_allclose(film.pixels[1], GRAY[1] * (128 / 255), atol=0.51)
    np.testing.assert_array_equal(film.pixels[2:], GRAY[2:])
    assert "transparency blended onto black" in film.notes
    opaque = Image.merge("RGBA", [Image.fromarray(GRAY)] * 3 + [Image.new("L", (9, 6), 255)])
    film = read(encoded(opaque, "PNG"))
    np.testing.assert_array_equal(film.pixels, GRAY)
    assert film.notes == ("gray from RGBA",)


def test_a_transparent_palette_entry_is_black() -> None:
    image = Image.fromarray(GRAY % 2)
    image.putpalette([255, 255, 255, 120, 120, 120])
    film = read(encoded(image, "PNG", transparency=0))
    np.testing.assert_array_equal(film.pixels, np.where(GRAY % 2 == 1, 120, 0))


def test_bilevel_png() -> None:
    film = read(encoded(Image.fromarray(GRAY > 127), "PNG"))
    np.testing.assert_array_equal(film.pixels, np.where(GRAY > 127, 255, 0))


def test_colour_is_luma() -> None:
    for colour, gray in (((255, 0, 0), 76), ((0, 255, 0), 150), ((0, 0, 255), 29), ((9, 9, 9), 9)):
        pixels, notes, _ = read_raster(encoded(Image.new("RGB", (4, 3), colour), "PNG"), "PNG", SMALL)
        assert (pixels == gray).all()
        assert notes == ("gray from RGB",)


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_jpeg_of_every_mode_is_bright_where_the_film_is(mode: str) -> None:
    gray = np.repeat(np.linspace(0, 255, 64).astype(np.uint8)[None, :], 48, axis=0)
    image = Image.fromarray(gray).convert("RGB").convert(mode)
    film = read(encoded(image, "JPEG", quality=95))
    assert film.media_type == "image/jpeg"
    assert film.pixels.dtype == np.uint8
    np.testing.assert_allclose(film.pixels.astype(int), gray, atol=4)


def test_jpegs_about_which_decoders_disagree_are_refused_with_the_way_out() -> None:
    gray = Image.fromarray(GRAY)
    with pytest.raises(UnsupportedFilmError, match="four inks"):
        read(encoded(gray.convert("RGB").convert("CMYK"), "JPEG"))
    data = bytearray(encoded(gray, "JPEG"))
    frame = data.index(b"\xff\xc0")
    data[frame + 4] = 12
    with pytest.raises(UnsupportedFilmError, match=r"JPEG of 12 bits.*16-bit PNG"):
        read(bytes(data))
    data[frame + 1], data[frame + 4] = 0xC3, 8
    with pytest.raises(UnsupportedFilmError, match="lossless JPEG"):
        read(bytes(data))


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_file_that_is_cut_off_is_unreadable(kind: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, size=(80, 80), dtype=np.uint8)
    data = encoded(Image.fromarray(noise), kind)
    for length in (*range(9, 60), len(data) // 3, len(data) // 2, len(data) - 1):
        with pytest.raises(UnreadableFilmError, match=kind):
            read(data[:length])


@given(st.integers(9, 400), st.integers(0, 255))
@settings(max_examples=60)
def test_one_wrong_byte_is_an_error_of_ours_or_a_film(place: int, value: int) -> None:
    data = bytearray(png(np.arange(400, dtype=np.uint8).reshape(20, 20)))
    data[place % len(data)] = value
    try:
        film = read(bytes(data))
    except FilmError:
        return
    assert isinstance(film, Film)
    assert film.pixels.ndim == 2


@pytest.mark.parametrize("data", [b"", b"hello, this is text", b"\xff" * 200, b"<html></html>", bytes(500)])
def test_what_is_no_image_is_unreadable(data: bytes) -> None:
    with pytest.raises(UnreadableFilmError, match="PNG, JPEG, TIFF or DICOM"):
        read(data)


@pytest.mark.parametrize(
    ("kind", "name"), [("GIF", "GIF"), ("BMP", "BMP"), ("WEBP", "WebP"), ("JPEG2000", "JPEG 2000")]
)
def test_other_images_are_named_and_refused(kind: str, name: str) -> None:
    with pytest.raises(UnsupportedFilmError, match=name):
        read(encoded(Image.fromarray(GRAY), kind))


@pytest.mark.parametrize(
    ("head", "name"),
    [(b"II+\0\x08\0", "BigTIFF"), (b"\xff\x0a", "JPEG XL"), (b"\0\0\0\x0cJXL \r\n", "JPEG XL"), (b"NRRD0004", "NRRD")],
)
def test_what_is_no_film_is_named_for_what_it_is(head: bytes, name: str) -> None:
    with pytest.raises(UnsupportedFilmError, match=name):
        read(head + bytes(200))


def test_an_animated_png_is_refused() -> None:
    frames = [Image.fromarray(GRAY), Image.fromarray(255 - GRAY)]
    with pytest.raises(UnsupportedFilmError, match="animated"):
        read(encoded(frames[0], "PNG", save_all=True, append_images=frames[1:]))


def test_huge_dimensions_are_refused_before_decoding() -> None:
    """The data behind the header are cut off: whoever decoded them would say so instead."""
    with pytest.raises(FilmTooLargeError, match="100000 x 90000"):
        read(claimed_png(100_000, 90_000))
    with pytest.raises(UnreadableFilmError):
        read(claimed_png(100, 90))
    jpeg = bytearray(encoded(Image.fromarray(GRAY), "JPEG"))
    start = jpeg.index(b"\xff\xc0")
    jpeg[start + 5 : start + 9] = struct.pack(">HH", 65000, 64000)
    with pytest.raises(FilmTooLargeError, match="64000 x 65000"):
        read(bytes(jpeg))


def test_limits_are_the_callers() -> None:
    data = png(GRAY)
    assert read(data, max_bytes=len(data), max_pixels=54).width == 9
    with pytest.raises(FilmTooLargeError, match="bytes"):
        read(data, max_bytes=len(data) - 1)
    with pytest.raises(FilmTooLargeError, match="9 x 6 pixels"):
        read(data, max_pixels=53)


def test_the_model_sees_the_full_range_in_8_bits() -> None:
    deep = np.array([[0, 127, 128, 129, 257, 32768, 65535]], dtype=np.uint16)
    seen = rgb8(Film(deep, "image/png", ""))
    assert seen.dtype == np.uint8
    assert seen.shape == (1, 7, 3)
    np.testing.assert_array_equal(seen[0, :, 0], np.rint(deep[0] / 257))
    assert (seen == seen[:, :, :1]).all()
    np.testing.assert_array_equal(rgb8(Film(GRAY, "image/png", ""))[:, :, 1], GRAY)


@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 65535), (31, 31), (32, 161), (700, 100)])
def test_a_film_has_a_shape(width: int, height: int) -> None:
    with pytest.raises(FilmShapeError, match=f"{width} x {height}"):
        read_film(png(np.zeros((height, width), np.uint8)))


def test_structure_is_limited() -> None:
    film = cv2.resize(GRAY, (64, 64), interpolation=cv2.INTER_CUBIC)
    data = png(film)
    many = data[:33] + chunk(b"tEXt", b"a\0b") * 300 + data[33:]
    assert read_film(many).width == 64
    with pytest.raises(FilmTooLargeError, match="200 parts"):
        read_film(many, limits=FilmLimits(max_parts=200))
    progressive = encoded(Image.fromarray(film), "JPEG", progressive=True)
    assert read_film(progressive).width == 64
    with pytest.raises(FilmTooLargeError, match="3 scans"):
        read_film(progressive, limits=FilmLimits(max_scans=3))
    colour = png(np.dstack([DEEP] * 4))
    with pytest.raises(FilmTooLargeError, match="432 bytes decoded"):
        read(colour, max_decoded_bytes=431)


def exif_of(kind: int, value: bytes) -> bytes:
    """An EXIF block whose orientation is of a TIFF type, with the value's bytes at offset 26."""
    inline = value if len(value) <= 4 else struct.pack("<I", 26)
    entry = struct.pack("<HHI", 274, kind, 1) + inline.ljust(4, b"\0")
    return b"Exif\0\0II*\0" + struct.pack("<IH", 8, 1) + entry + struct.pack("<I", 0) + value


@pytest.mark.parametrize(
    ("exif", "read_as"),
    [
        (exif_of(3, struct.pack("<H", 0)), 0),
        (exif_of(3, struct.pack("<H", 9)), 9),
        (exif_of(4, struct.pack("<I", 70000)), 70000),
        (exif_of(5, struct.pack("<II", 0, 0)), None),
        (exif_of(12, struct.pack("<d", float("nan"))), None),
        (exif_of(2, b"x\0"), None),
    ],
)
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_an_odd_exif_orientation_is_no_accident(kind: str, exif: bytes, read_as: int | None) -> None:
    data = encoded(Image.fromarray(cv2.resize(GRAY, (64, 64))), kind, exif=exif)
    if read_as is None:
        with pytest.raises(UnreadableFilmError, match=kind):
            read_film(data)
    else:
        assert f"EXIF orientation {read_as} is not defined and was not applied" in read_film(data).notes


def test_a_palette_with_odd_transparency() -> None:
    image = Image.fromarray(GRAY % 4)
    image.putpalette([200, 200, 200, 10, 10, 10, 90, 90, 90, 255, 255, 255])
    plain = encoded(image, "PNG")
    place = plain.index(b"IDAT") - 4
    for body in (b"", b"\xff" * 300, b"\x80" * 4):
        data = plain[:place] + chunk(b"tRNS", body) + plain[place:]
        with suppress(FilmError):
            assert read(data).pixels.shape == GRAY.shape
