"""When two answers are one, and what becomes of left and right in a mirror."""

from __future__ import annotations

import re

from medinterp.report import spoken

_YES_NO = re.compile(r"\W*(yes\b|no\b(?!\s+\w|-\w))", re.IGNORECASE)
_SIDE = re.compile(r"\b(left|right)(?=(?:wards?)?\b)", re.IGNORECASE)


def yes_no(text: str) -> str | None:
    """ "yes" or "no" for an answer that begins with it, else None; what was thought before it does not count.

    "No pneumothorax" names something and is neither.
    """
    match = _YES_NO.match(spoken(text))
    return match.group(1).lower() if match else None


def answer_key(text: str) -> str:
    """What is compared of an answer: "yes" or "no", else its words in small letters without punctuation."""
    return yes_no(text) or " ".join(re.findall(r"\w+", spoken(text).casefold()))


def same_answer(first: str, second: str) -> bool:
    """Whether two answers say the same: both yes, both no, or the same words."""
    return answer_key(first) == answer_key(second)


def mirrored(text: str) -> str:
    """The text with the words left and right exchanged, in their own capitals.

    On a mirrored film the question about the left is a question about the right, and so is the true answer.
    """

    def other(match: re.Match[str]) -> str:
        word = match.group()
        turned = "right" if word.lower() == "left" else "left"
        return turned.upper() if word.isupper() else turned.capitalize() if word[0].isupper() else turned

    return _SIDE.sub(other, text)
