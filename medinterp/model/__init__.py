"""Loading, prompting, generating and capturing (torch)."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medinterp.model.generation import Generator as Generator
    from medinterp.model.loading import LoadedModel as LoadedModel
    from medinterp.model.loading import load_model as load_model
    from medinterp.model.room import Room as Room
    from medinterp.model.room import plan_room as plan_room
    from medinterp.model.selftest import SelfTestReport as SelfTestReport
    from medinterp.model.selftest import self_test as self_test

_HOME = {
    "Generator": "generation",
    "LoadedModel": "loading",
    "load_model": "loading",
    "Room": "room",
    "plan_room": "room",
    "SelfTestReport": "selftest",
    "self_test": "selftest",
}
__all__ = ["Generator", "LoadedModel", "Room", "SelfTestReport", "load_model", "plan_room", "self_test"]


def __getattr__(name: str) -> Any:
    """Import torch only when something of it is asked for: the prompt alone needs none."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
