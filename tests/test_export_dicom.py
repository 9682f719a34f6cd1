"""Secondary Capture, Segmentation and Structured Report: read back, validated, and on the pixels of their source."""

from __future__ import annotations

import io
import subprocess
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from medinterp.errors import ExportError, SelectionError
from medinterp.export.dicom_codes import CHEST, PRIVATE, SIDES, STATUSES, finding_code, private
from medinterp.export.dicom_sc import burned_in
from medinterp.export.facts import DISCLAIMER
from medinterp.export.files import FileTask, make_file
from medinterp.export.formats import ExportFormat
from medinterp.export.regions import Threshold, parse_threshold, regions
from medinterp.export.view import chosen_words, map_view
from medinterp.imaging.orientation import PATIENT_ORIENTATION
from medinterp.render import RenderOptions
from medinterp.types import Explanation, Finding, Float32Array
from tests.api_films import PATIENT
from tests.api_samples import sample_explanation
from tests.export_samples import MADE, dicom_explained, dicom_film
from tests.programs import program
from tests.report_samples import all_kinds_explained

FINDING = all_kinds_explained().report.findings[1]
CR = "1.2.840.10008.5.1.4.1.1.1"


def written(explanation: Explanation, form: ExportFormat, **task: Any) -> bytes:
    if form == "dicom-sc":
        task.setdefault("selection", explanation.report.findings[1])
    return make_file(explanation, FileTask(form, **task), MADE)


def read(data: bytes) -> Dataset:
    return pydicom.dcmread(io.BytesIO(data))


def items(dataset: Dataset) -> Iterator[Dataset]:
    """Every content item of a structured report."""
    for item in dataset.get("ContentSequence", ()):
        yield item
        yield from items(item)


@pytest.mark.parametrize("form", ["dicom-sc", "dicom-seg", "dicom-sr"])
@pytest.mark.parametrize(
    "elements",
    [
        {},
        {"SOPClassUID": CR, "Modality": "CR"},
        {"FrameOfReferenceUID": "1.2.3.4", "PatientOrientation": ["F", "R"]},
        {"ImagerPixelSpacing": ["0.2", "0.1"], "PatientOrientation": None},
        {"SpecificCharacterSet": "ISO_IR 100", "PatientName": "Zzyzx^Müller", "LossyImageCompression": "01",
         "LossyImageCompressionRatio": "8.5", "LossyImageCompressionMethod": "ISO_10918_1"},
    ],
    ids=["plain", "cr", "frame of reference, lying", "not square, unknown", "latin, lossy"],
)  # fmt: skip
def test_dciodvfy_finds_no_error(tmp_path: Path, form: ExportFormat, elements: dict[str, Any]) -> None:
    """David Clunie's validator; all it may warn of is that a coding scheme is private."""
    path = tmp_path / "object.dcm"
    path.write_bytes(written(dicom_explained(**elements), form))
    told = subprocess.run([program("dciodvfy", "dicom3tools"), path], capture_output=True, text=True, check=False)
    said = [line for line in (told.stdout + told.stderr).splitlines() if f"<{PRIVATE}>" not in line]
    assert said == [{"dicom-sc": "SCImage", "dicom-seg": "Segmentation", "dicom-sr": "ComprehensiveSR"}[form]]


def test_a_capture_of_no_dicom_is_valid_and_of_nobody(tmp_path: Path) -> None:
    data = written(all_kinds_explained(), "dicom-sc")
    (tmp_path / "object.dcm").write_bytes(data)
    command = [program("dciodvfy", "dicom3tools"), tmp_path / "object.dcm"]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (told.stdout + told.stderr).split() == ["SCImage"]
    dataset = read(data)
    assert str(dataset.PatientName) == "" and dataset.PatientID == "ANON-" + "ab" * 6
    assert dataset.PatientBirthDate is None or dataset.PatientBirthDate == ""
    assert dataset.StudyInstanceUID.startswith("2.25.") and dataset.StudyDate == "20260504"


