"""Findings that a report mentions: named, affirmed or denied, with side and zone."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from medinterp.report.clauses import Span, clauses, sentences
from medinterp.report.lexicon import NOT_NAMING, OTHER_SIDE, SIDES, TERMS, TIP_LEVELS, ZONES
from medinterp.report.negation import is_denied
from medinterp.report.sections import find_sections, section_at
from medinterp.report.words import find_words
from medinterp.types import Finding, Section, Word

_GLUE = re.compile(
    r"[\s,/]*(?:(?:and|or|with|plus|a|an|the|any|adjacent|associated|overlying|small|large|moderate|mild|new|focal|"
    r"minimal|some|compressive|passive|linear|band|subsegmental)[\s,/]*)*",
    re.IGNORECASE,
)
_SEPARATOR = re.compile(
    r",(?:\s*(?:and|or|with)\b)?|\b(?:and|or|with|plus|above|below|versus)\b|/", re.IGNORECASE
)
_PLACE = r"(?:left|right|upper|mid(?:dle)?|lower)"
_PLACES = re.compile(rf"\b{_PLACE}\b(?:\s+(?:and|or|to)\s+(?:the\s+)?{_PLACE}\b)+", re.IGNORECASE)
_ITS_TIP = re.compile(r"\s*(?:its|the)(?:\s+tube)?\s+tip\b", re.IGNORECASE)


@dataclass(frozen=True)
class _Mention:
    name: str
    start: int
    end: int


def parse_findings(text: str) -> tuple[Finding, ...]:
    """Findings of a report that is text alone, e.g. a reference report."""
    sections = find_sections(text)
    return find_findings(text, find_words(text, (), sections=sections), sections)


def find_findings(text: str, words: Sequence[Word], sections: Sequence[Section]) -> tuple[Finding, ...]:
    """Every mention of a finding in every section, in the order of the text.

    Names are those of lexicon.py. A denial ("no", "without", "has resolved") reaches over its
    clause; side and zone come from the finding's own part of its clause, and in a list
    ("effusion and atelectasis on the left") from its neighbour; a finding on both sides has a zone only
    where it is the same. A tube's zone is its tip's level: "high", "mid" or "low".
    """
    findings: list[Finding] = []
    spans = sentences(text)
    for number, sentence in enumerate(spans):
        for clause in clauses(text, sentence):
            mentions = _mentions(text, clause)
            places = tuple((mention.start, mention.end) for mention in mentions)
            regions = _regions(text, clause, mentions)
            located = _share(
                text, mentions, [_locate(text, *pair) for pair in zip(mentions, regions, strict=True)]
            )
            for mention, (side, zone) in zip(mentions, located, strict=True):
                if mention.name == "tube" and zone is None:
                    zone = _tip_of_next(text, spans, number)
                findings.append(
                    Finding(
                        index=len(findings),
                        name=mention.name,
                        present=not is_denied(text, clause, (mention.start, mention.end), places),
                        side=side,
                        zone=zone,
                        start=mention.start,
                        end=mention.end,
                        word_indices=_naming(words, mention),
                        section=section_at(sections, mention.start),
                    )
                )
    return tuple(findings)


def _mentions(text: str, clause: Span) -> tuple[_Mention, ...]:
    """Names in the clause, the longest first where two overlap."""
    found = [
        (match.start() - match.end(), order, _Mention(name, *match.span()))
        for order, (name, pattern) in enumerate(TERMS)
        for match in pattern.finditer(text, *clause)
    ]
    kept: list[_Mention] = []
    for _, _, mention in sorted(found, key=lambda item: item[:2]):
        if all(mention.end <= other.start or other.end <= mention.start for other in kept):
            kept.append(mention)
    return tuple(sorted(kept, key=lambda mention: mention.start))


def _regions(text: str, clause: Span, mentions: Sequence[_Mention]) -> list[Span]:
    """Each mention's own part of the clause: cut at the last separator before the next mention."""
    cuts = [clause[0]]
    for mention, following in pairwise(mentions):
        between = text[mention.end : following.start]
        masked = _PLACES.sub(lambda match: "~" * len(match.group()), between)
        separators = list(_SEPARATOR.finditer(masked))
        cuts.append(mention.end + separators[-1].start() if separators else following.start)
    cuts.append(clause[1])
    return list(pairwise(cuts))[: len(mentions)]


def _locate(text: str, mention: _Mention, region: Span) -> tuple[str | None, str | None]:
    part = OTHER_SIDE.sub("", text[region[0] : region[1]])
    sides = {str(match.lastgroup) for match in SIDES.finditer(part)}
    side = None
    if sides:
        side = sides.pop() if len(sides) == 1 else "bilateral"
    if mention.name == "tube":
        return side, _tip_level(part)
    if mention.name in ("cardiomegaly", "pacemaker"):
        return side, None
    zones = [str(match.lastgroup) for match in ZONES.finditer(part)]
    if side == "bilateral" and len(set(zones)) > 1:
        return side, None  # one zone on the right, another on the left
    return side, zones[0] if zones else None


def _share(
    text: str, mentions: Sequence[_Mention], located: Sequence[tuple[str | None, str | None]]
) -> list[tuple[str | None, str | None]]:
    """In a list, a finding without a place of its own has that of the one before, else behind it."""
    shared = list(located)

    def listed(first: int) -> bool:
        return _GLUE.fullmatch(text, mentions[first].end, mentions[first + 1].start) is not None

    for index in range(len(mentions) - 2, -1, -1):
        if shared[index] == (None, None) and _placed(mentions[index], mentions[index + 1]) and listed(index):
            shared[index] = shared[index + 1]
    for index in range(1, len(mentions)):
        before, here = mentions[index - 1], mentions[index]
        if shared[index] == (None, None) and _placed(before, here) and listed(index - 1):
            shared[index] = (shared[index - 1][0], None)
    return shared


def _placed(first: _Mention, second: _Mention) -> bool:
    """Whether a list of the two can share a place: devices and the heart have their own."""
    return not {first.name, second.name} & {"tube", "pacemaker", "cardiomegaly"}


def _tip_level(part: str) -> str | None:
    for pattern in TIP_LEVELS:
        match = pattern.search(part)
        if match:
            return next(name for name, value in match.groupdict().items() if value)
    return None


def _tip_of_next(text: str, spans: Sequence[Span], number: int) -> str | None:
    """The level from a next sentence such as "Its tip is low."."""
    if number + 1 < len(spans):
        start, end = spans[number + 1]
        if _ITS_TIP.match(text, start, end):
            return _tip_level(text[start:end])
    return None


def _naming(words: Sequence[Word], mention: _Mention) -> tuple[int, ...]:
    return tuple(
        word.index
        for word in words
        if word.start < mention.end and mention.start < word.end and word.text.lower() not in NOT_NAMING
    )
