"""A model and its processor, loaded from a directory, the hub or the package itself."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
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
from medinterp.model.placement import devices_of
from medinterp.model.prompt import known_system
from medinterp.model.quantised import plain_products, quantised_as
from medinterp.model.saved import check_config, check_parts, refuse_own_code
from medinterp.model.turns import Turns
from medinterp.model.values import ValueMetric, value_metric
from medinterp.model.weights import dtype_of, read_weights
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
    behind a "+" in `revision`; quantization: "8bit" or "4bit" where it was loaded so; layer_weights: float32 [L],
    learned by `medinterp calibrate` for this very revision, or None; film_domain: the films that the model was made
    for, or None where nobody has described them; reads_indication: whether a prompt may tell why the film was taken;
    system: the instruction before a prompt that comes with none, "" for none; lock: held by whoever runs the model.
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
    quantization: str | None = None
    layer_weights: Float32Array | None = None
    film_domain: FilmDomain | None = None
    reads_indication: bool = True
    system: str = ""
    lock: Turns = field(default_factory=Turns, repr=False)

    @property
    def device(self) -> torch.device:
        """Where its inputs and final states are, and with one device everything."""
        return torch.device(self.model.device)

    @cached_property
    def devices(self) -> tuple[torch.device, ...]:
        """Where it lies, the first its inputs' (placement.py)."""
        return tuple(dict.fromkeys([self.device, *map(self.layer_device, range(self.facts.layers))]))

    @property
    def in_graphs(self) -> bool:
        """Whether a step can be one CUDA graph: not across devices, where something is copied between two layers."""
        return self.device.type == "cuda" and len(self.devices) == 1

    def layer_device(self, layer: int) -> torch.device:
        """Where a decoder layer is, and what belongs to it."""
        weights = self.language_model.layers[layer].parameters()
        return torch.device(next(weights).device)

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
    adapter: str | None = None,
    adapter_revision: str | None = None,
    dtype: str | torch.dtype = "auto",
    device: str | torch.device = "auto",
    gpus: int = 1,
    quantization: str | None = None,
    allow_download: bool = True,
    image_first: bool = True,
    calibration: str | Path | None = "auto",
    film_domain: str | Path | None = "auto",
    prompt: str | None = None,
    system: str | None = None,
) -> LoadedModel:
    """Load a bundled model ("phantom"), a directory or a hub id, with a LoRA adapter where one is named.

    revision: of a hub id; adapter: a directory or hub id of a LoRA (adapters.py); a name that is an adapter itself
    brings the model that it names. dtype "auto" is float32 on a CPU and bfloat16 on a GPU; device "auto" is the GPU
    when there is one; gpus: over how many the layers are spread (placement.py); quantization: "8bit" or "4bit", what
    the layers' weights are rounded to (quantised.py).
    calibration is a file that `medinterp calibrate` wrote; "auto" takes calibration.json in the model's
    directory where it lies there, None takes none. film_domain likewise is a file that `medinterp domain` wrote, or
    films.json in the model's directory. With an adapter both are looked for in the adapter's directory alone: those of
    the model that it changes do not hold for it; notice and prompt (medinterp.json) do where the adapter has none.
    prompt, system: what is asked, and the instruction before it, where a report names none; None for those of
    medinterp.json beside the model, or of medinterp.model.prompt; system "" for none.
    Raises ModelNotFoundError when there is nothing to load, ModelError when it is not a complete
    vision-language model of a known family, CalibrationError when the calibration is another model's.
    """
    devices = devices_of(device, gpus)
    computed = dtype_of(dtype, devices[0])
    chosen = choose(
        name, revision=revision, adapter=adapter, adapter_revision=adapter_revision, allow_download=allow_download
    )
    directory = chosen.base.directory
    check_config(directory)
    options: dict[str, Any] = {"local_files_only": True}
    try:
        config = AutoConfig.from_pretrained(str(directory), **options)
        family = family_of(config, name)
        check_parts(directory)
        processor = family.load_processor(str(directory), options)
        model = read_weights(directory, config, family, dtype=computed, quantization=quantization, devices=devices)
    except ValueError as error:
        refuse_own_code(directory, error)
        raise ModelError(f"{directory} cannot be loaded: {error}") from error
    except OSError as error:
        raise ModelNotFoundError(f"{directory} is not a complete saved model: {error}") from error
    except SafetensorError as error:
        raise ModelError(f"the weights in {directory} are broken: {error}") from error
    if getattr(processor, "chat_template", None) is None:
        raise ModelError(f"{name} has no chat template beside its processor (chat_template.jinja)")
    if chosen.adapter is not None:
        apply_adapter(model, chosen.adapter.directory)
    if quantised_as(config) or quantization:
        plain_products(model)  # after peft, which knows bitsandbytes' modules alone
    model.eval().requires_grad_(False)
    model.set_attn_implementation({"text_config": ATTENTION})
    sidecar = read_sidecar(chosen.base.directory)
    if chosen.adapter is not None:
        sidecar = {**sidecar, **read_sidecar(chosen.adapter.directory)}
    facts = family.read_facts(model, processor)
    loaded = LoadedModel(
        model=model,
        processor=processor,
        model_id=chosen.name,
        revision=chosen.revision,
        quantization=quantization,
        adapter=chosen.adapter.name if chosen.adapter is not None and chosen.name != chosen.adapter.name else None,
        notice=sidecar.get("notice"),
        default_prompt=prompt or sidecar.get("default_prompt"),
        box_question=sidecar.get("box_question", BOX_QUESTION),
        image_first=image_first,
        facts=facts,
        family=family,
        layer_weights=_layer_weights(chosen.directory, calibration, chosen.revision, facts.layers),
        film_domain=_film_domain(chosen.directory, film_domain),
        reads_indication=bool(sidecar.get("indication", True)),
    )
    own = sidecar.get("system", "" if "default_prompt" in sidecar else None)
    loaded.system = known_system(loaded, own if system is None else system)
    return loaded


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


def read_sidecar(directory: Path) -> Mapping[str, Any]:
    """What medinterp.json in the model's directory says: texts, and whether it reads an indication."""
    if not (directory / SIDECAR).is_file():
        return {}
    try:
        entries = json.loads((directory / SIDECAR).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(f"{directory / SIDECAR} is not JSON: {error}") from error
    kinds = {"notice": str, "default_prompt": str, "box_question": str, "system": str, "indication": bool}
    unknown = sorted(set(entries) - set(kinds))
    if unknown or not all(isinstance(entry, kinds[key]) for key, entry in entries.items()):
        raise ModelError(
            f"{directory / SIDECAR}: notice, default_prompt, box_question and system are texts, indication is true or "
            f"false; unknown: {unknown}"
        )
    return dict(entries)
