"""What a report's attention says, from queries, keys and values: rows, masses, value norms, layer attention."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from medinterp.errors import ModelError
from medinterp.model.facts import ModelFacts
from medinterp.model.loading import LoadedModel
from medinterp.model.prompt import PromptInputs
from medinterp.types import Float16Array, Float32Array

BLOCK_BYTES = 32 * 2**20
"""Of the softmax rows that are held at once."""


@dataclass(frozen=True, eq=False)
class CapturedRows:
    """The arrays of one report's AttentionTrace that come from attention (types.py has their axes)."""

    image_attention: Float16Array
    attention_mass: Float32Array
    layer_attention: Float16Array | None
    value_norm: Float32Array


def trace_bytes(
    facts: ModelFacts, *, images: int, prompt_length: int, report_length: int, layer_attention: bool
) -> int:
    """Bytes of one report's CapturedRows."""
    sequence = prompt_length + report_length
    rows = facts.layers * facts.heads * report_length
    matrix = 2 * facts.layers * sequence**2 if layer_attention else 0
    return rows * (2 * facts.cells * images + 16) + matrix + 4 * facts.layers * facts.heads * sequence


class Evidence:
    """One report's arrays, filled layer by layer.

    Row s is q_s, at position P - 1 + s: it predicted token s. There are `count` + 1 of them, the last of which predicts
    what nobody wrote and belongs to `layer_attention` alone.
    """

    def __init__(self, loaded: LoadedModel, prompt: PromptInputs, count: int, *, layer_attention: bool) -> None:
        facts, length = loaded.facts, prompt.length + count
        cells = sum(span.stop - span.start for span in prompt.image_spans)
        self._metric, self._spans = loaded.value_metric, prompt.image_spans
        self._prompt_length, self._count = prompt.length, count
        self.first = prompt.length - 1
        """The position of row q_0."""
        self._image = np.zeros((count, facts.layers, facts.heads, cells), dtype=np.float16)
        self._mass = np.zeros((count, facts.layers, facts.heads, 4), dtype=np.float32)
        self._matrix = np.zeros((facts.layers, length, length), dtype=np.float16) if layer_attention else None
        self._norm = np.zeros((facts.layers, facts.heads, length), dtype=np.float32)
        self._seen: set[int] = set()

    @property
    def wants_layer_attention(self) -> bool:
        return self._matrix is not None

    def add_rows(
        self, layer: int, start: int, query: torch.Tensor, key: torch.Tensor, mask: torch.Tensor, scaling: float
    ) -> None:
        """Take the rows from position `start` on.

        query: [H, rows, D]; key: [key/value heads, keys, D] from position 0 on; mask: bool [rows, keys].
        """
        block = max(1, BLOCK_BYTES // (4 * query.shape[0] * key.shape[1]))
        for low in range(0, query.shape[1], block):
            part = slice(low, low + block)
            weights = attention_rows(query[:, part], key, mask[part], scaling)
            if self._matrix is not None:
                stop = start + low + weights.shape[1]
                mean = weights.mean(0).to(torch.float16).cpu().numpy()
                self._matrix[layer, start + low : stop, : mean.shape[-1]] = mean
            self._take(layer, start + low, weights)

    def add_matrix(self, layer: int, rows: Float16Array) -> None:
        """Take head-mean rows of the prompt from position 0 on, float16 [rows, keys]."""
        if self._matrix is not None:
            self._matrix[layer, : rows.shape[0], : rows.shape[1]] = rows

    def add_values(self, layer: int, value: torch.Tensor, outputs: torch.Tensor) -> None:
        """Take the values of all positions [key/value heads, N, D], and the heads' outputs at the report's rows.

        outputs: [rows, H * D], before W_O. With no token at all row q_0 predicted the end: the scale is that row's.
        """
        scale = self._metric.reciprocal_rms(outputs, layer).mean()
        self._norm[layer] = (self._metric.norms(value[None], layer)[0] * scale).cpu().numpy()
        self._seen.add(layer)

    def _take(self, layer: int, start: int, weights: torch.Tensor) -> None:
        """Of weights, float32 [H, rows, keys] from position `start` on, those of the report."""
        low = max(self.first - start, 0)
        high = min(self.first + self._count - start, weights.shape[1])
        if high <= low:
            return
        rows = weights[:, low:high].transpose(0, 1)
        image = torch.cat([rows[..., span.start : span.stop] for span in self._spans], dim=-1)
        on_image, on_first = image.sum(-1), rows[..., 0]
        on_report = rows[..., self._prompt_length :].sum(-1)
        on_prompt = (rows[..., : self._prompt_length].sum(-1) - on_image - on_first).clamp_min_(0)
        steps = slice(start + low - self.first, start + high - self.first)
        self._image[steps, layer] = image.to(torch.float16).cpu().numpy()
        self._mass[steps, layer] = torch.stack([on_image, on_first, on_prompt, on_report], dim=-1).cpu().numpy()

    def captured(self) -> CapturedRows:
        """The arrays; raises ModelError when a layer computed attention that was not seen."""
        missing = sorted(set(range(self._norm.shape[0])) - self._seen)
        if missing:
            raise ModelError(f"layers {missing} computed attention that was not captured")
        return CapturedRows(self._image, self._mass, self._matrix, self._norm)


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
