"""A model and its processor, loaded from a directory, the hub or the package itself."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoConfig

from medinterp.errors import ModelError, ModelNotFoundError
from medinterp.imaging import withhold
from medinterp.imaging.domain import FilmDomain, read_domain
from medinterp.model.calibration import read_layer_weights
from medinterp.model.capture import ATTENTION
from medinterp.model.facts import ModelFacts
from medinterp.model.families import family_of
from medinterp.model.families.family import Family
from medinterp.model.likelihood import Head
from medinterp.model.turns import Turns
from medinterp.model.values import ValueMetric, value_metric
from medinterp.types import Film, FilmWarning, Float32Array

SIDECAR = "medinterp.json"
CALIBRATION = "calibration.json"
FILMS = "films.json"
_SAMPLE_BYTES = 2**20


def _phantom_directory() -> Path:
    from medinterp.phantom import weights_directory

    return Path(weights_directory())


BUNDLED: Mapping[str, Callable[[], Path]] = {"phantom": _phantom_directory}
"""Models that the package carries: name -> its directory."""


@dataclass(eq=False)
class LoadedModel:
    """A vision-language model that is ready to be generated from and captured.

    notice: a sentence that the model's maker wants shown; default_prompt: the model's own prompt, or
    None; image_first: whether the image stands before the text in the chat turn; layer_weights:
    float32 [L], learned by `medinterp calibrate` for this very revision, or None; film_domain: the films that the
    model was made for, or None where nobody has described them; lock: held by whoever runs the model.
    """

    model: Any
    processor: Any
    model_id: str
    revision: str
    notice: str | None
    default_prompt: str | None
    image_first: bool
    facts: ModelFacts
    family: Family
    layer_weights: Float32Array | None = None
    film_domain: FilmDomain | None = None
    lock: Turns = field(default_factory=Turns, repr=False)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return torch.device(self.model.device)

    @property
    def dtype(self) -> torch.dtype:
        """What the weights are computed in."""
        dtype: torch.dtype = self.model.dtype
        return dtype

    def doubts(self, films: Sequence[Film]) -> tuple[FilmWarning, ...]:
        """What is doubtful about films for this very model: those unlike the films that it was made for."""
        if self.film_domain is None:
            return ()
        return tuple(warning for film in films for warning in self.film_domain.warnings(film))

    def admit(self, film: Film, *, force: bool = False) -> Film:
        """The film with this model's doubts among its warnings; raises FilmWithheldError unless forced."""
        told = replace(film, warnings=(*film.warnings, *self.doubts([film])))
        if not force:
            withhold(told)
        return told

    @cached_property
    def layer_weights_sha256(self) -> str | None:
        """Which learned layer weights these are, None for a model that nobody has calibrated."""
        learned = self.layer_weights
        return None if learned is None else hashlib.sha256(learned.tobytes()).hexdigest()

    @cached_property
    def value_metric(self) -> ValueMetric:
        """The quadratic form that measures a value vector after W_O and the frozen norm (values.py)."""
        return value_metric(self.family, self.model, self.facts)

    @property
    def language_model(self) -> Any:
        """What the entries of positions go into (families/family.py)."""
        return self.family.language_model(self.model)

    @property
    def head(self) -> Head:
        """From final states to logits, for who needs a part of the vocabulary at a time."""
        return Head(self.model.get_output_embeddings().weight, self.facts.logit_cap)

    def logits(self, states: torch.Tensor) -> torch.Tensor:
        """The model's own, of final states [..., d]."""
        logits: torch.Tensor = self.model.get_output_embeddings()(states)
        cap = self.facts.logit_cap
        return logits if cap is None else (logits / cap).tanh() * cap


def load_model(
    name: str,
    *,
    revision: str | None = None,
    dtype: str | torch.dtype = "auto",
    device: str | torch.device = "auto",
    allow_download: bool = True,
    image_first: bool = True,
    calibration: str | Path | None = "auto",
    film_domain: str | Path | None = "auto",
) -> LoadedModel:
    """Load a bundled model ("phantom"), a directory or a hub id.

    dtype "auto" is float32 on a CPU and bfloat16 on a GPU; device "auto" is the GPU when there is one.
    calibration is a file that `medinterp calibrate` wrote; "auto" takes calibration.json in the model's
    directory where it lies there, None takes none. film_domain likewise is a file that `medinterp domain` wrote, or
    films.json in the model's directory.
    Raises ModelNotFoundError when there is nothing to load, ModelError when it is not a complete
    vision-language model of a known family, CalibrationError when the calibration is another model's.
    """
    target = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
    directory = _local_directory(name)
    source = str(directory) if directory else name
    options: dict[str, Any] = {"local_files_only": directory is not None or not allow_download}
    if revision is not None and directory is None:
        options["revision"] = revision
    try:
        config = AutoConfig.from_pretrained(source, **options)
        family = family_of(config, name)
        processor = family.load_processor(source, options)
        model_class: Any = getattr(transformers, family.model_class)
        model, loading = model_class.from_pretrained(
            source,
            config=config,
            dtype=_dtype(dtype, target),
            attn_implementation="sdpa",
            output_loading_info=True,
            **options,
        )
    except OSError as error:
        raise ModelNotFoundError(_what_to_do(name, directory, allow_download, error)) from error
    _require_complete(name, model, processor, loading)
    model.to(target).eval().requires_grad_(False)
    model.set_attn_implementation({"text_config": ATTENTION})
    sidecar = _sidecar(directory)
    facts = family.read_facts(model, processor)
    model_revision = _commit(name, revision) if directory is None else _fingerprint(directory)
    return LoadedModel(
        model=model,
        processor=processor,
        model_id=name if directory is None or name in BUNDLED else str(directory.resolve()),
        revision=model_revision,
        notice=sidecar.get("notice"),
        default_prompt=sidecar.get("default_prompt"),
        image_first=image_first,
        facts=facts,
        family=family,
        layer_weights=_layer_weights(directory, calibration, model_revision, facts.layers),
        film_domain=_film_domain(directory, film_domain),
    )


