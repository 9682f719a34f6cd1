"""Can a method tell a word that a marker drove from one that a nodule drove? On a model that learned a shortcut."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from medinterp.evaluation.benchmark.certified import COLLAPSE_NATS, STEADY_NATS, losses_on
from medinterp.evaluation.benchmark.maps import token_maps
from medinterp.evaluation.localisation import TOUCHED, centre_prior
from medinterp.evaluation.metrics import auroc, mass
from medinterp.evaluation.reading import film_of
from medinterp.model import Generator
from medinterp.phantom.films import cells_of, marker_cover
from medinterp.phantom.shortcut import MARKER_SIZE, nodule_of, sample_shortcut_film, without_marker, without_nodule
from medinterp.report import is_impression
from medinterp.types import BoolArray, Float32Array

FIRST_SEED = 10_500_000
"""First seed of the films that shortcuts are told on."""
DECORRELATED = 0.5
SIDE = 768
"""Pixels a side of the films."""
RESAMPLES = 1000


@dataclass(frozen=True, eq=False)
class _Word:
    """scores: by method, the map's mass on the marker's place; by_marker: what drove the word; both: marker and nodule
    are on its film."""

    scores: dict[str, float]
    by_marker: bool
    both: bool


def evaluate_shortcut(
    generator: Generator,
    films: int = 300,
    *,
    first_seed: int = FIRST_SEED,
    progress: Callable[[int], None] | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """AUROC of every method for telling marker-driven from nodule-driven words, with 95 % intervals over films.

    generator: of a model trained on films where an "L" marker goes with a nodule. On films where the two go apart,
    the first token outside the impression that collapses (see certified) when the marker is never drawn and holds when
    the nodule is not is marker-driven; the other way round, nodule-driven. A method's score for a word is the share of
    its map on the cells where the marker stands, or would stand. `words` counts both kinds; None where one is missing.
    `both_drawn`: the same for words of films that show marker and nodule, where a map has to choose between the two.
    """
    loaded = generator.loaded
    cover = marker_cover("L", SIDE, SIDE, MARKER_SIZE) > 0
    words: list[_Word] = []
    for number in range(first_seed, first_seed + films):
        synthetic = sample_shortcut_film(number, DECORRELATED)
        three = [film_of(f, SIDE, SIDE)[0] for f in (synthetic, without_marker(synthetic), without_nodule(synthetic))]
        generation = generator.generate(three[:1])
        ids = [token.token_id for token in generation.report.tokens]
        if ids:
            with loaded.lock:
                losses = losses_on(loaded, three, ids, generation.trace.provenance.asked)
            collapsed, holds = losses >= COLLAPSE_NATS, losses < STEADY_NATS
            end = next((s.start for s in generation.report.sections if is_impression(s.name)), None)
            told = [t.index for t in generation.report.tokens if end is None or t.start < end]
            driven = [t for t in told if (collapsed[:, t] & holds[::-1, t]).any()]
            if driven:
                maps = token_maps(loaded, three[0], generation, driven[:1], coarse=False).maps
                marker = cells_of(cover, *next(iter(maps.values())).shape[1:]) >= TOUCHED
                scores = {name: mass(values[0], marker) for name, values in maps.items()}
                scores["centre"] = mass(centre_prior(*marker.shape), marker)
                both = synthetic.distractors.marker is not None and nodule_of(synthetic) is not None
                words.append(_Word(scores, bool(collapsed[0, driven[0]]), both))
        if progress is not None:
            progress(1)
    rng = np.random.default_rng(seed)
    return {"films": films, **_summary(words, rng), "both_drawn": _summary([word for word in words if word.both], rng)}


def _summary(words: list[_Word], rng: np.random.Generator) -> dict[str, Any]:
    labels = np.array([word.by_marker for word in words], dtype=bool)
    methods = list(words[0].scores) if words else []
    return {
        "words": {"marker": int(labels.sum()), "nodule": int((~labels).sum())},
        "auroc": {
            name: _interval(np.array([word.scores[name] for word in words], dtype=np.float32), labels, rng)
            for name in methods
        },
    }


def _interval(scores: Float32Array, labels: BoolArray, rng: np.random.Generator) -> dict[str, float | None]:
    value = auroc(scores, labels)
    if value is None:
        return {"value": None, "low": None, "high": None}
    draws = [rng.integers(len(labels), size=len(labels)) for _ in range(RESAMPLES)]
    drawn = [one for one in (auroc(scores[k], labels[k]) for k in draws) if one is not None]
    low, high = np.percentile(drawn, [2.5, 97.5])
    return {"value": round(value, 4), "low": round(float(low), 4), "high": round(float(high), 4)}
