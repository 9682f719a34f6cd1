"""The maps of some tokens of a report by every method, and what each of them took."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from medinterp.model.gradients import edge_gradient, gradient_relevancy
from medinterp.model.loading import LoadedModel
from medinterp.model.occlusion import occlusion
from medinterp.model.prompt import build_prompt
from medinterp.relevancy import METHODS, compute_maps
from medinterp.types import Film, Float32Array, Generation, MeasuredCells

EXACT = "occlusion"
COARSE = "occlusion, coarse to fine"


@dataclass(eq=False)
class TokenMaps:
    """maps: by method, float32 [tokens, rows, columns]; seconds: by method, of all the report's tokens."""

    maps: dict[str, Float32Array] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)


def token_maps(
    loaded: LoadedModel, film: Film, generation: Generation, tokens: Sequence[int], *, coarse: bool = True
) -> TokenMaps:
    """Maps of the named tokens by every registered method, and by coarse-to-fine occlusion. Holds loaded.lock.

    Methods that ask the model again are run only as far as these tokens need; their seconds are scaled to the whole
    report by the tokens, or positions, that were left out.
    """
    trace, report = generation.trace, generation.report
    inputs = build_prompt(loaded, [film], trace.provenance.prompt)
    ids = [token.token_id for token in report.tokens]
    last = max(tokens) + 1
    count, cells = len(ids), loaded.facts.cells
    made = TokenMaps()

    def timed(name: str, run: Callable[[], Float32Array], scale: float = 1.0) -> Float32Array:
        started = time.perf_counter()
        values = run()
        made.seconds[name] = (time.perf_counter() - started) * scale
        return values

    longer = (inputs.length + count) / (inputs.length + last)
    with loaded.lock:
        gradients = edge_gradient(loaded, inputs, ids)
        timed("edge_gradient", lambda: edge_gradient(loaded, inputs, ids).edges)
        made.seconds["head_importance_gradient"] = made.seconds["edge_gradient"]
        relevancy = timed(
            "gradient_relevancy",
            lambda: gradient_relevancy(loaded, inputs, ids, tokens=list(tokens)),
            count / len(tokens),
        )
        exact = timed(EXACT, lambda: occlusion(loaded, inputs, ids[:last]), longer)
        if coarse:
            values = timed(COARSE, lambda: occlusion(loaded, inputs, ids[:last], coarse_to_fine=True), longer)
            made.maps[COARSE] = _grid(loaded, values[list(tokens)])

    def padded(values: Float32Array, rows: Sequence[int]) -> MeasuredCells:
        whole = np.zeros((count, cells), dtype=np.float32)
        whole[list(rows)] = values
        return MeasuredCells(whole, inputs.image_spans)

    measured = {
        "edge_gradient": padded(gradients.edges, range(count)),
        "head_importance_gradient": padded(gradients.head_map, range(count)),
        "gradient_relevancy": padded(relevancy, tokens),
        EXACT: padded(exact, range(last)),
    }
    for name, method in METHODS.items():
        started = time.perf_counter()
        pack = compute_maps(trace, [name], measured=measured)[name]
        if not method.on_model:
            made.seconds[name] = time.perf_counter() - started
        made.maps[name] = pack.values[list(tokens)]
    return made


def _grid(loaded: LoadedModel, values: Float32Array) -> Float32Array:
    return values.reshape(len(values), loaded.facts.grid_rows, loaded.facts.grid_columns)
