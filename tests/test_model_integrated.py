"""Integrated gradients against whole forwards along the path, one point and one token at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from models import noise_film

from medinterp.errors import GenerationCancelled
from medinterp.model import LoadedModel
from medinterp.model.capture import AttentionCall
from medinterp.model.forcing import teacher_forced
from medinterp.model.gradients import attention_weights, weighted_values
from medinterp.model.integrated import FADED, input_x_gradient, integrated_edge_gradient, integrated_gradients
from medinterp.model.prompt import PromptInputs, build_prompt
from medinterp.types import Float32Array


@contextmanager
def faded(loaded: LoadedModel, share: float, kept: list[torch.Tensor]) -> Iterator[None]:
    """Within, the projector gives out embeddings that have gone so far to their mean; they are kept for gradients."""

    def replace(module: object, inputs: object, output: torch.Tensor) -> torch.Tensor:
        mean = output.mean(dim=1, keepdim=True)
        leaf = (output + share * (mean - output)).detach().requires_grad_()
        kept[:] = [leaf, (output - mean).detach()]
        return leaf

    handle = loaded.model.model.multi_modal_projector.register_forward_hook(replace)
    try:
        yield
    finally:
        handle.remove()


def forced_logprobs(loaded: LoadedModel, prompt: PromptInputs, tokens: list[int]) -> torch.Tensor:
    report = torch.tensor(tokens)
    logits = loaded.model(
        input_ids=torch.cat([prompt.input_ids, report])[None],
        token_type_ids=torch.cat([prompt.token_type_ids, torch.zeros_like(report)])[None],
        pixel_values=prompt.pixel_values,
        use_cache=False,
    ).logits
    rows: torch.Tensor = logits[0, prompt.length - 1 : -1].double().log_softmax(-1)
    return rows.gather(1, report[:, None])[:, 0]


def test_every_row_is_the_mean_of_its_own_gradients_along_the_path(
    loaded: LoadedModel, prompt: PromptInputs, tokens: list[int]
) -> None:
    steps = 3
    done: list[int] = []
    with loaded.lock:
        found = integrated_gradients(loaded, prompt, tokens, steps=steps, progress=done.append)
    assert found.shape == (len(tokens), 256 * len(prompt.image_spans))
    assert sum(done) == len(tokens)
    points = [(step + 0.5) / steps for step in range(steps)]
    for token in (0, len(tokens) - 1):
        agrees(found[token], slopes_on(points, loaded, prompt, tokens, token))


def slopes_on(
    points: list[float], loaded: LoadedModel, prompt: PromptInputs, tokens: list[int], token: int
) -> torch.Tensor:
    """(e - mean) . d log p / d e of one token, the mean over points, each by a whole forward."""
    expected = []
    for point in points:
        kept: list[torch.Tensor] = []
        with torch.enable_grad(), faded(loaded, point, kept):
            (slope,) = torch.autograd.grad(forced_logprobs(loaded, prompt, tokens)[token], kept[0])
        expected.append((slope * kept[1]).sum(-1).flatten())
    return torch.stack(expected).mean(0)


def agrees(found: Float32Array, expected: torch.Tensor) -> None:
    most = float(expected.abs().max())
    assert most > 1e-3
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-5 + 1e-3 * most)


def test_input_x_gradient_is_the_slope_where_the_picture_has_faded_a_little(
    loaded: LoadedModel, prompt: PromptInputs, tokens: list[int]
) -> None:
    done: list[int] = []
    with loaded.lock:
        found = input_x_gradient(loaded, prompt, tokens, tokens=[len(tokens) - 1, 0], progress=done.append)
    assert sum(done) == 2
    agrees(found[0], slopes_on([FADED], loaded, prompt, tokens, len(tokens) - 1))
    agrees(found[1], slopes_on([FADED], loaded, prompt, tokens, 0))


def test_a_row_adds_up_to_what_the_picture_is_worth(
    loaded: LoadedModel, prompt: PromptInputs, tokens: list[int]
) -> None:
    found = integrated_gradients(loaded, prompt, tokens, steps=16)
    with torch.no_grad():
        whole = teacher_forced(loaded, prompt, tokens).logprobs
        with faded(loaded, 1.0, []):
            blank = teacher_forced(loaded, prompt, tokens).logprobs
    worth = (whole - blank).numpy()
    assert np.abs(worth).max() > 0.05
    np.testing.assert_allclose(found.sum(axis=1), worth, atol=0.03 * np.abs(worth).max())


def test_less_memory_and_fewer_tokens_change_nothing(loaded: LoadedModel, tokens: list[int]) -> None:
    prompt = build_prompt(loaded, [noise_film()], "Describe.")
    done: list[int] = []
    whole = integrated_gradients(loaded, prompt, tokens, steps=2)
    one_by_one = integrated_gradients(loaded, prompt, tokens, steps=2, memory_bytes=1, progress=done.append)
    np.testing.assert_allclose(one_by_one, whole, atol=1e-5)
    assert sum(done) == len(tokens)
    two = integrated_gradients(loaded, prompt, tokens, steps=2, tokens=[4, 1])
    np.testing.assert_allclose(two, whole[[4, 1]], atol=1e-5)


def test_it_stops_when_nobody_waits(loaded: LoadedModel, tokens: list[int]) -> None:
    prompt = build_prompt(loaded, [noise_film()], "Describe.")
    done: list[int] = []
    with pytest.raises(GenerationCancelled, match="cancelled after 2 of"):
        integrated_gradients(loaded, prompt, tokens, progress=done.append, cancelled=lambda: len(done) == 2)


def test_every_edge_row_is_what_its_own_looks_lose_between_the_points(
    loaded: LoadedModel, prompt: PromptInputs, tokens: list[int]
) -> None:
    """Token by token and point by point: gradients by the cells' keys and values, those of later rows held."""
    steps = 2
    done: list[int] = []
    with loaded.lock:
        found = integrated_edge_gradient(loaded, prompt, tokens, steps=steps, progress=done.append)
    assert found.shape == (len(tokens), 256 * len(prompt.image_spans))
    assert sum(done) == len(tokens)
    cells = torch.cat([torch.arange(span.start, span.stop) for span in prompt.image_spans])
    points = [_looks(loaded, prompt, tokens, point / steps) for point in range(steps + 1)]
    for token in (0, len(tokens) - 1):
        expected = torch.zeros(found.shape[1])
        for here, (logprobs, sides) in enumerate(points):
            before, after = points[max(here - 1, 0)][1], points[min(here + 1, steps)][1]
            slopes = torch.autograd.grad(logprobs[token], sides, retain_graph=True)
            for slope, one, other in zip(slopes, before, after, strict=True):
                moved = slope * (one - other).detach() / 2  # [1, heads, S, D]
                expected += moved.sum(dim=(0, 1, 3))[cells]
        agrees(found[token], expected)


