"""Many callers, one writer: each report as if alone, fair turns, and nobody's trouble is another's."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from models import noise_film, save_small_model

from medinterp.errors import GenerationCancelled, ModelError, RequestTooLargeError
from medinterp.model import LoadedModel, load_model
from medinterp.model.footprint import slot_bytes
from medinterp.model.prompt import PromptInputs, build_prompt
from medinterp.model.room import Room, plan_room
from medinterp.model.scheduler import Scheduler
from medinterp.model.slots import Slots
from medinterp.model.turns import CALLER
from medinterp.model.writer import Decoded, DecodeOptions, Writer, decode

OPTIONS = DecodeOptions(12, min_new_tokens=12)


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return load_model(str(save_small_model(tmp_path_factory.mktemp("model"))))


@pytest.fixture(scope="module")
def prompts(loaded: LoadedModel) -> list[PromptInputs]:
    """Two of one length, one longer, one with two images."""
    return [
        build_prompt(loaded, [noise_film(1)], "Look at the film."),
        build_prompt(loaded, [noise_film(5)], "Look at the film."),
        build_prompt(loaded, [noise_film(4)], "Look at the film, and then look at it again, slowly."),
        build_prompt(loaded, [noise_film(2), noise_film(3)], "Compare."),
    ]


def alone(loaded: LoadedModel, prompt: PromptInputs, options: DecodeOptions) -> Decoded:
    with loaded.lock:
        return decode(loaded, [prompt], options)[0]


def assert_same(one: Decoded, other: Decoded) -> None:
    assert one.token_ids == other.token_ids
    np.testing.assert_allclose(one.logprobs, other.logprobs, atol=1e-4)
    np.testing.assert_allclose(one.rows.attention_mass, other.rows.attention_mass, atol=1e-4)
    np.testing.assert_allclose(one.rows.value_norm, other.rows.value_norm, atol=1e-4, rtol=2e-3)


class Asked:
    """Calls to a scheduler in threads of their own, on behalf of callers."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._pool = ThreadPoolExecutor(16)

    def write(
        self, prompt: PromptInputs, options: DecodeOptions, seed: int | None = None, caller: str = "", **named: Any
    ) -> Future[Decoded]:
        def ask() -> Decoded:
            CALLER.set(caller)
            return self._scheduler.write(prompt, options, seed, **named)

        return self._pool.submit(copy_context().run, ask)


class Steps:
    """Holds the writer before each step until it is let go, and notes how many reports each step is of."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sizes: list[int] = []
        self.held = threading.Event()
        self.go = threading.Event()
        step = Writer.step

        def held(writer: Writer) -> None:
            self.held.set()
            assert self.go.wait(20)
            self.sizes.append(sum(map(bool, writer._places)))
            step(writer)

        monkeypatch.setattr(Writer, "step", held)


def test_reports_of_many_threads_are_each_as_if_alone(loaded: LoadedModel, prompts: list[PromptInputs]) -> None:
    """More than there are slots, of other lengths, options and seeds; the slots grow for the longest."""
    options = [
        OPTIONS,
        replace(OPTIONS, max_new_tokens=5, min_new_tokens=5, temperature=1.5, layer_attention=False),
        replace(OPTIONS, max_new_tokens=30, min_new_tokens=30),
        OPTIONS,
    ]
    seeds = [None, 7, None, None]
    asked = Asked(Scheduler(loaded, max_slots=3))
    for _ in range(2):
        futures = [asked.write(*one) for one in zip(prompts, options, seeds, strict=True)]
        for future, prompt, option, seed in zip(futures, prompts, options, seeds, strict=True):
            expected = alone(loaded, prompt, option if seed is None else replace(option, seeds=(seed,)))
            assert_same(future.result(60), expected)


def test_a_report_joins_between_two_steps_and_words_come_as_they_are_written(
    loaded: LoadedModel, prompts: list[PromptInputs], monkeypatch: pytest.MonkeyPatch
) -> None:
    steps, asked = Steps(monkeypatch), Asked(Scheduler(loaded, max_slots=2))
    told: list[int] = []
    caller: list[str] = []

    def take(token: int) -> None:
        told.append(token)
        caller.append(threading.current_thread().name)

    first = asked.write(prompts[0], OPTIONS, on_token=take)
    assert steps.held.wait(20)
    second = asked.write(prompts[1], OPTIONS)
    while len(asked._scheduler._waiting) < 1:
        threading.Event().wait(0.01)
    steps.go.set()
    assert_same(second.result(60), alone(loaded, prompts[1], OPTIONS))
    assert tuple(told) == first.result(60).token_ids
    assert set(caller) != {"writer"} and "writer" not in caller
    assert steps.sizes[:3] == [1, 2, 2]


def test_the_next_slot_is_for_the_caller_who_has_the_fewest(
    loaded: LoadedModel, prompts: list[PromptInputs], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A script that asks for five reports at once does not keep a reader waiting for more than the next free slot."""
    steps, scheduler = Steps(monkeypatch), Scheduler(loaded, max_slots=2)
    asked = Asked(scheduler)
    ended: list[str] = []

    def write(name: str, caller: str, tokens: int) -> Future[Decoded]:
        options = replace(OPTIONS, max_new_tokens=tokens, min_new_tokens=tokens)
        before = len(scheduler._waiting)
        future = asked.write(prompts[0], options, caller=caller)
        future.add_done_callback(lambda _: ended.append(name))
        while scheduler._thread is None or (steps.held.is_set() and len(scheduler._waiting) == before):
            threading.Event().wait(0.01)
        return future

    futures = [write("script 1", "script", 6)]
    assert steps.held.wait(20)
    futures += [write(f"script {number}", "script", 6) for number in range(2, 6)]
    futures.append(write("reader", "reader", 6))
    steps.go.set()
    for future in futures:
        future.result(60)
    assert ended.index("reader") <= 2, ended


