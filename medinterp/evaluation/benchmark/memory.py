"""The most memory that something takes while it runs."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch

Made = TypeVar("Made")
_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")


def with_peak(run: Callable[[], Made], device: torch.device) -> tuple[Made, int | None]:
    """What run answers, and the most bytes that it held at one time beyond what was held before it.

    On a GPU what torch allocated there; elsewhere the process's resident memory, which Linux alone can tell for a
    stretch of time: None on other systems.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        made = run()
        return made, torch.cuda.max_memory_allocated(device) - before
    if not sys.platform.startswith("linux"):
        return run(), None
    ctypes.CDLL(None).malloc_trim(0)  # memory that was freed and not given back would be taken again unseen
    _CLEAR.write_text("5")  # the peak begins anew: proc(5)
    held = _resident("VmRSS")
    made = run()
    return made, max(0, _resident("VmHWM") - held)


def _resident(field: str) -> int:
    lines = _STATUS.read_text(encoding="ascii").splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))
