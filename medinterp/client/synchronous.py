"""The client that waits for each answer."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import closing
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
from medinterp.client.calls import Asking, Call, Drawing, Exporting, Selection
from medinterp.client.comparisons import Comparison, ReportComparison
from medinterp.client.errors import NotUnderstoodError, ProblemError, UnreachableError
from medinterp.client.events import Ending, OnProgress
from medinterp.client.files import File, FilmSource
from medinterp.client.job_calls import BatchAsking
from medinterp.client.jobs import RemoteBatch, RemoteJob
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


class Client:
    """Asks a service. Threads may share one; close it, or use it in a `with`."""

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        api_key: str | None = None,
        timeout_s: float = 330.0,
        patience_s: float = 60.0,
        proxy: str | None = None,
        verify: Any = True,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """url: the service's address, with or without `/v1`; api_key: MEDINTERP_API_KEY by default.

        timeout_s: seconds without a byte before a call is given up; the service's own limit is 300 s. patience_s:
        seconds over which a call is tried again that was turned away (429, 503) or found nobody; 0: never. proxy: none
        by default, whatever the environment says, and no redirect is followed. verify: as httpx's, e.g. an SSLContext.
        Raises ValueError for an address or a key that is none.
        """
        keep_ids_out_of_logs()
        self._settings = Settings.of(url, api_key, timeout_s, patience_s)
        self._http = httpx.Client(transport=transport, **http_options(self._settings, proxy, verify))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def report(self, film: FilmSource, **asked: Unpack[Asking]) -> RemoteReport:
        """Have a film read, and its report explained.

        film, prior: a path, a file's bytes, or pixels (uint8 or uint16 [height, width]); file names are not sent.
        prompt, system, methods, max_new_tokens: the service's own by default; indication: why the film was taken.
        report: a text that somebody else wrote, which is explained as it stands. window, prior_window: of a DICOM.
        force: though a warning withholds the report. model: one of `models()`, by its alias. idempotency_key: made here
        for all attempts of this call; give one to ask for the same report from elsewhere.
        Raises FilmError and its kinds, PromptError, ReportTextError, RequestTooLargeError, UnknownMethodError,
        UnknownModelError, ModelBrokenError, StoreFullError, ServiceError; what the service said is a ProblemError too.
        """
        return RemoteReport(self, self._send(calls.report(film, asked)))

    def stream(
        self, film: FilmSource, *, on_progress: OnProgress | None = None, **asked: Unpack[Asking]
    ) -> Writing:
        """The same, to be read while it is written: `with client.stream(film) as writing`, `for piece in writing`."""
        return Writing(self, calls.report(film, asked), on_progress)

    def submit(self, film: FilmSource, **asked: Unpack[Asking]) -> RemoteJob:
        """The same as a job: handed in now, its report asked for later (`wait`), by another program if need be."""
        return RemoteJob(self, self._send(job_calls.submit(film, asked)))

    def job(self, job_id: str) -> RemoteJob:
        """A job that was handed in. Raises JobNotFoundError."""
        return RemoteJob(self, self._send(job_calls.get_job(job_id)))

    def batch(self, films: Sequence[FilmSource], **asked: Unpack[BatchAsking]) -> RemoteBatch:
        """A folder's worth of films, a job each; one that cannot be read fails its own job only."""
        return RemoteBatch(self, self._send(job_calls.batch(films, asked)))

    def get_batch(self, batch_id: str) -> RemoteBatch:
        """A batch that was handed in. Raises JobNotFoundError."""
        return RemoteBatch(self, self._send(job_calls.get_batch(batch_id)))

    def get(self, report_id: str) -> RemoteReport:
        """A report that is kept. Raises ReportNotFoundError."""
        return RemoteReport(self, self._send(calls.get(report_id)))

    def delete(self, report_id: str) -> None:
        """Have a report and its films forgotten at once. Raises ReportNotFoundError."""
        self._send(calls.delete(report_id))

    def methods(self) -> tuple[Method, ...]:
        """Every method that can be asked for."""
        return self._send(calls.METHODS)

    def perturbations(self) -> tuple[Perturbation, ...]:
        """Every change of a film that `compare` knows."""
        return self._send(calls.PERTURBATIONS)

    def models(self) -> Models:
        """The models that read films, with their notices and default prompts, and the service's limits."""
        return self._send(calls.MODELS)

    def ready(self) -> bool:
        """Whether every part of the service answers, as it is now."""
        try:
            self._send(calls.READY, patience_s=0.0)
        except (ProblemError, UnreachableError):  # 404 too: that is what Serve says until its applications are there
            return False
        return True

    def wait_until_ready(self, within_s: float = 120.0) -> None:
        """Return as soon as it is. Raises UnreachableError."""
        until = time.monotonic() + within_s
        while not self.ready():
            if time.monotonic() > until:
                raise UnreachableError(f"the service was not ready within {within_s:g} s")
            time.sleep(0.5)

    def _send(
        self, call: Call[T], on_progress: OnProgress | None = None, patience_s: float | None = None
    ) -> T:
        if on_progress is not None:
            writing = Ending(call, on_progress)
            with closing(self._opened(call)) as response:
                for chunk in _chunks(response):
                    for _ in writing.push(chunk):
                        pass
            return writing.answer()
        attempts = Attempts(call, self._settings.patience_s if patience_s is None else patience_s)
        request = self._settings.request(call)
        while True:
            try:
                response = self._http.request(**request)
            except httpx.TransportError as error:
                pause = pause_after(attempts, error)
            else:
                found = attempts.answered(response)
                if found is None:
                    return call.read(answer_of(response))
                pause = found
            time.sleep(pause)

    def _opened(self, call: Call[Any]) -> httpx.Response:
        """An event stream that has begun; close it. Tried again until it has."""
        attempts = Attempts(call, self._settings.patience_s)
        request = self._settings.request(call, events=True)
        while True:
            try:
                response = self._http.send(self._http.build_request(**request), stream=True)
                if begins(response):
                    return response
                response.read()
            except httpx.TransportError as error:
                pause = pause_after(attempts, error)
            else:
                found = attempts.answered(response)
                if found is None:
                    raise NotUnderstoodError(NO_EVENTS)
                pause = found
            time.sleep(pause)


