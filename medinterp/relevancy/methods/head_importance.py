"""Head importance: the few heads that look at one place."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from medinterp.errors import MethodError
from medinterp.relevancy.grid import to_grid
from medinterp.relevancy.method import CellValues, Method, Options, only_options
from medinterp.types import AttentionTrace, Float32Array, float32_of, spans_by_film

HEADS = 3
"""How many heads are taken: more did not help in the paper (section 4.2)."""


def compute(trace: AttentionTrace, options: Options) -> CellValues:
    """sum over (l,h) of s_lh A[l,h][q_t, image], float32 [T, cells]; s is 1/k for the k best heads.

    Source `localisation`: of the heads whose image mass (mean over tokens) is above the elbow of the sorted
    masses, the k of lowest spatial entropy (mean over tokens). Option `heads` is k, 3 unless told. The notes
    name the heads. Raises MethodError for another option or source.
    """
    only_options("head_importance", options, "heads", "source")
    source, count = options.get("source", "localisation"), options.get("heads", HEADS)
    if source != "localisation":
        raise MethodError(
            f"head_importance has the source localisation, not {source!r}; "
            "the source gradient runs on the model: ask for head_importance_gradient"
        )
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise MethodError(f"heads is a number of heads, 1 or more, not {count!r}")
    rows = trace.image_attention
    chosen = best_heads(trace)[:count]
    total = np.zeros((rows.shape[0], rows.shape[3]), dtype=np.float32)
    for layer, head in chosen:
        total += float32_of(rows[:, layer, head])
    total /= max(len(chosen), 1)
    named = ", ".join(f"layer {layer} head {head}" for layer, head in chosen)
    return CellValues(total, (f"heads: {named}",) if named else ())


def best_heads(trace: AttentionTrace) -> list[tuple[int, int]]:
    """Heads (layer, head) above the elbow of image mass, the most focused first."""
    if not trace.report_length:
        return []
    mass = trace.attention_mass[..., 0].mean(axis=0, dtype=np.float64)
    kept = np.argwhere(mass > elbow(mass.ravel()))
    if not len(kept):
        kept = np.argwhere(mass >= mass.max())
    entropies = [_mean_entropy(trace, int(layer), int(head)) for layer, head in kept]
    order = np.argsort(entropies, kind="stable")
    return [(int(kept[k][0]), int(kept[k][1])) for k in order]


def _mean_entropy(trace: AttentionTrace, layer: int, head: int) -> float:
    """Spatial entropy of a head, mean over tokens and images where it prefers some cells; else infinite."""
    rows = float32_of(trace.image_attention[:, layer, head])
    grids = [to_grid(rows, trace.image_spans, image) for image in range(len(spans_by_film(trace.image_spans)))]
    entropies = np.concatenate([spatial_entropies(grid) for grid in grids])
    known = entropies[np.isfinite(entropies)]
    return float(known.mean()) if len(known) else math.inf


def elbow(values: npt.NDArray[np.floating[Any]]) -> float:
    """The value at which the sorted values bend most: farthest below the chord from the least to the largest."""
    ordered = np.sort(values)
    chord = np.linspace(ordered[0], ordered[-1], len(ordered))
    return float(ordered[int(np.argmax(chord - ordered))])


def spatial_entropies(grids: Float32Array) -> npt.NDArray[np.float64]:
    """-sum_n P(C_n) log P(C_n) of every grid, nats [T]; P: the share of weight of each 8-connected region C_n.

    grids: [T, rows, columns]; regions lie above the grid's mean. nan for a grid that prefers no cell.
    """
    count, rows, columns = grids.shape
    # All grids in one tall picture, an empty row below each, so that regions of two grids never touch.
    tall = np.zeros((count, rows + 1, columns), dtype=np.uint8)
    tall[:, :rows] = grids > grids.mean(axis=(1, 2), keepdims=True)
    regions, labels = cv2.connectedComponents(tall.reshape(-1, columns), connectivity=8)
    inside = labels.reshape(count, rows + 1, columns)[:, :rows].ravel()
    weight = np.bincount(inside, weights=grids.ravel(), minlength=regions)[1:]
    owner = np.zeros(regions, dtype=np.intp)
    owner[inside] = np.repeat(np.arange(count), rows * columns)
    total = np.bincount(owner[1:], weights=weight, minlength=count)
    share = weight / total[owner[1:]]
    entropy = np.bincount(owner[1:], weights=-share * np.log(share), minlength=count)
    return np.where(total > 0, entropy, np.nan)


METHOD = Method(
    name="head_importance",
    family="attention",
    title="Head importance",
    meaning="Attention of the few heads that look at the film and at one place in it.",
    citation="Kang et al., Your Large Vision-Language Model Only Needs a Few Attention Heads, CVPR 2025, sec. 4",
    needs=frozenset({"image_attention", "attention_mass"}),
    compute=compute,
    layers="chosen heads of all layers",
)
