"""A model and its processor, loaded from a directory, the hub or the package itself."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
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
from medinterp.model.adapters import apply_adapter
from medinterp.model.calibration import read_layer_weights
from medinterp.model.capture import ATTENTION
from medinterp.model.checkpoint import BUNDLED as BUNDLED
from medinterp.model.checkpoint import choose
from medinterp.model.facts import ModelFacts
from medinterp.model.families import family_of
from medinterp.model.families.family import Family
from medinterp.model.likelihood import Head
from medinterp.model.turns import Turns
from medinterp.model.values import ValueMetric, value_metric
from medinterp.report import BOX_QUESTION
from medinterp.types import Film, FilmWarning, Float32Array

SIDECAR = "medinterp.json"
CALIBRATION = "calibration.json"
FILMS = "films.json"


@dataclass(eq=False)
class LoadedModel:
    """A vision-language model that is ready to be generated from and captured.

    notice: a sentence that the model's maker wants shown; default_prompt: the model's own prompt, or None;
    box_question: what asks it for boxes, with {finding} in it; image_first: whether the image stands before the text in
    the chat turn; adapter: the LoRA that was named beside the model, as a directory or hub id, whose revision stands
    behind a "+" in `revision`; layer_weights: float32 [L], learned by `medinterp calibrate` for this very revision, or
    None; film_domain: the films that the model was made for, or None where nobody has described them; lock: held by
    whoever runs the model.
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
    box_question: str = BOX_QUESTION
    adapter: str | None = None
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
    adapter: str | None = None,
    adapter_revision: str | None = None,
    dtype: str | torch.dtype = "auto",
    device: str | torch.device = "auto",
    allow_download: bool = True,
    image_first: bool = True,
    calibration: str | Path | None = "auto",
    film_domain: str | Path | None = "auto",
) -> LoadedModel:
    """Load a bundled model ("phantom"), a directory or a hub id, with a LoRA adapter where one is named.

    revision: of a hub id; adapter: a directory or hub id of a LoRA (adapters.py); a name that is an adapter itself
    brings the model that it names. dtype "auto" is float32 on a CPU and bfloat16 on a GPU; device "auto" is the GPU
    when there is one.
    calibration is a file that `medinterp calibrate` wrote; "auto" takes calibration.json in the model's
    directory where it lies there, None takes none. film_domain likewise is a file that `medinterp domain` wrote, or
    films.json in the model's directory. With an adapter both are looked for in the adapter's directory alone: those of
    the model that it changes do not hold for it; notice and prompt (medinterp.json) do where the adapter has none.
    Raises ModelNotFoundError when there is nothing to load, ModelError when it is not a complete
    vision-language model of a known family, CalibrationError when the calibration is another model's.
    """
    target = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
    chosen = choose(
        name, revision=revision, adapter=adapter, adapter_revision=adapter_revision, allow_download=allow_download
    )
    directory = chosen.base.directory
    options: dict[str, Any] = {"local_files_only": True}
    try:
        config = AutoConfig.from_pretrained(str(directory), **options)
        family = family_of(config, name)
        processor = family.load_processor(str(directory), options)
        model_class: Any = getattr(transformers, family.model_class)
        model, loading = model_class.from_pretrained(
            str(directory),
            config=config,
            dtype=_dtype(dtype, target),
            attn_implementation="sdpa",
            output_loading_info=True,
            use_safetensors=True,
            **options,
        )
    except OSError as error:
        raise ModelNotFoundError(f"{directory} is not a complete saved model: {error}") from error
    _require_complete(name, model, processor, loading)
    if chosen.adapter is not None:
        apply_adapter(model, chosen.adapter.directory)
    model.to(target).eval().requires_grad_(False)
    model.set_attn_implementation({"text_config": ATTENTION})
    sidecar = _sidecar(chosen.base.directory)
    if chosen.adapter is not None:
        sidecar = {**sidecar, **_sidecar(chosen.adapter.directory)}
    facts = family.read_facts(model, processor)
    return LoadedModel(
        model=model,
        processor=processor,
        model_id=chosen.name,
        revision=chosen.revision,
        adapter=chosen.adapter.name if chosen.adapter is not None and chosen.name != chosen.adapter.name else None,
        notice=sidecar.get("notice"),
        default_prompt=sidecar.get("default_prompt"),
        box_question=sidecar.get("box_question", BOX_QUESTION),
        image_first=image_first,
        facts=facts,
        family=family,
        layer_weights=_layer_weights(chosen.directory, calibration, chosen.revision, facts.layers),
        film_domain=_film_domain(chosen.directory, film_domain),
    )


def _layer_weights(
    directory: Path, calibration: str | Path | None, model_revision: str, layers: int
) -> Float32Array | None:
    """The learned weights from the file that is named, or from the model's own directory."""
    if calibration is None:
        return None
    if calibration == "auto":
        if not (directory / CALIBRATION).is_file():
            return None
        calibration = directory / CALIBRATION
    path = Path(calibration).expanduser()
    return read_layer_weights(path, model_revision=model_revision, layers=layers)


def _film_domain(directory: Path, film_domain: str | Path | None) -> FilmDomain | None:
    """The films that the model was made for, from the file that is named or from its own directory."""
    if film_domain is None:
        return None
    if film_domain == "auto":
        if not (directory / FILMS).is_file():
            return None
        film_domain = directory / FILMS
    return read_domain(Path(film_domain).expanduser())


def _dtype(dtype: str | torch.dtype, device: torch.device) -> torch.dtype:
    if isinstance(dtype, torch.dtype):
        return dtype
    if dtype == "auto":
        return torch.float32 if device.type == "cpu" else torch.bfloat16
    named = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    if dtype not in named:
        raise ModelError(f"dtype {dtype!r} is not one of auto, {', '.join(named)}")
    return named[dtype]


def _require_complete(name: str, model: Any, processor: Any, loading: Mapping[str, Any]) -> None:
    """Weights that are missing would be random and silently so; refuse them (trap 10)."""
    wrong = [f"{kind}: {sorted(map(str, loading[kind]))[:3]}" for kind in _FAULTS if loading.get(kind)]
    if wrong:
        raise ModelError(f"the weights of {name} do not fit its config ({'; '.join(wrong)})")
    if getattr(processor, "chat_template", None) is None:
        raise ModelError(f"{name} has no chat template beside its processor (chat_template.jinja)")


_FAULTS = ("missing_keys", "mismatched_keys", "error_msgs")


def _sidecar(directory: Path) -> Mapping[str, str]:
    """What medinterp.json in the model's directory says: notice, default_prompt and box_question."""
    if not (directory / SIDECAR).is_file():
        return {}
    try:
        entries = json.loads((directory / SIDECAR).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(f"{directory / SIDECAR} is not JSON: {error}") from error
    unknown = sorted(set(entries) - {"notice", "default_prompt", "box_question"})
    if unknown or not all(isinstance(entry, str) for entry in entries.values()):
        known = "notice, default_prompt and box_question"
        raise ModelError(f"{directory / SIDECAR}: {known} are texts; unknown: {unknown}")
    return {key: str(entry) for key, entry in entries.items()}
