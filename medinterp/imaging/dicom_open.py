"""A DICOM's header and pixel data from its bytes, within limits: only what a film is read from is kept."""

from __future__ import annotations

import io
import zlib

from pydicom.datadict import tag_for_keyword
from pydicom.dataset import FileDataset
from pydicom.filereader import read_dataset, read_partial
from pydicom.tag import BaseTag
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from medinterp.errors import FilmTooLargeError, UnreadableFilmError
from medinterp.imaging.broken import broken_is_unreadable
from medinterp.imaging.dicom_source import SOURCE_KEYWORDS
from medinterp.imaging.limits import FilmLimits
from medinterp.types import FilmWarning

PREAMBLE = 132
_KEYWORDS = (
    "SOPClassUID Modality PresentationIntentType BodyPartExamined ViewPosition PatientOrientation SamplesPerPixel "
    "PhotometricInterpretation PlanarConfiguration NumberOfFrames Rows Columns PixelAspectRatio PixelSpacing "
    "ImagerPixelSpacing PixelSpacingCalibrationType NominalScannedPixelSpacing "
    "EstimatedRadiographicMagnificationFactor "
    "BitsAllocated BitsStored HighBit PixelRepresentation PixelPaddingValue PixelPaddingRangeLimit "
    "ModalityLUTSequence RescaleSlope RescaleIntercept VOILUTSequence VOILUTFunction WindowCenter WindowWidth "
    "PresentationLUTShape ShutterShape ShutterLeftVerticalEdge ShutterRightVerticalEdge ShutterUpperHorizontalEdge "
    "ShutterLowerHorizontalEdge CenterOfCircularShutter RadiusOfCircularShutter VerticesOfThePolygonalShutter "
    "PixelData FloatPixelData DoubleFloatPixelData ExtendedOffsetTable ExtendedOffsetTableLengths"
).split()
PIXEL_DATA = 0x7FE00010
BEHIND_PIXELS = frozenset({0xFFFAFFFA, 0xFFFCFFFC})
"""Digital signatures and padding, the only elements that sort after the pixels."""
OVERLAYS = tuple(range(0x6000, 0x6020, 2))
OVERLAY_BITS_ALLOCATED, OVERLAY_BIT_POSITION = 0x0100, 0x0102
_TAGS: list[BaseTag | int] = [
    *(tag_for_keyword(keyword) or 0 for keyword in {*_KEYWORDS, *SOURCE_KEYWORDS}),
    *(group << 16 | element for group in OVERLAYS for element in (OVERLAY_BITS_ALLOCATED, OVERLAY_BIT_POSITION)),
]


def open_dicom(
    data: bytes, limits: FilmLimits, notes: list[str], warnings: list[FilmWarning]
) -> tuple[FileDataset, UID]:
    """Parse a DICOM file or a bare data set, and its transfer syntax; what is not needed is skipped, not read.

    Raises UnreadableFilmError, FilmTooLargeError (too many elements, or too much once inflated).
    """
    preamble = data[PREAMBLE - 4 : PREAMBLE] == b"DICM"
    with broken_is_unreadable("DICOM"):
        if preamble and _transfer_syntax(data) == DeflatedExplicitVRLittleEndian:
            data = _inflated(data, limits)
            notes.append("inflated: the file was deflated")
        parts, behind, goes_on = 0, False, False

        def count(tag: BaseTag, vr: str | None, length: int) -> bool:
            nonlocal parts, behind, goes_on
            parts += 1
            limits.check_parts(parts)
            goes_on = goes_on or (behind and tag not in BEHIND_PIXELS)
            behind = behind or tag == PIXEL_DATA
            return False

        dataset = read_partial(io.BytesIO(data), count, force=not preamble, specific_tags=_TAGS)
        if goes_on:
            told = "The file goes on behind its pixels with what belongs to no film: it seems damaged."
            warnings.append(FilmWarning("extra-bytes", told))
        if "Rows" not in dataset and "SOPClassUID" not in dataset:
            if len(dataset.file_meta) > 0:
                raise UnreadableFilmError("The DICOM is broken or cut off. Export it again, and send it whole.")
            raise UnreadableFilmError("The file is not an image. Send a film as PNG, JPEG, TIFF or DICOM.")
        if dataset.file_meta.get("TransferSyntaxUID") is None:
            # Where none is named the data set shows it: explicit or implicit, and the byte order.
            implicit, little = dataset.original_encoding
            syntax = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian if little else ExplicitVRBigEndian
            dataset.file_meta.TransferSyntaxUID = syntax
            notes.append(f"transfer syntax missing: read as {syntax.name}")
        return dataset, UID(dataset.file_meta.TransferSyntaxUID)


def _transfer_syntax(data: bytes) -> UID | None:
    syntax: UID | None = _meta(data)[0]
    return syntax


def _meta(data: bytes) -> tuple[UID | None, int]:
    """The transfer syntax that the file's meta group names, and where the data set begins."""
    file = io.BytesIO(data)
    file.seek(PREAMBLE)
    meta = read_dataset(file, False, True, stop_when=lambda tag, vr, length: tag.group != 2)
    return meta.get("TransferSyntaxUID"), file.tell()


def _inflated(data: bytes, limits: FilmLimits) -> bytes:
    """The same file with its data set inflated (PS3.5 A.5), never further than the limit."""
    _, start = _meta(data)
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    body = inflater.decompress(data[start:], limits.max_decoded_bytes)
    if not inflater.eof:
        if len(body) >= limits.max_decoded_bytes:
            raise FilmTooLargeError(f"The deflated DICOM holds more than {limits.max_decoded_bytes:,} bytes.")
        raise UnreadableFilmError("The deflated DICOM is cut off. Export it again, and send it whole.")
    # The two UIDs differ in length; explicit little endian is shorter, and a UID is padded with zeros.
    deflated, plain = DeflatedExplicitVRLittleEndian.encode(), ExplicitVRLittleEndian.encode()
    return data[:start].replace(deflated, plain.ljust(len(deflated), b"\0"), 1) + body
