"""Occlusion: what each token's probability loses when an image cell is hidden. The causal reference."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from transformers.modeling_outputs import BaseModelOutputWithPooling

from medinterp.errors import GenerationCancelled
from medinterp.model.loading import LoadedModel
from medinterp.model.prompt import PromptInputs
from medinterp.types import Float32Array

MEMORY_BYTES = 512 * 2**20
_VOCABULARY_PART = 32_768


@torch.no_grad()
def occlusion(
    loaded: LoadedModel,
    prompt: PromptInputs,
    token_ids: Sequence[int],
    *,
    memory_bytes: int = MEMORY_BYTES,
    progress: Callable[[int], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Float32Array:
    """D_ti = log p(y_t | x) - log p(y_t | x, e_i replaced), nats, float32 [T, cells of all images].

    e_i, the projected embedding of image cell i, is replaced by the mean embedding of its image. The vision
    tower runs once; masked forwards over the report as it was written run side by side, as many as
    memory_bytes holds. progress gets the number of cells done; raises GenerationCancelled between batches.
    The caller holds loaded.lock.
    """
    core = loaded.model.model
    pixels = prompt.pixel_values.to(loaded.device, loaded.dtype)
    features = core.get_image_features(pixels, return_dict=True).pooler_output
    images, cells, _ = features.shape
    means = features.mean(dim=1)
    drops = np.empty((len(token_ids), images * cells), dtype=np.float32)
    batch = _batch_size(loaded, prompt.length + len(token_ids), memory_bytes)
    for first in range(0, images * cells, batch):
        if cancelled is not None and cancelled():
            raise GenerationCancelled(f"cancelled after {first} of {images * cells} cells")
        hidden = range(first, min(first + batch, images * cells))
        # Row 0 stays whole: the difference is taken within one batch, whose kernels round alike.
        masked = features.expand(len(hidden) + 1, -1, -1, -1).clone()
        for row, index in enumerate(hidden, start=1):
            image, cell = divmod(index, cells)
            masked[row, image, cell] = means[image]
        logprobs = _logprobs(loaded, prompt, token_ids, masked)
        drops[:, first : first + len(hidden)] = (logprobs[:1] - logprobs[1:]).T.cpu().numpy()
        if progress is not None:
            progress(len(hidden))
    return drops


def _logprobs(
    loaded: LoadedModel, prompt: PromptInputs, token_ids: Sequence[int], features: torch.Tensor
) -> torch.Tensor:
    """log p of every report token for each set of image features [B, images, cells, d]: float32 [B, T]."""
    count = len(features)
    report = torch.tensor(token_ids, dtype=torch.long)
    ids = torch.cat([prompt.input_ids, report]).to(loaded.device).expand(count, -1)
    types = torch.cat([prompt.token_type_ids, torch.zeros_like(report)]).to(loaded.device).expand(count, -1)
    encoded = BaseModelOutputWithPooling(pooler_output=features.flatten(0, 1))
    states = loaded.model.model(
        input_ids=ids, token_type_ids=types, mm_encoder_outputs={"image": encoded}, use_cache=False
    ).last_hidden_state[:, prompt.length - 1 : -1]
    weight, chosen = loaded.model.lm_head.weight, report.to(loaded.device)
    return torch.stack([_token_logprobs(row.float(), weight, chosen) for row in states])


def _token_logprobs(states: torch.Tensor, weight: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """log softmax(states weight^T) at the chosen tokens, float32 [T], a part of the vocabulary at a time.

    In float32 whatever the model's dtype: bfloat16 logits come in steps of 0.1, and a cell is worth less.
    """
    total = torch.full((len(states),), -torch.inf, device=states.device)
    for part in torch.split(weight, _VOCABULARY_PART):
        total = torch.logaddexp(total, (states @ part.float().T).logsumexp(-1))
    return (states * weight[chosen].float()).sum(-1) - total


def _batch_size(loaded: LoadedModel, length: int, memory_bytes: int) -> int:
    """How many sequences' activations fit: states, projections and a mask row each, in the model's dtype."""
    facts, text = loaded.facts, loaded.model.config.get_text_config()
    width: int = 6 * facts.hidden_size + 3 * text.intermediate_size + 4 * facts.heads * facts.head_dim
    return max(1, memory_bytes // (length * (width * loaded.dtype.itemsize + length)) - 1)
