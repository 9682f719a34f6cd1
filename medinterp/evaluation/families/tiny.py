"""Tiny random checkpoints of every family, saved as a released one is: config, weights, tokenizer, image processor,
chat template. Every number that a family has is drawn, so that one that is passed over shows."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

CELL = 12
"""Pixels at each side of a cell."""
_SENTENCES = (
    "DEVICES: No tube. LUNGS: Small nodule in the left upper zone. No consolidation.",
    "PLEURA: Moderate right pleural effusion. HEART: The heart is enlarged. BONES: No rib fracture.",
)
_MARKS: Mapping[str, tuple[str, ...]] = {
    "gemma3": ("<start_of_turn>", "<end_of_turn>", "<start_of_image>", "<end_of_image>", "<image_soft_token>"),
    "gemma4": (
        "<|turn>", "<turn|>", "<|image>", "<image|>", "<|image|>", "<|video|>", "<|audio|>", "<|channel>", "<channel|>",
    ),
    "qwen": ("<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"),
}  # fmt: skip
_TURN = (
    "{{% for message in messages %}}{{{{ '{open}' + message['role'] + '\n' }}}}"
    "{{% for item in message['content'] %}}{{% if item['type'] == 'image' %}}{{{{ '{image}' }}}}"
    "{{% else %}}{{{{ item['text'] | trim }}}}{{% endif %}}{{% endfor %}}{{{{ '{close}\n' }}}}{{% endfor %}}"
    "{{% if add_generation_prompt %}}{{{{ '{open}{role}\n' }}}}{{% endif %}}"
)
_TEMPLATES: Mapping[str, str] = {
    "gemma3": "{{ bos_token }}"
    + _TURN.format(open="<start_of_turn>", close="<end_of_turn>", image="<start_of_image>", role="model"),
    "gemma4": "{{ bos_token }}"
    + _TURN.format(open="<|turn>", close="<turn|>", image="\n\n<|image|>\n\n", role="model"),
    "qwen": "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
    + _TURN.format(
        open="<|im_start|>", close="<|im_end|>", image="<|vision_start|><|image_pad|><|vision_end|>", role="assistant"
    ),
}


def make_tokenizer(kind: str) -> Any:
    """A byte-level BPE tokenizer of few words; Gemma's add a BOS by themselves, Qwen's have none."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    control = ["<pad>", "<eos>", *([] if kind == "qwen" else ["<bos>"]), *_MARKS[kind]]
    trainer = trainers.BpeTrainer(
        vocab_size=380, special_tokens=control, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet())
    )
    backend.train_from_iterator(_SENTENCES, trainer)
    named = {"pad_token": "<pad>", "eos_token": _MARKS[kind][1]}
    if kind != "qwen":
        begin = [("<bos>", backend.token_to_id("<bos>"))]
        backend.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=begin)
        named["bos_token"] = "<bos>"
    if kind == "gemma3":
        keys = "boi_token", "eoi_token", "image_token"
        named["extra_special_tokens"] = dict(zip(keys, _MARKS[kind][2:], strict=True))  # type: ignore[assignment]
    tokenizer_class: Any = PreTrainedTokenizerFast
    return tokenizer_class(tokenizer_object=backend, chat_template=_TEMPLATES[kind], **named)


def _language(tokenizer: Any, **more: Any) -> dict[str, Any]:
    return {
        "vocab_size": len(tokenizer),
        "hidden_size": 48,
        "intermediate_size": 64,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 4096,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "initializer_range": 0.15,
        **more,
    }


def _kinds(pattern: str) -> list[str]:
    return [{"s": "sliding_attention", "f": "full_attention"}[letter] for letter in pattern]


def _gemma3(tokenizer: Any) -> tuple[str, Any, Any]:
    from transformers import Gemma3Config
    from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil

    token = tokenizer.convert_tokens_to_ids
    config = Gemma3Config(
        text_config=_language(
            tokenizer, num_hidden_layers=4, head_dim=16, query_pre_attn_scalar=12, sliding_window=40,
            layer_types=_kinds("ssfs"),
        ),
        vision_config={
            "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2,
            "image_size": 8 * CELL, "patch_size": CELL // 2, "vision_use_head": False,
        },
        mm_tokens_per_image=64,
        boi_token_index=token("<start_of_image>"),
        eoi_token_index=token("<end_of_image>"),
        image_token_index=token("<image_soft_token>"),
    )  # fmt: skip
    return "Gemma3", config, Gemma3ImageProcessorPil(size={"height": 8 * CELL, "width": 8 * CELL})


