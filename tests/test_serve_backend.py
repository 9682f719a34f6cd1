"""The backend over Serve handles: what is passed to whom, and what becomes of Ray's failures."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import replace
from typing import Any
from unittest.mock import Mock

import pytest
from ray.exceptions import ActorDiedError, OwnerDiedError, RayTaskError, TaskCancelledError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError, RequestCancelledError

import deployments.backend
from deployments.backend import ServeBackend
from deployments.faults import translated
from deployments.relevancy import Explained
from medinterp.api.backend import PictureTask, ReadingTask
from medinterp.api.problems import problem_of
from medinterp.api.selection import WordSelection
from medinterp.errors import (
    FilmWithheldError,
    MedInterpError,
    PromptError,
    ReportNotFoundError,
    ServiceBusyError,
    ServiceInterruptedError,
)
from medinterp.types import Explanation, FilmWarning
from tests.api_samples import sample_explanation, sample_film

TASK = ReadingTask(prompt=None, methods=("raw",), max_new_tokens=8, layer_attention=False)
SAMPLE = sample_explanation()
ANSWER = Explained(SAMPLE.report, SAMPLE.packs, SAMPLE.provenance, (), {}, ())
Step = Callable[[], Awaitable[Any]]


class Call:
    """What a handle's call answers: awaited or iterated, and cancelled."""

    def __init__(self, method: str, arguments: tuple[Any, ...], step: Any) -> None:
        self.method = method
        self.arguments = arguments
        self.cancelled = False
        self._step = step

    def __await__(self) -> Any:
        return self._answer().__await__()

    async def _answer(self) -> Any:
        if isinstance(self._step, BaseException):
            raise self._step
        if self._step is FOREVER:
            await asyncio.sleep(60)
        return self._step

    async def __aiter__(self) -> AsyncGenerator[Any]:
        for item in self._step:
            if isinstance(item, BaseException):
                raise item
            yield item

    def cancel(self) -> None:
        self.cancelled = True


FOREVER = object()


class Handle:
    """A deployment handle that answers each call with the next of its steps."""

    def __init__(self, *steps: Any) -> None:
        self.steps = list(steps)
        self.calls: list[Call] = []
        self.chosen: list[dict[str, Any]] = []

    def options(self, **options: Any) -> Handle:
        self.chosen.append(options)
        return self

    def __getattr__(self, method: str) -> Any:
        handle = self

        class Method:
            @staticmethod
            def remote(*arguments: Any) -> Call:
                handle.calls.append(Call(method, arguments, handle.steps.pop(0)))
                return handle.calls[-1]

        return Method


def died() -> ActorDiedError:
    return ActorDiedError()


def busy() -> BackPressureError:
    return BackPressureError(num_queued_requests=4, max_queued_requests=4)


def wrapped(cause: Exception) -> Exception:
    """As an error arrives that was raised in a replica."""
    error: Exception = RayTaskError("explain", "a traceback", cause).as_instanceof_cause()
    return error


def backend(
    generation: Handle, relevancy: Handle | None = None, rendering: Handle | None = None
) -> ServeBackend:
    return ServeBackend(generation, relevancy or Handle(), rendering or Handle(), Mock(), ("phantom",))  # type: ignore[arg-type]


async def heard(service: ServeBackend) -> list[str | Explanation]:
    return [item async for item in service.read_aloud(sample_film(), TASK)]


def test_what_relevancy_made_of_the_trace_comes_back_from_generation() -> None:
    generation, relevancy = Handle(ANSWER), Handle()
    explanation = asyncio.run(backend(generation, relevancy).read(sample_film(), TASK))
    (writing,) = generation.calls
    assert (writing.method, writing.arguments[1]) == ("write", TASK)
    assert relevancy.calls == []
    assert all(options["_by_reference"] is True for options in generation.chosen + relevancy.chosen)
    assert explanation.report is SAMPLE.report
    assert explanation.trace is None


def test_a_streams_last_item_is_the_explanation() -> None:
    *words, explanation = asyncio.run(heard(backend(Handle(["No ", "effusion", ANSWER]))))
    assert words == ["No ", "effusion"]
    assert isinstance(explanation, Explanation)