def test_a_caller_who_goes_frees_the_slot_at_the_next_step(
    loaded: LoadedModel, prompts: list[PromptInputs], monkeypatch: pytest.MonkeyPatch
) -> None:
    steps, asked = Steps(monkeypatch), Asked(Scheduler(loaded, max_slots=2))
    gone = threading.Event()
    long = replace(OPTIONS, max_new_tokens=200, min_new_tokens=200)
    leaves = asked.write(prompts[0], long, cancelled=gone.is_set)
    stays = asked.write(prompts[1], OPTIONS)
    assert steps.held.wait(20)
    gone.set()
    with pytest.raises(GenerationCancelled, match="cancelled after 0 tokens"):
        leaves.result(20)
    steps.go.set()
    decoded = stays.result(60)
    assert len(steps.sizes) <= 13, "the long report was written on"
    assert_same(decoded, alone(loaded, prompts[1], OPTIONS))


def test_an_error_of_a_callback_is_its_callers_own(loaded: LoadedModel, prompts: list[PromptInputs]) -> None:
    asked = Asked(Scheduler(loaded, max_slots=2))

    def fails(_: int) -> None:
        raise KeyError("theirs")

    wrong = asked.write(prompts[0], OPTIONS, on_token=fails)
    right = asked.write(prompts[1], OPTIONS)
    with pytest.raises(KeyError, match="theirs"):
        wrong.result(60)
    assert_same(right.result(60), alone(loaded, prompts[1], OPTIONS))


