"""Does the peak of a map lie on the finding that the words name? The pointing game on films with known truth."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from medinterp.evaluation.reading import film_of, unseen_films
from medinterp.phantom.films import cells_of, draw_film, facts_of
from medinterp.relevancy import get_method, select_map
from medinterp.types import BoolArray, Film, Float32Array, Generation

FIRST_SEED = 10_200_000
"""First seed of the films that pointing is measured on."""
TOUCHED = 0.10
"""A cell lies on a finding when the finding's mask covers at least this share of it."""


def hits(values: Float32Array, on_finding: BoolArray) -> float:
    """The chance (0..1) that the peak lies on the finding, ties broken at random.

    A constant map scores as a cell drawn at random would.
    """
    peaks = values == values.max()
    return float(on_finding[peaks].mean())


def raw_by_layer(layers: int) -> dict[str, Mapping[str, Any]]:
    """The raw map of every single layer, and of the mean of layers, as options of the method."""
    named: dict[str, Mapping[str, Any]] = {f"raw, layer {k}": {"layer": k} for k in range(layers)}
    return {**named, "raw, mean of layers": {"layer": "mean"}}


def evaluate_pointing(
    read: Callable[[Film], Generation],
    layers: int,
    films: int = 300,
    *,
    progress: Callable[[int], None] | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Pointing accuracy of raw attention, layer by layer, for words that name a finding of one cell or more.

    read: a film in, report and trace out, by a model of `layers` language layers.
    Findings that the report does not affirm are left out (`words` counts the rest). Beside each method
    stand the chance level and the film's centre. 95 % intervals from a bootstrap over films.
    """
    variants = raw_by_layer(layers)
    method = get_method("raw")
    scores: dict[str, list[list[float]]] = {name: [] for name in (*variants, "random cell", "film centre")}
    for synthetic, width, height in unseen_films(films, FIRST_SEED):
        film, sizes = film_of(synthetic, width, height)
        generation = read(film)
        words = generation.report.words
        packs = {name: method.run(generation.trace, options) for name, options in variants.items()}
        drawing = draw_film(synthetic, width, height)
        of_film: dict[str, list[float]] = {name: [] for name in scores}
        for fact, mask, size in zip(facts_of(synthetic, drawing), drawing.masks, sizes, strict=True):
            named = [
                finding
                for finding in generation.report.findings
                if finding.present
                and finding.name == fact.name
                and finding.side in (fact.side, None)
                and (finding.section or "").upper() != "IMPRESSION"
            ]
            if size < 1.0 or not named:
                continue
            on_finding = cells_of(mask) >= TOUCHED
            tokens = [token for k in named[0].word_indices for token in words[k].token_indices]
            for name, pack in packs.items():
                of_film[name].append(hits(select_map(pack, tokens).values, on_finding))
            of_film["random cell"].append(float(on_finding.mean()))
            of_film["film centre"].append(float(on_finding[7:9, 7:9].mean()))
        for name, values in of_film.items():
            if values:
                scores[name].append(values)
        if progress is not None:
            progress(1)
    rng = np.random.default_rng(seed)
    return {
        "films": films,
        "words": sum(len(values) for values in scores["random cell"]),
        "pointing": {name: _interval(values, rng) for name, values in scores.items()},
    }


def _interval(by_film: list[list[float]], rng: np.random.Generator, draws: int = 1000) -> dict[str, float | None]:
    """Mean over words with a 95 % interval, films drawn with replacement."""
    if not by_film:
        return {"value": None, "low": None, "high": None}
    sums = np.array([sum(values) for values in by_film])
    counts = np.array([len(values) for values in by_film])
    drawn = rng.integers(len(by_film), size=(draws, len(by_film)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return {
        "value": round(float(sums.sum() / counts.sum()), 4),
        "low": round(float(low), 4),
        "high": round(float(high), 4),
    }
