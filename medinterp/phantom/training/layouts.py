"""Layouts of models (layouts.toml): what transformers makes of one, and of a tokenizer."""

from __future__ import annotations

import importlib
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

LAYOUTS: Mapping[str, Any] = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))


def layout(name: str) -> dict[str, Any]:
    """What layouts.toml has of a name, what it is like filled in."""
    told = dict({**LAYOUTS["kinds"], **LAYOUTS["others"]}[name])
    for key, table in LAYOUTS["like"].get(told.get("like"), {}).items():
        told[key] = {**table, **told.get(key, {})} if isinstance(table, dict) else told.get(key, table)
    if name in LAYOUTS["kinds"]:
        told["text"] = {**LAYOUTS["tiny"], **told["text"]}
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


def byte_level(
    texts: Iterable[str], control: Sequence[str], merges: int, *, bos: bool = True, **named: Any
) -> Any:
    """A byte-level BPE tokenizer learned from texts: control tokens, bytes, and so many merges.

    bos: whether it adds a `<bos>` by itself; named: as PreTrainedTokenizerFast takes them.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    size = len(control) + len(alphabet) + merges
    backend.train_from_iterator(
        texts, trainers.BpeTrainer(vocab_size=size, special_tokens=list(control), initial_alphabet=alphabet)
    )
    if bos:
        begin = [("<bos>", backend.token_to_id("<bos>"))]
        backend.post_processor = processors.TemplateProcessing(
            single="<bos> $A", pair="<bos> $A <bos> $B", special_tokens=begin
        )
        named["bos_token"] = "<bos>"
    tokenizer_class: Any = PreTrainedTokenizerFast
    return tokenizer_class(tokenizer_object=backend, pad_token="<pad>", **named)
