"""Where a model lies: on one device, or its decoder layers spread over several GPUs.

What is not a decoder layer (embedding, output embedding, vision tower, last norm) lies on the first device, and so does
everything that is computed of states as a whole; what belongs to a layer (keys, values, queries, masks, the value
metric) lies where the layer does. accelerate's hooks move a layer's inputs to it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from medinterp.errors import ModelError


def devices_of(device: str | torch.device, gpus: int) -> tuple[torch.device, ...]:
    """The devices that are asked for; "auto": GPUs where there are any, else the CPU.

    Raises ModelError for a device that torch does not know or this machine has not.
    """
    there = torch.cuda.device_count() if torch.cuda.is_available() else 0
    try:
        first = torch.device(("cuda" if there else "cpu") if device == "auto" else device)
    except RuntimeError as error:
        raise ModelError(f"device {str(device)!r} is none that torch knows: auto, cpu, cuda or cuda:N") from error
    if first.type != "cuda":
        if gpus > 1:
            raise ModelError(f"gpus is {gpus}, and there is no CUDA GPU here: leave it at 1")
        return (first,)
    if not there:
        raise ModelError(f"device {device} is asked for, and torch sees no CUDA GPU here: see nvidia-smi, or use cpu")
    if gpus > 1 and first.index is not None:
        raise ModelError(f"device {device} is one GPU, and gpus is {gpus}: leave the device at cuda")
    if gpus > there or (first.index or 0) >= there:
        raise ModelError(f"{'gpus is ' + str(gpus) if gpus > 1 else f'device {device} is asked for'}; here are {there}")
    return tuple(torch.device("cuda", k) for k in range(gpus)) if gpus > 1 else (first,)


def beside_layers(model: Any, layers: Any) -> Iterator[str]:
    """The names of the largest modules that hold no decoder layer."""
    for name, child in model.named_children():
        if child is layers:
            continue
        if any(part is layers for part in child.modules()):
            yield from (f"{name}.{inner}" for inner in beside_layers(child, layers))
        else:
            yield name


def spread(model: Any, layers: Any, devices: Sequence[torch.device]) -> dict[str, torch.device]:
    """A device for each part, by bytes alike: device_map for accelerate. Layers stay in order, each of them whole."""
    (place,) = (name for name, module in model.named_modules() if module is layers)
    sizes = [_bytes(layer) for layer in layers]
    beside = list(beside_layers(model, layers))
    share = (sum(sizes) + sum(_bytes(model.get_submodule(name)) for name in beside)) / len(devices)
    here = share - sum(_bytes(model.get_submodule(name)) for name in beside)
    first = min(len(sizes) - len(devices) + 1, max(0, round(here / max(sizes))))
    placed = {name: devices[0] for name in beside}
    for number in range(len(sizes)):
        behind = (number - first) * (len(devices) - 1) // (len(sizes) - first)
        placed[f"{place}.{number}"] = devices[0] if number < first else devices[1 + behind]
    return placed


def _bytes(module: Any) -> int:
    return sum(weight.numel() * weight.element_size() for weight in module.parameters())
