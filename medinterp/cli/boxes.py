"""Boxes of an answer, on the command line."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from medinterp.types import Explanation


def tell_boxes(path: Path, explanation: Explanation) -> None:
    """Say on standard error which boxes there are, in percents of the film, and the verdicts on them, where asked."""
    verdicts = {verdict.index: verdict for verdict in explanation.box_verdicts}
    for box in explanation.report.boxes:
        left, top, right, bottom = (f"{100 * edge:.0f}" for edge in box.edges)
        place = f"{left} to {right} % across, {top} to {bottom} % down"
        verdict = verdicts.get(box.index)
        judged = "" if verdict is None else f". {verdict.sentence} IoU {verdict.own.iou:.2f}"
        print(f"medinterp: {path}: box: {box.label or 'no label'}: {place}{judged}", *box.flaws, file=sys.stderr)
    for note in explanation.report.box_notes:
        print(f"medinterp: {path}: {note}", file=sys.stderr)
