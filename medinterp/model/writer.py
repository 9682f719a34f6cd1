"""Writes reports side by side, each in a slot of its own; what the attention did is read from the cache afterwards."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field

import torch

from medinterp.errors import GenerationCancelled, ModelError
from medinterp.model.capture import AttentionCall
from medinterp.model.device import Captures, OnItsWay, Replayed, step_shapes
from medinterp.model.entering import enter
from medinterp.model.evidence import BLOCK_BYTES, CapturedRows, Evidence, attention_rows
from medinterp.model.footprint import BEST
from medinterp.model.loading import LoadedModel
from medinterp.model.prompt import PromptInputs
from medinterp.model.slots import Slots
from medinterp.types import Float32Array

Alternatives = tuple[tuple[int, float], ...]
"""The likeliest other tokens of one place, and their log-probabilities."""
OVERFLOW = "the model's output is not a number; float16 overflows in Gemma models, use bfloat16 or float32"


@dataclass(frozen=True, eq=False)
class DecodeOptions:
    """How to write.

    temperature 0 takes the likeliest token; above 0 samples with one generator for each seed;
    min_new_tokens: the report does not end before; forced: the tokens that it begins with, whatever the model prefers.
    """

    max_new_tokens: int
    min_new_tokens: int = 0
    temperature: float = 0.0
    seeds: tuple[int, ...] | None = None
    layer_attention: bool = True
    forced: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class Decoded:
    """One report as it came from the model.

    token_ids: T ids, without the one that ended it; logprobs: float32 [T], log p under the model's own
    distribution (temperature 1), nats; alternatives: for each token the ids and log-probabilities of the
    five likeliest others; image_state: float32 [cells, d], normalised final states at the image cells; unembedding:
    float32 [T, d], the tokens' rows of the output embedding.
    """

    token_ids: tuple[int, ...]
    logprobs: Float32Array
    alternatives: tuple[Alternatives, ...]
    complete: bool
    rows: CapturedRows
    image_state: Float32Array
    unembedding: Float32Array


class Finished:
    """A report and its evidence on the way to the host."""

    def __init__(
        self,
        loaded: LoadedModel,
        token_ids: Sequence[int],
        complete: bool,
        evidence: Evidence,
        image_state: torch.Tensor,
        scores: torch.Tensor,
        ids: torch.Tensor,
    ) -> None:
        """scores: float32 [T, 1 + BEST], of the tokens and of the likeliest in their places; ids: long [T, BEST]."""
        self._token_ids, self._complete = tuple(token_ids), complete
        tokens = torch.tensor(self._token_ids, dtype=torch.long, device=loaded.device)
        unembedding = loaded.head.weight[tokens].float()
        self._way = OnItsWay([*evidence.tensors(), image_state.float(), scores, ids, unembedding])

    def decoded(self) -> Decoded:
        """Wait for it."""
        image, mass, matrix, norm, state, scores, ids, unembedding = self._way.arrays()
        assert image is not None and mass is not None and norm is not None and state is not None
        assert scores is not None and ids is not None and unembedding is not None
        others = tuple(
            tuple((i, s) for i, s in zip(row, row_scores, strict=True) if i != token)[: BEST - 1]
            for token, row, row_scores in zip(self._token_ids, ids.tolist(), scores[:, 1:].tolist(), strict=True)
        )
        rows = CapturedRows(image, mass, matrix, norm)
        return Decoded(self._token_ids, scores[:, 0].copy(), others, self._complete, rows, state, unembedding)


def decode(
    loaded: LoadedModel,
    prompts: Sequence[PromptInputs],
    options: DecodeOptions,
    *,
    on_token: Callable[[int, int], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> list[Decoded]:
    """Write one report for each prompt, side by side, in slots made for them; as `write_all`."""
    steps = options.max_new_tokens + 1
    with torch.inference_mode():
        writer = Writer(Slots(loaded, len(prompts), max(prompt.length for prompt in prompts) + steps, steps))
    return write_all(writer, prompts, options, on_token=on_token, cancelled=cancelled)


@torch.inference_mode()
def write_all(
    writer: Writer,
    prompts: Sequence[PromptInputs],
    options: DecodeOptions,
    *,
    on_token: Callable[[int, int], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> list[Decoded]:
    """Write one report for each prompt, side by side, in a writer's free slots.

    on_token(i, token_id) is called for each token of report i as it is chosen. The caller holds
    loaded.lock. Raises GenerationCancelled between tokens, ModelError when the model overflows.
    """
    sampled = options.temperature > 0
    if sampled and (options.seeds is None or len(options.seeds) != len(prompts)):
        raise ValueError("sampling needs one seed for each report")
    done = 0

    def check() -> None:
        if cancelled is not None and cancelled():
            raise GenerationCancelled(f"cancelled after {done} tokens")

    place: dict[Writing, int] = {}
    written: dict[int, Finished] = {}
    try:
        check()
        for together in by_length(prompts):
            seeds = [options.seeds[index] if sampled and options.seeds else None for index in together]
            admitted = writer.admit_together([prompts[index] for index in together], [options] * len(together), seeds)
            place.update(zip(admitted, together, strict=True))
        while writer.busy:
            for writing, token in writer.choose():
                if writing.overflowed:
                    raise ModelError(OVERFLOW)
                if token is not None and on_token is not None:
                    on_token(place[writing], token)
            done += 1
            for writing in writer.ended():
                written[place.pop(writing)] = writer.finish(writing)
            if writer.busy:
                check()
                writer.step()
    finally:
        for writing in place:  # those that an error left in their slots
            writer.free(writing)
    return [written[index].decoded() for index in range(len(prompts))]


def by_length(prompts: Sequence[PromptInputs]) -> list[list[int]]:
    """The indices of prompts that can be read together, in the order of the first of each."""
    groups: dict[int, list[int]] = {}
    for index, prompt in enumerate(prompts):
        groups.setdefault(prompt.length, []).append(index)
    return list(groups.values())


@dataclass(eq=False)
class Writing:
    """One report that is being written.

    tokens: what there is of it; complete: the model has ended it; overflowed: the model gave no number in place of the
    next one, and the report cannot go on.
    """

    prompt: PromptInputs
    options: DecodeOptions
    slot: int
    image_state: torch.Tensor
    matrix: list[torch.Tensor]
    generator: torch.Generator | None
    tokens: list[int] = field(default_factory=list)
    complete: bool = False
    overflowed: bool = False
    passes: int = 1
    """Rows that the slot holds: the prompt's last one, and one for each token that was read."""

    @property
    def over(self) -> bool:
        """Whether no token is to be chosen any more."""
        return self.complete or self.overflowed or len(self.tokens) == self.options.max_new_tokens

    @property
    def whole(self) -> bool:
        """Whether it was ended by the model, or every token that was asked for is written and read."""
        return self.complete or (self.over and self.passes == len(self.tokens) + 1)


