"""Boxes in an answer: the lists of objects that vision-language models draw them with, read wherever they can be.

MedGemma 1.5 and Gemma 4 write `{"box_2d": [y0, x0, y1, x1], "label": ...}`, Qwen-VL `{"bbox_2d": [x0, y0, x1, y1],
"label": ...}`, in a JSON list with or without a fence round it. Each object is read by itself, so that a list that the
token limit cut off, or that is no JSON, loses no box but the one that is broken; what could not be read is said.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from medinterp.types import Box, Finding, Word
from medinterp.types import Sentence as ReadSentence

THOUSANDTHS = (1000.0, 1000.0)
"""How many units of the coordinates make the picture's height and its width, unless a model counts otherwise."""
BOX_QUESTION = (
    "Answer the query below with bounding boxes. A box is [y0, x0, y1, x1]: (y0, x0) is its top left corner and "
    "(y1, x1) its bottom right one, so that y0 < y1 and x0 < x1. Coordinates are normalized to [0, 1000]: 15% of the "
    "image's width is an x of 150. Write one JSON list of objects in ```json...```, for instance "
    '```json[{"box_2d": [800, 3, 840, 471], "label": "car"}]```, and an empty list where there is nothing to box. '
    '"Left" is the patient\'s left side.\n\nQuery: Where is the {finding}? Reason first, then write the final answer '
    'in the format "Final Answer: X", where X is a JSON list of objects with a "box_2d" and a "label" key. Answer:'
)
"""What asks for boxes in the form that MedGemma 1.5 is documented with (its localization notebook), in our words; a
model's sidecar may have its own (`box_question`)."""

_OBJECT = r"\{(?=[^{}]*box)[^{}]*(?:\}|\Z)"
_LIST = re.compile(rf"(?:```[ \t]*(?:json)?\s*)?\[?\s*(?:{_OBJECT})(?:[\s,]*{_OBJECT})*\s*\]?\s*(?:```)?")
_EMPTY = re.compile(r"(?:```[ \t]*(?:json)?\s*\[\s*\]\s*(?:```)?|(?<=nswer:)\s*\[\s*\])")
_ITEM = re.compile(_OBJECT)
_PLACE = re.compile(r"""["']?\b(?P<key>box_2d|bbox_2d|bbox|box)["']?\s*:\s*\[(?P<numbers>[^\[\]{}]*)(?P<closed>\]?)""")
_LABEL = re.compile(
    r"""["']?\blabel["']?\s*:\s*(?P<quote>["'])(?P<label>(?:(?!(?P=quote))[^\\]|\\.)*)(?P<closed>["']?)"""
)
_NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?")


def box_question(finding: str, wording: str = BOX_QUESTION) -> str:
    """The prompt that asks where a finding is; wording: a model's own, with {finding} in it."""
    return wording.replace("{finding}", finding)


@dataclass(frozen=True)
class Drawn:
    """A box as the text has it. label_span, place_span: characters of its label and of its coordinates."""

    box: Box
    label_span: tuple[int, int]
    place_span: tuple[int, int]


def find_boxes(text: str, scale: tuple[float, float] = THOUSANDTHS) -> tuple[tuple[Drawn, ...], tuple[str, ...]]:
    """Every box of a text without thoughts, in order, and sentences about those that could not be read.

    scale: what `height` and `width` of the picture are in the coordinates. A box that the text draws twice counts where
    it stands last.
    """
    drawn: dict[tuple[object, ...], Drawn] = {}
    notes: list[str] = []
    items = list(_ITEM.finditer(text))
    for number, item in enumerate(items, start=1):
        read = _read(text, item, scale)
        if isinstance(read, str):
            notes.append(f"Box {number} of {len(items)} could not be read: {read}.")
            continue
        key = (read.box.label, *read.box.edges)
        drawn.pop(key, None)
        drawn[key] = read
    if not items and _EMPTY.search(text):
        notes.append("The list of boxes is empty: the model draws none.")
    return tuple(replace(one, box=replace(one.box, index=k)) for k, one in enumerate(drawn.values())), tuple(notes)


