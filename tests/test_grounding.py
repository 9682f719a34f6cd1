"""Grounding where the score is known: maps that were planted, masks that they meet or miss."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medinterp.errors import DatasetError, MissingEvidenceError
from medinterp.evaluation.datasets import GroundingItem
from medinterp.evaluation.grounding import METRICS, affirming_tokens, check_films, evaluate_grounding, phrase_tokens
from medinterp.evaluation.metrics import SHARES
from medinterp.report import build_report
from medinterp.types import BoolArray, Film, Float32Array, Generation, ImageSpan, MeasuredCells, Report
from tests.test_datasets import write_film
from tests.traces import make_trace


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


def test_hedged_words_are_asked_where_they_lie_and_denied_ones_are_not() -> None:
    report = report_of("FINDINGS: Left pleural effusion. Edema.")
    for status, tokens in (("present", "Edema"), ("uncertain", "Edema"), ("absent", "")):
        changed = replace(report.findings[1], status=status)
        told = replace(report, findings=(report.findings[0], changed))
        assert told_by(report, affirming_tokens(told, ("edema",))) == tokens


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
    with pytest.raises(DatasetError, match="its mask 320 x 160"):
        check_films([item])
    write_film(tmp_path / "film", 80, 160)  # half the size is the same film
    assert evaluate_grounding(lambda _: planted(TEXT, {}), [item], ["raw"])["scored"] == 1
    check_films([item])


def test_a_film_that_cannot_be_read_is_named_before_the_model_is_asked(tmp_path: Path) -> None:
    items = [item_of(tmp_path, name, "Cardiomegaly", over(160, 320, block())) for name in ("one", "two")]
    items[1].image.write_bytes(b"no film")
    with pytest.raises(DatasetError, match=f"{items[1].image.name} cannot be read as a film"):
        check_films(items)
    items[1].image.unlink()
    with pytest.raises(DatasetError, match="cannot be read as a film"):
        evaluate_grounding(lambda _: planted(TEXT, {}), items, ["raw"])