class Writing:
    """A report while it is written: iterate over its pieces of text; then `report` has it whole."""

    def __init__(self, client: Client, call: Call[Explained], on_progress: OnProgress | None) -> None:
        self._client, self._call = client, call
        self._ending = Ending(call, on_progress)
        self._response: httpx.Response | None = None

    def __enter__(self) -> Self:
        """Begin. Raises as `Client.report`."""
        self._response = self._client._opened(self._call)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Leaving before the end stops the service's work on it."""
        if self._response is not None:
            self._response.close()

    def __iter__(self) -> Iterator[str]:
        """Each piece of text as it comes. Raises ProblemError or UnreachableError where it breaks off."""
        if self._response is None:
            raise RuntimeError("use it in a `with`: with client.stream(film) as writing")
        for chunk in _chunks(self._response):
            yield from self._ending.push(chunk)
        self._ending.answer()

    @property
    def report(self) -> RemoteReport:
        """The whole report, once all pieces were read. Raises UnreachableError before."""
        return RemoteReport(self._client, self._ending.answer())


class RemoteReport(Explanation):
    """A report that the service keeps, and everything that can be asked about it.

    Every method raises ReportNotFoundError once it has expired or was deleted, SelectionError for words that it has
    not, UnknownMethodError or MissingEvidenceError for maps that it has not, and ServiceError.
    """

    def __init__(self, client: Client, explained: Explained) -> None:
        super().__init__(explained)
        self._client = client

    def map(
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
        maps = self.maps(method, image=image, quantity=quantity)
        return self._map(maps, selection, without_sinks)

    def maps(
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
            self._maps[key] = self._client._send(calls.maps(self.id, *key))
        return self._maps[key]

    def measure(
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
        maps = self._client._send(calls.measure(self.id, method, image, options), on_progress)
        self._forget(method)
        return maps

    def verdict(
        self,
        selection: Selection,
        method: str | None = None,
        *,
        image: int = 0,
        on_progress: OnProgress | None = None,
    ) -> Faithfulness:
        """Do these words depend on the picture, and is the map of them better than chance?"""
        return self._client._send(calls.verdict(self.id, selection, method, image), on_progress)

    def compare(
        self,
        questions: Sequence[str] = (),
        *,
        methods: Sequence[str] | None = None,
        perturbations: Sequence[str] | None = None,
        seed: int = 0,
        on_progress: OnProgress | None = None,
    ) -> Comparison | ReportComparison:
        """Does an answer hold in other words (a question, then its paraphrases), or the report on the film changed?"""
        return self._client._send(calls.compare(self.id, questions, methods, perturbations, seed), on_progress)

    def text_sources(self, selection: Selection, *, on_progress: OnProgress | None = None) -> TextSources:
        """Which words of the prompt and of the report so far drove these words, and how much the film?"""
        return self._client._send(calls.text(self.id, selection), on_progress)

    def heads(self, selection: Selection, *, image: int = 0, on_progress: OnProgress | None = None) -> Heads:
        """Where did each head of each layer look while it wrote these words?"""
        return self._client._send(calls.heads(self.id, selection, image), on_progress)

    def reliance(self, *, on_progress: OnProgress | None = None) -> Reliance:
        """What does each word lose when the film is blank, or another one?"""
        return self._client._send(calls.reliance(self.id), on_progress)

    def judge_boxes(self, *, on_progress: OnProgress | None = None) -> BoxVerdicts:
        """Says here, looked there: does each box of the answer lie where the model looked?"""
        return self._client._send(calls.boxes(self.id), on_progress)

    def region(
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
        return self._client._send(calls.region(self.id, box, cells, method, image, without_sinks, quantity))

    def overlay(self, selection: Selection, **drawing: Unpack[Drawing]) -> File:
        """A PNG of the film with the selection's map over it."""
        return self._client._send(calls.overlay(self.id, selection, drawing))

    def film_png(
        self,
        *,
        size: int | None = None,
        view: Literal["film", "model"] = "film",
        image: int = 0,
        depth: Literal[8, 16] = 8,
    ) -> File:
        """A PNG of the film as it was read, or as the model got it (`view="model"`)."""
        return self._client._send(calls.film_png(self.id, size, view, image, depth))

    def export(self, format: str, selection: Selection | None = None, **asked: Unpack[Exporting]) -> File:
        """The report as a file: json, npz, msgpack, html, zip, png, figure-pdf, dicom-sr and others."""
        return self._client._send(calls.export(self.id, format, selection, asked))

    def refresh(self) -> RemoteReport:
        """The report as it is now, e.g. with the words' reliance; it also lives on for its whole lifetime."""
        return self._client.get(self.id)

    def delete(self) -> None:
        """Have it and its films forgotten at once."""
        self._client.delete(self.id)


def _chunks(response: httpx.Response) -> Iterator[bytes]:
    """Raises UnreachableError where the stream breaks off."""
    chunks = response.iter_bytes()
    while True:
        try:
            chunk = next(chunks, None)
        except httpx.TransportError as error:
            name = type(error).__name__
        else:
            if chunk is None:
                return
            yield chunk
            continue
        raise UnreachableError(f"the answer broke off ({name}); ask again")
