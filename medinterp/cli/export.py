"""`medinterp export`."""

from __future__ import annotations

import argparse
import os
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medinterp.cli.arguments import Commands
from medinterp.errors import ExportError, SelectionError, StoreError

if TYPE_CHECKING:
    from medinterp.api.backend import ExportTask

KEPT = "explanation.msgpack"
"""What `medinterp explain` writes for this command: the film, the report and its maps."""
PARAMETERS = (
    "method", "words", "finding", "scale", "colormap", "opacity", "cutoff", "contours", "quantity", "without_sinks",
    "image", "size", "threshold",
)  # fmt: skip


def add(commands: Commands) -> None:
    """Add the command."""
    export = commands.add_parser("export", help="make a picture, a figure, DICOM objects or an archive of a report")
    export.add_argument("source", type=Path, metavar="SOURCE", help="a folder that `medinterp explain --out` wrote")
    export.add_argument("--format", required=True, help="json, npz, msgpack, html, zip, png, figure-png, figure-svg, "
                        "figure-pdf, dicom-sc, dicom-seg or dicom-sr")  # fmt: skip
    export.add_argument("--out", type=Path, required=True, metavar="FILE")
    export.add_argument("--method", help="a method of the report (default: its first)")
    export.add_argument("--words", metavar="FIRST-LAST", help="of a picture: the words, counted from 0")
    export.add_argument("--finding", type=int, metavar="NUMBER", help="of a picture: the finding, counted from 0")
    export.add_argument("--scale", help="report (one range for all words, the default) or map")
    export.add_argument("--colormap")
    export.add_argument("--opacity", type=float, help="of the top of the scale, 0 to 1")
    export.add_argument("--cutoff", type=float, help="what stands lower on the scale, 0 to 1, is not drawn")
    export.add_argument("--contours", action="store_true", default=None)
    export.add_argument("--quantity", help="relevancy (the default), or of a consensus disagreement")
    export.add_argument("--without-sinks", action="store_true", default=None, help="leave flagged sink cells out")
    export.add_argument("--image", type=int, help="1: on the prior film")
    export.add_argument("--size", type=int, metavar="PIXELS", help="of png and dicom-sc: the longer side")
    export.add_argument(
        "--threshold", help="of dicom-seg, dicom-sr and zip: otsu, or a share of the report's scale such as 0.5"
    )
    export.set_defaults(run=_export)


def _export(options: argparse.Namespace) -> int:
    from medinterp.api.pictures import exported
    from medinterp.api.store.record import unpack_record

    task = _task({name: getattr(options, name) for name in ("format", *PARAMETERS)})
    path = options.source / KEPT if options.source.is_dir() else options.source
    try:
        blob, changed = path.read_bytes(), path.stat().st_mtime
    except OSError as error:
        told = f"{path} cannot be read ({error.strerror}): `medinterp explain FILM --out DIR` writes it"
        raise ExportError(told) from error
    try:
        explanation = unpack_record(blob)
    except StoreError as error:
        told = f"{path} is not what this version of `medinterp explain` writes: explain the film again"
        raise ExportError(told) from error
    content = exported(explanation, task, datetime.fromtimestamp(int(changed)))
    write_private(options.out, content)
    print(options.out)
    return 0


def _task(parameters: dict[str, Any]) -> ExportTask:
    """The same checks as over HTTP. Raises SelectionError for a value that is none, ExportError."""
    from pydantic import ValidationError

    from medinterp.api.queries import ExportQuery

    try:
        query = ExportQuery.model_validate({name: value for name, value in parameters.items() if value is not None})
    except ValidationError as error:
        flaws = [f"--{str(flaw['loc'][0]).replace('_', '-')}: {flaw['msg']}" for flaw in error.errors()]
        raise SelectionError("; ".join(flaws)) from error
    return query.export_task()


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner may read: it holds a film, and may name the patient. Raises ExportError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, 0o600)
            file.write(content)
    except OSError as error:
        raise ExportError(f"cannot write {path}: {error.strerror}") from error
