"""A step that is launched as one CUDA graph; where there is no CUDA, the step itself."""

from __future__ import annotations

import threading
from collections.abc import Callable

import torch

from medinterp.errors import ModelError

WARMUPS = 3
"""Plain calls before the capture: kernels are chosen and workspaces made in them (PyTorch, "CUDA Graphs")."""
_CAPTURING = threading.Lock()
"""One capture at a time in a process, whichever model it is of."""


class Replayed:
    """Calls a step again and again; on CUDA the first call captures it and every call replays it.

    The step reads and writes tensors that stay where they are: no host value, no shape that depends on data. The
    first call runs it more than once, so that what it writes must not be among what it reads.
    """

    def __init__(self, step: Callable[[], None], device: torch.device) -> None:
        self._step, self._device = step, device
        self._graph: torch.cuda.CUDAGraph | None = None

    def __call__(self) -> None:
        """Run the step; raises ModelError when CUDA cannot capture it."""
        if self._device.type != "cuda":
            self._step()
            return
        if self._graph is None:
            with _CAPTURING, torch.cuda.device(self._device):
                self._graph = self._captured()
        self._graph.replay()

    def _captured(self) -> torch.cuda.CUDAGraph:
        here = torch.cuda.current_stream()
        # A stream of this device's own: the default one of torch.cuda.graph is that of the first device it ever saw.
        aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        aside.wait_stream(here)
        with torch.cuda.stream(aside):  # also leaves it where a capture fails as it ends
            for _ in range(WARMUPS):
                self._step()
            aside.synchronize()
            graph = torch.cuda.CUDAGraph()
            try:
                with torch.cuda.graph(graph, stream=aside, capture_error_mode="thread_local"):
                    self._step()
            except torch.OutOfMemoryError:
                raise
            except RuntimeError as error:
                raise ModelError(f"CUDA cannot capture this model's decoding step as a graph: {error}") from error
        here.wait_stream(aside)
        return graph
