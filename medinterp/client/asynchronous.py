"""The client for asyncio: the same as `Client`, every call awaited."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from types import TracebackType
from typing import Any, Literal, Self, TypeVar, Unpack

import httpx

from medinterp.client import calls, job_calls
from medinterp.client.answers import (
    BoxVerdicts,
    Explained,
    Heads,
    Maps,
    Method,
    Models,
    Perturbation,
    Region,
    Reliance,
    TextSources,
)
from medinterp.client.async_jobs import AsyncRemoteBatch, AsyncRemoteJob
from medinterp.client.calls import Asking, Call, Drawing, Exporting, Selection
from medinterp.client.comparisons import Comparison, ReportComparison
from medinterp.client.errors import NotUnderstoodError, ProblemError, UnreachableError
from medinterp.client.events import Ending, OnProgress
from medinterp.client.files import File, FilmSource
from medinterp.client.job_calls import BatchAsking
from medinterp.client.reports import Explanation
from medinterp.client.transport import (
    DEFAULT_URL,
    NO_EVENTS,
    Attempts,
    Settings,
    answer_of,
    begins,
    http_options,
    keep_ids_out_of_logs,
    pause_after,
)
from medinterp.types import Faithfulness, Float32Array, Quantity

T = TypeVar("T")


class AsyncClient:
    """Asks a service from one event loop; close it, or use it in an `async with`. What its calls do: see `Client`."""

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        api_key: str | None = None,
        timeout_s: float = 330.0,
        patience_s: float = 60.0,
        proxy: str | None = None,
        verify: Any = True,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """As `Client`; transport: an asynchronous one."""
        keep_ids_out_of_logs()
        self._settings = Settings.of(url, api_key, timeout_s, patience_s)
        self._http = httpx.AsyncClient(transport=transport, **http_options(self._settings, proxy, verify))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def report(self, film: FilmSource, **asked: Unpack[Asking]) -> AsyncRemoteReport:
        """Have a film read, and its report explained; see `Client.report`."""
        return AsyncRemoteReport(self, await self._send(await asyncio.to_thread(calls.report, film, asked)))

    def stream(
        self, film: FilmSource, *, on_progress: OnProgress | None = None, **asked: Unpack[Asking]
    ) -> AsyncWriting:
        """The same, to be read while it is written: `async with ... as writing`, `async for piece in writing`."""
        return AsyncWriting(self, film, asked, on_progress)

    async def submit(self, film: FilmSource, **asked: Unpack[Asking]) -> AsyncRemoteJob:
        """The same as a job: handed in now, its report asked for later (`wait`), by another program if need be."""
        return AsyncRemoteJob(self, await self._send(await asyncio.to_thread(job_calls.submit, film, asked)))

    async def job(self, job_id: str) -> AsyncRemoteJob:
        """A job that was handed in. Raises JobNotFoundError."""
        return AsyncRemoteJob(self, await self._send(job_calls.get_job(job_id)))

    async def batch(self, films: Sequence[FilmSource], **asked: Unpack[BatchAsking]) -> AsyncRemoteBatch:
        """A folder's worth of films, a job each; one that cannot be read fails its own job only."""
        return AsyncRemoteBatch(self, await self._send(await asyncio.to_thread(job_calls.batch, films, asked)))

    async def get_batch(self, batch_id: str) -> AsyncRemoteBatch:
        """A batch that was handed in. Raises JobNotFoundError."""
        return AsyncRemoteBatch(self, await self._send(job_calls.get_batch(batch_id)))

    async def get(self, report_id: str) -> AsyncRemoteReport:
        """A report that is kept. Raises ReportNotFoundError."""
        return AsyncRemoteReport(self, await self._send(calls.get(report_id)))

    async def delete(self, report_id: str) -> None:
        """Have a report and its films forgotten at once. Raises ReportNotFoundError."""
        await self._send(calls.delete(report_id))

    async def methods(self) -> tuple[Method, ...]:
        """Every method that can be asked for."""
        return await self._send(calls.METHODS)

    async def perturbations(self) -> tuple[Perturbation, ...]:
        """Every change of a film that `compare` knows."""
        return await self._send(calls.PERTURBATIONS)

    async def models(self) -> Models:
        """The models that read films, with their notices and default prompts, and the service's limits."""
        return await self._send(calls.MODELS)

    async def ready(self) -> bool:
        """Whether every part of the service answers, as it is now."""
        try:
            await self._send(calls.READY, patience_s=0.0)
        except (ProblemError, UnreachableError):  # 404 too: that is what Serve says until its applications are there
            return False
        return True

    async def wait_until_ready(self, within_s: float = 120.0) -> None:
        """Return as soon as it is. Raises UnreachableError."""
        until = time.monotonic() + within_s
        while not await self.ready():
            if time.monotonic() > until:
                raise UnreachableError(f"the service was not ready within {within_s:g} s")
            await asyncio.sleep(0.5)

    async def _send(
        self, call: Call[T], on_progress: OnProgress | None = None, patience_s: float | None = None
    ) -> T:
        if on_progress is not None:
            writing = Ending(call, on_progress)
            async with aclosing(await self._opened(call)) as response:
                async for chunk in _chunks(response):
                    for _ in writing.push(chunk):
                        pass
            return writing.answer()
        attempts = Attempts(call, self._settings.patience_s if patience_s is None else patience_s)
        request = self._settings.request(call)
        while True:
            try:
                response = await self._http.request(**request)
            except httpx.TransportError as error:
                pause = pause_after(attempts, error)
            else:
                found = attempts.answered(response)
                if found is None:
                    return call.read(answer_of(response))
                pause = found
            await asyncio.sleep(pause)

    async def _opened(self, call: Call[Any]) -> httpx.Response:
        """An event stream that has begun; close it. Tried again until it has."""
        attempts = Attempts(call, self._settings.patience_s)
        request = self._settings.request(call, events=True)
        while True:
            try:
                response = await self._http.send(self._http.build_request(**request), stream=True)
                if begins(response):
                    return response
                await response.aread()
            except httpx.TransportError as error:
                pause = pause_after(attempts, error)
            else:
                found = attempts.answered(response)
                if found is None:
                    raise NotUnderstoodError(NO_EVENTS)
                pause = found
            await asyncio.sleep(pause)


