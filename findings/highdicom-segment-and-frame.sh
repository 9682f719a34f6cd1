#!/usr/bin/env bash
# highdicom 0.28.2 ties a finding of a structured report (TID 1410) to a segment by
# ReferencedSegmentationFrame.from_segmentation. What it writes is not valid, and over a film of one frame wrong:
# - the reference to the Segmentation has a ReferencedFrameNumber and a ReferencedSegmentNumber; each is for where the
#   other is not (PS3.3, table 10-3);
# - the reference to the source has the frame number of the segment's mask in the Segmentation, here 2 of a film that has
#   one frame.
#
# Seen: "Segmentation: frame 2, segment 2", "film: frame 2", and two errors by dciodvfy, which has none for the film and
# the Segmentation. Needs dciodvfy, of Debian's package dicom3tools.
set -euo pipefail
command -v dciodvfy >/dev/null || { echo "needs dciodvfy: apt-get install dicom3tools" >&2; exit 1; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet highdicom==0.28.2 pydicom==3.0.2 numpy==2.4.6 pillow==12.3.0
cd "$folder" && venv/bin/python - <<'PYTHON'
import subprocess

import numpy as np
from highdicom import AlgorithmIdentificationSequence, sr
from highdicom.seg import Segmentation, SegmentDescription
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian, generate_uid

CHEST_XRAY = Code("399208008", "SCT", "Plain chest X-ray")
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
film.PixelData = np.arange(64 * 64, dtype="<u2").tobytes()
film.file_meta = FileMetaDataset()
film.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian

masks = np.zeros((1, 64, 64, 2), bool)
masks[0, 8:24, 8:24, 0] = masks[0, 40:56, 40:56, 1] = True
algorithm = AlgorithmIdentificationSequence("any", codes.DCM.ArtificialIntelligence, "1")
segments = [
    SegmentDescription(number, f"region {number}", codes.SCT.MorphologicallyAbnormalStructure, codes.SCT.Nodule,
                       "AUTOMATIC", algorithm, tracking_uid=generate_uid(), tracking_id=f"region {number}")
    for number in (1, 2)
]
common = {"series_instance_uid": generate_uid(), "sop_instance_uid": generate_uid(), "instance_number": 1,
          "manufacturer": "any", "software_versions": "1", "device_serial_number": "1"}
segmentation = Segmentation([film], masks, "BINARY", segments, series_number=2, manufacturer_model_name="any", **common)
segmentation.PatientOrientation = film.PatientOrientation

shown = sr.ReferencedSegmentationFrame.from_segmentation(segmentation, segment_number=2)
group = sr.PlanarROIMeasurementsAndQualitativeEvaluations(
    sr.TrackingIdentifier(generate_uid(), "region 2"), referenced_segment=shown, finding_type=codes.SCT.Nodule
)
device = sr.ObserverContext(codes.DCM.Device, sr.DeviceObserverIdentifyingAttributes(generate_uid()))
content = sr.MeasurementReport(sr.ObservationContext(device), CHEST_XRAY, imaging_measurements=[group])
report = sr.ComprehensiveSR([film, segmentation], content, series_instance_uid=generate_uid(), series_number=3,
                            sop_instance_uid=generate_uid(), instance_number=1, manufacturer="any", is_complete=True)

references = [item.ReferencedSOPSequence[0] for item in shown]
print(f"Segmentation: frame {references[0].ReferencedFrameNumber}, segment {references[0].ReferencedSegmentNumber}")
print(f"film: frame {references[1].ReferencedFrameNumber}")
errors = {}
for name, dataset in (("film", film), ("Segmentation", segmentation), ("report", report)):
    dataset.save_as(f"{name}.dcm", enforce_file_format=True)
    told = subprocess.run(["dciodvfy", f"{name}.dcm"], capture_output=True, text=True, check=False).stderr
    errors[name] = [line for line in told.splitlines() if line.startswith("Error")]
    print(name, *errors[name], sep="\n  ")
assert errors["film"] == errors["Segmentation"] == [] and len(errors["report"]) == 2
assert "Shall not be present when ReferencedFrameNumber is present" in errors["report"][0]
assert "Shall not be present for Referenced SOP Class that is not multi-frame" in errors["report"][1]
assert [references[at].ReferencedFrameNumber for at in (0, 1)] == [2, 2] and references[0].ReferencedSegmentNumber == 2
PYTHON
echo "as described"
