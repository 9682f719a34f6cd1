"""What of a report a map or picture is asked for: a word, a phrase or a finding."""

from __future__ import annotations

import re
from dataclasses import dataclass

from medinterp.errors import SelectionError
from medinterp.types import Finding, Report, Word

_PHRASE = re.compile(r"(\d{1,6})(?:-(\d{1,6}))?")


@dataclass(frozen=True)
class WordSelection:
    """The words first .. last, both included; one word when they are the same."""

    first: int
    last: int


@dataclass(frozen=True)
class FindingSelection:
    """The words that name finding `index`."""

    index: int


Selection = WordSelection | FindingSelection


def parse_selection(words: str | None, finding: int | None) -> Selection:
    """Read `words=3-7` or `finding=2`; exactly one of them is given.

    Raises SelectionError when both or none are given, or the words are not written so.
    """
    if (words is None) == (finding is None):
        raise SelectionError("give either words=FIRST-LAST or finding=NUMBER")
    if finding is not None:
        return FindingSelection(finding)
    match = _PHRASE.fullmatch(words or "")
    if match is None:
        raise SelectionError("words are written FIRST-LAST, e.g. words=3-7")
    first = int(match[1])
    return WordSelection(first, int(match[2] or first))


def selected(report: Report, selection: Selection) -> tuple[Word, ...] | Finding:
    """The words or the finding that are selected.

    Raises SelectionError when the report has no such words or finding.
    """
    if isinstance(selection, FindingSelection):
        if not 0 <= selection.index < len(report.findings):
            raise SelectionError(f"the report has {len(report.findings)} findings, counted from 0")
        return report.findings[selection.index]
    if not 0 <= selection.first <= selection.last < len(report.words):
        raise SelectionError(f"the report has {len(report.words)} words, counted from 0")
    return report.words[selection.first : selection.last + 1]