class AsyncWriting:
    """A report while it is written: iterate over its pieces of text; then `report` has it whole."""

    def __init__(
        self, client: AsyncClient, film: FilmSource, asked: Asking, on_progress: OnProgress | None
    ) -> None:
        self._client, self._film, self._asked, self._on_progress = client, film, asked, on_progress
        self._ending: Ending[Explained] | None = None
        self._response: httpx.Response | None = None

    async def __aenter__(self) -> Self:
        """Begin. Raises as `Client.report`."""
        call = await asyncio.to_thread(calls.report, self._film, self._asked)
        self._ending = Ending(call, self._on_progress)
        self._response = await self._client._opened(call)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        """Leaving before the end stops the service's work on it."""
        if self._response is not None:
            await self._response.aclose()

    async def __aiter__(self) -> AsyncIterator[str]:
        """Each piece of text as it comes. Raises ProblemError or UnreachableError where it breaks off."""
        if self._response is None or self._ending is None:
            raise RuntimeError("use it in an `async with`: async with client.stream(film) as writing")
        async for chunk in _chunks(self._response):
            for piece in self._ending.push(chunk):
                yield piece
        self._ending.answer()

    @property
    def report(self) -> AsyncRemoteReport:
        """The whole report, once all pieces were read. Raises UnreachableError before."""
        if self._ending is None:
            raise UnreachableError("the report was not begun: use it in an `async with`")
        return AsyncRemoteReport(self._client, self._ending.answer())


