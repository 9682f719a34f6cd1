"""All methods, found by looking into `methods/`: adding one is adding one file with a METHOD."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from medinterp.errors import UnknownMethodError
from medinterp.relevancy import methods
from medinterp.relevancy.method import Method
from medinterp.types import AttentionTrace, MapPack


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


def get_method(name: str) -> Method:
    """The method of that name; raises UnknownMethodError listing those there are."""
    if name not in METHODS:
        raise UnknownMethodError(f"there is no method {name!r}; there are: {', '.join(METHODS)}")
    return METHODS[name]


def compute_maps(
    trace: AttentionTrace, names: Sequence[str], options: Mapping[str, Mapping[str, Any]] | None = None
) -> dict[str, MapPack]:
    """Maps of every report token by each named method; options are by method name.

    Raises UnknownMethodError before anything is computed, MissingEvidenceError, MethodError.
    """
    chosen = [get_method(name) for name in names]
    return {method.name: method.run(trace, (options or {}).get(method.name)) for method in chosen}
