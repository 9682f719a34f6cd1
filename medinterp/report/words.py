"""Words of a report, tied to tokens by character offsets and never by their text."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from medinterp.report.sections import section_at
from medinterp.types import ReportToken, Section, Word

# Letters and digits (with combining accents), joined by hyphens and apostrophes; decimals stay whole.
_LETTER = r"[^\W_][\u0300-\u036f]*"
_WORD = re.compile(rf"(?:{_LETTER})+(?:[-'’\u2010\u2011](?:{_LETTER})+|(?<=\d)[.,]\d+)*")


def find_words(
    text: str,
    tokens: Sequence[ReportToken],
    image_mass: Sequence[float] | None = None,
    sections: Sequence[Section] = (),
) -> tuple[Word, ...]:
    """Every word of text in order, with the tokens whose characters it shares.

    A token that wrote a part of a character counts to the word that holds the character. image_mass:
    one number for each token, 0..1; where it is not given, and for a word without tokens (a text
    that no model wrote), Word.image_mass is nan: nothing was measured.
    """
    words: list[Word] = []
    first = 0
    for match in _WORD.finditer(text):
        start, end = match.span()
        while first < len(tokens) and tokens[first].end <= start:
            first += 1
        indices: list[int] = []
        position = first
        while position < len(tokens) and tokens[position].start < end:
            if max(tokens[position].start, start) < tokens[position].end:
                indices.append(position)
            position += 1
        mass = math.nan
        if image_mass is not None and indices:
            mass = math.fsum(image_mass[index] for index in indices) / len(indices)
        words.append(
            Word(
                index=len(words),
                text=match.group(),
                start=start,
                end=end,
                token_indices=tuple(tokens[index].index for index in indices),
                logprob=math.fsum(tokens[index].logprob for index in indices),
                image_mass=mass,
                section=section_at(sections, start),
            )
        )
    return tuple(words)

