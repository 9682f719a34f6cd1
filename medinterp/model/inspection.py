"""A checkpoint's sizes from its config: its class is made without storage (the meta device), and no weight is read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import transformers

from medinterp.model.families.family import Family
from medinterp.model.footprint import Layout, Vision
from medinterp.model.prompt import PromptInputs

QUANTISED: dict[str | None, float] = {"8bit": 1.0, "4bit": 0.5 + 4 / 64}
"""Bytes of a linear layer's weight as bitsandbytes keeps it: int8, with a float32 scale a row that is less than a
thousandth of it; or 4 bits, with a float32 scale every 64."""


@dataclass(frozen=True)
class Parameters:
    """Numbers, not bytes. step: of those, what one step of the writer reads (of experts, the ones that a token is sent
    to); linear, step_linear: of all and of a step's, those in linear layers that quantisation packs."""

    whole: int
    linear: int
    step: int
    step_linear: int

    def sized(self, itemsize: int, quantization: str | None) -> tuple[int, int]:
        """Bytes of all weights, and of those that a step reads."""
        packed = QUANTISED.get(quantization, itemsize)
        return (
            round((self.whole - self.linear) * itemsize + self.linear * packed),
            round((self.step - self.step_linear) * itemsize + self.step_linear * packed),
        )


def bare_model(config: Any, family: Family) -> Any:
    """The class of a family with the shapes of a config, on the meta device."""
    model_class: Any = getattr(transformers, family.model_class)
    with torch.device("meta"):
        model = model_class(config)
    model.tie_weights()
    return model.eval().requires_grad_(False)


def count_parameters(model: Any, family: Family) -> Parameters:
    """Of a model on any device; a tied head is counted once."""
    text = model.config.get_text_config()
    share = (getattr(text, "top_k_experts", None) or 1) / (getattr(text, "num_experts", None) or 1)
    head = model.get_output_embeddings()
    packed = {
        id(module.weight)
        for module in model.modules()
        if isinstance(module, torch.nn.Linear) and module is not head
    }
    language = family.language_model(model)
    # The embedding is looked up, a row a token; where it is the head too, a step reads all of it.
    looked_up = {id(module.weight) for module in language.modules() if isinstance(module, torch.nn.Embedding)}
    read = {id(parameter) for parameter in language.parameters()} - looked_up | {id(head.weight)}
    whole = linear = 0
    step = step_linear = 0.0
    for name, parameter in model.named_parameters():
        count, is_linear = parameter.numel(), id(parameter) in packed
        whole += count
        linear += count * is_linear
        if id(parameter) in read:
            active = count * (share if ".experts." in name else 1.0)
            step += active
            step_linear += active * is_linear
    return Parameters(whole, linear, round(step), round(step_linear))


def layout_of(
    model: Any, family: Family, prompt: PromptInputs, *, itemsize: int, quantization: str | None = None
) -> Layout:
    """The sizes of a model on any device; prompt: one film's, whose cells and pixels are meant."""
    config, text = model.config, model.config.get_text_config()
    language = family.language_model(model)
    weights, step = count_parameters(model, family).sized(itemsize, quantization)
    vision = None
    if any(hasattr(model.model, tower) for tower in ("vision_tower", "visual")):
        told, pixels = config.vision_config, prompt.pixel_values.numel()
        patch = 3 * told.patch_size**2 * (getattr(told, "temporal_patch_size", None) or 1)
        vision = Vision(told.hidden_size, told.intermediate_size, pixels // patch, pixels)
    layers = list(language.layers)
    norms = [name for name, _ in layers[0].named_children() if "layernorm" in name]
    return Layout(
        layers=len(layers),
        heads=text.num_attention_heads,
        hidden=text.hidden_size,
        intermediate=max(_intermediate(layer, text) for layer in layers),
        shapes=family.shapes(text),
        norms=len(norms),
        query_norms=hasattr(layers[0].self_attn, "q_norm"),
        vocabulary=text.vocab_size,
        itemsize=itemsize,
        weights=weights,
        linear=step,
        cells=prompt.cells,
        vision=vision,
    )


def _intermediate(layer: Any, text: Any) -> int:
    """The width of a layer's MLP, with the experts that a token is sent to."""
    experts = (getattr(text, "moe_intermediate_size", None) or 0) * (getattr(text, "top_k_experts", None) or 0)
    return int(layer.mlp.gate_proj.out_features) + experts
