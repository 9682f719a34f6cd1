"""Explanations with films of files made by hand, for tests of what is exported of them."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.uid import ComputedRadiographyImageStorage

from medinterp.export.naming import tokens_of
from medinterp.imaging import read_film
from medinterp.types import Explanation, Film
from tests.api_backend import sample_faithfulness
from tests.api_films import dicom
from tests.report_samples import all_kinds_explained

MADE = datetime(2026, 5, 4, 3, 2, 1)


def dicom_film(pixels: npt.NDArray[np.uint16] | None = None, **elements: Any) -> Film:
    """A film of the sample DICOM of a named patient, with other pixels and elements (None: taken away)."""
    dataset = pydicom.dcmread(io.BytesIO(dicom()))
    if pixels is not None:
        dataset.Rows, dataset.Columns = pixels.shape
        dataset.PixelData = np.ascontiguousarray(pixels, "<u2").tobytes()
    for keyword, value in elements.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    dataset.file_meta.MediaStorageSOPClassUID = dataset.get("SOPClassUID", ComputedRadiographyImageStorage)
    file = io.BytesIO()
    dataset.save_as(file)
    return read_film(file.getvalue())


def dicom_explained(**elements: Any) -> Explanation:
    """The report with every kind of finding, of the sample DICOM; one finding is judged."""
    explanation = replace(all_kinds_explained(), film=dicom_film(**elements))
    judged = tokens_of(explanation.report, explanation.report.findings[1])
    return replace(explanation, verdicts=(sample_faithfulness("raw", judged),))