def test_one_death_is_made_up_for() -> None:
    generation = Handle(died(), ANSWER)
    explanation = asyncio.run(backend(generation).read(sample_film(), TASK))
    assert explanation.report is SAMPLE.report
    assert len(generation.calls) == 2


def test_a_second_death_is_not() -> None:
    with pytest.raises(ServiceInterruptedError):
        asyncio.run(backend(Handle(died(), died())).read(sample_film(), TASK))


def test_other_errors_are_not_tried_again() -> None:
    generation = Handle(wrapped(PromptError("no")))
    with pytest.raises(PromptError):
        asyncio.run(backend(generation).read(sample_film(), TASK))
    assert len(generation.calls) == 1


def test_a_stream_starts_again_only_while_nobody_has_heard_a_word() -> None:
    generation = Handle([died()], ["word", ANSWER])
    assert asyncio.run(heard(backend(generation)))[0] == "word"
    generation = Handle(["word", died()], ["word", ANSWER])
    with pytest.raises(ServiceInterruptedError):
        asyncio.run(heard(backend(generation)))
    assert len(generation.calls) == 1


def test_going_away_cancels_the_call() -> None:
    generation = Handle(FOREVER)

    async def run() -> None:
        reading = asyncio.create_task(backend(generation).read(sample_film(), TASK))
        await asyncio.sleep(0.01)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading

    asyncio.run(run())
    assert generation.calls[0].cancelled


def test_who_stops_listening_cancels_the_stream() -> None:
    generation = Handle(["No ", "effusion"])

    async def run() -> None:
        stream = backend(generation).read_aloud(sample_film(), TASK)
        await anext(stream)
        await stream.aclose()

    asyncio.run(run())
    assert generation.calls[0].cancelled


def test_pictures_are_asked_for_by_id() -> None:
    rendering = Handle(b"png", b"film", b"file", ReportNotFoundError("gone"))
    service = backend(Handle(), rendering=rendering)

    async def run() -> None:
        assert await service.overlay("id", WordSelection(1, 2), PictureTask()) == b"png"
        assert await service.film("id", None) == b"film"
        assert await service.export("id", "html") == b"file"
        with pytest.raises(ReportNotFoundError):
            await service.film("id", None)

    asyncio.run(run())
    assert [call.arguments[0] for call in rendering.calls] == ["id"] * 4


def test_what_the_model_gets_is_drawn_where_the_model_is() -> None:
    generation, rendering = Handle(b"view"), Handle()
    assert asyncio.run(backend(generation, rendering=rendering).film("id", None, "model")) == b"view"
    (call,) = generation.calls
    assert (call.method, call.arguments) == ("view", ("id", 0))
    assert rendering.calls == []


def test_ready_when_every_part_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    asyncio.run(backend(Handle(None), Handle(None), Handle(None)).check())
    monkeypatch.setattr(deployments.backend, "CHECK_S", 0.05)
    with pytest.raises(ServiceBusyError):
        asyncio.run(backend(Handle(None), Handle(FOREVER), Handle(None)).check())
    with pytest.raises(ServiceInterruptedError):
        asyncio.run(backend(Handle(None), Handle(None), Handle(died())).check())


@pytest.mark.parametrize(
    ("raised", "leaves"),
    [
        (died(), ServiceInterruptedError),
        (OwnerDiedError("00" * 28, "127.0.0.1", ""), ServiceInterruptedError),
        (wrapped(died()), ServiceInterruptedError),
        (wrapped(wrapped(died())), ServiceInterruptedError),
        (RequestCancelledError("id"), ServiceInterruptedError),
        (TaskCancelledError(), ServiceInterruptedError),
        (DeploymentUnavailableError(None), ServiceInterruptedError),  # type: ignore[arg-type]
        (busy(), ServiceBusyError),
        (wrapped(busy()), ServiceBusyError),
        (PromptError("no"), PromptError),
        (wrapped(PromptError("no")), PromptError),
        (wrapped(wrapped(ReportNotFoundError("gone"))), ReportNotFoundError),
    ],
    ids=lambda value: getattr(value, "__name__", type(value).__name__),
)
def test_failures_in_our_own_words(raised: Exception, leaves: type[MedInterpError]) -> None:
    with pytest.raises(leaves) as caught, translated():
        raise raised
    assert "a traceback" not in str(caught.value)


