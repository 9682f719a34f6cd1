"""Attention flow: attention followed through all layers, residual connections included (rollout)."""

from __future__ import annotations

import numpy as np

from medinterp.relevancy.grid import image_cells
from medinterp.relevancy.method import CellValues, Method, Options, only_options
from medinterp.types import AttentionTrace, float32_of


def compute(trace: AttentionTrace, options: Options) -> CellValues:
    """Rollout as row vectors, float32 [T, cells]: the share of the walk that ends on each image cell.

    r_t starts as e at q_t; r <- r (A_l / 2 + I / 2) from the last layer down to the first, A_l the head-mean.
    One [T, N] x [N, N] product a layer: O(L T N^2), never an N x N by N x N product. Max-flow, the other method
    of the paper, is not used: it saturates.
    """
    only_options("attention_flow", options)
    matrices = trace.layer_attention
    assert matrices is not None
    count, prompt = trace.report_length, trace.prompt_length
    # Row q_t of the last token is the last that any token's walk can reach.
    length = prompt - 1 + count
    walk = np.zeros((count, length), dtype=np.float32)
    walk[np.arange(count), prompt - 1 + np.arange(count)] = 1.0
    for matrix in matrices[::-1]:
        walk += walk @ float32_of(matrix[:length, :length])
        walk *= 0.5
    return CellValues(walk[:, image_cells(trace)])


METHOD = Method(
    name="attention_flow",
    family="propagation",
    title="Attention flow",
    meaning="Where attention leads when it is followed back through all layers to the film.",
    citation="Abnar & Zuidema, Quantifying Attention Flow in Transformers, ACL 2020, eq. 1 and 2 (rollout)",
    needs=frozenset({"layer_attention"}),
    compute=compute,
)
