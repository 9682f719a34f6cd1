"""Gemma 4 with a vision tower, in its two kinds, and with experts.

A film keeps its shape: up to `max_soft_tokens` cells, by rows and columns. E2B and E4B are causal everywhere, their
last layers take the keys and values of the last layer of their own kind that has any, and every layer gets an
embedding of its own of each token. In 26B and 31B image cells see their whole image in sliding layers alone, and global
layers have wider heads, fewer of them for keys, and no W_V. All scale the stream behind each layer by a learned number.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from medinterp.errors import ModelError
from medinterp.model.facts import LayerShape
from medinterp.model.families.family import Family


class Gemma4(Family):
    """Gemma4ForConditionalGeneration."""

    model_class = "Gemma4ForConditionalGeneration"
    vision_names = ("image_position_ids",)

    def cells(self, model: Any, processor: Any) -> tuple[int, int]:
        """A film that is very long and narrow has half of what a square one has."""
        vision, made = model.config.vision_config, processor.image_processor
        told, cut = (vision.patch_size, vision.pooling_kernel_size), (made.patch_size, made.pooling_kernel_size)
        if told != cut:
            raise ModelError(f"the image processor cuts {cut} (pixels, patches a cell's side), the model takes {told}")
        side = math.isqrt(made.max_soft_tokens) * made.patch_size * made.pooling_kernel_size
        return made.max_soft_tokens // 2, side

    def shapes(self, text: Any) -> tuple[LayerShape, ...]:
        """Heads as wide as a layer's kind has them; a layer that shares takes from the last of its kind that stores."""
        kinds, modes = text.layer_types, text.kv_sharing_modes
        stored = {kind: layer for layer, (kind, mode) in enumerate(zip(kinds, modes, strict=True)) if mode == "store"}
        shapes = []
        for layer, (kind, mode) in enumerate(zip(kinds, modes, strict=True)):
            own = text.per_layer_config[layer]
            source = stored[kind] if mode == "reuse" else layer
            shapes.append(LayerShape(own.num_key_value_heads, own.head_dim, source))
        return tuple(shapes)

    def blocks(self, text: Any) -> frozenset[str]:
        """None, or in sliding layers."""
        if text.use_bidirectional_attention == "all":
            raise ModelError("in this Gemma 4 text sees later text too: it is an encoder, and writes no reports")
        return frozenset({"sliding_attention"} if text.use_bidirectional_attention == "vision" else ())

    def grids(self, processor: Any, vision: Mapping[str, Any]) -> list[tuple[int, int]]:
        """By the last patch's place (x, y)."""
        kernel = processor.image_processor.pooling_kernel_size
        last = (vision["image_position_ids"].amax(dim=1) + 1) // self.merged(kernel)
        return [(rows, columns) for columns, rows in last.tolist()]

    def merged(self, kernel: int) -> int:
        """How many of the image processor's patches are a cell's side."""
        return kernel

    def around(self, config: Any) -> tuple[Sequence[int], Sequence[int]]:
        """The marks of an image's beginning and end."""
        return (config.boi_token_id,), (config.eoi_token_id,)

    def picture(self, image_processor: Any, picture: Any) -> npt.NDArray[np.float32]:
        """Put together of its patches, which come row by row."""
        inputs = image_processor(images=[picture], return_tensors="np")
        columns, rows = inputs["image_position_ids"][0].max(axis=0) + 1
        patches = inputs["pixel_values"][0][: rows * columns]
        side = math.isqrt(patches.shape[-1] // 3)
        grid = patches.reshape(rows, columns, side, side, 3)
        return np.asarray(grid.transpose(0, 2, 1, 3, 4).reshape(rows * side, columns * side, 3))

    def filler(self, config: Any) -> int:
        """Padding: an image cell has its embedding for each layer."""
        return int(config.get_text_config().pad_token_id)

    def embed(self, model: Any, ids: torch.Tensor) -> torch.Tensor:
        """The embedding, and behind it those for each layer, where the checkpoint has them."""
        language = self.language_model(model)
        embeddings: torch.Tensor = language.embed_tokens(ids)
        if not getattr(language, "hidden_size_per_layer_input", 0):
            return embeddings
        return torch.cat([embeddings, language.get_per_layer_inputs(ids, None).flatten(-2)], dim=-1)

    def run(
        self, model: Any, entries: torch.Tensor, types: torch.Tensor, positions: torch.Tensor | None, **options: Any
    ) -> torch.Tensor:
        """The entries taken apart again."""
        embeddings, apart = self._apart(self.language_model(model), entries)
        return super().run(model, embeddings, types, positions, **apart, **options)

    def step(self, language: Any, entries: torch.Tensor, masks: Mapping[str, Any], **options: Any) -> torch.Tensor:
        """The same."""
        embeddings, apart = self._apart(language, entries)
        return super().step(language, embeddings, masks, **apart, **options)

    def _apart(self, language: Any, entries: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        width = language.config.hidden_size
        if entries.shape[-1] == width:
            return entries, {}
        layers = entries[..., width:].reshape(*entries.shape[:-1], language.config.num_hidden_layers, -1)
        return entries[..., :width], {"per_layer_inputs": layers}

    def post_norm(self, layer: Any) -> tuple[torch.Tensor, float] | None:
        """RMSNorm with the factors w."""
        norm = layer.post_attention_layernorm
        return norm.weight.float(), float(norm.eps)

    def carried(self, model: Any) -> list[float]:
        """The product of a layer's scalar and all behind it."""
        scalars = [float(layer.layer_scalar) for layer in self.language_model(model).layers]
        return [math.prod(scalars[layer:]) for layer in range(len(scalars))]


FAMILY = Gemma4()
