"""Words of a report, tied to tokens by character offsets and never by their text."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import regex

from medinterp.report.sections import section_at
from medinterp.types import ReportToken, Section, Word

# Word boundaries of Unicode (UAX 29) in every script; letters and digits on both sides of a hyphen are one word.
_BOUNDARY = regex.compile(r"(?w)(?<!^)\b(?!\Z)")
UNLIKELY = math.log(1e-3)
"""A token of a smaller log-probability is one that the model would hardly have written."""
_HYPHENS = frozenset("-\u2010\u2011")
_DOT = regex.compile(r"(?<=\p{L})\.(?=\p{L})")


def find_words(
    text: str,
    tokens: Sequence[ReportToken],
    image_mass: Sequence[float] | None = None,
    sections: Sequence[Section] = (),
    marks: Sequence[tuple[int, int]] = (),
) -> tuple[Word, ...]:
    """Every word of text in order, with the tokens whose characters it shares.

    Words are those of Unicode's word boundaries (UAX 29), where what hyphens join is one word and a stop between
    letters parts two. A token that wrote a part of a character counts to the word that holds the character.
    image_mass: one number for each token, 0..1; where it is not given, and for a word without tokens (a text that no
    model wrote), Word.image_mass is nan: nothing was measured. marks: spans that hold no words, in order.
    """
    words: list[Word] = []
    first = mark = 0
    for start, end in _word_spans(text):
        while mark < len(marks) and marks[mark][1] <= start:
            mark += 1
        if mark < len(marks) and marks[mark][0] < end:
            continue
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
                text=text[start:end],
                start=start,
                end=end,
                token_indices=tuple(tokens[index].index for index in indices),
                logprob=math.fsum(tokens[index].logprob for index in indices),
                image_mass=mass,
                section=section_at(sections, start),
                unlikely=any(tokens[index].logprob < UNLIKELY for index in indices),
            )
        )
    return tuple(words)


def _word_spans(text: str) -> Iterator[tuple[int, int]]:
    """Spans of the words: pieces between boundaries that hold a letter or a digit, joined over hyphens."""
    joined: tuple[int, int] | None = None
    hyphen: int | None = None
    for start, end in _pieces(text):
        if any(map(str.isalnum, text[start:end])):
            if joined is not None and hyphen == start and hyphen == joined[1] + 1:
                joined = (joined[0], end)
            else:
                if joined is not None:
                    yield joined
                joined = (start, end)
            hyphen = None
        else:
            hyphen = end if text[start:end] in _HYPHENS else None
    if joined is not None:
        yield joined


def _pieces(text: str) -> Iterator[tuple[int, int]]:
    position = 0
    edges = [*(match.start() for match in _BOUNDARY.finditer(text)), len(text)]
    for edge in edges:
        start = position
        for dot in _DOT.finditer(text, position, edge):
            yield start, dot.start()
            yield dot.start(), dot.end()
            start = dot.end()
        if start < edge:
            yield start, edge
        position = edge
