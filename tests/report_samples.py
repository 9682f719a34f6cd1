"""A report made by hand with every kind of finding, mention, sentence and thinking, for tests of what shows it."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np

from medinterp.types import (
    Explanation,
    Film,
    Finding,
    FindingChange,
    FindingStatus,
    MapPack,
    Mention,
    Report,
    ReportToken,
    Section,
    Sentence,
    Thinking,
    Word,
)
from tests.api_samples import sample_explanation, sample_film

THINKING = "<unused94>thought\nThe left base is dim. Effusion? I should say so.<unused95>"
TEXT = (
    f"{THINKING}"
    "TECHNIQUE: Portable AP film. History of pneumothorax.\n"
    "LUNGS: An opacity in the left upper zone may represent a nodule. Consolidation in the right mid and lower zones.\n"
    "The veil is as the veil was.\n"
    "PLEURA: Larger right pleural effusion. No pneumothorax on the left.\n"
    "HEART: CT ratio is normal. The heart and mediastinum are normal.\n"
)
_OTHER = ("Portable AP film.", "History of pneumothorax.")
_UNREAD = ("The veil is as the veil was.",)
_SENTENCES = (
    *_OTHER,
    "An opacity in the left upper zone may represent a nodule.",
    "Consolidation in the right mid and lower zones.",
    *_UNREAD,
    "Larger right pleural effusion.",
    "No pneumothorax on the left.",
    "CT ratio is normal.",
    "The heart and mediastinum are normal.",
)


def all_kinds() -> Report:
    """One token a word or sign; findings in the order of the text."""
    tokens = tuple(
        ReportToken(t, 100 + t, match.start(), match.end(), -0.1)
        for t, match in enumerate(re.finditer(r"\w+|[^\w\s]", TEXT))
    )
    sections = tuple(
        Section(match[1], match.start(2), match.end(2), match[2])
        for match in re.finditer(r"(?:^|(?<=>))([A-Z]+): (.*?)\n(?=[A-Z]+:|\Z)", TEXT, re.DOTALL | re.MULTILINE)
    )
    bare = tuple(
        Word(w, match[0], *match.span(), _of(tokens, *match.span()), -0.1, 0.25, _section(sections, match.start()))
        for w, match in enumerate(re.finditer(r"\w+", TEXT))
    )
    findings = (
        _finding(bare, "nodule", "uncertain", "left", ("upper",), "nodule", hedge="may represent"),
        _finding(bare, "consolidation", "present", "right", ("mid", "lower"), "Consolidation"),
        _finding(bare, "pleural effusion", "present", "right", (), "pleural effusion", change="larger"),
        _finding(bare, "pneumothorax", "absent", "left", (), "pneumothorax on the left", "pneumothorax"),
        _finding(bare, "cardiomegaly", "absent", None, (), "CT ratio is normal"),
        _finding(bare, "mediastinal widening", "absent", None, (), "CT ratio is normal"),
        _finding(bare, "cardiomegaly", "absent", None, (), "The heart and mediastinum are normal"),
        _finding(bare, "mediastinal widening", "absent", None, (), "The heart and mediastinum are normal"),
        _finding(bare, "mediastinal shift", "absent", None, (), "The heart and mediastinum are normal"),
    )
    start = TEXT.index("pneumothorax")
    end = start + len("pneumothorax")
    return Report(
        text=TEXT,
        tokens=tokens,
        words=bare,
        sections=sections,
        findings=tuple(replace(finding, index=index) for index, finding in enumerate(findings)),
        complete=True,
        mentions=(Mention(0, "pneumothorax", "history", start, end, _of(bare, start, end), "TECHNIQUE"),),
        sentences=tuple(map(_sentence, _SENTENCES)),
        thinking=(Thinking(0, len(THINKING), _of(tokens, 0, len(THINKING))),),
    )


def all_kinds_explained(film: Film | None = None) -> Explanation:
    """The report with random maps on a 4 x 4 grid."""
    report, sample = all_kinds(), sample_explanation(film or sample_film())
    values = np.random.default_rng(5).random((len(report.tokens), 4, 4)).astype(np.float32)
    return replace(sample, report=report, packs={"raw": MapPack("raw", values, signed=False, additive=False)})


def _of(parts: tuple[ReportToken, ...] | tuple[Word, ...], start: int, end: int) -> tuple[int, ...]:
    return tuple(part.index for part in parts if part.start < end and start < part.end)


def _section(sections: tuple[Section, ...], at: int) -> str | None:
    return next((section.name for section in sections if section.start <= at < section.end), None)


def _sentence(text: str) -> Sentence:
    start = TEXT.index(text)
    return Sentence(start, start + len(text), "other" if text in _OTHER else "unread" if text in _UNREAD else "read")


def _finding(
    words: tuple[Word, ...],
    name: str,
    status: FindingStatus,
    side: str | None,
    zones: tuple[str, ...],
    phrase: str,
    named: str | None = None,
    *,
    hedge: str | None = None,
    change: FindingChange | None = None,
) -> Finding:
    """The last time that the phrase is written; named: the part of it, at its start, that is the finding's own name."""
    start = TEXT.rindex(phrase)
    end = start + len(named or phrase)
    inside = _of(words, start, end)
    span = None if hedge is None else (TEXT.index(hedge), TEXT.index(hedge) + len(hedge))
    return Finding(0, name, status, side, zones, start, end, inside, words[inside[0]].section, span, change)
