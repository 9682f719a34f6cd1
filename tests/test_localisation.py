"""Pointing and mass where the answer is known, and a model that always looks at the finding."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from medinterp.evaluation.intervals import bootstrap_mean
from medinterp.evaluation.localisation import (
    FIRST_SEED,
    centre_prior,
    evaluate_localisation,
    mean_masks,
    naming_tokens,
)
from medinterp.evaluation.reading import CALIBRATION_SEEDS_START, Place, said_by, unseen_films
from medinterp.phantom.films import TEST_SEEDS_START, cells_of, draw_film, facts_of
from medinterp.phantom.findings import NAMES
from medinterp.phantom.reports import Fact, write_report
from medinterp.relevancy import METHODS
from medinterp.report import build_report
from medinterp.types import Film, Finding, Generation, ImageSpan, Report, Word
from tests.traces import make_trace


def test_the_centre_prior_is_a_hill_on_any_grid() -> None:
    hill = centre_prior(3, 4)
    assert hill.shape == (3, 4)
    assert hill.dtype == np.float32
    np.testing.assert_allclose(hill, hill[::-1, ::-1], rtol=1e-6)
    assert hill[1, 1] == hill[1, 2] == hill.max()
    # A quarter of the side off the middle is one standard deviation.
    assert centre_prior(1, 2)[0, 0] == pytest.approx(np.exp(-0.5))


def test_the_mean_mask_is_of_films_apart_from_the_test() -> None:
    assert CALIBRATION_SEEDS_START + 1_000_000 < TEST_SEEDS_START <= FIRST_SEED
    masks = mean_masks(60)
    assert set(masks) == set(NAMES)
    heart = masks["cardiomegaly"]
    row, column = divmod(int(heart.argmax()), 16)
    assert 7 <= row <= 12
    assert 6 <= column <= 10


def test_bootstrap_draws_whole_films() -> None:
    rng = np.random.default_rng(0)
    alike = bootstrap_mean([[1.0] * 50, [0.0] * 50], rng)
    assert alike == {"value": 0.5, "low": 0.0, "high": 1.0}
    assert bootstrap_mean([], rng) == {"value": None, "low": None, "high": None}


def test_only_what_is_affirmed_without_a_hedge_and_in_one_zone_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    nodule = Finding(0, "nodule", "present", "left", ("upper",), 0, 6, (0,))
    told = [
        dataclasses.replace(nodule, status="uncertain", zones=("lower",)),
        nodule,
        dataclasses.replace(nodule, name="consolidation", zones=("upper", "mid")),
        dataclasses.replace(nodule, name="edema", status="uncertain"),
        dataclasses.replace(nodule, name="tube", section="IMPRESSION"),
    ]
    monkeypatch.setattr("medinterp.evaluation.reading.parse_findings", lambda text: tuple(told))
    assert said_by("") == {"nodule": Place("left", "upper"), "consolidation": Place("left", None)}
    words = (Word(0, "Nodule", 0, 6, (4,), -1.0, 0.5),)
    report = Report("Nodule", (), words, (), tuple(told[1:]), True)
    assert naming_tokens(report, Fact("nodule", "left", "upper", "small")) == [4]
    assert naming_tokens(report, Fact("edema", "left", "upper", "small")) == []


def test_a_model_that_looks_at_what_it_names_is_found_to() -> None:
    """Each report is true, and the tokens that name a finding look at exactly its coverage, the others anywhere."""
    films = {f"synthetic-{s.seed}": (s, w, h) for s, w, h in unseen_films(20, FIRST_SEED)}

    def read(film: Film) -> Generation:
        synthetic, width, height = films[film.sha256]
        drawing = draw_film(synthetic, width, height)
        facts = facts_of(synthetic, drawing)
        text = write_report(list(facts), np.random.default_rng(0))
        count, length = len(text), 270 + len(text)
        spans = [(k, k + 1) for k in range(count)]
        report = build_report([1] * count, spans, text, [-0.1] * count, [()] * count, [0.5] * count, True)
        rows = np.full((count, 256), 0.5 / 256, dtype=np.float32)
        # Each finding has an axis of its own: its cells' final states lie along it, and its words' embeddings.
        axes = np.eye(len(facts) + 1, dtype=np.float32)
        states, embeddings = (np.zeros((length, len(axes)), dtype=np.float32) for length in (256, count))
        for axis, fact, mask in zip(axes[:-1], facts, drawing.masks, strict=True):
            coverage, tokens = cells_of(mask).reshape(256), naming_tokens(report, fact)
            rows[tokens] = 0.5 * coverage / coverage.sum()
            states += np.outer(coverage, axis)
            embeddings[tokens] = axis
        attention = np.tile(rows[:, None, None], (1, 2, 2, 1)).astype(np.float16)
        trace = make_trace(attention, (ImageSpan(5, 261, 16, 16),), prompt_length=270)
        matrices = np.tile(np.eye(length, dtype=np.float16), (2, 1, 1))
        matrices[:, 269 : 269 + count, 5:261] = rows
        norms = np.ones((2, 2, length), dtype=np.float32)
        trace = dataclasses.replace(trace, image_state=states, unembedding=embeddings)
        return Generation(report, dataclasses.replace(trace, layer_attention=matrices, value_norm=norms))

    result = evaluate_localisation(read, 2, 20)
    assert result["films"] == 20
    assert result["words"] > 20
    scores = result["methods"]
    assert scores["random"]["pointing"]["value"] < 0.3
    assert scores["ceiling"]["pointing"]["value"] == 1.0
    of_trace = {name for name, method in METHODS.items() if not method.on_model}
    assert of_trace == set(METHODS) & set(scores)
    for name in of_trace:
        assert scores[name]["pointing"]["value"] > 0.99, name
    # The planted map is the coverage: nearly all of it lies on touched cells, not all of it on covered area.
    assert scores["ceiling"]["mass"]["value"] == 1.0
    assert 0.9 < scores["raw"]["mass"]["value"] < 1.0
    ceiling = scores["ceiling"]["covered_mass"]["value"]
    assert 0.6 * ceiling < scores["raw"]["covered_mass"]["value"] < ceiling < 1.0
    for metric in ("mass", "covered_mass"):
        assert scores["mean mask"][metric]["value"] < 0.8 * scores["ceiling"][metric]["value"]
        assert scores["random"][metric]["value"] < 0.3