def _looks(
    loaded: LoadedModel, prompt: PromptInputs, tokens: list[int], share: float
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """log p of the tokens at a point, and every layer's keys and values as leaves: no row reaches another."""
    sides: list[torch.Tensor] = []

    def rule(call: AttentionCall) -> torch.Tensor:
        key, value = call.key.detach().requires_grad_(), call.value.detach().requires_grad_()
        sides.extend([key, value])
        assert call.mask is not None
        return weighted_values(attention_weights(call.query, key, call.mask, call.scaling), value)

    report = torch.tensor(tokens)
    with torch.enable_grad(), faded(loaded, share, []):
        logits = loaded.model(
            input_ids=torch.cat([prompt.input_ids, report])[None],
            token_type_ids=torch.cat([prompt.token_type_ids, torch.zeros_like(report)])[None],
            pixel_values=prompt.pixel_values,
            use_cache=False,
            attention_rule=rule,
        ).logits
    return logits[0, prompt.length - 1 : -1].double().log_softmax(-1).gather(1, report[:, None])[:, 0], sides


def test_edges_in_parts_are_the_same(loaded: LoadedModel, tokens: list[int]) -> None:
    prompt = build_prompt(loaded, [noise_film()], "Describe.")
    whole = integrated_edge_gradient(loaded, prompt, tokens, steps=2)
    parts = integrated_edge_gradient(loaded, prompt, tokens, steps=2, memory_bytes=1)
    np.testing.assert_allclose(parts, whole, atol=1e-5)
    done: list[int] = []
    with pytest.raises(GenerationCancelled, match="cancelled after 1 of"):
        integrated_edge_gradient(loaded, prompt, tokens, progress=done.append, cancelled=lambda: len(done) == 1)
