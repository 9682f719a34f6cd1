"""Reports side by side in slots: each as if it were alone, whenever it came; a step that a graph can replay."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from models import noise_film, save_small_model

from medinterp.errors import ModelError
from medinterp.model import LoadedModel, load_model
from medinterp.model.device import Captures, OnItsWay, Replayed, step_shapes
from medinterp.model.given import read_given
from medinterp.model.prompt import PromptInputs, build_prompt
from medinterp.model.slots import Slots
from medinterp.model.writer import Decoded, DecodeOptions, Writer, Writing, decode

OPTIONS = DecodeOptions(12, min_new_tokens=12)


@pytest.fixture(scope="module", params=[512, 40], ids=lambda window: f"window {window}")
def loaded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return load_model(str(save_small_model(tmp_path_factory.mktemp("model"), sliding_window=request.param)))


@pytest.fixture(scope="module")
def prompts(loaded: LoadedModel) -> list[PromptInputs]:
    """Of three lengths, one with two images."""
    return [
        build_prompt(loaded, [noise_film(1)], "Look at the film."),
        build_prompt(loaded, [noise_film(2), noise_film(3)], "Compare."),
        build_prompt(loaded, [noise_film(4)], "Look at the film, and then look at it again, slowly."),
    ]


def alone(loaded: LoadedModel, prompt: PromptInputs, options: DecodeOptions) -> Decoded:
    with loaded.lock:
        return decode(loaded, [prompt], options)[0]


def assert_same(one: Decoded, other: Decoded) -> None:
    assert one.token_ids == other.token_ids and one.complete == other.complete
    np.testing.assert_allclose(one.logprobs, other.logprobs, atol=1e-4)
    np.testing.assert_allclose(one.image_state, other.image_state, atol=1e-4)
    for name in ("image_attention", "attention_mass", "value_norm", "layer_attention"):
        mine, theirs = getattr(one.rows, name), getattr(other.rows, name)
        assert (mine is None) == (theirs is None)
        if mine is not None:
            assert mine.dtype == theirs.dtype
            np.testing.assert_allclose(mine.astype(np.float32), theirs.astype(np.float32), atol=1e-4, rtol=2e-3)


def go_on(writer: Writer, written: dict[Writing, Decoded]) -> None:
    writer.choose()
    written.update({one: writer.finish(one).decoded() for one in writer.ended()})
    if writer.busy:
        writer.step()


@torch.inference_mode()
def test_a_report_that_comes_later_is_as_if_alone(loaded: LoadedModel, prompts: list[PromptInputs]) -> None:
    """Two slots, three reports of other lengths, seeds and options: the third takes the slot that is free first."""
    options = [
        OPTIONS,
        replace(OPTIONS, max_new_tokens=5, min_new_tokens=5, temperature=1.5, seeds=(7,), layer_attention=False),
        replace(OPTIONS, max_new_tokens=9, min_new_tokens=9, temperature=0.8, seeds=(3,)),
    ]
    waiting, written, place = [0, 1, 2], {}, {}
    with loaded.lock:
        writer = Writer(Slots(loaded, 2, max(prompt.length for prompt in prompts) + 20, 16))
        while waiting or writer.busy:
            while waiting and not writer.full:
                index = waiting.pop(0)
                seeds = options[index].seeds
                place[writer.admit(prompts[index], options[index], None if seeds is None else seeds[0])] = index
            go_on(writer, written)
    assert len(written) == 3
    for writing, one in written.items():
        assert_same(one, alone(loaded, prompts[place[writing]], options[place[writing]]))


@torch.inference_mode()
def test_a_slot_whose_caller_went_away_serves_the_next(loaded: LoadedModel, prompts: list[PromptInputs]) -> None:
    """And what stood behind it moves up, so that a step is no larger than it must be."""
    written: dict[Writing, Decoded] = {}
    with loaded.lock:
        writer = Writer(Slots(loaded, 3, 700, 16))
        gone = writer.admit(prompts[1], OPTIONS)
        stays = writer.admit(prompts[0], OPTIONS)
        for _ in range(4):
            go_on(writer, written)
        writer.free(gone)
        assert stays.slot == 0
        later = writer.admit(prompts[2], OPTIONS)
        assert later.slot == 1
        while writer.busy:
            go_on(writer, written)
    assert set(written) == {stays, later}
    assert_same(written[later], alone(loaded, prompts[2], OPTIONS))
    assert_same(written[stays], alone(loaded, prompts[0], OPTIONS))


@torch.inference_mode()
def test_a_report_that_has_left_its_slot_takes_no_other_with_it(
    loaded: LoadedModel, prompts: list[PromptInputs]
) -> None:
    """Freed twice, as where its evidence finds no room on the host: another one stands in its place by then."""
    written: dict[Writing, Decoded] = {}
    with loaded.lock:
        writer = Writer(Slots(loaded, 2, 700, 16))
        left, stays = writer.admit(prompts[1], OPTIONS), writer.admit(prompts[0], OPTIONS)
        writer.free(left)
        assert stays.slot == left.slot == 0
        writer.free(left)
        while writer.busy:
            go_on(writer, written)
    assert_same(written[stays], alone(loaded, prompts[0], OPTIONS))


@torch.inference_mode()
def test_what_a_slot_held_reaches_no_later_report(loaded: LoadedModel, prompts: list[PromptInputs]) -> None:
    """Masked values are multiplied by 0, and 0 times NaN is NaN."""
    written: dict[Writing, Decoded] = {}
    with loaded.lock:
        slots = Slots(loaded, 1, 700, 16)
        for state in (*slots.keys, *slots.values):
            state.fill_(float("nan"))
        writer = Writer(slots)
        one = writer.admit(prompts[0], OPTIONS)
        while writer.busy:
            go_on(writer, written)
    assert_same(written[one], alone(loaded, prompts[0], OPTIONS))


@torch.inference_mode()
def test_what_a_slot_cannot_take_is_refused_before_it_is_read(loaded: LoadedModel, prompts: list[PromptInputs]) -> None:
    length = prompts[0].length + OPTIONS.max_new_tokens
    written: dict[Writing, Decoded] = {}
    with loaded.lock:
        for slots in (Slots(loaded, 1, length - 1, 13), Slots(loaded, 1, length, 12)):
            with pytest.raises(ValueError, match="positions and"):
                Writer(slots).admit(prompts[0], OPTIONS)
        writer = Writer(Slots(loaded, 1, length, 13))
        with pytest.raises(ValueError, match="needs a seed"):
            writer.admit(prompts[0], replace(OPTIONS, temperature=1.0))
        one = writer.admit(prompts[0], OPTIONS)
        assert writer.full
        with pytest.raises(ValueError, match="not finished"):
            writer.admit(prompts[0], OPTIONS)
        while writer.busy:
            go_on(writer, written)
    assert_same(written[one], alone(loaded, prompts[0], OPTIONS))


@torch.inference_mode()
def test_an_overflow_is_one_reports_own(loaded: LoadedModel, prompts: list[PromptInputs]) -> None:
    written: dict[Writing, Decoded] = {}
    with loaded.lock:
        writer = Writer(Slots(loaded, 2, 700, 16))
        whole = writer.admit(prompts[0], OPTIONS)
        broken = writer.admit(prompts[2], replace(OPTIONS, temperature=1.0), 1)
        for _ in range(3):
            go_on(writer, written)
        for keys in writer.slots.keys:
            keys[broken.slot].fill_(float("nan"))
        go_on(writer, written)
        told = dict(writer.choose())
        assert broken.overflowed and told[broken] is None and not whole.overflowed and told[whole] is not None
        writer.free(broken)
        writer.step()
        while writer.busy:
            go_on(writer, written)
    assert_same(written[whole], alone(loaded, prompts[0], OPTIONS))


@torch.inference_mode()
def test_a_report_begins_with_what_is_forced(loaded: LoadedModel, prompts: list[PromptInputs]) -> None:
    free = alone(loaded, prompts[0], OPTIONS)
    other = [token for (token, _), *_ in free.alternatives[:3]]
    forced = alone(loaded, prompts[0], replace(OPTIONS, forced=tuple(other)))
    assert forced.token_ids[:3] == tuple(other) and len(forced.token_ids) == 12
    with loaded.lock:
        given = read_given(loaded, prompts[0], forced.token_ids).decoded()
    np.testing.assert_allclose(forced.logprobs, given.logprobs, atol=1e-4)
    np.testing.assert_allclose(forced.rows.attention_mass, given.rows.attention_mass, atol=1e-4)


@torch.inference_mode()
def test_the_models_own_position_is_a_slots_own(loaded: LoadedModel, prompts: list[PromptInputs]) -> None:
    """Beside a report whose positions are shifted another one's are not; shifting all of one changes its tokens' odds.
    """
    shifted = replace(prompts[0], position_offset=37)
    written: dict[Writing, Decoded] = {}
    with loaded.lock:
        writer = Writer(Slots(loaded, 2, 700, 16))
        one, other = writer.admit(shifted, OPTIONS), writer.admit(prompts[2], OPTIONS)
        while writer.busy:
            go_on(writer, written)
    assert_same(written[other], alone(loaded, prompts[2], OPTIONS))
    plain = alone(loaded, prompts[0], OPTIONS)
    assert written[one].logprobs[0] == pytest.approx(plain.logprobs[0], abs=1e-4)
    assert np.abs(written[one].logprobs[1:] - plain.logprobs[1:]).max() > 1e-3


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_an_overflow_is_named(loaded: LoadedModel, prompts: list[PromptInputs], temperature: float) -> None:
    norm = loaded.model.model.language_model.norm.weight
    kept = norm.clone()
    norm.fill_(float("nan"))
    try:
        with pytest.raises(ModelError, match="not a number"):
            alone(loaded, prompts[0], replace(OPTIONS, temperature=temperature, seeds=(1,)))
    finally:
        norm.copy_(kept)


def test_seeds_say_nothing_where_nothing_is_drawn(loaded: LoadedModel, prompts: list[PromptInputs]) -> None:
    with loaded.lock:
        one, other = decode(loaded, prompts[:2], replace(OPTIONS, seeds=(1,)))
    assert_same(one, alone(loaded, prompts[0], OPTIONS))
    assert_same(other, alone(loaded, prompts[1], OPTIONS))


@torch.inference_mode()
def test_a_step_is_one_graph_and_reads_no_host_value(loaded: LoadedModel, prompts: list[PromptInputs]) -> None:
    """`fullgraph` raises where a step reads a value or has a shape that depends on data; one compilation serves all."""
    compiled = []

    def backend(module: torch.fx.GraphModule, _: list[torch.Tensor]) -> Callable[..., Any]:
        compiled.append(module)
        return module.forward

    with loaded.lock:
        writer = Writer(Slots(loaded, 2, 700, 16))
        for slot in (0, 1):
            writer.admit(prompts[slot], OPTIONS)
        writer.choose()
        slots = writer.slots
        step = torch.compile(slots.forward, fullgraph=True, backend=backend)
        for _ in range(3):
            slots.position.add_(1)
            slots.row.add_(1)
            slots.forward(2, 640)
            plain, likeliest = slots.logits.clone(), slots.likeliest.clone()
            step(2, 640)
            torch.testing.assert_close(slots.logits, plain, atol=1e-4, rtol=1e-4)
            assert slots.likeliest.tolist() == likeliest.tolist()
            slots.token.copy_(slots.likeliest)
    assert len(compiled) == 1


@torch.inference_mode()
def test_a_step_run_again_changes_nothing(loaded: LoadedModel, prompts: list[PromptInputs]) -> None:
    """The calls before a capture are of no consequence, and no tensor moves: a graph replays addresses."""
    with loaded.lock:
        writer = Writer(Slots(loaded, 2, 700, 16))
        for slot in (0, 1):
            writer.admit(prompts[slot], OPTIONS)
        writer.choose()
        writer.step()
        slots = writer.slots
        state = [value for value in vars(slots).values() if isinstance(value, torch.Tensor)] + list(slots.best)
        assert len(state) > 12
        before, places = [tensor.clone() for tensor in state], [tensor.data_ptr() for tensor in state]
        for _ in range(3):
            slots.forward(2, 640)
        for tensor, was in zip(state, before, strict=True):
            torch.testing.assert_close(tensor, was, atol=0, rtol=0)
        writer.choose()
        writer.step()
        assert [tensor.data_ptr() for tensor in state] == places


def test_steps_without_a_graph_are_as_small_as_they_can_be() -> None:
    assert step_shapes(3, 200, few=False) == ((1, 2, 3), (64, 128, 192, 200))
    assert step_shapes(8, 2048, few=True) == ((1, 2, 4, 8), (512, 1024, 2048))
    assert step_shapes(6, 1500, few=True) == ((1, 2, 4, 6), (512, 1024, 1500))
    assert step_shapes(1, 300, few=True) == ((1,), (300,))


def test_where_there_is_no_cuda_what_is_on_its_way_is_there() -> None:
    tensor = torch.arange(3)
    array, none = OnItsWay([tensor, None]).arrays()
    assert none is None and array is not None
    assert array.ctypes.data == tensor.data_ptr(), "nothing is copied"


def test_where_there_is_no_cuda_the_step_itself_is_called() -> None:
    calls: list[int] = []
    step = Replayed(lambda: calls.append(1), Captures(torch.device("cpu")))
    step()
    step()
    assert calls == [1, 1]


class FakeGraph:
    """Stands for a CUDA graph: notes what is asked of it."""

    def __init__(self, told: list[str]) -> None:
        self._told = told

    def replay(self) -> None:
        self._told.append("replay")


def test_on_cuda_the_first_call_captures_and_every_call_replays(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    step = Replayed(lambda: None, Captures(torch.device("cuda")))
    monkeypatch.setattr(torch.cuda, "device", lambda device: Stream())
    monkeypatch.setattr(step, "_captured", lambda: told.append("capture") or FakeGraph(told))
    step()
    step()
    assert told == ["capture", "replay", "replay"]


class Stream:
    """Stands for a CUDA stream or device, as a context."""

    def wait_stream(self, other: object) -> None: ...

    def synchronize(self) -> None: ...

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


@pytest.mark.parametrize(
    ("raised", "error", "told"),
    [
        (RuntimeError("not permitted"), ModelError, r"cannot capture this model's decoding step.*not permitted"),
        (torch.OutOfMemoryError("no room"), torch.OutOfMemoryError, "no room"),
    ],
)
def test_a_step_that_cuda_cannot_capture_is_named(
    raised: Exception, error: type[Exception], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    devices: list[torch.device] = []

    class Capture(Stream):
        def __enter__(self) -> None:
            raise raised

    for name, value in {
        "device": lambda device: devices.append(device) or Stream(),
        "current_stream": Stream,
        "Stream": Stream,
        "stream": lambda stream: stream,
        "CUDAGraph": lambda: FakeGraph([]),
        "graph_pool_handle": lambda: None,
        "graph": lambda graph, **named: Capture(),
    }.items():
        monkeypatch.setattr(torch.cuda, name, value)
    with pytest.raises(error, match=told):
        Replayed(lambda: None, Captures(torch.device("cuda:1")))()
    assert devices == [torch.device("cuda:1")]
