"""What every exported file says of itself: how its maps were made, by which model, of which film, what it is not."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import medinterp
from medinterp.relevancy import METHODS
from medinterp.types import Explanation, MapPack

DISCLAIMER = "Research use only, not for diagnosis."
AS_COMPUTED = "none: values as the method gave them"
"""The scale of files that hold numbers."""
UNCALIBRATED = "uncalibrated"
MAX_SELECTION = 120
"""Characters of the selected words that are quoted."""
CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufffe\uffff]")
"""What a model may write and no file of text may hold (XML 1.0, 2.2; PNG's tEXt)."""


@dataclass(frozen=True)
class MapFacts:
    """One method's maps: its name, what of the network they are taken from, whether its weights were learned."""

    method: str
    layers: str
    calibration: str


@dataclass(frozen=True)
class ExportFacts:
    """The record that stands in every file, as document, lines or one text.

    film_sha256: of the bytes that were read, the prior film's last; scale: of the colours, or the threshold of a
    region; selection: the words that a picture is of; unfinished: that the report was cut off.
    """

    disclaimer: str
    software: str
    model: str
    revision: str
    film_sha256: tuple[str, ...]
    scale: str
    maps: tuple[MapFacts, ...]
    selection: str | None = None
    unfinished: str | None = None

    def document(self) -> dict[str, Any]:
        """For JSON: plain dicts, lists and text."""
        return asdict(self) | {"film_sha256": list(self.film_sha256), "maps": [asdict(one) for one in self.maps]}

    def lines(self) -> dict[str, str]:
        """Names and texts, for metadata that is flat; what is said of several methods is joined in their order."""
        lines = {
            "disclaimer": self.disclaimer,
            "software": self.software,
            "model": self.model,
            "revision": self.revision,
            "film_sha256": ", ".join(self.film_sha256),
            "scale": self.scale,
            "method": ", ".join(one.method for one in self.maps),
            "layers": "; ".join(dict.fromkeys(one.layers for one in self.maps)),
            "calibration": "; ".join(dict.fromkeys(one.calibration for one in self.maps)),
        }
        told = {"selection": self.selection, "unfinished": self.unfinished}
        return lines | {name: value for name, value in told.items() if value is not None}

    def text(self) -> str:
        """All lines as one text, a line each."""
        return "\n".join(f"{name}: {told}" for name, told in self.lines().items())


def export_facts(
    explanation: Explanation, packs: Sequence[MapPack] = (), *, scale: str = AS_COMPUTED, selection: str | None = None
) -> ExportFacts:
    """The record of a file that shows or holds these methods' maps; all of the report's when none are named."""
    provenance = explanation.provenance
    films = (explanation.film, *(() if explanation.prior is None else (explanation.prior,)))
    short = None if selection is None else CONTROLS.sub("\ufffd", " ".join(selection.split()))
    if short is not None and len(short) > MAX_SELECTION:
        short = short[: MAX_SELECTION - 1] + "…"
    return ExportFacts(
        disclaimer=DISCLAIMER,
        software=f"medinterp {medinterp.__version__}",
        model=provenance.model_id,
        revision=provenance.model_revision,
        film_sha256=tuple(film.sha256 for film in films),
        scale=scale,
        maps=tuple(map(_map_facts, packs or explanation.packs.values())),
        selection=short,
        unfinished=explanation.report.unfinished,
    )


def _map_facts(pack: MapPack) -> MapFacts:
    told = ", ".join(f"{name} {value}" for name, value in sorted(pack.options.items()))
    method = METHODS.get(pack.method)  # a stored report may have been made with a method that is gone
    layers = "not known" if method is None else method.layers
    learned = any(name in METHODS and METHODS[name].learned for name in (pack.method, *pack.members))
    # A consensus says its members' notes after their names.
    if any(UNCALIBRATED in note.split(": ") for note in pack.notes):
        return MapFacts(pack.method, told or layers, UNCALIBRATED)
    return MapFacts(pack.method, told or layers, "learned weights" if learned else "uses no learned weights")


def unit_of(pack: MapPack, *, disagreement: bool = False) -> str:
    """The unit of a method's values; of a consensus also of its members' disagreement."""
    if disagreement:
        return "standard deviation of ranks"
    method = METHODS.get(pack.method)
    return "no known unit" if method is None else method.unit
