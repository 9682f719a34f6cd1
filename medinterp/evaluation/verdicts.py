"""Is the verdict right? On words that counterfactuals certify for the picture, and on words that text determines."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from medinterp.evaluation.benchmark.certified import certify
from medinterp.evaluation.faithfulness import RELIANCE_NATS, Judge
from medinterp.evaluation.grammar import determined_words
from medinterp.evaluation.intervals import bootstrap_rate
from medinterp.evaluation.localisation import TOUCHED, edge_prior
from medinterp.evaluation.metrics import pointing
from medinterp.evaluation.reading import film_of, unseen_films
from medinterp.model import Generator
from medinterp.phantom.films import cells_of, draw_film
from medinterp.relevancy import compute_maps, get_method, select_map
from medinterp.report import is_impression
from medinterp.types import BoolArray, Float32Array

FIRST_SEED = 10_400_000
"""First seed of the films that verdicts are measured on."""
METHODS = ("integrated_edge_gradient", "layer_weighted")
"""Whose maps are judged, beside wrong ones."""


def evaluate_verdicts(
    generator: Generator,
    films: int = 100,
    *,
    first_seed: int = FIRST_SEED,
    progress: Callable[[int], None] | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """How often the verdict is right, with 95 % intervals from a bootstrap over films.

    Of each film one word of a certified token (the picture's) and one that the grammar determines (the text's), both
    drawn at random. `picture_words`: share not called "text"; `text_words`: share called "text". For the picture's
    words and each of METHODS: `region`, the share called "region"; `region_hits`, the share of those whose map points
    at the finding. Three maps that are wrong, and the share of each not called "region": `hill_refused` (smooth and of
    the wrong place), `edges_refused` (the film's edges), `other_finding_refused` (of another finding's word, by the
    first of METHODS).
    """
    rng = np.random.default_rng(seed)
    loaded = generator.loaded
    tallies: dict[str, list[list[float]]] = {}

    def note(name: str, right: bool) -> None:
        tallies.setdefault(name, []).append([float(right)])

    for synthetic, width, height in unseen_films(films, first_seed):
        film, _ = film_of(synthetic, width, height)
        generation = generator.generate([film])
        report, prompt = generation.report, generation.trace.provenance.asked
        ids = [token.token_id for token in report.tokens]
        with loaded.lock:
            certificates = certify(loaded, synthetic, width, height, ids, prompt)
        words = [
            (finding, word)
            for finding in range(len(synthetic.findings))
            for token in certificates.tokens(finding)
            for word in report.words
            if token in word.token_indices and not is_impression(word.section)
        ]
        if words:
            finding, word = words[int(rng.integers(len(words)))]
            measured = generator.measure([film], report, prompt, [m for m in METHODS if get_method(m).on_model])
            packs = compute_maps(generation.trace, METHODS, measured=measured)
            grid = next(iter(packs.values())).values.shape[1:]
            touched = cells_of(draw_film(synthetic, width, height).masks[finding], *grid) >= TOUCHED
            with loaded.lock:
                judge = Judge(loaded, [film], prompt, ids, word.token_indices)
                baselines = judge.baselines()
                maps = {name: select_map(pack, word.token_indices).values for name, pack in packs.items()}
                wrong = {"hill": _hill(touched, rng), "edges": edge_prior(film, *touched.shape)}
                elsewhere = [t for k in range(len(synthetic.findings)) if k != finding for t in certificates.tokens(k)]
                if elsewhere:
                    wrong["other_finding"] = packs[METHODS[0]].values[elsewhere[0]]
                maps |= wrong
                verdicts = {name: judge.judge(name, values, baselines).verdict for name, values in maps.items()}
            note("picture_words", judge.reliance >= RELIANCE_NATS)
            for name in wrong:
                note(f"{name}_refused", verdicts[name] != "region")
            for name in METHODS:
                note(f"{name} region", verdicts[name] == "region")
                if verdicts[name] == "region":
                    note(f"{name} region_hits", pointing(maps[name], touched) > 0.5)
        determined = determined_words(report)
        if determined:
            word = report.words[determined[int(rng.integers(len(determined)))]]
            with loaded.lock:
                judge = Judge(loaded, [film], prompt, ids, word.token_indices)
            note("text_words", judge.reliance < RELIANCE_NATS)
        if progress is not None:
            progress(1)
    return {
        "films": films,
        **{name: {"words": len(of), **bootstrap_rate(of, rng)} for name, of in sorted(tallies.items())},
    }


def _hill(touched: BoolArray, rng: np.random.Generator) -> Float32Array:
    """A hill as wide as two cells, four cells or more from the finding."""
    rows, columns = np.indices(touched.shape)
    away = np.full(touched.shape, np.inf)
    for row, column in np.argwhere(touched):
        away = np.minimum(away, np.hypot(rows - row, columns - column))
    far = np.argwhere(away >= min(4.0, away.max()))
    row, column = far[int(rng.integers(len(far)))]
    hill = np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / (2 * 2.0**2))
    return np.asarray(hill, dtype=np.float32)
