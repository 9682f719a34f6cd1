"""The numbers of a checkpoint, read from its configuration and never written in code."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from medinterp.errors import ModelError


@dataclass(frozen=True)
class ModelFacts:
    """Shapes and identifiers of one Gemma3 vision-language checkpoint.

    layers L, heads H (query heads), key_value_heads, head_dim D, hidden_size d of the language model;
    layer_types: "sliding_attention" or "full_attention" for each layer; sliding_window: positions, or
    None when no layer slides; cells: image tokens of one image, a grid of grid_rows x grid_columns;
    image_size: pixels at each side of what the vision tower sees; context_length: positions that the
    language model was made for.
    """

    layers: int
    heads: int
    key_value_heads: int
    head_dim: int
    hidden_size: int
    layer_types: tuple[str, ...]
    sliding_window: int | None
    image_token_id: int
    cells: int
    grid_rows: int
    grid_columns: int
    image_size: int
    context_length: int
    bos_token_id: int
    eos_token_ids: frozenset[int]


def read_facts(model: Any, processor: Any) -> ModelFacts:
    """Read the facts of a loaded Gemma3 model and its processor.

    Raises ModelError when model and processor do not belong together.
    """
    config, text = model.config, model.config.get_text_config()
    side = math.isqrt(config.mm_tokens_per_image)
    if side * side != config.mm_tokens_per_image:
        raise ModelError(f"mm_tokens_per_image is {config.mm_tokens_per_image}, which is not a square grid")
    if processor.image_seq_length != config.mm_tokens_per_image:
        raise ModelError(
            f"the processor writes {processor.image_seq_length} image tokens for an image, the model makes "
            f"{config.mm_tokens_per_image} (mm_tokens_per_image)"
        )
    size, image_size = processor.image_processor.size, config.vision_config.image_size
    if (size["height"], size["width"]) != (image_size, image_size):
        raise ModelError(
            f"the image processor resizes to {size['height']} x {size['width']}, "
            f"the vision tower sees {image_size} x {image_size}"
        )
    layer_types = tuple(text.layer_types)
    return ModelFacts(
        layers=text.num_hidden_layers,
        heads=text.num_attention_heads,
        key_value_heads=text.num_key_value_heads,
        head_dim=text.head_dim,
        hidden_size=text.hidden_size,
        layer_types=layer_types,
        sliding_window=text.sliding_window if "sliding_attention" in layer_types else None,
        image_token_id=config.image_token_id,
        cells=config.mm_tokens_per_image,
        grid_rows=side,
        grid_columns=side,
        image_size=image_size,
        context_length=text.max_position_embeddings,
        bos_token_id=processor.tokenizer.bos_token_id,
        eos_token_ids=_eos_token_ids(model, processor),
    )


def _eos_token_ids(model: Any, processor: Any) -> frozenset[int]:
    """The ids that end a report: those of the generation config, and the tokenizer's own."""
    configured = model.generation_config.eos_token_id
    listed = configured if isinstance(configured, list) else [configured]
    ids = frozenset(int(i) for i in [*listed, processor.tokenizer.eos_token_id] if i is not None)
    if not ids:
        raise ModelError("neither generation_config.json nor the tokenizer names a token that ends the report")
    return ids
