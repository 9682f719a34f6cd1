"""How often answers held over many questions, with 95 % intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from medinterp.evaluation.intervals import bootstrap_mean
from medinterp.evaluation.sensitivity.results import PARAPHRASE, Comparison, Variant

Rate = dict[str, float | None]
ByGroup = Sequence[Sequence[float]]


def summarise(comparisons: Sequence[Comparison], *, seed: int = 0) -> dict[str, Any]:
    """Consistency, changed answers, margins and map shifts over groups of questions.

    "consistency": the share of paraphrases with the same answer as their question. For paraphrases and for each
    perturbation "changed" (share of answers), "margin_change" (mean, nats) and for each method "bits" (mean
    Jensen-Shannon divergence) and "bits_same_answer" (of variants with the same answer alone); each is {"value",
    "low", "high"}, the interval from a bootstrap over groups, None for fewer than two groups. Groups of one film are
    not independent: on few films the intervals are too narrow. A rate of exactly 0 or 1 has no width by bootstrap,
    however few the groups.
    """
    kinds = list(dict.fromkeys(variant.name for one in comparisons for variant in one.variants))
    by_kind = {
        kind: [[variant for variant in one.variants if variant.name == kind] for one in comparisons] for kind in kinds
    }
    methods = list(dict.fromkeys(name for one in comparisons for name in one.methods))
    rng = np.random.default_rng(seed)
    reworded = by_kind.get(PARAPHRASE, [])
    return {
        "groups": len(comparisons),
        "films": len({one.film_sha256 for one in comparisons}),
        "paraphrases": sum(map(len, reworded)),
        "consistency": _rate(_each(reworded, lambda variant: [float(not variant.changed)]), rng),
        "variants": {kind: _kind(by_kind[kind], methods, rng) for kind in kinds},
    }


def _kind(groups: Sequence[Sequence[Variant]], methods: Sequence[str], rng: np.random.Generator) -> dict[str, Any]:
    def bits(method: str, *, same: bool) -> Rate:
        def of(variant: Variant) -> list[float]:
            kept = [shift for shift in variant.shifts if not (same and shift.other_answer)]
            return [shift.bits for shift in kept if shift.method == method and shift.bits is not None]

        return _rate(_each(groups, of), rng)

    return {
        "changed": _rate(_each(groups, lambda variant: [float(variant.changed)]), rng),
        "margin_change": _rate(_each(groups, lambda variant: [variant.margin_change]), rng),
        "maps": {name: {"bits": bits(name, same=False), "bits_same_answer": bits(name, same=True)} for name in methods},
    }


def _each(groups: Sequence[Sequence[Variant]], values: Callable[[Variant], list[float]]) -> ByGroup:
    return [[value for variant in group for value in values(variant)] for group in groups]


def _rate(groups: ByGroup, rng: np.random.Generator) -> Rate:
    """The mean with its interval over the groups that have a value."""
    filled = [group for group in groups if group]
    rate = bootstrap_mean(filled, rng)
    return rate if len(filled) > 1 else {**rate, "low": None, "high": None}
