"""The attention function that answers with SDPA and writes down the softmax row beside it.

It is registered under its own name for attention *and* for masks (an unknown name gets no mask at
all, trap 5), and only the language model of a loaded checkpoint is set to it: the vision tower and
every other model in the process keep theirs. A recorder comes in with the call (`attention_recorder`,
handed down by the model's forward), so nothing is shared between threads; without one the function is
plain SDPA. A pass that needs the weights themselves, with their gradients, hands down an `attention_rule`
that computes the attention in SDPA's place.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask
from transformers.modeling_utils import AttentionInterface

from medinterp.errors import ModelError
from medinterp.model.rows import RowBuffers

ATTENTION = "medinterp_capture"
_BLOCK_BYTES = 16 * 2**20


@dataclass(frozen=True, eq=False)
class AttentionCall:
    """What one layer computes its attention from in one pass.

    query: [B, H, queries, D]; key, value: [B, key/value heads, keys, D]; mask: bool [B or 1, 1, queries, keys], or
    None; scaling: the factor of q k^T.
    """

    layer: int
    query: torch.Tensor
    key: torch.Tensor
    value: torch.Tensor
    mask: torch.Tensor | None
    scaling: float

    @property
    def whole_mask(self) -> torch.Tensor:
        """The mask of a pass that begins at position 0; where none was made, what SDPA's `is_causal` stands for."""
        if self.mask is not None:
            return self.mask
        queries, keys = self.query.shape[2], self.key.shape[2]
        return torch.ones(1, 1, queries, keys, dtype=torch.bool, device=self.query.device).tril()


class Observer(Protocol):
    """Sees what one layer computed in one pass."""

    def observe(self, call: AttentionCall, output: torch.Tensor) -> None:
        """output: [B, queries, H, D]."""
        ...


AttentionRule = Callable[[AttentionCall], torch.Tensor]
"""Computes one layer's attention: [B, queries, H, D]."""


def captured_attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    attention_recorder: Observer | None = None,
    attention_rule: AttentionRule | None = None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """The model's own output by SDPA; the recorder, when there is one, sees what went into it.

    Shapes as in `AttentionCall`; answers [B, queries, H, D].
    """
    call = AttentionCall(module.layer_idx, query, key, value, attention_mask, module.scaling)
    if attention_rule is not None:
        return attention_rule(call), None
    output, _ = sdpa_attention_forward(module, query, key, value, attention_mask, **options)
    if attention_recorder is not None:
        attention_recorder.observe(call, output)
    return output, None


AttentionInterface.register(ATTENTION, captured_attention)
AttentionMaskInterface.register(ATTENTION, sdpa_mask)


class AttentionRecorder:
    """Records every layer's last row in every forward pass of one batch of reports.

    Pass 0 reads the prompt, whose last row q_0 predicted token 0; pass s reads token s - 1, and its
    row is q_s. The scores q k^T of all layers are kept until the pass ends; the softmax is taken, in
    float32, for many passes at once (rows.py). With `layer_attention` the prompt's own rows are taken
    too, block by block.
    """

    def __init__(self, buffers: RowBuffers) -> None:
        self._buffers = buffers
        layers = buffers.facts.layers
        self._scores: list[torch.Tensor | None] = [None] * layers
        self._masks: list[torch.Tensor | None] = [None] * layers
        self._outputs: list[torch.Tensor | None] = [None] * layers
        self._values: list[torch.Tensor | None] = [None] * layers

    def observe(self, call: AttentionCall, output: torch.Tensor) -> None:
        """Take what one layer computed in one pass; output: [B, queries, H, D]."""
        layer, mask = call.layer, call.mask
        if call.query.shape[2] > 1:
            self._buffers.add_prompt_values(layer, call.value)
            if self._buffers.wants_layer_attention:
                self._observe_prompt_rows(call)
            mask = call.whole_mask[:, :, -1:]
        self._scores[layer] = _scores(call.query[:, :, -1:], call.key)[:, :, 0]
        self._masks[layer] = mask
        self._outputs[layer] = output[:, -1:]
        self._values[layer] = call.value[:, :, -1]

    def finish_pass(self) -> None:
        """Close one forward pass: every layer's row goes into the buffers at its absolute positions."""
        outputs, values = _seen(self._outputs), _seen(self._values)
        for layers in self._groups():
            scores = torch.stack([s for s in (self._scores[layer] for layer in layers) if s is not None])
            mask = self._masks[layers[0]]
            if mask is not None:
                scores = scores.masked_fill_(~mask[None, :, :, 0], -torch.inf)
            self._buffers.add_scores(layers, scores)
        self._buffers.finish_step(torch.stack(outputs).flatten(2), torch.stack(values))
        for kept in (self._scores, self._masks, self._outputs, self._values):
            kept[:] = [None] * len(kept)

    def _groups(self) -> list[list[int]]:
        """Layers that see the same keys under the same mask: global and sliding ones, as a rule."""
        groups: dict[tuple[int, int], list[int]] = {}
        for layer, scores in enumerate(_seen(self._scores)):
            groups.setdefault((scores.shape[-1], id(self._masks[layer])), []).append(layer)
        return list(groups.values())

    def _observe_prompt_rows(self, call: AttentionCall) -> None:
        """The head-mean of all the prompt's rows, with the softmax in blocks of bounded size."""
        mask = call.whole_mask
        batch, heads, queries, _ = call.query.shape
        block = max(1, _BLOCK_BYTES // (4 * batch * heads * call.key.shape[2]))
        for start in range(0, queries, block):
            stop = min(start + block, queries)
            scores = _scores(call.query[:, :, start:stop], call.key).mul_(self._buffers.scaling[call.layer])
            scores = scores.masked_fill_(~mask[:, :, start:stop], -torch.inf)
            self._buffers.add_prompt_rows(call.layer, start, scores.softmax(-1).mean(1))


def _scores(query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
    """q k^T in float32, unscaled: [B, H, queries, keys]. Query heads share keys in groups (trap 6)."""
    batch, heads, queries, width = query.shape
    shared = key.shape[1]
    grouped = query.reshape(batch, shared, heads // shared * queries, width)
    return (grouped.float() @ key.float().transpose(2, 3)).view(batch, heads, queries, -1)


def _seen(kept: list[torch.Tensor | None]) -> list[torch.Tensor]:
    """All layers' tensors; raises ModelError when the capture was not called by one of them."""
    seen = [tensor for tensor in kept if tensor is not None]
    if len(seen) != len(kept):
        missing = [layer for layer, tensor in enumerate(kept) if tensor is None]
        raise ModelError(f"layers {missing} computed attention that was not captured")
    return seen
