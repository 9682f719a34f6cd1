"""Readers of data sets, on small files of the same form, and grounding where the score is known."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medinterp.errors import DatasetError, MissingEvidenceError
from medinterp.evaluation.datasets import GroundingItem, read_chexlocalize, read_ms_cxr
from medinterp.evaluation.datasets.chexlocalize import LABELS
from medinterp.evaluation.datasets.item import REPORT_NAMES
from medinterp.evaluation.datasets.rle import decode_runs, mask_of
from medinterp.evaluation.grounding import METRICS, affirming_tokens, evaluate_grounding, phrase_tokens
from medinterp.evaluation.metrics import SHARES
from medinterp.report import build_report
from medinterp.report.lexicon import TERMS
from medinterp.types import BoolArray, Film, Float32Array, Generation, ImageSpan, MeasuredCells, Report
from tests.traces import make_trace

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
    gray = np.full((height, width), 90, dtype=np.uint8)
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
    parsed = {name for name, _ in TERMS}
    assert all(set(names) <= parsed for names in REPORT_NAMES.values())


def report_of(text: str) -> Report:
    """A report whose every character is a token."""
    count = len(text)
    spans = [(k, k + 1) for k in range(count)]
    return build_report([1] * count, spans, text, [-0.1] * count, [()] * count, [0.5] * count, True)


def told_by(report: Report, tokens: Sequence[int]) -> str:
    return "".join(report.text[token] for token in tokens)


def test_the_words_that_affirm_a_finding() -> None:
    report = report_of(
        "FINDINGS: There is a left pleural effusion. No pneumothorax. Small right effusion.\n"
        "IMPRESSION: Pleural effusions. Pulmonary edema."
    )
    assert told_by(report, affirming_tokens(report, ("pleural effusion",))) == "pleuraleffusioneffusion"
    assert told_by(report, affirming_tokens(report, ("edema",))) == "Pulmonaryedema"
    assert affirming_tokens(report, ("pneumothorax", "consolidation")) == []


def test_the_words_of_a_phrase() -> None:
    report = report_of("No effusion. FINDINGS: effusion, left.")
    assert told_by(report, phrase_tokens(report, "effusion, left")) == "effusionleft"
    assert phrase_tokens(report, "effusion")[0] == report.text.rindex("effusion")
    with pytest.raises(ValueError, match="does not hold the phrase"):
        phrase_tokens(report, "edema")


def planted(text: str, maps: Mapping[str, Float32Array]) -> Generation:
    """A report in which the tokens of each named text look at its map [16, 16], all others everywhere."""
    report = report_of(text)
    rows = np.full((len(text), 256), 0.5 / 256, dtype=np.float32)
    for words, grid in maps.items():
        start = text.index(words)
        rows[start : start + len(words)] = 0.5 * grid.reshape(256) / grid.sum()
    attention = np.tile(rows[:, None, None], (1, 2, 2, 1)).astype(np.float16)
    return Generation(report, make_trace(attention, (ImageSpan(5, 261, 16, 16),), prompt_length=270))


def block(value: float = 1.0, rows: tuple[int, int] = (4, 8), columns: tuple[int, int] = (6, 11)) -> Float32Array:
    grid = np.zeros((16, 16), dtype=np.float32)
    grid[slice(*rows), slice(*columns)] = value
    return grid


def over(height: int, width: int, grid: Float32Array) -> BoolArray:
    """The pixels of the cells where a grid is above 0, sides being multiples of 16."""
    return np.kron(grid > 0, np.ones((height // 16, width // 16))).astype(bool)


def item_of(folder: Path, name: str, label: str, mask: BoolArray, phrase: str | None = None) -> GroundingItem:
    height, width = mask.shape
    if not (folder / name).exists():
        write_film(folder / name, height, width)
    return GroundingItem(folder / name, label, phrase, (height, width), lambda: mask)


def by_width(generations: Mapping[int, Generation]) -> Callable[[Film], Generation]:
    return lambda film: generations[film.width]


def values_of(scores: Mapping[str, Any]) -> dict[str, float | None]:
    return {metric: scores[metric]["value"] for metric in METRICS}


TEXT = "FINDINGS: The heart is enlarged. Left pleural effusion. No pneumothorax.\n"


def test_a_planted_map_has_the_score_that_it_was_planted_for(tmp_path: Path) -> None:
    """One wide film, one tall: the heart's words look at the heart, those of the effusion at the other side."""
    aside = block(rows=(11, 15), columns=(1, 5))
    generation = planted(TEXT, {"heart is enlarged": block(), "pleural effusion": aside})
    items, calls = [], []
    for name, (height, width) in {"wide": (160, 320), "tall": (320, 240)}.items():
        items += [
            item_of(tmp_path, name, "Cardiomegaly", over(height, width, block())),
            item_of(tmp_path, name, "Pleural Effusion", over(height, width, aside[:, ::-1])),
            item_of(tmp_path, name, "Pneumothorax", over(height, width, aside)),
            item_of(tmp_path, name, "Edema", over(height, width, aside)),
        ]
    wide = [item for item in items if item.image.name == "wide"]

    def explain(film: Film) -> Generation:
        calls.append(film.width)
        return generation

    result = evaluate_grounding(explain, items, ("raw", "layer_weighted"), tuning=wide, progress=calls.append)
    assert calls.count(320) == 2  # once for tuning, once for the score
    assert calls.count(240) == 1
    assert calls.count(1) == 12
    assert (result["films"], result["items"], result["scored"], result["not_affirmed"]) == (2, 8, 4, 4)
    labels = result["labels"]
    assert {label: labels[label]["not_affirmed"] for label in labels} == {
        "Cardiomegaly": 0,
        "Edema": 2,
        "Pleural Effusion": 0,
        "Pneumothorax": 2,
    }
    heart, effusion = labels["Cardiomegaly"]["methods"], labels["Pleural Effusion"]["methods"]
    for name in ("raw", "layer_weighted"):
        assert heart[name]["pointing"]["value"] == 1.0
        assert effusion[name]["pointing"]["value"] == effusion[name]["mass"]["value"] == 0.0
        # Half a cell outside the block the hill has fallen to 0, on its edge to one half.
        assert labels["Cardiomegaly"]["thresholds"][name] == 0.5
        for metric in ("miou_otsu", "miou_tuned"):
            assert heart[name][metric]["value"] > 0.9
            assert effusion[name][metric]["value"] == 0.0
        # Along an axis of n cells, n - 1/4 of n lie within.
        assert heart[name]["mass"]["value"] == pytest.approx((3.75 / 4) * (4.75 / 5), abs=0.01)
        assert heart[name]["cnr"]["value"] > 2.0 > effusion[name]["cnr"]["value"]
    share = 20 / 256
    assert values_of(heart["random"]) == pytest.approx(
        {"pointing": share, "mass": share, "miou_otsu": share, "miou_tuned": share, "cnr": 0.0}, abs=1e-4
    )
    assert heart["mask on the grid"]["pointing"]["value"] == 1.0
    assert result["methods"]["raw"]["pointing"] == {"value": 0.5, "low": 0.5, "high": 0.5}
    assert labels["Edema"]["scored"] == 0
    assert values_of(labels["Edema"]["methods"]["raw"]) == dict.fromkeys(METRICS)
    json.dumps(result, allow_nan=False)


