"""From tokens to words, phrases and findings: the one place where maps of several tokens are joined."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from medinterp.errors import MissingEvidenceError, SelectionError
from medinterp.types import Float32Array, MapPack, Quantity, RelevancyMap, Word


def quantity_of(pack: MapPack, quantity: Quantity) -> MapPack:
    """The maps themselves, or in their place how far the members disagree on each cell.

    Raises MissingEvidenceError for the disagreement of a method that joins no others.
    """
    if quantity == "relevancy":
        return pack
    if pack.disagreement is None:
        raise MissingEvidenceError(f"{pack.method} joins no other methods: there is no disagreement to show")
    return replace(pack, values=pack.disagreement)


def select_map(pack: MapPack, token_indices: Sequence[int], *, without_sinks: bool = False) -> RelevancyMap:
    """The map of some tokens, float32 [rows, columns].

    without_sinks: flagged sink cells are set to 0, and the notes say so.

    log p(word) is the sum over its tokens, so maps of log-probability (pack.additive) add; attention
    averages. Raises SelectionError for no tokens, or tokens that the report has not.
    """
    tokens = tuple(sorted(set(int(token) for token in token_indices)))
    count = len(pack.values)
    if not tokens:
        raise SelectionError("no token is selected")
    if tokens[0] < 0 or tokens[-1] >= count:
        raise SelectionError(f"the report has tokens 0 to {count - 1}; {tokens} is not among them")
    chosen = pack.values[list(tokens)].astype(np.float32)
    values = chosen.sum(axis=0) if pack.additive else chosen.mean(axis=0)
    notes = pack.notes
    if without_sinks and pack.sinks is not None and pack.sinks.any():
        values = np.where(pack.sinks, 0.0, values)
        notes = (*notes, "sink cells left out")
    spread = pack.disagreement
    return RelevancyMap(
        pack.method,
        values.astype(np.float32),
        tokens,
        pack.signed,
        notes,
        image=pack.image,
        disagreement=None if spread is None else spread[list(tokens)].mean(axis=0, dtype=np.float32),
    )


def word_maps(pack: MapPack, words: Sequence[Word], *, without_sinks: bool = False) -> Float32Array:
    """The maps of all words of a report, float32 [words, rows, columns]; zeros for a word no token wrote."""
    maps = np.zeros((len(words), *pack.values.shape[1:]), dtype=np.float32)
    for row, word in zip(maps, words, strict=True):
        if word.token_indices:
            row[:] = select_map(pack, word.token_indices, without_sinks=without_sinks).values
    return maps
