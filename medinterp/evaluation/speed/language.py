"""Reading a report's language: does the time grow as the text does?"""

from __future__ import annotations

from medinterp.evaluation.speed.line import BenchLine, interleaved, seconds_line
from medinterp.report import read_report

MENTIONS = 1500
PARTS = 10
JOINTS = {"commas": ", ", "denials": ", no ", "hedges": " may represent "}
_NAMES = ("opacity", "effusion", "pneumothorax", "nodule", "atelectasis", "cardiomegaly")


def sentence_of(mentions: int, joint: str) -> str:
    """One sentence with so many findings."""
    return f"No {joint.join(_NAMES[k % len(_NAMES)] for k in range(mentions))}."


def language_lines(mentions: int = MENTIONS, rounds: int = 5) -> list[BenchLine]:
    """One sentence of many mentions beside ten of a tenth of them: a ratio of 1 is linear time."""
    lines = []
    for name, joint in JOINTS.items():
        whole, part = sentence_of(mentions, joint), sentence_of(mentions // PARTS, joint)

        def one(text: str = whole) -> None:
            read_report(text)

        def ten(text: str = part) -> None:
            for _ in range(PARTS):
                read_report(text)

        seconds = interleaved({"ten": ten, "one": one}, rounds)
        label = f"reading a sentence of {mentions:,} findings / {PARTS} of {mentions // PARTS} ({name} between them)"
        lines.append(seconds_line(label, seconds["ten"], seconds["one"]))
    return lines
