"""CheXlocalize (Saporta et al., Nature Machine Intelligence 2022): ten findings drawn on CheXpert's films."""

from __future__ import annotations

import json
import re
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from medinterp.errors import DatasetError
from medinterp.evaluation.datasets.item import GroundingItem
from medinterp.evaluation.datasets.rle import decode_runs, mask_of

LABELS = (
    "Enlarged Cardiomediastinum",
    "Cardiomegaly",
    "Lung Lesion",
    "Airspace Opacity",
    "Edema",
    "Consolidation",
    "Atelectasis",
    "Pneumothorax",
    "Pleural Effusion",
    "Support Devices",
)
_KEY = re.compile(r"(patient\d+)_(study\d+)_(view\d+_\w+)")
_FILM_FOLDERS = ("CheXpert", "CheXpert-v1.0", ".")
_SPLIT_FOLDERS = {"val": ("valid", "val"), "test": ("test",)}
_GET = "Get both from the AIMI centre of Stanford University (CheXlocalize)"


def read_chexlocalize(folder: Path, split: Literal["val", "test"] = "test") -> list[GroundingItem]:
    """Every finding that was drawn, film after film.

    folder: holds gt_segmentations_SPLIT.json, itself or in CheXlocalize/, and the films in CheXpert's layout
    (CheXpert/test/patient64741/study1/view1_frontal.jpg; also CheXpert-v1.0/, or in the folder itself; valid or val).
    Findings whose mask is empty are not on the film and left out. Raises DatasetError saying what is missing.
    """
    path = _segmentations(folder, split)
    try:
        films: dict[str, dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DatasetError(f"{path} is not JSON ({error}). {_GET} again.") from error
    items: list[GroundingItem] = []
    for key, findings in films.items():
        drawn = [(label, *_runs(path, key, label, findings[label])) for label in LABELS if label in findings]
        drawn = [(label, runs, size) for label, runs, size in drawn if runs[1::2].any()]
        if drawn:
            image = _film(folder, split, key)
            items += [
                GroundingItem(image, label, None, size, partial(mask_of, runs, *size)) for label, runs, size in drawn
            ]
    if not items:
        raise DatasetError(f"{path} holds no finding. {_GET} again.")
    return items


def _segmentations(folder: Path, split: str) -> Path:
    name = f"gt_segmentations_{split}.json"
    for path in (folder / name, folder / "CheXlocalize" / name):
        if path.is_file():
            return path
    raise DatasetError(f"{folder} has no {name}. {_GET} and name the folder that holds CheXlocalize and CheXpert.")


def _film(folder: Path, split: str, key: str) -> Path:
    match = _KEY.fullmatch(key)
    if match is None:
        raise DatasetError(f"{key!r} is no film's name, such as patient64741_study1_view1_frontal.")
    patient, study, view = match.groups()
    inside = Path(patient, study, f"{view}.jpg")
    for films in _FILM_FOLDERS:
        for part in _SPLIT_FOLDERS[split]:
            path = folder / films / part / inside
            if path.is_file():
                return path
    there = f"CheXpert/{_SPLIT_FOLDERS[split][0]}/{inside.as_posix()}"
    raise DatasetError(f"{folder} lacks the film {there}. {_GET} and put the films of CheXpert there.")


def _runs(path: Path, key: str, label: str, entry: Any) -> tuple[npt.NDArray[np.int64], tuple[int, int]]:
    try:
        height, width = entry["size"]
        return decode_runs(entry["counts"], height, width), (height, width)
    except (KeyError, TypeError, ValueError) as error:
        raise DatasetError(f"{path}: {label} of {key} is not a mask ({error}). {_GET} again.") from error
