"""Gradients by attention against slow, plain ways to the same numbers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from models import noise_film

from medinterp.errors import GenerationCancelled
from medinterp.model import LoadedModel
from medinterp.model.capture import AttentionCall
from medinterp.model.forcing import attention_by
from medinterp.model.gradients import attention_weights, edge_gradient, gradient_relevancy, weighted_values
from medinterp.model.prompt import PromptInputs, build_prompt

Change = Callable[[int, torch.Tensor], torch.Tensor]


def cells_of(prompt: PromptInputs) -> torch.Tensor:
    return torch.cat([torch.arange(span.start, span.stop) for span in prompt.image_spans])


def whole_forward(
    loaded: LoadedModel, prompt: PromptInputs, tokens: list[int], change: Change, detach_from: int | None = None
) -> torch.Tensor:
    """log p of every token by one forward over everything, the weights passed through `change`."""

    def rule(call: AttentionCall) -> torch.Tensor:
        key, value = call.key, call.value
        if detach_from is not None:
            key = torch.cat([key[:, :, :detach_from], key[:, :, detach_from:].detach()], dim=2)
            value = torch.cat([value[:, :, :detach_from], value[:, :, detach_from:].detach()], dim=2)
        assert call.mask is not None
        weights = attention_weights(call.query, key, call.mask, call.scaling)
        return weighted_values(change(call.layer, weights), value)

    report = torch.tensor(tokens)
    logits = loaded.model(
        input_ids=torch.cat([prompt.input_ids, report])[None],
        token_type_ids=torch.cat([prompt.token_type_ids, torch.zeros_like(report)])[None],
        pixel_values=prompt.pixel_values,
        use_cache=False,
        attention_rule=rule,
    ).logits
    rows = logits[0, prompt.length - 1 : -1].float().log_softmax(-1)
    return rows.gather(1, report[:, None])[:, 0]


def test_one_backward_gives_every_token_its_own_gradients(
    loaded: LoadedModel, prompt: PromptInputs, tokens: list[int]
) -> None:
    found = edge_gradient(loaded, prompt, tokens)
    first, cells = prompt.length - 1, cells_of(prompt)
    for token in (0, 3, len(tokens) - 1):
        kept: list[torch.Tensor] = []

        def keep(_: int, weights: torch.Tensor, kept: list[torch.Tensor] = kept) -> torch.Tensor:
            leaf = weights if weights.requires_grad else weights.requires_grad_()
            kept.append(leaf)
            return leaf

        with torch.enable_grad():
            logprobs = whole_forward(loaded, prompt, tokens, keep, detach_from=first)
            slopes = torch.autograd.grad(logprobs[token], kept)
        edges = torch.zeros(len(cells))
        heads, head_map = [], torch.zeros(len(cells))
        for weights, slope in zip(kept, slopes, strict=True):
            row, gradient = weights[0, :, first + token].detach(), slope[0, :, first + token]
            gate = (row * gradient).sum(-1)
            for head in range(len(row)):
                for place, cell in enumerate(cells):
                    a, g = row[head, cell], gradient[head, cell]
                    edges[place] += a * (g - gate[head]) / (1 - a)
                head_map += gate[head].abs() * row[head, cells]
            heads.append(gate.abs())
        scale = float(edges.abs().max())
        assert scale > 0
        np.testing.assert_allclose(found.edges[token], edges.numpy(), atol=1e-4 * scale)
        np.testing.assert_allclose(found.heads[token], torch.stack(heads).numpy(), rtol=1e-3, atol=1e-7)
        np.testing.assert_allclose(found.head_map[token], head_map.numpy(), rtol=1e-3, atol=1e-7)


def test_the_first_order_claim_is_what_a_small_cut_does(loaded: LoadedModel, tokens: list[int]) -> None:
    """A share of the edge is cut in every layer and head and the row renormalised, one token's row at a time."""
    prompt = build_prompt(loaded, [noise_film()], "Describe.")
    found = edge_gradient(loaded, prompt, tokens)
    first, cells = prompt.length - 1, cells_of(prompt)
    share = 0.02
    for token in (0, 4):
        row = first + token
        for place in (int(np.abs(found.edges[token]).argmax()), 11, 200):
            cell = int(cells[place])

            def cut(sign: float, row: int = row, cell: int = cell) -> torch.Tensor:
                def change(_: int, weights: torch.Tensor) -> torch.Tensor:
                    changed = weights.clone()
                    edge = weights[:, :, row, cell]
                    left = edge * (1 - sign * share)
                    changed[:, :, row] *= ((1 - left) / (1 - edge))[..., None]
                    changed[:, :, row, cell] = left
                    return changed

                with torch.no_grad():
                    return whole_forward(loaded, prompt, tokens, change)

            lost = float((cut(-1.0) - cut(1.0))[token]) / (2 * share)
            assert found.edges[token, place] == pytest.approx(lost, rel=0.05, abs=2e-5)


