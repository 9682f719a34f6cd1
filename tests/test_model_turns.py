"""Whose turn it is: questions in order, a writer between a question's pieces, and neither for ever."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable

import pytest

from medinterp.errors import GenerationCancelled
from medinterp.model.turns import CALLER, Turns

PIECE_S = 0.03
STEP_S = 0.005


def thread(work: Callable[[], None]) -> threading.Thread:
    started = threading.Thread(target=work, daemon=True)
    started.start()
    return started


def queued(turns: Turns, count: int) -> None:
    """Return when so many wait for the model."""
    deadline = time.monotonic() + 20
    while len(turns._questions) + len(turns._passes) < count:
        assert time.monotonic() < deadline
        time.sleep(0.001)


class Told:
    """What ran, in order, and for how long; fails where two ran at once."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.seconds: list[float] = []
        self._running = threading.Lock()

    def run(self, name: str, seconds: float) -> None:
        assert self._running.acquire(blocking=False), "two hold the model"
        self.names.append(name)
        began = time.perf_counter()
        time.sleep(seconds)
        self.seconds.append(time.perf_counter() - began)
        self._running.release()


def writer(turns: Turns, told: Told, done: threading.Event) -> None:
    with turns.writing():
        while not done.is_set():
            with turns.step():
                told.run("step", STEP_S)


def question(turns: Turns, told: Told, name: str, pieces: int) -> None:
    with turns:
        for piece in range(pieces):
            if piece:
                turns.give_way(None, "")
            told.run(name, PIECE_S)


def test_a_writer_goes_on_between_the_pieces_and_the_pieces_between_the_steps() -> None:
    turns, told, done = Turns(), Told(), threading.Event()
    writing = thread(lambda: writer(turns, told, done))
    while not told.names:
        time.sleep(0.001)
    asking = thread(lambda: question(turns, told, "piece", 4))
    asking.join(10)
    done.set()
    writing.join(10)
    assert told.names.count("piece") == 4
    where = [place for place, name in enumerate(told.names) if name == "piece"]
    for before, after in itertools.pairwise(where):
        # As much time as the piece took, and what the last of the steps took beyond it.
        steps = told.seconds[before + 1 : after]
        assert steps and sum(steps[:-1]) <= told.seconds[before] + 0.2


def test_questions_run_one_after_another_in_order_and_a_writer_between_them() -> None:
    turns, told, done = Turns(), Told(), threading.Event()
    writing = thread(lambda: writer(turns, told, done))
    asking = []
    with turns.step():
        for number, name in enumerate(("first", "second", "third"), start=1):
            asking.append(thread(lambda name=name: question(turns, told, name, 2)))
            queued(turns, number)
    for one in asking:
        one.join(10)
    done.set()
    writing.join(10)
    pieces = [name for name in told.names if name != "step"]
    assert pieces == ["first", "first", "second", "second", "third", "third"]
    assert told.names.index("third") > told.names.index("second") + 2, "a writer is let in between two questions"


def test_a_question_that_nobody_waits_for_ends_between_two_pieces() -> None:
    turns = Turns()
    with pytest.raises(GenerationCancelled, match="cancelled after 3 of 4 cells"), turns:
        turns.give_way(lambda: True, "3 of 4 cells")
    with turns.step():
        assert turns.mine


def test_the_holder_may_take_it_again() -> None:
    turns = Turns()
    with turns, turns:
        assert turns.mine
        with turns.step():
            assert turns.mine
        turns.give_way(None, "")
        assert turns.mine
    entered = threading.Event()
    other = thread(lambda: [entered.set() for _ in [turns.__enter__()]] and turns.__exit__())
    other.join(10)
    assert entered.is_set() and not turns.mine


def test_without_a_writer_a_question_waits_for_nobody() -> None:
    turns, told = Turns(), Told()
    question(turns, told, "piece", 3)
    assert told.names == ["piece"] * 3


def test_one_step_of_somebody_is_let_in_between_two_pieces() -> None:
    turns, told = Turns(), Told()

    def one() -> None:
        with turns.once():
            told.run("given", STEP_S)

    with turns:
        told.run("piece", PIECE_S)
        waiting = thread(one)
        queued(turns, 1)
        turns.give_way(None, "")
        told.run("piece", PIECE_S)
    waiting.join(10)
    assert told.names == ["piece", "given", "piece"]


def test_a_caller_with_many_questions_does_not_keep_another_waiting() -> None:
    turns, told = Turns(), Told()

    def ask(caller: str) -> None:
        CALLER.set(caller)
        question(turns, told, caller, 1)

    asking = []
    with turns:
        for number, caller in enumerate(("script", "script", "script", "reader"), start=1):
            asking.append(thread(lambda caller=caller: ask(caller)))
            queued(turns, number)
    for one in asking:
        one.join(10)
    assert told.names == ["script", "reader", "script", "script"]


def test_many_passes_do_not_keep_a_writer_waiting_nor_one_caller_another() -> None:
    turns, told, done = Turns(), Told(), threading.Event()

    def once(caller: str) -> None:
        CALLER.set(caller)
        with turns.once():
            told.run(caller, STEP_S)

    asking = []
    with turns:
        writing = thread(lambda: writer(turns, told, done))
        while not turns._steps:
            time.sleep(0.001)
        for number, caller in enumerate(("script", "script", "script", "reader"), start=1):
            asking.append(thread(lambda caller=caller: once(caller)))
            queued(turns, number)
    for one in asking:
        one.join(10)
    done.set()
    writing.join(10)
    last = max(place for place, name in enumerate(told.names) if name != "step")
    passes = [name for name in told.names[: last + 1] if name != "step"]
    assert passes == ["script", "reader", "script", "script"]
    places = [place for place, name in enumerate(told.names) if name != "step"]
    assert all(after - before >= 2 for before, after in itertools.pairwise(places)), told.names


def test_a_caller_is_remembered_from_one_question_to_the_next() -> None:
    """The first question found an empty queue."""
    turns, told = Turns(), Told()
    held = threading.Event()

    def ask(caller: str) -> None:
        CALLER.set(caller)
        with turns:
            told.run(caller, STEP_S)
            if len(told.names) == 1:
                assert held.wait(10)

    asking = []
    for number, caller in enumerate(("script", "script", "reader")):
        asking.append(thread(lambda caller=caller: ask(caller)))
        queued(turns, number)  # the first one holds the model
        while not told.names:
            time.sleep(0.001)
    held.set()
    for one in asking:
        one.join(10)
    assert told.names == ["script", "reader", "script"]


@pytest.mark.parametrize("way", ["asking", "once"])
def test_who_waits_for_the_model_may_leave(way: str) -> None:
    turns, gone, left = Turns(), threading.Event(), []

    def ask() -> None:
        with pytest.raises(GenerationCancelled, match="before it began"), getattr(turns, way)(gone.is_set):
            raise AssertionError("the model is held")
        left.append(way)

    with turns:
        asking = thread(ask)
        queued(turns, 1)
        gone.set()
        asking.join(10)
        assert left == [way]
    with turns.step():
        assert turns.mine
