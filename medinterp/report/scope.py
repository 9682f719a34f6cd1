"""Is a finding affirmed, hedged or denied? Cues with a direction and a reach.

NegEx (Chapman et al. 2001) and ConText (Harkema et al. 2009), with the clause's list as reach: "no A, B or C"
denies three, "no A or B, small C" denies two, and "no A seen, dense C" denies one.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from medinterp.report.clauses import Sentence, Span
from medinterp.report.lexicon import Cue, lexicon
from medinterp.report.phrases import Match
from medinterp.report.tables import word_set
from medinterp.types import FindingStatus

_VERBS = word_set("verbs")
_MARKS = word_set("marks")
_SIZES = word_set("sizes")
_SIDES = frozenset(("left", "right", "bilateral", "l", "r"))
_SEEN = word_set("seen")
_SUGGESTING = word_set("suggesting")
_OR = frozenset(("or", "nor", "and/or"))
_ALTERNATIVES = frozenset(("or", "versus", "vs", "v", "/", "over"))
_LISTED = word_set("listed")
_WEAK = frozenset(("not", "never", "against", "can not"))
_CHANGED = word_set("changed")
_PLACES = word_set("place_run")
_PREDICATES = _CHANGED | {"present", "again", "remain"}
_GENERAL = word_set("general")
_STRUCTURES = frozenset(("heart", "cardiac", "aorta", "mediastinum", "trachea", "diaphragm", "hemidiaphragm", "hilum"))
_SAID_NORMAL = frozenset(("normal", "unremarkable", "limit", "clear"))
_UNSURE = word_set("unsure")
_NONE = word_set("none")


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
        if inside:
            cues = sentence.cues[bisect_left(starts, clause[0]) : bisect_left(starts, clause[1])]
            judged |= _Clause(sentence, clause, inside, cues).judge()
    return [judged[k] for k in range(len(sentence.names))]


class _Clause:
    """One clause: its names (indices into sentence.names) and its cues."""

    def __init__(self, sentence: Sentence, clause: Span, inside: Sequence[int], cues: Sequence[Match[Cue]]) -> None:
        self.sentence = sentence
        self.start, self.end = clause
        self.indices = inside
        self.names = [sentence.names[k] for k in inside]
        self.words = sentence.words
        covered = {k for name in self.names for k in range(name.start, name.end)}
        self.cues = [cue for cue in cues if cue.start not in covered]
        self.cue_starts = [cue.start for cue in self.cues]
        self.name_starts = [name.start for name in self.names]
        self.name_ends = [name.end for name in self.names]
        self.spans = Counter((cue.start, cue.end) for cue in self.cues)
        boundaries = lexicon().boundaries.find(sentence.tokens[self.start : self.end])
        self.stops = {self.start + match.start for match in boundaries if match.value == "stop"}
        self.closing = self._closing()
        self.denied: dict[int, Span] = {}
        self.hedged: dict[int, Span] = {}

    def judge(self) -> dict[int, Judgement]:
        for cue in self.cues:
            kind, way = cue.value
            if kind == "affirm":
                continue
            reached = self._forward(cue) if way == "before" else self._backward(cue)
            if self._both(cue) and (way == "before") != self._looks_forward(cue):
                continue
            if way == "after" and cue.end - cue.start == 1 and self.sentence.base(cue.end).isalnum():
                continue  # "plaques, likely from asbestos"
            if way == "after" and self.words[cue.end - 1] == "not" and self.sentence.base(cue.end).isalnum():
                continue  # "pneumothorax has not."
            if way == "after" and not reached and self.sentence.base(cue.end) == ":":
                reached = self._listed(cue.end + 1)  # "not present: edema, effusion"
            if self.words[cue.end - 1] in ("whether", "if"):
                reached = self._asked(reached)
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
            if not all(word in _LISTED for word in self.words[position : self.names[k].start]):
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

    def _both(self, cue: Match[Cue]) -> bool:
        """Whether the same words also work to the other side ("suspected")."""
        return self.spans[cue.start, cue.end] > 1

    def _between(self, start: int, stop: int) -> list[Match[Cue]]:
        """The cues that begin in words[start:stop]."""
        return self.cues[bisect_left(self.cue_starts, start) : bisect_left(self.cue_starts, stop)]

    def _looks_forward(self, cue: Match[Cue]) -> bool:
        """Of a cue that works both ways: "suspected pneumonia", and not "pneumonia suspected."."""
        if not self.sentence.base(cue.end).isalnum():
            return False
        return self.words[cue.end - 1] == "be" or bool(self._forward(cue))

    # ------------------------------------------------------------ what follows a cue

    def _forward(self, cue: Match[Cue]) -> list[int]:
        """The names that a cue reaches which stands before them."""
        behind = range(bisect_left(self.name_starts, cue.end), len(self.names))
        nearer = bisect_left(self.cue_starts, cue.end)
        if behind and any(
            other.value == cue.value and other.start < self.name_starts[behind[0]]
            for other in self.cues[nearer : nearer + 3]
        ):
            return []  # another such cue stands nearer
        reached: list[int] = []
        closed = False
        for place, k in enumerate(behind):
            position = self.names[behind[place - 1]].end if place else cue.end
            gap = self.words[position : self.names[k].start]
            follows = self._first(cue, position, gap, k) if not place else self._next(cue, position, gap, k, closed)
            if not follows:
                break
            closed |= bool(place and (_OR | {"and"}) & set(gap))
            reached.append(k)
        return reached

    def _first(self, cue: Match[Cue], position: int, gap: Sequence[str], k: int) -> bool:
        """Whether a cue reaches the first name behind it."""
        stop = position + len(gap)
        hedge = cue.value[0] == "hedge"
        if ":" in gap or (not hedge and any(at in self.stops for at in range(position, stop))):
            return False
        others = self._between(position, stop)
        if any(c.value[0] == "affirm" or (hedge and c.value == ("deny", "before")) for c in others):
            return False
        if "with" in gap and self._marked(gap[gap.index("with") + 1 :], with_evidence=False):
            return False
        if "," in gap:
            rest = gap[len(gap) - gap[::-1].index(",") :]
            if hedge:
                return self.closing[k]
            if gap[gap.index(",") - 1] in _GENERAL and not self.closing[k]:
                return False
            if self.words[cue.start] in _WEAK or "'" in self.words[cue.start]:
                return False
            return not self._marked(rest) or (self.closing[k] and not self._strong(rest))
        return not (hedge and "with" in gap)

    def _next(self, cue: Match[Cue], position: int, gap: Sequence[str], k: int, closed: bool) -> bool:
        """Whether a cue that reached the name before position reaches the next one too."""
        stop = position + len(gap)
        seps = [
            word for word in gap if word in (",", "and", "with", "plus", "/") or word in _OR or word in _ALTERNATIVES
        ]
        hedge = cue.value[0] == "hedge"
        if ":" in gap or any(at in self.stops for at in range(position, stop)):
            return False
        if any(c.value == cue.value for c in self._between(position, stop)):
            return False  # what follows such a cue is its own
        suggests = [at for at, word in enumerate(gap) if word in _SUGGESTING]
        if suggests and not hedge:
            return "," not in gap[: suggests[0]]
        if not hedge and gap[-2:-1] and gap[-2] in ("within", "in", "around", "behind") and gap[-1] in ("the", "this"):
            return False  # "no calcification within the nodule"
        others = self._between(position, stop)
        if any(c.value[0] == "affirm" or (hedge and c.value[0] == "deny") for c in others):
            return False
        if not hedge and any(c.value == ("hedge", "before") for c in others):
            return False
        if any(word in _VERBS for word in gap) and not set(gap) & _OR:
            return False
        if any(word in _SEEN and gap[at + 1 : at + 2] == [","] and not set(gap) & _OR for at, word in enumerate(gap)):
            return False
        rest = gap[len(gap) - gap[::-1].index(seps[-1]) :] if seps else gap
        if set(seps) & _OR or "/" in seps or set(seps) & _ALTERNATIVES:
            return not (closed and "," in seps and self._marked(rest))
        if "with" in seps or "plus" in seps:
            return not hedge and not self._marked(rest)
        if "and" in seps and {"removal", "resolution"} & set(self.words[cue.start : cue.end]):
            return True
        if "and" in seps:
            return not self._marked(rest) and not self._affirmed(k)
        if "," in seps:
            if self._affirmed(k):
                return False
            if self.closing[k] or set(gap) & _OR:
                return not self._strong(rest)
            return not (closed or hedge or self._marked(rest) or self._apart(k))
        return len(gap) <= 4 and not self._marked(gap)

    def _apart(self, k: int) -> bool:
        """Whether a name behind a comma is no part of the list that is denied before it.

        A device, the state of a structure ("heart enlarged"), what is calcified, and what has a place of its own behind
        it ("atelectasis at the left base").
        """
        name = self.names[k]
        first = self.words[name.start]
        if lexicon().terms[name.value].device or first in _MARKS or first in _STRUCTURES:
            return True
        behind = self.words[name.end : name.end + 4]
        return behind[:1] in (["at"], ["in"]) and bool((_SIDES | {"base", "lobe", "apex"}) & set(behind))

    def _marked(self, words: Sequence[str], *, with_evidence: bool = True) -> bool:
        """Whether what stands before a name affirms it: a size, a number, "new"."""
        return any(word in _MARKS and (with_evidence or word != "evidence") for word in words)

    def _strong(self, words: Sequence[str]) -> bool:
        return bool(_SIZES & set(words)) and bool(_SIDES & set(words))

    def _affirmed(self, k: int) -> bool:
        """Whether a name has a predicate of its own: "and the nodule is stable", "effusion at the base unchanged"."""
        words = self.words[self.names[k].end : min(self.names[k].end + 10, self.end)]
        at = next((i for i, word in enumerate(words) if word not in _PLACES), len(words))
        if at < len(words) and words[at] in _CHANGED:
            return True
        if at == len(words) or words[at] not in ("is", "are", "has", "have", "remain"):
            return False
        return bool(_PREDICATES & set(words[at + 1 : at + 4]))

    def _closing(self) -> list[bool]:
        """For each name whether the list goes on from it to an "or": "no A, large B or C"."""
        closing = [False] * len(self.names)
        for k in range(len(self.names) - 2, -1, -1):
            gap = self.words[self.names[k].end : self.names[k + 1].start]
            told = any(word in _VERBS for word in gap)
            if set(gap) & _OR:
                closing[k] = not told
            elif "and" in gap:
                closing[k] = not self._marked(gap[gap.index("and") :])
            elif "," in gap and not told:
                closing[k] = closing[k + 1]
        return closing

    # ------------------------------------------------------------ what stands before a cue

    def _backward(self, cue: Match[Cue]) -> list[int]:
        """The names that a cue reaches which stand before it."""
        nearest = bisect_right(self.name_ends, cue.start) - 1
        if nearest < 0:
            return []
        gap = self.words[self.names[nearest].end : cue.start]
        if self._blocked(self.names[nearest].end, gap):
            return []
        reached = [nearest]
        listed = False
        for k in range(nearest - 1, -1, -1):
            between = self.words[self.names[k].end : self.names[k + 1].start]
            if not all(word in _LISTED for word in between) or "with" in between:
                break
            joins = bool(set(between) & (_OR | {"and", "/", "versus", "vs", "v", "plus"}))
            if not (joins or ("," in between and listed)):
                break
            listed = True
            reached.append(k)
        return reached

    def _blocked(self, position: int, gap: Sequence[str]) -> bool:
        """Whether something between a name and a cue behind it takes the cue for itself."""
        if any(c.value[0] == "affirm" for c in self._between(position, position + len(gap))):
            return True
        if "with" in gap or ("and" in gap and any(w in _VERBS for w in gap)):
            return True
        comma = gap.index(",") if "," in gap else None
        if comma is None:
            return False
        rest = gap[comma + 1 :]
        return bool(rest) and rest[0] not in ("which", "that", "also", "now", "though", "previously", "if")

    # ------------------------------------------------------------ the rest

    def _said_no(self) -> None:
        """ "Pneumothorax: none", "Effusion, no.", "| Edema | Absent |"."""
        for k, name in enumerate(self.names):
            position = name.end
            if self.words[position : position + 3] == ["(", "-", ")"]:
                self.denied.setdefault(k, (position, position + 3))
                continue
            while (
                position < self.end
                and (self.words[position] in _LISTED or self.words[position].isdigit())
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
        first = bisect_left(self.cue_starts, position)
        if first == len(self.cues) or self.cues[first].value[0] != "deny":
            return False
        cue = self.cues[first]
        return cue.start == position and (self.words[position] in ("no", "none") or cue.value[1] == "after")

    def _list_back(self, k: int) -> None:
        """What is listed before a name that is denied behind a colon: "Effusion or pneumothorax: none"."""
        for first in range(k - 1, -1, -1):
            between = self.words[self.names[first].end : self.names[first + 1].start]
            if not (set(between) & {"or", "and", "/", ","}) or not all(word in _LISTED for word in between):
                return
            self.denied.setdefault(first, self.denied[k])

    def _inside(self) -> None:
        """What is said within the words of a name: "the heart is not enlarged", "heart may be enlarged"."""
        for k, name in enumerate(self.names):
            words = self.words[name.start : name.end]
            if {"extubated", "extubation"} & set(words):
                self.denied.setdefault(k, (name.start, name.end))
                continue
            if {"not", "isn't", "aren't", "wasn't", "weren't"} & set(words) or ("no" in words and "longer" in words):
                self.denied.setdefault(k, (name.start, name.end))
                continue
            for at, word in enumerate(words):
                if (
                    word in _INSIDE_HEDGES
                    or (word == "normal" and words[at + 1 : at + 2] == ["to"])
                    or (word == "upper" and "limit" in words and "normal" in words)
                ):
                    self.hedged.setdefault(k, (name.start + at, name.start + at + 1))
                    break

    def _alternatives(self) -> None:
        """ "Atelectasis or infiltrate", "pneumonia versus edema": neither is certain."""
        for k in range(len(self.names) - 1):
            first, second = self.names[k], self.names[k + 1]
            gap = self.words[first.end : second.start]
            between = [at for at, word in enumerate(gap) if word in _ALTERNATIVES]
            favored = gap[-1:] == ["over"] and "favored" in gap
            if not between or not (favored or all(word in _LISTED for word in gap)):
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
                    or not all(word in _LISTED for word in words)
                    or self._marked(words)
                    or earlier in self.denied
                ):
                    break
                if lexicon().terms[self.names[earlier].value].sign:
                    break
                self.hedged.setdefault(earlier, span)

    def _unchanged(self, position: int) -> bool:
        """Whether a "no change in" stands before: "no change in the effusion or the tube" has no alternatives."""
        return any(cue.value[0] == "affirm" for cue in self._between(self.start, position)[-3:])

    def _or_else(self) -> None:
        """ "..., cardiomyopathy or pericardial effusion": an alternative that the table does not name."""
        for k, name in enumerate(self.names):
            if k in self.denied or k in self.hedged or self._unchanged(name.start):
                continue
            before = name.start
            while before > self.start and self.words[before - 1] in _LISTED and self.words[before - 1] not in _OTHER:
                before -= 1
            after = name.end
            for at, other in ((before - 1, before - 2), (after, after + 1)):
                if (
                    self.start <= min(at, other)
                    and max(at, other) < self.end
                    and self.words[at] == "or"
                    and self.words[other].isalpha()
                    and self.words[other] not in _NO_ALTERNATIVE
                ):
                    self.hedged[k] = (at, at + 1)


_OTHER = frozenset(("or", ",", "and", "/"))
_NO_ALTERNATIVE = word_set("no_alternative")
_INSIDE_HEDGES = word_set("inside_hedges")
