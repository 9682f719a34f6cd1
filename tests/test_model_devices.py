"""A model over two devices computes what it computes on one, and nothing of two devices is ever computed together."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from models import noise_film, save_small_model
from two_devices import FIRST, SECOND, TwoDevices

from medinterp.errors import ModelError
from medinterp.evaluation.families.tiny import KINDS, save_tiny
from medinterp.model import LoadedModel, load_model, plan_room
from medinterp.model.forcing import teacher_forced
from medinterp.model.given import read_given
from medinterp.model.heads import head_maps
from medinterp.model.integrated import integrated_edge_gradient
from medinterp.model.measuring import measure
from medinterp.model.placement import devices_of, spread
from medinterp.model.prompt import PromptInputs, build_prompt
from medinterp.model.slots import Slots
from medinterp.model.sources import position_sources
from medinterp.model.writer import Decoded, DecodeOptions, Writer, decode, write_all
from medinterp.report import build_report

TOKENS = [20, 30, 40]
Pair = tuple[LoadedModel, LoadedModel, PromptInputs]


def dispatched(loaded: LoadedModel) -> LoadedModel:
    """As transformers does where device_map names two devices."""
    from accelerate import dispatch_model

    placed = spread(loaded.model, loaded.language_model.layers, (FIRST, SECOND))
    dispatch_model(loaded.model, placed, main_device=FIRST, skip_keys="past_key_values")
    assert loaded.devices == (FIRST, SECOND)
    return loaded


FAMILIES = ["Gemma 3", "Gemma 4 E4B", "Qwen3-VL"]
"""As most are; with keys that layers share across devices; with deeper features of pictures."""
ONE_FAMILY = pytest.mark.parametrize("pair", ["Gemma 4 E4B"], indirect=True)


@pytest.fixture(scope="module")
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """One whole, one over two devices."""
    path = tmp_path_factory.mktemp("model")
    if request.param == "Gemma 3":
        save_small_model(path, sliding_window=40)
    else:
        save_tiny(next(kind for kind in KINDS if kind.startswith(request.param)), path)
    whole = load_model(str(path))
    with TwoDevices():
        yield whole, dispatched(load_model(str(path))), build_prompt(whole, [noise_film()], "Read.")


def close(got: object, want: object, tolerance: float = 2e-5) -> None:
    assert np.abs(np.asarray(got, np.float64) - np.asarray(want, np.float64)).max() <= tolerance


def same_evidence(got: Decoded, want: Decoded) -> None:
    assert got.token_ids == want.token_ids
    close(got.logprobs, want.logprobs)
    close(got.image_state, want.image_state, 1e-4)
    close(got.unembedding, want.unembedding)
    for name in ("image_attention", "attention_mass", "layer_attention", "value_norm"):
        exact = getattr(want.rows, name)
        close(getattr(got.rows, name), exact, 1e-3 * max(1.0, float(np.abs(exact).max())))


@pytest.mark.parametrize("pair", FAMILIES, indirect=True)
def test_a_report_is_written_and_read_as_on_one_device(pair: Pair) -> None:
    whole, apart, prompt = pair
    options = DecodeOptions(4, min_new_tokens=4)
    (want,) = decode(whole, [prompt], options)
    with torch.no_grad():  # inference mode takes no tensors of a kind of their own
        writer = Writer(Slots(apart, 2, prompt.length + 5, 5))
        for got in write_all.__wrapped__(writer, [prompt, prompt], options):
            same_evidence(got, want)
        given = read_given.__wrapped__(apart, prompt, TOKENS).decoded()
    same_evidence(given, read_given(whole, prompt, TOKENS).decoded())


@ONE_FAMILY
@pytest.mark.parametrize("method", ["occlusion", "edge_gradient", "gradient_relevancy", "input_x_gradient"])
def test_every_method_that_asks_the_model(pair: Pair, method: str) -> None:
    whole, apart, prompt = pair
    options = {"occlusion": {"block": 4}} if method == "occlusion" else None
    want, got = (
        measure(loaded, prompt, TOKENS, [method], options, memory_bytes=2**33)[method].values
        for loaded in (whole, apart)
    )
    close(got, want, 1e-4 * float(np.abs(want).max()) + 1e-6)


@ONE_FAMILY
def test_a_path_of_gradients(pair: Pair) -> None:
    whole, apart, prompt = pair
    want, got = (integrated_edge_gradient(loaded, prompt, TOKENS, steps=1) for loaded in (whole, apart))
    close(got, want, 1e-4 * float(np.abs(want).max()) + 1e-6)


@ONE_FAMILY
def test_heads_and_sources(pair: Pair) -> None:
    whole, apart, prompt = pair
    with torch.no_grad():
        close(teacher_forced(apart, prompt, TOKENS).logprobs.cpu(), teacher_forced(whole, prompt, TOKENS).logprobs)
    got, want = (position_sources(loaded, prompt, TOKENS, [1, 2]) for loaded in (apart, whole))
    close(got.attention, want.attention)
    close(got.gradient, want.gradient, 1e-4)
    report = build_report(TOKENS, [(0, 1), (1, 2), (2, 3)], "abc", [0.0] * 3, [()] * 3, [0.0] * 3, True)
    maps = [head_maps(loaded, [noise_film()], report, "Read.", [1]).maps for loaded in (apart, whole)]
    close(*maps)


@ONE_FAMILY
def test_a_step_over_devices_is_no_graph_and_is_not_compiled(pair: Pair) -> None:
    _, apart, _ = pair
    room = plan_room(apart, max_slots=2, max_length=512, memory_share=0.2)
    assert "over 2 devices there is no graph" in room.told(apart)
    assert not apart.in_graphs
    with pytest.raises(ModelError, match="one GPU"):
        plan_room(apart, max_slots=2, max_length=512, memory_share=0.2, compiled=True)


def test_the_spread_is_by_bytes_and_in_order(tmp_path: Path) -> None:
    loaded = load_model(str(save_small_model(tmp_path)))
    placed = spread(loaded.model, loaded.language_model.layers, [torch.device("cuda", k) for k in range(3)])
    layers = [placed[f"model.language_model.layers.{number}"].index for number in range(4)]
    assert layers == sorted(layers) and layers[-1] == 2
    others = {name: device for name, device in placed.items() if ".layers." not in name}
    assert {device.index for device in others.values()} == {0}
    assert {"lm_head", "model.vision_tower", "model.multi_modal_projector", "model.language_model.norm"} <= set(others)


@pytest.mark.parametrize(
    ("device", "gpus", "match"),
    [("cuda", 1, "no CUDA GPU"), ("cpu", 2, "leave it at 1"), ("auto", 2, "leave it at 1"), ("tpu9", 1, "none that")],
)
def test_a_device_that_is_not_there(
    device: str, gpus: int, match: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ModelError, match=match):
        devices_of(device, gpus)


def test_gpus_that_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert devices_of("auto", 2) == (torch.device("cuda", 0), torch.device("cuda", 1))
    assert devices_of("cuda", 1) == (torch.device("cuda"),)
    for device, gpus in (("cuda:0", 2), ("cuda", 3), ("cuda:2", 1)):
        with pytest.raises(ModelError):
            devices_of(device, gpus)
