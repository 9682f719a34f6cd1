"""What the DICOM objects have in common: the source's header, UIDs, times, equipment, and the file's bytes."""

from __future__ import annotations

import hashlib
import io
import logging
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

import medinterp
from medinterp.errors import ExportError, UnreadableFilmError
from medinterp.export.dicom_codes import PRIVATE
from medinterp.export.facts import ExportFacts
from medinterp.imaging.broken import broken_is_unreadable
from medinterp.imaging.dicom_source import header_of
from medinterp.types import DicomSource, Explanation, MapPack

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

MANUFACTURER = "medinterp"
SERIES_NUMBERS = {"overlay": 9001, "regions": 9002, "report": 9003}
MAX_DESCRIPTION = 1024
"""Characters of a short text (ST)."""
NEEDED = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "Modality")


def source_of(explanation: Explanation, kind: str) -> tuple[DicomSource, Dataset]:
    """What the film's own DICOM said. Raises ExportError naming what is missing; kind: of the object, for the error."""
    film = explanation.film
    if film.source is None:
        if film.media_type == "application/dicom":
            raise ExportError(f"a {kind} refers to the DICOM film, whose header was not kept: read the film again")
        raise ExportError(
            f"a {kind} refers to the film as a DICOM image, and this film came as {film.media_type}: it has no SOP "
            "Instance, Study and Series Instance UID; read the DICOM file itself, or ask for dicom-sc"
        )
    header = header_of(film.source)
    missing = [keyword for keyword in NEEDED if not header.get(keyword)]
    if missing:
        raise ExportError(f"a {kind} needs what this film's DICOM header lacks: {', '.join(missing)}")
    return film.source, header


@contextmanager
def quoting_nothing(kind: str) -> Iterator[None]:
    """Around highdicom: what it raises, warns of or logs may quote the header. Raises ExportError with the class alone.

    Also raises ExportError where highdicom is not installed.
    """
    try:
        import highdicom  # noqa: F401
    except ModuleNotFoundError as error:
        raise ExportError(f"a {kind} is written by highdicom: pip install 'medinterp[dicom]'") from error
    logging.getLogger("highdicom").setLevel(logging.CRITICAL)
    try:
        with broken_is_unreadable("DICOM"):
            try:
                yield
            except (ValueError, TypeError, AttributeError, KeyError, IndexError) as error:
                raise ExportError(
                    f"no {kind} can be made of this film's DICOM header ({type(error).__name__}): something in it is "
                    "not as the standard says"
                ) from None
    except UnreadableFilmError:
        raise ExportError(f"no {kind} can be made of this film's DICOM header: it is broken") from None


def uid(*parts: str) -> str:
    """A UID of the form 2.25.UUID, the same for the same parts (PS3.5, B.2)."""
    return f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, chr(0).join(('medinterp', *parts))).int}"


def report_key(explanation: Explanation) -> str:
    """What the UIDs of a report's objects are made of: film, text and model; other reports have others."""
    provenance = explanation.provenance
    told = (explanation.film.sha256, explanation.report.text, provenance.model_id, provenance.model_revision)
    return hashlib.sha256("\0".join(told).encode()).hexdigest()


def maps_key(pack: MapPack) -> str:
    """The same for a method's maps."""
    told = repr((pack.method, sorted(pack.options.items()), pack.values.shape)).encode()
    return hashlib.sha256(told + pack.values.tobytes()).hexdigest()


def equipment(facts: ExportFacts, made: datetime) -> Any:
    """This tool as contributing equipment, with the record of what was made."""
    from highdicom import ContributingEquipment
    from pydicom.sr.coding import Code

    return ContributingEquipment(
        manufacturer=MANUFACTURER,
        purpose_of_reference=Code("109102", "DCM", "Processing Equipment"),
        manufacturer_model_name=MANUFACTURER,
        software_versions=medinterp.__version__,
        contribution_datetime=made,
        contribution_description=facts.text()[:MAX_DESCRIPTION],
    )


def described(dataset: Dataset, series: str) -> None:
    """Say in the series what this is and what made it, and whose our own codes are, where there are any."""
    from pydicom.dataset import Dataset

    if any(one.keyword == "CodingSchemeDesignator" and one.value == PRIVATE for one in dataset.iterall()):
        scheme = Dataset()
        scheme.CodingSchemeDesignator = PRIVATE
        scheme.CodingSchemeName = "medinterp's own codes, made of their meanings"
        dataset.CodingSchemeIdentificationSequence = [scheme]
    dataset.SeriesDescription = f"{series}, research use only"[:64]
    dataset.SoftwareVersions = medinterp.__version__
    dataset.ManufacturerModelName = MANUFACTURER


def derived_from(dataset: Dataset, header: Dataset, facts: ExportFacts) -> None:
    """Refer to the source image (PS3.3 C.7.6.1.1.3-4) and say what was made of it."""
    from pydicom.dataset import Dataset

    purpose, item = Dataset(), Dataset()
    purpose.CodeValue, purpose.CodingSchemeDesignator = "121322", "DCM"
    purpose.CodeMeaning = "Source image for image processing operation"
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = header.SOPClassUID, header.SOPInstanceUID
    item.PurposeOfReferenceCodeSequence = [purpose]
    dataset.SourceImageSequence = [item]
    dataset.DerivationDescription = facts.text()[:MAX_DESCRIPTION]


def settle(dataset: Dataset, made: datetime, key: str) -> None:
    """Put ours in place of the times that highdicom took from the clock and the UID that it drew: same in, same out."""
    drawn = {str(item.DimensionOrganizationUID) for item in dataset.get("DimensionOrganizationSequence", ())}
    dates = {"InstanceCreationDate", "ContentDate", "SeriesDate", "DateOfSecondaryCapture"}
    times = {"InstanceCreationTime", "ContentTime", "SeriesTime", "TimeOfSecondaryCapture"}
    for element in dataset.iterall():
        if element.keyword == "DimensionOrganizationUID" and str(element.value) in drawn:
            element.value = uid(key, "dimensions")
        elif element.keyword in ("ContributionDateTime", "ObservationDateTime"):
            element.value = made.strftime("%Y%m%d%H%M%S")
        elif element.keyword in dates:
            element.value = made.strftime("%Y%m%d")
        elif element.keyword in times:
            element.value = made.strftime("%H%M%S")


def file_of(dataset: Dataset) -> bytes:
    """The object as a DICOM file."""
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def only_frame(items: Sequence[Dataset], source_uid: str) -> None:
    """Take out frame numbers that highdicom 0.28 writes beside a segment's, and of an image that has one frame.

    PS3.3 C.17.3 and table 10-3 forbid both, and dciodvfy says so.
    """
    for item in items:
        for reference in item.get("ReferencedSOPSequence", ()):
            if "ReferencedSegmentNumber" in reference or reference.ReferencedSOPInstanceUID == source_uid:
                reference.pop("ReferencedFrameNumber", None)
        only_frame(item.get("ContentSequence", ()), source_uid)
