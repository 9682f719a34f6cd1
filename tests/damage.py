"""Files damaged in the ways that disks, networks and half-finished copies damage them; every seed gives the same."""

from __future__ import annotations

import numpy as np

KINDS = ("bits", "bytes", "zeros", "cut off", "piece lost", "piece twice", "piece moved")


def damaged(data: bytes, seed: int) -> tuple[str, bytes]:
    """What was done, and the file after it. The first 4 bytes stay, so that the kind can still be told."""
    rng = np.random.default_rng([seed, 0xDA3A])
    kind = KINDS[seed % len(KINDS)]
    changed = bytearray(data)
    # One place in three lies in the first kilobyte, where the headers are.
    last = min(1024, len(data)) if rng.random() < 1 / 3 else len(data)
    place = int(rng.integers(4, last))
    length = int(rng.integers(1, 2 + min(2048, len(data) // 20)))
    match kind:
        case "bits":
            for each in rng.integers(4, last, size=int(rng.integers(1, 20))):
                changed[each] ^= 1 << int(rng.integers(8))
        case "bytes":
            for each in rng.integers(4, last, size=int(rng.integers(1, 20))):
                changed[each] = int(rng.integers(256))
        case "zeros":
            changed[place : place + length] = bytes(len(changed[place : place + length]))
        case "cut off":
            del changed[place:]
        case "piece lost":
            del changed[place : place + length]
        case "piece twice":
            changed[place:place] = changed[place : place + length]
        case "piece moved":
            piece = changed[place : place + length]
            del changed[place : place + length]
            where = int(rng.integers(4, len(changed)))
            changed[where:where] = piece
    return kind, bytes(changed)
