"""Forms that hold a film: read in memory, so that nothing of an upload is ever written to a disk.

Starlette's own parser spools whatever is larger than 1 MB to the directory for temporary files, a DICOM's header with
the patient's name included.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Coroutine, Mapping
from contextlib import aclosing
from http import HTTPStatus
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException

BOUNDARY = re.compile(rb"[0-9A-Za-z'()+_,./:=? -]{1,70}")
"""What may separate the parts of a form (RFC 2046, section 5.1.1)."""

MAX_PARTS = 64
MAX_FIELD_BYTES = 2**20
"""Of a part that is no file; a file may be as long as the limit on the body (middleware.BodyLimit) allows."""
MAX_HEADER_BYTES = 2**13


class FormReader:
    """Takes a multipart form as it comes in (RFC 7578); names and fields are UTF-8, other headers are not kept."""

    def __init__(self, boundary: bytes, max_parts: int = MAX_PARTS) -> None:
        self._max_parts = max_parts
        self.parts: list[tuple[str, str | UploadFile]] = []
        self.ended = False
        """Whether the last boundary has come."""
        self._header, self._value, self._content = bytearray(), bytearray(), bytearray()
        self._disposition: bytes | None = None
        self._name = ""
        self._filename: str | None = None
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": lambda data, start, end: _grow(self._header, data[start:end], MAX_HEADER_BYTES),
                "on_header_value": lambda data, start, end: _grow(self._value, data[start:end], MAX_HEADER_BYTES),
                "on_header_end": self._end_header,
                "on_headers_finished": self._begin_content,
                "on_part_data": self._take,
                "on_part_end": self._end_part,
                "on_end": self._end,
            },
        )

    def write(self, chunk: bytes) -> None:
        """Take the next bytes. Raises HTTPException 400 for a form that is broken."""
        try:
            self._parser.write(chunk)
        except FormParserError:
            raise _broken("its parts cannot be told apart") from None

    def _begin(self) -> None:
        if len(self.parts) == self._max_parts:
            raise _broken(f"it has more than {self._max_parts} parts")
        self._disposition = None

    def _end_header(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = bytes(self._value)
        self._header.clear()
        self._value.clear()

    def _begin_content(self) -> None:
        _, options = parse_options_header(self._disposition)
        if b"name" not in options:
            raise _broken("a part has no name")
        self._name = options[b"name"].decode(errors="replace")
        filename = options.get(b"filename")
        self._filename = None if filename is None else filename.decode(errors="replace")

    def _take(self, data: bytes, start: int, end: int) -> None:
        if self._filename is None:
            _grow(self._content, data[start:end], MAX_FIELD_BYTES)
        else:
            self._content += memoryview(data)[start:end]

    def _end_part(self) -> None:
        if self._filename is None:
            part: str | UploadFile = self._content.decode(errors="replace")
        else:
            part = UploadFile(io.BytesIO(self._content), size=len(self._content), filename=self._filename)
        self.parts.append((self._name, part))
        self._content = bytearray()

    def _end(self) -> None:
        self.ended = True


def _grow(buffer: bytearray, more: bytes, limit: int) -> None:
    if len(buffer) + len(more) > limit:
        raise _broken("a field or a header of a part is too long")
    buffer += more


def _broken(how: str) -> HTTPException:
    return HTTPException(HTTPStatus.BAD_REQUEST, f"the form is broken: {how}")


class FormRequest(Request):
    """A request whose form is multipart and in memory; a body of any other type is an empty form."""

    max_parts = MAX_PARTS

    async def _get_form(self, **_: Any) -> FormData:
        """Called by `form()`. Raises HTTPException 400 for a form that is broken or cut off."""
        if self._form is None:
            self._form = await self._read_form()
        return self._form

    async def _read_form(self) -> FormData:
        kind, options = parse_options_header(self.headers.get("content-type"))
        if kind != b"multipart/form-data":
            return FormData()
        boundary = options.get(b"boundary", b"")
        if not BOUNDARY.fullmatch(boundary):
            raise _broken("it names no boundary between its parts, or no valid one")
        reader = FormReader(boundary, self.max_parts)
        async with aclosing(self.stream()) as stream:
            async for chunk in stream:
                reader.write(chunk)
        if not reader.ended:
            raise _broken("it is cut off")
        return FormData(reader.parts)


class FormRoute(APIRoute):
    """A route that hands its form to FastAPI as FormRequest reads it."""

    max_parts = MAX_PARTS

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's handler, given our request."""
        handler = super().get_route_handler()

        async def handle(request: Request) -> Response:
            form_request = FormRequest(request.scope, request.receive)
            form_request.max_parts = self.max_parts
            return await handler(form_request)

        return handle


def form_route(parts: int) -> type[FormRoute]:
    """A FormRoute whose forms may have so many parts."""

    class LongFormRoute(FormRoute):
        max_parts = parts

    return LongFormRoute


def check_fields(form: FormData, once: Mapping[str, str], several: frozenset[str]) -> None:
    """Refuse fields that nobody asked for, and those given twice that stand once.

    once: what to say of a field that is given twice. Raises HTTPException 422.
    """
    names = [name for name, _ in form.multi_items()]
    if set(names) - set(once) - several:
        known = ", ".join(sorted({*once, *several}))
        raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, f"a film is sent with {known} only")
    for name, told in once.items():
        if names.count(name) > 1:
            raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, told)


def bytes_of(upload: UploadFile) -> bytes:
    """The bytes of a file of the form, which forgets them."""
    data = upload.file.read()
    upload.file.close()
    return data
