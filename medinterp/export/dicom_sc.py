"""The overlay as a DICOM Secondary Capture, with what it is burned into a band below the film."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from medinterp.export.dicom_common import (
    MANUFACTURER,
    SERIES_NUMBERS,
    derived_from,
    described,
    equipment,
    file_of,
    quoting_nothing,
    report_key,
    settle,
    source_of,
    uid,
)
from medinterp.export.facts import ExportFacts
from medinterp.export.view import Chosen, MapView
from medinterp.imaging.dicom_source import UTF_8
from medinterp.imaging.orientation import PATIENT_ORIENTATION
from medinterp.types import Explanation

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

KIND = "Secondary Capture"
UPRIGHT = ("L", "F")
"""Patient orientation of a film as it hangs."""


def secondary_capture(
    explanation: Explanation, chosen: Chosen, view: MapView, facts: ExportFacts, made: datetime
) -> bytes:
    """The overlay as a DICOM file, RGB, disclaimer and method burned in; made: its date and time.

    Of a DICOM film it lies in the film's study. Of another it is a study of its own, of a patient without a name, whose
    ID is made of the film's SHA-256. Raises ExportError for a header that lacks what it needs.
    """
    with quoting_nothing(KIND):
        return file_of(_object(explanation, chosen, view, facts, made))


def _object(explanation: Explanation, chosen: Chosen, view: MapView, facts: ExportFacts, made: datetime) -> Dataset:
    from highdicom.sc import SCImage
    from pydicom.uid import ExplicitVRLittleEndian

    picture = burned_in(view.picture(), band_lines(chosen, facts))
    key = "\0".join((report_key(explanation), facts.text(), repr(view.options), made.isoformat()))
    common: dict[str, Any] = {
        "pixel_array": picture,
        "photometric_interpretation": "RGB",
        "bits_allocated": 8,
        "coordinate_system": "PATIENT",
        "series_instance_uid": uid(report_key(explanation), "overlays"),
        "series_number": SERIES_NUMBERS["overlay"],
        "sop_instance_uid": uid(key, hashlib.sha256(picture.tobytes()).hexdigest(), "overlay"),
        "instance_number": chosen.tokens[0] + 1,
        "manufacturer": MANUFACTURER,
        "patient_orientation": UPRIGHT,
        "transfer_syntax_uid": ExplicitVRLittleEndian,
        "contributing_equipment": [equipment(facts, made)],
    }
    if explanation.film.media_type == "application/dicom":
        _, header = source_of(explanation, KIND)
        made_object = SCImage.from_ref_dataset(header, **common)
        derived_from(made_object, header, facts)
        made_object.BodyPartExamined = header.get("BodyPartExamined") or "CHEST"
        if header.get("Laterality"):
            made_object.Laterality = header.Laterality
        directions = "".join(str(one)[:1] for one in header.get("PatientOrientation") or ())
        known = directions in PATIENT_ORIENTATION
    else:
        film = explanation.film.sha256
        made_object = SCImage(
            study_instance_uid=uid(film, "study"),
            patient_id=f"ANON-{film[:12]}",
            patient_name="",
            study_id="1",
            study_date=made.date(),
            study_time=made.time(),
            specific_character_set=UTF_8,
            **common,
        )
        made_object.PatientIdentityRemoved = "YES"
        made_object.DeidentificationMethod = "no identity was given"
        made_object.DerivationDescription = facts.text()
        made_object.BodyPartExamined, known = "CHEST", False
    if not known:
        made_object["PatientOrientation"].value = None  # nobody said how the film lies
    described(made_object, "Relevancy overlay")
    made_object.ImageComments = facts.text()
    settle(made_object, made, key)
    return made_object


def band_lines(chosen: Chosen, facts: ExportFacts) -> tuple[str, ...]:
    """What is burned in."""
    lines = facts.lines()
    method = f"{lines['method']}, {lines['layers']}, {lines['calibration']}, scale: {lines['scale']}"
    return (
        facts.disclaimer.upper(),
        f"What drove the words: {chosen.label}",
        f"{method}. {facts.model} {facts.revision}, {facts.software}",
    )


def burned_in(picture: npt.NDArray[np.uint8], lines: Sequence[str]) -> npt.NDArray[np.uint8]:
    """The picture, uint8 [height, width, 3], on a black band with these lines in white: no pixel of it is covered."""
    from PIL import Image, ImageDraw, ImageFont

    from medinterp.export.typeset import check_glyphs, font_file, runs_of, set_lines

    check_glyphs(" ".join(lines))
    width = picture.shape[1]
    size = max(9.0, width / 70)
    step = round(size * 1.4)
    edge = round(size * 0.6)
    blocks = [set_lines(runs_of(line, ()), size, width - 2 * edge) for line in lines]
    rows = sum(placed[-1].line + 1 for placed in blocks if placed)
    band = Image.new("RGB", (width, rows * step + 2 * edge))
    drawing, letters = ImageDraw.Draw(band), ImageFont.truetype(str(font_file()), size)
    top = edge
    for placed in blocks:
        for one in placed:
            drawing.text((edge + one.left, top + one.line * step), one.run.text, font=letters, fill="white")
        top += (placed[-1].line + 1) * step if placed else 0
    return np.concatenate([picture, np.asarray(band, np.uint8)])
