"""A job's answer as it is kept, and as it is given."""

from __future__ import annotations

from typing import Any

import msgpack
from fastapi import Response

from medinterp.api.negotiation import MSGPACK, encode
from medinterp.api.schema import FaithfulnessModel, MapsModel, Model
from medinterp.api.schema_boxes import BoxVerdictsModel
from medinterp.api.schema_sensitivity import ComparisonModel, ReportComparisonModel
from medinterp.api.schema_sources import HeadsModel, RelianceModel, TextSourcesModel
from medinterp.errors import StoreError
from medinterp.export.formats import FORMATS

Result = bytes | None
"""Packed; None for a report, which is in the store itself."""
MODELS: dict[str, type[Model]] = {
    kind.__name__: kind
    for kind in (
        MapsModel,
        FaithfulnessModel,
        ComparisonModel,
        ReportComparisonModel,
        TextSourcesModel,
        HeadsModel,
        RelianceModel,
        BoxVerdictsModel,
    )
}


def model_result(model: Model) -> bytes:
    """An answer of the schema."""
    packed: bytes = msgpack.packb([type(model).__name__, encode(model, MSGPACK)])
    return packed


def file_result(form: str, content: bytes) -> bytes:
    """A file of that format."""
    packed: bytes = msgpack.packb([form, content])
    return packed


def unpack_model(result: bytes) -> Model:
    """The answer again. Raises StoreError for what is none."""
    name, content = _unpacked(result)
    if name not in MODELS:
        raise StoreError("the stored result is damaged")
    return MODELS[name].model_validate(msgpack.unpackb(content))


def is_file(result: bytes) -> bool:
    """Whether it is a file: those have an encoding of their own."""
    return _unpacked(result)[0] in FORMATS


def file_response(result: bytes) -> Response:
    """The file, as `GET .../export` answers with it."""
    name, content = _unpacked(result)
    return export_response(name, content)


def export_response(form: str, content: bytes) -> Response:
    """A file to take away."""
    kind = FORMATS[form]
    return Response(
        content,
        media_type=kind.media_type,
        headers={
            "Content-Disposition": f'attachment; filename="{kind.file_name}"',
            "Content-Security-Policy": "sandbox allow-scripts",
        },
    )


def _unpacked(result: bytes) -> tuple[str, bytes]:
    try:
        name, content = msgpack.unpackb(result)
    except (ValueError, msgpack.UnpackException) as error:
        raise StoreError("the stored result is damaged") from error
    found: tuple[Any, Any] = (name, content)
    return found
