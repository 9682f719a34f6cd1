"""The methods that ask the model again: what each needs of it, by the names that the registry has."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from medinterp.errors import MethodError, UnknownMethodError
from medinterp.model.gradients import EdgeGradients, edge_gradient, gradient_relevancy
from medinterp.model.integrated import input_x_gradient, integrated_edge_gradient, integrated_gradients
from medinterp.model.loading import LoadedModel
from medinterp.model.occlusion import occlusion
from medinterp.model.prompt import PromptInputs
from medinterp.stages import stage
from medinterp.types import Float32Array, MeasuredCells

_ALONE: Mapping[str, Callable[..., Float32Array]] = {
    "gradient_relevancy": gradient_relevancy,
    "input_x_gradient": input_x_gradient,
    "integrated_edge_gradient": integrated_edge_gradient,
    "integrated_gradients": integrated_gradients,
}
MEASURES = ("occlusion", "edge_gradient", "head_importance_gradient", *_ALONE)
"""Methods of the registry that run on the model."""
Progress = Callable[[str, int, int], None]
"""Gets the method's name, how much is done, and of how much (cells or tokens)."""


def measure(
    loaded: LoadedModel,
    prompt: PromptInputs,
    token_ids: Sequence[int],
    names: Sequence[str],
    options: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    memory_bytes: int,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> dict[str, MeasuredCells]:
    """Run the named methods over a report as it was written; options are by name.

    occlusion has the options `block` (1, 2 or 4) and `coarse_to_fine`. Raises UnknownMethodError and MethodError
    before anything is computed, GenerationCancelled. The caller holds loaded.lock.
    """
    for name in names:
        if name not in MEASURES:
            raise UnknownMethodError(f"{name!r} does not run on the model; these do: {', '.join(MEASURES)}")
    asked = {name: dict((options or {}).get(name, {})) for name in names}
    for name, given in asked.items():
        unknown = sorted(set(given) - ({"block", "coarse_to_fine"} if name == "occlusion" else set()))
        if unknown:
            raise MethodError(f"{name} has no option {', '.join(unknown)}")
    passes: dict[str, Any] = {"memory_bytes": memory_bytes, "cancelled": cancelled}
    measured: dict[str, MeasuredCells] = {}
    shared: EdgeGradients | None = None
    for name in names:
        told = _Told(name, progress, prompt, token_ids)
        notes: tuple[str, ...] = ()
        with stage("method", name):
            if name == "occlusion":
                values = occlusion(loaded, prompt, token_ids, **asked[name], **passes, progress=told)
                notes = _occlusion_notes(**asked[name])
            elif name in _ALONE:
                values = _ALONE[name](loaded, prompt, token_ids, **passes, progress=told)
            else:
                shared = shared or edge_gradient(loaded, prompt, token_ids, **passes, progress=told)
                values = shared.edges if name == "edge_gradient" else shared.head_map
        measured[name] = MeasuredCells(values, prompt.image_spans, notes, asked[name])
    return measured


def _occlusion_notes(block: int = 1, coarse_to_fine: bool = False) -> tuple[str, ...]:
    if coarse_to_fine:
        return ("blocks of 4 x 4 cells, the strongest tenth of the film cell by cell",)
    return () if block == 1 else (f"blocks of {block} x {block} cells",)


class _Told:
    """Adds up what a method says of its progress."""

    def __init__(self, name: str, progress: Progress | None, prompt: PromptInputs, token_ids: Sequence[int]) -> None:
        self._name, self._progress, self._done = name, progress, 0
        self._total = prompt.cells if name == "occlusion" else len(token_ids)

    def __call__(self, done: int) -> None:
        self._done += done
        if self._progress is not None:
            self._progress(self._name, self._done, self._total)
