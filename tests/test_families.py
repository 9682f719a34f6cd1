"""Every family, by a tiny random checkpoint that is saved and loaded as a released one is."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from models import noise_film

from medinterp import export
from medinterp.api.answers import explanation_model, maps_model
from medinterp.api.store.record import pack_record, unpack_record
from medinterp.errors import ModelError, SelectionError, SelfTestError
from medinterp.evaluation.families.table import families_table
from medinterp.evaluation.families.tiny import CELL, KINDS, save_tiny
from medinterp.evaluation.writing import plain_tokens
from medinterp.explainer import Explainer
from medinterp.model import LoadedModel, load_model, self_test
from medinterp.model.entering import encode_images, enter
from medinterp.model.families import FAMILIES, REFUSED
from medinterp.model.families.gemma4 import Gemma4
from medinterp.model.families.gemma4_unified import Gemma4Unified
from medinterp.model.forcing import attention_by, teacher_forced
from medinterp.model.gradients import OpenAttention, row_states
from medinterp.model.integrated import integrated_gradients
from medinterp.model.occlusion import occlusion
from medinterp.model.prompt import PromptInputs, build_prompt
from medinterp.model.replay import Replay
from medinterp.model.view import model_view
from medinterp.model.writer import DecodeOptions, decode
from medinterp.relevancy import METHODS
from medinterp.relevancy.grid import to_grid
from medinterp.render import RenderOptions, overlay
from medinterp.report.thinking import find_thinking, spoken
from medinterp.types import Film, RelevancyMap
from medinterp.view.packs import packed

E4B, G31B, G26B, G12B = (name for name in KINDS if name.startswith("Gemma 4"))
SHAPES = {"tall": (400, 130), "wide": (150, 420)}
TOKENS = 6
UNLIKELY = (21, 40, 77, 105, 60, 33)
"""A report that no model would write: what it writes itself it may be sure of whatever the picture."""


@pytest.fixture(scope="session", params=list(KINDS))
def loaded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return load_model(str(save_tiny(request.param, tmp_path_factory.mktemp("tiny"))))


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def prompt_of(loaded: LoadedModel, *films: Film, text: str = "Describe.") -> PromptInputs:
    return build_prompt(loaded, films, text)


def written(loaded: LoadedModel, prompts: list[PromptInputs], tokens: int = TOKENS) -> list[Any]:
    with loaded.lock:
        return decode(loaded, prompts, DecodeOptions(tokens, min_new_tokens=tokens))


def loaded_kind(tmp_path: Path, kind: str) -> LoadedModel:
    return load_model(str(save_tiny(kind, tmp_path)))


def test_the_self_test_passes(loaded: LoadedModel) -> None:
    assert loaded.dtype == torch.float32
    values = {check.name: check.value for check in self_test(loaded).checks}
    assert values["image row difference to eager"] <= 1e-5
    assert values["layer attention difference to eager"] <= 1e-5
    assert values["teacher-forced log-probability difference"] <= 1e-5
    assert values["log-probability difference of a pass from the first cell on"] <= 1e-5
    kinds = set(loaded.facts.layer_types)
    assert {name for name in values if name.startswith("mask entries")} == {
        f"mask entries unlike those known, most of all {kind} layers" for kind in kinds
    }


def test_captured_rows_are_eager_rows(loaded: LoadedModel) -> None:
    """In float32, before the trace rounds them to 16 bits: every layer, head, row and key."""
    from medinterp.model.selection import SelectionPass

    prompt = prompt_of(loaded, noise_film(1, 300, 160))
    ids = written(loaded, [prompt])[0].token_ids
    seen: dict[int, torch.Tensor] = {}
    with loaded.lock, torch.no_grad():
        SelectionPass(loaded, prompt, ids, range(TOKENS)).states(lambda layer, rows: seen.update({layer: rows.clone()}))
        with attention_by(loaded, "eager"):
            eager = teacher_forced(loaded, prompt, ids, attentions=True).attentions
    assert eager is not None
    rows = slice(prompt.length - 1, prompt.length - 1 + TOKENS)
    worst = max(float((seen[k] - eager[k][:, rows, : seen[k].shape[-1]]).abs().max()) for k in range(len(eager)))
    assert len(seen) == loaded.facts.layers and worst <= 1e-5


def test_tokens_are_those_of_generate(loaded: LoadedModel) -> None:
    film = noise_film(1, *SHAPES["wide"])
    prompt = prompt_of(loaded, film)
    options: dict[str, Any] = {"max_new_tokens": TOKENS, "min_new_tokens": TOKENS, "cache_implementation": "static"}
    options["suppress_tokens"] = list(loaded.facts.never)
    with attention_by(loaded, "sdpa"):
        plain = plain_tokens(loaded, [prompt], **options)
    assert [list(written(loaded, [prompt])[0].token_ids)] == plain


def test_the_first_logits_are_those_of_generate(loaded: LoadedModel) -> None:
    """A random model's greedy text can be the same under another mask (trap 5): the numbers are not.

    With a static cache, for which `generate` makes the masks: by the forward of Gemma 4 unified image cells see later
    ones in all layers, which Google's own code, vLLM and the other Gemma 4 do not have so.
    """
    prompt = prompt_of(loaded, noise_film(2, *SHAPES["tall"]))
    own = loaded.family.own_inputs(loaded.model, [prompt])
    with loaded.lock, torch.no_grad():
        with attention_by(loaded, "sdpa"):
            made = loaded.model.generate(
                **own, attention_mask=torch.ones_like(own["input_ids"]), max_new_tokens=1, do_sample=False,
                output_logits=True, return_dict_in_generate=True, cache_implementation="static",
            )  # fmt: skip
        ours = loaded.logits(enter(loaded, [prompt]).states(loaded)[:, -1])
    torch.testing.assert_close(ours, made.logits[0], atol=2e-5, rtol=0)


def test_films_of_other_grids_beside_it_change_nothing(loaded: LoadedModel) -> None:
    """Qwen's offset of positions is a request's own, and slots have their own lengths (trap 2)."""
    prompts = [prompt_of(loaded, noise_film(seed, *shape)) for seed, shape in enumerate(SHAPES.values())]
    alone = [written(loaded, [prompt])[0] for prompt in prompts]
    for one, other in zip(written(loaded, prompts), alone, strict=True):
        assert one.token_ids == other.token_ids
        np.testing.assert_allclose(one.logprobs, other.logprobs, atol=1e-5)
        np.testing.assert_allclose(one.rows.image_attention, other.rows.image_attention, atol=1e-3)


def test_positions_of_the_report_go_on_from_the_larger_side(loaded: LoadedModel) -> None:
    prompt = prompt_of(loaded, noise_film(1, *SHAPES["tall"]))
    (span,) = prompt.image_spans
    if not loaded.family.model_class.startswith("Qwen"):
        assert prompt.positions is None and prompt.position_offset == 0
        return
    assert prompt.positions is not None
    assert prompt.position_offset == max(span.rows, span.columns) - span.rows * span.columns
    assert prompt.positions[:, -1].tolist() == [prompt.length - 1 + prompt.position_offset] * 3


# Where a cell is


def planted(shape: tuple[int, int], row: int, column: int, rows: int, columns: int) -> tuple[Film, Film, Any]:
    """A film of noise, the same with a white square where a cell looks, and the square's corners: top, bottom, ..."""
    height, width = shape
    corners = tuple(
        round(share)
        for share in (
            row * height / rows, (row + 1) * height / rows, column * width / columns, (column + 1) * width / columns
        )
    )  # fmt: skip
    plain = np.random.default_rng(0).integers(0, 256, size=shape, dtype=np.uint8)
    marked = plain.copy()
    marked[corners[0] : corners[1], corners[2] : corners[3]] = 255
    return Film(plain, "image/png", "plain"), Film(marked, "image/png", "marked"), corners


