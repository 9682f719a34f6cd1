"""Sentences and clauses: how far a negation or a side reaches."""

from __future__ import annotations

import re

from medinterp.report.sections import find_headings

Span = tuple[int, int]

_SENTENCE_END = re.compile(
    r"(?<!\be\.g)(?<!\bi\.e)(?<!\bDr)(?<!\bapprox)(?<!\bvs)[.!?]+(?=[\s*_)\"']|$)|\n[ \t]*\n|"
    r"\n(?=[ \t]*(?:[*+•>#\-]|\d{1,2}[.)])?[ \t*_]*[A-Z])|\n(?=[ \t]*[*+•\-][ \t])",
)
_CLAUSE_END = re.compile(
    r";|\b(?:but|however|although|though|yet|except(?:ing)?|whereas|while)\b|"
    r"\b(?:apart\s+from|aside\s+from|other\s+than)\b|"
    r"(?:,\s*and|,|\band)\s+(?=there\s+(?:is|are|was|were)\b|an?\b|"
    r"the\s+(?!left\b|right\b|other\b|upper\b|lower\b|mid))|(?:,\s*)?\bwith\s+(?=an?\s)|"
    # Two sentences without a stop between them.
    r"(?<=\w)\s+(?=the\s+(?:heart|lungs?|pleura|trachea|aorta|bones|diaphragm|hila|mediastinum|cardiac\s+\w+|"
    r"cardiomediastinal\s+\w+)\s+(?:is|are|was|were|appears?|remains?)\b)",
    re.IGNORECASE,
)


def sentences(text: str) -> tuple[Span, ...]:
    """Spans of the sentences of a report, headings left out; a wrapped line does not end one."""
    spans: list[Span] = []
    position = 0
    edges = [(start, end) for _, start, end in find_headings(text)] + [(len(text), len(text))]
    for heading_start, heading_end in edges:
        start = position
        for match in _SENTENCE_END.finditer(text, position, heading_start):
            spans.append((start, match.end()))
            start = match.end()
        spans.append((start, heading_start))
        position = heading_end
    return tuple((start, end) for start, end in spans if text[start:end].strip())


def clauses(text: str, sentence: Span) -> tuple[Span, ...]:
    """Spans of the clauses of a sentence, which share neither negation nor side."""
    spans: list[Span] = []
    start = sentence[0]
    for match in _CLAUSE_END.finditer(text, *sentence):
        if text[start : match.start()].strip():
            spans.append((start, match.start()))
            start = match.start()
    spans.append((start, sentence[1]))
    return tuple(spans)
