"""Gradients of a written report's tokens by its attention: edges, heads, and Chefer's relevancy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from medinterp.model.capture import AttentionCall
from medinterp.model.entering import position_ids
from medinterp.model.likelihood import token_slopes
from medinterp.model.loading import LoadedModel
from medinterp.model.pieces import Pieces, shape_of_batches
from medinterp.model.prompt import PromptInputs
from medinterp.model.replay import MEMORY_BYTES, Replay
from medinterp.types import Float32Array

_EDGE_FLOOR = 1e-6


@dataclass(frozen=True, eq=False)
class EdgeGradients:
    """What one backward pass of a report gives.

    edges: float32 [T, cells of all images], nats: first-order drop of log p when the edge from q_t to the cell is
    cut in every layer and head; heads: float32 [T, L, H], |d log p_t / d xi_lh| of the gate xi (1 where nothing is
    changed) on head h's output at row q_t; head_map: float32 [T, cells], sum_lh heads A[l,h][q_t, cells].
    """

    edges: Float32Array
    heads: Float32Array
    head_map: Float32Array


class OpenAttention:
    """Attention of some rows computed in the open, with every layer's call, weights and output kept for gradients.

    held: over the keys and values of the pass as it was, the rows' own too, so that nothing reaches another row.
    """

    def __init__(self, replay: Replay, rows: slice, *, held: bool) -> None:
        self._replay, self._rows, self._held = replay, rows, held
        self.calls: list[AttentionCall] = []
        self.weights: list[torch.Tensor] = []
        self.outputs: list[torch.Tensor] = []

    def __call__(self, call: AttentionCall) -> torch.Tensor:
        kept = self._replay.layers[call.layer]
        key, value = (kept.key, kept.value) if self._held else (call.key, call.value)
        weights = attention_weights(call.query, key, kept.mask[:, :, self._rows, : key.shape[2]], call.scaling)
        output = weighted_values(weights, value)
        self.calls.append(call)
        self.weights.append(weights)
        self.outputs.append(output)
        return output


def attention_weights(query: torch.Tensor, key: torch.Tensor, mask: torch.Tensor, scaling: float) -> torch.Tensor:
    """softmax(q k^T), float32 [B, H, queries, keys]; key [B, key/value heads, keys, D] is shared in groups."""
    scores = by_groups(query.float(), key.float().transpose(2, 3)) * scaling
    return scores.masked_fill(~mask, -torch.inf).softmax(-1)


def weighted_values(weights: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """A v as the model goes on with it: [B, queries, H, D] in the model's dtype."""
    return by_groups(weights.to(value.dtype), value).transpose(1, 2)


def by_groups(rows: torch.Tensor, shared: torch.Tensor) -> torch.Tensor:
    """rows [B, H, R, n] times shared [B, key/value heads, n, m], which heads share in groups: [B, H, R, m].

    A group's rows stand one below the other, so that nothing shared is copied for each head.
    """
    heads, count = rows.shape[1:3]
    stacked = rows.reshape(len(rows), shared.shape[1], -1, rows.shape[-1])
    return (stacked @ shared).reshape(len(rows), heads, count, shared.shape[-1])


