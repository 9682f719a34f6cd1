"""A figure for a paper or a slide: film, overlay, colour bar, the sentence with its words set off, and what made it."""

from __future__ import annotations

import io
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from medinterp.export.facts import CONTROLS, ExportFacts, unit_of
from medinterp.export.png_text import with_text
from medinterp.export.view import Chosen, MapView
from medinterp.relevancy import METHODS
from medinterp.render import colormap, default_colormap
from medinterp.types import Report

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from medinterp.export.typeset import Placed

FigureForm = Literal["png", "svg", "pdf"]
WIDTH, MARGIN = 8.0, 0.25
"""Inches."""
GAP, BAR, BAR_LABELS = 0.15, 0.14, 0.85
TALLEST = 4.6
"""Inches of a panel's height."""
DOTS_PER_INCH = 200
PIXELS = 1400
"""Of a film's longer side in a figure, at most."""
SENTENCE_SIZE, SMALL_SIZE, LEADING = 11.0, 7.5, 1.45
"""Points, points, and a line's height over its size."""
PAD, BETWEEN = 0.026, 0.06
"""Inches that a mark goes beyond its word, and between two texts."""
MARK, INK, FAINT = "#ffe08a", "#111111", "#444444"
MAX_SENTENCE = 600
"""Characters around the selection."""
_drawing = threading.Lock()
"""matplotlib's settings belong to the process."""


def figure(report: Report, chosen: Chosen, view: MapView, facts: ExportFacts, form: FigureForm) -> bytes:
    """The figure as PNG (200 dots an inch), SVG (text as text) or PDF (fonts embedded); the same bytes every time.

    Raises ExportError where the words have characters that the font lacks (not for SVG).
    """
    from medinterp.export.typeset import check_glyphs

    sentence, marks = sentence_of(report, chosen)
    captions = _captions(chosen, view, facts)
    if form != "svg":
        check_glyphs(" ".join((sentence, *captions)))
    buffer = io.BytesIO()
    with _settings():
        drawn = _drawn(view, sentence, marks, captions)
        told = facts.text()
        if form == "svg":
            drawn.savefig(buffer, format="svg", metadata={"Date": None, "Title": chosen.label, "Description": told})
            return CONTROLS.sub("\ufffd", buffer.getvalue().decode()).encode()
        elif form == "pdf":
            metadata = {"CreationDate": None, "Title": chosen.label, "Subject": told, "Creator": facts.software}
            drawn.savefig(buffer, format="pdf", metadata=metadata)
        else:
            drawn.savefig(buffer, format="png", metadata={"Software": None})
            return with_text(buffer.getvalue(), facts.lines())
    return buffer.getvalue()


