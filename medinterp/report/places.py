"""Where a finding is: its side and its zones, from its own part of the clause, its list, or its heading."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from medinterp.report.clauses import Sentence, Span
from medinterp.report.lexicon import lexicon
from medinterp.report.normal import normal_statements
from medinterp.report.tables import word_set

_GLUE = word_set("glue")
_SEPARATORS = frozenset(
    (
        ",",
        "and",
        "or",
        "with",
        "plus",
        "above",
        "below",
        "versus",
        "vs",
        "/",
        "but",
        "(",
        ")",
        "without",
        "no",
        "following",
        "after",
    )
)
_IMPLYING = word_set("implying")
_AT = word_set("at")
_NEW_SUBJECT = frozenset(("with", "without", ";", "but", "no", "there", "not"))
_TIP = re.compile(r"^(?:its |it |the |tube |et |endotracheal )*tip ")
_LEVEL = (
    r"(?P<high>high(?: lying| riding)?|upper|too high)|(?P<mid>mid(?:dle)?|midtrachea)|"
    r"(?P<low>low(?: lying)?|lower|too deep)"
)
_LEVELS = (
    re.compile(rf"\btip\b[^.;]*?\b(?:{_LEVEL})\b"),
    re.compile(rf"\b(?:{_LEVEL}) (?:tip|position|(?:endotracheal |et )?tube)\b"),
    re.compile(rf"\btube\b[^.;]*?\b(?:{_LEVEL})(?:\b| trachea)"),
)


@dataclass(frozen=True)
class Place:
    """side: "left", "right", "bilateral" or None; zones in the order told."""

    side: str | None = None
    zones: tuple[str, ...] = ()


def places_of(sentence: Sentence, absent: Sequence[bool], following: Sentence | None = None) -> list[Place]:
    """The place of each of sentence.names.

    absent: whether it is denied: what is there shares no place with what is not.
    following: the next sentence, which may tell of a tube's tip.
    """
    normal = {
        k for statement in normal_statements(sentence) if statement.names for k in range(statement.start, statement.end)
    }
    words = _Words(sentence, normal)
    found: list[Place] = [Place()] * len(sentence.names)
    for number, (clause, inside) in enumerate(sentence.clauses):
        if not inside:
            continue
        regions = _regions(sentence, _led(sentence, number), inside)
        own = [_own(sentence, words, k, region, absent[k]) for k, region in zip(inside, regions, strict=True)]
        behind = [
            _own(sentence, words, k, (min(sentence.names[k].end, region[1]), region[1]), absent[k])
            for k, region in zip(inside, regions, strict=True)
        ]
        shared = _share(sentence, inside, absent, own, behind)
        first = inside[0]
        goes_on = sentence.base(clause[0]) == "with" and first > 0 and shared[0].side is None
        if goes_on and not (_keeps(sentence, first) or _keeps(sentence, first - 1)):
            before = found[first - 1]  # "infiltrate with a small effusion", "consolidation with a cavity"
            part = lexicon().terms[sentence.names[first].value].part
            shared[0] = Place(before.side, shared[0].zones or (before.zones if part else ()))
        if number and sentence.base(clause[0]) in ("except", "apart", "other", "aside"):
            # "The left lung is clear except for basilar atelectasis"
            start, stop = sentence.clauses[number - 1][0]
            sides = {"left", "right"} & set(sentence.words[start:stop])
            if len(sides) == 1:
                shared = [Place(one.side or next(iter(sides)), one.zones) for one in shared]
        for k, place, region in zip(inside, shared, regions, strict=True):
            found[k] = _fitting(sentence, k, place, region, following)
    heading = words.heading()
    return [_under(place, heading, sentence.names[k].value) for k, place in enumerate(found)]


class _Words:
    """The words of place in a sentence; those that put nothing on a side are left out, and normal statements."""

    def __init__(self, sentence: Sentence, normal: set[int]) -> None:
        self._sentence = sentence
        self._prefix = sentence.prefix
        matches = lexicon().places.every(sentence.tokens)
        masked = set(normal)
        sides: dict[int, list[str]] = {}
        zones: dict[int, list[str]] = {}
        for _, match in matches:
            kind, value = match.value
            span = range(match.start, match.end)
            if kind == "mask":
                masked |= set(span)
            elif kind == "side":
                sides.setdefault(match.start, []).append(value)
            elif value == "not_a_zone":
                for k in span:
                    zones[k] = ["masked"]
        for _, match in matches:
            kind, value = match.value
            if kind == "zone" and value != "not_a_zone" and zones.get(match.start) != ["masked"]:
                zones.setdefault(match.start, []).append(value)
        self._sides = {k: values for k, values in sides.items() if k not in masked}
        self._zones = {k: values for k, values in zones.items() if values != ["masked"] and k not in masked}

    def place(self, region: Span, *, pairs: bool = True) -> Place:
        """The place that the words of a region tell; pairs: "the bases" are on both sides."""
        tokens = range(*region)
        sides = {side for k in tokens for side in self._sides.get(k, ())}
        if not sides and pairs and any(self._is_pair(k) for k in tokens):
            sides = {"bilateral"}
        side = None
        if sides:
            side = next(iter(sides)) if len(sides) == 1 else "bilateral"
        zones: list[str] = []
        for k in tokens:
            zones += [zone for zone in dict.fromkeys(self._zones.get(k, ())) if zone not in zones]
        if "upper" in zones and "apical" in zones:
            zones.remove("upper") if zones.index("apical") < zones.index("upper") else zones.remove("apical")
        return Place(side, tuple(zones))

    def _is_pair(self, k: int) -> bool:
        token = self._sentence.tokens[k]
        return token.base in ("base", "apex", "hilum", "angle", "sulcus", "hemidiaphragm") and token.plural

    def heading(self) -> Place:
        return self.place((0, self._prefix), pairs=False)


def _led(sentence: Sentence, number: int) -> Span:
    """A clause, with a place that stands before it: "In the right upper lobe, there is a nodule"."""
    clause = sentence.clauses[number][0]
    if number:
        before, names = sentence.clauses[number - 1]
        if not names and sentence.base(max(before[0], sentence.prefix)) in _LEADING and before[1] - before[0] <= 12:
            return before[0], clause[1]
    return clause


_LEADING = frozenset(("in", "on", "at", "within", "over"))


def _regions(sentence: Sentence, clause: Span, inside: Sequence[int]) -> list[Span]:
    """Each name's own part of the clause: cut at the last separator before the next name."""
    first = max(clause[0], sentence.prefix)
    without = [k for k in range(first, sentence.names[inside[0]].start) if sentence.base(k) == "without"]
    cuts = [without[-1] if without else first]
    for first, second in pairwise(inside):
        start, stop = sentence.names[first].end, sentence.names[second].start
        separators = [
            k for k in range(start, stop) if sentence.base(k) in _SEPARATORS and not _joins_places(sentence, k)
        ]
        cuts.append(separators[-1] if separators else _behind(sentence, start, stop))
    cuts.append(clause[1])
    return list(pairwise(cuts))[: len(inside)]


