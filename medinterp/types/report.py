"""The report: tokens, words, sections, and what is read in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Alternative:
    """A token that could have stood here, with its log-probability (nats)."""

    text: str
    logprob: float


@dataclass(frozen=True)
class ReportToken:
    """One generated token t.

    index: t, 0-based; token_id: vocabulary id; start, end: character span in Report.text that it wrote,
    wholly or in part (tokens that share a character overlap there; a control token's span is empty);
    logprob: log p of this token where it was generated, nats.
    """

    index: int
    token_id: int
    start: int
    end: int
    logprob: float
    alternatives: tuple[Alternative, ...] = ()


@dataclass(frozen=True)
class Word:
    """A run of characters of the report that can be clicked, with the tokens that wrote it.

    logprob: sum of its tokens' log-probabilities (log p of the word), nats.
    image_mass: mean over its tokens, layers and heads of the attention on image cells, 0..1.
    section: name of the section it stands in, or None.
    unlikely: the model gave one of its tokens less than 1 in 1,000 at its place: it would hardly have written the word.
    """

    index: int
    text: str
    start: int
    end: int
    token_indices: tuple[int, ...]
    logprob: float
    image_mass: float
    section: str | None = None
    unlikely: bool = False


@dataclass(frozen=True)
class Section:
    """A named part of the report: Report.text[start:end] is its body, heading left out."""

    name: str
    start: int
    end: int
    text: str


FindingStatus = Literal["present", "uncertain", "absent"]
FindingChange = Literal["new", "unchanged", "larger", "smaller", "resolved", "removed"]
MentionRole = Literal[
    "history",
    "indication",
    "comparison",
    "technique",
    "advice",
    "disclaimer",
    "differential",
    "example",
    "elsewhere",
]
SentenceReading = Literal["read", "other", "unread"]


@dataclass(frozen=True)
class Finding:
    """A finding that the report states: its name, its status, and the words that say so.

    status: "present", "uncertain" (hedged: `hedge` is the character span of the words that do it) or "absent";
    side: "left", "right", "bilateral" or None; zones: e.g. ("upper",), ("upper", "lower") or ();
    start, end: the character span of the finding's own name, or of the normal statement ("the lungs are clear") that
    denies it; word_indices: the words that name it; change: against an earlier film, where one is told.
    """

    index: int
    name: str
    status: FindingStatus
    side: str | None
    zones: tuple[str, ...]
    start: int
    end: int
    word_indices: tuple[int, ...]
    section: str | None = None
    hedge: tuple[int, int] | None = None
    change: FindingChange | None = None

    @property
    def present(self) -> bool:
        """Whether the report affirms the finding without a hedge."""
        return self.status == "present"


@dataclass(frozen=True)
class Mention:
    """A finding's name that states nothing about this film: history, advice, an example, another part of the body.

    start, end: the character span of the name; word_indices: the words that name it.
    """

    index: int
    name: str
    role: MentionRole
    start: int
    end: int
    word_indices: tuple[int, ...]
    section: str | None = None


@dataclass(frozen=True)
class Sentence:
    """A sentence of the report, and what became of it: Report.text[start:end].

    reading: "read" when its findings are in Report.findings, or it states that nothing is abnormal;
    "other" when it is not about findings (technique, history, advice); "unread" when nobody can tell what it states.
    """

    start: int
    end: int
    reading: SentenceReading


@dataclass(frozen=True)
class Thinking:
    """What the model thought before it answered: Report.text[start:end], with the marks around it.

    token_indices: the tokens that wrote it. It holds no section, no finding and no sentence of the report.
    """

    start: int
    end: int
    token_indices: tuple[int, ...]


@dataclass(frozen=True)
class Box:
    """A box that the answer draws round something on the film.

    left, top, right, bottom: shares of the film's width and height, 0..1; label: as written, "" where there is none;
    start, end: the characters of the box's object in Report.text; word_indices, token_indices: of its label and its
    coordinates; finding: the name of the finding that the label states, None where it states none; flaws: sentences
    that say what is wrong with the box as it was written, and what was made of it.
    """

    index: int
    label: str
    left: float
    top: float
    right: float
    bottom: float
    start: int
    end: int
    word_indices: tuple[int, ...]
    token_indices: tuple[int, ...]
    finding: str | None = None
    flaws: tuple[str, ...] = ()

    @property
    def edges(self) -> tuple[float, float, float, float]:
        """Left, top, right, bottom."""
        return self.left, self.top, self.right, self.bottom


@dataclass(frozen=True)
class Report:
    """What the model wrote."""

    text: str
    tokens: tuple[ReportToken, ...]
    words: tuple[Word, ...]
    sections: tuple[Section, ...]
    findings: tuple[Finding, ...]
    complete: bool
    """True when the model ended the report itself, False when the token limit cut it off."""
    mentions: tuple[Mention, ...] = ()
    sentences: tuple[Sentence, ...] = ()
    thinking: tuple[Thinking, ...] = ()
    boxes: tuple[Box, ...] = ()
    box_notes: tuple[str, ...] = ()
    """Sentences: which of the answer's boxes could not be read and why, or that its list of boxes is empty."""

    @property
    def unfinished(self) -> str | None:
        """That the token limit cut it off, in a sentence, and whether an answer had begun; None for a whole one."""
        if self.complete:
            return None
        told = f"Cut off after {len(self.tokens)} token{'' if len(self.tokens) == 1 else 's'}"
        thought = self.thinking[-1] if self.thinking else None
        rest = self.text if thought is None else self.text[: self.thinking[0].start] + self.text[thought.end :]
        if thought is not None and thought.end == len(self.text) and not rest.strip():
            return f"{told}, before the report began: this is thought alone."
        return f"{told}."