class Writer:
    """Slots of one model. The caller holds loaded.lock and has gradients switched off."""

    def __init__(self, slots: Slots) -> None:
        self._loaded, self._slots = slots.loaded, slots
        self._places: list[Writing | None] = [None] * slots.count
        self._few = slots.compiled or slots.loaded.in_graphs
        self._counts, self._lengths = step_shapes(slots.count, slots.length, few=self._few)
        self._steps: dict[tuple[int, int], Replayed] = {}
        self._captures = Captures(slots.loaded.device if slots.loaded.in_graphs else None)
        self._ends = slots.loaded.facts.eos_token_ids

    @property
    def slots(self) -> Slots:
        """The slots that it writes in."""
        return self._slots

    @property
    def busy(self) -> bool:
        """Whether a slot holds a report that is not finished."""
        return any(self._places)

    @property
    def full(self) -> bool:
        """Whether every slot holds a report."""
        return all(self._places)

    def holds(self, length: int, rows: int) -> bool:
        """Whether a slot has so many positions and rows."""
        return length <= self._slots.length and rows <= self._slots.rows

    def warm(self) -> None:
        """Run steps of every shape that is a graph or a compilation, the largest first, whose memory the others share;
        where there are none, the largest alone."""
        shapes = itertools.product(reversed(self._counts), reversed(self._lengths))
        many = nullcontext()
        if self._slots.compiled:  # dynamo gives up after 8 shapes of one function, those of other slots among them
            many = torch._dynamo.config.patch(recompile_limit=1024, accumulated_recompile_limit=1024)
        with many:
            for count, length in shapes if self._few else itertools.islice(shapes, 1):
                self._step(count, length)()

    def admit(self, prompt: PromptInputs, options: DecodeOptions, seed: int | None = None) -> Writing:
        """Read a prompt into a free slot; its first token can then be chosen. Raises as `admit_together`."""
        return self.admit_together([prompt], [options], [seed])[0]

    def admit_together(
        self, prompts: Sequence[PromptInputs], options: Sequence[DecodeOptions], seeds: Sequence[int | None]
    ) -> list[Writing]:
        """Read prompts of one length into free slots, in one pass.

        Raises ValueError where there are fewer free slots or a slot is too short, and for sampling without a seed.
        """
        loaded, slots = self._loaded, self._slots
        free = [place for place, one in enumerate(self._places) if one is None][: len(prompts)]
        if len(free) < len(prompts):
            raise ValueError("every slot holds a report that is not finished")
        for prompt, asked, seed in zip(prompts, options, seeds, strict=True):
            needed = prompt.length + asked.max_new_tokens, asked.max_new_tokens + 1
            if needed[0] > slots.length or needed[1] > slots.rows:
                raise ValueError(f"a slot has {slots.length} positions and {slots.rows} rows; {needed} are needed")
            if asked.temperature > 0 and seed is None:
                raise ValueError("sampling needs a seed")
        generators: list[torch.Generator | None] = [
            torch.Generator(loaded.device).manual_seed(seed) if asked.temperature > 0 and seed is not None else None
            for asked, seed in zip(options, seeds, strict=True)
        ]
        reader = _PromptReader(slots, {slot: asked.layer_attention for slot, asked in zip(free, options, strict=True)})
        for slot in free:
            slots.clear(slot)
        states = enter(loaded, prompts).states(loaded, attention_recorder=reader)
        slots.logits[free] = loaded.logits(states[:, -1]).to(slots.logits.dtype)
        admitted = []
        for slot, prompt, asked, generator, own in zip(free, prompts, options, generators, states, strict=True):
            slots.position[slot], slots.row[slot], slots.least[slot] = prompt.length - 1, 0, asked.min_new_tokens
            slots.offset[slot] = prompt.position_offset
            slots.rate(slice(slot, slot + 1))
            image = torch.cat([own[span.start : span.stop] for span in prompt.image_spans])
            admitted.append(Writing(prompt, asked, slot, image, reader.matrices[slot], generator))
        for writing in admitted:  # all of them or none
            self._places[writing.slot] = writing
        return admitted

    def choose(self) -> list[tuple[Writing, int | None]]:
        """Take one more token for every report that has room: the token, None where the report ended or overflowed."""
        slots, count = self._slots, self._count()
        slots.token[:count].copy_(slots.likeliest[:count].clamp_min(0))
        ids = slots.likeliest[:count].tolist()
        writing = [one for one in self._places if one is not None and not one.over]
        for one in writing:
            if ids[one.slot] < 0:
                one.overflowed = True
                continue
            if len(one.tokens) < len(one.options.forced):
                ids[one.slot] = one.options.forced[len(one.tokens)]
            elif one.generator is not None:
                allowed = slots.allowed(slice(one.slot, one.slot + 1))[0]
                weights = ((allowed - allowed.max()) / one.options.temperature).softmax(-1)
                ids[one.slot] = int(torch.multinomial(weights, 1, generator=one.generator))
            else:
                continue
            slots.token[one.slot] = ids[one.slot]
        slots.take(count)
        told: list[tuple[Writing, int | None]] = []
        for one in writing:
            token = ids[one.slot]
            one.complete = not one.overflowed and token in self._ends
            if not one.over:
                one.tokens.append(token)
                told.append((one, token))
            else:
                told.append((one, None))
        return told

    def step(self) -> None:
        """Read the chosen tokens, all slots at once."""
        slots, count = self._slots, self._count()
        reached = 0
        for one in self._places:
            if one is not None:
                one.passes += 1
                reached = max(reached, one.prompt.length + one.passes - 1)
        length = next(size for size in self._lengths if size >= reached)
        # A slot without a report moves on with the others, and never out of what the step sees.
        slots.position[:count].add_(1).clamp_(max=length - 1)
        slots.row[:count].add_(1).clamp_(max=slots.rows - 1)
        self._step(count, length)()

    def ended(self) -> list[Writing]:
        """The reports that are whole: ended by the model, or as long as was asked for."""
        return [one for one in self._places if one is not None and one.whole and not one.overflowed]

    def finish(self, writing: Writing) -> Finished:
        """Take a report out of its slot, which is free then."""
        slots, slot, count = self._slots, writing.slot, len(writing.tokens)
        evidence = self._evidence(writing)
        # The slot serves the next report while these are on their way.
        scores, ids = slots.scores[slot, :count].clone(), slots.ids[slot, :count].clone()
        self.free(writing)
        return Finished(self._loaded, writing.tokens, writing.complete, evidence, writing.image_state, scores, ids)

    def free(self, writing: Writing) -> None:
        """Forget a report: it is finished, or its caller went away. One that has left its slot is forgotten already."""
        if self._places[writing.slot] is not writing:
            return
        self._places[writing.slot] = None
        last = max((place for place, one in enumerate(self._places) if one is not None), default=-1)
        low = self._places.index(None)
        moved = self._places[last] if low < last else None
        if moved is not None and self._fitting(last + 1) > self._fitting(sum(map(bool, self._places))):
            self._slots.move(last, low)
            self._places[last], self._places[low], moved.slot = None, moved, low

    def free_all(self) -> None:
        """Forget every report: a step failed, and none can go on."""
        self._places = [None] * len(self._places)

    def _count(self) -> int:
        """How many slots a step is made of: all up to the last that holds a report."""
        return self._fitting(1 + max((place for place, one in enumerate(self._places) if one is not None), default=0))

    def _fitting(self, count: int) -> int:
        return next((size for size in self._counts if size >= count), self._counts[-1])

    def _step(self, count: int, length: int) -> Replayed:
        if (count, length) not in self._steps:
            slots = self._slots
            self._steps[count, length] = Replayed(lambda: slots.forward(count, length), self._captures)
        return self._steps[count, length]

    def _evidence(self, writing: Writing) -> Evidence:
        """The rows of the whole report, from the slot's queries, keys and values."""
        loaded, slots, slot, count = self._loaded, self._slots, writing.slot, len(writing.tokens)
        length, wanted = writing.prompt.length + count, writing.options.layer_attention
        evidence = Evidence(loaded, writing.prompt, count, layer_attention=wanted)
        # The row after the last token predicts what nobody wrote.
        rows = count + 1 if wanted else max(count, 1)
        positions = torch.arange(evidence.first, evidence.first + rows, device=loaded.device)
        layers = loaded.language_model.layers
        masks = {kind: slots.mask(kind, positions)[:, :length] for kind in set(loaded.facts.layer_types)}
        for layer, kind in enumerate(loaded.facts.layer_types):
            if wanted:
                evidence.add_matrix(layer, writing.matrix[layer])
            evidence.add_layer(
                layer,
                evidence.first,
                slots.queries[layer][slot, :, :rows],
                slots.keys[layer][slot, :, :length],
                slots.values[layer][slot, :, :length],
                masks[kind],
                layers[layer].self_attn.scaling,
            )
        return evidence


