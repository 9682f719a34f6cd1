"""All methods, found by looking into `methods/`: adding one is adding one file with a METHOD."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np

from medinterp.errors import MethodError, UnknownMethodError
from medinterp.relevancy import methods
from medinterp.relevancy.grid import to_grid
from medinterp.relevancy.method import Method
from medinterp.relevancy.sinks import find_sinks, sinks_note
from medinterp.stages import stage
from medinterp.types import AttentionTrace, MapPack, MeasuredCells


def _discover() -> Mapping[str, Method]:
    found: dict[str, Method] = {}
    for module in pkgutil.iter_modules(methods.__path__):
        method: Method = importlib.import_module(f"{methods.__name__}.{module.name}").METHOD
        if method.name in found:
            raise ValueError(f"two relevancy methods are called {method.name!r}")
        found[method.name] = method
    return MappingProxyType(found)


METHODS: Mapping[str, Method] = _discover()
"""Every method by its name."""

TRACE_METHODS = tuple(name for name, method in METHODS.items() if not method.on_model)
"""Names of those that a trace is enough for."""
ATTENTION_METHODS = tuple(name for name in TRACE_METHODS if METHODS[name].family != "activation")
"""Names of those that read attention, and their consensus."""


def get_method(name: str) -> Method:
    """The method of that name; raises UnknownMethodError listing those there are."""
    if name not in METHODS:
        raise UnknownMethodError(f"there is no method {name!r}; there are: {', '.join(METHODS)}")
    return METHODS[name]


INDEPENDENT = ("attention", "propagation", "gradient", "perturbation")
"""Families whose agreement means something."""
PREFERRED = (
    "layer_weighted", "value_weighted", "head_importance", "raw",
    "integrated_gradients", "integrated_edge_gradient", "input_x_gradient", "edge_gradient",
)  # fmt: skip
"""Which method stands for its family in a combination, where several could."""


def compute_maps(
    trace: AttentionTrace,
    names: Sequence[str],
    options: Mapping[str, Mapping[str, Any]] | None = None,
    image: int = 0,
    measured: Mapping[str, MeasuredCells] | None = None,
) -> dict[str, MapPack]:
    """Maps of every report token by each named method, in that order; options are by method name.

    image: which of the prompt's images the maps are on. measured: what methods that run on the model found; each
    that is named must be there, and a consensus takes in all of them. Sink cells are flagged, and left in (see
    select_map). Raises UnknownMethodError before anything is computed, MissingEvidenceError, MethodError.
    """
    chosen = [get_method(name) for name in names]
    options = options or {}
    unasked = sorted(name for name in options if name not in names or METHODS[name].compute is None)
    if unasked:
        raise MethodError(f"options were given for {', '.join(unasked)}, which take none here")
    found = {
        name: get_method(name).pack(cells, cells.image_spans, image, cells.options)
        for name, cells in (measured or {}).items()
    }
    packs = dict(found)
    for method in chosen:
        if method.combine is None and method.name not in found:
            with stage("method", method.name):
                packs[method.name] = method.run(trace, options.get(method.name), image)
    for method in chosen:
        if method.combine is not None:
            with stage("method", method.name):
                packs[method.name] = method.combine(_members(trace, packs, image))
    sinks = to_grid(find_sinks(trace)[None].astype(np.float32), trace.image_spans, image)[0] > 0
    note = sinks_note(sinks)
    return {
        method.name: replace(packs[method.name], sinks=sinks, notes=(*packs[method.name].notes, *note))
        for method in chosen
    }


def add_measured(packs: Mapping[str, MapPack], name: str, cells: MeasuredCells, image: int = 0) -> MapPack:
    """What a method found on the model, as maps beside those that a report has already: the same sinks are flagged."""
    pack = get_method(name).pack(cells, cells.image_spans, image, cells.options)
    sinks = next((other.sinks for other in packs.values() if other.sinks is not None and other.image == image), None)
    return pack if sinks is None else replace(pack, sinks=sinks, notes=(*pack.notes, *sinks_note(sinks)))


def _members(trace: AttentionTrace, packs: Mapping[str, MapPack], image: int) -> dict[str, MapPack]:
    """One method of each family: one that was computed, or else one whose needs the trace holds."""

    def rank(method: Method) -> tuple[bool, int]:
        place = PREFERRED.index(method.name) if method.name in PREFERRED else len(PREFERRED)
        return method.name not in packs, place

    members: dict[str, MapPack] = {}
    families = set()
    for method in sorted(METHODS.values(), key=rank):
        if method.family not in INDEPENDENT or method.family in families:
            continue
        if not (method.name in packs or method.can_run(trace)):
            continue
        members[method.name] = packs[method.name] if method.name in packs else method.run(trace, None, image)
        families.add(method.family)
    return dict(sorted(members.items()))
