"""Traces made by hand, for tests of what is computed from them."""

from __future__ import annotations

import numpy as np

from medinterp.types import AttentionTrace, Float16Array, ImageSpan, Provenance


def make_trace(image_attention: Float16Array, spans: tuple[ImageSpan, ...], prompt_length: int = 30) -> AttentionTrace:
    """A trace with the given rows on the image; what is left of each row lies on the rest of the prompt."""
    tokens, layers, heads, cells = image_attention.shape
    mass = np.zeros((tokens, layers, heads, 4), dtype=np.float32)
    mass[..., 0] = image_attention.sum(axis=-1, dtype=np.float32)
    mass[..., 2] = 1.0 - mass[..., 0]
    return AttentionTrace(
        image_attention=image_attention.copy(),
        attention_mass=mass,
        layer_attention=None,
        value_norm=None,
        token_logprob=np.full(tokens, -0.5, dtype=np.float32),
        image_state=np.zeros((cells, 4), dtype=np.float32),
        unembedding=np.zeros((tokens, 4), dtype=np.float32),
        image_spans=spans,
        prompt_length=prompt_length,
        provenance=Provenance(
            model_id="made-by-hand",
            model_revision="0",
            dtype="float32",
            device="cpu",
            library_versions={},
            film_sha256=("0",),
            prompt_sha256="0",
            prompt="Describe.",
            seed=None,
            max_new_tokens=tokens,
            layer_types=("full_attention",) * layers,
            sliding_window=None,
        ),
    )