def test_the_threshold_comes_from_the_films_for_tuning(tmp_path: Path) -> None:
    """A bright core in a faint ring: the mask is both, and its edge lies where the ring has fallen to half."""
    ring = block(0.45)
    ring[5:7, 7:10] = 1.0
    generations = {width: planted(TEXT, {"heart is enlarged": ring}) for width in (320, 336, 352, 368)}
    mask = over(160, 320, ring)
    only_core = over(160, 320, block(rows=(5, 7), columns=(7, 10)))
    tuned = item_of(tmp_path, "tuning", "Cardiomegaly", mask)
    judged = item_of(tmp_path, "judged", "Cardiomegaly", over(160, 336, ring))
    result = evaluate_grounding(by_width(generations), [judged], ["raw"], tuning=[tuned])
    assert result["labels"]["Cardiomegaly"]["thresholds"]["raw"] == 0.2
    assert result["methods"]["raw"]["miou_tuned"]["value"] > 0.9
    # Tuned on the core alone, the same map marks the core alone.
    core = item_of(tmp_path, "tuning", "Cardiomegaly", only_core)
    other = evaluate_grounding(by_width(generations), [judged], ["raw"], tuning=[core])
    share = other["labels"]["Cardiomegaly"]["thresholds"]["raw"]
    assert SHARES.index(share) > SHARES.index(0.5)
    assert other["methods"]["raw"]["miou_tuned"]["value"] == pytest.approx(6 / 20, abs=0.06)
    # A label that was not among those for tuning has the share of all labels.
    effusion = item_of(tmp_path, "tuning", "Enlarged Cardiomediastinum", only_core)
    third = evaluate_grounding(by_width(generations), [judged], ["raw"], tuning=[effusion])
    assert third["labels"]["Cardiomegaly"]["thresholds"]["raw"] == share


