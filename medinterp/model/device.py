"""What is CUDA's own: a step that is launched as one graph, a copy to pinned memory. Elsewhere the same by plain calls.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy.typing as npt
import torch

from medinterp.errors import ModelError

WARMUPS = 3
"""Plain calls before the capture: kernels are chosen and workspaces made in them (PyTorch, "CUDA Graphs")."""
SHORTEST = 512
"""Positions of the shortest graph; the others are twice as long, each."""
GRAIN = 64
"""Positions by which a step without a graph grows."""
_CAPTURING = threading.Lock()
"""One capture at a time in a process, whichever model it is of."""


def step_shapes(slots: int, length: int, *, few: bool) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The counts of slots and of positions that steps are made for, ascending.

    few: where each pair is a graph or a compilation: 1, 2, 4, 8, ... slots, 512, 1024, ... positions; elsewhere every
    count, and every GRAIN positions.
    """
    if not few:
        return tuple(range(1, slots + 1)), (*range(GRAIN, length, GRAIN), length)
    counts = [2**k for k in range(slots.bit_length()) if 2**k < slots]
    lengths = [SHORTEST * 2**k for k in range(length.bit_length()) if SHORTEST * 2**k < length]
    return (*counts, slots), (*lengths, length)


class Captures:
    """Where the graphs of one writer are captured, which never run at once: one stream and one pool, which they share.

    Memory of a pool belongs to the stream that it was taken on, and cuBLAS has a workspace for each (PyTorch,
    torch.cuda.graph: graphs that share a pool are to be captured on one stream).
    """

    def __init__(self, device: torch.device | None) -> None:
        """device: None where nothing is captured, and steps are plain calls."""
        self.device = device
        self.stream: torch.cuda.Stream | None = None
        self.pool: Any = None

    def opened(self) -> torch.cuda.Stream:
        """The stream, of this device's own: torch.cuda.graph's default one is that of the first device it ever saw."""
        if self.stream is None:
            self.stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            self.pool = torch.cuda.graph_pool_handle()
        return self.stream


class Replayed:
    """Calls a step again and again; on CUDA the first call captures it and every call replays it.

    The step reads and writes tensors that stay where they are: no host value, no shape that depends on data. The
    first call runs it more than once, so that what it writes must not be among what it reads.
    """

    def __init__(self, step: Callable[[], None], captures: Captures) -> None:
        self._step, self._captures = step, captures
        self._graph: torch.cuda.CUDAGraph | None = None

    def __call__(self) -> None:
        """Run the step; raises ModelError when CUDA cannot capture it."""
        device = self._captures.device
        if device is None or device.type != "cuda":
            self._step()
            return
        if self._graph is None:
            with _CAPTURING, torch.cuda.device(device):
                self._graph = self._captured()
        self._graph.replay()

    def _captured(self) -> torch.cuda.CUDAGraph:
        here, aside = torch.cuda.current_stream(), self._captures.opened()
        aside.wait_stream(here)
        with torch.cuda.stream(aside):  # also leaves it where a capture fails as it ends
            for _ in range(WARMUPS):
                self._step()
            aside.synchronize()
            graph = torch.cuda.CUDAGraph()
            pool = self._captures.pool
            try:
                with torch.cuda.graph(graph, pool=pool, stream=aside, capture_error_mode="thread_local"):
                    self._step()
            except torch.OutOfMemoryError:
                raise
            except RuntimeError as error:
                raise ModelError(f"CUDA cannot capture this model's decoding step as a graph: {error}") from error
        here.wait_stream(aside)
        return graph


class OnItsWay:
    """Tensors on their way to the host, beside what the device computes next."""

    def __init__(self, tensors: Sequence[torch.Tensor | None]) -> None:
        """tensors: of one device; nobody writes to them any more."""
        self._tensors = list(tensors)
        self._arrived: torch.cuda.Event | None = None
        device = next((tensor.device for tensor in tensors if tensor is not None), None)
        if device is None or device.type != "cuda":
            return
        with torch.cuda.device(device):
            aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            aside.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(aside):
                self._tensors = [None if tensor is None else _pinned(tensor, aside) for tensor in tensors]
                self._arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]
                self._arrived.record(aside)

    def arrays(self) -> list[npt.NDArray[Any] | None]:
        """Wait for them; what comes from a GPU is copied out of the pinned memory, which others need."""
        if self._arrived is None:
            return [None if tensor is None else tensor.cpu().numpy() for tensor in self._tensors]
        self._arrived.synchronize()
        return [None if tensor is None else tensor.numpy().copy() for tensor in self._tensors]


def _pinned(tensor: torch.Tensor, stream: torch.cuda.Stream) -> torch.Tensor:
    host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
    host.copy_(tensor, non_blocking=True)
    tensor.record_stream(stream)
    return host
