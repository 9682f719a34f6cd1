"""Says here, looked there: does a box that the model drew lie where it looked?

A box is words: coordinates and a label. Their causal map (`occlusion`: what they lose when cells are hidden) says where
the model looked while it wrote them, and where the report names the same finding elsewhere, the map of those words says
where it looked for the finding itself. What is asked is how these maps lie to the box.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch

from medinterp.errors import SelectionError
from medinterp.evaluation.faithfulness import RELIANCE_NATS
from medinterp.evaluation.fills import fill_films
from medinterp.evaluation.metrics import covered_mass, otsu_threshold
from medinterp.evaluation.reliance import FilmSwaps, largest_loss
from medinterp.imaging.geometry import upsample
from medinterp.model.loading import LoadedModel
from medinterp.model.measuring import measure
from medinterp.model.pieces import Pieces
from medinterp.model.prompt import build_prompt
from medinterp.model.replay import MEMORY_BYTES
from medinterp.relevancy import box_coverage, get_method, select_map
from medinterp.types import (
    Asked,
    Box,
    BoxMap,
    BoxVerdict,
    BoxVerdictName,
    Film,
    Float32Array,
    MapPack,
    Report,
)

METHOD = "occlusion"
FINER = 8
"""A map is laid over the film this many times finer than its cells, as regions are drawn in exports."""
INSIDE_SHARE = 0.5
OUTSIDE_SHARE = 0.25
"""Of a map's positive part in the box, a cell round it included: agreement from the first on, none below the second.

Set by hand and not yet measured: `medinterp evaluate --boxes` says how often right boxes are accused and planted ones
caught, of a model that draws boxes well enough.
"""
SENTENCES: Mapping[BoxVerdictName, str] = {
    "agrees": "Agrees: what the model looked at for this box lies in it.",
    "elsewhere": "Says here, looked there: what the model looked at for this box lies elsewhere on the film.",
    "text": "Not because of the picture: with other films in this one's place the box is as likely.",
    "unclear": "Cannot tell: what the model looked at for this box lies partly in it and partly elsewhere.",
}


def judge_boxes(
    loaded: LoadedModel,
    films: Sequence[Film],
    report: Report,
    prompt: Asked,
    *,
    packs: Mapping[str, MapPack] | None = None,
    swaps: Sequence[Film] | None = None,
    memory_bytes: int = MEMORY_BYTES,
    progress: Callable[[int, int], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> tuple[BoxVerdict, ...]:
    """A verdict for every box of a report that tokens wrote, on the first film.

    films, prompt: those that the report was written of; packs: maps that are there already, of which exact occlusion is
    taken; swaps: films that take the first one's place, as in `faithfulness`. progress gets the passes done, and of how
    many. Raises SelectionError for a report without boxes, GenerationCancelled.
    """
    boxes = [box for box in report.boxes if box.token_indices]
    if not boxes:
        raise SelectionError("the report draws no box that could be read: there is nothing to judge")
    named = {box.index: _named_elsewhere(report, box) for box in boxes}
    last = max(max(box.token_indices + named[box.index]) for box in boxes)
    ids = [token.token_id for token in report.tokens[: last + 1]]
    fills, done = fill_films(films[0], swaps), 0
    kept = (packs or {}).get(METHOD)
    exact = kept if kept is not None and not kept.options else None
    inputs = build_prompt(loaded, films, prompt)
    total = 1 + len(fills) + (inputs.cells if exact is None else 0)

    def told(passes: int) -> None:
        nonlocal done
        done += passes
        if progress is not None:
            progress(done, total)

    with loaded.lock.asking(cancelled), torch.no_grad():
        pieces = Pieces(loaded, memory_bytes, "passes", total, told, cancelled)
        swapped = FilmSwaps(loaded, films, prompt, ids, pieces)
        own = swapped.logprobs()
        drops = own - np.array([swapped.logprobs(swapped.cells(film)) for film in fills])
        if exact is None:
            before = done

            def cells(_name: str, finished: int, _of: int) -> None:
                told(before + finished - done)

            found = measure(
                loaded, inputs, ids, [METHOD], memory_bytes=memory_bytes, progress=cells, cancelled=cancelled
            )[METHOD]
            exact = get_method(METHOD).pack(found, found.image_spans, 0, found.options)
    verdicts = []
    for box in boxes:

        def lies(tokens: tuple[int, ...], pack: MapPack = exact, box: Box = box) -> BoxMap:
            reliance = float(largest_loss(drops[:, list(tokens)].sum(axis=1)))
            return lie_of(box, tokens, reliance, select_map(pack, tokens).values)

        own_map = lies(box.token_indices)
        finding = lies(named[box.index]) if named[box.index] else None
        verdict = verdict_of(own_map, finding)
        verdicts.append(BoxVerdict(box.index, own_map, finding, verdict, SENTENCES[verdict]))
    return tuple(verdicts)


def lie_of(box: Box, tokens: tuple[int, ...], reliance: float, values: Float32Array) -> BoxMap:
    """How a map, float32 [rows, columns] of any grid, lies to a box."""
    rows, columns = values.shape
    round_it = box_coverage(_wider(box, rows, columns), rows, columns)
    row, column = np.unravel_index(int(values.argmax()), values.shape)
    fine = upsample(values, rows * FINER, columns * FINER)
    positive = np.maximum(fine, 0.0)
    region = positive >= otsu_threshold(fine) if positive.max() > positive.min() else np.zeros(fine.shape, np.bool_)
    covered = box_coverage(box.edges, *fine.shape)
    both = float(covered[region].sum())
    return BoxMap(
        token_indices=tokens,
        reliance=reliance,
        iou=both / (float(region.sum()) + float(covered.sum()) - both),
        share=covered_mass(values, round_it),
        peak=((float(column) + 0.5) / columns, (float(row) + 0.5) / rows),
        peak_inside=bool(round_it[row, column] > 0.0),
    )


def verdict_of(own: BoxMap, finding: BoxMap | None) -> BoxVerdictName:
    """The rule. The words that name the finding elsewhere count where the picture drives them."""
    if own.reliance < RELIANCE_NATS:
        return "text"
    maps = [own, *([finding] if finding is not None and finding.reliance >= RELIANCE_NATS else [])]
    if any(one.share < OUTSIDE_SHARE and not one.peak_inside for one in maps):
        return "elsewhere"
    return "agrees" if all(one.share >= INSIDE_SHARE and one.peak_inside for one in maps) else "unclear"


def _wider(box: Box, rows: int, columns: int) -> tuple[float, float, float, float]:
    """The box and a cell round it: what a cell shows enters its neighbours too, in the vision tower."""
    left, top, right, bottom = box.edges
    across, down = 1.0 / columns, 1.0 / rows
    return max(0.0, left - across), max(0.0, top - down), min(1.0, right + across), min(1.0, bottom + down)


def _named_elsewhere(report: Report, box: Box) -> tuple[int, ...]:
    """The tokens that affirm the box's finding outside all boxes, on its side where both tell one."""
    inside = {word for other in report.boxes for word in other.word_indices}
    own = [f for f in report.findings if f.name == box.finding and set(f.word_indices) & set(box.word_indices)]
    sides = {finding.side for finding in own} - {None}
    words = {
        word
        for finding in report.findings
        if finding.present and finding.name == box.finding and not inside & set(finding.word_indices)
        if not sides or finding.side is None or finding.side in sides | {"bilateral"}
        for word in finding.word_indices
    }
    return tuple(sorted({token for word in words for token in report.words[word].token_indices}))
