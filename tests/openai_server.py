"""A real OpenAI-compatible server on this machine, in a thread: phantom writes, and it can misbehave as servers do."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import json
import re
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import uvicorn
from PIL import Image
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send
from tokenizers import decoders
from transformers.convert_slow_tokenizer import bytes_to_unicode

from medinterp.model import Generator
from medinterp.types import Film

MODEL = "phantom-at-the-engine"
KEY = "sk-key-of-the-engine"
_BYTE_OF = {letter: byte for byte, letter in bytes_to_unicode().items()}


def token_bytes(tokenizer: Any, token_id: int) -> bytes:
    """What a token stands for, of a byte-level tokenizer and of one with byte fallback."""
    token = tokenizer.convert_ids_to_tokens(token_id)
    fallback = re.fullmatch(r"<0x([0-9A-F]{2})>", token)
    if fallback:
        return bytes([int(fallback[1], 16)])
    if isinstance(tokenizer.backend_tokenizer.decoder, decoders.ByteLevel):
        return bytes(_BYTE_OF[letter] for letter in token)
    return str(token).replace("\u2581", " ").encode()


def as_bytes(pieces: list[bytes]) -> list[bytes]:
    """As OpenAI and llama.cpp tell tokens."""
    return pieces


def as_replaced(pieces: list[bytes]) -> list[bytes]:
    """As Ollama and older vLLM do: U+FFFD for a part of a character."""
    return [piece.decode(errors="replace").encode() for piece in pieces]


def as_whole(pieces: list[bytes]) -> list[bytes]:
    """As vLLM does: a token that leaves a character unfinished says nothing, and the one that ends it says all."""
    told, held = [], b""
    for piece in pieces:
        try:
            told.append((held + piece).decode().encode())
            held = b""
        except UnicodeDecodeError:
            told.append(b"")
            held += piece
    return told


def as_letters(pieces: list[bytes]) -> list[bytes]:
    """Another tokenisation of the same text."""
    return [letter.encode() for letter in b"".join(pieces).decode()]


@dataclass
class Manners:
    """How the server behaves, to be changed between requests.

    status: refuse every chat with it; text: write this instead of asking the model; pieces: how tokens are told; ended:
    tell the token that ended the report as well; lengths: of the pieces of text, in tokens; gated: send a piece only
    when it is allowed; cut: break off after so many pieces; broken: send this in place of the second piece.
    """

    status: int | None = None
    key: str | None = None
    text: str | None = None
    finish: str | None = "stop"
    logprobs: bool = True
    refuses_logprobs: bool = False
    pieces: Callable[[list[bytes]], list[bytes]] = as_bytes
    bytes_null: bool = False
    ended: bool = True
    gated: bool = False
    cut: int | None = None
    broken: str | None = None
    reasoning: bool = False
    models: list[str] | None = field(default_factory=lambda: [MODEL])


class OpenAIServer:
    """Serves /v1/models and /v1/chat/completions of one generator's model."""

    def __init__(self, generator: Generator) -> None:
        self.manners = Manners()
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.left = threading.Event()
        """Set when a client went away before its answer was whole."""
        self.begun = threading.Event()
        """Set when a chat has been read."""
        self._generator = generator
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self.base_url = f"http://127.0.0.1:{self._socket.getsockname()[1]}/v1"
        config = uvicorn.Config(
            self._app, interface="asgi3", log_config=None, log_level="critical", lifespan="off", ws="none"
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._run, name="openai server")
        self._ready = threading.Event()

    def start(self) -> None:
        """Return when it listens."""
        self._socket.listen()
        self._thread.start()
        self._ready.wait()

    def stop(self) -> None:
        """Return when its thread has ended."""
        self._server.should_exit = True
        self._thread.join()
        self._socket.close()

    def reset(self) -> None:
        """Good manners again, and nothing remembered."""
        self.manners = Manners()
        self.requests.clear()
        self.headers.clear()
        self.left.clear()
        self.begun.clear()
        self._gate = asyncio.Semaphore(0)

    def allow(self, count: int = 1) -> None:
        """Let a gated server send so many pieces more."""
        for _ in range(count):
            self._loop.call_soon_threadsafe(self._gate.release)

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop, self._gate = asyncio.get_running_loop(), asyncio.Semaphore(0)
        self._ready.set()
        await self._server.serve(sockets=[self._socket])

    async def _app(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        manners = self.manners
        self.headers.append(dict(request.headers))
        if manners.key is not None and request.headers.get("authorization") != f"Bearer {manners.key}":
            await _refusal(401, "no such key")(scope, receive, send)
        elif request.url.path == "/v1/models" and manners.models is not None:
            models = [{"id": name, "object": "model", "created": 0, "owned_by": "tests"} for name in manners.models]
            await JSONResponse({"object": "list", "data": models})(scope, receive, send)
        elif request.url.path == "/v1/chat/completions" and manners.models is not None:
            await self._chat(await request.json(), scope, receive, send)
        else:
            await _refusal(404, "Not Found")(scope, receive, send)

    async def _chat(self, asked: dict[str, Any], scope: Scope, receive: Receive, send: Send) -> None:
        manners = self.manners
        self.requests.append(asked)
        self.begun.set()
        if manners.status is not None:
            await _refusal(manners.status, f"cannot take {json.dumps(asked)}")(scope, receive, send)
        elif asked["model"] not in (manners.models or ()):
            await _refusal(404, "The model does not exist.")(scope, receive, send)
        elif manners.refuses_logprobs and asked.get("logprobs"):
            await _refusal(400, "logprobs are not supported")(scope, receive, send)
        elif not asked.get("stream"):
            text, _, finish = await asyncio.to_thread(self._written, asked)
            choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}
            body = {"id": "chat-1", "object": "chat.completion", "created": 0, "model": MODEL, "choices": [choice]}
            await JSONResponse(body)(scope, receive, send)
        else:
            await self._stream(asked, receive, send)

    async def _stream(self, asked: dict[str, Any], receive: Receive, send: Send) -> None:
        """Server-sent events until the end, the cut, or the client's leaving."""

        async def write() -> None:
            kind = [(b"content-type", b"text/event-stream")]
            await send({"type": "http.response.start", "status": 200, "headers": kind})
            async for event in self._events(asked):
                await send({"type": "http.response.body", "body": event.encode(), "more_body": True})

        async def watch() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass

        writing, watching = asyncio.create_task(write()), asyncio.create_task(watch())
        await asyncio.wait({writing, watching}, return_when=asyncio.FIRST_COMPLETED)
        gone = not writing.done()
        for task in (writing, watching):
            task.cancel()
        (problem, _) = await asyncio.gather(writing, watching, return_exceptions=True)
        if gone:
            self.left.set()
        elif isinstance(problem, _Cut):
            raise problem
        else:
            await send({"type": "http.response.body", "body": b""})

    async def _events(self, asked: dict[str, Any]) -> AsyncIterator[str]:
        manners = self.manners
        yield _event({"role": "assistant", "content": ""})
        if manners.gated:
            await self._gate.acquire()
        text, tokens, finish = await asyncio.to_thread(self._written, asked)
        told = manners.pieces([piece for _, piece in tokens])
        ended = [b"<end_of_turn>"] if manners.ended and finish == "stop" else []
        if len(told) != len(tokens):  # cut otherwise: the pieces of text are those that are told
            deltas = [piece.decode() for piece in told]
        else:
            deltas = [delta for delta, _ in tokens]
        assert "".join(deltas) == text
        for index, delta in enumerate(deltas):
            if manners.gated and index:
                await self._gate.acquire()
            if index == manners.cut:
                raise _Cut
            if index == 1 and manners.broken is not None:
                yield f"data: {manners.broken}\n\n"
            name = "reasoning_content" if manners.reasoning and not index else "content"
            yield _event({name: delta}, self._logprobs(asked, [told[index]]))
        yield _event({}, self._logprobs(asked, ended), finish)
        yield "data: [DONE]\n\n"

    def _logprobs(self, asked: dict[str, Any], pieces: list[bytes]) -> dict[str, Any] | None:
        if not (self.manners.logprobs and asked.get("logprobs")):
            return None
        null = self.manners.bytes_null
        return {
            "content": [
                {
                    "token": piece.decode(errors="replace"),
                    "bytes": None if null else list(piece),
                    "logprob": -0.5,
                    "top_logprobs": [],
                }
                for piece in pieces
            ]
        }

    def _written(self, asked: dict[str, Any]) -> tuple[str, list[tuple[str, bytes]], str | None]:
        """The text, each token's piece of it and its bytes, and how the report ended."""
        tokenizer = self._generator.loaded.processor.tokenizer
        if self.manners.text is not None:
            text = self.manners.text
            ids = tokenizer(text, add_special_tokens=False)["input_ids"]
            finish = self.manners.finish
        else:
            (message,) = asked["messages"]
            films = [_film(part["image_url"]["url"]) for part in message["content"] if part["type"] == "image_url"]
            (prompt,) = (part["text"] for part in message["content"] if part["type"] == "text")
            generation = self._generator.generate(
                films,
                prompt,
                max_new_tokens=asked["max_tokens"],
                temperature=asked["temperature"],
                seed=asked.get("seed"),
            )
            report = generation.report
            text, ids = report.text, [token.token_id for token in report.tokens]
            finish = "stop" if report.complete else "length"
            if finish == "stop":  # the token that ends a report writes nothing
                ids = [token_id for token_id in ids if token_id not in tokenizer.all_special_ids]
        pieces = [token_bytes(tokenizer, token_id) for token_id in ids]
        return text, list(zip(_grown(pieces), pieces, strict=True)), finish