def _behind(sentence: Sentence, start: int, stop: int) -> int:
    """Without a separator the words straight before a name are its own: "effusion, left basilar atelectasis"."""
    k = stop
    while k > start and sentence.base(k - 1) in _BEFORE:
        k -= 1
    return k


_BEFORE = word_set("place_before")
_PLACE = word_set("place_words")


def _joins_places(sentence: Sentence, k: int) -> bool:
    """Whether an "and" stands between two places: "the left and right lower zones"."""
    if sentence.base(k) not in ("and", "or", "/", ","):
        return False
    after = k + 1
    while sentence.base(after) in ("the", "at", "in", "on", "and"):
        after += 1
    before = k - 1
    while sentence.base(before) in ("lobe", "zone", "lung", "base", "hemithorax", "field", "side", "greater", "than"):
        before -= 1
    if not (sentence.base(before) in _PLACE and sentence.base(after) in _PLACE):
        return False
    # "left effusion and right atelectasis" joins findings, "left and right effusion" places.
    if sentence.base(k) != "," and sentence.base(k - 1) in _PLACE:
        return True
    return not _leads_to_name(sentence, after)


def _leads_to_name(sentence: Sentence, k: int) -> bool:
    starts = {name.start for name in sentence.names}
    for position in range(k, min(k + 5, len(sentence.tokens))):
        if position in starts:
            return True
        if sentence.base(position) not in _PLACE and sentence.base(position) not in _BEFORE:
            return False
    return False


