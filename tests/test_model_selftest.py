"""The self-test passes on a sound model and names what is wrong with every other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from models import noise_film, save_small_model
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS

from medinterp.errors import SelfTestError
from medinterp.model import LoadedModel, load_model, self_test
from medinterp.model import capture as capture_module
from medinterp.model.capture import ATTENTION, AttentionCall, AttentionRecorder
from medinterp.model.prompt import build_prompt


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_small_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def loaded(directory: Path) -> LoadedModel:
    return load_model(str(directory))


def dropping_types(forward: Callable[..., Any]) -> Callable[..., Any]:
    def without(*arguments: Any, **named: Any) -> Any:
        return forward(*arguments, **{**named, "token_type_ids": None})

    return without


@pytest.mark.parametrize("window", [512, 270, 40])
def test_a_sound_model_passes(tmp_path: Path, window: int) -> None:
    loaded = load_model(str(save_small_model(tmp_path, sliding_window=window)))
    report = self_test(loaded)
    values = {check.name: check.value for check in report.checks}
    assert len(values) == 10
    assert values["teacher-forced log-probability difference"] < 1e-4
    assert values["image row difference to eager"] < 1e-4
    assert loaded.model.config.text_config._attn_implementation == ATTENTION


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_sixteen_bits_pass_by_their_own_limits(directory: Path, dtype: str) -> None:
    report = self_test(load_model(str(directory), dtype=dtype))
    assert report.dtype == dtype
    assert any(check.limit == "at most 0.001" for check in report.checks)


def test_token_types_dropped_on_the_second_forward(loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loaded.model, "forward", dropping_types(loaded.model.forward))
    with pytest.raises(SelfTestError, match="teacher-forced log-probability"):
        self_test(loaded)


def test_token_types_dropped_everywhere(loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loaded.model.model, "forward", dropping_types(loaded.model.model.forward))
    with pytest.raises(SelfTestError, match="later image cells"):
        self_test(loaded)


def test_a_mask_that_is_not_registered(loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(ALL_MASK_ATTENTION_FUNCTIONS._global_mapping, ATTENTION)
    with pytest.raises(SelfTestError, match="later image cells"):
        self_test(loaded)


def test_a_mask_that_is_not_registered_where_only_a_window_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The prompt pass keeps its mask, later passes lose theirs: the rows betray it."""
    loaded = load_model(str(save_small_model(tmp_path, sliding_window=40)))
    observe = AttentionRecorder.observe

    def unmasked(recorder: AttentionRecorder, call: AttentionCall, output: torch.Tensor) -> None:
        mask = None if call.mask is None else torch.ones_like(call.mask)
        observe(recorder, replace(call, mask=mask), output)

    monkeypatch.setattr(AttentionRecorder, "observe", unmasked)
    with pytest.raises(SelfTestError, match="difference to eager"):
        self_test(loaded)


def test_the_wrong_row(loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    observe = AttentionRecorder.observe

    def one_early(recorder: AttentionRecorder, call: AttentionCall, output: torch.Tensor) -> None:
        observe(recorder, replace(call, query=call.query.roll(1, dims=2)), output)

    monkeypatch.setattr(AttentionRecorder, "observe", one_early)
    with pytest.raises(SelfTestError, match="difference to eager"):
        self_test(loaded)


def test_heads_in_the_wrong_order(loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = capture_module._scores
    monkeypatch.setattr(capture_module, "_scores", lambda query, key: scores(query, key).flip(1))
    with pytest.raises(SelfTestError, match="image row difference to eager"):
        self_test(loaded)


def test_a_missing_scale_in_the_softmax(loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    for layer in loaded.model.model.language_model.layers:
        observed = layer.self_attn
        monkeypatch.setattr(observed, "scaling", observed.scaling)
    from medinterp.model.rows import RowBuffers

    start = RowBuffers.__init__

    def unscaled(buffers: RowBuffers, facts: Any, metric: Any, scaling: Any, *rest: Any, **named: Any) -> None:
        start(buffers, facts, metric, [1.0] * len(scaling), *rest, **named)

    monkeypatch.setattr(RowBuffers, "__init__", unscaled)
    with pytest.raises(SelfTestError, match="difference to eager"):
        self_test(loaded)


def test_a_picture_that_does_not_reach_the_model(loaded: LoadedModel) -> None:
    loaded.model.model.multi_modal_projector.mm_input_projection_weight.zero_()
    with pytest.raises(SelfTestError, match="projector"):
        self_test(loaded)


def test_weights_that_overflow(loaded: LoadedModel) -> None:
    loaded.model.model.language_model.norm.weight.fill_(float("nan"))
    with pytest.raises(SelfTestError, match="not a number"):
        self_test(loaded)


def test_the_capture_is_back_after_a_failure(loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("broken")

    forward = loaded.model.forward

    def fail_when_eager(*arguments: Any, **named: Any) -> Any:
        eager = loaded.model.config.text_config._attn_implementation == "eager"
        return (broken if eager else forward)(*arguments, **named)

    monkeypatch.setattr(loaded.model, "forward", fail_when_eager)
    with pytest.raises(RuntimeError, match="broken"):
        self_test(loaded)
    assert loaded.model.config.text_config._attn_implementation == ATTENTION
    assert build_prompt(loaded, [noise_film()], "Look.").length > 256