class _Cut(Exception):
    """The connection is dropped here."""


def _grown(pieces: list[bytes]) -> Iterator[str]:
    """What each token adds to the text, characters held back until they are whole."""
    for piece in as_whole(pieces):
        yield piece.decode()


def _event(delta: dict[str, Any], logprobs: dict[str, Any] | None = None, finish: str | None = None) -> str:
    choice = {"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
    chunk = {"id": "chat-1", "object": "chat.completion.chunk", "created": 0, "model": MODEL, "choices": [choice]}
    return f"data: {json.dumps(chunk)}\n\n"


def _refusal(status: int, message: str) -> JSONResponse:
    body = {"error": {"message": message, "type": "refused", "param": None, "code": status}}
    return JSONResponse(body, status_code=status, headers={"Location": "/elsewhere"} if status == 307 else None)


def _film(url: str) -> Film:
    """The film of a data URL; raises where it is no PNG of three equal channels."""
    kind, _, data = url.partition(",")
    assert kind == "data:image/png;base64"
    picture = Image.open(io.BytesIO(base64.b64decode(data, validate=True)))
    assert (picture.format, picture.mode) == ("PNG", "RGB")
    pixels = np.asarray(picture)
    assert (pixels == pixels[..., :1]).all()
    gray = np.ascontiguousarray(pixels[..., 0])
    return Film(gray, "image/png", hashlib.sha256(gray.tobytes()).hexdigest())


@contextmanager
def openai_server(generator: Generator) -> Iterator[OpenAIServer]:
    """A server that listens on a free port of this machine, stopped at the end."""
    server = OpenAIServer(generator)
    server.start()
    try:
        yield server
    finally:
        server.stop()
