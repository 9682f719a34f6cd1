"""LoRA adapters (peft): a small change of a checkpoint, in a directory of its own that names the checkpoint.

A change W + s B A is added to the weights once when it is loaded, so that everything that reads weights sees the model
as it computes: |merged - beside| is rounding. A quantised base cannot take it without being quantised anew: there the
change is computed beside the weights.
"""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from medinterp.errors import ModelError

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
_UNREAD = ("megatron_config", "alora_invocation_tokens", "layer_replication", "arrow_config")
"""What is no change of weights: other modules (peft would import them by name), changes for some tokens alone, ..."""


@dataclass(frozen=True)
class AdapterConfig:
    """What a LoRA directory says of itself: the checkpoint that it changes, and that one's revision, where told."""

    base: str | None
    base_revision: str | None


def read_adapter(directory: Path) -> AdapterConfig:
    """Raises ModelError for an adapter that is broken, pickled, not a LoRA, or would run code of other packages."""
    try:
        config = json.loads((directory / CONFIG).read_text(encoding="utf-8"))
        kind = config["peft_type"]
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{directory / CONFIG} is not an adapter's config: save the adapter again") from error
    if kind != "LORA":
        raise ModelError(f"{directory} is an adapter of the kind {kind}; LORA alone is read here")
    unread = sorted(name for name in _UNREAD if config.get(name))
    if unread:
        raise ModelError(f"{directory} changes more than weights ({', '.join(unread)}), which is not read here")
    if not (directory / WEIGHTS).is_file():
        raise ModelError(f"{directory} holds no {WEIGHTS}: save the adapter with safe_serialization=True")
    return AdapterConfig(config.get("base_model_name_or_path") or None, config.get("revision") or None)


def apply_adapter(model: Any, directory: Path) -> None:
    """Put an adapter into a model: into its weights, beside those that are quantised.

    Raises ModelError where adapter and model do not fit.
    """
    try:
        from peft import LoraConfig, PeftModel, set_peft_model_state_dict
        from peft.tuners.tuners_utils import BaseTunerLayer
        from peft.utils.other import AuxiliaryTrainingWrapper
    except ImportError as error:
        raise ModelError("a LoRA adapter needs the package peft: pip install 'medinterp[model]'") from error
    try:
        config = LoraConfig.from_pretrained(str(directory))
        config.inference_mode = True
        with warnings.catch_warnings():
            # peft 0.21 asks transformers 5 by an older name.
            warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
            wrapped = PeftModel(model, config)
        # Not transformers' own load_adapter: 5.23 leaves DoRA's magnitudes as they were drawn.
        loading: Any = set_peft_model_state_dict(wrapped, load_file(directory / WEIGHTS))
    except (ValueError, RuntimeError, TypeError, OSError, SafetensorError) as error:
        raise ModelError(f"the adapter {directory} cannot be put on this model: {error}") from error
    found = {
        "missing": [
            key
            for key in loading.missing_keys
            if ".default" in key  # those of the model itself are there
            # a head that is tied to the embedding has its tokens, which are saved once
            and not (".lm_head.token_adapter." in key and getattr(model.config, "tie_word_embeddings", False))
        ],
        "unknown": loading.unexpected_keys,
    }
    wrong = [f"{kind}: {keys[:3]}" for kind, keys in found.items() if keys]
    if wrong:
        raise ModelError(f"the weights of the adapter {directory} do not fit this model ({'; '.join(wrong)})")
    beside, taken = False, ""
    for name, module in list(model.named_modules()):
        if taken and name.startswith(taken):
            continue  # its parts went with it
        owner, _, attribute = name.rpartition(".")
        if isinstance(module, AuxiliaryTrainingWrapper):
            whole = module.unload_and_optionally_merge_module(merge=True, safe_merge=True, adapter_names=None)
            taken = f"{name}."
        elif isinstance(module, BaseTunerLayer) and _is_plain(module.get_base_layer()):
            module.merge(safe_merge=True)
            whole = module.get_base_layer()
        else:
            beside = beside or isinstance(module, BaseTunerLayer)
            continue
        setattr(model.get_submodule(owner), attribute, whole)
    if not beside:
        del model.peft_config


def _is_plain(layer: torch.nn.Module) -> bool:
    """Whether a layer's weight is what it computes with, not integers that stand for it."""
    weight = layer.weight
    return isinstance(weight, torch.Tensor) and type(weight.data) is torch.Tensor and weight.is_floating_point()
