"""Sentences, and their clauses: how far a negation, a hedge or a side reaches."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from medinterp.report.lexicon import IGNORED, Cue, lexicon
from medinterp.report.phrases import Match
from medinterp.report.sections import find_headings
from medinterp.report.tables import word_set
from medinterp.report.tokens import Token, tokenise

Span = tuple[int, int]

_SENTENCE_END = re.compile(
    r"(?<!\be\.g)(?<!\bi\.e)(?<!\bDr)(?<!\bapprox)(?<!\bvs)[.!?]+(?=[\s*_)\"'\]}$]|$)|"
    r"(?<=[a-z])\.(?=[A-Z][a-z])|\n[ \t]*\n|"
    r"\n(?=[ \t]*(?:[*+•>|#\-]|\d{1,2}[.)])?[ \t*_]*[A-Z])|\n(?=[ \t]*[*+•\-][ \t])|\n(?=[ \t]*[^\w\s(])",
)
_NO_LINES = re.compile(r"^[ \t]*no\b.*(\n)[ \t]*no\b.*(\n|\Z)", re.MULTILINE)
_JOINS = re.compile(r"(?:\b(?:of|or|and|nor|no|without|the|a|an|for|with|in|at|on)|,)[ \t]*$")
_NUMBERED = re.compile(r"(?:^|\n)[ \t>*_]*\d{1,2}$")
_BE = word_set("be")
_JOINTS = frozenset(", and with ( - \u2013 \u2014".split())
_TOLD = _BE | {"has", "have", "no", "clear", "normal"}
"""Words after which an "and" begins another statement: "the heart and lungs are normal" is one clause."""
_JOINED = word_set("joined")
_MODIFIERS = word_set("before_subject")


@dataclass(frozen=True)
class Sentence:
    """A sentence and what its words mean; prefix: tokens before it that come from its heading.

    words: the tokens' base forms.
    names, structures, cues: phrases of the tables, by token. clauses: token spans, each with the indices of its names.
    """

    start: int
    end: int
    tokens: Sequence[Token]
    words: Sequence[str]
    prefix: int
    names: Sequence[Match[str]]
    structures: Sequence[Match[str]]
    cues: Sequence[Match[Cue]]
    clauses: Sequence[tuple[Span, Sequence[int]]]

    def base(self, index: int) -> str:
        """Base form of a token, "" outside the sentence."""
        return self.words[index] if 0 <= index < len(self.words) else ""


def sentence_spans(text: str) -> tuple[Span, ...]:
    """Spans of the sentences of a report, headings left out; a wrapped line does not end one."""
    spans: list[Span] = []
    position = 0
    edges = [(start, end) for _, start, end in find_headings(text)] + [(len(text), len(text))]
    for heading_start, heading_end in edges:
        start = position
        ends = _ends_of_lines(text, position, heading_start)
        for match in _SENTENCE_END.finditer(text, position, heading_start):
            if not (
                match.group().startswith(".") and _NUMBERED.search(text, max(0, match.start() - 12), match.start())
            ):
                ends.add(match.end())  # but not of "1. Pneumonia"
        for end in sorted(ends - _behind_labels(text, position, heading_start)):
            spans.append((start, end))
            start = end
        spans.append((start, heading_start))
        position = heading_end
    return tuple((start, end) for start, end in spans if any(map(str.isalpha, text[start:end])))


def _ends_of_lines(text: str, start: int, end: int) -> set[int]:
    """Ends of lines where two after each other begin with a small "no": a list without stops, no wrapped text."""
    ends: set[int] = set()
    position = start
    while (match := _NO_LINES.search(text, position, end)) is not None:
        for group in (1, 2):
            line = text[text.rfind("\n", 0, match.start(group)) + 1 : match.start(group)]
            if match.start(group) < match.end(group) and not _JOINS.search(line):
                ends.add(match.end(group))
        position = match.end(1)
    return ends


_LABEL = re.compile(r"^[ \t]*(?:(?:[*+\-•]|\d{1,2}[.)])[ \t]+)?\*\*[^*\n]+\*\*[ \t]*(\n\s*)", re.MULTILINE)


def _behind_labels(text: str, start: int, end: int) -> set[int]:
    """Ends of lines that are bold and no heading: a label of what stands below ("**Pneumothorax**", "None seen")."""
    return {match.end(1) for match in _LABEL.finditer(text, start, end)} | {
        match.start(1) + 1 for match in _LABEL.finditer(text, start, end)
    }


def read_sentence(text: str, span: Span, prefix: Sequence[Token] = ()) -> Sentence:
    """A sentence with its phrases; prefix: the words that it goes on from, of its heading or of its list's stem."""
    table = lexicon()
    tokens = _elliptic([*prefix, *tokenise(text, *span, table.spelling)])
    names = _names(tokens, len(prefix))
    structures = table.structures.find(tokens, shared=True)
    cues = table.cues.find(tokens, shared=True)
    clauses: list[tuple[Span, Sequence[int]]] = []
    words = [token.base for token in tokens]
    first = 0
    for clause in _clauses(tokens, words, names, structures):
        last = first
        while last < len(names) and names[last].start < clause[1]:
            last += 1
        clauses.append((clause, range(first, last)))
        first = last
    return Sentence(*span, tokens, words, len(prefix), names, structures, cues, clauses)


