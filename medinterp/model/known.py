"""What is known of a model before any weight is read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from medinterp.errors import ModelNotFoundError
from medinterp.model.loading import BUNDLED, _sidecar


@dataclass(frozen=True)
class KnownModel:
    """model_id: as its reports will name it; notice, default_prompt: of its sidecar, None where it has none."""

    model_id: str
    notice: str | None
    default_prompt: str | None


def known_of(name: str) -> KnownModel:
    """Of a bundled model, a directory or a hub id, of which nothing is known but the id.

    Raises ModelNotFoundError for a directory that is not there, ModelError for a sidecar that cannot be read.
    """
    directory = BUNDLED[name]() if name in BUNDLED else Path(name).expanduser()
    if directory.is_dir():
        sidecar = _sidecar(directory)
        model_id = name if name in BUNDLED else str(directory.resolve())
        return KnownModel(model_id, sidecar.get("notice"), sidecar.get("default_prompt"))
    if directory.is_absolute() or name.startswith((".", "~")):
        raise ModelNotFoundError(f"{directory} is not there")
    return KnownModel(name, None, None)
