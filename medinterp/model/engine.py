"""An engine writes the report: one streamed chat completion of a server that speaks OpenAI's protocol.

vLLM, SGLang and Ray Serve LLM do. No engine tells its attention: what it wrote is explained by the same checkpoint
here, in one pass (given.py).
"""

from __future__ import annotations

import asyncio
import base64
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

import openai

from medinterp.errors import (
    DeadlineExceededError,
    EngineError,
    GenerationCancelled,
    MedInterpError,
    ServiceBusyError,
    ServiceInterruptedError,
)
from medinterp.imaging import rgb8
from medinterp.model.offsets import decode_offsets
from medinterp.model.prompt import messages, one_turn
from medinterp.types import Asked, Conversation, Film, Generation

CONNECT_S = 5.0
WATCH_S = 0.1
"""How often `cancelled` is asked while the engine says nothing."""
_LISTED = 20
_STRANGE = "the engine does not answer as an OpenAI-compatible server: its stream holds something else"


@dataclass(frozen=True)
class EngineReport:
    """What an engine wrote.

    complete: the model ended the report itself (finish_reason "stop"), else the token limit cut it off.
    pieces: its own tokens, each as its UTF-8 bytes, the token that ended the report maybe among them; None where the
    server did not tell them, or told what does not add up to the text.
    """

    text: str
    complete: bool
    pieces: tuple[bytes, ...] | None


