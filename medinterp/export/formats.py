"""The kinds of files, what each is called, and which parameters it takes."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from medinterp.errors import ExportError

ExportFormat = Literal[
    "json",
    "npz",
    "msgpack",
    "html",
    "zip",
    "png",
    "figure-png",
    "figure-svg",
    "figure-pdf",
    "dicom-sc",
    "dicom-seg",
    "dicom-sr",
]
SELECTION = frozenset({"words", "finding"})
_DRAWN = frozenset({"method", "scale", "colormap", "opacity", "contours", "cutoff", "without_sinks"})
_PICTURE = _DRAWN | SELECTION | {"quantity", "image"}
_REGION = frozenset({"method", "threshold", "without_sinks"})


@dataclass(frozen=True)
class Format:
    """A kind of file. file_name: no part of it is about the patient; takes: parameters beside `format`.

    selects: whether it is of some words, which must then be named.
    """

    name: ExportFormat
    media_type: str
    file_name: str
    takes: frozenset[str] = frozenset()

    @property
    def selects(self) -> bool:
        return bool(self.takes & SELECTION)


FORMATS: Mapping[str, Format] = MappingProxyType(
    {
        form.name: form
        for form in (
            Format("json", "application/json", "report.json"),
            Format("npz", "application/x-npz", "report.npz"),
            Format("msgpack", "application/msgpack", "report.msgpack"),
            Format("html", "text/html; charset=utf-8", "report.html"),
            Format("zip", "application/zip", "report.zip", _DRAWN | _REGION),
            Format("png", "image/png", "report-overlay.png", _PICTURE | {"size"}),
            Format("figure-png", "image/png", "report-figure.png", _PICTURE),
            Format("figure-svg", "image/svg+xml", "report-figure.svg", _PICTURE),
            Format("figure-pdf", "application/pdf", "report-figure.pdf", _PICTURE),
            Format("dicom-sc", "application/dicom", "report-overlay.dcm", (_PICTURE - {"image"}) | {"size"}),
            Format("dicom-seg", "application/dicom", "report-seg.dcm", _REGION),
            Format("dicom-sr", "application/dicom", "report-sr.dcm", _REGION),
        )
    }
)


def check_parameters(form: ExportFormat, given: Collection[str]) -> None:
    """Raise ExportError for a parameter that the kind of file does not take, or a selection that it lacks."""
    kind = FORMATS[form]
    strange = sorted(set(given) - kind.takes)
    if strange:
        takes = ", ".join(sorted(kind.takes)) or "no parameters"
        raise ExportError(f"format {form} does not take {', '.join(strange)}; it takes {takes}")
    named = SELECTION & set(given)
    if kind.selects and len(named) != 1:
        lacks = "lacks a selection" if not named else "has two selections"
        raise ExportError(f"format {form} {lacks}: give either words=FIRST-LAST or finding=NUMBER")
