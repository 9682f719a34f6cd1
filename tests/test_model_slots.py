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
from medinterp.model.graph import Replayed
from medinterp.model.prompt import PromptInputs, build_prompt
from medinterp.model.slots import Slots
from medinterp.model.writer import Decoded, DecodeOptions, Writer, decode

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
            for slot in sorted({0, 1} - set(place)):
                if waiting:
                    place[slot] = index = waiting.pop(0)
                    seeds = options[index].seeds
                    writer.admit(slot, prompts[index], options[index], None if seeds is None else seeds[0])
            writer.choose()
            writer.step()
            for slot in writer.ended():
                written[place.pop(slot)] = writer.finish(slot)
    for index, prompt in enumerate(prompts):
        assert_same(written[index], alone(loaded, prompt, options[index]))


@torch.inference_mode()
def test_a_slot_whose_caller_went_away_serves_the_next(loaded: LoadedModel, prompts: list[PromptInputs]) -> None:
    with loaded.lock:
        writer = Writer(Slots(loaded, 2, 700, 16))
        writer.admit(0, prompts[1], OPTIONS)
        writer.admit(1, prompts[0], OPTIONS)
        for _ in range(4):
            writer.choose()
            writer.step()
        writer.free(0)
        writer.admit(0, prompts[2], OPTIONS)
        written = {}
        while writer.busy:
            writer.choose()
            writer.step()
            written.update({slot: writer.finish(slot) for slot in writer.ended()})
    assert_same(written[0], alone(loaded, prompts[2], OPTIONS))
    assert_same(written[1], alone(loaded, prompts[0], OPTIONS))


@torch.inference_mode()
def test_what_a_slot_held_reaches_no_later_report(loaded: LoadedModel, prompts: list[PromptInputs]) -> None:
    """Masked values are multiplied by 0, and 0 times NaN is NaN."""
    with loaded.lock:
        slots = Slots(loaded, 1, 700, 16)
        for layer in slots.layers:
            layer.keys.fill_(float("nan"))
            layer.values.fill_(float("nan"))
        writer = Writer(slots)
        writer.admit(0, prompts[0], OPTIONS)
        while not writer.ended():
            writer.choose()
            writer.step()
        assert_same(writer.finish(0), alone(loaded, prompts[0], OPTIONS))


@torch.inference_mode()
def test_what_a_slot_cannot_take_is_refused_before_it_is_read(loaded: LoadedModel, prompts: list[PromptInputs]) -> None:
    length = prompts[0].length + OPTIONS.max_new_tokens
    with loaded.lock:
        for slots in (Slots(loaded, 1, length - 1, 13), Slots(loaded, 1, length, 12)):
            with pytest.raises(ValueError, match="positions and"):
                Writer(slots).admit(0, prompts[0], OPTIONS)
        writer = Writer(Slots(loaded, 1, length, 13))
        with pytest.raises(ValueError, match="needs a seed"):
            writer.admit(0, prompts[0], replace(OPTIONS, temperature=1.0))
        writer.admit(0, prompts[0], OPTIONS)
        with pytest.raises(ValueError, match="not finished"):
            writer.admit(0, prompts[0], OPTIONS)
        while not writer.ended():
            writer.choose()
            writer.step()
        assert_same(writer.finish(0), alone(loaded, prompts[0], OPTIONS))


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
            writer.admit(slot, prompts[slot], OPTIONS)
        writer.choose()
        slots = writer._slots
        step = torch.compile(slots.forward, fullgraph=True, backend=backend)
        for _ in range(3):
            slots.position.add_(1)
            slots.row.add_(1)
            step()
            replayed = slots.logits.clone()
            slots.forward()
            torch.testing.assert_close(replayed, slots.logits, atol=1e-4, rtol=1e-4)
            slots.token.copy_(slots.logits.argmax(-1))
    assert len(compiled) == 1


@torch.inference_mode()
def test_a_step_run_again_changes_nothing(loaded: LoadedModel, prompts: list[PromptInputs]) -> None:
    """The calls before a capture are of no consequence, and no tensor moves: a graph replays addresses."""
    with loaded.lock:
        writer = Writer(Slots(loaded, 2, 700, 16))
        for slot in (0, 1):
            writer.admit(slot, prompts[slot], OPTIONS)
        writer.choose()
        writer.step()
        slots = writer._slots
        state = [slots.token, slots.position, slots.row, slots.logits, slots.queries]
        state += [tensor for layer in slots.layers for tensor in (layer.keys, layer.values)]
        before, places = [tensor.clone() for tensor in state], [tensor.data_ptr() for tensor in state]
        for _ in range(3):
            slots.forward()
        for tensor, was in zip(state, before, strict=True):
            torch.testing.assert_close(tensor, was, atol=0, rtol=0)
        writer.choose()
        writer.step()
        assert [tensor.data_ptr() for tensor in state] == places


def test_where_there_is_no_cuda_the_step_itself_is_called() -> None:
    calls: list[int] = []
    step = Replayed(lambda: calls.append(1), torch.device("cpu"))
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
    step = Replayed(lambda: None, torch.device("cuda"))
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
        "graph": lambda graph, **named: Capture(),
    }.items():
        monkeypatch.setattr(torch.cuda, name, value)
    with pytest.raises(error, match=told):
        Replayed(lambda: None, torch.device("cuda:1"))()
    assert devices == [torch.device("cuda:1")]