def _layer_weights(
    directory: Path | None, calibration: str | Path | None, model_revision: str, layers: int
) -> Float32Array | None:
    """The learned weights from the file that is named, or from the model's own directory."""
    if calibration is None:
        return None
    if calibration == "auto":
        if directory is None or not (directory / CALIBRATION).is_file():
            return None
        calibration = directory / CALIBRATION
    path = Path(calibration).expanduser()
    return read_layer_weights(path, model_revision=model_revision, layers=layers)


def _film_domain(directory: Path | None, film_domain: str | Path | None) -> FilmDomain | None:
    """The films that the model was made for, from the file that is named or from its own directory."""
    if film_domain is None:
        return None
    if film_domain == "auto":
        if directory is None or not (directory / FILMS).is_file():
            return None
        film_domain = directory / FILMS
    return read_domain(Path(film_domain).expanduser())


def _local_directory(name: str) -> Path | None:
    """The directory that the name stands for, or None for a hub id."""
    directory = BUNDLED[name]() if name in BUNDLED else Path(name).expanduser()
    if directory.is_dir():
        if not (directory / "config.json").is_file():
            raise ModelNotFoundError(f"{directory} holds no config.json: is it a saved model?")
        return directory
    if name in BUNDLED or directory.is_absolute() or name.startswith((".", "~")) or name.count("/") != 1:
        raise ModelNotFoundError(
            f"{name!r} is neither a bundled model ({', '.join(BUNDLED)}), a directory nor a hub id (owner/name)"
        )
    return None


def _dtype(dtype: str | torch.dtype, device: torch.device) -> torch.dtype:
    if isinstance(dtype, torch.dtype):
        return dtype
    if dtype == "auto":
        return torch.float32 if device.type == "cpu" else torch.bfloat16
    named = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    if dtype not in named:
        raise ModelError(f"dtype {dtype!r} is not one of auto, {', '.join(named)}")
    return named[dtype]


def _what_to_do(name: str, directory: Path | None, allow_download: bool, error: Exception) -> str:
    if directory is not None:
        return f"{directory} is not a complete saved model: {error}"
    download = "" if allow_download else " Downloads are switched off here (allow_download=False)."
    return (
        f"{name} could not be loaded from the hub or its cache.{download} For a gated model accept its "
        f"licence on https://huggingface.co/{name} and set HF_TOKEN; without a network, fetch it beforehand "
        f"(HF_HUB_OFFLINE=1 then uses the cache) or name its directory. The hub said: {error}"
    )


def _require_complete(name: str, model: Any, processor: Any, loading: Mapping[str, Any]) -> None:
    """Weights that are missing would be random and silently so; refuse them (trap 10)."""
    wrong = [f"{kind}: {sorted(map(str, loading[kind]))[:3]}" for kind in _FAULTS if loading.get(kind)]
    if wrong:
        raise ModelError(f"the weights of {name} do not fit its config ({'; '.join(wrong)})")
    if getattr(processor, "chat_template", None) is None:
        raise ModelError(f"{name} has no chat template beside its processor (chat_template.jinja)")


_FAULTS = ("missing_keys", "mismatched_keys", "error_msgs")


def _sidecar(directory: Path | None) -> Mapping[str, str]:
    """What medinterp.json in the model's directory says: notice and default_prompt."""
    if directory is None or not (directory / SIDECAR).is_file():
        return {}
    try:
        entries = json.loads((directory / SIDECAR).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(f"{directory / SIDECAR} is not JSON: {error}") from error
    unknown = sorted(set(entries) - {"notice", "default_prompt"})
    if unknown or not all(isinstance(entry, str) for entry in entries.values()):
        raise ModelError(f"{directory / SIDECAR}: notice and default_prompt are texts; unknown: {unknown}")
    return {key: str(entry) for key, entry in entries.items()}


def _commit(name: str, revision: str | None) -> str:
    """The hub's commit that was loaded: its snapshot in the cache, for a config tells it no more (transformers 5)."""
    from huggingface_hub import try_to_load_from_cache

    path = try_to_load_from_cache(name, "config.json", revision=revision)
    if not isinstance(path, str):
        raise ModelNotFoundError(f"{name} was loaded, but its commit is not in the hub's cache")
    return Path(path).parent.name


def _fingerprint(directory: Path) -> str:
    """A fingerprint of a directory's config and weights.

    Of each file the size and the first and last MiB are hashed, so that a large model costs nothing.
    """
    digest = hashlib.sha256()
    for path in sorted([directory / "config.json", *directory.glob("*.safetensors")]):
        size = path.stat().st_size
        digest.update(f"{path.name} {size}\n".encode())
        with path.open("rb") as file:
            digest.update(file.read(_SAMPLE_BYTES))
            file.seek(max(size - _SAMPLE_BYTES, 0))
            digest.update(file.read(_SAMPLE_BYTES))
    return f"fingerprint:{digest.hexdigest()[:32]}"
