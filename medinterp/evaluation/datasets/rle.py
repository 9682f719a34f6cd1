"""Masks as COCO writes them: run lengths down the columns, packed into text (cocoapi, common/maskApi.c)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from medinterp.types import BoolArray

_OFFSET, _BITS, _MORE, _SIGN = 48, 5, 0x20, 0x10


def decode_runs(counts: str | Sequence[int], height: int, width: int) -> npt.NDArray[np.int64]:
    """Lengths of the runs of a mask of that size, int64 [runs]: off, on, off, ... in turn.

    counts: COCO's packed text, or the plain list. In the text each length is little-endian groups of five bits,
    one a character from "0" on, the sixth bit saying that more follow; from the fourth on it is the difference to
    the length two before. Raises ValueError for text that is no such thing, or runs that do not fill the mask.
    """
    runs = _unpacked(counts) if isinstance(counts, str) else [int(count) for count in counts]
    if min(runs, default=0) < 0:
        raise ValueError("a run of the code has a length below 0")
    if sum(runs) != height * width:
        raise ValueError(f"the runs hold {sum(runs)} pixels, not {height} x {width}")
    return np.array(runs, dtype=np.int64)


def mask_of(runs: npt.NDArray[np.int64], height: int, width: int) -> BoolArray:
    """The mask bool [height, width] of its runs, as `decode_runs` gives them."""
    on = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return np.ascontiguousarray(on.reshape(width, height).T)


def _unpacked(text: str) -> list[int]:
    runs: list[int] = []
    value, shift = 0, 0
    for character in text:
        bits = ord(character) - _OFFSET
        if not 0 <= bits < 2 * _MORE:
            raise ValueError(f"the character {character!r} is not of a run-length code")
        value |= (bits & (_MORE - 1)) << shift
        shift += _BITS
        if bits & _MORE:
            continue
        if bits & _SIGN:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value, shift = 0, 0
    if shift:
        raise ValueError("the run-length code is cut off")
    return runs
