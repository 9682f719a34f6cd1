"""An explanation made again from its provenance: the same report, the same maps?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from medinterp.errors import ModelError
from medinterp.relevancy import compute_maps, get_method
from medinterp.types import Explanation, MapPack, Provenance

if TYPE_CHECKING:
    from medinterp.model import Generator, LoadedModel

LOGPROB_TOLERANCE = 1e-3
"""Nats. On one machine with one library a report written alone, beside others, or read in one pass differs by the order
of sums in kernels of another shape: 1e-5 in float32."""
MAP_TOLERANCE = 1e-3
"""Of a method's largest value: that order, and the trace's float16, in which a last digit may fall otherwise."""


@dataclass(frozen=True, eq=False)
class Repeated:
    """How far what was made again is from what was kept.

    text: whether the tokens are the same; logprob: the largest difference, nats; maps, prior_maps: of each method the
    largest difference as a share of its largest value; all empty where the text is another. versions: of the libraries
    and the device that are others now, then and now. packs, prior_packs: the maps that were made.
    """

    text: bool
    logprob: float | None
    maps: Mapping[str, float]
    prior_maps: Mapping[str, float]
    versions: Mapping[str, tuple[str | None, str | None]]
    packs: Mapping[str, MapPack] = field(repr=False)
    prior_packs: Mapping[str, MapPack] = field(repr=False)

    @property
    def equal(self) -> bool:
        """Whether all of it is, within the tolerances."""
        near = all(off <= MAP_TOLERANCE for off in (*self.maps.values(), *self.prior_maps.values()))
        return self.text and near and self.logprob is not None and self.logprob <= LOGPROB_TOLERANCE


def check_model(loaded: LoadedModel, provenance: Provenance) -> None:
    """Raise ModelError, with what to do, unless a model is the one that wrote, as it was loaded then."""
    if loaded.revision != provenance.model_revision:
        raise ModelError(
            f"this was made with {provenance.model_id} at revision {provenance.model_revision}; the model that is "
            f"there now is {loaded.revision}: bring back the revision that made it"
        )
    dtype = str(loaded.dtype).removeprefix("torch.")
    if dtype != provenance.dtype:
        raise ModelError(f"this was computed in {provenance.dtype}, the model is loaded in {dtype}: load it in that")
    if loaded.quantization != provenance.quantization:
        raise ModelError(
            f"this was computed in {provenance.quantization or 'full precision'}, the model is loaded in "
            f"{loaded.quantization or 'full precision'}: load it in that"
        )
    if loaded.image_first != provenance.image_first:
        stood = "before" if provenance.image_first else "behind"
        raise ModelError(f"this was made with the film {stood} the prompt: load the model with image_first so")
    if loaded.layer_weights_sha256 != provenance.layer_weights_sha256:
        raise ModelError(
            "this was made with other learned layer weights than the model has here (calibration.json): name the "
            "calibration of that time"
        )


def repeat(generator: Generator, kept: Explanation) -> Repeated:
    """Write the report again, or read the given one, compute each method's maps with their options, and compare.

    Of a consensus its members are joined again, those that it was made of. Raises ModelError for another model than
    provenance names, for libraries that another prompt comes of, and what reading the film raises.
    """
    loaded, provenance = generator.loaded, kept.provenance
    check_model(loaded, provenance)
    films = [kept.film] if kept.prior is None else [kept.film, kept.prior]
    layers = any("layer_attention" in get_method(name).needs for name in _single(kept.packs))
    ids = [token.token_id for token in kept.report.tokens]
    if provenance.given or provenance.writer is not None:
        generation = generator.force(films, ids, provenance.asked, layer_attention=layers)
    else:
        generation = generator.generate(
            films,
            provenance.asked,
            max_new_tokens=provenance.max_new_tokens,
            seed=provenance.seed,
            temperature=provenance.temperature,
            layer_attention=layers,
        )
    now = generation.trace.provenance
    if now.prompt_sha256 != provenance.prompt_sha256:
        raise ModelError("the prompt is rendered otherwise than it was: the chat template, or its library, is another")
    versions = _changed(provenance, now)
    text = [token.token_id for token in generation.report.tokens] == ids
    if not text:
        return Repeated(False, None, {}, {}, versions, {}, {})
    told = [token.logprob for token in kept.report.tokens]
    off = np.abs(np.asarray(told) - [token.logprob for token in generation.report.tokens])
    options = {
        name: dict(kept.packs[name].options) if name in kept.packs else {} for name in sorted(_single(kept.packs))
    }
    on_model = [name for name in options if get_method(name).on_model]
    measured = generator.measure(films, kept.report, provenance.asked, on_model, options) if on_model and ids else {}
    computed = {name: given for name, given in options.items() if name not in measured and given}
    made = []
    for image, packs in enumerate((kept.packs, kept.prior_packs)[: len(films)]):
        found = compute_maps(generation.trace, list(options), computed, image, measured)
        for name in (name for name in packs if name not in found):
            combine = get_method(name).combine
            assert combine is not None  # _single has all others
            found[name] = combine({member: found[member] for member in packs[name].members})
        made.append({name: found[name] for name in packs})
    packs, on_prior = made[0], made[1] if len(made) > 1 else {}
    return Repeated(
        text=True,
        logprob=float(off.max(initial=0.0)),
        maps={name: _off(kept.packs[name], pack) for name, pack in packs.items()},
        prior_maps={name: _off(kept.prior_packs[name], pack) for name, pack in on_prior.items()},
        versions=versions,
        packs=packs,
        prior_packs=on_prior,
    )


def _single(packs: Mapping[str, MapPack]) -> set[str]:
    """The methods that are not made of others, and the members of those that are."""
    return {
        name for kept, pack in packs.items() for name in (pack.members if get_method(kept).combine else (kept,))
    }


def _off(kept: MapPack, made: MapPack) -> float:
    if kept.values.size == 0:
        return 0.0
    largest = float(np.abs(kept.values).max())
    off = float(np.abs(kept.values - made.values).max())
    return off / largest if largest else off


def _changed(then: Provenance, now: Provenance) -> dict[str, tuple[str | None, str | None]]:
    old, new = ({**one.library_versions, "device": one.device} for one in (then, now))
    names = sorted(old.keys() | new.keys())
    return {name: (old.get(name), new.get(name)) for name in names if old.get(name) != new.get(name)}