def without_lists(text: str, drawn: Sequence[Drawn]) -> str:
    """The text with its lists of boxes blanked out, each label left as a sentence: all characters keep their place."""
    blank = list(text)
    for match in (*_LIST.finditer(text), *_EMPTY.finditer(text)):
        start, end = match.span()
        blank[start:end] = ["\n" if character == "\n" else " " for character in text[start:end]]
        if text[:start].rstrip()[-1:] not in ".:!?":
            blank[start] = "."  # the sentence before it ends here
    for one in drawn:
        start, end = one.label_span
        if end > start:
            blank[start:end] = text[start:end]
            blank[end : end + 1] = ["."] if end < len(text) else []
    return "".join(blank)


def tied(
    drawn: Sequence[Drawn], words: Sequence[Word], findings: Sequence[Finding], sentences: Sequence[ReadSentence]
) -> tuple[tuple[Box, ...], tuple[ReadSentence, ...]]:
    """The boxes with their words, tokens and findings; and the sentences, where a label that names no finding (a
    structure) is one that is not about findings."""
    boxes = []
    for one in drawn:
        spans = (one.label_span, one.place_span)
        inside = [w for w in words if any(start <= w.start and w.end <= end for start, end in spans)]
        stated = [f for f in findings if one.label_span[0] <= f.start and f.end <= one.label_span[1]]
        flaws = one.box.flaws
        if stated and all(finding.status == "absent" for finding in stated):
            flaws = (*flaws, "Its label denies the finding.")
        boxes.append(
            replace(
                one.box,
                word_indices=tuple(word.index for word in inside),
                token_indices=tuple(sorted({token for word in inside for token in word.token_indices})),
                finding=stated[0].name if stated else None,
                flaws=flaws,
            )
        )
    ends = dict(one.label_span for one in drawn)
    said = [
        sentence
        if sentence.start not in ends
        else replace(
            sentence, end=ends[sentence.start], reading="other" if sentence.reading == "unread" else sentence.reading
        )
        for sentence in sentences
    ]
    return tuple(boxes), tuple(said)


def _read(text: str, item: re.Match[str], scale: tuple[float, float]) -> Drawn | str:
    """One object, or why it cannot be read."""
    start, end = item.span()
    place, label = _PLACE.search(text, start, end), _LABEL.search(text, start, end)
    whole = text[end - 1] == "}"
    cut = "the answer was cut off in it"
    if place is None:
        return "it has no list of coordinates" if whole else cut
    numbers = [float(found) for found in _NUMBER.findall(place["numbers"])]
    if len(numbers) != 4 or not place["closed"]:
        return cut if not whole else f"it has {len(numbers)} coordinates, not 4"
    first, second, third, fourth = numbers
    upright = place["key"] in ("box_2d", "box")
    y0, x0, y1, x1 = (first, second, third, fourth) if upright else (second, first, fourth, third)
    high, wide = scale
    flaws = []
    if max(map(abs, numbers)) <= 1.0:
        high = wide = 1.0
        flaws.append("Its coordinates were read as shares of the film: none is above 1.")
    if y1 < y0 or x1 < x0:
        flaws.append("Its corners were swapped; they are put in order here.")
    top, bottom = sorted((y0 / high, y1 / high))
    left, right = sorted((x0 / wide, x1 / wide))
    if min(top, left) < 0.0 or max(bottom, right) > 1.0:
        flaws.append("It reaches beyond the film; it is cut at its edge here.")
        top, left, bottom, right = (min(max(edge, 0.0), 1.0) for edge in (top, left, bottom, right))
    if not (bottom > top and right > left):
        return "it covers nothing of the film"
    said, span = "", (end, end)
    if label is None:
        flaws.append("It has no label." if whole else "The answer was cut off before its label.")
    else:
        said, span = re.sub(r"\\(.)", r"\1", label["label"]), label.span("label")
        if not label["closed"]:
            flaws.append("The answer was cut off in its label.")
    box = Box(0, said, left, top, right, bottom, start, end, (), (), None, tuple(flaws))
    return Drawn(box, span, place.span("numbers"))
