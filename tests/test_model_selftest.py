"""The self-test passes on a sound model and names what is wrong with every other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from models import noise_film, save_small_model
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS

from medinterp.errors import SelfTestError
from medinterp.model import LoadedModel, load_model, self_test
from medinterp.model import evidence as evidence_module
from medinterp.model.capture import ATTENTION
from medinterp.model.evidence import Evidence
from medinterp.model.prompt import build_prompt
from medinterp.model.slots import Slots


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
    assert len(values) == 15
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


def test_a_window_that_the_steps_lose(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The prompt's pass keeps its mask, the steps after it lose theirs: they are another computation."""
    loaded = load_model(str(save_small_model(tmp_path, sliding_window=40)))
    monkeypatch.setattr(Slots, "mask", lambda slots, _, position: slots._places <= position[:, None])
    with pytest.raises(SelfTestError, match="teacher-forced log-probability"):
        self_test(loaded)


def test_a_window_that_the_rows_lose(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = load_model(str(save_small_model(tmp_path, sliding_window=40)))
    rows = evidence_module.attention_rows

    def unwindowed(query: torch.Tensor, key: torch.Tensor, mask: torch.Tensor, scaling: float) -> torch.Tensor:
        last = mask.int().flip(1).argmax(1)
        return rows(query, key, torch.arange(mask.shape[1]) < mask.shape[1] - last[:, None], scaling)

    monkeypatch.setattr(evidence_module, "attention_rows", unwindowed)
    with pytest.raises(SelfTestError, match="difference to eager"):
        self_test(loaded)


Rows = Callable[[torch.Tensor, float], tuple[torch.Tensor, float]]


def with_rows(monkeypatch: pytest.MonkeyPatch, change: Rows) -> None:
    """Change the queries [H, rows, D] and the scaling that the evidence is computed from."""
    add = Evidence.add_layer

    def changed(evidence: Evidence, layer: int, start: int, query: torch.Tensor, *rest: Any) -> None:
        *between, scaling = rest
        query, scaling = change(query, scaling)
        add(evidence, layer, start, query, *between, scaling)

    monkeypatch.setattr(Evidence, "add_layer", changed)


def test_the_wrong_row(loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    with_rows(monkeypatch, lambda query, scaling: (query.roll(1, dims=1), scaling))
    with pytest.raises(SelfTestError, match="difference to eager"):
        self_test(loaded)


def test_heads_in_the_wrong_order(loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = evidence_module.attention_rows
    monkeypatch.setattr(evidence_module, "attention_rows", lambda *arguments: rows(*arguments).flip(0))
    with pytest.raises(SelfTestError, match="image row difference to eager"):
        self_test(loaded)


def test_a_missing_scale_in_the_softmax(loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    with_rows(monkeypatch, lambda query, _: (query, 1.0))
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
