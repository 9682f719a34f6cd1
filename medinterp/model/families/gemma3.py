"""Gemma 3: MedGemma 1 and 1.5, and the demo model.

Every film becomes a square of the same number of cells; a cell sees its whole image in every layer, but for what a
sliding window cuts off behind it. What attention adds is normalised once more before it is added.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from medinterp.errors import ModelError
from medinterp.model.facts import ModelFacts
from medinterp.model.families.family import Family
from medinterp.model.prompt import PromptInputs, find_image_spans


class Gemma3(Family):
    """Gemma3ForConditionalGeneration."""

    model_class = "Gemma3ForConditionalGeneration"
    types_name = "token_type_ids"

    def load_processor(self, source: str, options: Mapping[str, Any]) -> Any:
        """Gemma's own: it needs nothing for videos."""
        from transformers import AutoProcessor

        loader: Any = AutoProcessor
        # The PIL image processor by name: the same pixels whether torchvision is installed or not.
        return loader.from_pretrained(source, backend="pil", **options)

    def cells(self, model: Any, processor: Any) -> tuple[int, int]:
        """As many for every film."""
        config, count = model.config, model.config.mm_tokens_per_image
        if math.isqrt(count) ** 2 != count:
            raise ModelError(f"mm_tokens_per_image is {count}, which is not a square grid")
        if processor.image_seq_length != count:
            raise ModelError(
                f"the processor writes {processor.image_seq_length} image tokens for an image, the model makes "
                f"{count} (mm_tokens_per_image)"
            )
        size, side = processor.image_processor.size, config.vision_config.image_size
        if (size["height"], size["width"]) != (side, side):
            raise ModelError(
                f"the image processor resizes to {size['height']} x {size['width']}, "
                f"the vision tower sees {side} x {side}"
            )
        return count, side

    def blocks(self, text: Any) -> frozenset[str]:
        """All."""
        return frozenset(text.layer_types)

    def read_prompt(
        self, model: Any, processor: Any, facts: ModelFacts, text: str, pictures: Sequence[Any]
    ) -> PromptInputs:
        """By Gemma's own processor, which also writes line ends around an image."""
        inputs = processor(
            text=text,
            images=list(pictures),
            # The template writes the BOS itself; the tokenizer must then not write a second one.
            add_special_tokens=not text.startswith(processor.tokenizer.bos_token),
            return_tensors="pt",
            do_pan_and_scan=bool(processor.image_processor.do_pan_and_scan),
            **self._scanning(processor),
        )
        input_ids, types = inputs["input_ids"][0], inputs["token_type_ids"][0]
        if not bool(((input_ids == facts.image_token_id) == (types == 1)).all()):
            raise ModelError("the processor's token_type_ids do not mark the image cells; they would become causal")
        side = math.isqrt(model.config.mm_tokens_per_image)
        parts = [part for picture in pictures for part in (None, *self._crops(processor, picture))]
        found = find_image_spans(input_ids.tolist(), facts.image_token_id, [(side, side)] * len(parts))
        spans = tuple(replace(span, part=part) for span, part in zip(found, parts, strict=True))
        return PromptInputs(text, input_ids, types, inputs["pixel_values"], spans)

    def _scanning(self, processor: Any) -> dict[str, Any]:
        """How long films are cut, as the checkpoint says, or else as Gemma's processor does."""
        keys = (f"pan_and_scan_{name}" for name in ("min_crop_size", "max_num_crops", "min_ratio_to_activate"))
        told = {key: getattr(processor.image_processor, key) for key in keys}
        return {key: processor.images_kwargs[key] if value is None else value for key, value in told.items()}

    def _crops(self, processor: Any, picture: Any) -> list[tuple[float, float, float, float]]:
        """The parts of a film that are shown once more by themselves (pan and scan), where the checkpoint asks for it.

        They stand side by side along the longer side, all but the last of one size.
        """
        if not processor.image_processor.do_pan_and_scan:
            return []
        pixels = np.asarray(picture).transpose(2, 0, 1)
        crops = processor.image_processor.pan_and_scan(pixels, **self._scanning(processor))
        height, width = pixels.shape[1:]
        parts, top, left = [], 0, 0
        for crop in crops:
            high, wide = crop.shape[1:]
            parts.append((top / height, left / width, (top + high) / height, (left + wide) / width))
            top, left = (top, left + wide) if wide < width else (top + high, left)
        return parts

    def picture(self, image_processor: Any, picture: Any) -> npt.NDArray[np.float32]:
        """Channels last."""
        inputs = image_processor(images=[picture], do_pan_and_scan=False, return_tensors="pt")
        return np.asarray(inputs["pixel_values"][0].float().numpy().transpose(1, 2, 0))

    def post_norm(self, layer: Any) -> tuple[torch.Tensor, float] | None:
        """RMSNorm with the factors 1 + w."""
        norm = layer.post_attention_layernorm
        return 1.0 + norm.weight.float(), float(norm.eps)


FAMILY = Gemma3()
