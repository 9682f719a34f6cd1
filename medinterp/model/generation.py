"""Films in, a report and its trace out."""

from __future__ import annotations

import hashlib
import importlib.metadata
import math
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from medinterp.errors import MethodError, ReportTextError, RequestTooLargeError
from medinterp.model.footprint import trace_bytes
from medinterp.model.given import given_tokens, read_given
from medinterp.model.loading import LoadedModel
from medinterp.model.measuring import Progress, measure
from medinterp.model.memory import free_bytes
from medinterp.model.offsets import IncrementalDecoder
from medinterp.model.prompt import PromptInputs, ask, build_prompt
from medinterp.model.replay import MEMORY_BYTES
from medinterp.model.room import Room
from medinterp.model.scheduler import Scheduler
from medinterp.model.writer import Decoded, DecodeOptions
from medinterp.report import build_report
from medinterp.stages import stage, tell
from medinterp.types import (
    Alternative,
    Asked,
    AttentionTrace,
    Film,
    Generation,
    MeasuredCells,
    Provenance,
    Report,
)

MAX_TRACE_BYTES = 2 * 2**30
MEMORY_SHARE = 0.25
"""Of the device's free memory: what the passes of `measure` may hold side by side."""
_LIBRARIES = ("numpy", "tokenizers", "torch", "transformers")


@dataclass(frozen=True)
class WritersState:
    """slots: reports that can be written side by side; busy: that are; waiting: reports that wait for one."""

    slots: int
    busy: int
    waiting: int