@pytest.mark.parametrize("shape", SHAPES.values(), ids=list(SHAPES))
def test_a_place_on_the_film_is_the_cell_and_the_maps_peak(loaded: LoadedModel, shape: tuple[int, int]) -> None:
    """Film pixel -> processor -> cell -> map -> overlay, with one cell at a time."""
    (span,) = prompt_of(loaded, noise_film(0, *shape)).image_spans
    if loaded.family.model_class != "Gemma3ForConditionalGeneration":
        assert (span.rows > 2 * span.columns) == (shape[0] > shape[1])
        assert (span.columns > 2 * span.rows) == (shape[1] > shape[0])
    for row, column in ((0, span.columns - 1), (span.rows - 1, 0), (span.rows // 3, span.columns // 2)):
        plain, marked, (top, bottom, left, right) = planted(shape, row, column, span.rows, span.columns)
        with loaded.lock, torch.no_grad():
            cells = [encode_images(loaded, [prompt_of(loaded, film)]) for film in (plain, marked)]
        change = (cells[1] - cells[0]).norm(dim=-1)
        cell = int(change.argmax())
        assert (cell // span.columns, cell % span.columns) == (row, column)
        alone = np.zeros((1, span.rows * span.columns), dtype=np.float32)
        alone[0, cell] = 1.0
        map_ = RelevancyMap("raw", to_grid(alone, [span])[0], (0,), signed=False)
        colour = np.ptp(overlay(plain, map_, RenderOptions(opacity=1.0, contours=False)).astype(int), axis=-1)
        middle = np.argwhere(colour > 0.9 * colour.max()).mean(axis=0)
        assert top <= middle[0] < bottom and left <= middle[1] < right


def test_the_models_view_has_the_films_shape(loaded: LoadedModel) -> None:
    for shape in SHAPES.values():
        (span,) = prompt_of(loaded, noise_film(0, *shape)).image_spans
        row, column = span.rows - 1, span.columns // 3
        _, marked, _ = planted(shape, row, column, span.rows, span.columns)
        view = model_view(loaded, marked)
        assert view.shape == (span.rows * CELL, span.columns * CELL)
        means = view.reshape(span.rows, CELL, span.columns, CELL).mean(axis=(1, 3))
        assert np.unravel_index(means.argmax(), means.shape) == (row, column) and means.max() > 200 > 128 > means.min()


# What asks the model again


class Hidden:
    """Within, the model's own vision side gives out the mean of an image in place of some of its cells."""

    def __init__(self, loaded: LoadedModel, cells: list[int]) -> None:
        self._model, self._cells = loaded.model.model, cells

    def __enter__(self) -> None:
        whole = self._model.get_image_features

        def changed(level: Any) -> Any:
            parts = [level] if isinstance(level, torch.Tensor) else list(level)
            (part,) = [part.flatten(0, -2).clone() for part in parts]
            part[self._cells] = part.mean(dim=0)
            return part[None] if isinstance(level, torch.Tensor) else (part,)

        def features(*arguments: Any, **named: Any) -> Any:
            found = whole(*arguments, **named)
            found.pooler_output = changed(found.pooler_output)
            if getattr(found, "deepstack_features", None):
                found.deepstack_features = [changed(level) for level in found.deepstack_features]
            return found

        self._model.get_image_features = features

    def __exit__(self, *_: object) -> None:
        del self._model.get_image_features


def test_occlusion_is_the_models_own_forward_without_the_cell(loaded: LoadedModel) -> None:
    prompt = prompt_of(loaded, noise_film(3, 200, 260))
    ids = UNLIKELY
    with loaded.lock, torch.no_grad():
        drops = occlusion(loaded, prompt, ids)
        whole = teacher_forced(loaded, prompt, ids).logprobs
        for cell in (0, 7, prompt.cells - 1):
            with Hidden(loaded, [cell]):
                without = teacher_forced(loaded, prompt, ids).logprobs
            np.testing.assert_allclose(drops[:, cell], (whole - without).numpy(), atol=2e-5)
    assert np.abs(drops).max() > 1e-3


@pytest.mark.parametrize("block", [2, 4])
def test_squares_at_a_border_share_what_they_are_worth(loaded: LoadedModel, block: int) -> None:
    prompt = prompt_of(loaded, noise_film(3, 200, 310))
    (span,) = prompt.image_spans
    ids = UNLIKELY
    last = [cell for cell in range(prompt.cells) if cell // span.columns >= (span.rows - 1) // block * block]
    corner = [cell for cell in last if cell % span.columns >= (span.columns - 1) // block * block]
    with loaded.lock, torch.no_grad():
        drops = occlusion(loaded, prompt, ids, block=block)
        rough = occlusion(loaded, prompt, ids, coarse_to_fine=True)
        whole = teacher_forced(loaded, prompt, ids).logprobs
        with Hidden(loaded, corner):
            without = teacher_forced(loaded, prompt, ids).logprobs
    np.testing.assert_allclose(drops[:, corner].sum(axis=1), (whole - without).numpy(), atol=2e-5)
    assert drops.shape == rough.shape == (TOKENS, prompt.cells) and np.abs(rough).max() > 0


def test_open_attention_is_the_models(loaded: LoadedModel) -> None:
    """Gradients go through passes in which attention is computed in the open: the same states come out."""
    prompt = prompt_of(loaded, noise_film(4, 250, 140))
    ids = written(loaded, [prompt])[0].token_ids
    with loaded.lock, torch.no_grad():
        replay = Replay(loaded, prompt, ids)
        states = replay.states(replay.features[None])
        rows = slice(prompt.length - 1, replay.length)
        held = row_states(replay, rows, OpenAttention(replay, rows, held=True))
        whole = slice(0, replay.length)
        live = row_states(replay, whole, OpenAttention(replay, whole, held=False), copies=2)
    torch.testing.assert_close(held, states, atol=3e-4, rtol=1e-5)
    torch.testing.assert_close(live[1:, rows], states, atol=3e-4, rtol=1e-5)


def test_integrated_gradients_add_up(loaded: LoadedModel) -> None:
    if getattr(loaded.model.config.text_config, "enable_moe_block", False):
        pytest.skip("where a position goes to other experts, log p jumps: no slope shows that")
    prompt = prompt_of(loaded, noise_film(5, 220, 160))
    ids = UNLIKELY
    with loaded.lock:
        found = integrated_gradients(loaded, prompt, ids, tokens=[0, 3], steps=64)
        with torch.no_grad():
            whole = teacher_forced(loaded, prompt, ids).logprobs
            with Hidden(loaded, list(range(prompt.cells))):
                lost = (whole - teacher_forced(loaded, prompt, ids).logprobs)[[0, 3]]
    most = float(lost.abs().max())
    np.testing.assert_allclose(found.sum(axis=1), lost.numpy(), rtol=0, atol=0.05 * most)
    assert most > 1e-3


def test_slopes_of_log_probabilities_are_autograds(loaded: LoadedModel) -> None:
    """Gemma 4 caps its logits: c tanh(z / c)."""
    from medinterp.model.likelihood import token_logprobs, token_slopes

    generator = torch.Generator().manual_seed(0)
    states = (3 * torch.randn(1, 4, loaded.facts.hidden_size, generator=generator)).requires_grad_()
    chosen = torch.tensor([1, 5, 9, 300])
    (wanted,) = torch.autograd.grad(token_logprobs(states, loaded.head, chosen).sum(), states)
    with torch.no_grad():
        direct = loaded.logits(states).log_softmax(-1).gather(-1, chosen[None, :, None])[..., 0].double()
        torch.testing.assert_close(token_logprobs(states, loaded.head, chosen), direct, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(token_slopes(states.detach(), loaded.head, chosen), wanted, atol=1e-5, rtol=1e-4)


def test_value_norms_are_those_of_what_the_output_projection_makes(loaded: LoadedModel) -> None:
    facts, metric = loaded.facts, loaded.value_metric
    for layer, (module, shape) in enumerate(zip(loaded.language_model.layers, facts.shapes, strict=True)):
        generator = torch.Generator().manual_seed(layer)
        values = torch.randn(1, shape.key_value_heads, 5, shape.head_dim, generator=generator)
        shared = facts.heads // shape.key_value_heads
        weight = module.self_attn.o_proj.weight.view(facts.hidden_size, facts.heads, shape.head_dim)
        norm = loaded.family.post_norm(module)
        scale = loaded.family.carried(loaded.model)[layer]
        for head in range(facts.heads):
            added = values[0, head // shared] @ weight[:, head].T * scale * (1.0 if norm is None else norm[0])
            torch.testing.assert_close(metric.norms(values, layer)[0, head], added.norm(dim=-1), atol=1e-4, rtol=1e-4)
    assert (metric.epsilon[0] is None) == loaded.family.model_class.startswith("Qwen")


def test_an_output_projection_is_measured_by_what_it_makes(tmp_path: Path) -> None:
    """An adapter beside it, or scales that its `weight` has not (trap 8)."""
    loaded = loaded_kind(tmp_path, "Qwen2.5-VL")
    before = loaded.value_metric.gram[1]
    layer = loaded.language_model.layers[1].self_attn

    class Adapted(torch.nn.Module):
        weight = layer.o_proj.weight
        inner = layer.o_proj

        def forward(self, states: torch.Tensor) -> torch.Tensor:
            return 3.0 * self.inner(states) + 0.5

    layer.o_proj = Adapted()
    del loaded.__dict__["value_metric"]
    torch.testing.assert_close(loaded.value_metric.gram[1], 9.0 * before, rtol=1e-4, atol=1e-5)


def test_every_method_and_question(loaded: LoadedModel) -> None:
    """All of the registry, with a prior film of another shape; then heads, sources, reliance and a verdict."""
    explainer = Explainer(loaded)
    film, prior = noise_film(6, *SHAPES["wide"]), noise_film(7, *SHAPES["tall"])
    explanation = explainer.explain(
        film, prior=prior, prompt="Describe.", report="No rib fracture.", methods=list(METHODS)
    )
    assert explanation.trace is not None and set(explanation.packs) == set(METHODS)
    spans, told = explanation.trace.image_spans, Counter[str]()
    for packs, span in ((explanation.packs, spans[0]), (explanation.prior_packs, spans[1])):
        for name, pack in packs.items():
            assert pack.values.shape == (explanation.trace.report_length, span.rows, span.columns), name
            assert np.isfinite(pack.values).all(), name
            told[name] += float(np.ptp(pack.values))
    assert min(told.values()) > 0, told
    words = [word for word in explanation.report.words if word.token_indices][:1]
    heads = explainer.heads(explanation, words, image=1)
    assert heads.maps.shape == (loaded.facts.layers, loaded.facts.heads, spans[1].rows, spans[1].columns)
    sources = explainer.text_sources(explanation, words)
    assert len(sources.film_attention) == 2 and np.isfinite(sources.film_gradient).all()
    assert np.isfinite(explainer.reliance(explanation, swaps=[noise_film(8, 300, 300)]).swap_drops).any()
    verdict = explainer.faithfulness(explanation, words, "raw", image=1, swaps=[noise_film(8, 300, 300)])
    assert np.isfinite(verdict.scores.deletion.value)


def test_a_grid_goes_through_answers_store_and_files(tmp_path: Path) -> None:
    """Of a tall film and a wide prior: rows and columns of each, in JSON, in the store, in files and on the page."""
    explainer = Explainer(loaded_kind(tmp_path, "Qwen3-VL"))
    pixels = noise_film(1, *SHAPES["tall"]).pixels, noise_film(2, *SHAPES["tall"][::-1]).pixels
    films = [Film(own, "image/png", f"{k}" * 64) for k, own in enumerate(pixels)]
    explanation = explainer.explain(
        films[0], prior=films[1], prompt="Describe.", report="LUNGS: No rib fracture.", methods=["raw", "occlusion"]
    )
    grids = [packs["raw"].values.shape[1:] for packs in (explanation.packs, explanation.prior_packs)]
    assert grids[0] == grids[1][::-1] and grids[0][0] > 2 * grids[0][1]
    for image, (rows, columns) in enumerate(grids):
        maps = maps_model("id", explanation, "raw", image=image)
        assert (maps.rows, maps.columns) == (rows, columns)
        told = packed((explanation.packs, explanation.prior_packs)[image]["raw"], explanation.report.words)
        assert told.tokens.shape[1:] == (rows, columns)
        corner = explanation.region(cells=[(rows - 1, columns - 1)], image=image)
        assert corner.coverage.shape == (rows, columns) and corner.coverage[-1, -1] == 1 == corner.coverage.sum()
        with pytest.raises(SelectionError, match=f"grid of {rows} x {columns}"):
            explanation.region(cells=[(columns - 1, rows - 1) if rows < columns else (0, rows - 1)], image=image)
    answer = explanation_model("id", explanation, 0.0, with_maps=True)
    assert (answer.rows, answer.columns) == grids[0]
    kept = unpack_record(pack_record(explanation))
    np.testing.assert_array_equal(kept.prior_packs["occlusion"].values, explanation.prior_packs["occlusion"].values)
    assert export.document(explanation)["grid"] == {"rows": grids[0][0], "columns": grids[0][1]}
    assert f'"rows":{grids[0][0]},"columns":{grids[0][1]}' in export.html(explanation).replace(" ", "")
    word = next(word for word in explanation.report.words if word.token_indices)
    assert explanation.overlay(word, "raw", image=1).pixels.shape == (*SHAPES["tall"][::-1], 3)


# What is wrong, and found


def broken(loaded: LoadedModel, match: str) -> None:
    with pytest.raises(SelfTestError, match=match):
        self_test(loaded)


@pytest.mark.parametrize("kind", ["Gemma 3", G31B, G26B, G12B])
def test_a_block_that_is_lost_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """Without token types the model is silently causal."""
    loaded = loaded_kind(tmp_path, kind)
    run = type(loaded.family).run
    monkeypatch.setattr(
        type(loaded.family), "run",
        lambda self, model, entries, types, positions, **rest: run(self, model, entries, types * 0, positions, **rest),
    )  # fmt: skip
    broken(loaded, "later image cells, least of all")


def test_a_block_in_layers_that_have_none_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So transformers 5.23 makes them in the forward of Gemma 4 unified by itself, and otherwise in its `generate`."""
    loaded = loaded_kind(tmp_path, G12B)
    monkeypatch.setattr(Gemma4Unified, "run", Gemma4.run)
    broken(loaded, "later image cells, most of all full_attention layers")


def test_a_window_that_is_another_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = loaded_kind(tmp_path, E4B)
    loaded.model.config.text_config.sliding_window += 1
    broken(loaded, "teacher-forced|mask entries")


@pytest.mark.parametrize("kind", [E4B, G12B, "Qwen2.5-VL", "Qwen3-VL"])
def test_a_grid_that_is_turned_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """As many cells, rows and columns exchanged."""
    loaded = loaded_kind(tmp_path, kind)
    grids = type(loaded.family).grids
    monkeypatch.setattr(
        type(loaded.family), "grids", lambda *told: [(columns, rows) for rows, columns in grids(*told)]
    )
    broken(loaded, "cells are not where the grid says")


def test_keys_of_another_layer_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In our record of who shares whose: layer 4 takes those of layer 2, not of layer 0."""
    shapes = Gemma4.shapes

    def wrong(family: Gemma4, text: Any) -> Any:
        told = list(shapes(family, text))
        told[4] = type(told[4])(told[4].key_value_heads, told[4].head_dim, 0)
        return tuple(told)

    monkeypatch.setattr(Gemma4, "shapes", wrong)
    broken(loaded_kind(tmp_path, E4B), "difference")


def test_keys_that_the_model_takes_from_another_layer_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the model itself: eager and captured rows agree then, and are those of another model."""
    loaded = loaded_kind(tmp_path, E4B)
    loaded.language_model.layers[2].self_attn.store_full_length_kv = False
    loaded.language_model.layers[0].self_attn.store_full_length_kv = True
    broken(loaded, "keys that layers share|teacher-forced|difference")


def test_positions_of_the_text_that_are_places_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = loaded_kind(tmp_path, "Qwen2.5-VL")
    monkeypatch.setattr(type(loaded.family), "positions", lambda *_: (None, 0))
    broken(loaded, "teacher-forced")


@pytest.mark.parametrize("text", ["<think>\nA base?\n</think>\n\nLUNGS: Clear.", "A base?\n</think>\n\nLUNGS: Clear."])
def test_a_thought_of_qwen_is_no_report(text: str) -> None:
    """Its template opens the thought itself, so that a report may begin within it."""
    (thought,) = find_thinking(text)
    assert text[thought.start : thought.end].endswith("</think>") and spoken(text) == "LUNGS: Clear."


# What is loaded, and what is not


@pytest.mark.parametrize(
    ("kind", "maker", "processor"),
    [
        (E4B, "Gemma4ImageProcessor", "Gemma4Processor"),
        (G12B, "Gemma4UnifiedImageProcessor", "Gemma4UnifiedProcessor"),
        ("Qwen2.5-VL", "Qwen2VLImageProcessor", "Qwen2_5_VLProcessor"),
        ("Qwen3-VL", "Qwen2VLImageProcessorFast", "Qwen3VLProcessor"),
    ],
)
def test_files_as_the_hub_has_them(tmp_path: Path, kind: str, maker: str, processor: str) -> None:
    """Gemma 4's processors stand in one file, sound and videos too, which need torchvision; Qwen's template in JSON."""
    save_tiny(kind, tmp_path)
    before = load_model(str(tmp_path))
    alone = tmp_path / "preprocessor_config.json"
    told = {**json.loads(alone.read_text()), "image_processor_type": maker, "processor_class": processor}
    if kind.startswith("Gemma"):
        others = {"video_processor": {"video_processor_type": "Gemma4VideoProcessor"}}
        others["feature_extractor"] = {"feature_extractor_type": "Gemma4AudioFeatureExtractor"}
        alone.unlink()
        whole = {"processor_class": processor, "image_processor": told, **others}
        (tmp_path / "processor_config.json").write_text(json.dumps(whole))
    else:
        alone.write_text(json.dumps(told))
        template = tmp_path / "chat_template.jinja"
        (tmp_path / "chat_template.json").write_text(json.dumps({"chat_template": template.read_text()}))
        template.unlink()
    loaded = load_model(str(tmp_path))
    assert loaded.facts == before.facts
    own, other = (prompt_of(one, noise_film(1, *SHAPES["wide"])) for one in (before, loaded))
    assert own.text == other.text and torch.equal(own.pixel_values, other.pixel_values)


def test_a_model_that_writes_blocks_is_refused_with_the_reason(tmp_path: Path) -> None:
    from transformers import DiffusionGemmaConfig

    DiffusionGemmaConfig().save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"diffusion_gemma.*no word has a row of attention of its own"):
        load_model(str(tmp_path))
    assert set(REFUSED) == {"DiffusionGemmaConfig"}


def test_another_kind_of_model_is_told_what_there_is(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama"}))
    with pytest.raises(ModelError, match="'llama' model; medinterp reads vision-language models: Gemma3, Gemma4, Gem"):
        load_model(str(tmp_path))
    assert len(FAMILIES) == 5


@pytest.mark.parametrize(
    ("kind", "key"), [(E4B, "patch_size"), (G12B, "pooling_kernel_size"), ("Qwen3-VL", "merge_size")]
)
def test_an_image_processor_of_another_model_is_refused(tmp_path: Path, kind: str, key: str) -> None:
    save_tiny(kind, tmp_path)
    file = tmp_path / "preprocessor_config.json"
    told = json.loads(file.read_text())
    file.write_text(json.dumps({**told, key: told[key] + 1}))
    with pytest.raises(ModelError, match="the image processor cuts"):
        load_model(str(tmp_path))


def test_the_table_tells_what_failed() -> None:
    told = families_table({"A": {"rows (at most 1)": "0"}, "B": "rows is 2", "C": {"masks (at most 0)": "0"}})
    lines = told.splitlines()
    assert lines[0].split(" | ")[1:] == ["   A", "   B", "   C"]
    assert lines[2].split() == ["rows", "(at", "most", "1)", "|", "0", "|", "|", "-"]
    assert lines[-2].split() == ["all", "|", "pass", "|", "FAIL", "|", "pass"] and lines[-1] == "B: rows is 2"
