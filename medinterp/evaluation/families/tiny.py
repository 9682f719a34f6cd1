"""Tiny random checkpoints of every family (layouts.toml), saved as a released one is: config, weights, tokenizer, image
processor, chat template. Every number that a family has is drawn, so that one that is passed over shows."""

from __future__ import annotations

import importlib
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_TOLD: Mapping[str, Any] = tomllib.loads(Path(__file__).with_name("layouts.toml").read_text(encoding="utf-8"))
KINDS = tuple(_TOLD["kinds"])
"""What there is."""
CELL = 12
"""Pixels at each side of a cell."""
_SENTENCES = (
    "DEVICES: No tube. LUNGS: Small nodule in the left upper zone. No consolidation.",
    "PLEURA: Moderate right pleural effusion. HEART: The heart is enlarged. BONES: No rib fracture.",
)
_TURN = (
    "{% for message in messages %}{{ 'OPEN' + message['role'] + '\\n' }}{% for item in message['content'] %}"
    "{% if item['type'] == 'image' %}{{ 'IMAGE' }}{% else %}{{ item['text'] | trim }}{% endif %}{% endfor %}"
    "{{ 'CLOSE\\n' }}{% endfor %}{% if add_generation_prompt %}{{ 'OPENROLE\\n' }}{% endif %}"
)
_ONES = ("layer_scalar", "std_scale", "norm.weight", "norm1.weight", "norm2.weight", "ln1.weight", "ln2.weight")
_NOUGHTS = ("bias", "mm_input_projection_weight", "pos_embedding", "position_embedding_table")


def layout(name: str) -> dict[str, Any]:
    """What layouts.toml has of a name, what it is like filled in."""
    told = dict({**_TOLD["kinds"], **_TOLD["others"]}[name])
    for key, table in _TOLD["like"].get(told.get("like"), {}).items():
        told[key] = {**table, **told.get(key, {})} if isinstance(table, dict) else told.get(key, table)
    if name in KINDS:
        told["text"] = {**_TOLD["tiny"], **told["text"]}
    return told


def config_of(told: Mapping[str, Any], tokenizer: Any, *, vision: Mapping[str, Any] | None = None, **text: Any) -> Any:
    """The config of a layout with a tokenizer's numbers; text, vision: over what the layout has."""
    import transformers

    ids = {f"{key}_token_id": getattr(tokenizer, f"{key}_token_id") for key in ("pad", "bos", "eos")}
    whole = {"vocab_size": len(tokenizer), **told["text"], **ids, **text}
    if "layer_types" in whole:
        whole["layer_types"] = [{"s": "sliding", "f": "full"}[kind] + "_attention" for kind in whole["layer_types"]]
    token = tokenizer.convert_tokens_to_ids
    marks = {key: token(value) if isinstance(value, str) else value for key, value in told["config"].items()}
    config_class: Any = getattr(transformers, f"{told['name']}Config")
    return config_class(text_config=whole, vision_config={**told["vision"], **(vision or {})}, **marks)


def processor_of(told: Mapping[str, Any], tokenizer: Any, template: str) -> tuple[Any, Any]:
    """The image processor of a layout, and Gemma 3's whole processor, None of other families."""
    import transformers

    module, _, maker = told["image_processor"].partition(":")
    image_processor = getattr(importlib.import_module(module), maker)(**told["processor"])
    if told["name"] != "Gemma3":
        return image_processor, None
    processor_class: Any = transformers.Gemma3Processor
    count = told["config"]["mm_tokens_per_image"]
    return image_processor, processor_class(image_processor, tokenizer, chat_template=template, image_seq_length=count)


def save_tiny(name: str, directory: Path, seed: int = 0) -> Path:
    """Save a random checkpoint of one of KINDS."""
    import torch
    import transformers

    told = layout(name)
    tokenizer = _tokenizer(_TOLD["tokenizers"][told["tokenizer"]])
    config = config_of(told, tokenizer)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = getattr(transformers, f"{told['name']}ForConditionalGeneration")(config)
        _draw(model)
    generation_class: Any = transformers.GenerationConfig
    model.generation_config = generation_class(eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id)
    for part in (model, tokenizer, *processor_of(told, tokenizer, tokenizer.chat_template)):
        if part is not None:
            part.save_pretrained(directory)
    return directory


def _tokenizer(told: Mapping[str, Any]) -> Any:
    """A byte-level BPE tokenizer of few words; Gemma's add a BOS by themselves, Qwen's have none."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    control = ["<pad>", "<eos>", *(["<bos>"] if told["bos"] else []), *told["marks"]]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=380, special_tokens=control, initial_alphabet=alphabet)
    backend.train_from_iterator(_SENTENCES, trainer)
    named: dict[str, Any] = {"pad_token": "<pad>", "eos_token": told["marks"][1]}
    template = _TURN
    if told["bos"]:
        begin = [("<bos>", backend.token_to_id("<bos>"))]
        backend.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=begin)
        named["bos_token"], template = "<bos>", "{{ bos_token }}" + _TURN
    for word, stands in zip(("OPEN", "CLOSE"), told["marks"][:2], strict=True):
        template = template.replace(word, stands)
    template = template.replace("IMAGE", told["image"]).replace("ROLE", told["role"])
    tokenizer_class: Any = PreTrainedTokenizerFast
    return tokenizer_class(
        tokenizer_object=backend, chat_template=template, extra_special_tokens=told.get("named", {}), **named
    )


def _draw(model: Any) -> None:
    """Draw what begins as ones and noughts: what is passed over would not show."""
    import torch

    with torch.no_grad():
        for key, tensor in (*model.named_parameters(), *model.named_buffers()):
            if key.endswith(("q_norm.weight", "k_norm.weight")):
                tensor.uniform_(0.3, 0.8)
            elif key.endswith(_ONES):
                tensor.add_(torch.empty_like(tensor).uniform_(-0.4, 0.4))
            elif key.endswith(_NOUGHTS):
                tensor.normal_(std=0.3)
        model.model.language_model.norm.weight.fill_(3.0)  # sharper than uniform
