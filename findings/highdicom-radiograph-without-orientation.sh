#!/usr/bin/env bash
# highdicom 0.28.2 describes the images that MeasurementReport(referenced_images=...) names, and takes it for granted that
# a radiograph says how it lies and how large its pixels are. A CR image need not: PatientOrientation is of type 2C there,
# which may be empty, and ImagerPixelSpacing may be left out. The report then fails by a TypeError or an AttributeError
# that names no image. Without referenced_images, which the template (TID 1500) does not require, it is made.
#
# Seen: "as it is: made", "PatientOrientation empty: TypeError", "no ImagerPixelSpacing: AttributeError"; dciodvfy finds no
# error in any of the three films. Needs dciodvfy, of Debian's package dicom3tools.
set -euo pipefail
command -v dciodvfy >/dev/null || { echo "needs dciodvfy: apt-get install dicom3tools" >&2; exit 1; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet highdicom==0.28.2 pydicom==3.0.2 numpy==2.4.6 pillow==12.3.0
cd "$folder" && venv/bin/python - <<'PYTHON'
import copy
import subprocess

from highdicom import sr
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian, generate_uid

film = Dataset()
film.SOPClassUID, film.SOPInstanceUID = ComputedRadiographyImageStorage, generate_uid()
film.StudyInstanceUID, film.SeriesInstanceUID = generate_uid(), generate_uid()
film.PatientName, film.PatientID, film.PatientBirthDate, film.PatientSex = "No^Body", "1", "", ""
film.StudyDate, film.StudyTime, film.StudyID, film.AccessionNumber = "20260101", "120000", "1", ""
film.ReferringPhysicianName, film.Manufacturer, film.Modality = "", "", "CR"
film.SeriesNumber, film.InstanceNumber, film.BodyPartExamined, film.ViewPosition = 1, 1, "CHEST", "PA"
film.PatientOrientation, film.ImagerPixelSpacing = ["L", "F"], [0.2, 0.2]
film.Rows, film.Columns, film.SamplesPerPixel, film.PhotometricInterpretation = 64, 64, 1, "MONOCHROME2"
film.BitsAllocated, film.BitsStored, film.HighBit, film.PixelRepresentation = 16, 12, 11, 0
film.PixelData = bytes(2 * 64 * 64)
film.file_meta = FileMetaDataset()
film.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
unsaid, unmeasured = copy.deepcopy(film), copy.deepcopy(film)
unsaid.PatientOrientation = None
del unmeasured.ImagerPixelSpacing


def report(image: Dataset, **referenced: list[Dataset]) -> str:
    """Whether a report about the image is made, or what was raised."""
    group = sr.MeasurementsAndQualitativeEvaluations(
        sr.TrackingIdentifier(generate_uid(), "nodule"),
        finding_type=codes.SCT.Nodule,
        source_images=[sr.SourceImageForMeasurementGroup.from_source_image(image)],
    )
    device = sr.ObserverContext(codes.DCM.Device, sr.DeviceObserverIdentifyingAttributes(generate_uid()))
    x_ray = Code("399208008", "SCT", "Plain chest X-ray")
    try:
        sr.MeasurementReport(sr.ObservationContext(device), x_ray, imaging_measurements=[group], **referenced)
    except (AttributeError, TypeError) as error:
        return type(error).__name__
    return "made"


found = {}
for name, image in (("as it is", film), ("PatientOrientation empty", unsaid), ("no ImagerPixelSpacing", unmeasured)):
    image.save_as("film.dcm", enforce_file_format=True)
    told = subprocess.run(["dciodvfy", "film.dcm"], capture_output=True, text=True, check=False).stderr
    assert "CRImage" in told and "Error" not in told, told
    found[name] = report(image, referenced_images=[image])
    print(f"{name}: {found[name]}")
    assert report(image) == "made"
assert list(found.values()) == ["made", "TypeError", "AttributeError"]
PYTHON
echo "as described"
