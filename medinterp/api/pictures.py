"""Pictures and files of a stored report: what the rendering deployment does."""

from __future__ import annotations

import json

import cv2
import numpy as np

from medinterp import export
from medinterp.api.answers import pack_of
from medinterp.api.backend import ExportFormat, PictureTask
from medinterp.api.selection import Selection, selected
from medinterp.explainer import Explanation
from medinterp.imaging import rgb8
from medinterp.render import RenderOptions, encode_png


def overlay_png(explanation: Explanation, selection: Selection, task: PictureTask) -> bytes:
    """The film with the map of what is selected, as PNG.

    Raises SelectionError, UnknownMethodError or MissingEvidenceError.
    """
    options = RenderOptions(
        opacity=task.opacity,
        colormap=task.colormap,
        contours=task.contours,
        scale=task.scale,
        size=task.size,
        without_sinks=task.without_sinks,
        quantity=task.quantity,
    )
    method = pack_of(explanation, task.method).method
    return explanation.overlay(selected(explanation.report, selection), method, options).png()


def film_png(explanation: Explanation, size: int | None) -> bytes:
    """The film as it was read, as PNG; size: the longer side in pixels, None for its own."""
    picture = rgb8(explanation.film)
    height, width = picture.shape[:2]
    if size is not None and size < max(height, width):
        factor = size / max(height, width)
        target = (max(1, round(width * factor)), max(1, round(height * factor)))
        picture = np.asarray(cv2.resize(picture, target, interpolation=cv2.INTER_AREA), np.uint8)
    return encode_png(picture)


def exported(explanation: Explanation, form: ExportFormat) -> bytes:
    """The report and its maps as one file."""
    if form == "html":
        return export.html(explanation).encode()
    if form == "npz":
        return export.npz(explanation)
    return json.dumps(export.document(explanation), ensure_ascii=False, allow_nan=False).encode()
