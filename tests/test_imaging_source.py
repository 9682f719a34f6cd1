"""What is carried of a DICOM's header beside its film: what comes along, what is left out, and where it never shows."""

from __future__ import annotations

import asyncio
import io
from dataclasses import replace
from typing import Any

import numpy as np
import pydicom
import pytest

from deployments.backend import _unnamed
from medinterp import export
from medinterp.api.answers import explanation_model
from medinterp.api.store import pack_record, unpack_record
from medinterp.imaging import FilmLimits, read_film
from medinterp.imaging.dicom_source import header_of
from medinterp.imaging.orientation import as_stored, upright
from medinterp.imaging.worker_messages import BrokenMessageError, film_header, film_of
from medinterp.imaging.workers import DecodingLimits, DecodingPool
from medinterp.types import Film
from tests.api_backend import sample_faithfulness
from tests.api_films import PATIENT, dicom
from tests.api_samples import sample_explanation


def changed(**elements: Any) -> bytes:
    """The sample DICOM with some elements changed, or taken away (None)."""
    dataset = pydicom.dcmread(io.BytesIO(dicom()))
    for keyword, value in elements.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    file = io.BytesIO()
    dataset.save_as(file)
    return file.getvalue()


def film_with_source(**elements: Any) -> Film:
    film = read_film(changed(**elements))
    assert film.source is not None
    return film


def test_patient_study_and_picture_come_along() -> None:
    film = film_with_source(SpecificCharacterSet="ISO_IR 100", PatientName="Müller^Jörg", StudyDescription="Thorax")
    dataset = pydicom.dcmread(io.BytesIO(dicom()))
    assert film.source is not None
    header = header_of(film.source)
    assert header.PatientName == "Müller^Jörg" and header.SpecificCharacterSet == "ISO_IR 192"
    assert header.StudyDescription == "Thorax"
    for keyword in ("SOPInstanceUID", "SOPClassUID", "StudyInstanceUID", "SeriesInstanceUID", "PatientID", "StudyDate"):
        assert header[keyword].value == dataset[keyword].value
    assert (header.Rows, header.Columns) == (film.source.rows, film.source.columns) == (80, 70)
    assert header.PatientOrientation == ["L", "F"] and header.ImagerPixelSpacing == dataset.ImagerPixelSpacing
    assert "PixelData" not in header and "PatientComments" not in header


def test_what_is_not_well_written_is_left_out_and_the_film_is_read(recwarn: pytest.WarningsRecorder) -> None:
    data = changed(StudyDescription="line\nbreak")
    film = read_film(data.replace(b"20260101", b"2026-1-1"))
    assert film.source is not None
    header = header_of(film.source)
    assert header.StudyDate == "" and "StudyDescription" not in header
    assert header.PatientName == PATIENT
    assert not recwarn.list, "a warning would quote the header"


def test_other_files_have_none() -> None:
    assert sample_explanation().film.source is None


@pytest.mark.parametrize("orientation", range(1, 9))
def test_stored_is_the_inverse_of_upright(orientation: int) -> None:
    pixels = np.arange(12).reshape(3, 4)
    np.testing.assert_array_equal(as_stored(upright(pixels, orientation), orientation), pixels)


def test_the_worker_passes_it_on() -> None:
    async def decoded() -> Film:
        pool = DecodingPool(FilmLimits(), DecodingLimits(workers=1))
        try:
            return await pool.read(dicom())
        finally:
            pool.close()

    film = asyncio.run(decoded())
    here = read_film(dicom()).source
    assert film.source is not None and here is not None
    assert film.source.header == here.header and (film.source.rows, film.source.orientation) == (80, 1)


@pytest.mark.parametrize(
    "source", [["%%", 40, 60, 1], ["", 41, 60, 1], ["", 40, 60, 6], ["", 40, 60, 9], ["", 0, 60, 1], [1], "x" * 9]
)
def test_a_workers_source_that_does_not_fit_is_refused(source: Any) -> None:
    film = sample_explanation().film
    header = film_header(film)
    pixels = np.frombuffer(film.pixels.tobytes(), np.uint8)
    assert film_of(header, pixels, FilmLimits()).source is None
    header["film"]["source"] = source
    with pytest.raises(BrokenMessageError):
        film_of(header, pixels, FilmLimits())


def test_the_record_keeps_it_with_the_film() -> None:
    film = film_with_source()
    sample = replace(sample_explanation(film), verdicts=(sample_faithfulness("raw", (2, 3)),))
    again = unpack_record(pack_record(sample))
    assert again.film.source is not None and film.source is not None
    assert again.film.source.header == film.source.header
    assert again.verdicts == sample.verdicts


def test_it_shows_nowhere() -> None:
    """No text form, answer or page names the patient, and the model's replica never gets it."""
    film = film_with_source()
    explanation = sample_explanation(film)
    answer = explanation_model("0" * 32, explanation, 0.0, with_maps=True)
    shown = [repr(film), repr(film.source), repr(explanation), str(export.document(explanation)), repr(answer)]
    shown += [export.html(explanation), answer.model_dump_json()]
    assert film.source is not None and PATIENT.encode() in film.source.header
    assert not any(PATIENT in text or "Zzyzx-1" in text for text in shown)
    assert _unnamed(film).source is None
