"""How far a cue reaches in its clause: over the list that follows it, or that stands before it.

The reach of NegEx (Chapman et al. 2001) and ConText (Harkema et al. 2009), made closer by the list: "no A, B or C"
denies three, "no A or B, small C" denies two, and "no A seen, dense C" denies one.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Sequence

from medinterp.report.clauses import Sentence, Span
from medinterp.report.lexicon import Cue, lexicon
from medinterp.report.phrases import Match
from medinterp.report.tables import word_set

_VERBS = word_set("verbs")
_MARKS = word_set("marks")
_SIZES = word_set("sizes")
_SIDES = frozenset(("left", "right", "bilateral", "l", "r"))
_SEEN = word_set("seen")
_SUGGESTING = word_set("suggesting")
_OF_SOMETHING = frozenset(
    ("suspicious", "concerning", "worrisome", "suggestive", "consistent", "compatible", "diagnostic")
)
_OF = frozenset(("for", "of", "with", "about"))
_OR = frozenset(("or", "nor", "and/or"))
ALTERNATIVES = frozenset(("or", "versus", "vs", "v", "/", "over"))
LISTED = word_set("listed")
"""What may stand between the names of one list."""
_WEAK = frozenset(("not", "never", "against", "can not"))
_CHANGED = word_set("changed")
_PLACES = word_set("place_run")
_PREDICATES = _CHANGED | {"present", "again", "remain"}
_GENERAL = word_set("general")
_INCLUDING = word_set("including")
_STRUCTURES = frozenset(("heart", "cardiac", "aorta", "mediastinum", "trachea", "diaphragm", "hemidiaphragm", "hilum"))


class Clause:
    """One clause of a sentence: its names (indices into sentence.names), its cues, and what each cue reaches."""

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

    def both_ways(self, cue: Match[Cue]) -> bool:
        """Whether the same words also work to the other side ("suspected")."""
        return self.spans[cue.start, cue.end] > 1

    def between(self, start: int, stop: int) -> list[Match[Cue]]:
        """The cues that begin in words[start:stop]."""
        return self.cues[bisect_left(self.cue_starts, start) : bisect_left(self.cue_starts, stop)]

    def looks_forward(self, cue: Match[Cue]) -> bool:
        """Of a cue that works both ways: "suspected pneumonia", and not "pneumonia suspected."."""
        if self.ends(cue.end) or self.words[cue.end] in ("based", "on", "in", "by", "at", "given"):
            return False
        return self.words[cue.end - 1] == "be" or bool(self.forward(cue))

    def ends(self, position: int) -> bool:
        """Whether the clause, or its part before a comma, ends there."""
        return position >= self.end or not self.words[position].isalnum()

    def forward(self, cue: Match[Cue]) -> list[int]:
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
        others = self.between(position, stop)
        if any(c.value[0] == "affirm" or (hedge and c.value == ("deny", "before")) for c in others):
            return False
        if "with" in gap and self.marked(gap[gap.index("with") + 1 :], with_evidence=False):
            return False
        if "," in gap:
            rest = gap[len(gap) - gap[::-1].index(",") :]
            if hedge:
                return self.closing[k]
            if gap[gap.index(",") - 1] in _GENERAL and not self.closing[k]:
                return bool(_INCLUDING & set(gap))
            if self.words[cue.start] in _WEAK or "'" in self.words[cue.start]:
                return False
            return not self.marked(rest) or (self.closing[k] and not self._strong(rest))
        return not (hedge and "with" in gap)

    def _next(self, cue: Match[Cue], position: int, gap: Sequence[str], k: int, closed: bool) -> bool:
        """Whether a cue that reached the name before position reaches the next one too."""
        stop = position + len(gap)
        seps = [
            word for word in gap if word in (",", "and", "with", "plus", "/") or word in _OR or word in ALTERNATIVES
        ]
        hedge = cue.value[0] == "hedge"
        if ":" in gap or "+" in gap or any(at in self.stops for at in range(position, stop)):
            return False
        if any(c.value == cue.value for c in self.between(position, stop)):
            return False  # what follows such a cue is its own
        # "opacity suggestive of pneumonia", but not "effusion or suspicious nodule"
        suggests = [
            at
            for at, word in enumerate(gap)
            if word in _SUGGESTING and (word not in _OF_SOMETHING or not _OF.isdisjoint(gap[at + 1 : at + 2]))
        ]
        if suggests and not hedge:
            return "," not in gap[: suggests[0]]
        if not hedge and gap[-2:-1] and gap[-2] in ("within", "in", "around", "behind") and gap[-1] in ("the", "this"):
            return False  # "no calcification within the nodule"
        others = self.between(position, stop)
        if any(c.value[0] == "affirm" or (hedge and c.value[0] == "deny") for c in others):
            return False
        if not hedge and any(c.value == ("hedge", "before") for c in others):
            return False
        if any(word in _VERBS for word in gap) and not set(gap) & _OR:
            return False
        if any(word in _SEEN and gap[at + 1 : at + 2] == [","] and not set(gap) & _OR for at, word in enumerate(gap)):
            return False
        rest = gap[len(gap) - gap[::-1].index(seps[-1]) :] if seps else gap
        if set(seps) & _OR or "/" in seps or set(seps) & ALTERNATIVES:
            return not (closed and "," in seps and self.marked(rest))
        if "with" in seps or "plus" in seps:
            return not hedge and not self.marked(rest)
        if "and" in seps and {"removal", "resolution"} & set(self.words[cue.start : cue.end]):
            return not self.marked([word for word in rest if word not in _SIDES])
        if "and" in seps:
            return not self.marked(rest) and not self._affirmed(k)
        if "," in seps:
            if self._affirmed(k):
                return False
            if self.closing[k] or set(gap) & _OR:
                return not self._strong(rest)
            listing = "include" in self.words[cue.start : cue.end]
            return not (closed or (hedge and not listing) or self.marked(rest) or self._apart(k))
        return len(gap) <= 4 and not self.marked(gap)

    def _apart(self, k: int) -> bool:
        """Whether a name behind a comma is no part of the list that is denied before it.

        A device, the state of a structure ("heart enlarged"), what is calcified, and what has a place of its own behind
        it ("atelectasis at the left base").
        """
        name = self.names[k]
        first = self.words[name.start]
        term = lexicon().terms[name.value]
        if term.device or term.chronic or first in _MARKS or first in _STRUCTURES:
            return True
        behind = self.words[name.end : name.end + 4]
        placed = behind[:1] in (["at"], ["in"]) and bool((_SIDES | {"base", "lobe", "apex"}) & set(behind))
        return placed and term.usual

    def marked(self, words: Sequence[str], *, with_evidence: bool = True) -> bool:
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
                closing[k] = not self.marked(gap[gap.index("and") :])
            elif "," in gap and not told:
                closing[k] = closing[k + 1]
        return closing

    def backward(self, cue: Match[Cue]) -> list[int]:
        """The names that a cue reaches which stand before it."""
        nearest = bisect_right(self.name_ends, cue.start) - 1
        if nearest < 0:
            return []
        gap = self.words[self.names[nearest].end : cue.start]
        if self._blocked(self.names[nearest].end, gap):
            return []
        reached = [nearest]
        listed = self.words[cue.start] in ("are", "were", "have")  # "A, B are not seen"
        for k in range(nearest - 1, -1, -1):
            between = self.words[self.names[k].end : self.names[k + 1].start]
            if not all(word in LISTED for word in between) or "with" in between:
                break
            joins = bool(set(between) & (_OR | {"and", "/", "versus", "vs", "v", "plus"}))
            if not (joins or ("," in between and listed)):
                break
            listed = True
            reached.append(k)
        return reached

    def _blocked(self, position: int, gap: Sequence[str]) -> bool:
        """Whether something between a name and a cue behind it takes the cue for itself."""
        if any(c.value[0] == "affirm" for c in self.between(position, position + len(gap))):
            return True
        if "with" in gap or ("and" in gap and any(w in _VERBS for w in gap)):
            return True
        comma = gap.index(",") if "," in gap else None
        if comma is None:
            return False
        rest = gap[comma + 1 :]
        return bool(rest) and rest[0] not in ("which", "that", "also", "now", "though", "previously", "if")
