"""Readers of data sets, on small files of the same form."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medinterp.errors import DatasetError
from medinterp.evaluation.datasets import read_chexlocalize, read_ms_cxr
from medinterp.evaluation.datasets.chexlocalize import LABELS
from medinterp.evaluation.datasets.item import REPORT_NAMES
from medinterp.evaluation.datasets.rle import decode_runs, mask_of
from medinterp.report.lexicon import lexicon
from medinterp.types import BoolArray

PATHS = ("files/p10/p10000032/s50414267/a.jpg", "files/p11/p11000001/s50000002/b.jpg")
COLUMNS = ("dicom_id", "category_name", "label_text", "path", "x", "y", "w", "h", "image_width", "image_height")
ROWS: tuple[tuple[str, str, str, int, int, int, int], ...] = (
    ("a", "Pneumothorax", "small left apical pneumothorax", 200, 20, 60, 40),
    ("b", "Pleural Effusion", "bilateral effusions, right larger", 10, 150, 50, 60),
    ("a", "Cardiomegaly", "the heart is enlarged", 90, 100, 110, 90),
    ("b", "Pleural Effusion", "bilateral effusions, right larger", 250, 160, 200, 40),  # beyond the film's edge
)


def encode(mask: BoolArray) -> str:
    """COCO's compressed run lengths, from its description: the way back that the reader has to find."""
    flat = np.concatenate([[False], mask.T.ravel(), [not mask.T.ravel()[-1]]])
    edges = np.flatnonzero(flat[1:] != flat[:-1])
    runs = np.diff(np.concatenate([[0], edges])).tolist()
    text = ""
    for place, run in enumerate(runs):
        value = run - runs[place - 2] if place > 2 else run
        while True:
            group, value = value & 0x1F, value >> 5
            more = value != (-1 if group & 0x10 else 0)
            text += chr(48 + group + (0x20 if more else 0))
            if not more:
                break
    return text


def decode(counts: str | Sequence[int], height: int, width: int) -> BoolArray:
    return mask_of(decode_runs(counts, height, width), height, width)


def rectangle(height: int, width: int, rows: tuple[int, int], columns: tuple[int, int]) -> BoolArray:
    mask = np.zeros((height, width), dtype=bool)
    mask[slice(*rows), slice(*columns)] = True
    return mask


