"""Occlusion beside 256 whole forwards with a cell hidden in each, and coarse to fine beside the exact map."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import numpy as np
import torch

from medinterp.errors import ModelError
from medinterp.evaluation.metrics import spearman
from medinterp.evaluation.speed.line import BenchLine
from medinterp.evaluation.writing import default_prompts, plain_tokens
from medinterp.model.forcing import teacher_forced
from medinterp.model.loading import LoadedModel
from medinterp.model.occlusion import REFINED_SHARE, occlusion
from medinterp.model.pieces import Pieces, shape_of_batches
from medinterp.model.prompt import PromptInputs
from medinterp.model.replay import MEMORY_BYTES, Replay
from medinterp.types import Film

Made = TypeVar("Made")
TOLERANCE = 1e-4
_PROBED = (0, 119, 200)


def exact_lines(loaded: LoadedModel, film: Film, label: str, *, tokens: int) -> list[BenchLine]:
    """Every cell both ways, and coarse to fine, with the mean rank agreement of its tokens' maps.

    Raises ModelError when the exact map is not that of the whole forwards within TOLERANCE.
    """
    prompt, ids = _written(loaded, film, tokens)
    cells = prompt.cells
    with loaded.lock, torch.no_grad():
        whole = teacher_forced(loaded, prompt, ids).logprobs
        naive, slow = _timed(lambda: np.stack([_hidden(loaded, prompt, ids, cell, whole) for cell in range(cells)]))
        fast, exact = _timed(lambda: occlusion(loaded, prompt, ids))
        coarse, rough = _timed(lambda: occlusion(loaded, prompt, ids, coarse_to_fine=True))
    away = float(np.abs(exact.T - slow).max())
    if away > TOLERANCE:
        raise ModelError(f"occlusion is {away:.2g} nats away from whole forwards")
    ranks = [spearman(one, other) for one, other in zip(rough, exact, strict=True)]
    agreement = float(np.mean([rank for rank in ranks if rank is not None]))
    where = f"({label}, {len(ids)} tokens)"
    return [
        _line(f"occlusion of every cell / {cells} whole forwards {where}", naive, fast),
        _line(f"occlusion coarse to fine / {cells} whole forwards {where}", naive, coarse),
        BenchLine(
            f"rank agreement of coarse to fine with exact, mean of tokens {where}",
            round(agreement, 4),
            1.0,
            round(agreement, 4),
            "rho",
        ),
    ]


def sampled_lines(loaded: LoadedModel, film: Film, label: str, *, tokens: int) -> list[BenchLine]:
    """The same ratios for a model too large to do it all: a few whole forwards, and the hiding of 16 squares.

    What runs once (vision tower, the pass as it was) is timed by itself, the rest counted up to 256 cells and the whole
    picture beside them, and to the 16 squares and 32 cells of coarse to fine, each with a whole picture. Pictures that
    fill up the last batch are counted wherever there are any.
    """
    prompt, ids = _written(loaded, film, tokens)
    cells = prompt.cells
    with loaded.lock, torch.no_grad():
        whole = teacher_forced(loaded, prompt, ids).logprobs
        few, _ = _timed(lambda: [_hidden(loaded, prompt, ids, cell, whole) for cell in _PROBED])
        once, replay = _timed(lambda: Replay(loaded, prompt, ids))
        squares, _ = _timed(lambda: occlusion(loaded, prompt, ids, block=4))
        most = replay.batch_size(Pieces(loaded, MEMORY_BYTES, "cells", cells), cells + 1, replay.means)
    exact, coarse, fine = (
        math.prod(shape_of_batches(hidden + 1, most))
        for hidden in (cells, cells // 16, math.ceil(REFINED_SHARE * (cells // 16)) * 16)
    )
    naive, each = few / len(_PROBED) * cells, (squares - once) / coarse
    where = f"({label}, {len(ids)} tokens; from {len(_PROBED)} whole forwards and {cells // 16} hidden squares)"
    return [
        _line(f"occlusion of every cell / {cells} whole forwards {where}", naive, once + exact * each),
        _line(f"occlusion coarse to fine / {cells} whole forwards {where}", naive, once + (coarse + fine) * each),
    ]


def _written(loaded: LoadedModel, film: Film, tokens: int) -> tuple[PromptInputs, list[int]]:
    (prompt,) = default_prompts(loaded, [film])
    never = list(loaded.facts.never)
    (ids,) = plain_tokens(loaded, [prompt], max_new_tokens=tokens, min_new_tokens=tokens, suppress_tokens=never)
    return prompt, ids


def _hidden(
    loaded: LoadedModel, prompt: PromptInputs, ids: list[int], cell: int, whole: torch.Tensor
) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    """What the tokens lose in one whole forward with a cell hidden, float32 [T]."""
    with _cell_hidden(loaded, cell):
        lost: np.ndarray[tuple[int], np.dtype[np.float32]] = (
            (whole - teacher_forced(loaded, prompt, ids).logprobs).cpu().numpy()
        )
    return lost


@contextmanager
def _cell_hidden(loaded: LoadedModel, cell: int) -> Iterator[None]:
    """Within, the projector gives out the image's mean embedding in place of one cell's."""

    def replace(module: object, inputs: object, output: torch.Tensor) -> torch.Tensor:
        changed = output.clone()
        changed[:, cell] = output.mean(dim=1)
        return changed

    handle = loaded.model.model.multi_modal_projector.register_forward_hook(replace)
    try:
        yield
    finally:
        handle.remove()


def _timed(run: Callable[[], Made]) -> tuple[float, Made]:
    started = time.perf_counter()
    made = run()
    return time.perf_counter() - started, made


def _line(name: str, baseline: float, value: float) -> BenchLine:
    return BenchLine(name, round(value / baseline, 4), round(baseline, 3), round(value, 3), "s")