def test_an_overflow_fails_one_report(
    loaded: LoadedModel, prompts: list[PromptInputs], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Asked(Scheduler(loaded, max_slots=2))
    rate, calls = Slots.rate, []

    def overflowing(slots: Slots, which: slice) -> None:
        calls.append(which)
        rate(slots, which)
        if len(calls) == 4:
            slots.likeliest[0] = -1

    monkeypatch.setattr(Slots, "rate", overflowing)
    one, other = asked.write(prompts[0], OPTIONS), asked.write(prompts[1], OPTIONS)
    failed = [future for future in (one, other) if isinstance(future.exception(60), ModelError)]
    assert len(failed) == 1 and "not a number" in str(failed[0].exception())


def test_after_a_step_that_fails_the_next_report_is_written(
    loaded: LoadedModel, prompts: list[PromptInputs], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Asked(Scheduler(loaded, max_slots=2))
    forward, broken = Slots.forward, [True]

    def once(slots: Slots, count: int, length: int) -> None:
        if broken.pop() if broken else False:
            raise torch.OutOfMemoryError("no room")
        forward(slots, count, length)

    monkeypatch.setattr(Slots, "forward", once)
    with pytest.raises(torch.OutOfMemoryError, match="no room"):
        asked.write(prompts[0], OPTIONS).result(60)
    assert_same(asked.write(prompts[0], OPTIONS).result(60), alone(loaded, prompts[0], OPTIONS))


def test_a_prompt_that_cannot_be_read_fails_alone(
    loaded: LoadedModel, prompts: list[PromptInputs], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, admit = Asked(Scheduler(loaded, max_slots=2)), Writer.admit_together

    def refuse(writer: Writer, given: list[PromptInputs], *rest: Any) -> Any:
        if prompts[2] in given:
            raise torch.OutOfMemoryError("no room")
        return admit(writer, given, *rest)

    monkeypatch.setattr(Writer, "admit_together", refuse)
    wrong, right = asked.write(prompts[2], OPTIONS), asked.write(prompts[0], OPTIONS)
    with pytest.raises(torch.OutOfMemoryError):
        wrong.result(60)
    assert_same(right.result(60), alone(loaded, prompts[0], OPTIONS))


def test_evidence_that_finds_no_room_fails_alone(
    loaded: LoadedModel, prompts: list[PromptInputs], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, finish = Asked(Scheduler(loaded, max_slots=2)), Writer.finish

    def without_room(writer: Writer, writing: Any) -> Any:
        if writing.prompt is prompts[2]:
            raise torch.OutOfMemoryError("no room")
        return finish(writer, writing)

    monkeypatch.setattr(Writer, "finish", without_room)
    wrong, right = asked.write(prompts[2], OPTIONS), asked.write(prompts[0], OPTIONS)
    with pytest.raises(torch.OutOfMemoryError):
        wrong.result(60)
    assert_same(right.result(60), alone(loaded, prompts[0], OPTIONS))


class Stubborn(Exception):
    """An error that cannot be copied."""

    def __init__(self, *, told: str) -> None:
        super().__init__(told)


@pytest.mark.parametrize("where", ["forward", "admit_together", "finish"])
def test_an_error_that_cannot_be_copied_reaches_those_who_wait(
    loaded: LoadedModel, prompts: list[PromptInputs], monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    asked, broken = Asked(Scheduler(loaded, max_slots=2)), [True, True, True]
    kind: Any = Slots if where == "forward" else Writer
    own = getattr(kind, where)

    def breaks(*arguments: Any) -> Any:
        if broken:
            broken.pop()
            raise Stubborn(told="no luck")
        return own(*arguments)

    monkeypatch.setattr(kind, where, breaks)
    failing = [asked.write(prompt, OPTIONS) for prompt in prompts[:2]]
    for future in failing:
        error = future.exception(60)
        assert error is None or (isinstance(error, ModelError) and str(error) == "Stubborn: no luck")
    broken.clear()
    assert asked._scheduler.alive
    assert_same(asked.write(prompts[0], OPTIONS).result(60), alone(loaded, prompts[0], OPTIONS))


def test_a_bad_request_among_alike_ones_fails_alone(loaded: LoadedModel, prompts: list[PromptInputs]) -> None:
    """They are admitted together, and one by one where that fails."""
    scheduler = Scheduler(loaded, max_slots=4)
    asked = Asked(scheduler)
    sampled = replace(OPTIONS, temperature=1.5)
    with loaded.lock:
        good = asked.write(prompts[0], OPTIONS)
        bad = asked.write(prompts[1], sampled, 2**70)
        other = asked.write(prompts[1], sampled, 3)
        while len(scheduler._waiting) < 3:
            threading.Event().wait(0.01)
    with pytest.raises(Exception, match=r"(?i)overflow|too large|range"):
        bad.result(60)
    assert_same(good.result(60), alone(loaded, prompts[0], OPTIONS))
    assert_same(other.result(60), alone(loaded, prompts[1], replace(sampled, seeds=(3,))))


@pytest.mark.parametrize("temperature", [1e-39, 1e30])
def test_a_temperature_is_never_too_small_nor_too_large(
    loaded: LoadedModel, prompts: list[PromptInputs], temperature: float
) -> None:
    written = Scheduler(loaded).write(prompts[0], replace(OPTIONS, temperature=temperature), 1)
    assert len(written.token_ids) == 12
    if temperature < 1:
        assert written.token_ids == alone(loaded, prompts[0], OPTIONS).token_ids


def test_a_slot_without_a_report_stays_within_what_a_step_sees(
    loaded: LoadedModel, prompts: list[PromptInputs], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where shapes are few, a freed slot is among those of a step, whose length is that of the reports alone."""
    shapes = (1, 4), (384, 640)
    monkeypatch.setattr("medinterp.model.writer.step_shapes", lambda *_, **__: shapes)
    room = Room(slots=4, length=640, rows=300, slot_bytes=1, free_bytes=4)
    asked = Asked(Scheduler(loaded, room))
    long = asked.write(prompts[3], OPTIONS)  # two images: beyond 384
    short = replace(OPTIONS, max_new_tokens=40, min_new_tokens=40)
    others = [asked.write(prompt, short) for prompt in prompts[:3]]
    assert_same(long.result(60), alone(loaded, prompts[3], OPTIONS))
    for future, prompt in zip(others, prompts, strict=False):
        assert_same(future.result(60), alone(loaded, prompt, short))


def test_slots_do_not_shrink_and_grow_again(
    loaded: LoadedModel, prompts: list[PromptInputs], monkeypatch: pytest.MonkeyPatch
) -> None:
    scheduler, made = Scheduler(loaded), []
    own = Scheduler._made
    monkeypatch.setattr(Scheduler, "_made", lambda self, *size: made.append(size) or own(self, *size))
    for prompt, tokens in ((prompts[3], 4), (prompts[0], 300), (prompts[3], 4), (prompts[0], 300)):
        scheduler.write(prompt, DecodeOptions(tokens, min_new_tokens=1, layer_attention=False))
    assert made == [(768, 256), (768, 512)]


def test_between_two_steps_one_group_of_prompts_is_read(
    loaded: LoadedModel, prompts: list[PromptInputs], monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    admit, step = Writer.admit_together, Writer.step
    monkeypatch.setattr(Writer, "admit_together", lambda *a: read.append("read") or admit(*a))
    monkeypatch.setattr(Writer, "step", lambda writer: read.append("step") or step(writer))
    scheduler = Scheduler(loaded, max_slots=4)
    asked = Asked(scheduler)
    began = threading.Event()
    long = replace(OPTIONS, max_new_tokens=60, min_new_tokens=60)
    first = asked.write(prompts[0], long, on_token=lambda _: began.set())
    assert began.wait(20)
    with loaded.lock:
        others = [asked.write(prompt, OPTIONS) for prompt in prompts[1:]]
        while len(scheduler._waiting) < 3:
            threading.Event().wait(0.01)
    for future in (first, *others):
        future.result(60)
    assert "readread" not in "".join(read), read


def test_a_closed_scheduler_tells_those_who_wait(
    loaded: LoadedModel, prompts: list[PromptInputs], monkeypatch: pytest.MonkeyPatch
) -> None:
    steps, scheduler = Steps(monkeypatch), Scheduler(loaded)
    asked = Asked(scheduler)
    futures = [asked.write(prompts[0], OPTIONS) for _ in range(2)]
    assert steps.held.wait(20)
    closing = threading.Thread(target=scheduler.close)
    closing.start()
    while not scheduler._closed:
        threading.Event().wait(0.01)
    steps.go.set()
    closing.join(20)
    for future in futures:
        with pytest.raises(GenerationCancelled):
            future.result(20)
    with pytest.raises(GenerationCancelled, match="closed"):
        scheduler.write(prompts[0], OPTIONS)


def test_a_program_may_end_while_a_report_is_written() -> None:
    """A thread that is still in torch when the interpreter ends would abort the process."""
    script = """
from medinterp.model import Generator, load_model
from tests.models import noise_film

def word(_):
    raise KeyboardInterrupt

Generator(load_model("phantom")).generate([noise_film(1)], max_new_tokens=300, on_word=word)
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=Path(__file__).parent.parent, capture_output=True)
    assert b"KeyboardInterrupt" in done.stderr and b"terminate called" not in done.stderr
    assert done.returncode == -signal.SIGINT


def test_who_holds_the_model_is_told_that_it_would_wait_for_itself(
    loaded: LoadedModel, prompts: list[PromptInputs]
) -> None:
    with loaded.lock, pytest.raises(RuntimeError, match="wait for itself"):
        Scheduler(loaded).write(prompts[0], OPTIONS)


def test_the_writing_thread_ends_when_nobody_writes_and_begins_again(
    loaded: LoadedModel, prompts: list[PromptInputs], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("medinterp.model.scheduler.LINGER_S", 0.05)
    scheduler = Scheduler(loaded)
    for _ in range(2):
        scheduler.write(prompts[0], OPTIONS)
        thread = scheduler._thread
        assert thread is not None
        thread.join(20)
        assert not thread.is_alive() and scheduler._thread is None


@pytest.mark.parametrize("length", [300, 1000])
def test_a_slot_takes_what_is_said(loaded: LoadedModel, length: int) -> None:
    """Beside it one number a position and slot, that say where each stands."""
    vocabulary = int(loaded.model.lm_head.weight.shape[0])
    slots = Slots(loaded, 3, length, 100)
    held = [value for value in vars(slots).values() if isinstance(value, torch.Tensor)]
    held += [*slots.keys, *slots.values, *slots.queries, *slots.best]
    size = sum(tensor.numel() * tensor.element_size() for tensor in held)
    said = 3 * slot_bytes(loaded.facts, loaded.dtype.itemsize, vocabulary, length, 100)
    assert said <= size <= said + 16 * length + vocabulary + 1000


def told_free(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    monkeypatch.setattr("medinterp.model.room.free_bytes", lambda device: number)


def test_as_many_slots_are_made_as_the_share_holds(loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    told_free(monkeypatch, 2**30)
    whole = plan_room(loaded, max_slots=4, max_length=1024, memory_share=0.5)
    assert (whole.slots, whole.length, whole.rows) == (4, 1024, 1024 - 256 + 1)
    taken = f"{4 * whole.slot_bytes / 2**20:,.0f} MiB of 1,024 MiB free"
    assert whole.told(loaded).startswith(f"4 slots x 1024 positions x 4 layers take {taken}; no graph on this device")
    told_free(monkeypatch, 5 * whole.slot_bytes)
    assert plan_room(loaded, max_slots=4, max_length=1024, memory_share=0.5).slots == 2
    told_free(monkeypatch, whole.slot_bytes)
    with pytest.raises(ModelError, match=r"lower writer.max_length to (\d+), or raise the share") as caught:
        plan_room(loaded, max_slots=4, max_length=1024, memory_share=0.5)
    fitting = int(str(caught.value).split("max_length to ")[1].split(",")[0])
    assert plan_room(loaded, max_slots=4, max_length=fitting, memory_share=0.5).slots == 1
    with pytest.raises(ModelError):
        plan_room(loaded, max_slots=4, max_length=fitting + 1, memory_share=0.5)
    with pytest.raises(ModelError, match="one image alone takes 256"):
        plan_room(loaded, max_slots=4, max_length=256, memory_share=0.5)


def test_no_slot_is_longer_than_what_the_model_holds(loaded: LoadedModel) -> None:
    context = loaded.facts.context_length
    assert plan_room(loaded, max_slots=1, max_length=10 * context, memory_share=1).length == context


def test_a_report_that_no_slot_holds_is_refused_with_the_number(
    loaded: LoadedModel, prompts: list[PromptInputs]
) -> None:
    room = Room(slots=2, length=prompts[0].length + 20, rows=21, slot_bytes=1, free_bytes=2)
    scheduler = Scheduler(loaded, room)
    scheduler.warm()
    with pytest.raises(RequestTooLargeError, match=f"holds {room.length}: ask for at most 20 new tokens"):
        scheduler.write(prompts[0], replace(OPTIONS, max_new_tokens=21))
    assert len(scheduler.write(prompts[0], replace(OPTIONS, max_new_tokens=20)).token_ids) >= 12


def test_a_question_has_its_turn_while_reports_are_written(loaded: LoadedModel, prompts: list[PromptInputs]) -> None:
    asked = Asked(Scheduler(loaded, max_slots=2))
    long = replace(OPTIONS, max_new_tokens=150, min_new_tokens=150)
    told: list[int] = []
    began = threading.Event()

    def take(token: int) -> None:
        told.append(token)
        began.set()

    writing = asked.write(prompts[0], long, on_token=take)
    assert began.wait(20)
    with loaded.lock:
        before = len(told)
        loaded.lock.give_way(None, "")
        between = len(told)
    writing.result(60)
    assert before < 150 and len(told) == 150
    assert between >= before


def test_a_compiled_step_writes_the_same(
    loaded: LoadedModel, prompts: list[PromptInputs], monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled: list[object] = []
    compile_: Callable[..., Any] = torch.compile

    def counting(module: Any, **options: Any) -> Any:
        assert options == {"fullgraph": True, "dynamic": False}

        def backend(graph: torch.fx.GraphModule, _: list[torch.Tensor]) -> Callable[..., Any]:
            compiled.append(graph)
            return graph.forward

        return compile_(module, backend=backend, **options)

    monkeypatch.setattr(torch, "compile", counting)
    length = prompts[0].length + 12
    scheduler = Scheduler(loaded, Room(1, length, 13, slot_bytes=1, free_bytes=2, compiled=True))
    scheduler.warm()
    assert len(compiled) == 1
    assert_same(scheduler.write(prompts[0], OPTIONS), alone(loaded, prompts[0], OPTIONS))
