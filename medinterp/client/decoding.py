"""From what JSON and msgpack carry to frozen dataclasses and numpy arrays."""

from __future__ import annotations

import base64
import binascii
import functools
import json
import math
import types
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from datetime import datetime
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import msgpack
import numpy as np
import numpy.typing as npt

from medinterp.client.errors import NotUnderstoodError

JSON = "application/json"
MSGPACK = "application/msgpack"
DTYPES = ("float16", "float32", "uint8", "uint16", "int32", "bool")
"""The only dtypes that travel."""

Kind = TypeVar("Kind")


def unpacked(body: bytes, media_type: str) -> Any:
    """The body of an answer as plain values. Raises NotUnderstoodError."""
    try:
        if media_type == MSGPACK:
            return msgpack.unpackb(body)
        if media_type == JSON:
            return json.loads(body)
    except (ValueError, msgpack.UnpackException) as error:
        raise NotUnderstoodError(f"the answer is broken {media_type}") from error
    raise NotUnderstoodError(f"the answer is {media_type or 'of no media type'}; is this the service's address?")


def array(value: Any) -> npt.NDArray[Any]:
    """{dtype, shape, data} as an array of that dtype and shape, little-endian data in C order.

    Raises NotUnderstoodError for a dtype that does not travel, or data of another length than dtype and shape say.
    """
    if isinstance(value, Mapping) and set(value) == {"dtype", "shape", "data"}:
        name, shape, data = value["dtype"], value["shape"], value["data"]
        sizes = isinstance(shape, list | tuple) and all(isinstance(n, int) and n >= 0 for n in shape)
        if name in DTYPES and sizes and isinstance(data, str | bytes):
            try:
                raw = base64.b64decode(data, validate=True) if isinstance(data, str) else data
            except binascii.Error:
                raise NotUnderstoodError("an array of the answer is no base64") from None
            dtype = np.dtype(name).newbyteorder("<")
            if len(raw) == dtype.itemsize * math.prod(shape):
                return np.frombuffer(raw, dtype).reshape(shape).astype(np.dtype(name), copy=False)
    raise NotUnderstoodError("an array of the answer is not one")


def built(kind: type[Kind], value: Any, where: str = "the answer") -> Kind:
    """The value as a dataclass, or whatever else stands in one; what a newer service tells beyond that is left out.

    Raises NotUnderstoodError, which names the place and quotes nothing.
    """
    made: Kind = _made(kind, value, where)
    return made


def _made(kind: Any, value: Any, where: str) -> Any:
    origin, inside = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return _one_of(inside, value, where)
    if origin is np.ndarray:
        found = array(value)
        if found.dtype != np.dtype(get_args(inside[1])[0]):
            raise _unlike(where, f"an array of {np.dtype(get_args(inside[1])[0]).name}")
        return found
    if origin is Literal:
        if value not in inside:
            raise _unlike(where, "one of the values that are known")
        return value
    if origin is tuple:
        return _tuple(inside, value, where)
    if origin in (dict, Mapping):
        if not isinstance(value, Mapping):
            raise _unlike(where, "an object")
        return {str(key): _made(inside[1], one, f"{where}.*") for key, one in value.items()}
    if kind is Any:
        return value
    if kind is datetime:
        try:
            return datetime.fromisoformat(value)
        except (TypeError, ValueError):
            raise _unlike(where, "a time") from None
    if is_dataclass(kind):
        return _dataclass(kind, value, where)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise _unlike(where, kind.__name__)
    return value


def _one_of(kinds: Sequence[Any], value: Any, where: str) -> Any:
    if value is None and type(None) in kinds:
        return None
    problem: NotUnderstoodError | None = None
    for kind in kinds:
        if kind is not type(None):
            try:
                return _made(kind, value, where)
            except NotUnderstoodError as error:
                problem = problem or error
    raise problem or _unlike(where, "there")


def _tuple(inside: Sequence[Any], value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise _unlike(where, "a list")
    if len(inside) == 2 and inside[1] is Ellipsis:
        return tuple(_made(inside[0], one, f"{where}[]") for one in value)
    if len(value) != len(inside):
        raise _unlike(where, f"a list of {len(inside)}")
    return tuple(_made(one, part, f"{where}[]") for one, part in zip(inside, value, strict=True))


def _dataclass(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, Mapping):
        raise _unlike(where, "an object")
    hints, known = _hints(kind), {}
    for field in fields(kind):
        if field.name in value:
            known[field.name] = _made(hints[field.name], value[field.name], f"{where}.{field.name}")
        elif field.default is MISSING and field.default_factory is MISSING:
            raise _unlike(f"{where}.{field.name}", "there")
    return kind(**known)


@functools.cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


def _unlike(where: str, what: str) -> NotUnderstoodError:
    return NotUnderstoodError(f"{where} is not {what}: the service is of another version than this client")
