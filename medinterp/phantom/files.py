"""Synthetic films as files: PNG, DICOM, masks, the counterfactual and the truth."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from medinterp.errors import SelectionError
from medinterp.phantom.films import Drawing, SyntheticFilm, draw_film, facts_of, reference_report, size_in_cells

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

FILM_WIDTH_MM = 350.0


def write_film(
    film: SyntheticFilm,
    width: int,
    height: int,
    directory: Path,
    *,
    bits: int = 16,
    monochrome1: bool = False,
    without: int | None = 0,
) -> list[Path]:
    """Write one film with its truth; returns the paths that were written.

    film-SEED.png (8 bit gray), film-SEED.dcm (12 or 16 bit, MONOCHROME2 or 1), film-SEED.json (findings with
    name, side, zone, size in cells and mask file; the reference report), one mask PNG for each finding, and
    film-SEED-without-K.png, the exact counterfactual without finding K (none when `without` is None).
    Raises SelectionError when the film has no finding K.
    """
    import cv2

    if without is not None and not 0 <= without < len(film.findings):
        raise SelectionError(
            f"film {film.seed} has findings 0 to {len(film.findings) - 1}; --without {without} names none of them"
        )
    directory.mkdir(parents=True, exist_ok=True)
    name = f"film-{film.seed}"
    drawing = draw_film(film, width, height)
    written = [directory / f"{name}.png", directory / f"{name}.dcm"]
    cv2.imwrite(str(written[0]), drawing.uint8())
    write_dicom(drawing.uint16(), written[1], bits=bits, monochrome1=monochrome1, seed=film.seed)
    for k, mask in enumerate(drawing.masks):
        written.append(directory / f"{name}-mask-{k}.png")
        cv2.imwrite(str(written[-1]), mask.astype(np.uint8) * 255)
    if without is not None:
        written.append(directory / f"{name}-without-{without}.png")
        cv2.imwrite(str(written[-1]), draw_film(film.without(without), width, height).uint8())
    written.append(directory / f"{name}.json")
    written[-1].write_text(json.dumps(describe(film, drawing), indent=2) + "\n", encoding="utf-8")
    return written


def describe(film: SyntheticFilm, drawing: Drawing) -> dict[str, Any]:
    """The truth of a film, ready for JSON."""
    findings = [
        {
            "name": fact.name,
            "side": fact.side,
            "zone": fact.zone,
            "size": fact.size,
            "size_in_cells": round(size_in_cells(mask), 3),
            "mask": f"film-{film.seed}-mask-{k}.png",
        }
        for k, (fact, mask) in enumerate(zip(facts_of(film, drawing), drawing.masks, strict=True))
    ]
    height, width = drawing.pixels.shape
    return {
        "seed": film.seed,
        "width": width,
        "height": height,
        "findings": findings,
        "report": reference_report(film, drawing),
    }


def write_dicom(
    pixels: npt.NDArray[np.uint16], path: Path, *, bits: int = 16, monochrome1: bool = False, seed: int = 0
) -> None:
    """Write a 16-bit picture as a valid Digital X-Ray image of 12 or 16 bits stored.

    Raises ValueError for another number of bits.
    """
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, generate_uid

    if bits not in (12, 16):
        raise ValueError(f"a film has 12 or 16 bits stored, not {bits}")
    stored = pixels >> (16 - bits)
    if monochrome1:
        stored = np.uint16(2**bits - 1) - stored
    uid = [generate_uid(entropy_srcs=["medinterp-phantom", str(seed), part]) for part in ("study", "series", "image")]
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    meta.MediaStorageSOPInstanceUID = uid[2]
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = Dataset()
    dataset.file_meta = meta
    dataset.SOPClassUID = meta.MediaStorageSOPClassUID
    dataset.SOPInstanceUID = uid[2]
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = uid[0], uid[1]
    dataset.PatientName, dataset.PatientID = "Phantom^Synthetic", f"PHANTOM-{seed}"
    dataset.PatientBirthDate, dataset.PatientSex = "", "O"
    dataset.StudyDate, dataset.StudyTime = "20260101", "120000"
    dataset.AccessionNumber, dataset.StudyID, dataset.ReferringPhysicianName = "", "1", ""
    dataset.SeriesNumber, dataset.InstanceNumber = 1, 1
    dataset.Modality, dataset.Manufacturer = "DX", "medinterp phantom"
    dataset.PresentationIntentType = "FOR PRESENTATION"
    dataset.BodyPartExamined, dataset.ViewPosition = "CHEST", "PA"
    dataset.ViewCodeSequence = [_code("399348003", "SCT", "postero-anterior")]
    dataset.ViewCodeSequence[0].ViewModifierCodeSequence = []
    dataset.AnatomicRegionSequence = [_code("51185008", "SCT", "Chest")]
    dataset.AcquisitionContextSequence = []
    dataset.ImageLaterality, dataset.PatientOrientation = "U", ["L", "F"]
    dataset.PositionerType, dataset.DetectorType = "NONE", ""
    # A film is 35 cm wide; its pixels are square.
    spacing = f"{FILM_WIDTH_MM / pixels.shape[1]:.6f}"
    dataset.ImagerPixelSpacing = [spacing, spacing]
    dataset.ImageType = ["DERIVED", "PRIMARY"]
    dataset.BurnedInAnnotation = "NO"
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME1" if monochrome1 else "MONOCHROME2"
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, bits, bits - 1
    dataset.PixelRepresentation = 0
    dataset.PixelIntensityRelationship = "LOG"
    dataset.PixelIntensityRelationshipSign = -1 if monochrome1 else 1
    dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = 0, 1, "US"
    dataset.PresentationLUTShape = "INVERSE" if monochrome1 else "IDENTITY"
    dataset.LossyImageCompression = "00"
    dataset.WindowCenter, dataset.WindowWidth = 2 ** (bits - 1), 2**bits
    dataset.PixelData = np.ascontiguousarray(stored, dtype="<u2").tobytes()
    dataset.save_as(path, enforce_file_format=True)


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    """A code sequence's item."""
    from pydicom.dataset import Dataset

    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item
