"""Gemma 4 unified (12B): as the larger Gemma 4, without a vision tower. A cell is its own pixels, 48 x 48 of them.

An image cell sees later ones of its image in sliding layers alone, as in Google's own code, in vLLM (PR 47217) and in
the larger Gemma 4. transformers 5.23 makes that mask for `generate` with a static cache; the forward by itself, and so
`generate` as it comes, still lets them see later ones in all layers, which PR 46850 ended in the others.

Its image processor in transformers needs torchvision. The one here does the same by PIL: Gemma 4's own cuts patches of
16 x 16 pixels, and 3 x 3 of them are put together. Cells are those of torchvision 0.28 one by one, their
pixels within 2 of its 255 grays (0.003 in the mean), for PIL rounds a resized picture otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from transformers.models.gemma4.image_processing_pil_gemma4 import Gemma4ImageProcessorPil

from medinterp.model.families.gemma4 import Gemma4


class MergedPatches(Gemma4ImageProcessorPil):
    """Films to cells of raw pixels.

    pixel_values: float32 [images, max_soft_tokens, pixels of a cell x 3], row by row, zeros behind the last;
    image_position_ids: [images, max_soft_tokens, 2], column and row, -1 behind the last.
    """

    def _preprocess(  # type: ignore[override]
        self, images: Any, return_tensors: Any = None, **options: Any
    ) -> Any:
        made = super()._preprocess(images, return_tensors="np", **options)
        side, kernel = options["patch_size"], options["pooling_kernel_size"]
        pixels, places = [], []
        for patches, positions in zip(made["pixel_values"], made["image_position_ids"], strict=True):
            columns, rows = (positions.max(axis=0) + 1) // kernel
            count = rows * columns
            grid = patches[: count * kernel**2].reshape(rows, kernel, columns, kernel, side, side, 3)
            cells = grid.transpose(0, 2, 1, 4, 3, 5, 6).reshape(count, -1)
            own = np.stack(np.divmod(np.arange(count), columns)[::-1], axis=-1)
            left = options["max_soft_tokens"] - count
            pixels.append(np.pad(cells, [(0, left), (0, 0)]))
            places.append(np.pad(own, [(0, left), (0, 0)], constant_values=-1))
        made["pixel_values"], made["image_position_ids"] = np.stack(pixels), np.stack(places)
        return made.convert_to_tensors(return_tensors)


class Gemma4Unified(Gemma4):
    """Gemma4UnifiedForConditionalGeneration."""

    model_class = "Gemma4UnifiedForConditionalGeneration"

    def image_processor(self, source: str, options: Mapping[str, Any]) -> Any:
        """By the checkpoint's own settings."""
        return MergedPatches.from_pretrained(source, **options)

    def merged(self, kernel: int) -> int:
        """They are cells already."""
        return 1

    def own_masks(self, model: Any, own: Mapping[str, Any]) -> dict[str, Any]:
        """The masks, which the forward does not make so by itself."""
        entries = model.get_input_embeddings()(own["input_ids"])
        return {"attention_mask": self._masks(model, entries, own[self.types_name])}

    def run(
        self, model: Any, entries: torch.Tensor, types: torch.Tensor, positions: torch.Tensor | None, **options: Any
    ) -> torch.Tensor:
        """Under the same masks."""
        return super().run(
            model, entries, types, positions, attention_mask=self._masks(model, entries, types), **options
        )

    def _masks(self, model: Any, entries: torch.Tensor, types: torch.Tensor) -> Any:
        """Of each kind of layer."""
        return model.create_masks_for_generate(model.config, entries, None, None, None, mm_token_type_ids=types)


FAMILY = Gemma4Unified()
