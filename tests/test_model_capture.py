"""Captured rows against the eager implementation and against hooks: all layers, heads and tokens."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from models import noise_film, save_small_model
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from medinterp.model import LoadedModel, load_model
from medinterp.model.capture import ATTENTION, AttentionCall, captured_attention
from medinterp.model.footprint import trace_bytes
from medinterp.model.forcing import attention_by, teacher_forced
from medinterp.model.prompt import PromptInputs, build_prompt
from medinterp.model.slots import Slots
from medinterp.model.writer import Decoded, DecodeOptions, _PromptReader, decode

T = 40  # more than one chunk of passes
TOLERANCE = 1e-3  # issue: rows agree within this; what is asserted beside it is what float16 storage allows


def written(loaded: LoadedModel, prompt: PromptInputs, tokens: int = T, **options: object) -> Decoded:
    sampled = DecodeOptions(tokens, min_new_tokens=tokens, temperature=1.5, seeds=(3,), **options)  # type: ignore[arg-type]
    with loaded.lock:
        (decoded,) = decode(loaded, [prompt], sampled)
    return decoded


@torch.no_grad()
def eager_rows(loaded: LoadedModel, prompt: PromptInputs, token_ids: tuple[int, ...]) -> np.ndarray:
    """float32 [L, H, N, N] by the eager implementation with output_attentions, in one pass without a cache."""
    with attention_by(loaded, "eager"):
        forced = teacher_forced(loaded, prompt, token_ids, attentions=True)
    assert forced.attentions is not None
    return np.stack([weights.numpy() for weights in forced.attentions])


@pytest.fixture(scope="module", params=[512, 290, 40], ids=lambda window: f"window {window}")
def loaded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    """Windows: never full; full within the report (the cache drops keys); smaller than the image block."""
    path = save_small_model(tmp_path_factory.mktemp("model"), sliding_window=request.param)
    return load_model(str(path))


@pytest.fixture(scope="module")
def prompt(loaded: LoadedModel) -> PromptInputs:
    return build_prompt(loaded, [noise_film()], "Describe.")


@pytest.fixture(scope="module")
def decoded(loaded: LoadedModel, prompt: PromptInputs) -> Decoded:
    return written(loaded, prompt)


@pytest.fixture(scope="module")
def eager(loaded: LoadedModel, prompt: PromptInputs, decoded: Decoded) -> np.ndarray:
    assert len(set(decoded.token_ids)) > 20
    return eager_rows(loaded, prompt, decoded.token_ids)


def test_image_attention_is_eagers_in_the_row_that_predicted_the_token(
    prompt: PromptInputs, decoded: Decoded, eager: np.ndarray
) -> None:
    (span,) = prompt.image_spans
    rows = eager[:, :, prompt.length - 1 : prompt.length - 1 + T, span.start : span.stop].transpose(2, 0, 1, 3)
    captured = decoded.rows.image_attention
    assert captured.dtype == np.float16 and captured.shape == (T, 4, 4, 256)
    np.testing.assert_allclose(captured, rows, rtol=6e-4, atol=1e-5)
    # The neighbouring row, the token's own (trap 2), is another one: agreement above says which it was.
    own = eager[:, :, prompt.length : prompt.length + T, span.start : span.stop].transpose(2, 0, 1, 3)
    assert (np.abs(captured - own).max(axis=(1, 2, 3)) > TOLERANCE).all()


def test_masses_are_eagers_and_sum_to_one(prompt: PromptInputs, decoded: Decoded, eager: np.ndarray) -> None:
    (span,), start = prompt.image_spans, prompt.length
    rows = eager[:, :, start - 1 : start - 1 + T].transpose(2, 0, 1, 3)
    image = rows[..., span.start : span.stop].sum(-1)
    rest = rows[..., 1 : span.start].sum(-1) + rows[..., span.stop : start].sum(-1)
    expected = np.stack([image, rows[..., 0], rest, rows[..., start:].sum(-1)], axis=-1)
    np.testing.assert_allclose(decoded.rows.attention_mass, expected, atol=1e-5)
    np.testing.assert_allclose(decoded.rows.attention_mass.sum(-1), 1.0, atol=1e-5)


def test_layer_attention_is_the_head_mean_of_every_row(decoded: Decoded, eager: np.ndarray) -> None:
    captured = decoded.rows.layer_attention
    assert captured is not None and captured.dtype == np.float16
    np.testing.assert_allclose(captured, eager.mean(1), rtol=6e-4, atol=1e-5)


def test_a_window_that_left_the_image_behind_has_no_image_mass(
    loaded: LoadedModel, prompt: PromptInputs, decoded: Decoded
) -> None:
    if loaded.facts.sliding_window != 40:
        assert (decoded.rows.attention_mass[..., 0] > 0).all()  # the image is within the window throughout
        return
    # Token t's row sees the image while q_t - (stop - 1) < window.
    gone = 40 - (prompt.length - prompt.image_spans[0].stop)
    assert 0 < gone < T
    sliding = [i for i, kind in enumerate(loaded.facts.layer_types) if kind == "sliding_attention"]
    assert (decoded.rows.image_attention[gone:, sliding] == 0).all()
    assert (decoded.rows.attention_mass[gone:, sliding, :, 0] == 0).all()
    assert (decoded.rows.attention_mass[:gone, sliding, :, 0] > 0).all()
    assert (decoded.rows.attention_mass[:, 2, :, 0] > 0.01).all()


@torch.no_grad()
def test_value_norm_is_a_straightforward_recomputation(
    loaded: LoadedModel, prompt: PromptInputs, decoded: Decoded
) -> None:
    facts, layers = loaded.facts, loaded.model.model.language_model.layers
    seen: dict[tuple[str, int], torch.Tensor] = {}
    hooks = []
    for index, layer in enumerate(layers):
        for name in ("v_proj", "o_proj"):
            module = getattr(layer.self_attn, name)
            keep = lambda _, __, out, key=(name, index): seen.__setitem__(key, out[0])  # noqa: E731
            hooks.append(module.register_forward_hook(keep))
    teacher_forced(loaded, prompt, decoded.token_ids)
    for hook in hooks:
        hook.remove()
    for index, layer in enumerate(layers):
        outputs = seen["o_proj", index][prompt.length - 1 : prompt.length - 1 + T]
        scale = (1 / (outputs.pow(2).mean(-1) + layer.post_attention_layernorm.eps).sqrt()).mean()
        weight = 1 + layer.post_attention_layernorm.weight
        for head in range(facts.heads):
            shared = head // (facts.heads // facts.shapes[0].key_value_heads)
            values = seen["v_proj", index][:, shared * 24 : (shared + 1) * 24]
            projected = values @ layer.self_attn.o_proj.weight[:, head * 24 : (head + 1) * 24].T
            expected = (weight * projected).norm(dim=-1) * scale
            np.testing.assert_allclose(decoded.rows.value_norm[index, head], expected, rtol=1e-4)


def test_teacher_forcing_gives_the_generated_log_probabilities(
    loaded: LoadedModel, prompt: PromptInputs, decoded: Decoded
) -> None:
    with torch.no_grad():
        forced = teacher_forced(loaded, prompt, decoded.token_ids).logprobs.numpy()
    np.testing.assert_allclose(decoded.logprobs, forced, atol=1e-4)


def test_alternatives_are_the_five_likeliest_others(
    loaded: LoadedModel, prompt: PromptInputs, decoded: Decoded
) -> None:
    ids = torch.tensor(decoded.token_ids)
    with torch.no_grad():
        output = loaded.model(
            input_ids=torch.cat([prompt.input_ids, ids])[None],
            token_type_ids=torch.cat([prompt.token_type_ids, torch.zeros_like(ids)])[None],
            pixel_values=prompt.pixel_values,
        )
    logprobs = output.logits[0, prompt.length - 1 : -1].log_softmax(-1)
    for token, row, alternatives in zip(decoded.token_ids, logprobs, decoded.alternatives, strict=True):
        others = [i for i in row.argsort(descending=True).tolist() if i != token][:5]
        assert [i for i, _ in alternatives] == others
        np.testing.assert_allclose([p for _, p in alternatives], row[others], atol=1e-4)


def test_a_padded_batch_gives_the_same_traces_as_one_by_one(loaded: LoadedModel) -> None:
    prompts = [
        build_prompt(loaded, [noise_film(1)], "Describe this film and say what is absent as well as present."),
        build_prompt(loaded, [noise_film(2, 90, 400)], "Look."),
    ]
    assert prompts[0].length > prompts[1].length + 10
    with loaded.lock:
        options = DecodeOptions(12, temperature=1.5, seeds=(5, 6))
        together = decode(loaded, prompts, options)
        alone = [
            decode(loaded, [prompt], DecodeOptions(12, temperature=1.5, seeds=(seed,)))[0]
            for prompt, seed in zip(prompts, (5, 6), strict=True)
        ]
    for one, other in zip(together, alone, strict=True):
        assert one.token_ids == other.token_ids
        assert one.complete == other.complete
        np.testing.assert_allclose(one.logprobs, other.logprobs, atol=1e-4)
        np.testing.assert_allclose(one.image_state, other.image_state, atol=1e-4)
        for name in ("image_attention", "attention_mass", "layer_attention", "value_norm"):
            np.testing.assert_allclose(getattr(one.rows, name), getattr(other.rows, name), rtol=2e-3, atol=1e-5)


def test_two_images_have_their_cells_one_after_the_other(loaded: LoadedModel) -> None:
    prompt = build_prompt(loaded, [noise_film(1), noise_film(2)], "Compare.")
    decoded = written(loaded, prompt, 4)
    eager = eager_rows(loaded, prompt, decoded.token_ids)
    rows = eager[:, :, prompt.length - 1 : prompt.length + 3].transpose(2, 0, 1, 3)
    cells = np.concatenate([rows[..., span.start : span.stop] for span in prompt.image_spans], axis=-1)
    np.testing.assert_allclose(decoded.rows.image_attention, cells, rtol=6e-4, atol=1e-5)
    np.testing.assert_allclose(decoded.rows.attention_mass[..., 0], cells.sum(-1), atol=1e-5)
    np.testing.assert_allclose(decoded.rows.attention_mass.sum(-1), 1.0, atol=1e-5)


def test_layer_attention_can_be_left_out(loaded: LoadedModel, prompt: PromptInputs, decoded: Decoded) -> None:
    lean = written(loaded, prompt, layer_attention=False)
    assert lean.rows.layer_attention is None
    np.testing.assert_array_equal(lean.rows.image_attention, decoded.rows.image_attention)


def test_the_size_is_the_formula(loaded: LoadedModel, prompt: PromptInputs, decoded: Decoded) -> None:
    rows = decoded.rows
    assert rows.layer_attention is not None
    arrays = (rows.image_attention, rows.attention_mass, rows.layer_attention, rows.value_norm)
    assert sum(array.nbytes for array in arrays) == trace_bytes(
        loaded.facts, cells=256, prompt_length=prompt.length, report_length=T, layer_attention=True
    )
    for array in arrays:  # nothing larger is kept alive behind them
        assert isinstance(array.base, torch.Tensor) and array.base.untyped_storage().nbytes() == array.nbytes


def test_a_report_that_ends_at_once_has_empty_rows(
    loaded: LoadedModel, prompt: PromptInputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = loaded.facts
    head = loaded.model.lm_head.forward

    def always_end(states: torch.Tensor) -> torch.Tensor:
        logits = head(states)
        logits[..., min(facts.eos_token_ids)] = 100.0
        return logits

    monkeypatch.setattr(loaded.model.lm_head, "forward", always_end)
    with loaded.lock:
        (decoded,) = decode(loaded, [prompt], DecodeOptions(5))
    assert decoded.token_ids == () and decoded.complete
    assert decoded.rows.image_attention.shape == (0, 4, 4, 256)
    assert decoded.rows.value_norm.shape == (4, 4, prompt.length)
    assert (decoded.rows.value_norm > 0).all()


def test_the_function_alone_is_sdpa(loaded: LoadedModel, prompt: PromptInputs, decoded: Decoded) -> None:
    """Without a recorder nothing is recorded; with one nothing changes in what the model says."""
    assert ALL_ATTENTION_FUNCTIONS[ATTENTION] is captured_attention
    with torch.no_grad():
        plain = teacher_forced(loaded, prompt, decoded.token_ids).logprobs
        loaded.model.set_attn_implementation({"text_config": "sdpa"})
        sdpa = teacher_forced(loaded, prompt, decoded.token_ids).logprobs
        loaded.model.set_attn_implementation({"text_config": ATTENTION})
    assert torch.equal(plain, sdpa)


def test_only_the_language_layers_of_this_model_are_observed(
    loaded: LoadedModel, prompt: PromptInputs, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    other = load_model(str(save_small_model(tmp_path, seed=9)))
    seen: list[tuple[int, ...]] = []

    def spy(observe: Callable[[Any, AttentionCall, torch.Tensor], None]) -> Callable[..., None]:
        def spied(recorder: Any, call: AttentionCall, output: torch.Tensor) -> None:
            seen.append((call.layer, call.query.shape[2]))
            if len(seen) == 1:  # another model runs in the middle of this one's pass
                with torch.no_grad():
                    teacher_forced(other, build_prompt(other, [noise_film()], "Look."), [1, 2])
            observe(recorder, call, output)

        return spied

    monkeypatch.setattr(_PromptReader, "observe", spy(_PromptReader.observe))
    monkeypatch.setattr(Slots, "observe", spy(Slots.observe))
    written(loaded, prompt, 2)
    passes = [prompt.length, 1, 1]
    assert seen == [(layer, queries) for queries in passes for layer in range(4)]
