"""Sink cells: image cells that collect attention whatever is being written."""

from __future__ import annotations

import numpy as np

from medinterp.types import AttentionTrace, BoolArray

TIMES_UNIFORM = 8.0
"""A cell is a sink when nearly every token gives it this many times an even share."""
QUANTILE = 0.1
"""Nearly every: all but this share of the tokens."""


def find_sinks(trace: AttentionTrace) -> BoolArray:
    """Flag sinks by attention from all rows: bool [cells of all images].

    A cell is one when, of each token's attention on the image (mean over layers and heads), nine tokens in ten
    give it at least eight times an even share. What only some words look at is no sink, however much they do.
    """
    rows = trace.head_mean.mean(axis=1)
    total = rows.sum(axis=1)
    rows, total = rows[total > 0], total[total > 0]
    if not len(rows):
        return np.zeros(rows.shape[1], dtype=bool)
    shares = rows / total[:, None]
    return np.asarray(np.quantile(shares, QUANTILE, axis=0) >= TIMES_UNIFORM / rows.shape[1])


def sinks_note(sinks: BoolArray) -> tuple[str, ...]:
    """What a reader must know of an image's sinks, bool [rows, columns]; empty when there are none."""
    places = ", ".join(f"({row + 1}, {column + 1})" for row, column in np.argwhere(sinks)[:6])
    count = int(sinks.sum())
    if count == 0:
        return ()
    more = f" and {count - 6} more" if count > 6 else ""
    return (f"{count} sink cell(s), looked at whatever is written: (row, column) {places}{more}",)
