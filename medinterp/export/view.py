"""What of a report a picture is of, and the map that it shows: words chosen, method, scale, film."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from medinterp.errors import SelectionError
from medinterp.export.naming import finding_title
from medinterp.relevancy import quantity_of, select_map, word_maps
from medinterp.render import RenderOptions, overlay, own_range, report_range
from medinterp.types import Explanation, Film, Finding, MapPack, RelevancyMap, Report, Word


@dataclass(frozen=True)
class Chosen:
    """Words of the report, in the order of the text. label: for people; tokens: what wrote them, at least one."""

    words: tuple[Word, ...]
    tokens: tuple[int, ...]
    label: str


def chosen_words(report: Report, selection: Finding | Sequence[Word]) -> Chosen:
    """What is selected of a report. Raises SelectionError for words that no token wrote."""
    if isinstance(selection, Finding):
        words: Sequence[Word] = [report.words[index] for index in selection.word_indices]
        label = finding_title(selection)
    else:
        words = selection
        label = report.text[words[0].start : words[-1].end] if words else ""
    tokens = tuple(sorted({token for word in words for token in word.token_indices}))
    if not tokens:
        raise SelectionError("the selection holds no word of the report")
    return Chosen(tuple(sorted(words, key=lambda word: word.start)), tokens, " ".join(label.split()))


@dataclass(frozen=True, eq=False)
class MapView:
    """A selection's map as it is drawn. value_range: of the colours, as in `render.scaled`; options: the rest."""

    film: Film
    pack: MapPack
    map: RelevancyMap
    value_range: tuple[float, float]
    options: RenderOptions

    @property
    def scale_title(self) -> str:
        """The scale of the colours for the record in a file, with all that changes what they mean."""
        low, high = self.value_range
        quantity = ", of the members' disagreement" * (self.options.quantity == "disagreement")
        sinks = ", sink cells left out" * self.options.without_sinks
        weak = f", below {self.options.cutoff:.0%} of it not drawn" * (self.options.cutoff > 0)
        return f"{self.options.scale}, {low:.3g} to {high:.3g}, square root{weak}{quantity}{sinks}"

    def picture(self, size: int | None = None) -> npt.NDArray[np.uint8]:
        """The film with the map over it, uint8 [height, width, 3]; size: of the longer side, else the options'."""
        options = self.options if size is None else replace(self.options, size=size)
        return overlay(self.film, self.map, options, value_range=self.value_range)

    def plain(self, size: int) -> npt.NDArray[np.uint8]:
        """The film alone, as large as `picture` draws it."""
        return overlay(self.film, self.map, RenderOptions(opacity=0.0, size=size), value_range=self.value_range)


def pack_on(explanation: Explanation, method: str | None, image: int) -> MapPack:
    """A method's maps on one film, the report's first when none is named; image 1: on the prior film.

    Raises SelectionError for a method that was not computed or an image that was not read.
    """
    packs = {0: explanation.packs, 1: explanation.prior_packs}.get(image, {})
    if not packs:
        raise SelectionError(f"this report has no maps on image {image}")
    name = method or next(iter(packs))
    if name not in packs:
        raise SelectionError(f"{name!r} was not computed for this report; there are: {', '.join(packs)}")
    return packs[name]


def map_view(
    explanation: Explanation,
    tokens: Sequence[int],
    method: str | None = None,
    options: RenderOptions | None = None,
    image: int = 0,
    *,
    range_of: Callable[[MapPack, RenderOptions], tuple[float, float]] | None = None,
) -> MapView:
    """The map of some tokens, on the report's scale or its own. range_of: the report's scale, where it is kept.

    Raises SelectionError as `pack_on`, MissingEvidenceError for the disagreement of a method that is no consensus.
    """
    asked = options or RenderOptions()
    pack = quantity_of(pack_on(explanation, method, image), asked.quantity)
    chosen = select_map(pack, tokens, without_sinks=asked.without_sinks)
    if asked.scale == "map":
        value_range = own_range(chosen)
    elif range_of is not None:
        value_range = range_of(pack, asked)
    else:
        words = word_maps(pack, explanation.report.words, without_sinks=asked.without_sinks)
        value_range = report_range(words, chosen.signed)
    film = explanation.film if image == 0 or explanation.prior is None else explanation.prior
    return MapView(film, pack, chosen, value_range, asked)
