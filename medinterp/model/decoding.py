"""The loop that writes reports token by token, with every layer's rows captured beside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import DynamicCache

from medinterp.errors import GenerationCancelled, ModelError
from medinterp.model.capture import AttentionRecorder
from medinterp.model.loading import LoadedModel
from medinterp.model.prompt import PromptInputs
from medinterp.model.rows import CapturedRows, RowBuffers
from medinterp.types import Float32Array

ALTERNATIVES = 5


@dataclass(frozen=True, eq=False)
class DecodeOptions:
    """How to write.

    temperature 0 takes the likeliest token; above 0 samples with one generator for each seed;
    min_new_tokens: the report does not end before (used by the self-test alone).
    """

    max_new_tokens: int
    min_new_tokens: int = 0
    temperature: float = 0.0
    seeds: tuple[int, ...] | None = None
    layer_attention: bool = True


@dataclass(frozen=True, eq=False)
class Decoded:
    """One report as it came from the model.

    token_ids: T ids, without the one that ended it; logprobs: float32 [T], log p under the model's own
    distribution (temperature 1), nats; alternatives: for each token the ids and log-probabilities of the
    five likeliest others; image_state: float32 [cells, d], normalised final states at the image cells.
    """

    token_ids: tuple[int, ...]
    logprobs: Float32Array
    alternatives: tuple[tuple[tuple[int, float], ...], ...]
    complete: bool
    rows: CapturedRows
    image_state: Float32Array


@torch.inference_mode()
def decode(
    loaded: LoadedModel,
    prompts: Sequence[PromptInputs],
    options: DecodeOptions,
    *,
    on_token: Callable[[int, int], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> list[Decoded]:
    """Write one report for each prompt, as one left-padded batch.

    on_token(i, token_id) is called for each token of report i as it is chosen. The caller holds
    loaded.lock. Raises GenerationCancelled between tokens, ModelError when the model overflows.
    """
    batch = _Batch(loaded, prompts)
    recorder_buffers = _buffers(loaded, prompts, options)
    recorder = AttentionRecorder(recorder_buffers)
    chooser = _Chooser(loaded, len(prompts), options)
    image_states: list[Float32Array] = []
    # One pass more than there are tokens: the last token's own row and value belong to the trace too.
    for step in range(options.max_new_tokens + 1):
        if cancelled is not None and cancelled():
            raise GenerationCancelled(f"cancelled after {step} tokens")
        hidden = batch.forward(chooser.last if step else None, recorder)
        recorder.finish_pass()
        if step == 0:
            image_states = batch.image_states(hidden)
        if step == options.max_new_tokens:
            break
        chooser.choose(loaded.model.lm_head(hidden[:, -1]).float())
        if on_token is not None:
            for index in chooser.unfinished():
                on_token(index, chooser.tokens[index][-1])
        if not chooser.unfinished():
            break
    return [
        Decoded(
            *chooser.report(index),
            recorder_buffers.rows(index, len(chooser.tokens[index])),
            image_states[index],
        )
        for index in range(len(prompts))
    ]


def _buffers(loaded: LoadedModel, prompts: Sequence[PromptInputs], options: DecodeOptions) -> RowBuffers:
    return RowBuffers(
        loaded.facts,
        loaded.value_metric,
        [layer.self_attn.scaling for layer in loaded.model.model.language_model.layers],
        [prompt.image_spans for prompt in prompts],
        [prompt.length for prompt in prompts],
        options.max_new_tokens + 1,
        layer_attention=options.layer_attention,
        device=loaded.device,
    )


class _Batch:
    """The forward passes of one left-padded batch over its key/value cache."""

    def __init__(self, loaded: LoadedModel, prompts: Sequence[PromptInputs]) -> None:
        self._loaded = loaded
        self._prompts = prompts
        self._width = max(prompt.length for prompt in prompts)
        self._padding = [self._width - prompt.length for prompt in prompts]
        self._cache = DynamicCache(config=loaded.model.config.get_text_config())
        # Without padding there is nothing to mask by hand, and the passes are faster for it.
        self._mask: torch.Tensor | None = None
        if any(self._padding):
            ones = [torch.ones(prompt.length, dtype=torch.long) for prompt in prompts]
            self._mask = self._padded(ones, 0)

    def forward(self, tokens: torch.Tensor | None, recorder: AttentionRecorder) -> torch.Tensor:
        """One pass: the prompts when tokens is None, else one token each. Answers states [B, queries, d]."""
        device = self._loaded.device
        inputs: dict[str, Any] = {
            "past_key_values": self._cache,
            "use_cache": True,
            "attention_recorder": recorder,
        }
        if tokens is None:
            pad = self._loaded.processor.tokenizer.pad_token_id
            inputs["input_ids"] = self._padded([prompt.input_ids for prompt in self._prompts], pad)
            inputs["token_type_ids"] = self._padded([prompt.token_type_ids for prompt in self._prompts], 0)
            pixels = torch.cat([prompt.pixel_values for prompt in self._prompts])
            inputs["pixel_values"] = pixels.to(device, self._loaded.dtype)
        else:
            inputs["input_ids"] = tokens[:, None]
        if self._mask is not None:
            if tokens is not None:
                self._mask = torch.nn.functional.pad(self._mask, (0, 1), value=1)
            positions = self._mask.cumsum(-1).sub_(1).clamp_min_(0)
            inputs["attention_mask"] = self._mask
            inputs["position_ids"] = positions if tokens is None else positions[:, -1:]
        states: torch.Tensor = self._loaded.model.model(**inputs).last_hidden_state
        return states

    def image_states(self, hidden: torch.Tensor) -> list[Float32Array]:
        """The prompt pass's states at each film's image cells: float32 [cells, d]."""
        return [
            torch.cat([states[span.start + padding : span.stop + padding] for span in prompt.image_spans])
            .float()
            .cpu()
            .numpy()
            for states, padding, prompt in zip(hidden, self._padding, self._prompts, strict=True)
        ]

    def _padded(self, rows: Sequence[torch.Tensor], value: int) -> torch.Tensor:
        padded = [
            torch.nn.functional.pad(row, (padding, 0), value=value)
            for row, padding in zip(rows, self._padding, strict=True)
        ]
        return torch.stack(padded).to(self._loaded.device)


class _Chooser:
    """Chooses the next tokens and keeps what is known about them."""

    def __init__(self, loaded: LoadedModel, batch: int, options: DecodeOptions) -> None:
        self._options = options
        self._end = loaded.facts.eos_token_ids
        # An image token in the text would be an image that is not there; the model is never asked for one.
        self._never = torch.tensor([loaded.facts.image_token_id], device=loaded.device)
        self._not_yet = torch.tensor([loaded.facts.image_token_id, *sorted(self._end)], device=loaded.device)
        self._generators: list[torch.Generator] = []
        if options.temperature > 0:
            if options.seeds is None or len(options.seeds) != batch:
                raise ValueError("sampling needs one seed for each report")
            self._generators = [torch.Generator().manual_seed(seed) for seed in options.seeds]
        self.tokens: list[list[int]] = [[] for _ in range(batch)]
        self._ended = [False] * batch
        self._best: list[tuple[torch.Tensor, torch.Tensor]] = []
        self._logprob: list[torch.Tensor] = []
        self.last = torch.empty(0)

    def choose(self, logits: torch.Tensor) -> None:
        """Take one more token for every report from float32 [B, vocabulary]."""
        step = len(self._logprob)
        early = step < self._options.min_new_tokens
        allowed = logits.index_fill(1, self._not_yet if early else self._never, -torch.inf)
        self.last = self._sample(allowed) if self._generators else allowed.argmax(-1)
        total = logits.logsumexp(-1, keepdim=True)
        best = logits.topk(ALTERNATIVES + 1)
        self._best.append((best.values - total, best.indices))
        self._logprob.append((logits.gather(1, self.last[:, None]) - total)[:, 0])
        if not bool(total.isfinite().all()):
            raise ModelError(
                "the model's output is not a number; float16 overflows in Gemma 3, use bfloat16 or float32"
            )
        for index, token in enumerate(self.last.tolist()):
            if self._ended[index]:
                continue
            if token in self._end:
                self._ended[index] = True
            else:
                self.tokens[index].append(token)

    def unfinished(self) -> list[int]:
        """The reports that have not ended."""
        return [index for index, ended in enumerate(self._ended) if not ended]

    def report(
        self, index: int
    ) -> tuple[tuple[int, ...], Float32Array, tuple[tuple[tuple[int, float], ...], ...], bool]:
        """One report's ids, log-probabilities, alternatives, and whether it ended by itself."""
        tokens = self.tokens[index]
        if not tokens:
            return (), torch.empty(0).numpy(), (), self._ended[index]
        logprobs = torch.stack([row[index] for row in self._logprob[: len(tokens)]]).cpu().numpy()
        scores = torch.stack([row[0][index] for row in self._best[: len(tokens)]]).tolist()
        ids = torch.stack([row[1][index] for row in self._best[: len(tokens)]]).tolist()
        alternatives = tuple(
            tuple((i, s) for i, s in zip(row_ids, row_scores, strict=True) if i != token)[:ALTERNATIVES]
            for token, row_ids, row_scores in zip(tokens, ids, scores, strict=True)
        )
        return tuple(tokens), logprobs, alternatives, self._ended[index]

    def _sample(self, logits: torch.Tensor) -> torch.Tensor:
        weights = (logits / self._options.temperature).softmax(-1).cpu()
        drawn = [
            torch.multinomial(row, 1, generator=generator)
            for row, generator in zip(weights, self._generators, strict=True)
        ]
        return torch.cat(drawn).to(logits.device)
