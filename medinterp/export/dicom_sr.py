"""The report as a DICOM Structured Report: TID 1500, Measurement Report (PS3.16), its findings tied to the film."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import medinterp
from medinterp.export.dicom_codes import CHEST, SIDES, STATUSES, VERDICTS, finding_code, private
from medinterp.export.dicom_common import (
    MANUFACTURER,
    SERIES_NUMBERS,
    described,
    equipment,
    file_of,
    maps_key,
    only_frame,
    quoting_nothing,
    report_key,
    settle,
    source_of,
    uid,
)
from medinterp.export.dicom_seg import RegionObject, found_regions, region_facts, region_object
from medinterp.export.facts import ExportFacts
from medinterp.export.naming import finding_title, tokens_of
from medinterp.export.regions import Threshold
from medinterp.imaging.dicom_source import UTF_8
from medinterp.types import Explanation, Finding, MapPack

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

KIND = "Structured Report"


def structured_report(
    explanation: Explanation, method: str | None, threshold: Threshold, without_sinks: bool, made: datetime
) -> bytes:
    """The report as a DICOM file: a group for each finding with status, side and, where it was judged, the verdict.

    An affirmed finding's group refers to its segment in what `segmentation` makes of the same. The text stands as
    narrative; the observer is a device. Complete, preliminary, not verified: nobody signed it. Raises as
    `segmentation`, but for a report of which no region can be shown: its groups then refer to the film.
    """
    with quoting_nothing(KIND):
        source_of(explanation, KIND)
        pack, found = found_regions(explanation, method, threshold, without_sinks)
        shown = region_object(explanation, pack, found, threshold, without_sinks, made) if found else None
        facts = region_facts(explanation, pack, threshold, without_sinks)
        return file_of(_document(explanation, pack, shown, facts, made))


def _document(
    explanation: Explanation, pack: MapPack, shown: RegionObject | None, facts: ExportFacts, made: datetime
) -> Dataset:
    from highdicom.sr import ComprehensiveSR, MeasurementReport, TextContentItem
    from pydicom.sr.coding import Code

    _, header = source_of(explanation, KIND)
    named = (report_key(explanation), maps_key(pack), facts.text(), repr(explanation.verdicts), made.isoformat())
    key = "\0".join(named)
    groups = [_group(explanation, finding, pack, shown, header, key) for finding in explanation.report.findings]
    content = MeasurementReport(
        observation_context=_observer(),
        procedure_reported=Code("399208008", "SCT", "Plain chest X-ray"),
        imaging_measurements=groups or [_nothing(header, key)],
        title=Code("126000", "DCM", "Imaging Measurement Report"),
        referenced_images=[header] if _described_whole(header) else None,
    )
    told = {"111412": ("Narrative Summary", explanation.report.text), "121106": ("Comment", facts.text())}
    content[0].ContentSequence.extend(
        TextContentItem(Code(value, "DCM", meaning), text, "CONTAINS")
        for value, (meaning, text) in told.items()
        if text
    )
    dataset = ComprehensiveSR(
        evidence=[header, *(() if shown is None else (shown.dataset,))],
        content=content,
        series_instance_uid=uid(report_key(explanation), "reports"),
        series_number=SERIES_NUMBERS["report"],
        sop_instance_uid=uid(key, "structured report"),
        instance_number=1,
        manufacturer=MANUFACTURER,
        is_complete=explanation.report.complete,
        contributing_equipment=[equipment(facts, made)],
        specific_character_set=UTF_8,
    )
    only_frame(dataset.ContentSequence, header.SOPInstanceUID)
    described(dataset, "Report with relevancy")
    settle(dataset, made, key)
    return dataset


def _nothing(header: Dataset, key: str) -> Any:
    """The one group of a report in which no finding was read: the template wants one at least."""
    from highdicom.sr import (
        MeasurementsAndQualitativeEvaluations,
        SourceImageForMeasurementGroup,
        TrackingIdentifier,
    )

    told = "No finding was read in the report"
    return MeasurementsAndQualitativeEvaluations(
        TrackingIdentifier(uid=uid(key, "no finding"), identifier=told),
        finding_type=private(told),
        source_images=[SourceImageForMeasurementGroup.from_source_image(header)],
    )


def _described_whole(header: Dataset) -> bool:
    """Whether the image library can describe the film: highdicom 0.28 fails over a radiograph without either of these.

    The library is optional (TID 1500, row 6); without it the groups and the evidence refer to the film.
    """
    return all(len(header.get(keyword) or ()) == 2 for keyword in ("PatientOrientation", "ImagerPixelSpacing"))


def _observer() -> Any:
    from highdicom.sr import CodedConcept, DeviceObserverIdentifyingAttributes, ObservationContext, ObserverContext

    device = DeviceObserverIdentifyingAttributes(
        uid=uid("device", medinterp.__version__),
        name=MANUFACTURER,
        manufacturer_name=MANUFACTURER,
        model_name=f"{MANUFACTURER} {medinterp.__version__}",
    )
    return ObservationContext(observer_device_context=ObserverContext(CodedConcept("121007", "DCM", "Device"), device))


def _group(
    explanation: Explanation,
    finding: Finding,
    pack: MapPack,
    shown: RegionObject | None,
    header: Dataset,
    key: str,
) -> Any:
    """The measurement group of one finding: TID 1410 with its segment, TID 1501 without one."""
    from highdicom.sr import (
        AlgorithmIdentification,
        FindingSite,
        MeasurementsAndQualitativeEvaluations,
        PlanarROIMeasurementsAndQualitativeEvaluations,
        ReferencedSegmentationFrame,
        SourceImageForMeasurementGroup,
        TrackingIdentifier,
    )

    numbers = {} if shown is None else {region.finding.index: k for k, region in enumerate(shown.regions, start=1)}
    number = numbers.get(finding.index)
    common: dict[str, Any] = {
        "finding_type": finding_code(finding),
        "algorithm_id": AlgorithmIdentification(
            name=f"{MANUFACTURER} {pack.method}",
            version=medinterp.__version__,
            parameters=[f"{name}={value}" for name, value in sorted(pack.options.items())] or None,
        ),
        "finding_sites": [FindingSite(CHEST, laterality=SIDES.get(finding.side or ""))],
        "qualitative_evaluations": _evaluations(explanation, finding, pack),
    }
    title = finding_title(finding)
    if shown is None or number is None:
        return MeasurementsAndQualitativeEvaluations(
            TrackingIdentifier(uid=uid(key, "finding", str(finding.index)), identifier=title),
            source_images=[SourceImageForMeasurementGroup.from_source_image(header)],
            **common,
        )
    segment = shown.dataset.SegmentSequence[number - 1]
    return PlanarROIMeasurementsAndQualitativeEvaluations(
        TrackingIdentifier(uid=segment.TrackingUID, identifier=title),
        referenced_segment=ReferencedSegmentationFrame.from_segmentation(shown.dataset, segment_number=number),
        **common,
    )


def _evaluations(explanation: Explanation, finding: Finding, pack: MapPack) -> list[Any]:
    from highdicom.sr import QualitativeEvaluation

    told = [QualitativeEvaluation(private("Status of the finding"), STATUSES[finding.status])]
    if finding.change is not None:
        told.append(QualitativeEvaluation(private("Change since the earlier film"), private(finding.change)))
    tokens = tokens_of(explanation.report, finding)
    for verdict in explanation.verdicts:
        if verdict.token_indices == tokens and verdict.image == 0 and verdict.method == pack.method:
            name = private("Is the map of these words true")
            told.append(QualitativeEvaluation(name, private(VERDICTS[verdict.verdict])))
    return told
