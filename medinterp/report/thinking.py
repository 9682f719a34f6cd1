"""What a model thought before it answered: a part of its own, apart from the report."""

from __future__ import annotations

import re
from collections.abc import Sequence

from medinterp.types import ReportToken, Thinking

MARKS = (("<unused94>", "<unused95>"), ("<|channel>", "<channel|>"), ("<think>", "</think>"))
"""What opens and closes a thought: of MedGemma 1.5, of Gemma 4, and of Qwen3-VL."""
_CLOSING = "|".join(re.escape(last) for _, last in MARKS)
_OPENING = "|".join(re.escape(first) for first, _ in MARKS)
_BLOCK = re.compile(
    # a thought that the prompt opened
    rf"\A(?P<body>(?:(?!{_OPENING}|{_CLOSING}).)*)(?P<close>{_CLOSING})|"
    + "|".join(
        rf"(?P<open{k}>{re.escape(first)}(?:thought\b)?)(?P<body{k}>.*?)(?P<close{k}>{re.escape(last)}|\Z)"
        for k, (first, last) in enumerate(MARKS)
    ),
    re.DOTALL,
)


def find_thinking(text: str, tokens: Sequence[ReportToken] = ()) -> tuple[Thinking, ...]:
    """The thoughts in a text, each with its marks; one that was cut off reaches to the end."""
    return tuple(
        Thinking(
            match.start(),
            match.end(),
            tuple(t.index for t in tokens if t.start < match.end() and match.start() < t.end),
        )
        for match in _BLOCK.finditer(text)
    )


def without_thinking(text: str, thinking: Sequence[Thinking]) -> str:
    """The text with each thought blanked out: every other character keeps its place.

    The last blank is a line's end, so that a heading straight behind a thought starts a line.
    """
    pieces, position = [], 0
    for block in thinking:
        pieces += [text[position : block.start], " " * (block.end - block.start - 1), "\n"]
        position = block.end
    return "".join([*pieces, text[position:]])


def spoken(text: str) -> str:
    """The text without its thoughts: what was answered."""
    return _BLOCK.sub("", text).strip() if any(mark in text for pair in MARKS for mark in pair) else text


def inside_marks(text: str, start: int, end: int) -> tuple[int, int]:
    """The part of the thought text[start:end] that stands between its marks."""
    match = _BLOCK.match(text[start:end])
    if match is None:
        return start, end
    body = next(name for name, value in match.groupdict().items() if name.startswith("body") and value is not None)
    return start + match.start(body), start + match.end(body)


def mark_spans(text: str) -> tuple[tuple[int, int], ...]:
    """Where the marks themselves stand: they are no words."""
    spans = []
    for match in _BLOCK.finditer(text):
        for name, value in match.groupdict().items():
            if value and not name.startswith("body"):
                spans.append(match.span(name))
    return tuple(spans)
