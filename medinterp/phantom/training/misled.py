"""Attention for training in which a token can trust only what it reads from the image cells itself.

What a word was read from is only then where it seems to be when the model has no other way to know. In a film that
is misled, every key and value belongs to a second pass over the same words with *another* film; only the rows that
write an answer see the image cells of the film that the answer is about. Summaries that image cells, the question or
earlier words could hand on are thus wrong as often as right, and the model learns to do without them. Nothing is
said of which cells are right: attention is not supervised.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask
from transformers.modeling_utils import AttentionInterface

ATTENTION = "medinterp_misled"


@dataclass(frozen=True, eq=False)
class Misled:
    """Which sequences of a batch are misled.

    count: the first `count` sequences are; the last `count` are the same words with another film.
    image: bool [count, S], positions of image cells; answers: bool [count, S], rows that write an answer.
    """

    count: int
    image: torch.Tensor
    answers: torch.Tensor


def misled_attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor,
    *,
    misled: Misled | None = None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """SDPA, the first `misled.count` sequences misled; shapes as in sdpa_attention_forward."""
    if misled is None or misled.count == 0:
        output, _ = sdpa_attention_forward(module, query, key, value, attention_mask, **options)
        return output, None
    count = misled.count

    def attend(rows: slice, keys: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        made, _ = sdpa_attention_forward(module, query[rows], keys, values, attention_mask[rows], **options)
        return made

    image, first = misled.image[:, None, :, None], slice(0, count)
    other_key, other_value = key[-count:], value[-count:]
    seeing = attend(first, torch.where(image, key[:count], other_key), torch.where(image, value[:count], other_value))
    blind = attend(first, other_key, other_value)
    mixed = torch.where(misled.answers[:, :, None, None], seeing, blind)
    return torch.cat([mixed, attend(slice(count, None), key[count:], value[count:])]), None


AttentionInterface.register(ATTENTION, misled_attention)
AttentionMaskInterface.register(ATTENTION, sdpa_mask)
