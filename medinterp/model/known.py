"""What is known of a model before any weight is read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from medinterp.errors import ModelNotFoundError
from medinterp.model.checkpoint import BUNDLED, choose
from medinterp.model.loading import read_sidecar
from medinterp.report import BOX_QUESTION


@dataclass(frozen=True)
class KnownModel:
    """model_id: as its reports will name it; the rest is its sidecar's, None where that does not say."""

    model_id: str
    notice: str | None
    default_prompt: str | None
    reads_indication: bool = True
    box_question: str = BOX_QUESTION


def known_of(name: str, adapter: str | None = None) -> KnownModel:
    """Of a bundled model, a directory, or what the hub's cache holds, with its adapter; else nothing but the id.

    Raises ModelNotFoundError for a directory that is not there, ModelError for one that is no model, or for a sidecar
    that cannot be read.
    """
    local = name in BUNDLED or Path(name).expanduser().is_dir() or name.startswith((".", "~", "/"))
    try:
        chosen = choose(name, adapter=adapter, allow_download=False)
    except ModelNotFoundError:
        if local and adapter is None:
            raise
        return KnownModel(name, None, None)
    sidecar = {**read_sidecar(chosen.base.directory)}
    if chosen.adapter is not None:
        sidecar |= read_sidecar(chosen.adapter.directory)
    return KnownModel(
        chosen.name,
        sidecar.get("notice"),
        sidecar.get("default_prompt"),
        bool(sidecar.get("indication", True)),
        sidecar.get("box_question", BOX_QUESTION),
    )
