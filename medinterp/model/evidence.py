"""What a report's attention says, from queries, keys and values: rows, masses, value norms, layer attention."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from medinterp.errors import ModelError
from medinterp.model.footprint import BLOCK_BYTES as BLOCK_BYTES
from medinterp.model.loading import LoadedModel
from medinterp.model.prompt import PromptInputs
from medinterp.types import Float16Array, Float32Array


@dataclass(frozen=True, eq=False)
class CapturedRows:
    """The arrays of one report's AttentionTrace that come from attention (medinterp.types.trace has their axes)."""

    image_attention: Float16Array
    attention_mass: Float32Array
    layer_attention: Float16Array | None
    value_norm: Float32Array


class Evidence:
    """One report's arrays, filled layer by layer where the model is.

    Row s is q_s, at position P - 1 + s: it predicted token s. There are `count` + 1 of them, the last of which predicts
    what nobody wrote and belongs to `layer_attention` alone.
    """

    def __init__(self, loaded: LoadedModel, prompt: PromptInputs, count: int, *, layer_attention: bool) -> None:
        facts, length, device = loaded.facts, prompt.length + count, loaded.device
        self._metric, self._spans, self._dtype = loaded.value_metric, prompt.image_spans, loaded.dtype
        self._prompt_length, self._count = prompt.length, count
        self.first = prompt.length - 1
        """The position of row q_0."""
        shape = count, facts.layers, facts.heads
        self._image = torch.zeros((*shape, prompt.cells), dtype=torch.float16, device=device)
        self._mass = torch.zeros((*shape, 4), device=device)
        self._norm = torch.zeros((facts.layers, facts.heads, length), device=device)
        self._matrix: torch.Tensor | None = None
        if layer_attention:
            self._matrix = torch.zeros((facts.layers, length, length), dtype=torch.float16, device=device)
        self._seen: set[int] = set()

    @property
    def wants_layer_attention(self) -> bool:
        return self._matrix is not None

    def add_layer(
        self,
        layer: int,
        start: int,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        mask: torch.Tensor,
        scaling: float,
    ) -> None:
        """Take one layer's rows from position `start` on, and the values of all positions N.

        query: [H, rows, D]; key, value: [key/value heads, N, D]; mask: bool [rows, N]. With no token at all row q_0
        predicted the end: the value norms' scale is that row's.
        """
        # Layers that share keys may lie apart, and masks are made where positions are.
        key, value, mask = (tensor.to(query.device) for tensor in (key, value, mask))
        block = max(1, BLOCK_BYTES // (4 * query.shape[0] * key.shape[1]))
        own = slice(self.first - start, self.first - start + max(self._count, 1))
        outputs = []
        for low in range(0, query.shape[1], block):
            part = slice(low, min(low + block, query.shape[1]))
            weights = attention_rows(query[:, part], key, mask[part], scaling)
            if self._matrix is not None:
                self._matrix[layer, start + part.start : start + part.stop] = weights.mean(0)
            of_report = weights[:, max(own.start - low, 0) : max(own.stop - low, 0)]
            if of_report.shape[1]:
                outputs.append(attended(of_report, value))
                if self._count:
                    self._take(layer, start + max(own.start, low) - self.first, of_report.transpose(0, 1))
        scale = self._metric.reciprocal_rms(torch.cat(outputs).to(self._dtype), layer).mean()
        self._norm[layer] = self._metric.norms(value[None], layer)[0] * scale
        self._seen.add(layer)

    def add_matrix(self, layer: int, rows: torch.Tensor) -> None:
        """Take head-mean rows of the prompt from position 0 on, float16 [rows, keys]."""
        if self._matrix is not None:
            self._matrix[layer, : rows.shape[0], : rows.shape[1]] = rows

    def _take(self, layer: int, step: int, rows: torch.Tensor) -> None:
        """rows: the report's from token `step` on, float32 [steps, H, N]."""
        image = torch.cat([rows[..., span.start : span.stop] for span in self._spans], dim=-1)
        on_image, on_first = image.sum(-1), rows[..., 0]
        on_report = rows[..., self._prompt_length :].sum(-1)
        on_prompt = (rows[..., : self._prompt_length].sum(-1) - on_image - on_first).clamp_min_(0)
        steps = slice(step, step + len(rows))
        self._image[steps, layer] = image.to(torch.float16)
        self._mass[steps, layer] = torch.stack([on_image, on_first, on_prompt, on_report], dim=-1)

    def tensors(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None, torch.Tensor]:
        """The arrays of CapturedRows in its order, where the model is.

        Raises ModelError when a layer computed attention that was not seen.
        """
        missing = sorted(set(range(self._norm.shape[0])) - self._seen)
        if missing:
            raise ModelError(f"layers {missing} computed attention that was not captured")
        return self._image, self._mass, self._matrix, self._norm


def attention_rows(query: torch.Tensor, key: torch.Tensor, mask: torch.Tensor, scaling: float) -> torch.Tensor:
    """Softmax rows, float32 [H, rows, keys]. Query heads share keys in groups (trap 6).

    query: [H, rows, D]; key: [key/value heads, keys, D]; mask: bool [rows, keys].
    """
    heads, count, width = query.shape
    grouped = query.float().reshape(key.shape[0], heads // key.shape[0] * count, width)
    scores = (grouped @ key.float().transpose(1, 2)).view(heads, count, -1).mul_(scaling)
    return scores.masked_fill_(~mask, -torch.inf).softmax(-1)


def attended(weights: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """The heads' outputs of softmax rows, float32 [rows, H * D]; value: [key/value heads, keys, D]."""
    heads, count, _ = weights.shape
    grouped = weights.reshape(value.shape[0], heads // value.shape[0] * count, -1)
    return (grouped @ value.float()).view(heads, count, -1).transpose(0, 1).flatten(1)