def _gemma4(tokenizer: Any, *, unified: bool = False, **text: Any) -> tuple[str, Any, Any]:
    import transformers
    from transformers.models.gemma4.image_processing_pil_gemma4 import Gemma4ImageProcessorPil

    from medinterp.model.families.gemma4_unified import MergedPatches

    token = tokenizer.convert_tokens_to_ids
    name = "Gemma4Unified" if unified else "Gemma4"
    cut: dict[str, Any] = {"patch_size": CELL // 3, "pooling_kernel_size": 3}
    vision: dict[str, Any] = {
        "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2,
        "num_key_value_heads": 2, "head_dim": 16, "position_embedding_size": 256, "standardize": True, **cut,
    }  # fmt: skip
    raw = {"mm_embed_dim": 48, "output_proj_dims": 48, "mm_posemb_size": 128, **cut}
    config = getattr(transformers, f"{name}Config")(
        text_config=_language(
            tokenizer, head_dim=16, global_head_dim=24, sliding_window=40, final_logit_softcapping=6.0, **text
        ),
        vision_config=raw if unified else vision,
        audio_config=None,
        image_token_id=token("<|image|>"),
        boi_token_id=token("<|image>"),
        eoi_token_id=token("<image|>"),
        video_token_id=token("<|video|>"),
        audio_token_id=token("<|audio|>"),
    )
    return name, config, (MergedPatches if unified else Gemma4ImageProcessorPil)(max_soft_tokens=70, **cut)


def _qwen(tokenizer: Any, name: str) -> tuple[str, Any, Any]:
    import transformers
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    token = tokenizer.convert_tokens_to_ids
    cut: dict[str, Any] = {"patch_size": CELL // 2, "temporal_patch_size": 2}
    rope = {"rope_type": "default", "mrope_section": [1, 3, 2], "rope_theta": 1000.0}
    vision: dict[str, Any] = {"depth": 2, "num_heads": 2, "hidden_size": 32, "intermediate_size": 48, **cut}
    vision["out_hidden_size"] = 48
    text: dict[str, Any] = {"num_hidden_layers": 4, "rope_parameters": rope}
    if name == "Qwen2_5_VL":
        vision |= {"window_size": 4 * CELL, "fullatt_block_indexes": [1]}
    else:
        vision |= {"num_position_embeddings": 64, "deepstack_visual_indexes": [0, 1]}
        text |= {"head_dim": 12, "rope_parameters": {**rope, "mrope_interleaved": True}}
    config = getattr(transformers, f"{name}Config")(
        text_config=_language(tokenizer, **text),
        vision_config=vision,
        image_token_id=token("<|image_pad|>"),
        video_token_id=token("<|video_pad|>"),
        vision_start_token_id=token("<|vision_start|>"),
        vision_end_token_id=token("<|vision_end|>"),
    )
    bounds = {"shortest_edge": 20 * CELL**2, "longest_edge": 70 * CELL**2}
    return name, config, Qwen2VLImageProcessorPil(size=bounds, merge_size=2, **cut)


_EXPERTS: dict[str, Any] = {"enable_moe_block": True, "num_experts": 4, "top_k_experts": 2}
_EXPERTS["moe_intermediate_size"] = 24
_LARGE: dict[str, Any] = {"use_bidirectional_attention": "vision", "attention_k_eq_v": True}
_LARGE["num_global_key_value_heads"] = 1
_Made = tuple[str, Any, Any]
KINDS: Mapping[str, tuple[str, Callable[[Any], _Made]]] = {
    "Gemma 3": ("gemma3", _gemma3),
    "Gemma 4 E4B-like": (
        "gemma4",
        lambda tokenizer: _gemma4(
            tokenizer, num_hidden_layers=6, layer_types=_kinds("sfsfsf"), num_kv_shared_layers=3,
            hidden_size_per_layer_input=8, vocab_size_per_layer_input=len(tokenizer), use_double_wide_mlp=True,
        ),
    ),
    "Gemma 4 31B-like": (
        "gemma4",
        lambda tokenizer: _gemma4(
            tokenizer, num_hidden_layers=4, layer_types=_kinds("sssf"), hidden_size_per_layer_input=0, **_LARGE
        ),
    ),
    "Gemma 4 26B-like": (
        "gemma4",
        lambda tokenizer: _gemma4(
            tokenizer, num_hidden_layers=4, layer_types=_kinds("ssff"), hidden_size_per_layer_input=0,
            **_LARGE, **_EXPERTS,
        ),
    ),
    "Gemma 4 12B-like": (
        "gemma4",
        lambda tokenizer: _gemma4(
            tokenizer, unified=True, num_hidden_layers=4, layer_types=_kinds("sssf"), attention_k_eq_v=True,
            num_global_key_value_heads=1,
        ),
    ),
    "Qwen2.5-VL": ("qwen", lambda tokenizer: _qwen(tokenizer, "Qwen2_5_VL")),
    "Qwen3-VL": ("qwen", lambda tokenizer: _qwen(tokenizer, "Qwen3VL")),
}  # fmt: skip
"""What there is: name -> its tokenizer, and what makes its class's name, config and image processor. E4B: keys shared,
embeddings for each layer; 31B: the block in sliding layers, 26B with experts, 12B without a vision tower."""


def save_tiny(name: str, directory: Path, seed: int = 0) -> Path:
    """Save a random checkpoint of one of KINDS."""
    import torch
    import transformers
    from transformers import GenerationConfig

    kind, make = KINDS[name]
    tokenizer = make_tokenizer(kind)
    model_name, config, image_processor = make(tokenizer)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = getattr(transformers, f"{model_name}ForConditionalGeneration")(copy.deepcopy(config))
        with torch.no_grad():
            # Norms and scalars begin as ones, biases and a projector as zeros: what is passed over would not show.
            for key, tensor in (*model.named_parameters(), *model.named_buffers()):
                if key.endswith(("layer_scalar", "std_scale")):
                    tensor.uniform_(0.6, 1.2)
                elif key.endswith(("bias", "mm_input_projection_weight", "pos_embedding", "position_embedding_table")):
                    tensor.normal_(std=0.3)
                elif key.endswith(("q_norm.weight", "k_norm.weight")):
                    tensor.uniform_(0.3, 0.8)
                elif "norm" in key and key.endswith("weight"):
                    tensor.normal_(std=0.3) if kind == "gemma3" else tensor.uniform_(0.5, 1.5)
            model.model.language_model.norm.weight.mul_(0).add_(3.0)  # sharper than uniform
    generation_class: Any = GenerationConfig
    model.generation_config = generation_class(
        pad_token_id=tokenizer.pad_token_id, bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id
    )
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    image_processor.save_pretrained(directory)
    if kind == "gemma3":
        processor = transformers.Gemma3Processor(
            image_processor, tokenizer, chat_template=tokenizer.chat_template, image_seq_length=64
        )
        processor.save_pretrained(directory)
    return directory
