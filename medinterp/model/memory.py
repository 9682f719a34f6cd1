"""What a device has free, and what a computation takes of it: the bytes of its tensors, counted as they come and go."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from medinterp.errors import ModelError


def free_bytes(device: torch.device, root: Path = Path("/")) -> int:
    """How many bytes a computation may still take on a device.

    CUDA: what the driver has free, and what torch's allocator keeps and does not use. Elsewhere what the host has free:
    MemAvailable of /proc/meminfo, and no more than is left of the limits (cgroup v2 and v1) that this process lives
    under. root: where /proc and /sys are found. Raises ModelError where neither can be read.
    """
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device))
    left = [*_available(root / "proc/meminfo"), *_left_of_limits(root)]
    if not left:
        raise ModelError("how much memory is free cannot be read from /proc/meminfo or a cgroup; set memory_bytes")
    return max(0, min(left))


def _available(meminfo: Path) -> Iterator[int]:
    for line in _lines(meminfo):
        if line.startswith("MemAvailable:"):
            yield int(line.split()[1]) * 1024


def _left_of_limits(root: Path) -> Iterator[int]:
    """What is left of every limit from this process's cgroup up to the top one."""
    mounted = root / "sys/fs/cgroup"
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
        if not controllers:
            top, files, cached = mounted, ("memory.max", "memory.current"), "inactive_file"
        elif "memory" in controllers.split(","):
            top, files = mounted / "memory", ("memory.limit_in_bytes", "memory.usage_in_bytes")
            cached = "total_inactive_file"
        else:
            continue
        group = top / path.strip("/")
        for place in (group, *(parent for parent in group.parents if parent.is_relative_to(top))):
            limit, used = (next(_lines(place / name), "max") for name in files)
            if limit.isdigit() and used.isdigit():  # "max": there is none
                yield int(limit) - int(used) + _statistic(place / "memory.stat", cached)


def _statistic(file: Path, name: str) -> int:
    """A cgroup's count of bytes, 0 where it has none; file pages that can be dropped count as used."""
    return next((int(line.split()[1]) for line in _lines(file) if line.split()[0] == name), 0)


def _lines(file: Path) -> Iterator[str]:
    """The lines of a file, none where it cannot be read."""
    try:
        yield from file.read_text().splitlines()
    except OSError:
        return


def storage_bytes(tensors: Iterable[torch.Tensor]) -> int:
    """What tensors hold, views of one storage counted once."""
    return sum({storage._cdata: storage.nbytes() for storage in (one.untyped_storage() for one in tensors)}.values())


class LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Within it, every tensor that this thread makes is counted until its storage is freed, in backward passes too.

    live: bytes held now (of tensors made within, freed here or later); trace: `live` after each operation. What a
    kernel takes and gives back inside itself is not seen.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.live = 0
        self.trace: list[int] = []
        self._held: dict[int, _Held] = {}

    def __torch_dispatch__(
        self, operation: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the operation and count the storages that it made."""
        made = operation(*args, **(kwargs or {}))
        if not _is_view(operation):
            for one in made if isinstance(made, (tuple, list)) else (made,):
                if isinstance(one, torch.Tensor):
                    self._count(one.untyped_storage())
        self.trace.append(self.live)
        return made

    def _count(self, storage: torch.UntypedStorage) -> None:
        if id(storage) not in self._held:
            held = self._held[id(storage)] = _Held(storage, self._freed)
            held.key, held.size = id(storage), storage.nbytes()
            self.live += held.size

    def _freed(self, held: _Held) -> None:
        self.live -= held.size
        del self._held[held.key]


class _Held(weakref.ref[torch.UntypedStorage]):
    """A storage that is alive; torch keeps its Python object as long as any tensor uses it."""

    __slots__ = ("key", "size")
    key: int
    size: int


@functools.cache
def _is_view(operation: Callable[..., Any]) -> bool:
    """Whether an operation gives out what it was given, whole or a part: nothing is made."""
    return any(returned.alias_info is not None for returned in operation._schema.returns)  # type: ignore[attr-defined]
