"""A report of the service: what is known of it here, its words, and a selection's map. Nothing is sent from here."""

from __future__ import annotations

import re
from datetime import datetime

import numpy as np

from medinterp.client.answers import Explained, FilmFacts, Maps, Report, Word
from medinterp.client.calls import Selection
from medinterp.errors import SelectionError
from medinterp.types import Finding, Float32Array, Provenance, Quantity, Section
from medinterp.types import Word as AnyWord


class Explanation:
    """What is the same for both clients: the report's facts, as they were when it was asked for."""

    def __init__(self, explained: Explained) -> None:
        """explained: the answer of `POST /v1/reports` or `GET /v1/reports/{id}`."""
        self._explained = explained
        self._maps: dict[tuple[str | None, int, bool, Quantity], Maps] = {}

    def __repr__(self) -> str:
        """Nothing of its text, and too little of its id to read it with."""
        return f"<{type(self).__name__} {self.id[:8]}..., {len(self.words)} words>"

    @property
    def id(self) -> str:
        """Whoever has it (and the key, where keys are on) can read the report."""
        return self._explained.id

    @property
    def expires_at(self) -> datetime:
        """When the service forgets it, unless it is asked for before."""
        return self._explained.expires_at

    @property
    def report(self) -> Report:
        """Text, tokens, words, sections, findings."""
        return self._explained.report

    @property
    def text(self) -> str:
        """The report's text."""
        return self._explained.report.text

    @property
    def words(self) -> tuple[Word, ...]:
        """What can be asked about."""
        return self._explained.report.words

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What the report states."""
        return self._explained.report.findings

    @property
    def film(self) -> FilmFacts:
        """The film that was read."""
        return self._explained.film

    @property
    def prior(self) -> FilmFacts | None:
        """The prior film that was read beside it."""
        return self._explained.prior

    @property
    def methods(self) -> tuple[str, ...]:
        """Whose maps the report has; the first is asked when none is named."""
        return self._explained.methods

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of a map."""
        return self._explained.rows, self._explained.columns

    @property
    def provenance(self) -> Provenance:
        """Enough to make the same report again."""
        return self._explained.provenance

    def word_at(self, offset: int) -> Word:
        """The word at a character offset of the text; raises SelectionError between words."""
        for word in self.words:
            if word.start <= offset < word.end:
                return word
        raise SelectionError(f"no word of the report stands at character {offset}")

    def find(self, text: str) -> tuple[Word, ...]:
        """The words that a text's first occurrence touches, whatever its case. Raises SelectionError without one."""
        found = re.search(re.escape(text), self.text, re.IGNORECASE) if text.strip() else None
        start, end = found.span() if found else (0, 0)
        words = tuple(word for word in self.words if word.start < end and word.end > start)
        if not words:
            raise SelectionError("the report holds no word of that text")
        return words

    def section(self, name: str) -> Section:
        """The section of that name, whatever its case; raises SelectionError naming those there are."""
        for section in self.report.sections:
            if section.name.casefold() == name.casefold():
                return section
        there = ", ".join(section.name for section in self.report.sections) or "none"
        raise SelectionError(f"the report has no section of that name; it has: {there}")

    def tokens_of(self, selection: Selection) -> tuple[int, ...]:
        """The indices of the tokens that wrote the selection; raises SelectionError where none did."""
        if isinstance(selection, Finding):
            words: tuple[AnyWord, ...] = tuple(self.words[index] for index in selection.word_indices)
        else:
            words = (selection,) if isinstance(selection, AnyWord) else tuple(selection)
        tokens = tuple(sorted({token for word in words for token in word.token_indices}))
        if not tokens:
            raise SelectionError("the selection holds no word of the report")
        return tokens

    def _forget(self, method: str) -> None:
        """The maps that were measured anew."""
        self._maps = {key: maps for key, maps in self._maps.items() if maps.method != method}

    def _map(self, maps: Maps, selection: Selection, without_sinks: bool) -> Float32Array:
        """One selection's map, float32 [rows, columns]: its tokens' sum where the method adds, else the mean."""
        chosen = maps.tokens[list(self.tokens_of(selection))]
        values = chosen.sum(axis=0) if maps.additive else chosen.mean(axis=0)
        if without_sinks and maps.sinks is not None:
            values = np.where(maps.sinks, np.float32(0), values)
        return np.ascontiguousarray(values, dtype=np.float32)
