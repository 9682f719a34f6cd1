"""Qwen3-VL: as Qwen2.5-VL, with a second way in for the picture.

Features of earlier layers of the vision tower are added to the states behind the first layers of the language model, at
the image cells (DeepStack, arXiv 2406.04334). They are a part of a cell's feature here: who hides a cell or goes back
to it takes all of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from medinterp.model.families.qwen2_5_vl import Qwen25VL
from medinterp.types import ImageSpan


class Qwen3VL(Qwen25VL):
    """Qwen3VLForConditionalGeneration."""

    model_class = "Qwen3VLForConditionalGeneration"

    def box_scale(self, processor: Any, film: ImageSpan) -> tuple[float, float]:
        """Thousandths."""
        return 1000.0, 1000.0

    def encode(self, model: Any, pixels: torch.Tensor, vision: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """The embedding of a cell and behind it what deeper layers get, [cells, (1 + levels) d]."""
        found = model.model.get_image_features(pixels, **vision, return_dict=True)
        return torch.cat([torch.cat(level) for level in (found.pooler_output, *found.deepstack_features)], dim=-1)

    def step(self, language: Any, entries: torch.Tensor, masks: Mapping[str, Any], **options: Any) -> torch.Tensor:
        """One mask for all layers, which are of one kind; where there are cells, zeros are added everywhere else."""
        embeddings, *deeper = torch.split(entries, language.config.hidden_size, dim=-1)
        if deeper:
            options["visual_pos_masks"] = torch.ones(entries.shape[:2], dtype=torch.bool, device=entries.device)
            options["deepstack_visual_embeds"] = [level.flatten(0, 1) for level in deeper]
        states: torch.Tensor = language(
            inputs_embeds=embeddings, attention_mask=masks.get("full_attention"), **options
        ).last_hidden_state
        return states


FAMILY = Qwen3VL()
