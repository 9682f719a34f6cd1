"""Places: bounded, shared fairly, and a refusal after which one gets in."""

from __future__ import annotations

import heapq
from collections import Counter
from contextlib import ExitStack

import numpy as np
import pytest

from medinterp.api.admission import FEW_CALLERS, FIRST_S, GRACE_S, OVER, PROMISES, SHARED, Admission
from medinterp.errors import ServiceBusyError


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def told(admission: Admission, caller: str, request: object, size: int = 0) -> int:
    """The seconds of a refusal."""
    with pytest.raises(ServiceBusyError) as caught, admission.entered(caller, request, size):
        pass
    assert caught.value.retry_after_s is not None
    return caught.value.retry_after_s


def test_whoever_leaves_makes_room_whatever_came_of_it(clock: Clock) -> None:
    admission = Admission(4, clock=clock)
    for k in range(20):
        with pytest.raises(ZeroDivisionError), admission.entered("a", k):
            raise ZeroDivisionError
    assert (admission.inside, admission.promised) == (0, 0)


def test_who_comes_when_told_gets_in_and_others_do_not_take_the_place(clock: Clock) -> None:
    admission = Admission(4, clock=clock)
    with ExitStack() as inside:
        for k in range(3):
            inside.enter_context(admission.entered("a", k))
        wait_s = told(admission, "a", "late")
        clock.now += wait_s - 0.5
        assert told(admission, "a", "late") == 1  # too early: no later than it was told before
        assert admission.promised == 1
        told(admission, "a", "another")
        clock.now += 0.5
        inside.enter_context(admission.entered("a", "late"))
        assert (admission.inside, admission.promised) == (4, 1)


def test_each_is_told_a_later_time_by_the_measured_pace(clock: Clock) -> None:
    admission = Admission(8, clock=clock)
    with ExitStack() as inside:
        for k in range(6):
            inside.enter_context(admission.entered("a", k))
        assert admission.interval_s == FIRST_S
        for k in range(20):  # one leaves, one comes, every 3 s
            clock.now += 3
            with ExitStack() as one:
                one.enter_context(admission.entered("b", k))
        assert admission.interval_s == pytest.approx(3)
        waits = [told(admission, "a", f"late {k}") for k in range(10)]
        assert waits == sorted(waits)
        assert waits[0] == 4 and waits[-1] == 33


def test_a_place_is_not_kept_for_ever(clock: Clock) -> None:
    admission = Admission(1, clock=clock)
    with admission.entered("a", 0):
        wait_s = told(admission, "a", 1)
        assert admission.promised == 1
        clock.now += wait_s + GRACE_S + 0.1
        told(admission, "a", 2)
        assert admission.promised == 1  # of the second alone


def test_one_caller_leaves_places_to_others(clock: Clock) -> None:
    admission = Admission(16, clock=clock)
    with ExitStack() as inside:
        taken = 0
        while True:
            try:
                inside.enter_context(admission.entered("script", taken))
            except ServiceBusyError:
                break
            taken += 1
        assert taken == SHARED * 16
        for k in range(50):
            told(admission, "script", f"more {k}")
        for k in range(16 // FEW_CALLERS):
            inside.enter_context(admission.entered("reader", k))
        told(admission, "reader", "more")


def test_there_is_a_bound_even_for_those_who_were_told(clock: Clock) -> None:
    admission = Admission(4, clock=clock)
    with ExitStack() as inside:
        for k in range(3):
            inside.enter_context(admission.entered("a", k))
        waits = [told(admission, "a", f"late {k}") for k in range(100)]
        assert admission.promised == PROMISES * 4
        clock.now += max(waits[: PROMISES * 4])
        entered = 0
        for k in range(100):
            try:
                inside.enter_context(admission.entered("a", f"late {k}"))
                entered += 1
            except ServiceBusyError:
                pass
        assert admission.inside == OVER * 4 == 3 + entered


def test_what_they_bring_is_bounded_too_but_who_is_alone_may_bring_anything(clock: Clock) -> None:
    admission = Admission(8, max_bytes=100, clock=clock)
    with admission.entered("a", 0, 1000):
        told(admission, "b", 0, 1)
    with admission.entered("a", 0, 60):
        told(admission, "b", 0, 41)
        with admission.entered("b", 1, 40):
            pass


@pytest.mark.parametrize(("clients", "same_caller"), [(32, True), (48, False), (64, True), (64, False), (128, True)])
def test_of_many_clients_those_who_wait_as_told_get_in(clock: Clock, clients: int, same_caller: bool) -> None:
    """Eight slots, reports of 0.5 to 3 s, every client sends its next film at once; as in tests/faults, without time.

    Nobody is starved, slots stand idle for little of the time, and no more are inside than there may be.
    """
    places, slots, length_s, random = 32, 8, 600.0, np.random.default_rng(4)
    admission = Admission(places, clock=clock)
    start, events, count = clock.now, [], 0
    entered: dict[int, ExitStack] = {}
    films: Counter[int] = Counter()
    waiting: list[int] = []
    running: set[int] = set()
    refused_again = asked_again = most = 0
    idle_s, since = 0.0, clock.now
    was_told: set[int] = set()
    for client in range(clients):
        heapq.heappush(events, (start + client * 0.01, client, "ask"))
    while events and events[0][0] < start + length_s:
        when, client, what = heapq.heappop(events)
        idle_s += (when - since) * (slots - len(running)) / slots
        since = clock.now = when
        if what == "ask":
            stack = ExitStack()
            asked_again += client in was_told
            try:
                name = "one address" if same_caller else f"reader {client}"
                stack.enter_context(admission.entered(name, (client, films[client])))
            except ServiceBusyError as error:
                refused_again += client in was_told
                was_told.add(client)
                heapq.heappush(events, (when + (error.retry_after_s or 0), client, "ask"))
            else:
                was_told.discard(client)
                entered[client] = stack
                waiting.append(client)
        else:
            running.discard(client)
            entered.pop(client).close()
            films[client] += 1
            count += 1
            heapq.heappush(events, (when + 0.05, client, "ask"))
        while waiting and len(running) < slots:
            writes = waiting.pop(0)
            running.add(writes)
            heapq.heappush(events, (when + float(random.uniform(0.5, 3)), writes, "leave"))
        most = max(most, admission.inside)
    assert asked_again > 20 or clients == 32
    assert refused_again <= 0.05 * asked_again
    assert most <= OVER * places
    assert idle_s < 0.1 * length_s
    assert count > 0.9 * length_s * slots / 1.75
    assert min(films[client] for client in range(clients)) > 0.3 * count / clients
