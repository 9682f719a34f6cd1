"""What of a DICOM's header is carried with its film, so that objects about the picture can be made of it."""

from __future__ import annotations

import io
import re
from typing import Any

from pydicom.charset import decode_element
from pydicom.config import RAISE
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_dataset
from pydicom.multival import MultiValue

from medinterp.errors import UnreadableFilmError
from medinterp.imaging.broken import broken_is_unreadable
from medinterp.types import DicomSource

PATIENT = (
    "PatientName PatientID IssuerOfPatientID PatientBirthDate PatientSex PatientAge PatientIdentityRemoved "
    "DeidentificationMethod"
).split()
STUDY = "StudyInstanceUID StudyDate StudyTime ReferringPhysicianName StudyID AccessionNumber StudyDescription".split()
PICTURE = (
    "SOPClassUID SOPInstanceUID SeriesInstanceUID FrameOfReferenceUID PositionReferenceIndicator Modality "
    "BodyPartExamined ViewPosition Laterality ImageLaterality PatientOrientation Rows Columns PixelSpacing "
    "ImagerPixelSpacing PixelAspectRatio LossyImageCompression LossyImageCompressionRatio LossyImageCompressionMethod"
).split()
SOURCE_KEYWORDS = ("SpecificCharacterSet", *PATIENT, *STUDY, *PICTURE)
EMPTY_ALLOWED = frozenset(
    "PatientName PatientID PatientBirthDate PatientSex StudyDate StudyTime ReferringPhysicianName StudyID "
    "AccessionNumber".split()
)
"""Type 2: there, if only without a value."""
FREE_TEXT = ("PN", "LO", "SH")
MAX_TEXT = 256
"""Characters of a name or an identifier; the standard allows 64, and hospitals write more."""
MAX_VALUES = 3
"""Of one element: an orientation or a spacing has two, a film compressed in turns some more."""
UTF_8 = "ISO_IR 192"
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def source_of(dataset: Dataset, rows: int, columns: int, orientation: int) -> DicomSource:
    """Take along what is well written of the header; orientation as in `upright`, rows and columns as stored.

    Elements that are absent or broken are left out: whoever needs one says so. Nothing here fails a film.
    """
    kept = Dataset()
    kept.SpecificCharacterSet = UTF_8
    for keyword in (*PATIENT, *STUDY, *PICTURE):
        value = _value(dataset, keyword)
        if value is not None or keyword in EMPTY_ALLOWED:
            kept.add(DataElement(keyword, dictionary_VR(keyword), value))
    kept.Rows, kept.Columns = rows, columns
    file = DicomBytesIO()
    file.is_little_endian, file.is_implicit_VR = True, False
    with broken_is_unreadable("DICOM"):
        write_dataset(file, kept)
    return DicomSource(file.getvalue(), rows, columns, orientation)


def _value(dataset: Dataset, keyword: str) -> Any:
    """The element's value, text decoded; None where it is absent, empty or not written as its kind is."""
    vr = dictionary_VR(keyword)
    try:
        with broken_is_unreadable("DICOM"):
            if keyword not in dataset:
                return None
            element = dataset[keyword]
            decode_element(element, dataset.get("SpecificCharacterSet", "ISO_IR 6"))
            value = element.value
            several = isinstance(value, MultiValue | list | tuple)
            values = [_plain(one) for one in (value if several else [value])]
            if values in ([""], [None], []) or len(values) > MAX_VALUES:
                return None
            if vr in FREE_TEXT:
                good = all(isinstance(one, str) and len(one) <= MAX_TEXT and not _CONTROL.search(one) for one in values)
                return values[0] if good and len(values) == 1 else None
            return DataElement(keyword, vr, values if several else values[0], validation_mode=RAISE).value
    except UnreadableFilmError:
        return None


def _plain(value: Any) -> Any:
    """pydicom's own kinds of text and numbers as Python's; a number keeps the digits that it was written with."""
    if value is None or (isinstance(value, int) and not hasattr(value, "original_string")):
        return value
    return str(value).strip(" \0")


def header_of(source: DicomSource) -> Dataset:
    """The data set that a source carries. Raises UnreadableFilmError for bytes that are none."""
    with broken_is_unreadable("DICOM"):
        header = read_dataset(io.BytesIO(source.header), is_implicit_VR=False, is_little_endian=True)
        header.decode()
    return header
