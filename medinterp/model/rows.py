"""Preallocated arrays that the captured rows of one batch of reports go into."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from medinterp.model.facts import ModelFacts
from medinterp.model.values import ValueMetric
from medinterp.types import Float16Array, Float32Array, ImageSpan

_CHUNK_BYTES = 32 * 2**20
_CHUNK_STEPS = 32


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
    """Bytes of one report's CapturedRows.

    While capturing, the buffers take this for the longest report that was asked for, and at most 32 MiB
    for the chunk of waiting scores (or one pass, where that is more) and 16 MiB for a block of prompt rows.
    """
    sequence = prompt_length + report_length
    rows = facts.layers * facts.heads * report_length
    matrix = 2 * facts.layers * sequence**2 if layer_attention else 0
    return rows * (2 * facts.cells * images + 16) + matrix + 4 * facts.layers * facts.heads * sequence


class _Film:
    """The arrays of one film of the batch; its prompt starts after `padding` positions."""

    def __init__(
        self,
        facts: ModelFacts,
        spans: tuple[ImageSpan, ...],
        padding: int,
        width: int,
        steps: int,
        matrix: bool,
    ) -> None:
        layers, heads, length = facts.layers, facts.heads, width - padding
        self.spans = [slice(span.start + padding, span.stop + padding) for span in spans]
        self.padding = padding
        cells = sum(span.stop - span.start for span in spans)
        self.image_attention = _zeros(np.float16, steps, layers, heads, cells)
        self.attention_mass = _zeros(np.float32, steps, layers, heads, 4)
        self.layer_attention = _zeros(np.float16, layers, length, length) if matrix else None
        self.value_norm = _zeros(np.float32, layers, heads, length)


class RowBuffers:
    """Rows of B films over `steps` passes, left-padded to `prompt_width` positions.

    Scores wait in a float32 buffer of at most 32 MiB (or one pass, where that is more), filled with
    minus infinity wherever a layer did not look, so that the softmax of many passes is one call.
    """

    def __init__(
        self,
        facts: ModelFacts,
        metric: ValueMetric,
        scaling: Sequence[float],
        spans: Sequence[tuple[ImageSpan, ...]],
        prompt_lengths: Sequence[int],
        steps: int,
        *,
        layer_attention: bool,
        device: torch.device,
    ) -> None:
        self.facts = facts
        self.scaling = tuple(scaling)
        self.wants_layer_attention = layer_attention
        self._metric = metric
        self._prompt_width = max(prompt_lengths)
        width = self._prompt_width + steps - 1
        self._films = [
            _Film(facts, span, self._prompt_width - length, width, steps, layer_attention)
            for span, length in zip(spans, prompt_lengths, strict=True)
        ]
        layers, heads, batch = facts.layers, facts.heads, len(self._films)
        chunk = _CHUNK_BYTES // (4 * layers * batch * heads * width)
        self._chunk = min(max(chunk, 1), _CHUNK_STEPS, steps)
        self._scores = torch.full((self._chunk, layers, batch, heads, width), -torch.inf, device=device)
        self._outputs: list[torch.Tensor] = []
        self._values: list[torch.Tensor] = []
        self._reciprocal_rms = torch.zeros((steps, batch, layers))
        self._scale = torch.tensor(self.scaling, device=device).view(-1, 1, 1, 1)
        self._written = 0
        """Passes whose rows are in the films' arrays; those after it wait in the buffer."""

    def add_prompt_values(self, layer: int, values: torch.Tensor) -> None:
        """Take the prompt's value vectors of one layer: [B, key/value heads, prompt width, D]."""
        norms = self._metric.norms(values, layer).cpu()
        for film, norm in zip(self._films, norms, strict=True):
            film.value_norm[layer, :, : norm.shape[-1] - film.padding] = norm[:, film.padding :]

    def add_prompt_rows(self, layer: int, start: int, rows: torch.Tensor) -> None:
        """Take head-mean rows of the prompt, start and onward, of one layer: float32 [B, rows, keys]."""
        rows = rows.to(torch.float16).cpu()
        for film, row in zip(self._films, rows, strict=True):
            if film.layer_attention is None:
                continue
            hidden = max(film.padding - start, 0)
            first, last = start + hidden - film.padding, start + row.shape[0] - film.padding
            if last > first:
                film.layer_attention[layer, first:last, : row.shape[1] - film.padding] = row[hidden:, film.padding :]

    def add_scores(self, layers: Sequence[int], scores: torch.Tensor) -> None:
        """Take one pass's last rows of some layers: float32 [layers, B, H, keys], unscaled, masked.

        The keys are the last ones up to the query's own position: a sliding layer's cache drops the first.
        """
        stop = self._prompt_width + self._step
        place = self._scores[len(self._outputs), ..., stop - scores.shape[-1] : stop]
        if len(layers) == self.facts.layers:
            place.copy_(scores)
        else:
            place[list(layers)] = scores

    def finish_step(self, outputs: torch.Tensor, values: torch.Tensor) -> None:
        """Close one pass with the heads' outputs [L, B, H * D] and values [L, B, key/value heads, D]."""
        self._outputs.append(outputs)
        self._values.append(values)
        if len(self._outputs) == self._chunk:
            self.flush()

    @property
    def _step(self) -> int:
        return self._written + len(self._outputs)

    def flush(self) -> None:
        """Turn the waiting scores into rows."""
        count = len(self._outputs)
        if count == 0:
            return
        steps, stop = slice(self._written, self._written + count), self._prompt_width + self._step - 1
        weights = self._scores[:count, ..., :stop].mul_(self._scale).softmax(-1)
        self._scores[:count, ..., :stop] = -torch.inf
        for index, film in enumerate(self._films):
            self._write_rows(film, weights[:, :, index], steps)
        self._write_values(steps)
        self._outputs.clear()
        self._values.clear()
        self._written += count

    def _write_rows(self, film: _Film, weights: torch.Tensor, steps: slice) -> None:
        """weights: float32 [passes, L, H, positions so far], padding included."""
        image = torch.cat([weights[..., span] for span in film.spans], dim=-1)
        film.image_attention[steps] = image.to(torch.float16).cpu()
        on_image, on_first = image.sum(-1), weights[..., film.padding]
        on_report = weights[..., self._prompt_width :].sum(-1)
        on_prompt = weights[..., film.padding : self._prompt_width].sum(-1) - on_image - on_first
        mass = torch.stack([on_image, on_first, on_prompt.clamp_min_(0), on_report], dim=-1)
        film.attention_mass[steps] = mass.cpu()
        if film.layer_attention is not None:
            first = self._prompt_width - 1 - film.padding
            rows = slice(first + steps.start, first + steps.stop)
            mean = weights[..., film.padding :].mean(2).to(torch.float16).cpu()
            film.layer_attention[:, rows, : mean.shape[-1]] = mean.transpose(0, 1)

    def _write_values(self, steps: slice) -> None:
        outputs, values = torch.stack(self._outputs), torch.stack(self._values)
        for layer in range(self.facts.layers):
            self._reciprocal_rms[steps, :, layer] = self._metric.reciprocal_rms(outputs[:, layer], layer).cpu()
            # Each pass's own value stands at the query's position; as [B, heads, passes, D].
            norms = self._metric.norms(values[:, layer].permute(1, 2, 0, 3), layer).cpu()
            for film, norm in zip(self._films, norms, strict=True):
                first = self._prompt_width - 1 - film.padding
                film.value_norm[layer, :, first + steps.start : first + steps.stop] = norm

    def rows(self, index: int, report_length: int) -> CapturedRows:
        """One film's arrays, cut to its own prompt and to the tokens of its report."""
        self.flush()
        film = self._films[index]
        sequence = self._prompt_width - film.padding + report_length
        # With no report token at all, row q_0 predicted the end of the report: the scale is that row's.
        scale = self._reciprocal_rms[: max(report_length, 1), index].mean(0).view(-1, 1, 1)
        matrix = film.layer_attention
        return CapturedRows(
            image_attention=_copy(film.image_attention[:report_length]),
            attention_mass=_copy(film.attention_mass[:report_length]),
            layer_attention=None if matrix is None else _copy(matrix[:, :sequence, :sequence]),
            value_norm=_copy(film.value_norm[..., :sequence] * scale),
        )


def _zeros(dtype: type[np.float16] | type[np.float32], *shape: int) -> torch.Tensor:
    """Zeros whose pages are taken from the system only when they are written."""
    return torch.from_numpy(np.zeros(shape, dtype))


def _copy(tensor: torch.Tensor) -> npt.NDArray[Any]:
    """A contiguous array of its own, so that the buffers for the longest report can go."""
    return np.array(tensor.numpy(), order="C")
