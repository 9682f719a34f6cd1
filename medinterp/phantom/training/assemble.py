"""Phantom's shape: tokenizer, processor and an untrained Gemma3ForConditionalGeneration."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medinterp.phantom.reports import corpus
from medinterp.phantom.training.layouts import byte_level, config_of, layout, processor_of

_MERGES = 150
_SPECIAL = ("<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>")
_IMAGE_SPECIAL = {
    "boi_token": "<start_of_image>",
    "image_token": "<image_soft_token>",
    "eoi_token": "<end_of_image>",
}

CHAT_TEMPLATE = Path(__file__).with_name("chat_template.jinja").read_text(encoding="utf-8")


def make_tokenizer(seed: int = 0) -> Any:
    """A byte-level BPE tokenizer learned from reports; few merges, so that words have several tokens."""
    return byte_level(
        corpus(np.random.default_rng(seed), 3000),
        [*_SPECIAL, *_IMAGE_SPECIAL.values()],
        _MERGES,
        eos_token="<eos>",
        unk_token="<unk>",
        padding_side="left",
        extra_special_tokens=dict(_IMAGE_SPECIAL),
        clean_up_tokenization_spaces=False,
    )


def make_processor(tokenizer: Any) -> Any:
    """The processor of Gemma 3 with the PIL image processor, at phantom's image size."""
    return processor_of(layout("phantom"), tokenizer, CHAT_TEMPLATE)[1]


def _grid_waves(side: int, width: int) -> npt.NDArray[np.float32]:
    """Sines and cosines of row and column, [side * side, width]: patches start out knowing their neighbours."""
    rates = 10000.0 ** -(np.arange(width // 4) / (width // 4))
    angles = np.arange(side)[:, None] * rates
    waves = np.concatenate([np.sin(angles), np.cos(angles)], axis=1)
    rows, columns = np.repeat(waves, side, axis=0), np.tile(waves, (side, 1))
    return np.concatenate([rows, columns], axis=1).astype(np.float32)


def make_model(tokenizer: Any, seed: int = 0) -> Any:
    """An untrained model: the vision tower's patch grid is pooled to 16 x 16 image tokens, layers alternate."""
    import torch
    from transformers import Gemma3ForConditionalGeneration, GenerationConfig

    ids, told = tokenizer.convert_tokens_to_ids, layout("phantom")
    config = config_of(told, tokenizer, vocab_size=-(-len(tokenizer) // 16) * 16)
    torch.manual_seed(seed)
    model = Gemma3ForConditionalGeneration(config)
    projection = model.model.multi_modal_projector.mm_input_projection_weight
    # zeros by default: nothing to read
    torch.nn.init.normal_(projection, std=0.6 * told["vision"]["hidden_size"] ** -0.5)
    position = model.model.vision_tower.embeddings.position_embedding.weight
    with torch.no_grad():
        position.copy_(torch.from_numpy(_grid_waves(math.isqrt(position.shape[0]), position.shape[1])))
    generation_config: Any = GenerationConfig
    model.generation_config = generation_config(
        pad_token_id=ids("<pad>"),
        bos_token_id=ids("<bos>"),
        eos_token_id=[ids("<eos>"), ids("<end_of_turn>")],
        do_sample=False,
    )
    return model
