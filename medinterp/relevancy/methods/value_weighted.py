"""Value-weighted attention: what was looked at, times how much it had to say."""

from __future__ import annotations

import numpy as np

from medinterp.relevancy.grid import image_cells
from medinterp.relevancy.method import CellValues, Method, Options, only_options
from medinterp.types import AttentionTrace, float32_of


def compute(trace: AttentionTrace, options: Options) -> CellValues:
    """Sum over layers and heads of A[l,h][q_t, i] || W_O^h v_i ||, float32 [T, cells].

    The norm is that of the trace's `value_norm`. A sink collects attention and has a small value: its share
    falls here without being cut away.
    """
    only_options("value_weighted", options)
    norms = trace.value_norm
    assert norms is not None
    on_image = norms[..., image_cells(trace)]
    rows = trace.image_attention
    total = np.zeros((rows.shape[0], rows.shape[3]), dtype=np.float32)
    for layer in range(rows.shape[1]):
        total += np.einsum("thi,hi->ti", float32_of(rows[:, layer]), on_image[layer])
    return CellValues(total)


METHOD = Method(
    name="value_weighted",
    family="attention",
    title="Value-weighted attention",
    meaning="Attention of all layers and heads, each cell weighted by how much its value could change the word.",
    citation="Kobayashi et al., Attention Is Not Only a Weight, EMNLP 2020, eq. 5",
    needs=frozenset({"image_attention", "value_norm"}),
    compute=compute,
    unit="attention weight x value norm",
)