def write_film(path: Path, height: int, width: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    gray = np.tile(np.linspace(10, 240, width), (height, 1)).astype(np.uint8)  # one gray value is no picture
    path.write_bytes(cv2.imencode(".jpg", gray)[1].tobytes())


def write_chexlocalize(
    folder: Path, split: str, films: Mapping[str, tuple[tuple[int, int], Mapping[str, BoolArray]]]
) -> None:
    """The files as their owner gives them: every film has all ten findings, those that are absent with empty masks."""
    entries = {}
    for key, ((height, width), masks) in films.items():
        patient, study, *view = key.split("_")
        name = {"val": "valid"}.get(split, split)
        write_film(folder / "CheXpert" / name / patient / study / f"{'_'.join(view)}.jpg", height, width)
        empty = np.zeros((height, width), dtype=bool)
        entries[key] = {
            label: {"size": [height, width], "counts": encode(masks.get(label, empty))} for label in LABELS
        }
    (folder / "CheXlocalize").mkdir(exist_ok=True)
    (folder / "CheXlocalize" / f"gt_segmentations_{split}.json").write_text(json.dumps(entries))


def write_ms_cxr(folder: Path, kind: str) -> None:
    paths = dict(zip("ab", PATHS, strict=True))
    if kind == "csv":
        with (folder / "MS_CXR_Local_Alignment_v1.0.0.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            for film, category, text, *box in ROWS:
                writer.writerow((film, category, text, paths[film], *box, 320, 240))
        return
    categories = sorted({row[1] for row in ROWS})
    whole = {
        "info": {},
        "categories": [{"id": k, "name": name} for k, name in enumerate(categories, 1)],
        "images": [
            {"id": k, "path": path, "height": 240, "width": 320} for k, path in enumerate(paths.values(), 1)
        ],
        "annotations": [
            {
                "id": k,
                "image_id": "ab".index(film) + 1,
                "category_id": categories.index(category) + 1,
                "label_text": text,
                "bbox": box,
            }
            for k, (film, category, text, *box) in enumerate(ROWS)
        ],
    }
    (folder / "MS_CXR_Local_Alignment_v1.0.0.json").write_text(json.dumps(whole))


@given(st.integers(1, 70), st.integers(1, 70), st.sampled_from([0.0, 0.02, 0.5, 1.0]), st.integers(0, 2**32 - 1))
def test_run_lengths_round_trip(height: int, width: int, share: float, seed: int) -> None:
    mask = np.random.default_rng(seed).random((height, width)) < share
    np.testing.assert_array_equal(decode(encode(mask), *mask.shape), mask)


def test_codes_that_pycocotools_writes() -> None:
    """Written by pycocotools 2.0.11 (mask.encode) for these masks."""
    np.testing.assert_array_equal(decode("525", 4, 3), rectangle(4, 3, (1, 3), (1, 2)))
    corners = rectangle(5, 7, (2, 4), (3, 6))
    corners[0, 0] = corners[4, 6] = True
    np.testing.assert_array_equal(decode("01`01C0002O", 5, 7), corners)
    assert decode("06", 3, 2).all()
    assert not decode("PVWX6", 2320, 2828).any()
    rows, columns = np.mgrid[:300, :400]
    ellipse = ((rows - 120) / 70) ** 2 + ((columns - 250) / 40) ** 2 <= 1
    code = (
        "`dm11l8n0[O<E:G8I6J6J6J6K4L4L4M2M4L4M2M4M2N2N2N2N2N2N2N2O0O2N2O0O2O0O2O000O2O000000000O20N10000000001N10001N101"
        "N101N2N101N2N2N2N2N2N2N2N3L3N3L4L3N3L4L4L5J6J6J6J7H9F;De0ROcjo0"
    )
    np.testing.assert_array_equal(decode(code, 300, 400), ellipse)
    np.testing.assert_array_equal(decode([5, 2, 5], 4, 3), decode("525", 4, 3))


@pytest.mark.parametrize(
    ("counts", "why"),
    [("525", "hold 12 pixels"), ("5\n5", "not of a run-length code"), ("5b", "cut off"), ("4L", "below 0")],
)
def test_codes_that_are_none(counts: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        decode_runs(counts, 4, 4)


def test_chexlocalize_is_read_film_after_film(tmp_path: Path) -> None:
    heart, tube = rectangle(240, 320, (100, 200), (90, 200)), rectangle(240, 320, (0, 80), (150, 160))
    lateral = rectangle(320, 256, (10, 300), (5, 9))
    write_chexlocalize(
        tmp_path,
        "val",
        {
            "patient64541_study1_view1_frontal": ((240, 320), {"Support Devices": tube, "Cardiomegaly": heart}),
            "patient64542_study1_view1_frontal": ((200, 200), {}),
            "patient64542_study1_view2_lateral": ((320, 256), {"Pleural Effusion": lateral}),
        },
    )
    items = read_chexlocalize(tmp_path, "val")
    assert [(item.label, item.phrase, item.size) for item in items] == [
        ("Cardiomegaly", None, (240, 320)),
        ("Support Devices", None, (240, 320)),
        ("Pleural Effusion", None, (320, 256)),
    ]
    for item, mask in zip(items, (heart, tube, lateral), strict=True):
        np.testing.assert_array_equal(item.mask, mask)
    assert items[0].image == tmp_path / "CheXpert/valid/patient64541/study1/view1_frontal.jpg"
    assert items[2].image == tmp_path / "CheXpert/valid/patient64542/study1/view2_lateral.jpg"


def test_chexlocalize_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"has no gt_segmentations_test\.json"):
        read_chexlocalize(tmp_path)
    mask = rectangle(240, 320, (100, 200), (90, 200))
    write_chexlocalize(tmp_path, "test", {"patient1_study1_view1_frontal": ((240, 320), {"Edema": mask})})
    assert len(read_chexlocalize(tmp_path)) == 1
    (tmp_path / "CheXpert/test/patient1/study1/view1_frontal.jpg").unlink()
    with pytest.raises(DatasetError, match=r"lacks the film CheXpert/test/patient1/study1/view1_frontal\.jpg"):
        read_chexlocalize(tmp_path)
    path = tmp_path / "CheXlocalize/gt_segmentations_test.json"
    for text, why in (
        ('{"film1": {"Edema": {"size": [1, 2], "counts": "02"}}}', "no film's name"),
        ('{"patient1_study1_view1_frontal": {"Edema": {"size": [9, 9], "counts": "02"}}}', "is not a mask"),
        ('{"patient1_study1_view1_frontal": {"Edema": {"counts": "02"}}}', "is not a mask"),
        ('{"patient1_study1_view1_frontal": {"Edema": {"size": [1, 2], "counts": "2"}}}', "holds no finding"),
        ("{", "is not JSON"),
    ):
        path.write_text(text)
        with pytest.raises(DatasetError, match=why):
            read_chexlocalize(tmp_path)


@pytest.mark.parametrize("kind", ["csv", "json"])
@pytest.mark.parametrize("root", ["", "mimic"])
def test_boxes_of_one_phrase_are_one_mask(tmp_path: Path, kind: str, root: str) -> None:
    write_ms_cxr(tmp_path, kind)
    films = tmp_path / root if root else None
    with pytest.raises(DatasetError, match=f"lacks the film {PATHS[0]}"):
        read_ms_cxr(tmp_path, films)
    for path in PATHS:
        write_film(tmp_path / root / (path.removeprefix("files/") if root else path), 240, 320)
    items = read_ms_cxr(tmp_path, films)
    assert [(item.image.name, item.label, item.phrase) for item in items] == [
        ("a.jpg", "Pneumothorax", "small left apical pneumothorax"),
        ("a.jpg", "Cardiomegaly", "the heart is enlarged"),
        ("b.jpg", "Pleural Effusion", "bilateral effusions, right larger"),
    ]
    np.testing.assert_array_equal(items[1].mask, rectangle(240, 320, (100, 190), (90, 200)))
    both = rectangle(240, 320, (150, 210), (10, 60)) | rectangle(240, 320, (160, 200), (250, 320))
    np.testing.assert_array_equal(items[2].mask, both)


def test_ms_cxr_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="has no MS_CXR_Local_Alignment"):
        read_ms_cxr(tmp_path)
    path = tmp_path / "MS_CXR_Local_Alignment_v1.0.0.csv"
    for lines, why in (
        ("dicom_id,path\na,b\n", "KeyError: 'category_name'"),
        (f"{','.join(COLUMNS)}\n", "holds no phrase"),
        (f"{','.join(COLUMNS)}\na,Edema,edema,a.jpg,400,0,9,9,320,240\n", "covers nothing"),
        (f"{','.join(COLUMNS)}\na,Gout,gout,a.jpg,4,0,9,9,320,240\n", "the category 'Gout'"),
    ):
        path.write_text(lines)
        with pytest.raises(DatasetError, match=why):
            read_ms_cxr(tmp_path)


def test_every_label_has_names_that_reports_are_parsed_for() -> None:
    assert set(LABELS) <= set(REPORT_NAMES)
    parsed = lexicon().terms
    assert all(set(names) <= set(parsed) for names in REPORT_NAMES.values())
