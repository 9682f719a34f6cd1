"""The stored pixels of a DICOM, as they are: one decoder for each transfer syntax, and none of their guesses."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom.uid as uids
from pydicom.dataset import Dataset
from pydicom.encaps import get_frame
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID

from medinterp.errors import UnreadableFilmError, UnsupportedFilmError
from medinterp.imaging.broken import broken_is_unreadable
from medinterp.imaging.dicom_frame import DicomFrame
from medinterp.imaging.jpeg import UNCHECKED, decode_gray, read_frame
from medinterp.imaging.limits import FilmLimits
from medinterp.types import FilmWarning

Codes = npt.NDArray[Any]

PLAIN = frozenset({uids.ImplicitVRLittleEndian, uids.ExplicitVRLittleEndian, uids.ExplicitVRBigEndian})
"""Without compression; deflated files are inflated by now."""
_JPEG = frozenset({uids.JPEGBaseline8Bit, uids.JPEGExtended12Bit})
_JPEG_LOSSLESS = frozenset({uids.JPEGLossless, uids.JPEGLosslessSV1})
_DENSE = frozenset({uids.JPEGLSLossless, uids.JPEGLSNearLossless})
"""Damage makes their decoder fail nearly always (198 of 200 damaged files)."""
_PLUGINS: dict[str, tuple[str, ...]] = {
    uids.RLELossless: ("pydicom",),
    uids.JPEGBaseline8Bit: ("pillow",),
    uids.JPEGExtended12Bit: ("pillow",),
    uids.JPEGLossless: ("gdcm",),
    uids.JPEGLosslessSV1: ("gdcm",),
    uids.JPEGLSLossless: ("pyjpegls", "gdcm"),
    uids.JPEGLSNearLossless: ("pyjpegls", "gdcm"),
    uids.JPEG2000Lossless: ("pylibjpeg", "gdcm", "pillow"),
    uids.JPEG2000: ("pylibjpeg", "gdcm", "pillow"),
    uids.HTJ2KLossless: ("pylibjpeg",),
    uids.HTJ2KLosslessRPCL: ("pylibjpeg",),
    uids.HTJ2K: ("pylibjpeg",),
}
"""Decoders by preference. One is taken and no other tried after it: what the first refuses, another may invent."""
DECOMPRESS = (
    "Decompress it first, for example with `gdcmconv --raw IN OUT`, `dcmdjpeg IN OUT` (JPEG) or "
    "`dcmdjpls IN OUT` (JPEG-LS), or send it as PNG."
)


def read_codes(
    dataset: Dataset,
    syntax: UID,
    frame: DicomFrame,
    limits: FilmLimits,
    notes: list[str],
    warnings: list[FilmWarning],
) -> Codes:
    """The stored values as unsigned codes, uint8 or uint16 [H, W], or RGB uint8 [H, W, 3].

    A signed value stands as its two's complement. Raises UnreadableFilmError, UnsupportedFilmError.
    """
    if syntax in PLAIN and frame.samples == 1:
        return _native(dataset, syntax, frame)
    plugin = _plugin(syntax)
    if syntax in PLAIN:
        return _by_pydicom(dataset, syntax, frame, None)
    notes.append(f"decompressed: {syntax.name}")
    with broken_is_unreadable("DICOM"):
        encoded = get_frame(dataset.PixelData, 0, number_of_frames=1)
    if syntax not in _DENSE:
        notes.append(UNCHECKED)
    if syntax in _JPEG:
        header = read_frame(encoded, limits)
        _require_size(frame, header.width, header.height)
        if header.precision == 8:
            gray, _ = decode_gray(encoded, limits)  # strict: damage that libjpeg notices is an error
            return gray if frame.samples == 1 else _by_pydicom(dataset, syntax, frame, plugin)
        return _twelve_bits(encoded, syntax, frame, header.precision)
    if syntax in _JPEG_LOSSLESS:
        header = read_frame(encoded, limits)
        _require_size(frame, header.width, header.height)
        if header.predictor > 1:
            # From the left neighbour alone, damage makes a step; from several, it fades and is taken for a shadow.
            told = f"Compressed by lossless JPEG with predictor {header.predictor}: damage in it could not be told."
            warnings.append(FilmWarning("unchecked", told))
    return _by_pydicom(dataset, syntax, frame, plugin)


def _native(dataset: Dataset, syntax: UID, frame: DicomFrame) -> Codes:
    with broken_is_unreadable("DICOM"):
        element = dataset["PixelData"]
        data, vr = bytes(element.value), str(element.VR)
    size = frame.bits_allocated // 8
    if len(data) < frame.rows * frame.columns * size:
        raise UnreadableFilmError(
            "The DICOM is cut off: it holds fewer pixels than its header says. Export it again, and send it whole."
        )
    big = not syntax.is_little_endian
    if size == 1 and big and vr == "OW":
        data = np.frombuffer(data[: len(data) // 2 * 2], "<u2").byteswap().tobytes()
    codes = np.frombuffer(data, np.uint8 if size == 1 else ">u2" if big else "<u2", frame.rows * frame.columns)
    return codes.astype(codes.dtype.newbyteorder("="), copy=False).reshape(frame.rows, frame.columns)


def extra_rows(dataset: Dataset, syntax: UID, frame: DicomFrame) -> int:
    """How many more rows of pixels lie in an uncompressed gray file than its header says."""
    if syntax not in PLAIN or frame.samples != 1:
        return 0
    with broken_is_unreadable("DICOM"):
        length = len(dataset.PixelData)
    row = frame.columns * (frame.bits_allocated // 8)
    return (length - frame.rows * row) // row


def _plugin(syntax: UID) -> str | None:
    """The decoder that is taken. Raises UnsupportedFilmError where there is none."""
    if syntax in PLAIN:
        return None
    with broken_is_unreadable("DICOM"):  # a UID that is none is warned of, in full
        try:
            available = get_decoder(syntax).available_plugins
        except (NotImplementedError, ValueError):  # unknown, or no transfer syntax at all
            available = ()
    for plugin in _PLUGINS.get(syntax, ()):
        if plugin in available:
            return plugin
    missing = " (the extra `dicom` reads it: pip install 'medinterp[dicom]')" if syntax in _PLUGINS else ""
    with broken_is_unreadable("DICOM"):
        named = syntax.name != str(syntax)
    name = f"{syntax.name} ({syntax})" if named else "that DICOM does not define"
    raise UnsupportedFilmError(f"Transfer syntax {name} is not read here{missing}. {DECOMPRESS}")


def _by_pydicom(dataset: Dataset, syntax: UID, frame: DicomFrame, plugin: str | None) -> Codes:
    options: dict[str, Any] = {"correct_unused_bits": False} | ({"decoding_plugin": plugin} if plugin else {})
    with broken_is_unreadable("DICOM"):
        array, _ = get_decoder(syntax).as_array(dataset, index=0, raw=frame.samples == 1, **options)
    shape = (frame.rows, frame.columns) if frame.samples == 1 else (frame.rows, frame.columns, frame.samples)
    if array.shape != shape or array.dtype.itemsize > 2:
        raise UnreadableFilmError("The DICOM's picture has another size than its header says. Export it again.")
    unsigned = np.uint8 if array.dtype.itemsize == 1 else np.uint16
    return np.ascontiguousarray(array).view(unsigned)


def _twelve_bits(encoded: bytes, syntax: UID, frame: DicomFrame, precision: int) -> Codes:
    """JPEG Extended of more than 8 bits, which of all decoders here gdcm alone reads (pydicom 3.0 does not ask it)."""
    try:
        import gdcm
    except ImportError as error:
        raise UnsupportedFilmError(
            f"Transfer syntax {syntax.name} of {precision} bits is not read here (the extra `dicom` reads it: "
            f"pip install 'medinterp[dicom]'). {DECOMPRESS}"
        ) from error
    if frame.samples != 1 or precision != 12 or frame.bits_allocated != 16:
        raise UnsupportedFilmError(f"{syntax.name} of {precision} bits is read as gray of 12 bits only. {DECOMPRESS}")
    with broken_is_unreadable("DICOM"):
        fragment = gdcm.Fragment()
        fragment.SetByteStringValue(encoded)
        fragments = gdcm.SequenceOfFragments.New()
        fragments.AddFragment(fragment)
        element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
        element.SetValue(fragments.__ref__())
        image = gdcm.Image()
        image.SetNumberOfDimensions(2)
        image.SetDimensions((frame.columns, frame.rows, 1))
        image.SetDataElement(element)
        gray = gdcm.PhotometricInterpretation.MONOCHROME2
        image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(gray))
        image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(str(syntax))))
        image.SetPixelFormat(gdcm.PixelFormat(1, 16, 12, 11, 0))
        # gdcm hands bytes over as text.
        data = image.GetBuffer().encode("utf-8", "surrogateescape")
    if len(data) != 2 * frame.rows * frame.columns:
        raise UnreadableFilmError("The DICOM is broken or cut off. Export it again, and send it whole.")
    return np.frombuffer(data, f"{'<' if sys.byteorder == 'little' else '>'}u2").reshape(frame.rows, frame.columns)


def _require_size(frame: DicomFrame, width: int, height: int) -> None:
    if (width, height) != (frame.columns, frame.rows):
        raise UnreadableFilmError(
            f"The DICOM's header says {frame.columns} x {frame.rows} pixels, its picture has {width} x {height}. "
            "Export it again."
        )
