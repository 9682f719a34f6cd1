"""The maps of an answer, and how far they are from another answer's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from medinterp.evaluation.localisation import on_grid
from medinterp.evaluation.metrics import jensen_shannon_bits
from medinterp.evaluation.sensitivity.results import MapShift
from medinterp.imaging.perturb import Perturbation
from medinterp.relevancy import compute_maps, get_method, select_map
from medinterp.types import Asked, Film, Float32Array, Generation, MapPack

if TYPE_CHECKING:
    from medinterp.model import Generator

Maps = Mapping[str, Float32Array]


def needs_layers(methods: Sequence[str]) -> bool:
    """Whether a method needs layer_attention in the trace. Raises UnknownMethodError."""
    return any("layer_attention" in get_method(name).needs for name in methods)


def packs_of(
    generator: Generator,
    film: Film,
    prompt: Asked,
    generation: Generation,
    methods: Sequence[str],
    cancelled: Callable[[], bool] | None = None,
) -> dict[str, MapPack]:
    """Every method's maps of a text that was written, from its trace, or by asking the model again.

    None at all for a text without a token. Raises UnknownMethodError, MissingEvidenceError, MethodError,
    GenerationCancelled.
    """
    if not generation.report.tokens:
        return {}
    on_model = [name for name in methods if get_method(name).on_model]
    measured = None
    if on_model:
        measured = generator.measure([film], generation.report, prompt, on_model, cancelled=cancelled)
    return compute_maps(generation.trace, methods, measured=measured)


def maps_of(packs: Mapping[str, MapPack], tokens: Sequence[int]) -> Maps:
    """Every method's map of some tokens together, float32 [rows, columns]; none for no tokens."""
    return {name: select_map(pack, tokens).values for name, pack in packs.items()} if tokens else {}


def map_shifts(
    methods: Sequence[str], first: Maps, other: Maps, perturbation: Perturbation | None, *, other_answer: bool
) -> tuple[MapShift, ...]:
    """How far each method's map is from the first one, on the film as it was.

    perturbation: of the film that `other` lies on, None for the same film. Positive parts are taken before a map is
    moved: cells that speak for and against would cancel out.
    """
    shifts = []
    for name in methods:
        bits, kept = None, None
        if name in first and name in other:
            one = np.maximum(first[name], 0.0)
            two = on_grid(np.maximum(other[name], 0.0), *one.shape)  # a film cut smaller may have fewer cells
            mass = float(one.sum(dtype=np.float64))
            if perturbation is not None:
                one = perturbation.forth(one)
                share = float(one.sum(dtype=np.float64)) / mass if mass > 0 else 0.0
                one, two = perturbation.back(one), perturbation.back(two)
            else:
                share = 1.0
            if one.any() and two.any():
                bits, kept = jensen_shannon_bits(one, two), min(share, 1.0)
        shifts.append(MapShift(name, bits, kept, other_answer))
    return tuple(shifts)
