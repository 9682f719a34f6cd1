"""The regions that drove the affirmed findings as a DICOM Segmentation, on the pixels of the film's own file."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np

import medinterp
from medinterp.errors import ExportError
from medinterp.export.dicom_codes import finding_category, finding_code
from medinterp.export.dicom_common import (
    MANUFACTURER,
    SERIES_NUMBERS,
    described,
    equipment,
    file_of,
    maps_key,
    quoting_nothing,
    report_key,
    settle,
    source_of,
    uid,
)
from medinterp.export.facts import ExportFacts, export_facts
from medinterp.export.naming import finding_title
from medinterp.export.regions import Region, Threshold, regions
from medinterp.imaging.dicom_source import UTF_8
from medinterp.types import Explanation, MapPack

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

KIND = "Segmentation"
NO_OUTLINE = "Where the map of these words is high; not an outline of the finding."


@dataclass(frozen=True, eq=False)
class RegionObject:
    """A Segmentation, and what its segments (from 1 on) are of."""

    dataset: Dataset
    regions: tuple[Region, ...]


def segmentation(
    explanation: Explanation, method: str | None, threshold: Threshold, without_sinks: bool, made: datetime
) -> bytes:
    """One segment for each finding that the report affirms, as a DICOM file; made: its date and time.

    Findings whose map nowhere reaches the threshold have none. Raises ExportError for a film that came as no DICOM, for
    a header that lacks what is needed, and where no finding has a region; SelectionError for an unknown method.
    """
    with quoting_nothing(KIND):
        pack, found = found_regions(explanation, method, threshold, without_sinks)
        if not found:
            raise ExportError(
                f"no finding that this report affirms has a region by {pack.method} at this threshold: there is "
                "nothing to segment"
            )
        return file_of(region_object(explanation, pack, found, threshold, without_sinks, made).dataset)


def found_regions(
    explanation: Explanation, method: str | None, threshold: Threshold, without_sinks: bool
) -> tuple[MapPack, tuple[Region, ...]]:
    """The maps and the regions that are not empty. Raises as `segmentation`, but for there being none."""
    source, _ = source_of(explanation, KIND)
    pack, every = regions(explanation, source, method, threshold, without_sinks=without_sinks)
    return pack, tuple(region for region in every if region.mask.any())


def region_facts(explanation: Explanation, pack: MapPack, threshold: Threshold, without_sinks: bool) -> ExportFacts:
    """The record of a Segmentation, and of a report about it."""
    sinks = ", sink cells left out" if without_sinks else ""
    return export_facts(explanation, [pack], scale=f"threshold: {threshold.title}{sinks}")


def region_object(
    explanation: Explanation,
    pack: MapPack,
    found: tuple[Region, ...],
    threshold: Threshold,
    without_sinks: bool,
    made: datetime,
) -> RegionObject:
    """The Segmentation of at least one region; its UIDs are those of the same report, maps and time."""
    from highdicom.seg import Segmentation
    from pydicom.uid import ExplicitVRLittleEndian

    _, header = source_of(explanation, KIND)
    facts = region_facts(explanation, pack, threshold, without_sinks)
    key = "\0".join((report_key(explanation), maps_key(pack), facts.text(), made.isoformat()))
    dataset = Segmentation(
        source_images=[_one_frame(header)],
        pixel_array=np.stack([region.mask for region in found], axis=-1)[None],
        segmentation_type="BINARY",
        segment_descriptions=[_segment(number, region, pack, key) for number, region in enumerate(found, start=1)],
        series_instance_uid=uid(report_key(explanation), "regions"),
        series_number=SERIES_NUMBERS["regions"],
        sop_instance_uid=uid(key, "segmentation"),
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=MANUFACTURER,
        software_versions=medinterp.__version__,
        device_serial_number="none",
        content_label="RELEVANCY",
        content_description=f"Regions by {pack.method}; research use only"[:64],
        transfer_syntax_uid=ExplicitVRLittleEndian,
        contributing_equipment=[equipment(facts, made)],
        specific_character_set=UTF_8,
    )
    for segment, region in zip(dataset.SegmentSequence, found, strict=True):
        segment.SegmentDescription = f"{NO_OUTLINE} Threshold: {threshold.title}, {region.level:.6g}."
    # Required of an image whose planes have no place in the patient; highdicom leaves it out.
    dataset.PatientOrientation = header.get("PatientOrientation")
    if (aspect := _aspect(header)) is not None:
        dataset.PixelAspectRatio = aspect
    described(dataset, "Relevancy regions")
    dataset.ImageComments = facts.text()
    settle(dataset, made, key)
    return RegionObject(dataset, found)


def tracking_uid(key: str, number: int) -> str:
    """Of a region, the same in the Segmentation and in the report about it."""
    return uid(key, "region", str(number))


def _one_frame(header: Dataset) -> Dataset:
    """highdicom asks a source image for its transfer syntax and its frames."""
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return header


def _segment(number: int, region: Region, pack: MapPack, key: str) -> Any:
    from highdicom import AlgorithmIdentificationSequence
    from highdicom.seg import SegmentDescription
    from pydicom.sr.coding import Code

    options = {name: str(value) for name, value in pack.options.items()}
    algorithm = AlgorithmIdentificationSequence(
        name=f"{MANUFACTURER} {pack.method}"[:64],
        family=Code("123110", "DCM", "Artificial Intelligence"),
        version=medinterp.__version__,
        source=MANUFACTURER,
        parameters={"threshold": f"{region.level:.6g}", **options},
    )
    title = finding_title(region.finding)
    return SegmentDescription(
        segment_number=number,
        segment_label=title[:64],
        segmented_property_category=finding_category(region.finding),
        segmented_property_type=finding_code(region.finding),
        algorithm_type="AUTOMATIC",
        algorithm_identification=algorithm,
        tracking_uid=tracking_uid(key, number),
        tracking_id=title,
    )


def _aspect(header: Dataset) -> list[int] | None:
    """Height over width of the source's pixels as whole numbers, where they are not square."""
    for keyword in ("PixelAspectRatio", "PixelSpacing", "ImagerPixelSpacing"):
        numbers = [float(number) for number in header.get(keyword) or ()]
        if len(numbers) == 2 and min(numbers) > 0:
            return None if numbers[0] == numbers[1] else [round(1000 * number / min(numbers)) for number in numbers]
    return None
