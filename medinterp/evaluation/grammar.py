"""Which words of a demo report follow from the text before them, whatever the picture: told by the grammar alone."""

from __future__ import annotations

from collections import Counter, defaultdict
from functools import lru_cache

import numpy as np

from medinterp.phantom.findings import NAMES, TUBE_LEVELS, ZONES
from medinterp.phantom.reports import Fact, write_report
from medinterp.report import find_words
from medinterp.types import Report

REPORTS = 20_000
SEEN = 20
"""A context counts when at least so many made-up reports have it."""


@lru_cache(maxsize=1)
def _following() -> dict[str, Counter[str]]:
    """What follows each beginning of a line, in made-up reports of random findings."""
    rng = np.random.default_rng(0)
    following: dict[str, Counter[str]] = defaultdict(Counter)
    for _ in range(REPORTS):
        text = write_report(_facts(rng), rng)
        for word in find_words(text, ()):
            following[_context(text, word.start)][word.text] += 1
    return following


def _facts(rng: np.random.Generator) -> list[Fact]:
    facts = []
    for name in NAMES:
        if rng.random() < 0.3:
            zone = str(rng.choice(TUBE_LEVELS if name == "tube" else ZONES))
            size = str(rng.choice(["small", "moderate", "large"]))
            facts.append(Fact(name, str(rng.choice(["left", "right"])), zone, size))
    return facts


def _context(text: str, start: int) -> str:
    return text[text.rfind("\n", 0, start) + 1 : start]


def determined_words(report: Report) -> list[int]:
    """Indices of words that have no alternative after the beginning of their line; the impression is left out.

    What follows was the same in every one of at least SEEN made-up reports that begin the line so. A line's first
    word follows from the line before, which is not looked at: it is left out.
    """
    following = _following()
    found = []
    for word in report.words:
        context = _context(report.text, word.start)
        seen = following.get(context)
        if not context.strip() or context.startswith("IMPRESSION") or seen is None:
            continue
        if len(seen) == 1 and seen[word.text] >= SEEN:
            found.append(word.index)
    return found
