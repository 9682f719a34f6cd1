"""Names that state nothing about this film: history, advice, examples, other parts of the body."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import cast

from medinterp.report.clauses import Sentence, Span
from medinterp.report.lexicon import lexicon
from medinterp.report.phrases import Match
from medinterp.report.tables import word_set
from medinterp.types import MentionRole

_NOW = word_set("now")
_ASSERTING = word_set("asserting")
_SHOWS = frozenset(("there", "show", "demonstrate", "reveal", "see"))
_MAY = frozenset(("may", "might", "could", "can", "would"))
REACH = 80
"""Words over which a role reaches."""
_BACKWARD = word_set("backward")
_DONE = word_set("advised")
_VERBS = word_set("clause_verbs")

_OVER = frozenset(("advice", "disclaimer", "indication", "example"))
"""These reach to the end of the sentence, through its clauses."""


def roles_of(sentence: Sentence, section: MentionRole | None) -> list[MentionRole | None]:
    """The role of each of sentence.names, None for a finding; section: the role of all that its section names."""
    matches = lexicon().roles.find(sentence.tokens)
    starts = [match.start for match in matches]
    conditional = sentence.base(sentence.prefix) == "if" and any(match.value == "advice" for match in matches)
    found: list[str | None] = []
    for clause, inside in sentence.clauses:
        for k in inside:
            name = sentence.names[k]
            near = matches[bisect_left(starts, name.start - REACH) : bisect_left(starts, name.end + REACH)]
            told = "advice" if conditional else _told(sentence, name, near, clause if section is None else None)
            if section is None:
                found.append(_role(sentence, name, near, clause, told))
            else:
                kept = section in ("advice", "disclaimer", "differential")
                found.append(told if told in _OVER and not kept else section)
    return [cast("MentionRole | None", role) for role in found]


def _role(
    sentence: Sentence, name: Match[str], matches: Sequence[Match[str]], clause: Span, told: str | None
) -> str | None:
    """The role of a name in a section that has none of its own."""
    for match in matches:
        within = match.value == "disclaimer" and clause[0] <= match.start < clause[1]
        if within and ":" not in sentence.words[match.end : name.start]:
            return "disclaimer"
    if lexicon().terms[name.value].anywhere and _elsewhere(sentence, name, matches):
        return "elsewhere"
    return None if told == "statement" else told


def _told(sentence: Sentence, name: Match[str], matches: Sequence[Match[str]], clause: Span | None) -> str | None:
    """The role that a cue gives a name, "statement" where a cue says that it has none; clause: None for all."""
    start, end = clause or (0, len(sentence.tokens))
    for match in matches:
        if name.end <= match.start < end and _reaches_back(sentence, name, match):
            return match.value
    for match in reversed(matches):
        if match.value == "elsewhere" or match.end > name.start or match.start < sentence.prefix:
            continue
        if match.value not in _OVER and match.start < start:
            continue
        if match.value == "statement" or _reaches(sentence, name, match):
            return match.value
    return None


def _reaches(sentence: Sentence, name: Match[str], match: Match[str]) -> bool:
    """Whether a cue gives its role to a name behind it."""
    between = sentence.words[match.end : name.start]
    if match.value in ("history", "comparison") and _ASSERTING & set(between):
        return False
    if match.value == "history":
        return not (_NOW & set(between) or ("," in between and _states(between)))
    if match.value == "example":
        before = set(sentence.words[max(0, match.start - 12) : match.start])
        return not _denied(sentence, match.start) and not (_SHOWS & before and not _MAY & before)
    if match.value == "advice" and {"because", "since"} & set(between):
        return False
    return not (match.value == "comparison" and "," in between)


def _reaches_back(sentence: Sentence, name: Match[str], match: Match[str]) -> bool:
    """Whether a cue gives its role to a name before it: "cardiomegaly means", "a chest tube should be placed"."""
    if match.value == "comparison" and sentence.base(match.start) == "on":
        # "There was a pneumothorax on the prior film"
        return bool({"was", "were"} & set(sentence.words[max(0, name.start - 6) : match.start]))
    if sentence.base(match.start) not in _BACKWARD:
        return False
    if match.value == "advice":
        return sentence.base(match.end - 1) in _DONE and not _told_of(sentence, name.end, match.start)
    return match.value == "example"


def _told_of(sentence: Sentence, start: int, stop: int) -> bool:
    """Whether something else is said before: "the tube is coiled and should be repositioned"."""
    return bool(_VERBS & set(sentence.words[start:stop]))


def _states(words: Sequence[str]) -> bool:
    rest = words[len(words) - list(words)[::-1].index(",") :]
    return bool(rest) and not set(rest) <= {"and", "or", "a", "known", "chronic", "prior"}


def _denied(sentence: Sentence, before: int) -> bool:
    """Whether an example stands in a denial: "no acute process such as pneumonia"."""
    return any(cue.value == ("deny", "before") and cue.start < before for cue in sentence.cues[:REACH])


def _elsewhere(sentence: Sentence, name: Match[str], matches: Sequence[Match[str]]) -> bool:
    """ "Fracture of the left femur", "splenic granulomas", "calcified granulomas in the liver and spleen"."""
    for match in matches:
        if match.value != "elsewhere":
            continue
        if match.start >= name.end:
            between = sentence.words[name.end : match.start]
            if len(between) <= 6 and all(word in _OF_PART for word in between) and (between or match.start == name.end):
                return True
        else:
            between = sentence.words[match.end : name.start]
            if len(between) <= 2 and set(between) <= {"calcified", "old", "acute", "healed"}:
                return True
            if match.end > name.start:
                return True
    return False


_OF_PART = word_set("of_part")