def _share(
    sentence: Sentence, inside: Sequence[int], absent: Sequence[bool], own: Sequence[Place], behind: Sequence[Place]
) -> list[Place]:
    """In a list, a finding without a place of its own has that of the one before, else behind it.

    What an opacity may represent lies where the opacity does.
    """
    shared = list(own)
    words = [
        sentence.words[sentence.names[first].end : sentence.names[second].start] for first, second in pairwise(inside)
    ]
    pairs = [
        not (_keeps(sentence, first) or _keeps(sentence, second))
        and (
            absent[first] == absent[second]
            or bool({"rather", "instead", "over"} & {*gap})
            or sentence.names[second].value == "nipple shadow"
        )
        for (first, second), gap in zip(pairwise(inside), words, strict=True)
    ]
    listed = [
        pair and all(word in _GLUE or word in _PLACE or ("with" in gap and word in _AT) for word in gap)
        for pair, gap in zip(pairs, words, strict=True)
    ]
    implied = [pair and implies(gap) for pair, gap in zip(pairs, words, strict=True)]
    for index in range(len(shared) - 2, -1, -1):
        if shared[index] == Place() and listed[index]:
            # "effusion and atelectasis on the left", but not "effusion and left atelectasis"
            later = behind[index + 1] if own[index + 1] != Place() else shared[index + 1]
            shared[index] = later
    for index in range(1, len(shared)):
        before, gap = shared[index - 1], words[index - 1]
        if not (listed[index - 1] or implied[index - 1]):
            continue
        if shared[index] == Place():
            whole = (
                implied[index - 1]
                or lexicon().terms[sentence.names[inside[index]].value].part
                or set(gap) <= {"and", "or", "/", "versus", "vs", ","}
                or bool({"or", "versus", "vs"} & set(gap))
            )
            shared[index] = before if whole else Place(before.side)
        elif shared[index].side is None:
            shared[index] = Place(before.side, shared[index].zones)
    for index in range(len(shared) - 1):
        here, there = shared[index], shared[index + 1]
        if pairs[index] and here.side is None and here.zones and words[index] in (["and"], ["or"], ["/"]):
            # "retrocardiac atelectasis or infiltrate on the left"
            shared[index] = Place(there.side, here.zones)
            shared[index + 1] = Place(there.side, there.zones or here.zones)
    return shared


def implies(words: Sequence[str]) -> bool:
    """Whether the words between two findings make the second an explanation of the first."""
    plain = [word for k, word in enumerate(words) if not (word == "with" and k and words[k - 1] in _IMPLYING)]
    if _NEW_SUBJECT & set(plain):
        return False
    return bool(_IMPLYING & set(plain)) or _EQUATES.search(" ".join(words)) is not None


_EQUATES = re.compile(r"\b(?:is|are|was|were|be)(?: an?)?$")


def _keeps(sentence: Sentence, k: int) -> bool:
    """Whether a finding has a place of its own: a device, the heart, a shift."""
    return lexicon().terms[sentence.names[k].value].apart


def _own(sentence: Sentence, words: _Words, k: int, region: Span, absent: bool) -> Place:
    """What the words of a region say of where a finding is; a device is on the side that is named before it."""
    name = sentence.names[k]
    term = lexicon().terms[name.value]
    place = words.place(region, pairs=not absent)
    if term.device:
        place = Place(words.place((region[0], max(region[0], name.end))).side or place.side, place.zones)
    return place if term.zoned or term.name == "tube" else Place(place.side)


def _fitting(sentence: Sentence, k: int, place: Place, region: Span, following: Sentence | None) -> Place:
    """What of a place says something of the finding; of a tube, its tip's level."""
    name = sentence.names[k]
    term = lexicon().terms[name.value]
    if name.value == "tube":
        level = _tip_level(sentence, region)
        if level is None and following is not None and _TIP.match(" ".join(t.base for t in following.tokens) + " "):
            level = _tip_level(following, (0, len(following.tokens)))
        return Place(place.side, (level,) if level else ())
    return Place(place.side if term.sided else None, place.zones if term.zoned else ())


def _tip_level(sentence: Sentence, region: Span) -> str | None:
    part = " ".join(sentence.base(k) for k in range(*region))
    for pattern in _LEVELS:
        match = pattern.search(part)
        if match:
            return next(name for name, value in match.groupdict().items() if value)
    return None


def _under(place: Place, heading: Place, name: str) -> Place:
    """A heading's side and zone ("Right lung:") hold for what stands under it and has none."""
    term = lexicon().terms[name]
    if name == "tube":
        return place
    side = place.side or (heading.side if term.sided else None)
    return Place(side, place.zones or (heading.zones if term.zoned else ()))
