"""Writes reports side by side, each in a slot of its own; what the attention did is read from the cache afterwards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch

from medinterp.errors import GenerationCancelled, ModelError
from medinterp.model.capture import AttentionCall
from medinterp.model.evidence import BLOCK_BYTES, CapturedRows, Evidence, attended, attention_rows
from medinterp.model.graph import Replayed
from medinterp.model.loading import LoadedModel
from medinterp.model.prompt import PromptInputs
from medinterp.model.slots import Slots
from medinterp.types import Float16Array, Float32Array

ALTERNATIVES = 5
Alternatives = tuple[tuple[int, float], ...]
"""The likeliest other tokens of one place, and their log-probabilities."""


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
    alternatives: tuple[Alternatives, ...]
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
    """Write one report for each prompt, side by side.

    on_token(i, token_id) is called for each token of report i as it is chosen. The caller holds
    loaded.lock. Raises GenerationCancelled between tokens, ModelError when the model overflows.
    """
    sampled = options.temperature > 0
    if sampled and (options.seeds is None or len(options.seeds) != len(prompts)):
        raise ValueError("sampling needs one seed for each report")
    steps = options.max_new_tokens + 1
    writer = Writer(Slots(loaded, len(prompts), max(prompt.length for prompt in prompts) + steps, steps))

    def check(step: int) -> None:
        if cancelled is not None and cancelled():
            raise GenerationCancelled(f"cancelled after {step} tokens")

    check(0)
    written: dict[int, Decoded] = {}
    for index, prompt in enumerate(prompts):
        writer.admit(index, prompt, options, options.seeds[index] if sampled and options.seeds else None)
    for step in range(steps):
        if step:
            check(step)
            writer.step()
        for index, token in writer.choose().items():
            if token is not None and on_token is not None:
                on_token(index, token)
        for index in writer.ended():
            written[index] = writer.finish(index)
        if not writer.busy:
            break
    return [written[index] for index in range(len(prompts))]


@dataclass(eq=False)
class _Report:
    """What is known about the report in one slot."""

    prompt: PromptInputs
    options: DecodeOptions
    generator: torch.Generator | None
    image_state: Float32Array
    matrix: list[Float16Array] | None
    tokens: list[int] = field(default_factory=list)
    logprobs: list[torch.Tensor] = field(default_factory=list)
    best: list[tuple[torch.Tensor, torch.Tensor]] = field(default_factory=list)
    complete: bool = False
    passes: int = 1
    """Rows that the slot holds: the prompt's last one, and one for each token that was read."""

    @property
    def full(self) -> bool:
        """Whether every token that was asked for is written and read."""
        return len(self.tokens) == self.options.max_new_tokens and self.passes == len(self.tokens) + 1