@contextmanager
def _settings() -> Iterator[None]:
    """matplotlib as it comes, with ours; nothing that it warns of is said, for it may quote the report."""
    import matplotlib

    with _drawing, matplotlib.rc_context(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        matplotlib.rcdefaults()
        matplotlib.rcParams["svg.fonttype"] = "none"  # text stays text
        matplotlib.rcParams["svg.hashsalt"] = "medinterp"  # ids that are the same every time
        matplotlib.rcParams["pdf.fonttype"] = 42  # TrueType, embedded
        yield


def sentence_of(report: Report, chosen: Chosen) -> tuple[str, list[tuple[int, int]]]:
    """The sentence or sentences that the words stand in, and the words' spans in that text.

    Where none is known, the line. Cut to MAX_SENTENCE characters around the words where it is longer.
    """
    first, last = chosen.words[0].start, chosen.words[-1].end
    around = [one for one in report.sentences if one.start < last and one.end > first]
    start = min([first, *(one.start for one in around)])
    end = max([last, *(one.end for one in around)])
    if not around:
        start = report.text.rfind("\n", 0, first) + 1
        stop = report.text.find("\n", last)
        end = len(report.text) if stop < 0 else stop
    room = max(0, MAX_SENTENCE - (last - first)) // 2
    cut_start, cut_end = max(start, first - room), min(end, last + room)
    before, after = "… " * (cut_start > start), " …" * (cut_end < end)
    shift = len(before) - cut_start
    spans = [(word.start + shift, word.end + shift) for word in chosen.words]
    return before + report.text[cut_start:cut_end] + after, spans


def _captions(chosen: Chosen, view: MapView, facts: ExportFacts) -> tuple[str, ...]:
    lines = facts.lines()
    method = METHODS.get(view.pack.method)
    title = view.pack.method if method is None else f"{method.title} ({method.name})"
    which = "Prior film" if view.pack.image else "Film"
    return (
        f"{chosen.label}. {title}, {lines['layers']}, {lines['calibration']}. Scale: {facts.scale}.",
        f"Model {facts.model}, revision {facts.revision}. {which} SHA-256 {view.film.sha256[:16]}…",
        f"{facts.disclaimer} {facts.software}.",
    )


def _drawn(view: MapView, sentence: str, marks: Sequence[tuple[int, int]], captions: Sequence[str]) -> Figure:
    from matplotlib.figure import Figure

    from medinterp.export.typeset import runs_of, set_lines

    wide = (WIDTH - 2 * MARGIN - GAP - GAP - BAR - BAR_LABELS) / 2
    tall = wide * view.film.height / view.film.width
    if tall > TALLEST:
        wide, tall = wide * TALLEST / tall, TALLEST
    points = (WIDTH - 2 * MARGIN) * 72
    blocks = [(set_lines(runs_of(sentence, marks), SENTENCE_SIZE, points), SENTENCE_SIZE, INK)]
    blocks += [(set_lines(runs_of(caption, ()), SMALL_SIZE, points), SMALL_SIZE, FAINT) for caption in captions]
    text = sum(_height(placed, size) for placed, size, _ in blocks) + BETWEEN * len(blocks)
    height = MARGIN + tall + 0.2 + text + MARGIN
    figure = Figure(figsize=(WIDTH, height), dpi=DOTS_PER_INCH, facecolor="white")
    left = (WIDTH - 2 * wide - 2 * GAP - BAR - BAR_LABELS) / 2
    bottom = height - MARGIN - tall
    size = min(PIXELS, max(view.film.height, view.film.width))
    for k, picture in enumerate((view.plain(size), view.picture(size))):
        axes = figure.add_axes((*_share(left + k * (wide + GAP), bottom, height), wide / WIDTH, tall / height))
        axes.imshow(picture, interpolation="antialiased", aspect="auto")
        axes.set_axis_off()
    bar = figure.add_axes(
        (*_share(left + 2 * (wide + GAP), bottom, height), BAR / WIDTH, tall / height), label="colour bar"
    )
    _draw_bar(bar, view)
    top = bottom - 0.2
    for placed, size_, colour in blocks:
        _write(figure, placed, size_, colour, top, height)
        top -= _height(placed, size_) + BETWEEN
    return figure


def _share(left: float, bottom: float, height: float) -> tuple[float, float]:
    return left / WIDTH, bottom / height


def _height(placed: Sequence[Placed], size: float) -> float:
    return (placed[-1].line + 1 if placed else 0) * size * LEADING / 72


def _draw_bar(axes: Any, view: MapView) -> None:
    """The scale's colours with the values that they stand for: the square root of the share of the range is drawn."""
    from medinterp.export.typeset import font

    table = colormap(view.options.colormap or default_colormap(view.map.signed))
    axes.imshow(table[:, None], origin="lower", aspect="auto", extent=(0, 1, 0, 1))
    low, high = view.value_range
    places = np.linspace(0.0, 1.0, 5)
    distance = 2.0 * places - 1.0
    values = high * np.sign(distance) * distance**2 if view.map.signed else low + (high - low) * places**2
    named = [f"{value:.3g}" for value in values]
    if view.options.scale == "report":
        named[-1] = f"≥ {named[-1]}"
        named[0] = f"≤ {named[0]}" if view.map.signed else named[0]
    axes.set_xticks([])
    axes.yaxis.tick_right()
    axes.yaxis.set_label_position("right")
    axes.set_yticks(places, named, fontproperties=font(SMALL_SIZE))
    unit = unit_of(view.pack, disagreement=view.options.quantity == "disagreement")
    axes.set_ylabel(f"{unit} (square-root scale)", fontproperties=font(SMALL_SIZE))


def _write(figure: Figure, placed: Sequence[Placed], size: float, colour: str, top: float, height: float) -> None:
    """Lines of text below `top` (inches from the figure's bottom); what is marked is bold on a ground of its own."""
    from matplotlib.patches import Rectangle

    from medinterp.export.typeset import font

    step = size * LEADING / 72
    for one in placed:
        base = top - one.line * step - size / 72
        x, y = _share(MARGIN + one.left / 72, base, height)
        if one.run.marked:
            corner = _share(MARGIN + one.left / 72 - PAD, base - 0.25 * size / 72, height)
            ground = (one.width / 72 + 2 * PAD) / WIDTH, 1.3 * size / 72 / height
            figure.add_artist(Rectangle(corner, *ground, facecolor=MARK, edgecolor="none", zorder=0.5))
        weight = font(size, bold=one.run.marked)
        figure.text(x, y, one.run.text, fontproperties=weight, color=colour, va="baseline", parse_math=False)
