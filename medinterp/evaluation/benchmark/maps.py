"""The maps of some tokens of a report by every method, and what each of them took."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import numpy as np
import torch

from medinterp.evaluation.benchmark.memory import with_peak
from medinterp.model.gradients import edge_gradient, gradient_relevancy
from medinterp.model.integrated import input_x_gradient, integrated_edge_gradient, integrated_gradients
from medinterp.model.loading import LoadedModel
from medinterp.model.occlusion import occlusion
from medinterp.model.prompt import build_prompt
from medinterp.relevancy import METHODS, compute_maps
from medinterp.relevancy.grid import to_grid
from medinterp.types import Film, Float32Array, Generation, MeasuredCells

EXACT = "occlusion"
COARSE = "occlusion, coarse to fine"
BACKWARD = {
    "gradient_relevancy": gradient_relevancy,
    "input_x_gradient": input_x_gradient,
    "integrated_gradients": integrated_gradients,
}
JOINED = "consensus with gradient"
"""The consensus as it is once a gradient method was asked for: with the one of `JOINING`."""
JOINING = "integrated_edge_gradient"
THOROUGH = (EXACT, COARSE, *BACKWARD)
"""A forward for each cell, or a backward for each token: these take a hundred times what the others do."""
MIB = 2.0**20
Made = TypeVar("Made")


@dataclass(eq=False)
class TokenMaps:
    """maps: by method, float32 [tokens, rows, columns]; seconds: by method, of all the report's tokens; memory: by
    method, the most MiB held beyond what the model and the report took, where the system tells."""

    maps: dict[str, Float32Array] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    memory: dict[str, float] = field(default_factory=dict)

    def timed(self, name: str, run: Callable[[], Made], device: torch.device, scale: float = 1.0) -> Made:
        """What run answers, with what it took; scale: how much more the whole report would have taken."""

        def clocked() -> Made:
            started = time.perf_counter()
            made = run()
            self.seconds[name] = (time.perf_counter() - started) * scale
            return made

        made, peak = with_peak(clocked, device)
        if peak is not None:
            self.memory[name] = peak / MIB
        return made


def token_maps(
    loaded: LoadedModel,
    film: Film,
    generation: Generation,
    tokens: Sequence[int],
    *,
    thorough: bool = True,
    coarse: bool = True,
) -> TokenMaps:
    """Maps of the named tokens by every registered method, and by coarse-to-fine occlusion. Holds loaded.lock.

    Methods that ask the model again are run only as far as these tokens need, and their seconds are those of the whole
    report: occlusion's by the positions that were left out, those of BACKWARD by the tokens, without what is done once.
    thorough: with the methods of THOROUGH; coarse: also with the coarse one. The consensus is that of a report's trace,
    and JOINED.
    """
    trace, report = generation.trace, generation.report
    inputs = build_prompt(loaded, [film], trace.provenance.asked)
    ids = [token.token_id for token in report.tokens]
    chosen, last = list(tokens), max(tokens) + 1
    count, cells = len(ids), inputs.cells
    made = TokenMaps()
    measured: dict[str, MeasuredCells] = {}

    def keep(name: str, values: Float32Array, rows: Sequence[int]) -> None:
        whole = np.zeros((count, cells), dtype=np.float32)
        whole[list(rows)] = values
        measured[name] = MeasuredCells(whole, inputs.image_spans)

    def occluded(name: str, coarse_to_fine: bool) -> Float32Array:
        longer = (inputs.length + count) / (inputs.length + last)
        run = partial(occlusion, loaded, inputs, ids[:last], coarse_to_fine=coarse_to_fine)
        return made.timed(name, run, loaded.device, longer)

    with loaded.lock:
        gradients = made.timed("edge_gradient", lambda: edge_gradient(loaded, inputs, ids), loaded.device)
        keep("edge_gradient", gradients.edges, range(count))
        keep("head_importance_gradient", gradients.head_map, range(count))
        for costs in (made.seconds, made.memory):
            if "edge_gradient" in costs:  # one backward gives both
                costs["head_importance_gradient"] = costs["edge_gradient"]
        run = partial(integrated_edge_gradient, loaded, inputs, ids)
        keep("integrated_edge_gradient", made.timed("integrated_edge_gradient", run, loaded.device), range(count))
        if thorough:
            for name, method in BACKWARD.items():
                run = partial(method, loaded, inputs, ids[:last])
                keep(name, made.timed(name, partial(run, tokens=chosen), loaded.device), chosen)
                started = time.perf_counter()
                run(tokens=[])
                once = time.perf_counter() - started
                made.seconds[name] = once + max(made.seconds[name] - once, 0.0) * count / len(chosen)
            keep(EXACT, occluded(EXACT, False), range(last))
            if coarse:
                values = occluded(COARSE, True)[chosen]
                made.maps[COARSE] = to_grid(values, inputs.image_spans)

    for name, registered in METHODS.items():
        if not registered.on_model:
            packs = made.timed(name, partial(compute_maps, trace, [name]), loaded.device)
        elif name in measured:
            packs = compute_maps(trace, [name], measured=measured)
        else:
            continue
        made.maps[name] = packs[name].values[chosen]
    joining = {JOINING: measured[JOINING]}
    packs = made.timed(JOINED, partial(compute_maps, trace, ["consensus"], measured=joining), loaded.device)
    made.maps[JOINED] = packs["consensus"].values[chosen]
    made.seconds[JOINED] += made.seconds[JOINING]
    if JOINED in made.memory:
        made.memory[JOINED] = max(made.memory[JOINED], made.memory[JOINING])
    return made