def edge_gradient(
    loaded: LoadedModel,
    prompt: PromptInputs,
    token_ids: Sequence[int],
    *,
    memory_bytes: int = MEMORY_BYTES,
    progress: Callable[[int], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> EdgeGradients:
    """First-order effect of cutting each edge from a report token's row to an image cell.

    With g = d log p_t / d A[l,h][q_t, .], cutting edge i and renormalising the row takes away, to first order,
    A_i (g_i - sum_j A_j g_j) / (1 - A_i); the map is its sum over layers and heads. Keys and values of all other
    rows are held fixed, so one forward and one backward serve every token at once (rows in parts where memory_bytes
    is less than all of them need, `Pieces`). It measures the *direct* share: what reached a token through what other
    positions had read is not in it. progress gets the number of tokens done. Raises GenerationCancelled between parts.
    The caller holds loaded.lock.
    """
    with torch.no_grad():
        replay = Replay(loaded, prompt, token_ids)
    cells = replay.cells
    pieces = Pieces(loaded, memory_bytes, "tokens", len(token_ids), progress, cancelled)
    parts = []
    for tokens in row_parts(pieces, lambda rows: _edge_part(replay, rows, cells), len(token_ids), replay.held_bytes):
        pieces.give_way()
        parts.append(_edge_part(replay, tokens, cells))
        pieces.done(tokens.stop, of=len(token_ids))
    return EdgeGradients(
        np.concatenate([edges for edges, _, _ in parts]),
        np.concatenate([heads for _, heads, _ in parts]),
        np.concatenate([mapped for _, _, mapped in parts]),
    )


def row_parts(pieces: Pieces, run: Callable[[slice], object], tokens: int, held_bytes: int) -> list[slice]:
    """A report's tokens in parts that run side by side; run(tokens) works on one."""
    most = pieces.side_by_side(lambda count: run(slice(0, count)), tokens, held_bytes)
    _, size = shape_of_batches(tokens, most)
    return [slice(first, min(first + size, tokens)) for first in range(0, tokens, size)]


def _edge_part(replay: Replay, tokens: slice, cells: torch.Tensor) -> tuple[Float32Array, Float32Array, Float32Array]:
    first = replay.prompt.length - 1
    rows = slice(first + tokens.start, first + tokens.stop)
    rule = OpenAttention(replay, rows, held=True)
    with torch.enable_grad():
        states = row_states(replay, rows, rule)
        slopes = token_slopes(states, replay.loaded.head, replay.token_ids[tokens])
        gradients = torch.autograd.grad(states, rule.weights, slopes)
    edges, heads, mapped = [], [], []
    for weights, gradient in zip(rule.weights, gradients, strict=True):
        weight, slope = weights.detach()[0], gradient[0]  # [H, rows, S]
        mean = (weight * slope).sum(-1, keepdim=True)  # of a head: d log p / d xi
        here = cells.to(weight.device)
        on_cells, slope = weight[..., here], slope[..., here]
        cut = on_cells * (slope - mean) / (1.0 - on_cells).clamp_min(_EDGE_FLOOR)
        edges.append(cut.sum(0).to(cells.device))
        heads.append(mean.abs()[..., 0].T.to(cells.device))
        mapped.append((mean.abs() * on_cells).sum(0).to(cells.device))
    return (
        torch.stack(edges).sum(0).cpu().numpy(),
        torch.stack(heads, dim=1).cpu().numpy(),
        torch.stack(mapped).sum(0).cpu().numpy(),
    )


def row_states(replay: Replay, rows: slice, rule: OpenAttention, copies: int = 1) -> torch.Tensor:
    """Final states of some rows under the rule, [copies, rows, d]."""
    loaded = replay.loaded
    entries = replay.entries[:, rows].detach().repeat(copies, 1, 1).requires_grad_()
    return loaded.family.step(
        loaded.language_model,
        entries,
        {kind: None for kind in set(loaded.facts.layer_types)},
        position_ids=position_ids(replay.prompt, rows, entries.device),
        use_cache=False,
        attention_rule=rule,
    )


def gradient_relevancy(
    loaded: LoadedModel,
    prompt: PromptInputs,
    token_ids: Sequence[int],
    *,
    tokens: Sequence[int] | None = None,
    memory_bytes: int = MEMORY_BYTES,
    progress: Callable[[int], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Float32Array:
    """Relevancy of Chefer et al. (ICCV 2021), float32 [T, cells of all images].

    Their eq. 5, E_l = mean_h (A_l * dz_t / dA_l)+, and eq. 6, R <- R + E_l R, with z_t the logit of token t. Only the
    row of q_t is asked for, so it is propagated as a row vector from the last layer down to the first: r <- r + r E_l
    from e_{q_t}. tokens: which of them are wanted, one row each (all unless given). One backward a token, as many side
    by side (each in a copy of the sequence) as memory_bytes holds.
    progress gets the number of tokens done. Raises GenerationCancelled between batches. The caller holds
    loaded.lock.
    """
    wanted = range(len(token_ids)) if tokens is None else tokens
    with torch.no_grad():
        replay = Replay(loaded, prompt, token_ids[: max(wanted, default=0) + 1])
    cells = replay.cells
    pieces = Pieces(loaded, memory_bytes, "tokens", len(wanted), progress, cancelled)
    longest = max(wanted, default=0)
    most = pieces.side_by_side(
        lambda count: _relevancy_rows(replay, [longest] * count), len(wanted), replay.held_bytes
    )
    _, size = shape_of_batches(len(wanted), most)
    found = np.empty((len(wanted), len(cells)), dtype=np.float32)
    for first in range(0, len(wanted), size):
        part = slice(first, min(first + size, len(wanted)))
        pieces.give_way()
        found[part] = _relevancy_rows(replay, list(wanted[part]))[:, cells].cpu().numpy()
        pieces.done(part.stop, of=len(wanted))
    return found


def _relevancy_rows(replay: Replay, tokens: list[int]) -> torch.Tensor:
    """r of each token, float32 [tokens, positions up to the last of them]."""
    loaded, count = replay.loaded, len(tokens)
    queries = torch.tensor([replay.prompt.length - 1 + token for token in tokens], device=loaded.device)
    rows = slice(0, int(queries.max()) + 1)
    rule = OpenAttention(replay, rows, held=False)
    copies = torch.arange(count, device=loaded.device)
    with torch.enable_grad():
        states = row_states(replay, rows, rule, count)
        outputs = loaded.head.weight[replay.token_ids[tokens]].float()
        logits = loaded.head.capped((states[copies, queries].float() * outputs).sum(-1))
        gradients = torch.autograd.grad(logits.sum(), rule.weights)
    row = torch.zeros(count, rows.stop, device=loaded.device)
    row[copies, queries] = 1.0
    for weights, gradient in zip(reversed(rule.weights), reversed(gradients), strict=True):
        effect = (weights.detach() * gradient).clamp_min_(0.0).mean(dim=1).to(row.device)
        row = row + torch.einsum("bq,bqk->bk", row, effect)
    return row
