"""The arithmetic of memory: against what was measured on a GPU, and against what real passes hold on a CPU."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from models import noise_film, save_small_model

from medinterp.model import LoadedModel, footprint, load_model
from medinterp.model.families import family_of
from medinterp.model.footprint import Layout
from medinterp.model.gradients import _edge_part, _relevancy_rows
from medinterp.model.inspection import bare_model, count_parameters, layout_of
from medinterp.model.integrated import _Path
from medinterp.model.memory import LiveBytes
from medinterp.model.prompt import PromptInputs, build_prompt
from medinterp.model.replay import Replay
from medinterp.model.writer import DecodeOptions, decode
from medinterp.phantom.training.layouts import config_of, layout
from medinterp.types import ImageSpan

GIB = 2**30
P, T = 356, 128
"""Of what was measured: 256 of the prompt's tokens are image cells."""


@functools.cache
def medgemma() -> Layout:
    """MedGemma-4B's, in bfloat16, from its config alone."""
    told = layout("MedGemma-4B")

    class Numbers:
        pad_token_id, bos_token_id, eos_token_id = 0, 2, 1

        def convert_tokens_to_ids(self, token: str) -> int:
            return 262_144

        def __len__(self) -> int:
            return 262_208

    kinds = ["f" if (k + 1) % 6 == 0 else "s" for k in range(34)]
    config = config_of(
        told, Numbers(), vision={"num_hidden_layers": 27}, num_hidden_layers=34, layer_types=kinds,
        tie_word_embeddings=True,
    )  # fmt: skip
    config.tie_word_embeddings = True
    family = family_of(config, "MedGemma-4B")
    model = bare_model(config, family)
    span = ImageSpan(5, 261, 16, 16)
    types = torch.zeros(P, dtype=torch.long)
    prompt = PromptInputs("", types, types, torch.empty(1, 3, 896, 896, device="meta"), (span,))
    assert all(parameter.is_meta for parameter in model.parameters()), "nothing has been allocated"
    assert count_parameters(model, family).whole == pytest.approx(4.300e9, rel=1e-3)
    return layout_of(model, family, prompt, itemsize=2)


# What one H100 took, MedGemma-4B's layout with random weights in bfloat16, 2026-11-27, torch 2.11: single runs, GiB
# above the weights. The build was that of 26 November (525986c): it differs from this one in what each test says.


def test_weights() -> None:
    assert medgemma().weights / GIB == pytest.approx(8.02, rel=0.01)


@pytest.mark.parametrize(("films", "measured"), [(1, 0.105), (8, 0.84)])
def test_plain_generation_peaks_in_the_vision_tower(films: int, measured: float) -> None:
    assert footprint.vision_bytes(medgemma(), films) / GIB == pytest.approx(measured, rel=0.1)


def test_edge_gradient() -> None:
    """That build's graph kept the head in float32, and logits with a mask of them; this one's keeps neither."""
    ours = medgemma()
    vocabulary = ours.vocabulary
    before = 4 * vocabulary * ours.hidden + T * vocabulary * (4 + 1)
    kept = footprint.edge_gradient_bytes(ours, P, T) - footprint.head_bytes(ours, T) + before
    assert kept / GIB == pytest.approx(3.7, rel=0.1)
    assert footprint.edge_gradient_bytes(ours, P, T) / GIB < 1.1


def test_gradient_relevancy() -> None:
    """The first eight tokens side by side; keys and values were repeated for every head, in float32 and bfloat16."""
    ours = medgemma()
    (shape,) = {(one.key_value_heads, one.head_dim) for one in ours.shapes}
    repeated = ours.layers * 8 * (P + 7) * (ours.heads - shape[0]) * shape[1] * (4 + 2)
    assert (footprint.gradient_relevancy_bytes(ours, P, 7, 8) + repeated) / GIB == pytest.approx(15.5, rel=0.1)


def test_occlusion() -> None:
    """At a budget of 8 GiB that build's estimate put 52 of 257 pictures side by side."""
    assert footprint.occlusion_bytes(medgemma(), P, T, 52, start=5) / GIB == pytest.approx(5.3, rel=0.1)


# ---- against real passes on the CPU, at other shapes ----


@pytest.fixture(scope="module", params=["float32", "bfloat16"])
def loaded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    if request.param == "bfloat16":
        return load_model("phantom", dtype="bfloat16", device="cpu")
    return load_model(str(save_small_model(tmp_path_factory.mktemp("model"), seed=2)), device="cpu")


@pytest.fixture(scope="module")
def prompt(loaded: LoadedModel) -> PromptInputs:
    return build_prompt(loaded, [noise_film(1)], "Look at the film.")


def peak(run: Callable[[], object]) -> int:
    with LiveBytes() as live:
        run()
    return max(live.trace)


def near(computed: int, run: Callable[[], object]) -> None:
    assert computed == pytest.approx(peak(run), rel=0.1)


def test_questions_take_what_is_computed(loaded: LoadedModel, prompt: PromptInputs) -> None:
    tokens = 24
    ours = layout_of(loaded.model, loaded.family, prompt, itemsize=loaded.dtype.itemsize)
    ids, start = [9] * tokens, prompt.image_spans[0].start
    whole = torch.zeros(prompt.cells, dtype=torch.bool)

    def replay(count: int = tokens) -> Replay:
        with torch.no_grad():
            return Replay(loaded, prompt, ids[:count])

    def edge() -> None:
        again = replay()
        _edge_part(again, slice(0, tokens), again.cells)

    def relevancy() -> None:
        _relevancy_rows(replay(5), [4, 4])

    def occlusion() -> None:
        with torch.no_grad():
            again = replay()
            again.logprobs(again.replaced(whole.repeat(4, 1), again.means))

    def integrated() -> None:
        again = replay()
        away = again.features - again.means
        _Path(again, again.features - torch.full((2, 1, 1), 0.5, dtype=away.dtype) * away).slopes(3)

    with loaded.lock:
        near(footprint.edge_gradient_bytes(ours, prompt.length, tokens), edge)
        near(footprint.gradient_relevancy_bytes(ours, prompt.length, 4, 2), relevancy)
        near(footprint.occlusion_bytes(ours, prompt.length, tokens, 4, start), occlusion)
        near(footprint.integrated_bytes(ours, prompt.length, tokens, 2, start), integrated)


@pytest.mark.parametrize("reports", [1, 3])
def test_generation_takes_what_is_computed(loaded: LoadedModel, prompt: PromptInputs, reports: int) -> None:
    ours = layout_of(loaded.model, loaded.family, prompt, itemsize=loaded.dtype.itemsize)
    computed = footprint.generation_bytes(
        ours, slots=reports, prompt_length=prompt.length, report_length=9, together=reports, layer_attention=False
    )
    options = DecodeOptions(9, min_new_tokens=9, layer_attention=False)
    with loaded.lock:
        assert computed == pytest.approx(peak(lambda: decode(loaded, [prompt] * reports, options)), rel=0.15)


def test_a_float32_checkpoint_is_as_large_as_its_file(tmp_path: Path) -> None:
    directory = save_small_model(tmp_path)
    loaded = load_model(str(directory))
    whole = count_parameters(loaded.model, loaded.family).sized(4, None)[0]
    assert whole == pytest.approx((directory / "model.safetensors").stat().st_size, rel=0.02)
    eight, four = (count_parameters(loaded.model, loaded.family).sized(4, kind)[0] for kind in ("8bit", "4bit"))
    assert four < eight < whole