def _elliptic(tokens: list[Token]) -> list[Token]:
    """The tokens, where a side that stands for its structure is followed by it.

    "The right hilum is normal, the left is prominent" is read as "... the left hilum is prominent".
    """
    words = [token.base for token in tokens]
    alone = [
        k for k in range(1, len(words) - 1) if words[k] in _OTHER and words[k - 1] in _BEGIN and words[k + 1] in _BE
    ]
    if not alone:
        return tokens
    structures = lexicon().structures.find(tokens)
    for k in reversed(alone):
        side = tokens[k]
        for structure in reversed([s for s in structures if s.end < k][-8:]):
            first = structure.start
            while first and words[first - 1] in _PLACES and words[first - 1] not in _OTHER:
                first -= 1
            if words[first - 1 : first] == [_OTHER[words[k]]]:
                named = [replace(token, start=side.start, end=side.end) for token in tokens[first : structure.end]]
                tokens = [*tokens[: k + 1], *named, *tokens[k + 1 :]]
                break
    return tokens


_OTHER = {"left": "right", "right": "left"}
_BEGIN = frozenset(("the", ",", ";", "and", "but", "while"))


def _names(tokens: Sequence[Token], prefix: int) -> list[Match[str]]:
    """The findings named; one that begins in the heading ("Heart: Enlarged") gives way to one of the sentence's own."""
    table = lexicon().names
    own = table.find(tokens[prefix:], shared=True, coordinated=True)
    names = [Match(match.value, match.start + prefix, match.end + prefix) for match in own]
    if prefix:
        begun = [
            match
            for match in table.find(tokens, shared=True, coordinated=True)
            if match.start < prefix < match.end and _closes(tokens, match.end)
        ]
        last = max((match.end for match in begun), default=0)
        if any(match.start < last < match.end for match in names):
            begun, last = [], 0  # "Heart: Enlarged heart"
        names = begun + [match for match in names if match.start >= last]
    return [match for match in names if match.value != IGNORED]


def _closes(tokens: Sequence[Token], end: int) -> bool:
    """Whether what a heading begins is over there: "Heart: Enlarged", and not "Heart: Large effusion"."""
    return end == len(tokens) or not tokens[end].base.isalnum() or tokens[end].base in _JOINED | {"size", "silhouette"}


def _clauses(
    tokens: Sequence[Token], words: Sequence[str], names: Sequence[Match[str]], structures: Sequence[Match[str]]
) -> tuple[Span, ...]:
    """Token spans of the clauses, which share neither negation nor side."""
    inside = {k for name in names for k in range(name.start + 1, name.end)}
    edges = {match.start for match in lexicon().boundaries.find(tokens) if match.value == "words"}
    edges |= {k for k, word in enumerate(words) if word == ";"}
    starts = {match.start: match.end for match in structures if match.value not in ("chest", "device", "abdomen")}
    last, told = 0, False
    begun = {name.start for name in names}
    for k, word in enumerate(words):
        if k in edges:
            last, told = k, False
        after = k + 2 if words[k + 1 : k + 2] == ["and"] else k + 1
        joins = word in _JOINTS and _new_clause(words, k, starts) and (told or not _subject_at(words, after, starts))
        follows = (
            (word == "the" or word not in _JOINED)
            and k not in inside
            and _subject_at(words, k, starts)
            and _ends(words[k - 1])
        )
        if k > last and (joins or follows):
            edges.add(k)
            told = False
        told |= word in _TOLD or k in begun
    edges -= inside
    ordered = [0]
    for edge in (*sorted(edge for edge in edges if 0 < edge < len(words)), len(words)):
        # "opacities with a basilar predominance" is one clause
        if words[ordered[-1]] == "with" and len(ordered) > 1 and not any(k in begun for k in range(ordered[-1], edge)):
            ordered.pop()
        ordered.append(edge)
    return tuple((first, last) for first, last in pairwise(ordered) if first < last)


def _ends(word: str) -> bool:
    """Whether a subject can follow the word without a stop between: not behind a preposition or an adjective."""
    return word.isalnum() and word not in _JOINED and word not in _MODIFIERS


_PLACES = word_set("subject_place")
_VERBS = word_set("subject_verbs") | _BE


def _subject_at(words: Sequence[str], k: int, structures: Mapping[int, int]) -> bool:
    """Whether "(the) heart is" begins there."""
    first = k + 1 if words[k] == "the" else k
    last = min(first + 4, len(words) - 1)
    while first < last and words[first] in _PLACES:
        first += 1
    end = structures.get(first)
    return end is not None and end < len(words) and words[end] in _VERBS


_WITH_OF = word_set("with_of")
_PRONOUNS = word_set("pronouns")
_CLAUSE_VERBS = word_set("clause_verbs")


def _new_clause(words: Sequence[str], k: int, structures: Mapping[int, int]) -> bool:
    """Whether what joins at k joins clauses, and not the parts of a list."""
    after = k + 1
    if words[k] == "," and words[after : after + 1] in (["and"], ["with"], ["or"], ["nor"]):
        after += 1
    first, second = words[after] if after < len(words) else "", words[after + 1] if after + 1 < len(words) else ""
    if not first or words[after - 1] in ("or", "nor") or words[k - 1] in _PLACES:
        return False
    if words[k] == "with" and words[k - 1] in _WITH_OF:
        return False
    if first in ("a", "an"):
        return True
    if words[after - 1] == "with":
        return False
    if first == "there" and second in _CLAUSE_VERBS:
        return True
    if first in _PRONOUNS and words[k] != "(":
        return True
    if first in ("the", "its") and _has_verb(words, after) and second != "other" and second not in _PLACES:
        return True
    if _subject_at(words, after, structures):
        return True
    return first == "the" and second in ("left", "right") and any(word in _BE for word in words[after + 2 : after + 5])


def _has_verb(words: Sequence[str], k: int) -> bool:
    """Whether the part from k on has a verb of its own."""
    for word in words[k : k + 14]:
        if word in (";", ","):
            return False
        if word in _CLAUSE_VERBS:
            return True
    return False
