"""Reports made by hand for tests of the page: one in plain sentences, and one of every kind that a report can hold."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from medinterp.report.words import UNLIKELY
from medinterp.types import (
    Alternative,
    Finding,
    Mention,
    Report,
    ReportToken,
    Section,
    Sentence,
    SentenceReading,
    Thinking,
    Word,
)

# The lungs' sign is one code point but two UTF-16 units: every later span is off by one in a page
# that slices by JavaScript's count.
TEXT = (
    "DEVICES: The endotracheal tube tip is high.\n"
    "LUNGS \U0001fac1: A small nodule in the left upper zone. No consolidation <i>today</i>.\n"
    "PLEURA: Bilateral pleural effusions, small on the right and moderate on the left. No pneumothorax.\n"
    "HEART: The heart is enlarged.\n"
    "MEDIASTINUM: Normal contours.\n"
    "BONES: No acute fracture.\n"
    "IMPRESSION: Left upper nodule. Bilateral pleural effusions. Cardiomegaly. High tube."
)
FINDINGS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("tube", "endotracheal tube", {"zones": ("high",)}),
    ("nodule", "nodule", {"side": "left", "zones": ("upper",)}),
    ("consolidation", "consolidation", {"status": "absent"}),
    ("pleural effusion", "pleural effusions", {"side": "bilateral"}),
    ("pneumothorax", "pneumothorax", {"status": "absent"}),
    ("cardiomegaly", "heart is enlarged", {}),
    ("nodule", "upper nodule", {"side": "left", "zones": ("upper",)}),
)
THOUGHT = "The user wants a report.\nIs there a pneumothorax? Perhaps: look again."
ALL_KINDS = (
    f"<unused94>thought\n{THOUGHT}<unused95>\n"
    "HISTORY: Former pneumothorax. Cough.\n"
    "LUNGS \U0001fac1: An opacity in the left upper and mid zones may represent pneumonia. The right lung is clear. "
    "Vague lines as before, of the old kind.\n"
    "PLEURA: The right pleural effusion is larger. No pneumothorax.\n"
    "HEART: Possible cardiomegaly. It could be this or that.\n"
    "IMPRESSION: Right pleural effusion. CT is advised where a nodule is feared."
)
ALL_FINDINGS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    (
        "pneumonia",
        "pneumonia",
        {"status": "uncertain", "side": "left", "zones": ("upper", "mid"), "hedge": "may represent"},
    ),
    ("consolidation", "right lung is clear", {"status": "absent"}),
    ("nodule", "right lung is clear", {"status": "absent"}),
    ("edema", "right lung is clear", {"status": "absent"}),
    ("pleural effusion", "pleural effusion", {"side": "right", "change": "larger"}),
    ("pneumothorax", "pneumothorax.\nHEART", {"status": "absent"}),
    ("cardiomegaly", "cardiomegaly", {"status": "uncertain", "hedge": "Possible"}),
    ("pleural effusion", "pleural effusion. CT", {"side": "right"}),
)
ALL_MENTIONS = (("pneumothorax", "Former pneumothorax", "history"), ("nodule", "nodule is feared", "advice"))
UNREAD = ("Vague lines as before, of the old kind.", "It could be this or that.")
RARE_WORDS = ("left upper", "represent", "pneumonia", "lung is", "lines", "larger", "pneumothorax.\nHEART", "cardio")
"""Of a finding in each status, a hedge, an unread sentence, and none of these."""
RARE = -9.2
"""Log-probability of a token that the model would hardly have written."""
OTHER = ("Former pneumothorax.", "Cough.", "CT is advised where a nodule is feared.")


def fake_report(complete: bool = True) -> Report:
    """A report in seven sections, its words of one to four tokens; all of its sentences were read."""
    return written(TEXT, FINDINGS, complete=complete)


def every_kind() -> Report:
    """Findings in three statuses, names that state nothing, sentences that nobody understood, and a thought."""
    return written(ALL_KINDS, ALL_FINDINGS, ALL_MENTIONS)


def every_kind_given() -> Report:
    """The same, and words of each kind that the model would hardly have written."""
    return written(ALL_KINDS, ALL_FINDINGS, ALL_MENTIONS, unlikely=RARE_WORDS)


def thought_only() -> Report:
    """The token limit cut it off while it thought."""
    return written(f"<unused94>thought\n{THOUGHT}", complete=False)


def written(
    text: str,
    findings: Iterable[tuple[str, str, dict[str, Any]]] = (),
    mentions: Iterable[tuple[str, str, str]] = (),
    *,
    complete: bool = True,
    unlikely: Iterable[str] = (),
) -> Report:
    """The report of a text.

    findings: name, the words that name it (of a longer phrase, which tells places apart, those before the first full
    stop), other fields, the hedge as text. mentions: name, a phrase that holds it, role. unlikely: words that the model
    would hardly have written, each where it stands first.
    """
    rng = np.random.default_rng(3)
    tokens = _tokens(text, rng, [text.index(word) for word in unlikely])
    thinking = tuple(
        Thinking(match.start(), match.end(), _inside(tokens, match.start(), match.end()))
        for match in re.finditer(r"<unused94>.*?(?:<unused95>|\Z)", text, re.DOTALL)
    )
    sections = _sections(text)
    bodies = [("", text.index(THOUGHT), text.index(THOUGHT) + len(THOUGHT)) for _ in thinking]
    bodies += [(one.name, one.start, one.end) for one in sections]
    words: list[Word] = []
    for name, start, end in bodies:
        for match in re.finditer(r"\w+", text[start:end]):
            span = start + match.start(), start + match.end()
            own = _inside(tokens, *span)
            logprob = sum(tokens[t].logprob for t in own)
            rare = any(tokens[t].logprob < UNLIKELY for t in own)
            mass = float(rng.uniform(0.05, 0.6))
            words.append(Word(len(words), match[0], *span, own, logprob, mass, name or None, rare))

    def placed(phrase: str, named: str) -> dict[str, Any]:
        start = text.index(phrase) + max(0, phrase.find(named))
        end = start + len(named)
        inside = tuple(word.index for word in words if word.start < end and word.end > start)
        return {"start": start, "end": end, "word_indices": inside, "section": words[inside[0]].section}

    found: list[Finding] = []
    for name, phrase, fields in findings:
        rest = {"status": "present", "side": None, "zones": ()} | fields
        if "hedge" in rest:
            rest["hedge"] = (text.index(rest["hedge"]), text.index(rest["hedge"]) + len(rest["hedge"]))
        found.append(Finding(index=len(found), name=name, **rest, **placed(phrase, re.split(r"[.\n]", phrase)[0])))
    named = tuple(
        Mention(index=k, name=name, role=role, **placed(phrase, name))  # type: ignore[arg-type]
        for k, (name, phrase, role) in enumerate(mentions)
    )
    sentences = tuple(_sentences(text, sections))
    return Report(
        text,
        tokens,
        tuple(words),
        sections,
        tuple(found),
        complete,
        mentions=named,
        sentences=sentences,
        thinking=thinking,
    )


def _tokens(text: str, rng: np.random.Generator, unlikely: Iterable[int]) -> tuple[ReportToken, ...]:
    """Those that hold one of the characters `unlikely` are."""
    tokens = []
    for k, match in enumerate(re.finditer(r"\s?\w{1,5}|[^\w]", text)):
        logprob = -float(rng.exponential(0.15))
        rest = np.log(np.maximum(1e-6, (1 - np.exp(logprob)) * np.array([0.6, 0.2, 0.1, 0.05])))
        others = tuple(
            Alternative(f" {other}", float(p)) for other, p in zip(("mass", "fine", "the", "no"), rest, strict=True)
        )
        own = Alternative(match[0], logprob)
        token = ReportToken(k, 100 + k, match.start(), match.end(), logprob, (own, *others))
        rare = any(match.start() <= place < match.end() for place in unlikely)
        tokens.append(replace(token, logprob=RARE, alternatives=others) if rare else token)
    return tuple(tokens)


def _inside(tokens: Iterable[ReportToken], start: int, end: int) -> tuple[int, ...]:
    return tuple(token.index for token in tokens if token.start < end and token.end > start)


def _sections(text: str) -> tuple[Section, ...]:
    heads = list(re.finditer(r"(?:^|\n)([A-Z]{3,})[^:\n]*: ", text))
    ends = [*(head.start() for head in heads), len(text)][1:]
    return tuple(
        Section(head[1], head.end(), end, text[head.end() : end]) for head, end in zip(heads, ends, strict=True)
    )


def _sentences(text: str, sections: Iterable[Section]) -> Iterable[Sentence]:
    for section in sections:
        for match in re.finditer(r"\S[^.]*\.", section.text):
            reading: SentenceReading = "unread" if match[0] in UNREAD else "other" if match[0] in OTHER else "read"
            yield Sentence(section.start + match.start(), section.start + match.end(), reading)
