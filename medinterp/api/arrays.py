"""Arrays on the wire: one shape for JSON (base64) and msgpack (bin), little-endian and C-ordered."""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import PlainSerializer, PlainValidator, SerializationInfo, WithJsonSchema

DTYPES = ("float16", "float32", "uint8", "uint16", "int32", "bool")
"""The only dtypes that travel; anything else is refused, object arrays above all."""


def encode_array(array: npt.NDArray[Any], info: SerializationInfo) -> dict[str, Any]:
    """Turn an array into {dtype, shape, data}; data is base64 text for JSON and bytes otherwise."""
    name = array.dtype.name
    if name not in DTYPES:
        raise ValueError(f"arrays of {name} do not travel; allowed are {', '.join(DTYPES)}")
    raw = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).tobytes()
    data: str | bytes = base64.b64encode(raw).decode("ascii") if info.mode_is_json() else raw
    return {"dtype": name, "shape": list(array.shape), "data": data}


def decode_array(value: Any) -> npt.NDArray[Any]:
    """Turn {dtype, shape, data} back into an array; an array passes as it is.

    Raises ValueError (which Pydantic turns into a validation error) for a dtype that does not
    travel, a negative size, or data whose length is not what dtype and shape say.
    """
    if isinstance(value, np.ndarray):
        if value.dtype.name not in DTYPES:
            raise ValueError(f"arrays of {value.dtype.name} do not travel")
        return value
    if not isinstance(value, Mapping) or set(value) != {"dtype", "shape", "data"}:
        raise ValueError("an array is an object with dtype, shape and data")
    name, shape, data = value["dtype"], value["shape"], value["data"]
    if name not in DTYPES:
        raise ValueError(f"arrays of {name!r} do not travel")
    if not isinstance(shape, list | tuple) or not all(isinstance(n, int) and n >= 0 for n in shape):
        raise ValueError("shape is a list of sizes")
    if not isinstance(data, str | bytes):
        raise ValueError("data is base64 text or bytes")
    if isinstance(data, str):
        try:
            data = base64.b64decode(data, validate=True)
        except binascii.Error as error:
            raise ValueError("data is not base64") from error
    dtype = np.dtype(name).newbyteorder("<")
    if len(data) != dtype.itemsize * math.prod(shape):
        raise ValueError(f"{len(data)} bytes are not {name} of shape {list(shape)}")
    return np.frombuffer(data, dtype=dtype).reshape(shape).astype(np.dtype(name), copy=False)


Array = Annotated[
    npt.NDArray[Any],
    PlainValidator(decode_array),
    PlainSerializer(encode_array),
    WithJsonSchema(
        {
            "type": "object",
            "title": "Array",
            "description": "Little-endian, C order. `data` is base64 in JSON, bin in msgpack.",
            "required": ["dtype", "shape", "data"],
            "additionalProperties": False,
            "properties": {
                "dtype": {"enum": list(DTYPES)},
                "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
                "data": {"type": "string", "contentEncoding": "base64"},
            },
        }
    ),
]
"""A numpy array as a field of a Pydantic model."""
