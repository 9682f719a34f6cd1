"""Activation map: image cells whose final state already speaks the word."""

from __future__ import annotations

import numpy as np

from medinterp.relevancy.method import CellValues, Method, Options, only_options
from medinterp.types import AttentionTrace

NOTE = "plausibility, not causal: how much a cell's state resembles the word, whatever drove it"


def compute(trace: AttentionTrace, options: Options) -> CellValues:
    """relu(a_t - s_t b_t), a_t = relu(F w_t), float32 [T, cells].

    F: the trace's `image_state` [cells, d]; w_t: `unembedding` of token t. b_t is the mean of the maps a_j of the
    different tokens before t, and s_t = <a_t, b_t> / <b_t, b_t> the share of a_t that they explain: what every word
    lights up is taken away (Li et al., Token Activation Map, ICCV 2025, sec. 3.2, with one scale instead of one for
    each earlier token). The mean leaves out earlier places of the same token.
    """
    only_options("activation_map", options)
    tokens = len(trace.unembedding)
    activations = np.maximum(trace.unembedding @ trace.image_state.T, 0.0)
    identity = np.unique(trace.unembedding, axis=0, return_inverse=True)[1].ravel() if tokens else np.zeros(0, int)
    first = {int(kind): int(np.flatnonzero(identity == kind)[0]) for kind in np.unique(identity)}
    maps = np.zeros_like(activations)
    for token in range(tokens):
        before = [place for kind, place in first.items() if place < token and kind != identity[token]]
        others = activations[before].mean(axis=0) if before else np.zeros(activations.shape[1], dtype=np.float32)
        power = float(others @ others)
        share = float(activations[token] @ others) / power if power > 0 else 0.0
        maps[token] = np.maximum(activations[token] - share * others, 0.0)
    return CellValues(maps.astype(np.float32), (NOTE,))


METHOD = Method(
    name="activation_map",
    family="activation",
    title="Activation map",
    meaning="Cells whose final state resembles the word. Plausibility, not causal.",
    citation="Li et al., Token Activation Map, ICCV 2025, sec. 3",
    needs=frozenset({"image_state", "unembedding"}),
    compute=compute,
    unit="inner product of states",
    layers="the final states",
)
