"""A report that somebody else wrote, in one pass: the evidence for it as if the model had written it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from medinterp.errors import ModelError, ReportTextError
from medinterp.model.capture import AttentionCall
from medinterp.model.decoding import ALTERNATIVES, Decoded
from medinterp.model.loading import LoadedModel
from medinterp.model.offsets import decode_offsets
from medinterp.model.prompt import PromptInputs, control_tokens
from medinterp.model.rows import CapturedRows
from medinterp.types import Float32Array

_BLOCK_BYTES = 32 * 2**20


def given_tokens(tokenizer: Any, text: str) -> tuple[int, ...]:
    """The tokens of a report that somebody wrote, without a BOS.

    Raises ReportTextError for an empty text, one that holds control tokens, and one that the tokenizer does not give
    back letter by letter (the place is named): its words could not be tied to tokens.
    """
    if not text.strip():
        raise ReportTextError("the given report is empty")
    held = control_tokens(tokenizer, text)
    if held:
        raise ReportTextError(f"the given report holds the model's control tokens: {', '.join(held)}")
    ids = tuple(tokenizer(text, add_special_tokens=False)["input_ids"])
    back, _ = decode_offsets(tokenizer, ids)
    if back != text:
        place = next((k for k, (a, b) in enumerate(zip(text, back, strict=False)) if a != b), min(len(text), len(back)))
        raise ReportTextError(
            f"the model's tokenizer reads the given report otherwise from character {place} on; write that place in "
            "plain letters"
        )
    return ids


@torch.inference_mode()
def read_given(
    loaded: LoadedModel, prompt: PromptInputs, token_ids: Sequence[int], *, layer_attention: bool = True
) -> Decoded:
    """Run prompt and report through the model once, and take of it what writing the report would have given.

    Every row is the same computation as in writing (forcing.py), so it is equal up to the order of sums. What is held
    beside the pass: the arrays of the trace, and 32 MiB. The caller holds loaded.lock. Raises ModelError when the model
    overflows.
    """
    report = torch.tensor(token_ids, dtype=torch.long)
    rows = _PassRows(loaded, prompt, len(token_ids), layer_attention=layer_attention)
    states = loaded.model.model(
        input_ids=torch.cat([prompt.input_ids, report])[None].to(loaded.device),
        token_type_ids=torch.cat([prompt.token_type_ids, torch.zeros_like(report)])[None].to(loaded.device),
        pixel_values=prompt.pixel_values.to(loaded.device, loaded.dtype),
        use_cache=False,
        attention_recorder=rows,
    ).last_hidden_state[0]
    logprobs, alternatives = _likelihoods(loaded, states[prompt.length - 1 : -1], report.to(loaded.device))
    image_state = torch.cat([states[span.start : span.stop] for span in prompt.image_spans])
    return Decoded(
        token_ids=tuple(token_ids),
        logprobs=logprobs,
        alternatives=alternatives,
        complete=True,
        rows=rows.captured(),
        image_state=image_state.float().cpu().numpy(),
    )


class _PassRows:
    """Takes every layer's rows of one pass over prompt and report, in blocks of bounded size."""

    def __init__(self, loaded: LoadedModel, prompt: PromptInputs, count: int, *, layer_attention: bool) -> None:
        facts, length = loaded.facts, prompt.length + count
        cells = sum(span.stop - span.start for span in prompt.image_spans)
        self._loaded, self._spans = loaded, prompt.image_spans
        self._prompt_length = prompt.length
        self._first = prompt.length - 1
        """Row q_0; the rows up to q_(count - 1) are the report's."""
        self._count = count
        self._image = np.zeros((count, facts.layers, facts.heads, cells), dtype=np.float16)
        self._mass = np.zeros((count, facts.layers, facts.heads, 4), dtype=np.float32)
        self._matrix = np.zeros((facts.layers, length, length), dtype=np.float16) if layer_attention else None
        self._norm = np.zeros((facts.layers, facts.heads, length), dtype=np.float32)
        self._seen: set[int] = set()

    def observe(self, call: AttentionCall, output: torch.Tensor) -> None:
        """Take what one layer computed; output: [1, S, H, D]."""
        layer, metric = call.layer, self._loaded.value_metric
        heads, length = call.query.shape[1:3]
        mask = call.whole_mask
        block = max(1, _BLOCK_BYTES // (4 * heads * length))
        start, stop = (0, length) if self._matrix is not None else (self._first, self._first + self._count)
        for first in range(start, stop, block):
            last = min(first + block, stop)
            weights = _weights(call, mask, first, last)
            if self._matrix is not None:
                self._matrix[layer, first:last] = weights.mean(0).to(torch.float16).cpu().numpy()
            self._take_rows(layer, first, weights)
        # The report's own rows; the last token's row predicts what nobody wrote.
        own = output[0, self._first : self._first + self._count].flatten(1)
        scale = metric.reciprocal_rms(own, layer).mean()
        self._norm[layer] = (metric.norms(call.value, layer)[0] * scale).cpu().numpy()
        self._seen.add(layer)

    def _take_rows(self, layer: int, first: int, weights: torch.Tensor) -> None:
        """Of weights, float32 [H, rows, S] from row `first` on, those of the report."""
        low = max(self._first - first, 0)
        high = min(self._first + self._count - first, weights.shape[1])
        if high <= low:
            return
        rows = weights[:, low:high].transpose(0, 1)
        image = torch.cat([rows[..., span.start : span.stop] for span in self._spans], dim=-1)
        on_image, on_first = image.sum(-1), rows[..., 0]
        on_report = rows[..., self._prompt_length :].sum(-1)
        on_prompt = (rows[..., : self._prompt_length].sum(-1) - on_image - on_first).clamp_min_(0)
        steps = slice(first + low - self._first, first + high - self._first)
        self._image[steps, layer] = image.to(torch.float16).cpu().numpy()
        self._mass[steps, layer] = torch.stack([on_image, on_first, on_prompt, on_report], dim=-1).cpu().numpy()

    def captured(self) -> CapturedRows:
        """The arrays; raises ModelError when a layer computed attention that was not seen."""
        missing = sorted(set(range(self._loaded.facts.layers)) - self._seen)
        if missing:
            raise ModelError(f"layers {missing} computed attention that was not captured")
        return CapturedRows(self._image, self._mass, self._matrix, self._norm)


def _weights(call: AttentionCall, mask: torch.Tensor, first: int, last: int) -> torch.Tensor:
    """Softmax rows first to last, float32 [H, rows, S]; query heads share keys in groups (trap 6)."""
    query, key = call.query[0, :, first:last].float(), call.key[0].float()
    heads, count, width = query.shape
    grouped = query.reshape(key.shape[0], heads // key.shape[0] * count, width)
    scores = (grouped @ key.transpose(1, 2)).view(heads, count, -1).mul_(call.scaling)
    return scores.masked_fill_(~mask[0, :, first:last], -torch.inf).softmax(-1)


def _likelihoods(
    loaded: LoadedModel, states: torch.Tensor, chosen: torch.Tensor
) -> tuple[Float32Array, tuple[tuple[tuple[int, float], ...], ...]]:
    """log p of each chosen token under the model's own distribution, and its five likeliest others.

    states: [T, d], the rows q_t; chosen: [T].
    """
    logprobs: list[torch.Tensor] = []
    others: list[tuple[tuple[int, float], ...]] = []
    vocabulary = int(loaded.model.lm_head.weight.shape[0])
    block = max(1, _BLOCK_BYTES // (4 * vocabulary))
    for rows, ids in zip(torch.split(states, block), torch.split(chosen, block), strict=True):
        logits = loaded.model.lm_head(rows).float()
        total = logits.logsumexp(-1, keepdim=True)
        if not bool(total.isfinite().all()):
            raise ModelError(
                "the model's output is not a number; float16 overflows in Gemma 3, use bfloat16 or float32"
            )
        logprobs.append((logits.gather(1, ids[:, None]) - total)[:, 0])
        best = logits.topk(ALTERNATIVES + 1)
        likely = zip(best.indices.tolist(), (best.values - total).tolist(), ids.tolist(), strict=True)
        others += [
            tuple((i, s) for i, s in zip(row, scores, strict=True) if i != token)[:ALTERNATIVES]
            for row, scores, token in likely
        ]
    array: Float32Array = torch.cat(logprobs).cpu().numpy()
    return array, tuple(others)