@pytest.mark.parametrize("form", ["dicom-sc", "dicom-seg", "dicom-sr"])
def test_the_object_lies_with_its_film(form: ExportFormat) -> None:
    explanation = dicom_explained()
    source = read_source(explanation)
    dataset = read(written(explanation, form))
    assert dataset.PatientName == PATIENT and dataset.PatientID == "Zzyzx-1"
    assert dataset.StudyInstanceUID == source.StudyInstanceUID
    assert dataset.SeriesInstanceUID != source.SeriesInstanceUID
    assert dataset.ContributingEquipmentSequence[0].ContributionDescription.startswith(f"disclaimer: {DISCLAIMER}")
    assert written(explanation, form) == written(explanation, form), "the same bytes for the same report and time"
    other = replace(explanation, report=replace(explanation.report, text=explanation.report.text + " "))
    assert read(written(other, form)).SOPInstanceUID != dataset.SOPInstanceUID


def read_source(explanation: Explanation) -> Dataset:
    from medinterp.imaging.dicom_source import header_of

    assert explanation.film.source is not None
    return header_of(explanation.film.source)


def test_the_capture_shows_the_overlay_and_below_it_the_disclaimer() -> None:
    explanation = dicom_explained()
    dataset = read(written(explanation, "dicom-sc", options=RenderOptions(size=400)))
    view = map_view(explanation, chosen_words(explanation.report, FINDING).tokens, options=RenderOptions(size=400))
    overlay = view.picture()
    pixels = dataset.pixel_array
    np.testing.assert_array_equal(pixels[: len(overlay)], overlay)
    band = pixels[len(overlay) :]
    assert band.shape[0] > 20 and (band.max(axis=(0, 2)) > 200).mean() > 0.2, "white letters on the band"
    assert dataset.SourceImageSequence[0].ReferencedSOPInstanceUID == read_source(explanation).SOPInstanceUID
    assert dataset.PatientOrientation == ["L", "F"]
    other = burned_in(overlay, ("RESEARCH USE ONLY, NOT FOR DIAGNOSIS.",))
    assert other.shape[0] < pixels.shape[0], "three lines are burned in"
    unknown = read(written(dicom_explained(PatientOrientation=None), "dicom-sc"))
    assert not unknown.PatientOrientation


def one_hot(explanation: Explanation, cell: tuple[int, int]) -> Explanation:
    """Every token's map is one cell."""
    pack = explanation.packs["raw"]
    values: Float32Array = np.zeros_like(pack.values)
    values[:, cell[0], cell[1]] = 1.0
    return replace(explanation, packs={"raw": replace(pack, values=values)})


