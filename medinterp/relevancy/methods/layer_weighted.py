"""Layer-weighted relevancy: attention of all layers, each as much as it was learned to count."""

from __future__ import annotations

import numpy as np

from medinterp.relevancy.method import CellValues, Method, Options, only_options
from medinterp.types import AttentionTrace

UNCALIBRATED = "uncalibrated: every layer counts the same; `medinterp calibrate` learns the weights of this model"


def compute(trace: AttentionTrace, options: Options) -> CellValues:
    """sum_l w_l mean_h A[l,h][q_t, image], float32 [T, cells].

    w: the trace's `layer_weights`, learned against occlusion on calibration films (`evaluation.calibration`);
    uniform, and said so in the notes, for a model that nobody has calibrated.
    """
    only_options("layer_weighted", options)
    learned = trace.layer_weights
    rows = trace.head_mean
    layers = rows.shape[1]
    weights = np.full(layers, 1.0 / layers, dtype=np.float32) if learned is None else learned
    total = np.einsum("l,tli->ti", weights, rows)
    return CellValues(total, (UNCALIBRATED,) if learned is None else ())


METHOD = Method(
    name="layer_weighted",
    family="attention",
    title="Layer-weighted relevancy",
    meaning="Attention of all layers, weighted by how well each layer foretold what hiding a cell does.",
    citation="weights by EM for mixture proportions, Dempster et al., JRSS B 1977, against occlusion maps",
    needs=frozenset({"image_attention"}),
    compute=compute,
    layers="all layers, weighted",
    learned=True,
)
