"""Is a finding affirmed, hedged or denied? Cues with a direction and a reach (reach.py)."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from medinterp.report.clauses import Sentence, Span
from medinterp.report.lexicon import Cue, lexicon
from medinterp.report.phrases import Match
from medinterp.report.reach import ALTERNATIVES, LISTED, Clause
from medinterp.report.tables import word_set
from medinterp.types import FindingStatus

_GOES_ON = frozenset(("without", "since", "in", "from", "after", "and", "with"))
_SAID_NORMAL = frozenset(("normal", "unremarkable", "limit", "clear"))
_UNSURE = word_set("unsure")
_NONE = word_set("none")
_OTHER = frozenset(("or", ",", "and", "/"))
_NO_ALTERNATIVE = word_set("no_alternative")
_INSIDE_HEDGES = word_set("inside_hedges")


@dataclass(frozen=True)
class Judgement:
    """The status of a finding; hedge: the tokens that hedge it."""

    status: FindingStatus
    hedge: Span | None = None


def judge(sentence: Sentence) -> list[Judgement]:
    """One judgement for each of sentence.names."""
    judged: dict[int, Judgement] = {}
    starts = [cue.start for cue in sentence.cues]
    for clause, inside in sentence.clauses:
        cues = sentence.cues[bisect_left(starts, clause[0]) : bisect_left(starts, clause[1])]
        if inside:
            judged |= _Judge(sentence, clause, inside, cues).judge()
            continue
        last = len(judged) - 1
        for cue in cues:
            # "Pneumothorax is unlikely but cannot be excluded"
            if judged and cue.value == ("hedge", "after") and _EXCLUDING & set(sentence.words[cue.start : cue.end]):
                judged[last] = Judgement("uncertain", (cue.start, cue.end))
    return [judged[k] for k in range(len(sentence.names))]


_EXCLUDING = frozenset(("exclude", "excluded", "ruled", "rule"))


class _Judge(Clause):
    """A clause, and what is denied and what is hedged in it so far, each with the tokens that do so."""

    def __init__(self, sentence: Sentence, clause: Span, inside: Sequence[int], cues: Sequence[Match[Cue]]) -> None:
        super().__init__(sentence, clause, inside, cues)
        self.denied: dict[int, Span] = {}
        self.hedged: dict[int, Span] = {}

    def judge(self) -> dict[int, Judgement]:
        for cue in self.cues:
            kind, way = cue.value
            if kind == "affirm" or (self.sentence.base(cue.start - 1) == "(" and self.sentence.base(cue.end) == ")"):
                continue
            reached = self.forward(cue) if way == "before" else self.backward(cue)
            if self.both_ways(cue) and (way == "before") != self.looks_forward(cue):
                continue
            if (
                way == "after"
                and cue.end - cue.start == 1
                and not self.ends(cue.end)
                and self.words[cue.end] not in _GOES_ON
            ):
                continue  # "plaques, likely from asbestos"
            if way == "after" and self.words[cue.end - 1] == "not" and not self.ends(cue.end):
                continue  # "pneumothorax has not."
            if way == "after" and not reached and self.sentence.base(cue.end) == ":":
                reached = self._listed(cue.end + 1)  # "not present: edema, effusion"
            if self.words[cue.end - 1] in ("whether", "if"):
                reached = self._asked(reached)
            if way == "after" and reached and "tip" in self.words[self.names[reached[0]].end : cue.start]:
                reached = [k for k in reached if not lexicon().terms[self.names[k].value].device]  # the tip is not seen
            marks = self.denied if kind == "deny" else self.hedged
            if self.words[cue.end - 1] in _SAID_NORMAL and way == "after":
                reached = [k for k in reached if not lexicon().terms[self.names[k].value].device]
            for k in reached:
                marks.setdefault(k, (cue.start, cue.end))
        self._said_no()
        self._inside()
        self._alternatives()
        self._or_else()
        return {index: self._status(k) for k, index in enumerate(self.indices)}

    def _listed(self, position: int) -> list[int]:
        """The names of the list that begins at position."""
        first = bisect_left(self.name_starts, position)
        reached: list[int] = []
        for k in range(first, len(self.names)):
            if not all(word in LISTED for word in self.words[position : self.names[k].start]):
                break
            reached.append(k)
            position = self.names[k].end
        return reached

    def _asked(self, reached: list[int]) -> list[int]:
        """Of "whether the opacity is pneumonia" the pneumonia."""
        if not reached or reached[0] + 1 >= len(self.names):
            return reached
        k = reached[0]
        gap = self.words[self.names[k].end : self.names[k + 1].start]
        return [k + 1] if {"is", "are", "represent"} & set(gap) else reached

    def _status(self, k: int) -> Judgement:
        if k in self.denied:
            return Judgement("absent")
        if k in self.hedged:
            return Judgement("uncertain", self.hedged[k])
        return Judgement("present")

    def _said_no(self) -> None:
        """ "Pneumothorax: none", "Effusion, no.", "| Edema | Absent |"."""
        for k, name in enumerate(self.names):
            position = name.end
            said = self.words[position : position + 3]
            if said[:1] == ["("] and said[2:] == [")"] and (said[1] == "-" or said[1] in _NONE):
                self.denied.setdefault(k, (position, position + 3))  # "pneumothorax (-)", "effusion (no)"
                continue
            if said[:2] == ["-", "ve"] or (said[:1] in (["neg"], ["negative"]) and self.ends(position + 1)):
                self.denied.setdefault(k, (position, position + 1))
                continue
            while (
                position < self.end
                and (self.words[position] in LISTED or self.words[position].isdigit())
                and self.words[position] not in (",", "-")
            ):
                position += 1
            if position + 1 >= self.end or self.words[position] not in (":", ",", "|", "-", "\u2013", "\u2014", "="):
                continue
            sign = self.words[position]
            position += 1
            while position < self.end and self.words[position] in ("|", ":"):
                position += 1
            word, after = self.sentence.base(position), self.sentence.base(position + 1)
            if (
                word in ("no", "not", "without", "normal", "unremarkable")
                and sign in (",", "-", "\u2013", "\u2014")
                and (after.isalnum() or word in ("normal", "unremarkable"))
            ):
                continue
            if word == "without" or (word == "negative" and after == "for"):
                continue
            if sign == ":" and self._denied_behind(position):
                self.denied.setdefault(k, (position, position + 1))
                self._list_back(k)
            if word in _UNSURE and sign != ",":
                self.hedged.setdefault(k, (position, position + 1))
            if (
                word in _NONE
                and after not in ("on", "in", "at", "-", "only", "definite")
                and not (word == "no" and after.isalnum() and after not in ("evidence", "seen", "visible"))
            ):
                self.denied.setdefault(k, (position, position + 1))
                self._list_back(k)

    def _denied_behind(self, position: int) -> bool:
        """Whether what stands behind a label denies it: "Pneumothorax: There is no evidence of this"."""
        if self.words[position : position + 2] in (["there", "is"], ["there", "are"]):
            position += 2
        if position < self.end and self.words[position] in _NONE and self.ends(position + 1):
            return True
        first = bisect_left(self.cue_starts, position)
        if first == len(self.cues) or self.cues[first].value[0] != "deny":
            return False
        cue = self.cues[first]
        return cue.start == position and (self.words[position] in ("no", "none") or cue.value[1] == "after")

    def _list_back(self, k: int) -> None:
        """What is listed before a name that is denied behind a colon: "Effusion or pneumothorax: none"."""
        for first in range(k - 1, -1, -1):
            between = self.words[self.names[first].end : self.names[first + 1].start]
            if not (set(between) & {"or", "and", "/", ","}) or not all(word in LISTED for word in between):
                return
            self.denied.setdefault(first, self.denied[k])

    def _inside(self) -> None:
        """What is said within the words of a name: "the heart is not enlarged", "heart may be enlarged"."""
        for k, name in enumerate(self.names):
            words = self.words[name.start : name.end]
            before = self.words[name.start - 1] if name.start > self.start else ""
            stated = {"is", "are", "has"} & set(words)  # "previously normal heart size is now increased"
            if before in ("normal", "physiologic") and not stated and not lexicon().terms[name.value].device:
                self.denied.setdefault(k, (name.start - 1, name.start))
                continue
            if {"extubated", "extubation"} & set(words):
                self.denied.setdefault(k, (name.start, name.end))
                continue
            if {"not", "isn't", "aren't", "wasn't", "weren't", "doesn't", "don't"} & set(words) or (
                "no" in words and "longer" in words
            ):
                self.denied.setdefault(k, (name.start, name.end))
                continue
            for at, word in enumerate(words):
                if (
                    word in _INSIDE_HEDGES
                    or (word == "normal" and words[at + 1 : at + 2] == ["to"])
                    or (word == "upper" and "normal" in words)
                ):
                    self.hedged.setdefault(k, (name.start + at, name.start + at + 1))
                    break

    def _alternatives(self) -> None:
        """ "Atelectasis or infiltrate", "pneumonia versus edema": neither is certain."""
        for k in range(len(self.names) - 1):
            first, second = self.names[k], self.names[k + 1]
            gap = self.words[first.end : second.start]
            between = [at for at, word in enumerate(gap) if word in ALTERNATIVES]
            favored = gap[-1:] == ["over"] and "favored" in gap
            if not between or not (favored or all(word in LISTED for word in gap)):
                continue
            if k in self.denied or k + 1 in self.denied or self._unchanged(first.start):
                continue
            span = (first.end + between[0], first.end + between[0] + 1)
            for each in (k, k + 1):
                self.hedged.setdefault(each, span)
            for earlier in range(k - 1, -1, -1) if gap[between[0]] == "or" else ():
                words = self.words[self.names[earlier].end : self.names[earlier + 1].start]
                if (
                    "," not in words
                    or not all(word in LISTED for word in words)
                    or self.marked(words)
                    or earlier in self.denied
                ):
                    break
                if lexicon().terms[self.names[earlier].value].sign:
                    break
                self.hedged.setdefault(earlier, span)

    def _unchanged(self, position: int) -> bool:
        """Whether a "no change in" stands before: "no change in the effusion or the tube" has no alternatives."""
        return any(cue.value[0] == "affirm" for cue in self.between(self.start, position)[-3:])

    def _or_else(self) -> None:
        """ "..., cardiomyopathy or pericardial effusion": an alternative that the table does not name."""
        for k, name in enumerate(self.names):
            if k in self.denied or k in self.hedged or self._unchanged(name.start):
                continue
            before = name.start
            while before > self.start and self.words[before - 1] in LISTED and self.words[before - 1] not in _OTHER:
                before -= 1
            after = name.end
            for at, other in ((before - 1, before - 2), (after, after + 1)):
                if (
                    self.start <= min(at, other)
                    and max(at, other) < self.end
                    and self.words[at] in ("or", "versus", "vs")
                    and self.words[other].isalpha()
                    and self.words[other] not in _NO_ALTERNATIVE
                ):
                    self.hedged[k] = (at, at + 1)
