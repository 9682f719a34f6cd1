"""One file of a report, of any kind but the API's own encoding."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import cast

from medinterp.errors import ExportError
from medinterp.export.archive import npz
from medinterp.export.facts import export_facts
from medinterp.export.formats import FORMATS, ExportFormat
from medinterp.export.page import html
from medinterp.export.png_text import with_text
from medinterp.export.record import document
from medinterp.export.regions import Threshold
from medinterp.export.view import chosen_words, map_view
from medinterp.render import RenderOptions, encode_png
from medinterp.types import Explanation, Finding, Word


@dataclass(frozen=True)
class FileTask:
    """Which file. selection: the words or the finding that a picture is of; method: None for the report's first.

    image: 1 for the prior film; threshold: of DICOM's regions.
    """

    form: ExportFormat
    selection: Finding | Sequence[Word] | None = None
    method: str | None = None
    options: RenderOptions = field(default_factory=RenderOptions)
    image: int = 0
    threshold: Threshold = field(default_factory=Threshold)


def make_file(explanation: Explanation, task: FileTask, made: datetime) -> bytes:
    """The file's bytes: the same for the same report, task and time (`made`, local, where a file tells one).

    Raises SelectionError, MissingEvidenceError, and ExportError for what cannot be made of this report.
    """
    match task.form:
        case "json":
            return json.dumps(document(explanation), ensure_ascii=False, allow_nan=False).encode()
        case "npz":
            return npz(explanation)
        case "html":
            return html(explanation).encode()
        case "zip":
            from medinterp.export.bundle import bundle

            return bundle(explanation, task, made)
        case "dicom-seg":
            from medinterp.export.dicom_seg import segmentation

            return segmentation(explanation, task.method, task.threshold, task.options.without_sinks, made)
        case "dicom-sr":
            from medinterp.export.dicom_sr import structured_report

            return structured_report(explanation, task.method, task.threshold, task.options.without_sinks, made)
        case "msgpack":
            raise ExportError("msgpack is the API's encoding of its schema: it is written there")
    return _picture(explanation, task, made)


def _picture(explanation: Explanation, task: FileTask, made: datetime) -> bytes:
    """A file that is of some words."""
    if task.selection is None:
        raise ExportError(f"format {task.form} lacks a selection: name words or a finding")
    chosen = chosen_words(explanation.report, task.selection)
    view = map_view(explanation, chosen.tokens, task.method, task.options, task.image)
    facts = export_facts(explanation, [view.pack], scale=view.scale_title, selection=chosen.label)
    if task.form == "png":
        return with_text(encode_png(view.picture()), facts.lines())
    if task.form == "dicom-sc":
        from medinterp.export.dicom_sc import secondary_capture

        return secondary_capture(explanation, chosen, view, facts, made)
    from medinterp.export.figure import FigureForm, figure

    assert task.form in FORMATS and task.form.startswith("figure-")
    return figure(explanation.report, chosen, view, facts, cast(FigureForm, task.form.removeprefix("figure-")))