def test_a_withheld_film_keeps_its_warnings_on_the_way() -> None:
    doubts = (FilmWarning("inverted", "It is inverted.", True), FilmWarning("text", "A page.", True))
    sent: FilmWithheldError = pickle.loads(pickle.dumps(FilmWithheldError(doubts)))
    for raised in (sent, wrapped(sent), wrapped(wrapped(sent))):
        with pytest.raises(FilmWithheldError) as caught, translated():
            raise raised
        assert str(caught.value).startswith("It is inverted. A page. No report was written.")
        assert caught.value.warnings == doubts
        assert [flaw.where for flaw in problem_of(caught.value).flaws] == ["image.inverted", "image.text"]


def test_a_withheld_prior_film_says_which_it_is_on_the_way() -> None:
    sent = FilmWithheldError((FilmWarning("inverted", "It is inverted.", True),), "prior")
    with pytest.raises(FilmWithheldError) as caught, translated():
        raise wrapped(pickle.loads(pickle.dumps(sent)))
    assert str(caught.value).startswith("prior: It is inverted.")
    assert [flaw.where for flaw in problem_of(caught.value).flaws] == ["prior.inverted"]


def test_a_prior_film_goes_to_the_model_and_comes_back_with_its_doubts_and_maps() -> None:
    prior, doubt = sample_film(20, 30), FilmWarning("unlike", "Unlike the model's films.")
    answer = ANSWER._replace(prior_packs=SAMPLE.packs, prior_doubts=(doubt,))
    generation = Handle(answer)
    read = asyncio.run(backend(generation).read(sample_film(), TASK, prior))
    assert generation.calls[0].arguments[-1] is prior
    assert read.prior is not None and read.prior.pixels is prior.pixels
    assert (read.prior.warnings, read.film.warnings) == ((doubt,), ())
    assert read.prior_packs == SAMPLE.packs

    aloud = Handle(["word", answer])
    told = backend(aloud).read_aloud(sample_film(), TASK, prior)

    async def run() -> list[Any]:
        return [item async for item in told]

    assert asyncio.run(run())[-1].prior.warnings == (doubt,)
    assert aloud.calls[0].arguments[-1] is prior

    pictures = Handle(b"view"), Handle(b"film")
    service = backend(pictures[0], rendering=pictures[1])
    assert asyncio.run(service.film("id", None, "model", 1)) == b"view"
    assert asyncio.run(service.film("id", 64, image=1)) == b"film"
    assert [handle.calls[0].arguments for handle in pictures] == [("id", 1), ("id", 64, 1, 8)]


def test_what_the_model_doubts_stands_behind_what_the_film_was_read_with() -> None:
    own, doubt = FilmWarning("faint", "It is faint."), FilmWarning("unlike", "Unlike the model's films.")
    film = replace(sample_film(), warnings=(own,))
    answer = ANSWER._replace(doubts=(doubt,))
    service = backend(Handle(answer, [answer]))

    async def run() -> list[Any]:
        return [await service.read(film, TASK), *[item async for item in service.read_aloud(film, TASK)]]

    read, aloud = asyncio.run(run())
    assert read.film.warnings == aloud.film.warnings == (own, doubt)
    assert read.film.pixels is film.pixels


def test_a_refusal_says_when_to_come_again_however_often_it_was_wrapped() -> None:
    sent: ServiceBusyError = pickle.loads(pickle.dumps(ServiceBusyError("every place is taken", retry_after_s=17)))
    for raised in (sent, wrapped(sent), wrapped(wrapped(sent))):
        with pytest.raises(ServiceBusyError) as caught, translated():
            raise raised
        assert problem_of(caught.value).headers == {"Retry-After": "17"}
        assert problem_of(caught.value).detail == "every place is taken; try again in 17 s"
    assert problem_of(ServiceBusyError("busy")).headers == {"Retry-After": "2"}


def test_a_defect_stays_one() -> None:
    with pytest.raises(ZeroDivisionError), translated():
        raise wrapped(ZeroDivisionError("a defect"))
    with pytest.raises(KeyError), translated():
        raise KeyError("here")
