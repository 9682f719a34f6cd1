"""Named sections of a report, in plain text or in markdown, and what stands in them."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from medinterp.report.lexicon import lexicon
from medinterp.report.tables import table, word_set
from medinterp.report.tokens import Token, tokenise
from medinterp.types import FindingStatus, MentionRole, Section

_IMPRESSION = re.compile(
    r"(?:overall |final |radiologi(?:c|cal) |clinical |diagnostic |main |key )?"
    r"(?:impressions?|conclusions?|summary|final answer|diagnos[ie]s|opinion|interpretation|assessment|bottom line)"
    r"(?: (?:and|/|&) (?:recommendations?|plan|impression|diagnosis|conclusion))?"
    r"(?: of findings| summary| statement)?"
)
_ROLES: tuple[tuple[MentionRole, re.Pattern[str]], ...] = (
    (
        "differential",
        re.compile(
            r"(?:the )?(?:differentials?(?: diagnos[ie]s| considerations?)?|ddx)|"
            r"possible (?:causes|diagnos[ie]s|etiologies)"
        ),
    ),
    (
        "disclaimer",
        re.compile(r"(?:\w+ )?(?:disclaimers?|limitations?|caveats?)|important (?:notes?|considerations?)"),
    ),
    (
        "advice",
        re.compile(
            r"(?:\w+ )?(?:recommendations?|follow[- ]?up|advice|next steps?|plan|management|suggestions?)"
            r"(?: (?:and|/|&) \w+)?|further (?:evaluation|imaging|workup|investigations?)"
        ),
    ),
    (
        "history",
        re.compile(
            r"(?:\w+ )?history(?: of present illness)?|patient(?: information| details| history)?|background|hpi"
        ),
    ),
    (
        "indication",
        re.compile(
            r"(?:\w+ )?indications?(?: for (?:exam|examination|study))?|reason(?: for (?:the )?\w+)?|"
            r"clinical (?:information|data|details|question|context|statement|background)|"
            r"(?:history|indication)(?: and|/) (?:history|indication)|(?:presenting |chief )?complaints?"
        ),
    ),
    (
        "comparison",
        re.compile(r"comparisons?(?: \w+)?|prior (?:study|studies|exams?|imaging|films?)|compared (?:to|with)"),
    ),
    (
        "technique",
        re.compile(
            r"techni(?:que|cal)(?: \w+)*|procedures?|exam(?:ination)?s?|exam type|stud(?:y|ies)|views?|"
            r"type of (?:exam|study)|projection|image quality|quality|view and quality|modality|study type|date|"
            r"patient name|positioning"
        ),
    ),
)
_STATUSES: tuple[tuple[FindingStatus, re.Pattern[str]], ...] = (
    (
        "absent",
        re.compile(
            r"(?:pertinent |relevant )?negatives?(?: findings?)?|excluded|ruled out|absent(?: findings?)?|not seen"
        ),
    ),
    (
        "uncertain",
        re.compile(
            r"(?:most |less )?(?:likely|probable|possible|uncertain|suspected|equivocal)(?: findings?| diagnos[ie]s)?"
        ),
    ),
)
# Headings are also known in sentence case or in the middle of a line (then in capitals only).
KNOWN = frozenset(table("headings")["known"])
_NAME = r"[A-Z][A-Za-z0-9 /&,()\-]{0,58}[A-Za-z0-9)]"
_LEAD = r"^[ \t]*(?:>[ \t]*)?(?:(?:[*+\-•]|\d{1,2}[.)]|\(?[a-zA-Z][.)])[ \t]+)?"
_CAPITALS = sorted(
    {name.upper() for name in KNOWN}
    | set(
        "IMPRESSION CONCLUSION SUMMARY COMPARISON TECHNIQUE INDICATION HISTORY EXAMINATION RECOMMENDATION "
        "RECOMMENDATIONS OPINION EXAM PROCEDURE".split()
    )
    | {"CLINICAL HISTORY", "CLINICAL INFORMATION", "FINAL ANSWER", "OVERALL IMPRESSION", "REASON FOR EXAM"},
    key=len,
    reverse=True,
)
_ANY = "|".join(map(re.escape, _CAPITALS))
_ANY_INLINE = "|".join(re.escape(name.capitalize()) for name in _CAPITALS)
_HEADINGS = (
    # **Lungs:** or **Lungs**: or __Lungs:__, and **Lungs** alone on its line; *Lungs:* too
    re.compile(
        rf"{_LEAD}(?:#+[ \t]*)?(?P<mark>\*\*\*|\*\*|__|\*|_)(?:\d{{1,2}}[.)][ \t]*)?(?P<name>{_NAME})[ \t]*"
        r"(?::(?P=mark):?|(?P=mark)[ \t]*:|(?P=mark)[ \t]*$)",
        re.MULTILINE,
    ),
    # ## Lungs
    re.compile(rf"^[ \t]*#{{1,6}}[ \t]+(?:\d{{1,2}}[.)][ \t]*)?(?P<name>{_NAME})[ \t]*:?[ \t]*#*[ \t]*$", re.MULTILINE),
    # LUNGS: or Lungs:
    re.compile(rf"{_LEAD}(?P<plain>{_NAME})[ \t]*:(?=\s|$)", re.MULTILINE),
    # IMPRESSION alone on its line, and IMPRESSION - ...
    re.compile(rf"^[ \t]*(?P<name>{_ANY})[ \t]*(?:$|[-\u2013\u2014](?=[ \t]))", re.MULTILINE),
    # ... Clear. PLEURA: ...
    re.compile(rf"(?<=[.!?;])[ \t]+(?P<name>{_ANY}):(?=\s|$)"),
    # ... Clear. **PLEURA:** ..., and ... pneumonia? Findings: ...
    re.compile(rf"(?<=[.!?;])[ \t]+(?P<mark>\*\*|__)(?P<name>{_NAME})[ \t]*(?::(?P=mark)|(?P=mark)[ \t]*:)"),
    # ... pneumonia? Findings: ..., and ... no masses. Pleura: ...
    re.compile(rf"(?<=[.!?;,])[ \t]+(?P<name>{_ANY_INLINE}):(?=\s|$)"),
)
_ALONE = re.compile(r"^[ \t]*(?P<name>[A-Z][a-z]+(?: [a-z]+)?)[ \t]*$", re.MULTILINE)
_SMALL = {"and", "or", "of", "the", "in", "with", "for", "to"}
_STATES = re.compile(
    r"(?:no|there|yes|normal|possible|probable|likely|evidence|mild|small|large|moderate)\b", re.IGNORECASE
)
_AROUND = word_set("heading")


def find_headings(text: str) -> tuple[tuple[str, int, int], ...]:
    """(name, start, end) of every heading in order; end lies behind its colon and markup."""
    found: list[tuple[str, int, int]] = []
    for pattern in (*_HEADINGS, _ALONE):
        for match in pattern.finditer(text):
            groups = match.groupdict()
            name = groups.get("name") or groups.get("plain") or ""
            if pattern is _ALONE and not _is_known(name):
                continue
            if groups.get("plain") is not None and not _is_heading(name):
                continue
            if not _is_known(name) and _is_statement(name):
                continue  # "Pneumothorax: none" is a statement about a finding
            at = bisect_left(found, match.end(), key=lambda heading: heading[1])  # the first that begins behind it
            if at == 0 or found[at - 1][2] <= match.start():
                found.insert(at, (" ".join(name.split()), match.start(), match.end()))
    return tuple(found)


def find_sections(text: str) -> tuple[Section, ...]:
    """The report's sections in order: name as written without markup, body without outer blanks."""
    headings = find_headings(text)
    sections: list[Section] = []
    for index, (name, _, start) in enumerate(headings):
        stop = headings[index + 1][1] if index + 1 < len(headings) else len(text)
        body = text[start:stop]
        start += len(body) - len(body.lstrip())
        body = body.strip()
        sections.append(Section(name, min(start, stop), min(start, stop) + len(body), body))
    return tuple(sections)


