"""MS-CXR (Boecking et al., ECCV 2022): sentences of reports, and boxes for them on films of MIMIC-CXR."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from medinterp.errors import DatasetError
from medinterp.evaluation.datasets.item import REPORT_NAMES, GroundingItem
from medinterp.types import BoolArray

Box = tuple[float, float, float, float]
"""x, y of the upper left corner, width, height; pixels."""
_NAME = "MS_CXR_Local_Alignment_v*"
_GET = "Get MS-CXR from PhysioNet (physionet.org/content/ms-cxr)"


@dataclass(frozen=True)
class _Row:
    path: str
    category: str
    text: str
    box: Box
    size: tuple[int, int]


def read_ms_cxr(folder: Path, films: Path | None = None) -> list[GroundingItem]:
    """Every phrase of every film, film after film; the boxes of one phrase are one mask.

    folder: holds MS_CXR_Local_Alignment_v1.0.0.csv, or the same as .json; films: the folder of MIMIC-CXR-JPG that
    the paths in it start from (files/p10/...), by default `folder` itself. Raises DatasetError saying what is
    missing.
    """
    path = _annotations(folder)
    boxes: dict[tuple[str, str, str], list[_Row]] = {}
    try:
        for row in _csv_rows(path) if path.suffix == ".csv" else _json_rows(path):
            boxes.setdefault((row.path, row.category, row.text), []).append(row)
    except (KeyError, TypeError, ValueError) as error:
        raise DatasetError(
            f"{path} is not as MS-CXR writes it ({type(error).__name__}: {error}). {_GET} again."
        ) from error
    if not boxes:
        raise DatasetError(f"{path} holds no phrase. {_GET} again.")
    items = []
    for (name, category, text), rows in sorted(boxes.items(), key=lambda entry: entry[0][0]):
        if category not in REPORT_NAMES:
            raise DatasetError(f"{path} has the category {category!r}; known are: {', '.join(REPORT_NAMES)}.")
        size = rows[0].size
        mask = partial(boxes_mask, tuple(row.box for row in rows), *size)
        items.append(GroundingItem(_film(films or folder, name), category, text, size, mask))
    return items


def boxes_mask(boxes: tuple[Box, ...], height: int, width: int) -> BoolArray:
    """The boxes' pixels, bool [height, width]; edges rounded to whole pixels, what lies off the film left out."""
    mask = np.zeros((height, width), dtype=bool)
    for x, y, across, down in boxes:
        left, top, right, bottom = (max(0, round(edge)) for edge in (x, y, x + across, y + down))
        mask[top:bottom, left:right] = True
    return mask


def _annotations(folder: Path) -> Path:
    for kind in ("csv", "json"):
        found = sorted(folder.glob(f"{_NAME}.{kind}"))
        if found:
            return found[-1]
    raise DatasetError(f"{folder} has no {_NAME}.csv or .json. {_GET} and name its folder.")


def _film(films: Path, name: str) -> Path:
    for path in (films / name, films / name.removeprefix("files/")):
        if path.is_file():
            return path
    raise DatasetError(
        f"{films} lacks the film {name}. Get it from MIMIC-CXR-JPG (physionet.org/content/mimic-cxr-jpg) and link or "
        "name the folder that holds its files/."
    )


def _csv_rows(path: Path) -> Iterator[_Row]:
    with path.open(encoding="utf-8", newline="") as lines:
        for line in csv.DictReader(lines):
            yield _row(
                line["path"],
                line["category_name"],
                line["label_text"],
                (float(line["x"]), float(line["y"]), float(line["w"]), float(line["h"])),
                (int(float(line["image_height"])), int(float(line["image_width"]))),
            )


def _json_rows(path: Path) -> Iterator[_Row]:
    """COCO's form: annotations that name an image and a category by number."""
    whole = json.loads(path.read_text(encoding="utf-8"))
    names = {category["id"]: category["name"] for category in whole["categories"]}
    images = {image["id"]: image for image in whole["images"]}
    for annotation in whole["annotations"]:
        image = images[annotation["image_id"]]
        sized = image if "height" in image else annotation
        x, y, across, down = annotation["bbox"]
        yield _row(
            image["path"],
            names[annotation["category_id"]],
            annotation["label_text"],
            (float(x), float(y), float(across), float(down)),
            (int(sized["height"]), int(sized["width"])),
        )


def _row(path: str, category: str, text: str, box: Box, size: tuple[int, int]) -> _Row:
    height, width = size
    if not boxes_mask((box,), height, width).any():
        raise ValueError(f"the box {box} of {path} covers nothing of a film of {width} x {height} pixels")
    return _Row(path, category, text.strip(), box, size)
