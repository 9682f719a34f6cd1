"""Maps made by hand for tests of the page: another for each word, of numbers that are known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from medinterp.types import Float32Array, MapPack, Report

GRID = 16
PEAK = 1 / 16
"""Of every word's map but those that are told otherwise."""
FAINT = 0.02
"""Of it has the map of "heart"."""
APART = 0.5
"""The largest disagreement of a word of a consensus."""
MEMBERS = ("head_importance_gradient", "raw")
Options = dict[str, bool | int]


def fake_pack(
    report: Report, method: str, options: Options, image: int = 0, *, sharp: Sequence[str] = (), sinks: bool = False
) -> MapPack:
    """Maps by a method; sharp: words that reach twice as high as the others; sinks: on the diagonal."""
    rng = np.random.default_rng([image, *method.encode(), *str(sorted(options.items())).encode()])
    signed, joins = method == "occlusion", method == "consensus"
    words = _drawn(rng, len(report.words), signed) * np.float32(PEAK)
    words[[word.index for word in report.words if word.text == "heart"]] *= FAINT
    words[[word.index for word in report.words if word.text in sharp]] *= 2
    notes = {
        "raw": ("Last layer, mean of 4 heads.",),
        "occlusion": tuple(f"{name} {value}" for name, value in options.items()),
    }
    return MapPack(
        method,
        _by_token(report, words, additive=signed),
        signed=signed,
        additive=signed,
        notes=notes.get(method, ()),
        members=MEMBERS if joins else (),
        disagreement=_by_token(report, _drawn(rng, len(report.words)) * np.float32(APART)) if joins else None,
        image=image,
        sinks=np.eye(GRID, dtype=bool) if sinks else None,
        options=options,
    )


def _drawn(rng: np.random.Generator, count: int, signed: bool = False) -> Float32Array:
    """Maps of noise round a spot, float32 [count, GRID, GRID], of which the largest distance from 0 is 1."""
    y, x = (np.arange(GRID) + 0.5)[:, None, None], (np.arange(GRID) + 0.5)[None, :, None]
    row, column = rng.uniform(2, GRID - 2, (2, 1, 1, count))
    maps = np.exp(-((y - row) ** 2 + (x - column) ** 2) / 18) + 0.25 * rng.random((GRID, GRID, count))
    maps = np.moveaxis(maps - 0.4 * signed, -1, 0)
    return np.asarray(maps / np.abs(maps).max(axis=(1, 2), keepdims=True), dtype=np.float32)


def _by_token(report: Report, words: Float32Array, *, additive: bool = False) -> Float32Array:
    """The tokens' maps, float32 [tokens, GRID, GRID], of which the words' are the sum or the mean."""
    tokens = np.zeros((len(report.tokens), *words.shape[1:]), dtype=np.float32)
    for word in report.words:
        tokens[list(word.token_indices)] = words[word.index] / (len(word.token_indices) if additive else 1)
    return tokens
