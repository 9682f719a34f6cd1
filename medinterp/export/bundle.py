"""Everything of a report in one ZIP archive."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from medinterp.errors import ExportError
from medinterp.export.facts import export_facts
from medinterp.export.formats import ExportFormat
from medinterp.export.naming import tokens_of
from medinterp.types import Explanation, Finding

if TYPE_CHECKING:
    from medinterp.export.files import FileTask

EARLIEST = (1980, 1, 1, 0, 0, 0)
"""The date of every entry: the first that ZIP can write, so that the same report makes the same bytes."""
MAX_DRAWN = 24
"""Findings of which pictures are made: a report that was given may name hundreds."""
COMPRESSED = (".npz", ".png", ".zip")


def bundle(explanation: Explanation, task: FileTask, made: datetime) -> bytes:
    """report.json, maps.npz, report.html, a figure of each finding that is not denied, and of a DICOM film the objects.

    What could not be made, and why, stands in contents.json beside the record of the file.
    """
    buffer = io.BytesIO()
    beyond = f"pictures are made of the first {MAX_DRAWN} findings"
    left_out = {_name(finding): beyond for finding in _drawn(explanation)[MAX_DRAWN:]}
    with zipfile.ZipFile(buffer, "w") as archive:
        names = []
        for name, part in _parts(explanation, task):
            from medinterp.export.files import make_file

            try:
                content = make_file(explanation, part, made)
            except ExportError as error:
                left_out[name] = str(error)
                continue
            names.append(name)
            _write(archive, name, content)
        contents = {"files": names, "left_out": left_out, "export": export_facts(explanation).document()}
        _write(archive, "contents.json", json.dumps(contents, indent=2, ensure_ascii=False).encode())
    return buffer.getvalue()


def _parts(explanation: Explanation, task: FileTask) -> Iterator[tuple[str, FileTask]]:
    whole: tuple[tuple[str, ExportFormat], ...] = (
        ("report.json", "json"), ("maps.npz", "npz"), ("report.html", "html")
    )  # fmt: skip
    for name, form in whole:
        yield name, replace(task, form=form, selection=None)
    dicom = explanation.film.media_type == "application/dicom"
    for finding in _drawn(explanation)[:MAX_DRAWN]:
        yield f"figures/{_name(finding)}.png", replace(task, form="figure-png", selection=finding)
        if dicom:
            yield f"dicom/{_name(finding)}.dcm", replace(task, form="dicom-sc", selection=finding)
    if dicom:
        yield "dicom/report-seg.dcm", replace(task, form="dicom-seg", selection=None)
        yield "dicom/report-sr.dcm", replace(task, form="dicom-sr", selection=None)


def _drawn(explanation: Explanation) -> list[Finding]:
    """Findings that are not denied, and that tokens wrote."""
    report = explanation.report
    return [finding for finding in report.findings if finding.status != "absent" and tokens_of(report, finding)]


def _name(finding: Finding) -> str:
    return f"finding-{finding.index}-{re.sub(r'[^A-Za-z0-9]+', '-', finding.name)}"


def _write(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    entry = zipfile.ZipInfo(name, EARLIEST)
    entry.external_attr = 0o600 << 16  # it may name the patient
    entry.compress_type = zipfile.ZIP_STORED if name.endswith(COMPRESSED) else zipfile.ZIP_DEFLATED
    archive.writestr(entry, content)
