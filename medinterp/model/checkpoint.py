"""Where a model lies: the package, a directory or the hub, with the adapter that changes it; and which one it is."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from medinterp.errors import ModelError, ModelNotFoundError
from medinterp.model import adapters
from medinterp.model.hub import snapshot
from medinterp.model.saved import refuse_other_formats

_SAMPLE_BYTES = 2**20


def _phantom_directory() -> Path:
    from medinterp.phantom import weights_directory

    return Path(weights_directory())


BUNDLED: Mapping[str, Callable[[], Path]] = {
    "phantom": _phantom_directory,
    "phantom-boxes": lambda: _phantom_directory().parent / "boxes",
}
"""Models that the package carries: name -> its directory, which may hold an adapter alone."""


@dataclass(frozen=True)
class Checkpoint:
    """name: what it is asked for by, a directory's whole path; revision: the hub's commit, or a fingerprint of a
    directory's config and weights."""

    name: str
    directory: Path
    revision: str

    @property
    def is_adapter(self) -> bool:
        """Whether it is a change of another checkpoint."""
        return (self.directory / adapters.CONFIG).is_file()


@dataclass(frozen=True)
class Chosen:
    """What is loaded: a whole checkpoint, and the adapter that changes it; name: what both are asked for by."""

    name: str
    base: Checkpoint
    adapter: Checkpoint | None

    @property
    def revision(self) -> str:
        """Of the weights as they are with the adapter: "base+adapter"."""
        return self.base.revision + (f"+{self.adapter.revision}" if self.adapter else "")

    @property
    def directory(self) -> Path:
        """Where calibration.json and films.json hold for these very weights."""
        return (self.adapter or self.base).directory


def choose(
    name: str,
    *,
    revision: str | None = None,
    adapter: str | None = None,
    adapter_revision: str | None = None,
    allow_download: bool = True,
) -> Chosen:
    """Find a checkpoint and its adapter; name may be that of an adapter, which names its own base.

    Raises ModelNotFoundError and ModelError.
    """
    found = locate(name, revision, allow_download=allow_download)
    if not found.is_adapter:
        if adapter is None:
            return Chosen(found.name, found, None)
        change = locate(adapter, adapter_revision, allow_download=allow_download)
        if not change.is_adapter:
            raise ModelError(f"{adapter} is given as an adapter, and is a whole model: it holds no {adapters.CONFIG}")
        adapters.read_adapter(change.directory)
        return Chosen(found.name, found, change)
    if adapter is not None:
        raise ModelError(f"{name} is an adapter itself; name the model that both change, with one adapter")
    told = adapters.read_adapter(found.directory)
    if told.base is None:
        raise ModelError(f"{name} is an adapter that does not name its model: load that one, with adapter={name!r}")
    beside = found.directory / told.base
    try:
        base = locate(
            str(beside) if beside.is_dir() else told.base, told.base_revision, allow_download=allow_download
        )
    except ModelNotFoundError as error:
        raise ModelNotFoundError(
            f"{name} is an adapter of {told.base!r}, which was not found: load that model by where it is now, with "
            f"adapter={name!r}. {error}"
        ) from error
    if base.is_adapter:
        raise ModelError(f"{name} is an adapter of {told.base!r}, which is an adapter too: merge that one first")
    return Chosen(found.name, base, found)


def locate(name: str, revision: str | None = None, *, allow_download: bool = True) -> Checkpoint:
    """Find one checkpoint, whole or adapter; a directory has no revisions. Raises ModelNotFoundError."""
    directory = BUNDLED[name]() if name in BUNDLED else Path(name).expanduser()
    refuse_other_formats(directory)
    if directory.is_dir():
        return _one_of(
            Checkpoint(name if name in BUNDLED else str(directory.resolve()), directory, _fingerprint(directory))
        )
    if name in BUNDLED or directory.is_absolute() or name.startswith((".", "~")) or name.count("/") != 1:
        raise ModelNotFoundError(
            f"{name!r} is neither a bundled model ({', '.join(BUNDLED)}), a directory nor a hub id (owner/name)"
        )
    directory = snapshot(name, revision, allow_download=allow_download)
    refuse_other_formats(directory)
    return _one_of(Checkpoint(name, directory, directory.name))


def _one_of(found: Checkpoint) -> Checkpoint:
    """Refuse a whole model with an adapter beside it: transformers puts the one on the other unasked."""
    if found.is_adapter and any(found.directory.glob("model*.safetensors")):
        raise ModelError(
            f"{found.directory} holds a whole model and an adapter ({adapters.CONFIG}): put the adapter's files into a "
            "directory of their own and name it as the adapter"
        )
    return found


def _fingerprint(directory: Path) -> str:
    """A fingerprint of a directory's config and weights.

    Of each file the size and the first and last MiB are hashed, so that a large model costs nothing.
    """
    digest = hashlib.sha256()
    configs = [path for name in ("config.json", adapters.CONFIG) if (path := directory / name).is_file()]
    for path in sorted([*configs, *directory.glob("*.safetensors")]):
        size = path.stat().st_size
        digest.update(f"{path.name} {size}\n".encode())
        with path.open("rb") as file:
            digest.update(file.read(_SAMPLE_BYTES))
            file.seek(max(size - _SAMPLE_BYTES, 0))
            digest.update(file.read(_SAMPLE_BYTES))
    return f"fingerprint:{digest.hexdigest()[:32]}"
