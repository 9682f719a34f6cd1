"""What the model did: provenance, the trace of its attention, what was measured afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from medinterp.types.arrays import Float16Array, Float32Array, float32_of
from medinterp.types.conversation import Asked, Conversation
from medinterp.types.film import FilmWarning, ImageSpan
from medinterp.types.report import Report


@dataclass(frozen=True)
class Provenance:
    """Enough to make the same report again."""

    model_id: str
    model_revision: str
    dtype: str
    device: str
    library_versions: Mapping[str, str]
    film_sha256: tuple[str, ...]
    prompt_sha256: str
    prompt: str
    seed: int | None
    max_new_tokens: int
    layer_types: tuple[str, ...]
    sliding_window: int | None
    notice: str | None = None
    """A sentence that the model's maker wants shown beside every report."""
    given: bool = False
    """Whether somebody else wrote the report, and the model was asked only how it would have come to it."""
    writer: str | None = None
    """The engine that wrote the report for this request, by its model's name there; None: the model here did."""
    tokens_compared: bool = False
    """Whether the engine told its own tokens, so that they could be compared with the text tokenised again."""
    retokenised_at: int | None = None
    """The character from which on the engine's tokens were cut otherwise, None when all were equal."""
    prompt_tokens: int | None = None
    """Of the prompt, those of the films among them; None in what was kept before they were counted."""
    alias: str | None = None
    """What the service that made the report calls the model in its settings; None outside of one."""
    adapter: str | None = None
    """The LoRA that was named beside the model, a directory or a hub id; its revision stands behind the "+" in
    model_revision. None also where model_id is that of an adapter, which names its own model."""
    quantization: str | None = None
    """"8bit" or "4bit" where the weights were quantised as they were loaded; None: they are computed with as saved."""
    conversation: Conversation | None = None
    """What was asked where it was more than one turn of words behind (or before) the films; `prompt` is its words."""
    temperature: float = 0.0
    """0: the likeliest token was taken; above it was drawn, from `seed`."""
    image_first: bool = True
    """Whether the film stood before the prompt."""
    layer_weights_sha256: str | None = None
    """Of the learned layer weights (float32 [L]); None for a model that nobody has calibrated."""

    @property
    def asked(self) -> Asked:
        """What builds the very same prompt again."""
        return self.prompt if self.conversation is None else self.conversation


@dataclass(frozen=True, eq=False)
class AttentionTrace:
    """What the model did while it wrote the report, captured beside its own attention kernel.

    image_attention: float16 [T, L, H, cells], softmax weights of row q_t on the image cells
        (all images' cells one after the other, in the order of image_spans).
    attention_mass: float32 [T, L, H, 4], row q_t's total weight on the image(s), the first token,
        the rest of the prompt, and the report so far; sums to 1 within 1e-3.
    layer_attention: float16 [L, N, N], head-mean of every layer, or None when not asked for.
    value_norm: float32 [L, H, N], || W_O^h v_j || scaled by the layer's frozen post-attention
        RMSNorm (methods.md), or None.
    token_logprob: float32 [T], nats.
    image_state: float32 [cells, d], the final (normalised) states at the image cells.
    unembedding: float32 [T, d], output-embedding rows of the generated tokens.
    image_spans: one for each image; prompt_length: P; query_position of token t is P - 1 + t.
    layer_weights: float32 [L], what `medinterp calibrate` learned for this model and revision; sums to 1,
        or None for a model that nobody has calibrated.
    """

    image_attention: Float16Array
    attention_mass: Float32Array
    layer_attention: Float16Array | None
    value_norm: Float32Array | None
    token_logprob: Float32Array
    image_state: Float32Array
    unembedding: Float32Array
    image_spans: tuple[ImageSpan, ...]
    prompt_length: int
    provenance: Provenance
    layer_weights: Float32Array | None = None

    @cached_property
    def head_mean(self) -> Float32Array:
        """Mean over heads of image_attention, float32 [T, L, cells]; computed once."""
        tokens, layers, _, cells = self.image_attention.shape
        means = np.empty((tokens, layers, cells), dtype=np.float32)
        for token in range(tokens):  # one at a time: the whole in float32 would be twice the trace
            means[token] = float32_of(self.image_attention[token]).mean(axis=1)
        return means

    @property
    def report_length(self) -> int:
        """T, the number of generated tokens."""
        return int(self.image_attention.shape[0])

    @property
    def sequence_length(self) -> int:
        """N = P + T."""
        return self.prompt_length + self.report_length

    def query_position(self, token: int) -> int:
        """q_t: the row that predicted report token t."""
        return self.prompt_length - 1 + token


@dataclass(frozen=True, eq=False)
class MeasuredCells:
    """What a method that asked the model again found.

    values: float32 [T, cells of all images], in the order of image_spans, with the method's own sign and mass.
    options: what it was asked with.
    """

    values: Float32Array
    image_spans: tuple[ImageSpan, ...]
    notes: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Generation:
    """One film read by the model: the report, the trace of how it came about, and what was measured afterwards.

    warnings: what the model's own knowledge of films finds doubtful (LoadedModel.doubts); prior_warnings: the same of a
    prior film.
    """

    report: Report
    trace: AttentionTrace
    measured: Mapping[str, MeasuredCells] = field(default_factory=dict)
    warnings: tuple[FilmWarning, ...] = ()
    prior_warnings: tuple[FilmWarning, ...] = ()