@pytest.mark.parametrize("shape", [(160, 80), (80, 160)], ids=["tall", "wide"])
@pytest.mark.parametrize("spacing", [["1", "1"], ["2", "1"], ["0.1", "0.15"]], ids=["square", "high", "broad"])
@pytest.mark.parametrize("orientation", PATIENT_ORIENTATION)
def test_a_segment_lies_where_the_cell_is_in_the_source(
    shape: tuple[int, int], spacing: list[str], orientation: str
) -> None:
    """A bright cell is put into the stored pixels and looked for on the film; its map's segment covers it again."""
    rows, columns = shape
    stored = np.random.default_rng(1).integers(2000, 6000, shape).astype(np.uint16)
    stored[rows // 4 : rows // 2, columns // 2 : 3 * columns // 4] = 60000  # row 1, column 2 of four
    film = dicom_film(stored, ImagerPixelSpacing=spacing, PatientOrientation=list(orientation))
    cells = np.array([[part.mean() for part in np.array_split(row, 4, 1)] for row in np.array_split(film.pixels, 4)])
    place = np.unravel_index(cells.argmax(), cells.shape)
    explanation = one_hot(replace(all_kinds_explained(), film=film), (int(place[0]), int(place[1])))
    dataset = read(written(explanation, "dicom-seg", threshold=Threshold("share", 0.5)))
    assert (dataset.Rows, dataset.Columns) == shape and dataset.NumberOfFrames == 2
    for mask in dataset.pixel_array.astype(bool):
        assert mask.any() and (stored[mask] == 60000).all(), "nothing beyond the cell"
        middle = np.argwhere(mask).mean(axis=0)
        np.testing.assert_allclose(middle, [3 * rows / 8 - 0.5, 5 * columns / 8 - 0.5], atol=0.51)
        assert mask.sum() > 0.5 * (rows // 4) * (columns // 4)
    assert ("PixelAspectRatio" in dataset) == (spacing[0] != spacing[1])


def test_segments_are_the_affirmed_findings_by_their_codes() -> None:
    explanation = dicom_explained()
    dataset = read(written(explanation, "dicom-seg"))
    present = [finding for finding in explanation.report.findings if finding.present]
    assert [one.SegmentLabel for one in dataset.SegmentSequence] == [
        "consolidation, right mid and lower",
        "pleural effusion, right (larger)",
    ]
    for segment, finding in zip(dataset.SegmentSequence, present, strict=True):
        code = segment.SegmentedPropertyTypeCodeSequence[0]
        assert (code.CodeValue, code.CodingSchemeDesignator) == finding_code(finding)[:2]
        algorithm = segment.SegmentationAlgorithmIdentificationSequence[0]
        assert algorithm.AlgorithmName == "medinterp raw" and algorithm.AlgorithmVersion == "0.1.0"
        assert "Otsu" in segment.SegmentDescription and "not an outline" in segment.SegmentDescription
    assert read(written(explanation, "dicom-seg", threshold=Threshold("share", 0.5))).SOPInstanceUID != (
        dataset.SOPInstanceUID
    )


def test_a_region_is_what_lies_above_the_threshold() -> None:
    explanation = one_hot(dicom_explained(), (1, 2))
    source = explanation.film.source
    assert source is not None
    for threshold in (Threshold(), Threshold("share", 0.25)):
        _, found = regions(explanation, source, None, threshold)
        for region in found:
            assert region.mask.any() and not region.mask.all()
    assert found[0].level == 0.25
    flat = explanation.packs["raw"]
    empty = replace(explanation, packs={"raw": replace(flat, values=np.full_like(flat.values, 0.5))})
    assert not any(region.mask.any() for region in regions(empty, source)[1]), "nothing stands out of a flat map"
    with pytest.raises(ExportError, match="nothing to segment"):
        written(empty, "dicom-seg")
    report = read(written(empty, "dicom-sr"))
    references = [one for item in items(report) for one in item.get("ReferencedSOPSequence", ())]
    assert references and not any("ReferencedSegmentNumber" in one for one in references)
    negative = replace(flat, values=-np.ones_like(flat.values) + explanation.packs["raw"].values, signed=True)
    assert not any(region.mask.any() for region in regions(replace(empty, packs={"raw": negative}), source)[1])


@pytest.mark.parametrize("text", ["", "half", "0", "1.5", "-1", "nan"])
def test_thresholds_that_are_none(text: str) -> None:
    assert parse_threshold("Otsu") == Threshold() and parse_threshold("0.5") == Threshold("share", 0.5)
    with pytest.raises(SelectionError, match="otsu, or a share"):
        parse_threshold(text)


def groups(dataset: Dataset) -> list[dict[str, Any]]:
    """What each measurement group says, by the meaning of its names."""
    found = []
    for item in items(dataset):
        if item.get("ConceptNameCodeSequence") and item.ConceptNameCodeSequence[0].CodeValue == "125007":
            told: dict[str, Any] = {}
            for one in items(item):
                name = one.ConceptNameCodeSequence[0].CodeMeaning if "ConceptNameCodeSequence" in one else ""
                if "ConceptCodeSequence" in one:
                    told[name] = one.ConceptCodeSequence[0]
                elif "TextValue" in one:
                    told[name] = one.TextValue
                for reference in one.get("ReferencedSOPSequence", ()):
                    told.setdefault("references", []).append(reference)
            found.append(told)
    return found


def test_the_report_says_every_finding_with_status_side_verdict_and_region() -> None:
    explanation = dicom_explained()
    dataset = read(written(explanation, "dicom-sr"))
    segmentation = read(written(explanation, "dicom-seg"))
    source = read_source(explanation)
    assert (dataset.VerificationFlag, dataset.PreliminaryFlag) == ("UNVERIFIED", "PRELIMINARY")
    assert dataset.ContentTemplateSequence[0].TemplateIdentifier == "1500"
    told = groups(dataset)
    assert len(told) == len(explanation.report.findings)
    for one, finding in zip(told, explanation.report.findings, strict=True):
        assert one["Finding"].CodeValue == finding_code(finding).value
        assert one["Finding Site"].CodeValue == CHEST.value
        assert one["Status of the finding"].CodeValue == STATUSES[finding.status].value
        assert ("Laterality" in one) == (finding.side is not None)
        if finding.side is not None:
            assert one["Laterality"].CodeValue == SIDES[finding.side].value
        segments = [reference for reference in one["references"] if "ReferencedSegmentNumber" in reference]
        assert bool(segments) == finding.present
        assert source.SOPInstanceUID in {reference.ReferencedSOPInstanceUID for reference in one["references"]}
        for reference in segments:
            assert reference.ReferencedSOPInstanceUID == segmentation.SOPInstanceUID
            number = reference.ReferencedSegmentNumber
            assert segmentation.SegmentSequence[number - 1].SegmentLabel.startswith(finding.name)
    judged = [one.get("Is the map of these words true") for one in told]
    assert [k for k, one in enumerate(judged) if one is not None] == [1]
    assert judged[1].CodeMeaning == "Driven by the region that the map shows"
    texts = [item.TextValue for item in items(dataset) if "TextValue" in item]
    assert explanation.report.text in texts
    assert any(item.get("TextValue") == "medinterp" for item in items(dataset)), "the observer is a device"
    assert not any("PersonName" in item for item in items(dataset))


def test_a_report_without_findings_is_a_report(tmp_path: Path) -> None:
    explanation = dicom_explained(ImagerPixelSpacing=None)
    explanation = replace(explanation, report=replace(explanation.report, findings=()))
    (tmp_path / "object.dcm").write_bytes(written(explanation, "dicom-sr"))
    command = [program("dciodvfy", "dicom3tools"), tmp_path / "object.dcm"]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    said = [line for line in (told.stdout + told.stderr).splitlines() if f"<{PRIVATE}>" not in line]
    assert said == ["ComprehensiveSR"]
    (group,) = groups(read((tmp_path / "object.dcm").read_bytes()))
    assert group["Finding"].CodeMeaning == "No finding was read in the report"


@pytest.mark.parametrize("form", ["dicom-seg", "dicom-sr"])
def test_a_film_that_came_as_no_dicom_is_refused_by_name_of_what_is_missing(form: ExportFormat) -> None:
    with pytest.raises(ExportError, match=r"came as image/png: it has no SOP Instance, Study and Series Instance UID"):
        written(sample_explanation(), form)
    with pytest.raises(ExportError, match="lacks: StudyInstanceUID"):
        written(dicom_explained(StudyInstanceUID=None), form)


@pytest.mark.parametrize("form", ["dicom-sc", "dicom-seg", "dicom-sr"])
def test_a_broken_header_is_not_quoted(
    form: ExportFormat, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither by an error nor by what libraries warn of and log."""
    caplog.set_level(0)
    explanation = dicom_explained()
    assert explanation.film.source is not None
    wrong = replace(explanation.film.source, header=explanation.film.source.header.replace(b"20260101", b"Zzyzx-99"))
    explanation = replace(explanation, film=replace(explanation.film, source=wrong))
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        with pytest.raises(ExportError, match="something in it is not as the standard says") as error:
            written(explanation, form)
    said = caplog.text + str(error.value) + "".join(str(one.message) for one in warned) + "".join(capsys.readouterr())
    assert "Zzyzx" not in said


def test_codes() -> None:
    """SNOMED CT first, RadLex next, else ours, always short enough for a code value."""
    made = Finding(0, "x", "present", None, (), 0, 0, ())
    assert finding_code(replace(made, name="pleural effusion"))[:2] == ("60046008", "SCT")
    assert finding_code(replace(made, name="no such thing at all")).scheme_designator == PRIVATE
    assert len(private("a name that is longer than sixteen characters").value) <= 16
    assert private("a").value != private("b").value
