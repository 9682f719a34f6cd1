"""All maps of a report as a numpy archive."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import numpy.typing as npt

from medinterp.export.facts import export_facts
from medinterp.types import Explanation

TRACE_ARRAYS = ("image_attention", "attention_mass")
"""What is taken from the trace, where the explanation holds it."""


def npz(explanation: Explanation) -> bytes:
    """A compressed numpy archive (no pickles): float32 [T, rows, columns] under each method's name.

    A consensus has its disagreement beside it, under consensus_disagreement. A
    prior film's maps are under NAME_prior; where there are sink cells, they are under sinks, bool [rows, columns]. What
    is of the prior film ends in _prior.
    `export` is the record of the file as JSON, a text of no dimension.
    With a trace also image_attention float16 [T, L, H, cells] and attention_mass float32 [T, L, H, 4].
    Raises ValueError when a method has the name of one of these.
    """
    arrays: dict[str, npt.NDArray[Any]] = {name: pack.values for name, pack in explanation.packs.items()}
    arrays |= {f"{name}_prior": pack.values for name, pack in explanation.prior_packs.items()}
    for packs, film in ((explanation.packs, ""), (explanation.prior_packs, "_prior")):
        for name, pack in packs.items():
            if pack.disagreement is not None:
                arrays[f"{name}_disagreement{film}"] = pack.disagreement
            if pack.sinks is not None and pack.sinks.any():
                arrays[f"sinks{film}"] = pack.sinks
    if explanation.trace is not None:
        for name in TRACE_ARRAYS:
            if name in arrays:
                raise ValueError(f"a method is called {name!r}, like an array of the trace")
            arrays[name] = getattr(explanation.trace, name)
    if "export" in arrays:
        raise ValueError("a method is called 'export', like the record of the file")
    arrays["export"] = np.asarray(json.dumps(export_facts(explanation).document(), ensure_ascii=False))
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()
