"""How a finding has changed since an earlier film."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import pairwise
from typing import cast

from medinterp.report.clauses import Sentence
from medinterp.report.lexicon import lexicon
from medinterp.report.tables import word_set
from medinterp.types import FindingChange

_LISTED = word_set("changed_list")
_NOT_LEADING = word_set("not_leading")
_WHICH = word_set("which")
_HAD_VERB = word_set("had_verb")
_SEPARATORS = frozenset((",", "and", "with", "but", "or"))
_RANK = {"removed": 0, "resolved": 1, "larger": 2, "smaller": 2, "new": 3, "unchanged": 4}


def changes_of(sentence: Sentence) -> list[FindingChange | None]:
    """The change of each of sentence.names, None where none is told."""
    found: dict[int, str] = {}
    inside = {k for name in sentence.names for k in range(name.start, name.end)}
    cues = [cue for cue in lexicon().changes.find(sentence.tokens) if cue.start not in inside]
    cues = [cue for cue in cues if not (_ADVISED & set(sentence.words[max(0, cue.start - 3) : cue.end + 2]))]
    cues = [cue for cue in cues if not _compares_sides(sentence, cue.value, cue.end)]
    starts = [cue.start for cue in cues]
    last: int | None = None
    for clause, names in sentence.clauses:
        if not names and clause[0] and last is not None:
            # "The heart is enlarged but unchanged"
            for cue in cues[bisect_left(starts, clause[0]) : bisect_left(starts, clause[1])]:
                if cue.start <= clause[0] + 3:
                    found.setdefault(last, cue.value)
        last = names[-1] if names else None
        for cue in cues[bisect_left(starts, clause[0]) : bisect_left(starts, clause[1])] if names else ():
            for k in _reached(sentence, names, cue.start, cue.end):
                if k not in found or _RANK[cue.value] < _RANK[found[k]]:
                    found[k] = cue.value
    for k, name in enumerate(sentence.names):
        if {"extubated", "extubation"} & set(sentence.words[name.start : name.end]):
            found[k] = "removed"
        if {"remain", "stable", "unchanged", "persist"} & set(sentence.words[name.start : name.end]):
            found.setdefault(k, "unchanged")
        if found.get(k) == "resolved" and lexicon().terms[name.value].device:
            found[k] = "removed"
    return [cast("FindingChange | None", found.get(k)) for k in range(len(sentence.names))]


_ADVISED = frozenset(("should", "must", "recommend", "recommended", "advised"))


def _compares_sides(sentence: Sentence, change: str, end: int) -> bool:
    """ "Worse on the right" compares places, not films."""
    after = sentence.words[end : end + 3]
    sides = {"left", "right", "base", "apex"}
    return change == "larger" and after[:1] in (["on"], ["at"], ["in"]) and not sides.isdisjoint(after)


def _reached(sentence: Sentence, names: Sequence[int], start: int, end: int) -> list[int]:
    split = bisect_left(names, start, key=lambda k: sentence.names[k].end - 1)
    before, behind = names[:split], names[split:]
    while behind and sentence.names[behind[0]].start < end:
        behind = behind[1:]
    told = sentence.base(start) in _HAD_VERB or sentence.base(start - 1) in _HAD_VERB
    told |= bool(before) and sentence.names[before[-1]].end == start  # "edema improved and effusions increased"
    if told and before and _follows(sentence, sentence.names[before[-1]].end, start):
        behind = behind[:0]  # "the effusion has increased and edema has improved"
    if behind and _leads(sentence, end, sentence.names[behind[0]].start):
        increased = sentence.words[start:end] in (["increased"], ["decreased"])
        if increased and lexicon().terms[sentence.names[behind[0]].value].looks:
            return []
        reached = [behind[0]]
        for first, second in pairwise(behind):
            words = sentence.words[sentence.names[first].end : sentence.names[second].start]
            if not (
                set(words) & {"and", "or", "/", ","}
                and all(w in ("and", "or", "/", ",", "left", "right", "the") for w in words)
            ):
                break
            reached.append(second)
        return reached
    if before and _follows(sentence, sentence.names[before[-1]].end, start):
        reached = [before[-1]]
        for k in reversed(before[:-1]):
            words = sentence.words[sentence.names[k].end : sentence.names[reached[-1]].start]
            if not ({"and", "or", ",", "with"} & set(words) and all(word in _LISTED for word in words)):
                break
            reached.append(k)
        return reached
    return []


def _leads(sentence: Sentence, start: int, stop: int) -> bool:
    """Whether a change stands before its name: "stable small left effusion", "increase in the effusion"."""
    return stop - start <= 8 and not _NOT_LEADING & set(sentence.words[start:stop])


def _follows(sentence: Sentence, start: int, stop: int) -> bool:
    """Whether a change stands behind its name: "effusion on the left is unchanged", "effusion, stable"."""
    words = list(sentence.words[start:stop])
    if "," in words:
        return set(words[len(words) - words[::-1].index(",") :]) <= _WHICH
    return "with" not in words and ("and" not in words or bool(_HAD_VERB & set(words)))
