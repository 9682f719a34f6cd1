"""What each image cell is worth while the picture fades away as a whole: by every way, or by direct looks alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from medinterp.model.gradients import OpenAttention, by_groups, row_parts, row_states
from medinterp.model.likelihood import token_slopes
from medinterp.model.loading import LoadedModel
from medinterp.model.pieces import Pieces, shape_of_batches
from medinterp.model.prompt import PromptInputs
from medinterp.model.replay import MEMORY_BYTES, Replay
from medinterp.types import Float32Array

STEPS = 8
"""Parts of the path from the film to its mean embedding."""
FADED = 0.25
"""How far the picture has faded where `input_x_gradient` takes its slopes: of 0, 1/8, 1/4 and 3/8 the one whose maps
rank cells most as occlusion does, on synthetic films from seed 10,950,000 on, which no benchmark uses."""


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
    token through as many points side by side as memory_bytes holds, at least one. progress gets the number of tokens
    done. Raises GenerationCancelled between tokens. The caller holds loaded.lock.
    """
    points = [(step + 0.5) / steps for step in range(steps)]
    return _slopes_on(points, loaded, prompt, token_ids, tokens, memory_bytes, progress, cancelled)


def input_x_gradient(
    loaded: LoadedModel,
    prompt: PromptInputs,
    token_ids: Sequence[int],
    *,
    tokens: Sequence[int] | None = None,
    memory_bytes: int = MEMORY_BYTES,
    progress: Callable[[int], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Float32Array:
    """Gradient times input of log p(y_t) by the image cells, nats, float32 [T, cells of all images].

    (e_i - m) . d log p_t / d e_i (Shrikumar et al., Not Just a Black Box, 2016, with the mean embedding m as the
    reference), the slope taken where the whole picture has gone FADED of the way to m. At the film itself this would be
    the first order of occlusion; but there a sure model is flat, log p is near 0, and what a hidden cell costs is more
    than the slope tells.

    tokens, memory_bytes, progress, GenerationCancelled, loaded.lock: as of `integrated_gradients`.
    """
    return _slopes_on([FADED], loaded, prompt, token_ids, tokens, memory_bytes, progress, cancelled)


def _slopes_on(
    points: Sequence[float],
    loaded: LoadedModel,
    prompt: PromptInputs,
    token_ids: Sequence[int],
    tokens: Sequence[int] | None,
    memory_bytes: int,
    progress: Callable[[int], None] | None,
    cancelled: Callable[[], bool] | None,
) -> Float32Array:
    """(e_i - m) . the mean over the points of d log p_t / d e_i; a point: how far the picture has faded to m."""
    wanted = list(range(len(token_ids)) if tokens is None else tokens)
    with torch.no_grad():
        replay = Replay(loaded, prompt, token_ids[: max(wanted, default=0) + 1])
    away = replay.features - replay.means  # [cells, width]
    worth = torch.zeros(len(wanted), len(away), device=away.device)
    if not wanted:
        return np.asarray(worth.cpu().numpy())
    pieces = Pieces(loaded, memory_bytes, "tokens", len(wanted), progress, cancelled)

    def path(part: Sequence[float]) -> _Path:
        faded = torch.tensor(part, device=away.device, dtype=away.dtype)
        return _Path(replay, replay.features - faded[:, None, None] * away)

    def unit(count: int) -> None:
        some = path(points[:count])
        pieces.give_way()
        some.slopes(wanted[0])

    side_by_side = pieces.side_by_side(unit, len(points), replay.held_bytes)
    parts, size = shape_of_batches(len(points), side_by_side)
    for number in range(parts):
        pieces.give_way()
        some = path(points[number * size : (number + 1) * size])
        for row, token in enumerate(wanted):
            pieces.give_way()
            slopes = some.slopes(token).sum(0)
            worth[row] += (slopes.float() * away.float()).sum(-1) / len(points)
            pieces.done(number * len(wanted) + row + 1, of=parts * len(wanted))
        del some  # before the next part is run
    return np.asarray(worth.cpu().numpy())


class _Path:
    """Some points of the path, run forward once and held, so that each token needs no more than its own backward."""

    def __init__(self, replay: Replay, features: torch.Tensor) -> None:
        with torch.enable_grad():
            self._features = features.detach().requires_grad_()
            self._states = replay.states(self._features)
        # A token's log p depends on its own row alone: one pass back through the head serves all tokens.
        self._slopes = token_slopes(self._states, replay.loaded.head, replay.token_ids)

    def slopes(self, token: int) -> torch.Tensor:
        """d log p_t / d e at each point: [points, cells, width]."""
        (found,) = torch.autograd.grad(
            self._states[:, token], self._features, self._slopes[:, token], retain_graph=True
        )
        return found


def integrated_edge_gradient(
    loaded: LoadedModel,
    prompt: PromptInputs,
    token_ids: Sequence[int],
    *,
    steps: int = STEPS,
    memory_bytes: int = MEMORY_BYTES,
    progress: Callable[[int], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Float32Array:
    """The share of integrated gradients that reaches a token by its own looks at the cells, float32 [T, cells].

    Edge attribution patching with integrated gradients (Hanna et al., COLM 2024), on the edges from a cell's keys and
    values k_i, v_i in every layer and head to row q_t: along the path on which the film's embeddings fade to their
    mean, the sum over points of what log p_t loses, to first order, while k_i and v_i go on to those of the next
    point and row q_t alone sees it,
        A_i g . dv_i + A_i (g . v_i - sum_j A_j g . v_j) (q_t . dk_i) scale,
    g the gradient of log p_t by the head's output (trapezoid rule). Keys and values of all rows are those of the point,
    so that no row's gradient reaches another: a forward and a backward for each of steps + 1 points serve all tokens
    (rows in parts where memory_bytes is less than all of them need). What reached a token through what other
    positions had read is not in it. progress gets the number of tokens done. Raises GenerationCancelled between
    parts. The caller holds loaded.lock.
    """
    pieces = Pieces(loaded, memory_bytes, "tokens", len(token_ids), progress, cancelled)
    with torch.no_grad():
        film = Replay(loaded, prompt, token_ids)
    away = film.features - film.means

    def faded(point: int) -> Replay:
        pieces.give_way()
        with torch.no_grad():
            return Replay(loaded, prompt, token_ids, film.features - point / steps * away)

    cells = film.cells
    # Three points are held at a time: the one before, the one in hand and the one after.
    rows = row_parts(
        pieces, lambda tokens: _moved(film, film, film, tokens, cells), len(token_ids), 3 * film.held_bytes
    )
    worth = torch.zeros(len(token_ids), len(cells), device=loaded.device)
    before = here = film
    for point in range(steps + 1):
        after = faded(point + 1) if point < steps else here
        for number, tokens in enumerate(rows, start=1):
            pieces.give_way()
            worth[tokens] += _moved(here, before, after, tokens, cells) / 2
            pieces.done(point * len(rows) + number, of=(steps + 1) * len(rows))
        before, here = here, after
    return np.asarray(worth.cpu().numpy())


def _moved(point: Replay, before: Replay, after: Replay, tokens: slice, cells: torch.Tensor) -> torch.Tensor:
    """What the tokens lose while the cells' keys and values, as they alone see them, go from before to after."""
    first = point.prompt.length - 1
    rows = slice(first + tokens.start, first + tokens.stop)
    rule = OpenAttention(point, rows, held=True)
    with torch.enable_grad():
        states = row_states(point, rows, rule)
        slopes = token_slopes(states, point.loaded.head, point.token_ids[tokens])
        gradients = torch.autograd.grad(states, rule.outputs, slopes)
    lost = torch.zeros(rows.stop - rows.start, len(cells), device=cells.device)
    for layer, (call, weights, gradient) in enumerate(zip(rule.calls, rule.weights, gradients, strict=True)):
        weight, query = weights.detach(), call.query.detach().float()  # [1, H, rows, S], [1, H, rows, D]
        slope = gradient.transpose(1, 2).float()  # [1, H, rows, D]
        kept, one, other = (replay.layers[layer] for replay in (point, before, after))
        worth, here = by_groups(slope, kept.value.float().transpose(2, 3)), cells.to(slope.device)
        steeper = worth[..., here] - (weight * worth).sum(-1, keepdim=True)
        values = by_groups(slope, (one.value - other.value)[:, :, here].float().transpose(2, 3))
        keys = by_groups(query, (one.key - other.key)[:, :, here].float().transpose(2, 3))
        lost += (weight[..., here] * (values + steeper * keys * call.scaling))[0].sum(0).to(lost.device)
    return lost
