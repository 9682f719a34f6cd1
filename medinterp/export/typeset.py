"""Text set in lines of a width, in the font that comes with matplotlib: runs that keep their place and weight."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

import matplotlib
from matplotlib.font_manager import FontProperties
from matplotlib.ft2font import FT2Font
from matplotlib.textpath import text_to_path

from medinterp.errors import ExportError

_FONTS = {False: "DejaVuSans.ttf", True: "DejaVuSans-Bold.ttf"}


@dataclass(frozen=True)
class Run:
    """Characters of one kind without a blank in them. marked: set off; spaced: a blank stands before them."""

    text: str
    marked: bool
    spaced: bool


@dataclass(frozen=True)
class Placed:
    """A run in its line. line: 0-based; left, width: in points."""

    run: Run
    line: int
    left: float
    width: float


def font(size: float, *, bold: bool = False) -> FontProperties:
    """The font of that size in points; its file comes with matplotlib, whatever else the machine has."""
    # An SVG's viewer goes by family and weight, not by the file.
    weight = "bold" if bold else "normal"
    return FontProperties(family=["DejaVu Sans", "sans-serif"], weight=weight, size=size, fname=str(font_file(bold)))


def font_file(bold: bool = False) -> Path:
    """Where the font lies."""
    return Path(matplotlib.get_data_path(), "fonts", "ttf", _FONTS[bold])


@cache
def _covered(bold: bool) -> frozenset[int]:
    return frozenset(FT2Font(str(font_file(bold))).get_charmap())


def check_glyphs(text: str) -> None:
    """Raise ExportError for characters that the font lacks: they would be drawn as boxes. Quotes none of them."""
    lacking = sum(1 for sign in set(text) if not sign.isspace() and ord(sign) not in _covered(True) & _covered(False))
    if lacking:
        raise ExportError(
            f"the font of a figure lacks {lacking} of the characters of these words; ask for figure-svg, whose text is "
            "drawn by the viewer's own fonts, or for html"
        )


def runs_of(text: str, marks: Sequence[tuple[int, int]]) -> list[Run]:
    """Cut a text at its blanks, and where what is marked (spans of characters) begins or ends."""
    edges = {edge for span in marks for edge in span}
    runs = []
    for match in re.finditer(r"\S+", text):
        cuts = [match.start(), *sorted(edge for edge in edges if match.start() < edge < match.end()), match.end()]
        for k, (start, end) in enumerate(pairwise(cuts)):
            marked = any(first <= start < last for first, last in marks)
            runs.append(Run(text[start:end], marked, spaced=k == 0 and match.start() > 0))
    return runs


def set_lines(runs: Sequence[Run], size: float, width: float) -> list[Placed]:
    """Place runs in lines of a width in points; what is longer than a line is cut between its characters."""
    placed: list[Placed] = []
    line, left = 0, 0.0
    blank = text_width(" ", size, bold=False)
    for run in _fitting(runs, size, width):
        wide = text_width(run.text, size, bold=run.marked)
        gap = blank if run.spaced and left else 0.0
        if left and left + gap + wide > width:
            line, left, gap = line + 1, 0.0, 0.0
        placed.append(Placed(run, line, left + gap, wide))
        left += gap + wide
    return placed


def _fitting(runs: Sequence[Run], size: float, width: float) -> Iterator[Run]:
    for run in runs:
        text, spaced = run.text, run.spaced
        while len(text) > 1 and text_width(text, size, bold=run.marked) > width:
            count, too_many = 1, len(text)
            while too_many - count > 1:
                middle = (count + too_many) // 2
                fits = text_width(text[:middle], size, bold=run.marked) <= width
                count, too_many = (middle, too_many) if fits else (count, middle)
            yield Run(text[:count], run.marked, spaced)
            text, spaced = text[count:], False
        yield Run(text, run.marked, spaced)


def text_width(text: str, size: float, *, bold: bool) -> float:
    """The advance of a text in points, no mathematics read into its dollar signs."""
    wide, _, _ = text_to_path.get_text_width_height_descent(text.replace(" ", "n"), font(size, bold=bold), ismath=False)
    return float(wide) if text != " " else float(wide) / 2
