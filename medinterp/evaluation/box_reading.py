"""Are boxes right, and are verdicts on them? On synthetic films, where the truth is known, with boxes planted wrong."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from medinterp.evaluation.boxes import judge_boxes
from medinterp.evaluation.intervals import bootstrap_mean, bootstrap_rate
from medinterp.evaluation.reading import film_of, unseen_films
from medinterp.model import Generator
from medinterp.phantom.films import box_of_mask, draw_film
from medinterp.phantom.findings import NAMES
from medinterp.report import box_question
from medinterp.types import Film, Report

FIRST_SEED = 10_500_000
"""First seed of the films that boxes are measured on."""
RIGHT_IOU = 0.5
"""From here on a box is right, as detectors are scored (PASCAL VOC)."""
Edges = tuple[float, float, float, float]
"""Left, top, right, bottom, shares of the film."""


def evaluate_boxes(
    generator: Generator,
    films: int = 300,
    *,
    first_seed: int = FIRST_SEED,
    judged: int = 200,
    progress: Callable[[int], None] | None = None,
    seed: int = 0,
    tell: Callable[[str, Any], None] | None = None,
) -> dict[str, Any]:
    """How boxes lie to the truth, and how often verdicts on them are right; 95 % intervals from a bootstrap over films.

    One finding that is there and one that is not are asked for on every film. `iou`: of the true box and the best of
    the answer's (0 where it draws none); `right`: share with RIGHT_IOU or more; `absent_empty`: share of absent ones
    that are answered by an empty list. Verdicts, on the first `judged` films: of the model's own boxes that are right
    (`own_right`: shares of each verdict), of true boxes in a given text (`given_true`), and of the same boxes moved so
    that they touch no true one of that name (`planted`). `told_wrong`: the share that is called "elsewhere" or
    "text", false alarms of the first two kinds and catches of the third. tell: gets the
    kind and the verdict of each box.
    """
    rng = np.random.default_rng(seed)
    wording, loaded = generator.loaded.box_question, generator.loaded
    ious: list[list[float]] = []
    by_name: dict[str, list[list[float]]] = {}
    empty: list[list[float]] = []
    verdicts: dict[str, list[list[str]]] = {"own_right": [], "given_true": [], "planted": []}

    def judge(kind: str, film: Film, report: Report, prompt: str) -> None:
        for verdict in judge_boxes(loaded, [film], report, prompt)[:1]:
            verdicts[kind].append([verdict.verdict])
            if tell is not None:
                tell(kind, verdict)

    for number, (synthetic, width, height) in enumerate(unseen_films(films, first_seed)):
        film, _ = film_of(synthetic, width, height)
        drawing = draw_film(synthetic, width, height)
        absent = str(rng.choice([name for name in NAMES if name not in {f.name for f in synthetic.findings}]))
        answer = generator.generate([film], box_question(absent, wording)).report
        empty.append([float(not answer.boxes and bool(answer.box_notes))])
        if synthetic.findings:
            chosen = int(rng.integers(len(synthetic.findings)))
            name = synthetic.findings[chosen].name
            true = [
                _edges(box_of_mask(mask))
                for finding, mask in zip(synthetic.findings, drawing.masks, strict=True)
                if finding.name == name
            ]
            prompt = box_question(name, wording)
            answer = generator.generate([film], prompt).report
            found = max((iou(box.edges, edges) for box in answer.boxes for edges in true), default=0.0)
            ious.append([found])
            by_name.setdefault(name, []).append([found])
            if number < judged:
                if answer.boxes and max(iou(answer.boxes[0].edges, edges) for edges in true) >= RIGHT_IOU:
                    judge("own_right", film, answer, prompt)
                label = answer.boxes[0].label if answer.boxes else name
                for kind, edges in (("given_true", true[0]), ("planted", _moved(true, rng))):
                    judge(kind, film, generator.force([film], _text(edges, label), prompt).report, prompt)
        if progress is not None:
            progress(1)
    right = [[float(value >= RIGHT_IOU) for value in of] for of in ious]
    return {
        "films": films,
        "asked": len(ious),
        "iou": bootstrap_mean(ious, rng),
        "right": bootstrap_rate(right, rng),
        "absent_empty": bootstrap_rate(empty, rng),
        "by_finding": {
            name: {"asked": len(of), **bootstrap_mean(of, rng)} for name, of in sorted(by_name.items())
        },
        "verdicts": {kind: _shares(of, rng) for kind, of in verdicts.items()},
    }


def iou(first: Edges, second: Edges) -> float:
    """Intersection over union of two boxes."""
    across = max(0.0, min(first[2], second[2]) - max(first[0], second[0]))
    down = max(0.0, min(first[3], second[3]) - max(first[1], second[1]))
    both = across * down
    areas = sum((right - left) * (bottom - top) for left, top, right, bottom in (first, second))
    return both / (areas - both) if areas > both else 0.0


def _shares(of: list[list[str]], rng: np.random.Generator) -> dict[str, Any]:
    """How many there are, and the share of each verdict; "told_wrong": "elsewhere" and "text" together."""
    names: dict[str, frozenset[str]] = {name: frozenset([name]) for name in ("agrees", "elsewhere", "text", "unclear")}
    names["told_wrong"] = frozenset(["elsewhere", "text"])
    rates = {
        name: bootstrap_rate([[float(verdict in wanted) for verdict in one] for one in of], rng)
        for name, wanted in names.items()
    }
    return {"boxes": len(of), **rates}


def _edges(box: tuple[float, float, float, float]) -> Edges:
    top, left, bottom, right = box
    return left, top, right, bottom


def _text(edges: Edges, label: str) -> str:
    left, top, right, bottom = (10 * round(100 * edge) for edge in edges)
    box = [top, left, max(bottom, top + 10), max(right, left + 10)]
    return f"Final Answer: ```json\n{json.dumps([{'box_2d': box, 'label': label}])}\n```"


def _moved(true: list[Edges], rng: np.random.Generator) -> Edges:
    """A box of the first one's size that touches none of them: of many drawn places the first, else the farthest."""
    left, top, right, bottom = true[0]
    wide, high = right - left, bottom - top

    def drawn() -> Iterator[Edges]:
        for _ in range(200):
            x, y = float(rng.uniform(0.0, 1.0 - wide)), float(rng.uniform(0.0, 1.0 - high))
            yield x, y, x + wide, y + high

    places = list(drawn())
    apart = [place for place in places if all(iou(place, one) == 0.0 for one in true)]
    return apart[0] if apart else min(places, key=lambda place: max(iou(place, one) for one in true))
