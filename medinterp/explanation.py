"""A report with its films and maps, and ways to ask for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from medinterp.errors import SelectionError
from medinterp.render import Picture, RenderOptions, canvas, overlay, report_range
from medinterp.types import (
    BoxVerdict,
    Film,
    Finding,
    MapPack,
    Quantity,
    RelevancyMap,
    Reliance,
    Section,
    TextSources,
    Word,
)
from medinterp.types import Explanation as ExplanationData

if TYPE_CHECKING:
    from medinterp.relevancy import Region

NOTEBOOK_HEIGHT = 760
"""Of a report in a notebook, in CSS pixels: the film and some lines of the report at once."""

KEPT_TEXT_SOURCES = 16
"""How many text sources an explanation keeps, the newest."""


class Explanation(ExplanationData):
    """A report with its maps and its trace, and ways to ask for them."""

    def word_at(self, offset: int) -> Word:
        """The word at a character offset of the report; raises SelectionError between words."""
        for word in self.report.words:
            if word.start <= offset < word.end:
                return word
        raise SelectionError(f"no word of the report stands at character {offset}")

    def section(self, name: str) -> Section:
        """The section of that name, whatever its case; raises SelectionError naming those there are."""
        for section in self.report.sections:
            if section.name.casefold() == name.casefold():
                return section
        there = ", ".join(section.name for section in self.report.sections) or "none"
        raise SelectionError(f"the report has no section {name!r}; it has: {there}")

    def map(
        self,
        selection: Word | Finding | Sequence[Word],
        method: str | None = None,
        *,
        image: int = 0,
        without_sinks: bool = False,
    ) -> RelevancyMap:
        """The map of a word, a phrase (several words) or a finding; float32 [rows, columns].

        method: one that was computed, by default the first; image: 0 for the film, 1 for the
        prior one; without_sinks: flagged sink cells are set to 0. Raises SelectionError for a method that was not
        computed, an image that was not read or for words that no token wrote.
        """
        from medinterp.export.view import pack_on
        from medinterp.relevancy import select_map

        return select_map(pack_on(self, method, image), self.tokens_of(selection), without_sinks=without_sinks)

    def tokens_of(self, selection: Word | Finding | Sequence[Word]) -> tuple[int, ...]:
        """The indices of the report tokens that wrote the selection."""
        if isinstance(selection, Word):
            words: Sequence[Word] = (selection,)
        elif isinstance(selection, Finding):
            words = [self.report.words[k] for k in selection.word_indices]
        else:
            words = selection
        tokens = sorted({token for word in words for token in word.token_indices})
        if not tokens:
            raise SelectionError("the selection holds no word of the report")
        return tuple(tokens)

    @property
    def films(self) -> tuple[Film, ...]:
        """What the model read, in the prompt's order: the film, and the prior one where there is one."""
        return (self.film,) if self.prior is None else (self.film, self.prior)

    def keeping(self, found: TextSources | Reliance | tuple[BoxVerdict, ...]) -> Explanation:
        """The same with these text sources, the words' reliance, or verdicts on its boxes, kept as exports show them.

        Text sources: one of each selection, the last asked for; the newest KEPT_TEXT_SOURCES.
        """
        if isinstance(found, Reliance):
            return replace(self, reliance=found)
        if isinstance(found, tuple):
            return replace(self, box_verdicts=found)
        others = [kept for kept in self.text_sources if kept.token_indices != found.token_indices]
        return replace(self, text_sources=(*others, found)[-KEPT_TEXT_SOURCES:])

    def overlay(
        self,
        selection: Word | Finding | Sequence[Word],
        method: str | None = None,
        options: RenderOptions | None = None,
        *,
        image: int = 0,
    ) -> Picture:
        """The film (image 1: the prior film) with a selection's map over it, on the whole report's scale by default.

        Raises SelectionError as `map` does, MissingEvidenceError for the disagreement of a method that is no consensus.
        """
        from medinterp.export.view import map_view

        view = map_view(self, self.tokens_of(selection), method, options, image, range_of=self.range_of)
        base = self.canvas_of(image, view.options.size)
        return Picture(overlay(view.film, view.map, view.options, value_range=view.value_range, base=base))

    def region(
        self,
        box: Sequence[float] | None = None,
        *,
        cells: Sequence[tuple[int, int]] | None = None,
        method: str | None = None,
        image: int = 0,
        without_sinks: bool = False,
        quantity: Quantity = "relevancy",
    ) -> Region:
        """The words that a region of the film drove, the most driven first (see `medinterp.relevancy.rank_words`).

        box: left, top, right, bottom as shares of the film's width and height; or cells: (row, column) of each; one of
        the two. Raises SelectionError for a region that is none, and as `map` does; MissingEvidenceError for the
        disagreement of a method that is no consensus.
        """
        from medinterp.export.view import pack_on
        from medinterp.relevancy import Region, box_coverage, cells_coverage, quantity_of, rank_words

        pack = quantity_of(pack_on(self, method, image), quantity)
        _, rows, columns = pack.values.shape
        if (box is None) == (cells is None):
            raise SelectionError("a region is either a box or cells")
        coverage = cells_coverage(cells or (), rows, columns) if box is None else box_coverage(box, rows, columns)
        words = rank_words(pack, self.report.words, coverage, without_sinks=without_sinks)
        return Region(pack.method, image, coverage.astype(np.float32), words)

    def film_at(self, image: int) -> Film:
        """The film (image 0) or the prior film (1). Raises SelectionError for one that was not read."""
        if not 0 <= image < len(self.films):
            raise SelectionError(f"this report was made without an image {image}")
        return self.films[image]

    def canvas_of(self, image: int, size: int | None) -> npt.NDArray[np.uint8]:
        """What maps are drawn on (see `medinterp.render.canvas`), uint8 [height, width]."""
        return canvas(self.film_at(image), size)

    def range_of(self, pack: MapPack, options: RenderOptions) -> tuple[float, float]:
        """The range of all words' maps by one method (of options.quantity already), which is drawn as the scale."""
        from medinterp.relevancy import word_maps

        return report_range(word_maps(pack, self.report.words, without_sinks=options.without_sinks), pack.signed)

    def _repr_html_(self) -> str | None:
        """What a notebook shows: the exported page in a frame of its own, or nothing for a report without maps."""
        from html import escape

        from medinterp import export

        if not self.packs:
            return None
        style = f"width: 100%; height: {NOTEBOOK_HEIGHT}px; border: 0"
        page = escape(export.html(self))
        return f'<iframe title="Chest film report" sandbox="allow-scripts" style="{style}" srcdoc="{page}"></iframe>'