class AsyncRemoteReport(Explanation):
    """A report that the service keeps, and everything that can be asked about it.

    Every method raises ReportNotFoundError once it has expired or was deleted, SelectionError for words that it has
    not, UnknownMethodError or MissingEvidenceError for maps that it has not, and ServiceError.
    """

    def __init__(self, client: AsyncClient, explained: Explained) -> None:
        super().__init__(explained)
        self._client = client

    async def map(
        self,
        selection: Selection,
        method: str | None = None,
        *,
        image: int = 0,
        without_sinks: bool = False,
        quantity: Quantity = "relevancy",
    ) -> Float32Array:
        """The map of a word, phrase or finding, float32 [rows, columns], in the method's own units.

        method: the report's first by default; image: 1 for the prior film. A method's maps come once.
        """
        maps = await self.maps(method, image=image, quantity=quantity)
        return self._map(maps, selection, without_sinks)

    async def maps(
        self,
        method: str | None = None,
        *,
        image: int = 0,
        without_sinks: bool = False,
        quantity: Quantity = "relevancy",
    ) -> Maps:
        """All words' maps by one method; kept here after the first time."""
        key = (method, image, without_sinks, quantity)
        if key not in self._maps:
            self._maps[key] = await self._client._send(calls.maps(self.id, *key))
        return self._maps[key]

    async def measure(
        self,
        method: str = "occlusion",
        *,
        block: Literal[1, 2, 4] | None = None,
        coarse_to_fine: bool | None = None,
        image: int = 0,
        on_progress: OnProgress | None = None,
    ) -> Maps:
        """Ask the model again: all words' maps by a method that runs on it, kept with the report from then on."""
        options = {"block": block, "coarse_to_fine": coarse_to_fine}
        maps = await self._client._send(calls.measure(self.id, method, image, options), on_progress)
        self._forget(method)
        return maps

    async def verdict(
        self,
        selection: Selection,
        method: str | None = None,
        *,
        image: int = 0,
        on_progress: OnProgress | None = None,
    ) -> Faithfulness:
        """Do these words depend on the picture, and is the map of them better than chance?"""
        return await self._client._send(calls.verdict(self.id, selection, method, image), on_progress)

    async def compare(
        self,
        questions: Sequence[str] = (),
        *,
        methods: Sequence[str] | None = None,
        perturbations: Sequence[str] | None = None,
        seed: int = 0,
        on_progress: OnProgress | None = None,
    ) -> Comparison | ReportComparison:
        """Does an answer hold in other words (a question, then its paraphrases), or the report on the film changed?"""
        return await self._client._send(calls.compare(self.id, questions, methods, perturbations, seed), on_progress)

    async def text_sources(self, selection: Selection, *, on_progress: OnProgress | None = None) -> TextSources:
        """Which words of the prompt and of the report so far drove these words, and how much the film?"""
        return await self._client._send(calls.text(self.id, selection), on_progress)

    async def heads(self, selection: Selection, *, image: int = 0, on_progress: OnProgress | None = None) -> Heads:
        """Where did each head of each layer look while it wrote these words?"""
        return await self._client._send(calls.heads(self.id, selection, image), on_progress)

    async def reliance(self, *, on_progress: OnProgress | None = None) -> Reliance:
        """What does each word lose when the film is blank, or another one?"""
        return await self._client._send(calls.reliance(self.id), on_progress)

    async def judge_boxes(self, *, on_progress: OnProgress | None = None) -> BoxVerdicts:
        """Says here, looked there: does each box of the answer lie where the model looked?"""
        return await self._client._send(calls.boxes(self.id), on_progress)

    async def region(
        self,
        box: Sequence[float] | None = None,
        *,
        cells: Sequence[tuple[int, int]] | None = None,
        method: str | None = None,
        image: int = 0,
        without_sinks: bool = False,
        quantity: Quantity = "relevancy",
    ) -> Region:
        """The words that a region drove. box: left, top, right, bottom, 0 to 1; or cells: (row, column) of each."""
        return await self._client._send(calls.region(self.id, box, cells, method, image, without_sinks, quantity))

    async def overlay(self, selection: Selection, **drawing: Unpack[Drawing]) -> File:
        """A PNG of the film with the selection's map over it."""
        return await self._client._send(calls.overlay(self.id, selection, drawing))

    async def film_png(
        self,
        *,
        size: int | None = None,
        view: Literal["film", "model"] = "film",
        image: int = 0,
        depth: Literal[8, 16] = 8,
    ) -> File:
        """A PNG of the film as it was read, or as the model got it (`view="model"`)."""
        return await self._client._send(calls.film_png(self.id, size, view, image, depth))

    async def export(self, format: str, selection: Selection | None = None, **asked: Unpack[Exporting]) -> File:
        """The report as a file: json, npz, msgpack, html, zip, png, figure-pdf, dicom-sr and others."""
        return await self._client._send(calls.export(self.id, format, selection, asked))

    async def refresh(self) -> AsyncRemoteReport:
        """The report as it is now, e.g. with the words' reliance; it also lives on for its whole lifetime."""
        return await self._client.get(self.id)

    async def delete(self) -> None:
        """Have it and its films forgotten at once."""
        await self._client.delete(self.id)


async def _chunks(response: httpx.Response) -> AsyncIterator[bytes]:
    """Raises UnreachableError where the stream breaks off."""
    chunks = response.aiter_bytes()
    while True:
        try:
            chunk = await anext(chunks, None)
        except httpx.TransportError as error:
            name = type(error).__name__
        else:
            if chunk is None:
                return
            yield chunk
            continue
        raise UnreachableError(f"the answer broke off ({name}); ask again")
