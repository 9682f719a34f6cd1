"""The verdict on the demo model's own words: certified for the picture, and determined by the text."""

from __future__ import annotations

import numpy as np

from medinterp.evaluation.shortcut import evaluate_shortcut
from medinterp.evaluation.verdicts import evaluate_verdicts
from medinterp.model import Generator, load_model


def test_verdicts_are_counted_on_both_kinds_of_words() -> None:
    done: list[int] = []
    found = evaluate_verdicts(Generator(load_model("phantom")), 3, progress=done.append)
    assert sum(done) == found["films"] == 3
    assert found["text_words"]["words"] == 3
    assert found["picture_words"]["words"] >= 1
    assert found["picture_words"]["value"] > 0.5
    assert found["text_words"]["value"] > 0.5
    assert found["hill_refused"]["words"] == found["edges_refused"]["words"] == found["picture_words"]["words"]


def test_a_model_without_the_shortcut_has_no_marker_words() -> None:
    found = evaluate_shortcut(Generator(load_model("phantom")), 8)
    assert found["words"]["marker"] == 0
    assert found["words"]["nodule"] >= 1
    assert 0 < found["both_drawn"]["words"]["nodule"] < found["words"]["nodule"]
    assert all(np.isnan(v["value"]) if v["value"] is not None else True for v in found["auroc"].values())
