"""Integrated gradients: what each image cell is worth when the picture fades away as a whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from medinterp.errors import GenerationCancelled
from medinterp.model.loading import LoadedModel
from medinterp.model.prompt import PromptInputs
from medinterp.model.replay import MEMORY_BYTES, Replay, token_logprobs
from medinterp.types import Float32Array

STEPS = 8
"""Points of the path, each in the middle of its part."""


def integrated_gradients(
    loaded: LoadedModel,
    prompt: PromptInputs,
    token_ids: Sequence[int],
    *,
    tokens: Sequence[int] | None = None,
    steps: int = STEPS,
    memory_bytes: int = MEMORY_BYTES,
    progress: Callable[[int], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Float32Array:
    """Integrated gradients of log p(y_t) by the image cells, nats, float32 [T, cells of all images].

    Sundararajan et al. (ICML 2017), eq. 1, by the midpoint rule: (e_i - m) . mean over the path of d log p_t / d e_i,
    where all cells go together from the film's projected embeddings e to the mean embedding m of their image, which
    occlusion puts in place of one. A row adds up, as far as the steps are fine enough, to
    log p_t(film) - log p_t(mean everywhere): where a finding stands in several cells, each of them enough alone,
    hiding one costs nothing, and only fading them together shows what they are worth.

    tokens: which are wanted, one row each (all unless given). One forward for each point, and one backward for each
    token through as many points side by side as memory_bytes holds. progress gets the number of tokens done. Raises
    GenerationCancelled between tokens. The caller holds loaded.lock.
    """
    with torch.no_grad():
        replay = Replay(loaded, prompt, token_ids)
    wanted = list(range(len(token_ids)) if tokens is None else tokens)
    away = replay.features - replay.features.mean(dim=1, keepdim=True)  # [images, cells, d]
    faded = (torch.arange(steps, device=away.device, dtype=away.dtype) + 0.5) / steps
    side_by_side = max(1, memory_bytes // _copy_bytes(replay))
    worth = torch.zeros(len(wanted), away.shape[0] * away.shape[1], device=away.device)
    told, units = 0, 0
    parts = torch.split(faded, side_by_side)
    for part in parts:
        path = _Path(replay, replay.features - part[:, None, None, None] * away)
        for row, token in enumerate(wanted):
            if cancelled is not None and cancelled():
                raise GenerationCancelled(f"cancelled after {told} of {len(wanted)} tokens")
            slopes = path.slopes(token).sum(0)
            worth[row] += (slopes.float() * away.float()).sum(-1).flatten() / steps
            units += 1
            done = units // len(parts)
            if progress is not None and done > told:
                progress(done - told)
            told = done
    return np.asarray(worth.cpu().numpy())


class _Path:
    """Some points of the path, run forward once and held, so that each token needs no more than its own backward."""

    def __init__(self, replay: Replay, features: torch.Tensor) -> None:
        with torch.enable_grad():
            self._features = features.detach().requires_grad_()
            self._states = replay.states(self._features)
            ends = self._states.detach().requires_grad_()
            weight = replay.loaded.model.lm_head.weight
            # A token's log p depends on its own row alone: one backward through the head serves all tokens.
            logprobs = token_logprobs(ends, weight, replay.token_ids)
            (self._slopes,) = torch.autograd.grad(logprobs.sum(), ends)

    def slopes(self, token: int) -> torch.Tensor:
        """d log p_t / d e at each point: [points, images, cells, d]."""
        (found,) = torch.autograd.grad(
            self._states[:, token], self._features, self._slopes[:, token], retain_graph=True
        )
        return found


def _copy_bytes(replay: Replay) -> int:
    """What autograd keeps of one sequence: in each layer its states, projections and their products."""
    facts, text = replay.loaded.facts, replay.loaded.model.config.get_text_config()
    row: int = 10 * facts.hidden_size + 4 * text.intermediate_size + 6 * facts.heads * facts.head_dim
    return int(facts.layers * replay.length * row * max(4, replay.loaded.dtype.itemsize))
