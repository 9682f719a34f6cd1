"""Occlusion: what each token's probability loses when image cells are hidden. The causal reference."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch

from medinterp.errors import MethodError
from medinterp.model.loading import LoadedModel
from medinterp.model.pieces import Pieces, shape_of_batches
from medinterp.model.prompt import PromptInputs
from medinterp.model.replay import MEMORY_BYTES, Replay
from medinterp.types import Float32Array

BLOCKS = (1, 2, 4)
"""Sides of a block of cells that can be hidden at once."""
REFINED_SHARE = 0.1
"""Coarse to fine: the share of the cells, in the strongest blocks, that are hidden one by one as well."""
_COARSE = 4


@torch.no_grad()
def occlusion(
    loaded: LoadedModel,
    prompt: PromptInputs,
    token_ids: Sequence[int],
    *,
    block: int = 1,
    coarse_to_fine: bool = False,
    memory_bytes: int = MEMORY_BYTES,
    progress: Callable[[int], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Float32Array:
    """D_ti = log p(y_t | x) - log p(y_t | x, e_i replaced), nats, float32 [T, cells of all images].

    e_i, the projected embedding of image cell i, is replaced by the mean embedding of its image. block: 2 or 4
    hides squares of that many cells a side, each cell then bearing an even share of what its square is worth.
    coarse_to_fine hides squares of 4 x 4, and then one by one the cells of the squares that cost all tokens together
    most, a tenth of the image. Masked forwards run side by side, as many as memory_bytes holds (`Pieces`). progress
    gets the number of cells done, which add up to all cells; raises GenerationCancelled between batches, MethodError
    for another block. The caller holds loaded.lock.
    """
    if block not in BLOCKS:
        raise MethodError(f"occlusion hides blocks of {', '.join(map(str, BLOCKS))} cells a side, not {block}")
    if coarse_to_fine and block != 1:
        raise MethodError("coarse_to_fine begins with blocks of its own; leave block at 1")
    replay = Replay(loaded, prompt, token_ids)
    squares = _squares(prompt, _COARSE if coarse_to_fine else block)
    refined = math.ceil(REFINED_SHARE * len(squares)) if coarse_to_fine else 0
    alone = refined * len(squares[0])  # at the most: squares at a border may be smaller
    cells = len(replay.features)
    pieces = Pieces(loaded, memory_bytes, "cells", cells, progress, cancelled)
    batches = _Batches(replay, pieces, most=max(len(squares), alone) + 1, forwards=len(squares) + alone)
    drops = batches.drops(squares)
    shares = np.zeros((len(token_ids), cells), dtype=np.float32)
    for index, square in enumerate(squares):
        shares[:, square] = drops[:, index, None] / len(square)
    if refined:
        strongest = np.argsort(-np.maximum(drops, 0.0).sum(axis=0), kind="stable")[:refined]
        single = [[cell] for index in strongest for cell in squares[index]]
        shares[:, [cell for (cell,) in single]] = batches.drops(single)
    return shares


def _squares(prompt: PromptInputs, side: int) -> list[list[int]]:
    """The cells of each square of side x side cells, image after image; what is left at a border is less than one."""
    squares, first = [], 0
    for span in prompt.image_spans:
        for top in range(0, span.rows, side):
            for left in range(0, span.columns, side):
                rows = range(top, min(top + side, span.rows))
                columns = range(left, min(left + side, span.columns))
                squares.append([first + row * span.columns + column for row in rows for column in columns])
        first += span.stop - span.start
    return squares


class _Batches:
    """Masked forwards in batches. All of `drops` have one shape, the last filled up with whole pictures: kernels round
    by the shape, and a cell can be worth less than what rounding moves."""

    def __init__(self, replay: Replay, pieces: Pieces, *, most: int, forwards: int) -> None:
        self._replay, self._pieces, self._forwards, self._done = replay, pieces, forwards, 0
        self._means = replay.means
        self._size = replay.batch_size(pieces, most, self._means)

    def drops(self, hidden: Sequence[Sequence[int]]) -> Float32Array:
        """What the tokens lose when each group of cells is hidden: float32 [T, groups], nats."""
        replay, pictures = self._replay, len(hidden) + 1
        batches, size = shape_of_batches(pictures, self._size)
        # The first picture stays whole.
        where = torch.zeros(size * batches, len(replay.features), dtype=torch.bool, device=replay.features.device)
        for row, group in enumerate(hidden, start=1):
            where[row, list(group)] = True
        parts = []
        for batch in where.view(batches, size, -1):
            self._pieces.give_way()
            parts.append(replay.logprobs(replay.replaced(batch, self._means)))
            self._done += min(size, len(hidden) - size * (len(parts) - 1))
            self._pieces.done(self._done, of=self._forwards)
        logprobs = torch.cat(parts)[:pictures]
        lost: Float32Array = (logprobs[:1] - logprobs[1:]).T.float().cpu().numpy()
        return lost
