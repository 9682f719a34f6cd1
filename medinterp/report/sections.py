"""Named sections of a report, in plain text or in markdown."""

from __future__ import annotations

import re
from collections.abc import Sequence

from medinterp.report.lexicon import TERMS
from medinterp.types import Section

# Headings are also known in sentence case or in the middle of a line (then in capitals only).
KNOWN = (
    "devices",
    "lines and tubes",
    "tubes and lines",
    "lines, tubes, and devices",
    "tubes, lines, and devices",
    "lines",
    "tubes",
    "support devices",
    "lungs",
    "lungs and airways",
    "lungs and pleura",
    "airways",
    "pleura",
    "pleural spaces",
    "heart",
    "heart and mediastinum",
    "cardiac silhouette",
    "cardiomediastinal silhouette",
    "mediastinum",
    "mediastinum and hila",
    "hila",
    "bones",
    "bones and soft tissues",
    "soft tissues",
    "abdomen",
    "upper abdomen",
    "impression",
    "findings",
    "conclusion",
    "comparison",
    "technique",
    "indication",
    "history",
    "clinical history",
    "recommendation",
    "recommendations",
)
_NAME = r"[A-Z][A-Za-z0-9 /&,()\-]{0,58}[A-Za-z0-9)]"
_LEAD = r"^[ \t]*(?:>[ \t]*)?(?:(?:[*+\-•]|\d{1,2}[.)])[ \t]+)?"
_HEADINGS = (
    # **Lungs:** or **Lungs**: or __Lungs:__, and **Lungs** alone on its line
    re.compile(
        rf"{_LEAD}(?:#+[ \t]*)?(?P<mark>\*\*|__)(?P<name>{_NAME})[ \t]*"
        r"(?::(?P=mark):?|(?P=mark)[ \t]*:|(?P=mark)[ \t]*$)",
        re.MULTILINE,
    ),
    # ## Lungs
    re.compile(rf"^[ \t]*#{{1,6}}[ \t]+(?P<name>{_NAME})[ \t]*:?[ \t]*#*[ \t]*$", re.MULTILINE),
    # LUNGS: or Lungs:
    re.compile(rf"{_LEAD}(?P<plain>{_NAME})[ \t]*:(?=\s|$)", re.MULTILINE),
    # ... Clear. PLEURA: ...
    re.compile(
        r"(?<=[.!?;])[ \t]+(?P<name>" + "|".join(re.escape(name.upper()) for name in KNOWN) + r"):(?=\s|$)"
    ),
)
_SMALL = {"and", "or", "of", "the", "in", "with", "for", "to"}


def find_headings(text: str) -> tuple[tuple[str, int, int], ...]:
    """(name, start, end) of every heading in order; end lies behind its colon and markup."""
    found: list[tuple[str, int, int]] = []
    for pattern in _HEADINGS:
        for match in pattern.finditer(text):
            groups = match.groupdict()
            name = groups.get("name") or groups.get("plain") or ""
            if groups.get("plain") is not None and not _is_heading(name):
                continue
            if name.lower() not in KNOWN and any(term.fullmatch(name) for _, term in TERMS):
                continue  # "Pneumothorax: none" is a statement about a finding
            if all(match.end() <= start or end <= match.start() for _, start, end in found):
                found.append((" ".join(name.split()), match.start(), match.end()))
    return tuple(sorted(found, key=lambda heading: heading[1]))


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
    for section in sections:
        if section.start <= position < section.end:
            return section.name
    return None


def is_impression(section: str | None) -> bool:
    """Whether a section of that name is the impression, which repeats what was written before it."""
    return section is not None and section.upper() == "IMPRESSION"


def _is_heading(name: str) -> bool:
    """Capitals, Title Case or a known name: "The findings are as follows:" is no heading."""
    if name.lower() in KNOWN or name.isupper():
        return True
    words = re.findall(r"[A-Za-z]+", name)
    return len(words) <= 6 and all(word[0].isupper() or word in _SMALL for word in words)
