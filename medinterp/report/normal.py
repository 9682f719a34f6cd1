"""Normal statements: "the lungs are clear" denies what the table says of the lungs."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from medinterp.report.clauses import Sentence
from medinterp.report.lexicon import lexicon
from medinterp.report.phrases import LINKS, Match
from medinterp.report.tables import word_set

_LIST = word_set("normal_list")
_LINKED = LINKS | word_set("normal_links")
_NOT = word_set("not_normal")
_OF_ANOTHER = word_set("no_statement")
_EARLIER = frozenset(("prior", "previous", "earlier", "last"))


@dataclass(frozen=True)
class Normal:
    """A normal statement: the tokens that say so, and the findings that it denies."""

    start: int
    end: int
    names: tuple[str, ...]


def normal_statements(sentence: Sentence) -> list[Normal]:
    """The normal statements of a sentence, in order; never an absence that nobody wrote."""
    named = {k for name in sentence.names for k in range(name.start, name.end)}
    structures = [match for match in sentence.structures if match.start not in named]
    found: list[Normal] = []
    words = lexicon().normal.find(sentence.tokens, shared=True)
    starts, positions = [said.start for said in words], [structure.start for structure in structures]
    for clause, _ in sentence.clauses:
        its = structures[bisect_left(positions, clause[0]) : bisect_left(positions, clause[1])]
        for said in words[bisect_left(starts, clause[0]) : bisect_left(starts, clause[1])]:
            if said.start not in named and not _taken_back(sentence, said):
                found += _stated(sentence, said, its)
    return _merged(found)


def _taken_back(sentence: Sentence, said: Match[str]) -> bool:
    """Whether the word is denied, hedged or says something else: "not normal", "upper limits of normal", "clear of"."""
    before = set(sentence.words[max(0, said.start - 3) : said.start])
    if _OF_ANOTHER & set(sentence.words[max(0, said.start - 10) : said.start]):
        return True  # "I cannot say that the lungs are clear", "previously normal"
    if sentence.words[-1:] == ["query"] or _EARLIER & set(sentence.words[said.end : said.end + 5]):
        return True  # "Are the lungs clear?", "was normal on the prior film"
    if sentence.base(said.start - 1) == "limit" and "upper" in before:
        return True
    # "normal to mildly enlarged", "clear of infiltrates"
    return bool(_NOT & before) or sentence.base(said.end) in ("to", "of", "from")


def _stated(sentence: Sentence, said: Match[str], structures: Sequence[Match[str]]) -> list[Normal]:
    """What one normal word says: of the structures listed before it, else of those behind it."""
    split = bisect_left(structures, said.start, key=lambda structure: structure.end - 1)
    before, behind = structures[:split], structures[split:]
    subjects: list[Match[str]] = []
    position = said.start
    for structure in reversed(before):
        between = sentence.words[structure.end : position]
        allowed = _LIST if subjects else _LINKED
        if not all(word in allowed or (not subjects and word in _LIST) for word in between):
            break
        subjects.insert(0, structure)
        position = structure.start
    if not subjects or subjects[-1].end <= sentence.prefix:
        headed, subjects = subjects, []  # "Lungs: Normal vasculature" says nothing of the lungs
        position = said.end
        for structure in behind:
            if structure.start < said.end:
                continue
            between = sentence.words[position : structure.start]
            if not all(word in _LIST or word in ("appearing", "appearance", "contour", "for") for word in between):
                break
            if sentence.base(structure.end) in ("is", "are"):
                break
            subjects.append(structure)
            position = structure.end
        subjects = subjects or headed
    named = [s for s in subjects if said.value in ("all", "none", s.value)]
    if not named:
        return []
    first, last = min(named[0].start, said.start), max(named[-1].end, said.end)
    told = named if said.value != "none" else []  # "the airway is patent" is understood, and denies nothing
    names = dict.fromkeys(name for s in told for name in lexicon().denied.get(s.value, ()))
    inside = {k for structure in structures for k in range(structure.start, structure.end)}
    for k in range(first, min(last + 2, len(sentence.words))):
        if k not in inside:
            names = {name: None for name in names if name in lexicon().narrow.get(sentence.words[k], names)}
    last += sentence.base(last) == "bilaterally"
    return [Normal(_from_side(sentence, first), last, tuple(names))]


_PLACED = frozenset(("left", "right", "both", "remaining", "side", "upper", "lower", "mid", "middle"))


def _from_side(sentence: Sentence, start: int) -> int:
    """Where a statement begins with its side: "the left lung is clear"."""
    while start > sentence.prefix and sentence.words[start - 1] in _PLACED:
        start -= 1
    return start


def _merged(found: Sequence[Normal]) -> list[Normal]:
    """Statements of the same words are one."""
    merged: list[Normal] = []
    for one in sorted(found, key=lambda normal: (normal.start, -normal.end)):
        if merged and one.start < merged[-1].end:
            last = merged.pop()
            one = Normal(last.start, max(last.end, one.end), tuple(dict.fromkeys((*last.names, *one.names))))
        merged.append(one)
    return merged
