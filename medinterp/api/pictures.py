"""Pictures and files of a stored report: what the rendering deployment does."""

from __future__ import annotations

from datetime import datetime

import cv2
import numpy as np

from medinterp.api import negotiation
from medinterp.api.answers import pack_of
from medinterp.api.backend import ExportTask, PictureTask
from medinterp.api.schema_export import exported_model
from medinterp.api.selection import Selection, selected
from medinterp.explainer import Explanation
from medinterp.export.files import FileTask, make_file
from medinterp.export.regions import parse_threshold
from medinterp.imaging import rgb8
from medinterp.render import RenderOptions, encode_png


def overlay_png(explanation: Explanation, selection: Selection, task: PictureTask) -> bytes:
    """The film with the map of what is selected, as PNG.

    Raises SelectionError, UnknownMethodError or MissingEvidenceError.
    """
    method = pack_of(explanation, task.method).method
    return explanation.overlay(selected(explanation.report, selection), method, _options(task)).png()


def _options(task: PictureTask) -> RenderOptions:
    return RenderOptions(
        opacity=task.opacity,
        colormap=task.colormap,
        contours=task.contours,
        scale=task.scale,
        size=task.size,
        without_sinks=task.without_sinks,
        quantity=task.quantity,
    )


def film_png(explanation: Explanation, size: int | None) -> bytes:
    """The film as it was read, as PNG; size: the longer side in pixels, None for its own."""
    picture = rgb8(explanation.film)
    height, width = picture.shape[:2]
    if size is not None and size < max(height, width):
        factor = size / max(height, width)
        target = (max(1, round(width * factor)), max(1, round(height * factor)))
        picture = np.asarray(cv2.resize(picture, target, interpolation=cv2.INTER_AREA), np.uint8)
    return encode_png(picture)


def exported(explanation: Explanation, task: ExportTask, made: datetime) -> bytes:
    """The report as one file; made: the local time that a file tells.

    Raises SelectionError, UnknownMethodError, MissingEvidenceError, and ExportError for what it lacks.
    """
    if task.form == "msgpack":
        return negotiation.encode(exported_model(explanation), negotiation.MSGPACK)
    if task.picture.method is not None:
        pack_of(explanation, task.picture.method)
    selection = None if task.selection is None else selected(explanation.report, task.selection)
    threshold = parse_threshold(task.threshold)
    options = _options(task.picture)
    wanted = FileTask(task.form, selection, task.picture.method, options, task.image, threshold)
    return make_file(explanation, wanted, made)
