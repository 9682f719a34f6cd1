"""Raw attention: where the row that predicted a token looked."""

from __future__ import annotations

from typing import Any

import numpy as np

from medinterp.errors import MethodError
from medinterp.relevancy.method import CellValues, Method, Options, only_options
from medinterp.types import AttentionTrace


def compute(trace: AttentionTrace, options: Options) -> CellValues:
    """Mean over heads of A[layer, h][q_t, image], float32 [T, cells]; it sums to the mass there.

    options: `layer` (default the last; negative counts from the end; "mean" for the mean of all layers) and
    `head` (default the mean of all heads). Raises MethodError for a layer or head that the model has not.
    """
    only_options("raw", options, "layer", "head")
    rows = trace.image_attention
    layers, heads = rows.shape[1:3]
    layer, head = options.get("layer", -1), options.get("head")
    chosen = slice(None) if layer == "mean" else slice(k := _index("layer", layer, layers), k + 1)
    if head is None:
        values = trace.head_mean[:, chosen].mean(axis=1)
    else:
        k = _index("head", head, heads)
        values = rows[:, chosen, k].mean(axis=1, dtype=np.float32)
    return CellValues(values)


def _index(what: str, value: Any, count: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not -count <= value < count:
        raise MethodError(f"{what} {value!r} is not one of this model's {count} (0 to {count - 1})")
    return value % count


METHOD = Method(
    name="raw",
    family="attention",
    title="Raw attention",
    meaning="Where the last layer looked, averaged over its heads, when it wrote the word.",
    citation="Vaswani et al., Attention Is All You Need, NeurIPS 2017, eq. 1",
    needs=frozenset({"image_attention"}),
    compute=compute,
    layers="the last layer, mean over heads",
)
