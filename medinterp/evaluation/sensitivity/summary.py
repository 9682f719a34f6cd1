"""How often answers held over many questions, with 95 % intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from medinterp.evaluation.intervals import bootstrap_mean, bootstrap_rate
from medinterp.evaluation.sensitivity.results import PARAPHRASE, Comparison, Variant

Rate = dict[str, float | None]
ByFilm = Sequence[Sequence[float]]


def summarise(comparisons: Sequence[Comparison], *, seed: int = 0) -> dict[str, Any]:
    """Consistency, changed answers, margins and map shifts over groups of questions.

    "consistency": the share of paraphrases with the same answer as their question. For paraphrases and for each
    perturbation "changed" (share of answers), "margin_change" (mean, nats) and for each method "bits" (mean
    Jensen-Shannon divergence) and "bits_same_answer" (of variants with the same answer alone); each is {"value",
    "low", "high"}, the interval from a bootstrap over films with all their groups, None for fewer than two films.
    """
    kinds = list(dict.fromkeys(variant.name for one in comparisons for variant in one.variants))
    films = list(dict.fromkeys(one.film_sha256 for one in comparisons))
    by_kind = {
        kind: [
            [v for one in comparisons if one.film_sha256 == film for v in one.variants if v.name == kind]
            for film in films
        ]
        for kind in kinds
    }
    methods = list(dict.fromkeys(name for one in comparisons for name in one.methods))
    rng = np.random.default_rng(seed)
    reworded = by_kind.get(PARAPHRASE, [])
    return {
        "groups": len(comparisons),
        "films": len(films),
        "paraphrases": sum(map(len, reworded)),
        "consistency": _rate(_each(reworded, lambda variant: [float(not variant.changed)]), rng, bootstrap_rate),
        "variants": {kind: _kind(by_kind[kind], methods, rng) for kind in kinds},
    }


def _kind(films: Sequence[Sequence[Variant]], methods: Sequence[str], rng: np.random.Generator) -> dict[str, Any]:
    def bits(method: str, *, same: bool) -> Rate:
        def of(variant: Variant) -> list[float]:
            kept = [shift for shift in variant.shifts if not (same and shift.other_answer)]
            return [shift.bits for shift in kept if shift.method == method and shift.bits is not None]

        return _rate(_each(films, of), rng)

    return {
        "changed": _rate(_each(films, lambda variant: [float(variant.changed)]), rng, bootstrap_rate),
        "margin_change": _rate(_each(films, lambda variant: [variant.margin_change]), rng),
        "maps": {name: {"bits": bits(name, same=False), "bits_same_answer": bits(name, same=True)} for name in methods},
    }


def _each(films: Sequence[Sequence[Variant]], values: Callable[[Variant], list[float]]) -> ByFilm:
    return [[value for variant in film for value in values(variant)] for film in films]


def _rate(films: ByFilm, rng: np.random.Generator, of: Callable[..., Rate] = bootstrap_mean) -> Rate:
    """The mean with its interval over the films that have a value."""
    filled = [film for film in films if film]
    rate = of(filled, rng)
    return rate if len(filled) > 1 else {**rate, "low": None, "high": None}