class Generator:
    """Writes reports with one loaded model; may be called from many threads, whose reports are written side by side."""

    def __init__(
        self,
        loaded: LoadedModel,
        *,
        room: Room | None = None,
        max_slots: int = 1,
        max_trace_bytes: int = MAX_TRACE_BYTES,
        memory_share: float = MEMORY_SHARE,
    ) -> None:
        """room: of the writer's slots, made at once (`plan_room`); without it there are max_slots, as long as what is
        asked for. max_trace_bytes: the largest trace that a report may take; a larger one is refused before it begins.
        memory_share: of the device's free memory, what the passes of `measure` may hold side by side.

        Raises ModelError when CUDA cannot capture a step of the writer.
        """
        self.loaded = loaded
        self.memory_share = memory_share
        self._max_trace_bytes = max_trace_bytes
        self._versions = {name: importlib.metadata.version(name) for name in _LIBRARIES}
        self._texts: dict[int, str] = {}
        self._scheduler = Scheduler(loaded, room, max_slots=max_slots)
        self._scheduler.warm()

    def generate(
        self,
        films: Sequence[Film],
        prompt: Asked | None = None,
        *,
        max_new_tokens: int = 512,
        seed: int | None = None,
        temperature: float = 0.0,
        layer_attention: bool = True,
        on_word: Callable[[str], None] | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> Generation:
        """Read one set of films (the current one, and prior ones after it) and write one report.

        temperature 0 is greedy; above it samples from `seed` (drawn and kept in the provenance when None).
        on_word gets each piece of text as it is written; cancelled is asked before each token.
        Raises PromptError, RequestTooLargeError (context or trace) before anything is computed,
        GenerationCancelled.
        """
        if not 0 <= temperature < math.inf:
            raise ValueError(f"temperature is {temperature}; it is 0 (greedy) or a number above")
        if seed is not None and not 0 <= seed < 2**64:
            raise ValueError(f"seed is {seed}; it is a whole number from 0 to 2**64 - 1")
        asked = ask(self.loaded, films=len(films)) if prompt is None else prompt
        inputs = self.check(films, asked, max_new_tokens=max_new_tokens, layer_attention=layer_attention)
        if temperature > 0 and seed is None:
            seed = secrets.randbits(63)
        options = DecodeOptions(
            max_new_tokens=max_new_tokens, temperature=temperature, layer_attention=layer_attention
        )
        return self._write(films, asked, inputs, options, seed, on_word, cancelled)

    def force(
        self,
        films: Sequence[Film],
        text: str | Sequence[int],
        prompt: Asked | None = None,
        *,
        layer_attention: bool = True,
        cancelled: Callable[[], bool] | None = None,
    ) -> Generation:
        """The report and trace of a text (or of token ids) as if the model had written it, in one pass.

        Raises PromptError, ReportTextError for a text that the tokenizer cannot give back, RequestTooLargeError;
        GenerationCancelled where nobody waits any more before the pass begins.
        """
        tokenizer = self.loaded.processor.tokenizer
        ids = given_tokens(tokenizer, text) if isinstance(text, str) else tuple(text)
        if not ids:
            raise ReportTextError("the given report is empty")
        asked = ask(self.loaded, films=len(films)) if prompt is None else prompt
        inputs = self.check(films, asked, max_new_tokens=len(ids), layer_attention=layer_attention)
        asked_at = time.perf_counter()
        with self.loaded.lock.once(cancelled):
            tell("wait", time.perf_counter() - asked_at)
            with stage("explain"):
                finished = read_given(self.loaded, inputs, ids, layer_attention=layer_attention)
        decoded = finished.decoded()
        decoder = IncrementalDecoder(tokenizer)
        for token_id in ids:
            decoder.push(token_id)
        decoder.finish()
        options = DecodeOptions(max_new_tokens=len(ids), layer_attention=layer_attention)
        return self._assemble(films, asked, inputs, decoded, decoder, options, None, given=True)

    def _write(
        self,
        films: Sequence[Film],
        prompt: Asked,
        inputs: PromptInputs,
        options: DecodeOptions,
        seed: int | None,
        on_word: Callable[[str], None] | None,
        cancelled: Callable[[], bool] | None,
    ) -> Generation:
        text = IncrementalDecoder(self.loaded.processor.tokenizer)

        def take(token_id: int) -> None:
            piece = text.push(token_id)
            if piece and on_word is not None:
                on_word(piece)

        if on_word is None:  # nobody listens: the text is put together at the end
            decoded = self._scheduler.write(inputs, options, seed, cancelled=cancelled)
            for token_id in decoded.token_ids:
                text.push(token_id)
        else:
            decoded = self._scheduler.write(inputs, options, seed, on_token=take, cancelled=cancelled)
        rest = text.finish()
        if rest and on_word is not None:
            on_word(rest)
        return self._assemble(films, prompt, inputs, decoded, text, options, seed)

    def measure(
        self,
        films: Sequence[Film],
        report: Report,
        prompt: Asked,
        names: Sequence[str],
        options: Mapping[str, Mapping[str, Any]] | None = None,
        *,
        progress: Progress | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> dict[str, MeasuredCells]:
        """Ask the model again about a report that it wrote: occlusion and gradients, by their names in the registry.

        films, prompt: those that the report was written of (the prompt is its provenance's `asked`); options as in
        `medinterp.model.measuring.measure`. Raises UnknownMethodError, MethodError, GenerationCancelled.
        """
        inputs = build_prompt(self.loaded, films, prompt)
        token_ids = [token.token_id for token in report.tokens]
        if not token_ids:
            raise MethodError("the report is empty: there is no word to measure")
        asked_at = time.perf_counter()
        with self.loaded.lock.asking(cancelled):
            tell("wait", time.perf_counter() - asked_at)
            return measure(
                self.loaded,
                inputs,
                token_ids,
                names,
                options,
                memory_bytes=self.memory_bytes(),
                progress=progress,
                cancelled=cancelled,
            )

    def close(self) -> None:
        """End the writing thread; nothing is written any more, and whoever waits gets GenerationCancelled."""
        self._scheduler.close()

    @property
    def alive(self) -> bool:
        """Whether reports that are asked for will be written."""
        return self._scheduler.alive

    @property
    def still_s(self) -> float:
        """Seconds since the model last went on with what it has to do; 0 where it has nothing to do.

        A step of the writer, a pass, or a piece of a question takes so long at most, unless something is stuck.
        """
        return max(self._scheduler.still_s, self.loaded.lock.held_s)

    @property
    def writing(self) -> WritersState:
        """What the writer is doing just now."""
        return WritersState(self._scheduler.slots, self._scheduler.busy, self._scheduler.waiting)

    def memory_bytes(self) -> int:
        """What a question to the model may take now; more than MEMORY_BYTES makes nothing faster on a CPU."""
        share = int(min(map(free_bytes, self.loaded.devices)) * self.memory_share)
        return share if self.loaded.device.type == "cuda" else min(share, MEMORY_BYTES)

    def check(
        self, films: Sequence[Film], prompt: Asked, *, max_new_tokens: int, layer_attention: bool = True
    ) -> PromptInputs:
        """The prompt as the model reads it, for a report that can be written and explained.

        Raises PromptError, RequestTooLargeError (context or trace).
        """
        if max_new_tokens < 1:
            raise RequestTooLargeError(f"max_new_tokens is {max_new_tokens}; a report needs at least 1")
        inputs = build_prompt(self.loaded, films, prompt)
        self._check_context(inputs.length, max_new_tokens)
        self._check_trace(inputs, max_new_tokens, layer_attention)
        return inputs

    def _check_context(self, prompt_length: int, max_new_tokens: int) -> None:
        context = self.loaded.facts.context_length
        if prompt_length + max_new_tokens > context:
            raise RequestTooLargeError(
                f"the prompt takes {prompt_length} tokens (images included), the report up to "
                f"{max_new_tokens}, together {prompt_length + max_new_tokens}; the model holds {context}"
            )

    def _check_trace(self, inputs: PromptInputs, max_new_tokens: int, layer_attention: bool) -> None:
        needed = trace_bytes(
            self.loaded.facts,
            cells=inputs.cells,
            prompt_length=inputs.length,
            report_length=max_new_tokens,
            layer_attention=layer_attention,
        )
        if needed > self._max_trace_bytes:
            limit = self._max_trace_bytes / 2**20
            without = ", or methods that need no layer_attention" if layer_attention else ""
            raise RequestTooLargeError(
                f"the trace of {max_new_tokens} tokens after a prompt of {inputs.length} takes "
                f"{needed / 2**20:.0f} MiB; the limit is {limit:.0f} MiB: ask for a shorter report{without}"
            )

    def _assemble(
        self,
        films: Sequence[Film],
        prompt: Asked,
        inputs: PromptInputs,
        decoded: Decoded,
        text: IncrementalDecoder,
        options: DecodeOptions,
        seed: int | None,
        *,
        given: bool = False,
    ) -> Generation:
        loaded, rows = self.loaded, decoded.rows
        trace = AttentionTrace(
            image_attention=rows.image_attention,
            attention_mass=rows.attention_mass,
            layer_attention=rows.layer_attention,
            value_norm=rows.value_norm,
            token_logprob=decoded.logprobs,
            image_state=decoded.image_state,
            unembedding=decoded.unembedding,
            image_spans=inputs.image_spans,
            prompt_length=inputs.length,
            provenance=Provenance(
                model_id=loaded.model_id,
                model_revision=loaded.revision,
                dtype=str(loaded.dtype).removeprefix("torch."),
                device=str(loaded.device),
                library_versions=self._versions,
                film_sha256=tuple(film.sha256 for film in films),
                prompt_sha256=hashlib.sha256(inputs.text.encode()).hexdigest(),
                prompt=prompt if isinstance(prompt, str) else prompt.text,
                seed=seed,
                max_new_tokens=options.max_new_tokens,
                layer_types=loaded.facts.layer_types,
                sliding_window=loaded.facts.sliding_window,
                notice=loaded.notice,
                given=given,
                prompt_tokens=inputs.length,
                adapter=loaded.adapter,
                quantization=loaded.quantization,
                conversation=None if isinstance(prompt, str) else prompt,
                temperature=options.temperature,
                image_first=loaded.image_first,
                layer_weights_sha256=loaded.layer_weights_sha256,
            ),
            layer_weights=loaded.layer_weights,
        )
        report = build_report(
            decoded.token_ids,
            text.offsets,
            text.text,
            [float(logprob) for logprob in decoded.logprobs],
            [tuple(Alternative(self._text(i), s) for i, s in row) for row in decoded.alternatives],
            [float(mass) for mass in rows.attention_mass[..., 0].mean(axis=(1, 2), dtype=np.float64)],
            decoded.complete,
            loaded.family.box_scale(loaded.processor, inputs.image_spans[0]),
        )
        return Generation(report=report, trace=trace)

    def _text(self, token_id: int) -> str:
        if token_id not in self._texts:
            decoded = self.loaded.processor.tokenizer.decode([token_id], clean_up_tokenization_spaces=False)
            self._texts[token_id] = str(decoded)
        return self._texts[token_id]