class Writer:
    """Slots of one model. The caller holds loaded.lock and has gradients switched off."""

    def __init__(self, slots: Slots) -> None:
        loaded = slots.loaded
        self._loaded, self._slots = loaded, slots
        self._forward = Replayed(slots.forward, loaded.device)
        self._reports: dict[int, _Report] = {}
        self._end = loaded.facts.eos_token_ids
        # An image token in the text would be an image that is not there; the model is never asked for one.
        self._never = torch.tensor([loaded.facts.image_token_id], device=loaded.device)
        self._not_yet = torch.tensor([loaded.facts.image_token_id, *sorted(self._end)], device=loaded.device)

    @property
    def busy(self) -> bool:
        """Whether a slot holds a report that is not finished."""
        return bool(self._reports)

    def admit(self, slot: int, prompt: PromptInputs, options: DecodeOptions, seed: int | None = None) -> None:
        """Read a prompt into a free slot; its first token can then be chosen.

        Raises ValueError for a slot that is taken or too short, and for sampling without a seed.
        """
        loaded, slots = self._loaded, self._slots
        if slot in self._reports:
            raise ValueError(f"slot {slot} holds a report that is not finished")
        needed = prompt.length + options.max_new_tokens, options.max_new_tokens + 1
        if needed[0] > slots.length or needed[1] > slots.rows:
            raise ValueError(f"a slot has {slots.length} positions and {slots.rows} rows; {needed} are needed")
        if options.temperature > 0 and seed is None:
            raise ValueError("sampling needs a seed")
        slots.clear(slot)
        reader = _PromptReader(slots, slot, layer_attention=options.layer_attention)
        states = loaded.model.model(
            input_ids=prompt.input_ids[None].to(loaded.device),
            token_type_ids=prompt.token_type_ids[None].to(loaded.device),
            pixel_values=prompt.pixel_values.to(loaded.device, loaded.dtype),
            use_cache=False,
            attention_recorder=reader,
        ).last_hidden_state[0]
        slots.logits[slot] = loaded.model.lm_head(states[-1:])[0]
        slots.position[slot] = prompt.length - 1
        slots.row[slot] = 0
        image = torch.cat([states[span.start : span.stop] for span in prompt.image_spans])
        generator = torch.Generator().manual_seed(seed) if options.temperature > 0 and seed is not None else None
        self._reports[slot] = _Report(prompt, options, generator, image.float().cpu().numpy(), reader.matrix)

    def choose(self) -> dict[int, int | None]:
        """Take one more token for every report that has room: slot -> token, None where it ended."""
        logits = self._slots.logits
        total = logits.logsumexp(-1, keepdim=True)
        writing = {slot: report for slot, report in self._reports.items() if not self._over(report)}
        if not writing:
            return {}
        require_numbers(total[list(writing)])
        never = logits.index_fill(1, self._never, -torch.inf)
        chosen = never.argmax(-1)
        for slot, report in writing.items():
            allowed = never[slot]
            if len(report.tokens) < report.options.min_new_tokens:
                allowed = logits[slot].index_fill(0, self._not_yet, -torch.inf)
                chosen[slot] = allowed.argmax()
            if report.generator is not None:
                weights = (allowed / report.options.temperature).softmax(-1).cpu()
                chosen[slot] = torch.multinomial(weights, 1, generator=report.generator)[0]
        best = logits.topk(ALTERNATIVES + 1)
        logprob = (logits.gather(1, chosen[:, None]) - total)[:, 0]
        scores = best.values - total
        self._slots.token.copy_(chosen)
        told: dict[int, int | None] = {}
        ids = chosen.tolist()
        for slot, report in writing.items():
            if ids[slot] in self._end:
                report.complete, told[slot] = True, None
                continue
            report.tokens.append(ids[slot])
            report.logprobs.append(logprob[slot])
            report.best.append((scores[slot], best.indices[slot]))
            told[slot] = ids[slot]
        return told

    def step(self) -> None:
        """Read the chosen tokens, all slots at once."""
        slots = self._slots
        slots.position.add_(1).clamp_(max=slots.length - 1)
        slots.row.add_(1).clamp_(max=slots.rows - 1)
        self._forward()
        for report in self._reports.values():
            report.passes += 1

    def ended(self) -> list[int]:
        """The slots whose reports are whole: ended by the model, or as long as was asked for."""
        return [slot for slot, report in self._reports.items() if report.complete or report.full]

    def finish(self, slot: int) -> Decoded:
        """Take the report out of its slot, which is free then."""
        report = self._reports.pop(slot)
        tokens = report.tokens
        logprobs: Float32Array = torch.stack(report.logprobs).cpu().numpy() if tokens else torch.empty(0).numpy()
        alternatives: tuple[Alternatives, ...] = ()
        if tokens:
            scores, ids = (torch.stack(rows) for rows in zip(*report.best, strict=True))
            alternatives = likeliest_others(tokens, ids, scores)
        return Decoded(
            tuple(tokens), logprobs, alternatives, report.complete, self._rows(slot, report), report.image_state
        )

    def free(self, slot: int) -> None:
        """Forget the report in a slot: its caller went away."""
        self._reports.pop(slot, None)

    def _over(self, report: _Report) -> bool:
        return report.complete or len(report.tokens) == report.options.max_new_tokens

    def _rows(self, slot: int, report: _Report) -> CapturedRows:
        """The rows of the whole report, from the slot's queries, keys and values."""
        loaded, slots, count = self._loaded, self._slots, len(report.tokens)
        length = report.prompt.length + count
        evidence = Evidence(loaded, report.prompt, count, layer_attention=report.options.layer_attention)
        positions = torch.arange(evidence.first, length, device=loaded.device)
        layers = loaded.model.model.language_model.layers
        masks = {kind: slots.mask(kind, positions)[:, :length] for kind in set(loaded.facts.layer_types)}
        for layer, kind in enumerate(loaded.facts.layer_types):
            query = slots.queries[layer, slot, :, : count + 1]
            key, value = slots.layers[layer].keys[slot, :, :length], slots.layers[layer].values[slot, :, :length]
            scaling = layers[layer].self_attn.scaling
            if report.matrix is not None:
                evidence.add_matrix(layer, report.matrix[layer])
            evidence.add_rows(layer, evidence.first, query, key, masks[kind], scaling)
            outputs = _outputs(query[:, : max(count, 1)], key, value, masks[kind], scaling)
            evidence.add_values(layer, value, outputs.to(loaded.dtype))
        return evidence.captured()


