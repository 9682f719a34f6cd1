"""Pictures and files of a stored report: what the rendering deployment does."""

from __future__ import annotations

import json

import cv2

from medinterp import export
from medinterp.api.answers import pack_of
from medinterp.api.backend import ExportFormat, PictureTask
from medinterp.api.selection import Selection, selected_tokens
from medinterp.imaging import rgb8
from medinterp.relevancy import select_map
from medinterp.render import RenderOptions, encode_png, overlay, report_range
from medinterp.types import Explanation


def overlay_png(explanation: Explanation, selection: Selection, task: PictureTask) -> bytes:
    """The film with the map of what is selected, as PNG.

    Raises SelectionError, UnknownMethodError or MissingEvidenceError.
    """
    pack = pack_of(explanation, task.method)
    chosen = select_map(pack, selected_tokens(explanation.report, selection))
    options = RenderOptions(
        opacity=task.opacity,
        colormap=task.colormap,
        contours=task.contours,
        scale=task.scale,
        size=task.size,
    )
    value_range = report_range(pack) if task.scale == "report" else None
    return encode_png(overlay(explanation.film, chosen, options, value_range=value_range))


def film_png(explanation: Explanation, size: int | None) -> bytes:
    """The film as the model saw it, as PNG; size: the longer side in pixels, None for its own."""
    picture = rgb8(explanation.film)
    height, width = picture.shape[:2]
    if size is not None and size < max(height, width):
        factor = size / max(height, width)
        target = (max(1, round(width * factor)), max(1, round(height * factor)))
        picture = cv2.resize(picture, target, interpolation=cv2.INTER_AREA)
    return encode_png(picture)


def exported(explanation: Explanation, form: ExportFormat) -> bytes:
    """The report and its maps as one file."""
    if form == "html":
        return export.html(explanation).encode()
    if form == "npz":
        return export.npz(explanation)
    return json.dumps(export.document(explanation), ensure_ascii=False, allow_nan=False).encode()
