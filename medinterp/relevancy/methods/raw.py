"""Raw attention: where the row that predicted a token looked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from medinterp.errors import MethodError
from medinterp.relevancy.grid import to_grid
from medinterp.relevancy.method import Method
from medinterp.types import AttentionTrace, MapPack


def compute(trace: AttentionTrace, options: Mapping[str, Any]) -> MapPack:
    """Mean over heads of A[layer, h][q_t, image], float16 [T, rows, columns]; it sums to the mass there.

    options: `layer` (default the last; negative counts from the end; "mean" for the mean of all layers) and
    `head` (default the mean of all heads). Raises MethodError for a layer or head that the model has not.
    """
    unknown = sorted(set(options) - {"layer", "head"})
    if unknown:
        raise MethodError(f"raw has the options layer and head, not {', '.join(unknown)}")
    rows = trace.image_attention
    layers, heads = rows.shape[1:3]
    layer, head = options.get("layer", -1), options.get("head")
    if layer == "mean":
        chosen = rows.mean(axis=1, dtype=np.float32)
        mass = trace.attention_mass[..., 0].mean(axis=1)
    else:
        index = _index("layer", layer, layers)
        chosen, mass = rows[:, index], trace.attention_mass[:, index, :, 0]
    if head is None:
        values, seen = chosen.mean(axis=1, dtype=np.float32), mass.mean(axis=1)
    else:
        values, seen = chosen[:, _index("head", head, heads)], mass[:, _index("head", head, heads)]
    notes = []
    blind = int((seen <= 0.0).sum())
    if blind:
        notes.append(f"{blind} of {len(seen)} tokens: the image lies outside this layer's sliding window")
    return MapPack("raw", to_grid(values, trace), signed=False, additive=False, notes=tuple(notes))


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
    needs=frozenset({"image_attention", "attention_mass"}),
    compute=compute,
)
