"""Qwen2.5-VL, on which many medical models stand (RadVLM among them).

A film keeps its shape: as many cells as its pixels make, by rows and columns. All layers are causal, and nothing
normalises what attention adds. Positions have three axes (time, row, column), and those of the text go on from the
larger side of an image: how far they lie beyond the places in the sequence is a prompt's own, and is kept with it. The
model itself keeps the last one that it saw (`rope_deltas`), another request's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from medinterp.errors import ModelError
from medinterp.model.families.family import Family
from medinterp.types import ImageSpan


class Qwen25VL(Family):
    """Qwen2_5_VLForConditionalGeneration."""

    model_class = "Qwen2_5_VLForConditionalGeneration"
    vision_names = ("image_grid_thw",)

    def cells(self, model: Any, processor: Any) -> tuple[int, int]:
        """By the fewest pixels that a film is brought to; the side by the most."""
        vision, made = model.config.vision_config, processor.image_processor
        told = vision.patch_size, vision.spatial_merge_size, vision.temporal_patch_size
        cut = made.patch_size, made.merge_size, made.temporal_patch_size
        if told != cut:
            raise ModelError(
                f"the image processor cuts patches of {cut} (pixels, patches a cell's side, frames), the vision tower "
                f"takes {told}"
            )
        side = made.patch_size * made.merge_size
        least = math.ceil(made.size["shortest_edge"] / side**2)
        return max(1, least), math.isqrt(made.size["longest_edge"]) // side * side

    def grids(self, processor: Any, vision: Mapping[str, Any]) -> list[tuple[int, int]]:
        """Patches by patches, merged."""
        merge = processor.image_processor.merge_size
        return [(rows // merge, columns // merge) for _, rows, columns in vision["image_grid_thw"].tolist()]

    def box_scale(self, processor: Any, film: ImageSpan) -> tuple[float, float]:
        """Pixels of the picture as the model gets it."""
        side = processor.image_processor.patch_size * processor.image_processor.merge_size
        return float(film.rows * side), float(film.columns * side)

    def positions(
        self, model: Any, input_ids: torch.Tensor, types: torch.Tensor, vision: Mapping[str, torch.Tensor]
    ) -> tuple[torch.Tensor | None, int]:
        """The model's own rule, [3, P]."""
        found, offset = model.model.get_rope_index(
            input_ids[None], mm_token_type_ids=types[None], image_grid_thw=vision["image_grid_thw"]
        )
        return found[:, 0], int(offset)

    def picture(self, image_processor: Any, picture: Any) -> npt.NDArray[np.float32]:
        """Put together of its patches, which come cell by cell."""
        inputs = image_processor(images=[picture], return_tensors="np")
        (_, rows, columns), merge = inputs["image_grid_thw"][0], image_processor.merge_size
        side, frames = image_processor.patch_size, image_processor.temporal_patch_size
        shape = rows // merge, columns // merge, merge, merge, 3, frames, side, side
        patches = inputs["pixel_values"].reshape(shape)[:, :, :, :, :, 0]
        return np.asarray(patches.transpose(0, 2, 5, 1, 3, 6, 4).reshape(rows * side, columns * side, 3))

    def run(
        self, model: Any, entries: torch.Tensor, types: torch.Tensor, positions: torch.Tensor | None, **options: Any
    ) -> torch.Tensor:
        """By the language model alone: its masks are causal, and the positions are a prompt's own."""
        return self.step(self.language_model(model), entries, {}, position_ids=positions, use_cache=False, **options)

    def step(self, language: Any, entries: torch.Tensor, masks: Mapping[str, Any], **options: Any) -> torch.Tensor:
        """Without masks the language model makes its own."""
        return super().step(language, entries, masks or None, **options)  # type: ignore[arg-type]


FAMILY = Qwen25VL()
