"""What a relevancy method declares of itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from medinterp.errors import MethodError, MissingEvidenceError
from medinterp.relevancy.grid import to_grid
from medinterp.types import AttentionTrace, Float32Array, ImageSpan, MapPack, MeasuredCells

Family = Literal["attention", "propagation", "gradient", "perturbation", "activation", "consensus"]
Options = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class CellValues:
    """What a method computes: float32 [T, cells of all images] with its own sign and mass, and what to know of it."""

    values: Float32Array
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Setting:
    """A way to run a method: title and meaning for people, and the options that ask for it."""

    title: str
    meaning: str
    options: Options = field(default_factory=dict)


@dataclass(frozen=True)
class Method:
    """A way to say which cells drove a word.

    name: as in requests; title, meaning: for people, the latter one line; citation: the paper and
    equation; needs: the fields of AttentionTrace that must be there; compute: trace and options in, values
    of all tokens out; combine, in place of compute: other methods' maps of one image in, one of each family;
    on_model, in place of both: the model is asked again (model/measuring.py), which only its own replica can;
    signed, additive: as in MapPack; settings: ways to run it, the one without options first. unit: of the maps' values;
    layers: what of the network they are taken from, unless its options say otherwise; learned: whether that is weighted
    by what `medinterp calibrate` learned.
    """

    name: str
    family: Family
    title: str
    meaning: str
    citation: str
    needs: frozenset[str]
    compute: Callable[[AttentionTrace, Options], CellValues] | None = None
    combine: Callable[[Mapping[str, MapPack]], MapPack] | None = None
    on_model: bool = False
    signed: bool = False
    additive: bool = False
    settings: tuple[Setting, ...] = ()
    unit: str = "attention weight"
    layers: str = "all layers"
    learned: bool = False

    def __post_init__(self) -> None:
        if [self.compute is not None, self.combine is not None, self.on_model].count(True) != 1:
            raise ValueError(f"{self.name} has one of compute, combine and on_model")

    def can_run(self, trace: AttentionTrace) -> bool:
        """Whether the trace holds what the method needs."""
        return self.compute is not None and all(getattr(trace, name) is not None for name in self.needs)

    def run(self, trace: AttentionTrace, options: Options | None = None, image: int = 0) -> MapPack:
        """Maps of every report token on one image of the prompt.

        Raises MissingEvidenceError when the trace lacks what is needed, MethodError for a method that combines
        others, for options that it has not, or for an image that the prompt has not.
        """
        missing = sorted(name for name in self.needs if getattr(trace, name) is None)
        if missing:
            raise MissingEvidenceError(
                f"{self.name} needs {', '.join(missing)}, which this trace was captured without; "
                "read the film again with it switched on"
            )
        if self.on_model:
            raise MissingEvidenceError(f"{self.name} runs on the model, which this trace alone is not")
        if self.compute is None:
            raise MethodError(f"{self.name} combines other methods' maps: ask compute_maps for it")
        return self.pack(self.compute(trace, options or {}), trace.image_spans, image, options)

    def pack(
        self,
        made: CellValues | MeasuredCells,
        spans: Sequence[ImageSpan],
        image: int = 0,
        options: Options | None = None,
    ) -> MapPack:
        """What was computed or measured, as maps on one image. Raises MethodError for values that are not finite."""
        grid = to_grid(made.values, spans, image)
        if not np.isfinite(grid).all():
            raise MethodError(f"{self.name} gave values that are not finite; they are not to be trusted")
        blind = int((grid == 0.0).all(axis=(1, 2)).sum())
        note = (f"{blind} of {len(grid)} tokens have an empty map: the image lay outside the sliding window",)
        notes = (*made.notes, *(note if blind else ()))
        return MapPack(self.name, grid, self.signed, self.additive, notes, image=image, options=options or {})


def only_options(name: str, options: Options, *known: str) -> None:
    """Raise MethodError when a method is given options that it has not."""
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise MethodError(f"{name} has {_listed(known)}; it was given {', '.join(unknown)}")


def _listed(known: tuple[str, ...]) -> str:
    return f"the options {' and '.join(known)}" if known else "no options"