def section_at(sections: Sequence[Section], position: int) -> str | None:
    """Name of the section whose body holds the character, or None."""
    at = bisect_right(sections, position, key=lambda section: section.start) - 1
    while at >= 0 and sections[at].start == sections[at].end:
        at -= 1  # an empty one
    return sections[at].name if at >= 0 and position < sections[at].end else None


def is_impression(section: str | None) -> bool:
    """Whether a section of that name is the impression, which repeats what was written before it."""
    return section is not None and _IMPRESSION.fullmatch(_plain(section)) is not None


def role_of(section: str | None) -> MentionRole | None:
    """What is named in a section of that name, where that is no statement about this film."""
    if section is None or is_impression(section):
        return None
    return next((role for role, names in _ROLES if names.fullmatch(_plain(section))), None)


def status_of(section: str | None) -> FindingStatus | None:
    """What a heading says of all that stands under it: "Pertinent negatives", "Less likely"."""
    if section is None:
        return None
    return next((status for status, names in _STATUSES if names.fullmatch(_plain(section))), None)


def subject_of(section: str | None) -> list[Token]:
    """The words of a heading that names a structure or a side ("Right lung"): what its sentences speak of."""
    if section is None:
        return []
    tokens = tokenise(section, 0, len(section), lexicon().spelling)
    return tokens if _of_structures(tokens) or {t.base for t in tokens} & {"left", "right"} else []


def _plain(section: str) -> str:
    return " ".join(section.lower().replace("/", " / ").replace("(", " ").replace(")", " ").split())


def _of_structures(tokens: Sequence[Token]) -> bool:
    """Whether the words are structures, sides and what joins them, and nothing else."""
    inside = {k for match in lexicon().structures.find(tokens) for k in range(match.start, match.end)}
    return bool(inside) and all(k in inside or token.base in _AROUND for k, token in enumerate(tokens))


def _is_known(name: str) -> bool:
    plain = name.lower().replace(",", "")
    if plain.endswith((" devices", " hardware", "/devices")):
        return True
    return (
        " ".join(plain.split()) in KNOWN
        or is_impression(name)
        or role_of(name) is not None
        or status_of(name) is not None
    )


def _is_statement(name: str) -> bool:
    """Whether the name tells a finding ("Pneumothorax", "Right lower lobe opacity", "No acute findings")."""
    if _STATES.match(name):
        return True
    tokens = tokenise(name, 0, len(name), lexicon().spelling)
    return not _of_structures(tokens) and bool(lexicon().names.find(tokens))


def _is_heading(name: str) -> bool:
    """Capitals, Title Case, a known name or a structure: "The findings are as follows:" is no heading."""
    if _is_known(name) or name.isupper():
        return True
    words = re.findall(r"[A-Za-z]+", name)
    if len(words) <= 6 and all(word[0].isupper() or word in _SMALL for word in words):
        return True
    return _of_structures(tokenise(name, 0, len(name), lexicon().spelling))
