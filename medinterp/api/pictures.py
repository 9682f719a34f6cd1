"""Pictures and files of a stored report: what the rendering deployment does."""

from __future__ import annotations

import json

from medinterp import export
from medinterp.api.answers import pack_of
from medinterp.api.backend import ExportFormat, PictureTask
from medinterp.api.selection import Selection, selected
from medinterp.explainer import Explanation
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
    method = pack_of(explanation, task.method, task.image).method
    return explanation.overlay(selected(explanation.report, selection), method, options, image=task.image).png()


def film_png(explanation: Explanation, size: int | None, image: int = 0) -> bytes:
    """The film as it was read, as gray PNG; size: the longer side in pixels, None or a larger one for its own.

    Raises SelectionError for the prior film (image 1) of a report that has none.
    """
    film = explanation.film_at(image)
    wanted = None if size is None or size >= max(film.height, film.width) else size
    return encode_png(explanation.canvas_of(image, wanted))


def exported(explanation: Explanation, form: ExportFormat) -> bytes:
    """The report and its maps as one file."""
    if form == "html":
        return export.html(explanation).encode()
    if form == "npz":
        return export.npz(explanation)
    return json.dumps(export.document(explanation), ensure_ascii=False, allow_nan=False).encode()