def test_without_films_for_tuning_the_first_half_is_and_the_second_is_judged(tmp_path: Path) -> None:
    aside = block(rows=(11, 15), columns=(1, 5))
    widths = (320, 336, 352, 368)
    generations = {
        width: planted(TEXT, {"heart is enlarged": grid})
        for width, grid in zip(widths, (block(), block(), block(), aside), strict=True)
    }
    items = [item_of(tmp_path, str(width), "Cardiomegaly", over(160, width, block())) for width in widths]
    scores = evaluate_grounding(by_width(generations), items, ["raw"])["methods"]["raw"]
    assert scores["pointing"]["value"] == 0.75  # of all four
    assert scores["miou_tuned"]["value"] == pytest.approx(0.5, abs=0.05)  # of the last two
    assert scores["miou_tuned"]["low"] == 0.0
    alone = evaluate_grounding(by_width(generations), items[:1], ["raw"])
    assert alone["methods"]["raw"]["miou_tuned"] == {"value": None, "low": None, "high": None}
    assert alone["labels"]["Cardiomegaly"]["thresholds"]["raw"] is None


def test_a_phrase_is_scored_where_it_is_forced(tmp_path: Path) -> None:
    mask = over(160, 320, block())
    items = [
        item_of(tmp_path, "film", "Cardiomegaly", mask, "the cardiac shadow is wide"),
        item_of(tmp_path, "film", "Cardiomegaly", mask),
    ]
    forced = []

    def force(film: Film, text: str) -> Generation:
        forced.append((film.width, text))
        return planted(f"FINDINGS: {text}.", {text: block()})

    def explain(_: Film) -> Generation:
        return planted("FINDINGS: Normal.", {})

    result = evaluate_grounding(explain, items, ["raw"], force=force)
    assert forced == [(320, "the cardiac shadow is wide")]
    assert (result["scored"], result["not_affirmed"]) == (1, 1)
    assert result["methods"]["raw"]["pointing"]["value"] == 1.0
    assert evaluate_grounding(explain, items, ["raw"])["not_affirmed"] == 2


def test_what_was_measured_on_the_model_is_scored_too(tmp_path: Path) -> None:
    items = [item_of(tmp_path, "film", "Cardiomegaly", over(160, 320, block()))]
    generation = planted(TEXT, {})
    cells = np.tile(block().reshape(256), (len(TEXT), 1))
    measured = {"occlusion": MeasuredCells(cells, generation.trace.image_spans)}
    methods = evaluate_grounding(
        lambda _: replace(generation, measured=measured), items, ["raw", "occlusion"]
    )["methods"]
    assert methods["occlusion"]["pointing"]["value"] == 1.0
    assert methods["raw"]["pointing"]["value"] == pytest.approx(20 / 256, abs=1e-4)
    with pytest.raises(MissingEvidenceError):
        evaluate_grounding(lambda _: generation, items, ["occlusion"])


def test_a_film_of_other_sides_than_its_mask_is_refused(tmp_path: Path) -> None:
    item = item_of(tmp_path, "film", "Cardiomegaly", over(160, 320, block()))
    write_film(tmp_path / "film", 320, 160)
    with pytest.raises(DatasetError, match="160 x 320 pixels, its mask 320 x 160"):
        evaluate_grounding(lambda _: planted(TEXT, {}), [item], ["raw"])
    write_film(tmp_path / "film", 80, 160)  # half the size is the same film
    assert evaluate_grounding(lambda _: planted(TEXT, {}), [item], ["raw"])["scored"] == 1