@dataclass(frozen=True)
class Engine:
    """An OpenAI-compatible server that has the model; may be called from many threads, a connection for each report.

    base_url: what stands before /chat/completions, e.g. "http://vllm:8000/v1"; model: its name at the server; api_key:
    None where the server asks for none; timeout_s: the longest silence, its queue before the first word included, s;
    image_first: whether the film stands before the prompt, as in loading.py.
    """

    base_url: str
    model: str
    api_key: str | None = field(default=None, repr=False)
    timeout_s: float = 60.0
    image_first: bool = True

    def __post_init__(self) -> None:
        """Raise ValueError for a base_url that is no plain http(s) address: it stands in logs."""
        parts = urlsplit(self.base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("base_url is the engine's http or https address, e.g. http://vllm:8000/v1")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError("base_url takes no password, query or fragment; give a key by api_key")

    def write(
        self,
        films: Sequence[Film],
        asked: Asked,
        *,
        max_new_tokens: int,
        temperature: float = 0.0,
        seed: int | None = None,
        on_word: Callable[[str], None] | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> EngineReport:
        """Have the engine write one report of the films, each sent as the very picture that our processor gets.

        on_word gets each piece of text as it comes; cancelled is asked between pieces, and every 0.1 s while none
        comes: the connection is then closed, which ends the engine's work too. To be called in a thread without an
        event loop. Raises EngineError for an engine that cannot be used as it is set up, ServiceBusyError,
        ServiceInterruptedError (not reached, failed, or broken off), DeadlineExceededError, GenerationCancelled.
        """
        pictures = [{"type": "image_url", "image_url": {"url": _data_url(film)}} for film in films]
        turns = asked if isinstance(asked, Conversation) else one_turn(asked, len(films), image_first=self.image_first)
        request = {
            "model": self.model,
            "messages": messages(turns, pictures),
            "max_tokens": max_new_tokens,
            "temperature": temperature,
            **({} if seed is None else {"seed": seed}),
        }
        return asyncio.run(self._write(request, on_word, cancelled or (lambda: False)))

    async def _write(
        self, request: dict[str, Any], on_word: Callable[[str], None] | None, cancelled: Callable[[], bool]
    ) -> EngineReport:
        """Read the stream in a task, so that the caller's leaving is noticed while the engine says nothing."""
        async with self._client() as client:
            reading = asyncio.create_task(self._read(client, request, on_word, cancelled))
            try:
                while not reading.done():
                    if cancelled():
                        raise GenerationCancelled("the caller went away before the report was finished")
                    await asyncio.wait({reading}, timeout=WATCH_S)
                return reading.result()
            finally:
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)

    def _client(self) -> openai.AsyncOpenAI:
        """Sends to base_url and nowhere else: no redirect, no proxy, no account or address of the environment.

        It never asks again by itself: a busy engine is told to the caller, who knows whether anybody still waits.
        """
        timeout = openai.Timeout(self.timeout_s, connect=min(CONNECT_S, self.timeout_s))
        key = self.api_key

        async def plain(request: Any) -> None:
            """Take off what the package tells of this machine and of the environment's OpenAI account."""
            for name in [name for name in request.headers if name.startswith(("x-stainless-", "openai-"))]:
                del request.headers[name]
            if key is None:
                request.headers.pop("authorization", None)

        return openai.AsyncOpenAI(
            base_url=self.base_url,
            api_key=key or "none",  # the package wants one; `plain` takes it off
            timeout=timeout,
            max_retries=0,
            http_client=openai.DefaultAsyncHttpxClient(
                timeout=timeout, follow_redirects=False, trust_env=False, event_hooks={"request": [plain]}
            ),
        )

    async def _read(
        self,
        client: openai.AsyncOpenAI,
        request: dict[str, Any],
        on_word: Callable[[str], None] | None,
        cancelled: Callable[[], bool],
    ) -> EngineReport:
        written = _Written()
        fault: MedInterpError | None = None
        try:
            async with await self._open(client, request) as stream:
                async for chunk in stream:
                    piece = written.take(chunk)
                    if cancelled():
                        raise GenerationCancelled("the caller went away before the report was finished")
                    if piece and on_word is not None:
                        on_word(piece)
        except openai.NotFoundError:
            fault = await self._unknown(client)
        except openai.OpenAIError as error:
            fault = _told(error)
        except (json.JSONDecodeError, UnicodeDecodeError):
            fault = EngineError(_STRANGE)
        # Raised out here, without the package's error as context: a server's message may quote prompt and picture, and
        # a log prints every error that another one came from.
        if fault is not None:
            raise fault
        return written.report()

    async def _open(self, client: openai.AsyncOpenAI, request: dict[str, Any]) -> openai.AsyncStream[Any]:
        """Begin the stream with the engine's own tokens, or without them where it refuses to tell them."""
        create: Any = client.chat.completions.create
        stream: openai.AsyncStream[Any]
        try:
            stream = await create(**request, stream=True, logprobs=True)
        except (openai.BadRequestError, openai.UnprocessableEntityError):
            stream = await create(**request, stream=True)
        return stream

    async def _unknown(self, client: openai.AsyncOpenAI) -> MedInterpError:
        """What to say after a 404: the models that there are, or that there is no such API."""
        try:
            names = [str(model.id) for model in (await client.models.list()).data]
        except (openai.OpenAIError, ValueError, TypeError, AttributeError):
            return EngineError(
                "there is no OpenAI-compatible API at the engine's address (HTTP 404); writer.base_url ends in /v1 as "
                "a rule"
            )
        rest = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
        return EngineError(
            f"the engine has no model {self.model!r} (HTTP 404); writer.model is one of: "
            f"{', '.join(names[:_LISTED]) or 'none'}{rest}"
        )


def same_tokens(tokenizer: Any, text: str, ids: Sequence[int], pieces: Sequence[bytes]) -> int | None:
    """Where an engine's own tokens first differ from those that the tokenizer makes of the text again.

    ids: the tokenizer's, without a BOS; pieces: EngineReport.pieces. The answer is the character at which the first
    token stands that is cut otherwise (the text's length for more tokens than there are), None when all are equal. Of a
    character that several tokens wrote only their number can be told: some servers send its bytes, others U+FFFD, or
    nothing until it is whole.
    """
    _, spans = decode_offsets(tokenizer, ids)
    for index, ((start, end), piece) in enumerate(zip(spans, pieces, strict=False)):
        begun = index > 0 and spans[index - 1][1] > start
        unfinished = index + 1 < len(spans) and spans[index + 1][0] < end
        if unfinished:
            equal = text[end - 1] not in piece.decode(errors="replace")
        else:
            equal = begun or piece == text[start:end].encode()
        if not equal:
            return start
    if len(pieces) < len(ids):
        return spans[len(pieces)][0]
    control = {b"", *(token.content.encode() for token in tokenizer.added_tokens_decoder.values() if token.special)}
    return None if control.issuperset(pieces[len(ids) :]) else len(text)


def as_written(
    generation: Generation, written: EngineReport, tokenizer: Any, *, model: str, max_new_tokens: int, seed: int | None
) -> Generation:
    """An engine's report that was explained as a given one (Generator.force), told as the engine's own.

    model, max_new_tokens, seed: what the engine was asked with.
    """
    ids = [token.token_id for token in generation.report.tokens]
    pieces = written.pieces
    provenance = replace(
        generation.trace.provenance,
        given=False,
        writer=model,
        tokens_compared=pieces is not None,
        retokenised_at=None if pieces is None else same_tokens(tokenizer, written.text, ids, pieces),
        max_new_tokens=max_new_tokens,
        seed=seed,
    )
    return replace(
        generation,
        report=replace(generation.report, complete=written.complete),
        trace=replace(generation.trace, provenance=provenance),
    )


class _Written:
    """What has come of one stream."""

    def __init__(self) -> None:
        self._text: list[str] = []
        self._pieces: list[bytes] | None = []
        self._finish: str | None = None

    def take(self, chunk: Any) -> str:
        """The text that a chunk adds, maybe none. Raises EngineError for what is no chunk, and for a thought apart."""
        try:
            return "".join(self._choice(choice) for choice in chunk.choices or ())
        except (AttributeError, TypeError, ValueError):
            pass
        raise EngineError(_STRANGE)

    def _choice(self, choice: Any) -> str:
        apart = choice.delta.model_extra or {}
        if any(apart.get(name) for name in ("reasoning", "reasoning_content")):
            raise EngineError(
                "the engine keeps the model's thought apart from its report, and neither can be explained without the "
                "other: start it without a reasoning parser"
            )
        piece = choice.delta.content or ""
        self._text.append(piece)
        told = choice.logprobs.content if choice.logprobs else None
        if self._pieces is not None:
            if told:
                self._pieces += [bytes(t.bytes) if t.bytes is not None else t.token.encode() for t in told]
            elif piece:
                self._pieces = None
        self._finish = choice.finish_reason or self._finish
        return piece

    def report(self) -> EngineReport:
        """The whole. Raises ServiceInterruptedError for a stream that broke off, EngineError for an empty report."""
        text = "".join(self._text)
        if self._finish not in ("stop", "length"):
            raise ServiceInterruptedError("the engine broke the report off; try again shortly")
        if not text.strip():
            raise EngineError("the engine wrote an empty report; ask it by itself what it makes of this prompt")
        return EngineReport(text, self._finish == "stop", _adding_up(text, self._pieces))


def _adding_up(text: str, pieces: list[bytes] | None) -> tuple[bytes, ...] | None:
    """The pieces where they add up to the text, but for a last token that ended it and for U+FFFD in them."""
    if not pieces:
        return None
    whole = b"".join(pieces)
    known = text.encode() in (whole, whole.removesuffix(pieces[-1])) or "\ufffd".encode() in whole
    return tuple(pieces) if known else None


def _data_url(film: Film) -> str:
    """The film as a PNG of uint8 RGB, which loses nothing."""
    from PIL import Image

    png = io.BytesIO()
    Image.fromarray(rgb8(film)).save(png, "PNG", compress_level=1)
    return f"data:image/png;base64,{base64.b64encode(png.getvalue()).decode('ascii')}"


def _told(error: openai.OpenAIError) -> MedInterpError:
    """What an error of the package means here; nothing that the server said is passed on."""
    if isinstance(error, openai.APITimeoutError):
        return DeadlineExceededError(
            f"the engine did not answer in time (writer.timeout_s, and {CONNECT_S:g} s to connect)"
        )
    if isinstance(error, openai.APIConnectionError):
        return ServiceInterruptedError("the engine cannot be reached, or went away; is it up at writer.base_url?")
    status = _status(error)
    if status in (401, 403):
        return EngineError(
            f"the engine refused the key (HTTP {status}); writer.api_key_env names the environment variable that holds "
            "it"
        )
    if status in (429, 503):
        return ServiceBusyError("the engine is busy; try again shortly")
    if status == 413:
        return EngineError("the engine, or a proxy before it, takes no request as large as this film (HTTP 413)")
    if 400 <= status < 500:
        return EngineError(
            f"the engine refused the request (HTTP {status}), and its own log says why; as a rule its model takes no "
            "images, or prompt and report are longer than its context"
        )
    if 300 <= status < 400:
        return EngineError(f"the engine's address sends on to another one (HTTP {status}); set writer.base_url to that")
    return ServiceInterruptedError("the engine failed; its own log says why")


def _status(error: openai.OpenAIError) -> int:
    """The HTTP status of an error, also of one that came in a stream that had begun; 0 for none."""
    if isinstance(error, openai.APIStatusError):
        return error.status_code
    code = getattr(error, "code", None)
    return int(code) if code is not None and str(code).isdecimal() else 0
