"""The attention function that answers with SDPA and shows what went into it.

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

ATTENTION = "medinterp_capture"


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
