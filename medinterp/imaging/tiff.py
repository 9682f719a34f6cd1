"""TIFF films at full depth (TIFF 6.0, baseline and its common compressions)."""

from __future__ import annotations

import io
import zlib
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL.TiffImagePlugin import TiffImageFile

from medinterp.errors import UnreadableFilmError, UnsupportedFilmError
from medinterp.imaging.broken import broken_is_unreadable
from medinterp.imaging.gray import gray8, gray16_of_colour
from medinterp.imaging.limits import FilmLimits
from medinterp.types import FilmWarning

WIDTH, HEIGHT, BITS, PHOTOMETRIC, ORIENTATION, SAMPLES, SAMPLE_FORMAT = 256, 257, 258, 262, 274, 277, 339
COMPRESSION = 259
STRIPS, TILES = (273, 279), (324, 325)
"""Tags of where the pieces of the picture lie, and of their lengths."""
DEFLATE = (8, 32946)
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE = 0, 1, 2, 3
SAVE_AS = "Save it as gray of 8 or 16 bits."

Pixels = npt.NDArray[Any]


def read_tiff(
    data: bytes, limits: FilmLimits, notes: list[str], warnings: list[FilmWarning]
) -> tuple[Pixels, int]:
    """Decode a TIFF of one page to gray uint8 or uint16 [H, W], as stored, and its orientation tag (1 to 8).

    White-is-zero becomes black-is-zero; 9 to 15 bits are brought to 16. Raises as raster.read_raster.
    """
    with broken_is_unreadable("TIFF"):
        image = TiffImageFile(io.BytesIO(data))
        tags = dict(image.tag_v2)
        pages = int(getattr(image, "n_frames", 1))
    bits = _numbers(tags.get(BITS, (1,)))
    samples, formats = _numbers(tags.get(SAMPLES, 1))[0], _numbers(tags.get(SAMPLE_FORMAT, (1,)))
    photometric = _numbers(tags.get(PHOTOMETRIC, -1))[0]
    limits.check_size(*image.size, max(1, max(bits, default=1) // 8) * max(samples, 3 if photometric == PALETTE else 1))
    if pages != 1:
        raise UnsupportedFilmError(f"The TIFF has {pages} pages. Send one film as one file of one page.")
    if photometric not in (WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE) or set(formats) != {1}:
        raise UnsupportedFilmError(f"The TIFF holds neither gray nor RGB of unsigned whole numbers. {SAVE_AS}")
    if len(set(bits)) != 1 or bits[0] > 16:
        raise UnsupportedFilmError(f"A TIFF of {'/'.join(map(str, bits))} bits is not read. {SAVE_AS}")
    _check_pieces(data, tags, limits, warnings)
    with broken_is_unreadable("TIFF"):
        image.load()
        # Pillow turns a TIFF upright as it loads it, and takes the tag away; PNG and JPEG it leaves as they are.
        orientation = int(image.getexif().get(ORIENTATION, 1))
        if bits[0] <= 8:
            pixels = gray8(image, notes)
        elif samples == 1 and image.mode.startswith("I;16"):
            pixels = np.asarray(image).astype(np.uint16)
        else:
            colour = gray16_of_colour(_without_orientation(data), notes)
            if colour is None:
                raise UnreadableFilmError(f"The TIFF of more than 8 bits cannot be decoded. {SAVE_AS}")
            pixels, orientation = colour, int(tags.get(ORIENTATION, 1))
    # Pillow turns white-is-zero over where it decodes to 8 bits, and leaves 16 bits as they are.
    if pixels.dtype == np.uint16 and bits[0] < 16:
        pixels = (pixels.astype(np.uint32) * 65535 // (2 ** bits[0] - 1)).astype(np.uint16)
        notes.append(f"{bits[0]} bits")
    if photometric == WHITE_IS_ZERO:
        notes.append("inverted: white is zero")
        if pixels.dtype == np.uint16:
            pixels = np.uint16(65535) - pixels
    return pixels, orientation


def _check_pieces(data: bytes, tags: Mapping[int, Any], limits: FilmLimits, warnings: list[FilmWarning]) -> None:
    """Every strip or tile must lie in the file; of deflated ones the checksum must hold, which libtiff passes over."""
    places, lengths = (_numbers(tags.get(tag, ())) for tag in (STRIPS if STRIPS[0] in tags else TILES))
    limits.check_parts(len(places))
    ends = [place + length for place, length in zip(places, lengths, strict=False)]
    if len(places) != len(lengths) or not ends or max(ends) > len(data) or min(places) < 8:
        raise UnreadableFilmError("The TIFF is broken or cut off. Export it again, and send it whole.")
    if tags.get(COMPRESSION) in DEFLATE:
        with broken_is_unreadable("TIFF"):
            for place, end in zip(places, ends, strict=True):
                inflater = zlib.decompressobj()
                inflater.decompress(data[place:end], limits.max_decoded_bytes)
                if not inflater.eof:
                    raise UnreadableFilmError("The TIFF is broken or cut off. Export it again, and send it whole.")
    directory = int.from_bytes(data[4:8], "little" if data[:2] == b"II" else "big")
    if directory < max(ends) < len(data) - 1:
        told = "The file goes on behind its picture with what belongs to none: it seems damaged."
        warnings.append(FilmWarning("extra-bytes", told))


def _numbers(value: Any) -> tuple[int, ...]:
    with broken_is_unreadable("TIFF"):
        return tuple(int(number) for number in (value if isinstance(value, tuple) else (value,)))


def _without_orientation(data: bytes) -> bytes:
    """The same file with orientation 1: OpenCV 5.0 turns a TIFF whatever flags it is given, older ones do not."""
    order: Literal["little", "big"] = "little" if data[:2] == b"II" else "big"
    directory = int.from_bytes(data[4:8], order)
    count = int.from_bytes(data[directory : directory + 2], order)
    for entry in range(directory + 2, directory + 2 + 12 * count, 12):
        if int.from_bytes(data[entry : entry + 2], order) == ORIENTATION:
            return data[: entry + 8] + (1).to_bytes(2, order) + data[entry + 10 :]
    return data
