"""Pictures and files of a stored report: what the rendering deployment does."""

from __future__ import annotations

from datetime import datetime

from medinterp.api import negotiation
from medinterp.api.answers import pack_of
from medinterp.api.backend import ExportTask, FilmDepth, PictureTask
from medinterp.api.schema_export import exported_model
from medinterp.api.selection import Selection, selected
from medinterp.explanation import Explanation
from medinterp.export.files import FileTask, make_file
from medinterp.export.regions import parse_threshold
from medinterp.imaging.film import gray16
from medinterp.render import RenderOptions, encode_png, resized


def overlay_png(explanation: Explanation, selection: Selection, task: PictureTask) -> bytes:
    """The film with the map of what is selected, as PNG.

    Raises SelectionError, UnknownMethodError or MissingEvidenceError.
    """
    method = pack_of(explanation, task.method, task.image).method
    return explanation.overlay(selected(explanation.report, selection), method, _options(task), image=task.image).png()


def _options(task: PictureTask) -> RenderOptions:
    return RenderOptions(
        opacity=task.opacity,
        colormap=task.colormap,
        contours=task.contours,
        scale=task.scale,
        size=task.size,
        without_sinks=task.without_sinks,
        quantity=task.quantity,
        cutoff=task.cutoff,
    )


def film_png(explanation: Explanation, size: int | None, image: int = 0, depth: FilmDepth = 8) -> bytes:
    """The film as it was read, as gray PNG; size: the longer side in pixels, None or a larger one for its own.

    depth: 16 for all the grays of a film that has them (of one of 8 bits each gray times 257).

    Raises SelectionError for the prior film (image 1) of a report that has none.
    """
    film = explanation.film_at(image)
    wanted = None if size is None or size >= max(film.height, film.width) else size
    if depth == 16:
        pixels = gray16(film)
        return encode_png(pixels if wanted is None else resized(pixels, wanted))
    return encode_png(explanation.canvas_of(image, wanted))


def exported(explanation: Explanation, task: ExportTask, made: datetime) -> bytes:
    """The report as one file; made: the local time that a file tells.

    Raises SelectionError, UnknownMethodError, MissingEvidenceError, and ExportError for what it lacks.
    """
    if task.form == "msgpack":
        return negotiation.encode(exported_model(explanation), negotiation.MSGPACK)
    if task.picture.method is not None:
        pack_of(explanation, task.picture.method, task.image)
    selection = None if task.selection is None else selected(explanation.report, task.selection)
    threshold = parse_threshold(task.threshold)
    options = _options(task.picture)
    wanted = FileTask(task.form, selection, task.picture.method, options, task.image, threshold)
    return make_file(explanation, wanted, made)