def require_numbers(total: torch.Tensor) -> None:
    """total: the log of the softmax's denominator, any shape. Raises ModelError where the model overflowed."""
    if not bool(total.isfinite().all()):
        raise ModelError("the model's output is not a number; float16 overflows in Gemma 3, use bfloat16 or float32")


def likeliest_others(tokens: Sequence[int], ids: torch.Tensor, scores: torch.Tensor) -> tuple[Alternatives, ...]:
    """Of each token's likeliest ids and log-probabilities, [T, ALTERNATIVES + 1] in falling order, those of others."""
    return tuple(
        tuple((i, s) for i, s in zip(row, row_scores, strict=True) if i != token)[:ALTERNATIVES]
        for token, row, row_scores in zip(tokens, ids.tolist(), scores.tolist(), strict=True)
    )


def _outputs(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor, scaling: float
) -> torch.Tensor:
    """The heads' outputs of rows, float32 [rows, H * D], a block of softmax rows at a time."""
    block = max(1, BLOCK_BYTES // (4 * query.shape[0] * key.shape[1]))
    parts = [slice(i, i + block) for i in range(0, query.shape[1], block)]
    rows = mask[: query.shape[1]]
    return torch.cat([attended(attention_rows(query[:, p], key, rows[p], scaling), value) for p in parts])


class _PromptReader:
    """Takes keys, values and the last query of a prompt into a slot, and the prompt's rows where they are asked for."""

    def __init__(self, slots: Slots, slot: int, *, layer_attention: bool) -> None:
        self._slots, self._slot = slots, slot
        self.matrix: list[Float16Array] | None = [] if layer_attention else None

    def observe(self, call: AttentionCall, output: torch.Tensor) -> None:
        """Take what one layer computed; query [1, H, P, D]."""
        layer, length = self._slots.layers[call.layer], call.key.shape[2]
        layer.keys[self._slot, :, :length] = call.key[0]
        layer.values[self._slot, :, :length] = call.value[0]
        self._slots.queries[call.layer, self._slot, :, 0] = call.query[0, :, -1]
        if self.matrix is None:
            return
        mask = call.whole_mask[0, 0]
        block = max(1, BLOCK_BYTES // (4 * call.query.shape[1] * length))
        rows = [
            attention_rows(call.query[0, :, i : i + block], call.key[0], mask[i : i + block], call.scaling).mean(0)
            for i in range(0, length, block)
        ]
        matrix: Float16Array = torch.cat(rows).to(torch.float16).cpu().numpy()
        self.matrix.append(matrix)