class _PromptReader:
    """Takes keys, values and the last query of prompts into slots, and a prompt's rows where they are asked for."""

    def __init__(self, slots: Slots, wanted: Mapping[int, bool]) -> None:
        """wanted: the slot of each prompt, and whether its rows are asked for."""
        self._slots, self._wanted = slots, wanted
        self.matrices: dict[int, list[torch.Tensor]] = {slot: [] for slot in wanted}

    def observe(self, call: AttentionCall, output: torch.Tensor) -> None:
        """Take what one layer computed; query [B, H, P, D]."""
        slots, layer, length = self._slots, call.layer, call.key.shape[2]
        masks = call.whole_mask[:, 0].expand(len(self._wanted), -1, -1)
        block = max(1, BLOCK_BYTES // (4 * call.query.shape[1] * length))
        for (slot, wanted), query, key, value, mask in zip(
            self._wanted.items(), call.query, call.key, call.value, masks, strict=True
        ):
            slots.keys[layer][slot, :, :length] = key
            slots.values[layer][slot, :, :length] = value
            slots.queries[layer][slot, :, 0] = query[:, -1]
            if wanted:
                rows = [
                    attention_rows(query[:, i : i + block], key, mask[i : i + block], call.scaling).mean(0)
                    for i in range(0, length, block)
                ]
                self.matrices[slot].append(torch.cat(rows).to(torch.float16))
