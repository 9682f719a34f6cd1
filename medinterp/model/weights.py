"""The weights of a checkpoint, read to where they are computed with, whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers

from medinterp.errors import ModelError
from medinterp.model.families.family import Family
from medinterp.model.placement import beside_layers, spread
from medinterp.model.quantised import odd_widths, quantised_as, quantization_config, require_library

_FAULTS = ("missing_keys", "mismatched_keys", "error_msgs")


def dtype_of(dtype: str | torch.dtype, device: torch.device) -> torch.dtype:
    """What weights are computed in; "auto": float32 on a CPU, bfloat16 on a GPU. Raises ModelError for another name."""
    if isinstance(dtype, torch.dtype):
        return dtype
    if dtype == "auto":
        return torch.float32 if device.type == "cpu" else torch.bfloat16
    named = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    if dtype not in named:
        raise ModelError(f"dtype {dtype!r} is not one of auto, {', '.join(named)}")
    return named[dtype]


def read_weights(
    directory: Path,
    config: Any,
    family: Family,
    *,
    dtype: torch.dtype,
    quantization: str | None,
    devices: Sequence[torch.device],
) -> Any:
    """The model, from safetensors alone, on one device or spread over several.

    Raises ModelError for weights that do not fit the config (they would be random, and silently so), and what
    transformers raises.
    """
    model_class: Any = getattr(transformers, family.model_class)
    model, loading = model_class.from_pretrained(
        str(directory),
        config=config,
        dtype=dtype,
        attn_implementation="sdpa",
        output_loading_info=True,
        use_safetensors=True,
        local_files_only=True,
        **_how(model_class, family, config, quantization, dtype, devices),
    )
    wrong = [f"{kind}: {sorted(map(str, loading[kind]))[:3]}" for kind in _FAULTS if loading.get(kind)]
    if wrong:
        raise ModelError(f"the weights in {directory} do not fit their config ({'; '.join(wrong)})")
    return model


def _how(
    model_class: Any,
    family: Family,
    config: Any,
    quantization: str | None,
    dtype: torch.dtype,
    devices: Sequence[torch.device],
) -> Mapping[str, Any]:
    """Where the weights go as they are read, and what becomes of them."""
    if quantised_as(config) is not None:
        require_library("this checkpoint, which is saved quantised,")
        if quantization is not None:
            raise ModelError("the checkpoint is saved quantised; it cannot be quantised again: leave quantization out")
    if quantization is None and len(devices) == 1:
        return {"device_map": {"": devices[0]}}
    with torch.device("meta"):
        empty = model_class(config)
    layers = family.language_model(empty).layers
    placed = spread(empty, layers, devices) if len(devices) > 1 else {"": devices[0]}
    if quantization is None:
        return {"device_map": placed}
    beside = list(beside_layers(empty, layers))
    if quantization == "4bit":
        beside += odd_widths(empty)
    return {"device_map": placed, "quantization_config": quantization_config(quantization, beside, dtype)}
