"""Two devices without a GPU: tensors that bear a pretended device, and refuse to be computed with those of another.

A tensor of "cpu:0" or "cpu:1" holds a plain one; only copies go from one device to another, as between GPUs, and
numbers without dimensions may be mixed in. Plain tensors are the host's, and refused like those of another device.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_flatten, tree_map

FIRST, SECOND = torch.device("cpu", 0), torch.device("cpu", 1)
_INDEXED = tuple(getattr(torch.ops.aten, name).default for name in ("index_put_", "index_put", "_index_put_impl_"))
_INDEXED += (torch.ops.aten.index.Tensor,)
"""Take places from the host too."""
_COPIES = (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default)


class Placed(torch.Tensor):
    """A tensor on a pretended device."""

    plain: torch.Tensor

    @staticmethod
    def __new__(cls, plain: torch.Tensor, device: torch.device) -> Placed:
        made = torch.Tensor._make_wrapper_subclass(
            cls, plain.shape, strides=plain.stride(), storage_offset=plain.storage_offset(), dtype=plain.dtype,
            device=device, requires_grad=plain.requires_grad,
        )
        made.plain = plain.detach()
        return made

    def __repr__(self) -> str:
        return f"Placed({self.plain!r}, {self.device})"

    def tolist(self) -> Any:
        """As of any tensor."""
        return self.plain.tolist()

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        tensors = [one for one in tree_flatten((args, kwargs))[0] if isinstance(one, torch.Tensor)]
        held = [one.device if isinstance(one, Placed) else torch.device("cpu") for one in tensors if one.dim()]
        if function in _INDEXED:
            held = [device for device in held if device.index is not None]
        if function not in _COPIES and len(set(held)) > 1:
            raise RuntimeError(f"{function}: tensors on {', '.join(map(str, held))}")
        target = held[0] if held else next(one.device for one in tensors if isinstance(one, Placed))
        wanted = kwargs.get("device")
        if wanted is not None:
            target = torch.device(wanted)
            kwargs = {**kwargs, "device": torch.device("cpu")}

        def bare(one: Any) -> Any:
            return one.plain if isinstance(one, Placed) else one

        def placed(one: Any) -> Any:
            return Placed(one, target) if isinstance(one, torch.Tensor) and target.index is not None else one

        found = function(*tree_map(bare, args), **tree_map(bare, kwargs))
        answer = tree_map(placed, found)
        return answer if wanted is not None else return_and_correct_aliasing(function, args, kwargs, answer)


class TwoDevices(TorchDispatchMode):
    """Within it, what is made on "cpu:0" or "cpu:1" is placed there."""

    def __enter__(self) -> TwoDevices:
        self._tensor = tensor = torch.tensor

        def placing(data: Any, *, device: Any = None, **options: Any) -> torch.Tensor:
            bare = tree_map(lambda one: one.tolist() if isinstance(one, Placed) else one, data)
            made = tensor(bare, **options)
            return made if device is None else made.to(device)

        torch.tensor = placing  # it copies where no mode sees it
        super().__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        torch.tensor = self._tensor
        super().__exit__(*error)

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if any(isinstance(one, Placed) for one in tree_flatten((args, kwargs))[0]):
            return function(*args, **kwargs)
        device = torch.device(kwargs["device"]) if kwargs.get("device") is not None else torch.device("cpu")
        if device.index is None:
            return function(*args, **kwargs)
        return Placed(function(*args, **{**kwargs, "device": torch.device("cpu")}), device)