def test_the_first_order_claim_holds_for_edges_that_are_really_cut(loaded: LoadedModel, tokens: list[int]) -> None:
    """The edge to a cell is gone in every layer and head, and the row renormalised."""
    prompt = build_prompt(loaded, [noise_film()], "Describe.")
    found = edge_gradient(loaded, prompt, tokens)
    first, cells = prompt.length - 1, cells_of(prompt)
    with torch.no_grad():
        whole = whole_forward(loaded, prompt, tokens, lambda _, weights: weights)
    told, lost = [], []
    for token in (0, 4):
        row = first + token
        for place in range(3, len(cells), 16):
            cell = int(cells[place])

            def cut(_: int, weights: torch.Tensor, row: int = row, cell: int = cell) -> torch.Tensor:
                changed = weights.clone()
                changed[:, :, row, cell] = 0
                changed[:, :, row] /= changed[:, :, row].sum(-1, keepdim=True)
                return changed

            with torch.no_grad():
                lost.append(float((whole - whole_forward(loaded, prompt, tokens, cut))[token]))
            told.append(float(found.edges[token, place]))
    assert np.abs(lost).max() > 1e-4
    np.testing.assert_allclose(told, lost, atol=0.1 * float(np.abs(lost).max()))
    assert np.corrcoef(told, lost)[0, 1] > 0.99


def test_parts_change_nothing(loaded: LoadedModel, prompt: PromptInputs, tokens: list[int]) -> None:
    whole = edge_gradient(loaded, prompt, tokens)
    done: list[int] = []
    parts = edge_gradient(loaded, prompt, tokens, memory_bytes=2**17, progress=done.append)
    assert len(done) > 2
    assert sum(done) == len(tokens)
    np.testing.assert_allclose(parts.edges, whole.edges, atol=1e-5 * np.abs(whole.edges).max())
    np.testing.assert_allclose(parts.heads, whole.heads, rtol=1e-3, atol=1e-7)


def test_relevancy_is_that_of_the_papers_equations_in_float64(
    loaded: LoadedModel, prompt: PromptInputs, tokens: list[int]
) -> None:
    """Chefer et al. 2021, eq. 5 and 6, with whole matrices, from the model's own eager attention."""
    done: list[int] = []
    found = gradient_relevancy(loaded, prompt, tokens, memory_bytes=2**25, progress=done.append)
    assert len(done) > 1
    cells = cells_of(prompt).numpy()
    report = torch.tensor(tokens)
    embedding = loaded.model.get_input_embeddings().weight
    with attention_by(loaded, "eager"), torch.enable_grad():
        embedding.requires_grad_()
        output = loaded.model(
            input_ids=torch.cat([prompt.input_ids, report])[None],
            token_type_ids=torch.cat([prompt.token_type_ids, torch.zeros_like(report)])[None],
            pixel_values=prompt.pixel_values,
            use_cache=False,
            output_attentions=True,
        )
        for token in (0, 2, len(tokens) - 1):
            query = prompt.length - 1 + token
            slopes = torch.autograd.grad(output.logits[0, query, tokens[token]], output.attentions, retain_graph=True)
            size = output.attentions[0].shape[-1]
            relevancy = np.eye(size)
            for weights, slope in zip(output.attentions, slopes, strict=True):
                product = weights.detach().double().numpy()[0] * slope.double().numpy()[0]
                relevancy = relevancy + np.maximum(product, 0).mean(axis=0) @ relevancy
            expected = relevancy[query, cells]
            assert expected.max() > 0
            np.testing.assert_allclose(found[token], expected, atol=1e-4 * expected.max())
        embedding.requires_grad_(False)


@pytest.mark.parametrize("method", [edge_gradient, gradient_relevancy])
def test_it_stops_when_nobody_waits(
    method: Callable[..., object], loaded: LoadedModel, tokens: list[int]
) -> None:
    prompt = build_prompt(loaded, [noise_film()], "Describe.")
    asked = iter([False, True])
    with pytest.raises(GenerationCancelled, match="tokens"):
        method(loaded, prompt, tokens, memory_bytes=2**17, cancelled=lambda: next(asked))
