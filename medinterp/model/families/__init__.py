"""Model families: what differs between them, one file each, found by the class of the checkpoint's config."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from medinterp.errors import ModelError

if TYPE_CHECKING:
    from medinterp.model.families.family import Family

FAMILIES: Mapping[str, str] = {
    "Gemma3Config": "gemma3",
    "Gemma4Config": "gemma4",
    "Gemma4UnifiedConfig": "gemma4_unified",
    "Qwen2_5_VLConfig": "qwen2_5_vl",
    "Qwen3VLConfig": "qwen3_vl",
}
"""The class of a checkpoint's config -> the file of its family."""
REFUSED: Mapping[str, str] = {
    "DiffusionGemmaConfig": "it writes a block of tokens at once, going over all of them again and again, so that no "
    "word has a row of attention of its own that predicted it",
}
"""Config classes that cannot be explained, and why."""


def family_of(config: Any, name: str) -> Family:
    """The family of a checkpoint's config; name: the checkpoint's, for errors.

    Raises ModelError for a family that is not known, with those that are, and for one that cannot be explained.
    """
    kind = type(config).__name__
    if kind in REFUSED:
        raise ModelError(f"{name} is a {config.model_type!r} model and cannot be explained: {REFUSED[kind]}")
    if kind not in FAMILIES:
        known = ", ".join(name.removesuffix("Config") for name in FAMILIES)
        raise ModelError(f"{name} is a {config.model_type!r} model; medinterp reads vision-language models: {known}")
    family: Family = importlib.import_module(f"{__name__}.{FAMILIES[kind]}").FAMILY
    return family
