"""8 and 4 bits: what is captured of such a model is what it computes, to the last digits of float32."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from models import noise_film, save_small_model
from test_model_adapters import save_adapter

from medinterp.errors import ModelError
from medinterp.model import Generator, LoadedModel, load_model, self_test
from medinterp.model.measuring import measure
from medinterp.model.prompt import PromptInputs, build_prompt
from medinterp.model.quantised import Int8Linear, plain_products
from medinterp.model.values import output_weight

TOKENS = [20, 30, 40]
pytestmark = [
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),  # peft's own
]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_small_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def full(saved: Path) -> LoadedModel:
    return load_model(str(saved))


@pytest.fixture(scope="module", params=["8bit", "4bit"])
def loaded(request: pytest.FixtureRequest, saved: Path) -> LoadedModel:
    return load_model(str(saved), quantization=request.param)


@pytest.fixture(scope="module")
def prompt(full: LoadedModel) -> PromptInputs:
    return build_prompt(full, [noise_film()], "Read.")


def test_rows_masses_and_probabilities_are_those_of_the_model(loaded: LoadedModel) -> None:
    found = {check.name: check.value for check in self_test(loaded).checks}
    exact = {name: value for name, value in found.items() if "difference" in name}
    print(loaded.quantization, exact)
    assert len(exact) >= 4 and max(exact.values()) < 1e-5


def test_decoder_layers_alone_are_quantised(loaded: LoadedModel) -> None:
    from bitsandbytes.nn import Linear4bit

    kind = Int8Linear if loaded.quantization == "8bit" else Linear4bit
    names = [name for name, module in loaded.model.named_modules() if isinstance(module, kind)]
    assert len(names) == 4 * (7 if loaded.quantization == "8bit" else 6)  # 96 inputs of o_proj are no whole blocks
    assert all(".language_model.layers." in name for name in names)
    assert type(loaded.model.get_output_embeddings()) is torch.nn.Linear


def test_the_weights_are_near_the_full_ones_and_products_are_linear(loaded: LoadedModel, full: LoadedModel) -> None:
    far = {"8bit": 0.01, "4bit": 0.12}[str(loaded.quantization)]
    for name, width in (("self_attn.q_proj", 64), ("mlp.down_proj", 128)):
        module = loaded.language_model.layers[0].get_submodule(name)
        weight = output_weight(module, width, torch.float32, loaded.device)
        exact = full.language_model.layers[0].get_submodule(name).weight
        rounded = float((weight - exact).norm() / exact.norm())
        print(loaded.quantization, name, f"{rounded:.4f} of the norm")
        assert 0 < rounded < far
        rows = torch.randn(5, width, generator=torch.Generator().manual_seed(0))
        assert torch.allclose(module(rows), rows @ weight.T, rtol=1e-4, atol=1e-5)


def test_value_norms_are_those_of_the_weights_as_they_are(loaded: LoadedModel, full: LoadedModel) -> None:
    got, exact = (torch.stack([gram.flatten() for gram in one.value_metric.gram]) for one in (loaded, full))
    assert float((got - exact).norm() / exact.norm()) < 0.02  # bitsandbytes' bare integers made it 2.4e4


def test_a_gradient_is_the_slope_of_what_the_model_computes(loaded: LoadedModel, prompt: PromptInputs) -> None:
    from medinterp.model.replay import Replay

    with torch.no_grad():
        replay = Replay(loaded, prompt, TOKENS)
        away = replay.features - replay.means
        up, down = (replay.logprobs((replay.features + step * away)[None])[0, -1] for step in (1e-2, -1e-2))
    features = replay.features.clone().requires_grad_()
    with torch.enable_grad():
        (slope,) = torch.autograd.grad(replay.logprobs(features[None])[0, -1], features)
    assert float((slope * away).sum()) == pytest.approx(float(up - down) / 2e-2, rel=0.02)


@pytest.mark.parametrize("loaded", ["8bit"], indirect=True)  # a random model of 4 bits is another model
def test_maps_of_8_bits_are_the_full_models(loaded: LoadedModel, full: LoadedModel, prompt: PromptInputs) -> None:
    options = {"occlusion": {"block": 4}}
    names = ["occlusion", "edge_gradient"]
    both = [measure(one, prompt, TOKENS, names, options, memory_bytes=2**30) for one in (loaded, full)]
    for name in names:
        got, want = (found[name].values.ravel() for found in both)
        print(name, np.corrcoef(got, want)[0, 1])
        assert np.corrcoef(got, want)[0, 1] > 0.99


def test_provenance_tells_it(loaded: LoadedModel) -> None:
    told = Generator(loaded).generate([noise_film()], "Read.", max_new_tokens=1).trace.provenance
    assert told.quantization == loaded.quantization


@pytest.mark.parametrize("loaded", ["4bit"], indirect=True)
def test_a_checkpoint_that_was_saved_in_4_bits(saved: Path, tmp_path: Path, loaded: LoadedModel) -> None:
    kept = Path(shutil.copytree(saved, tmp_path / "kept"))
    loaded.model.save_pretrained(kept)
    again = load_model(str(kept))
    film = noise_film()
    one, other = (Generator(m).generate([film], "Read.", max_new_tokens=4).trace.token_logprob for m in (loaded, again))
    assert np.allclose(one, other, atol=1e-5)
    with pytest.raises(ModelError, match="cannot be quantised again"):
        load_model(str(kept), quantization="8bit")


def test_an_adapter_stays_beside_quantised_weights(saved: Path, tmp_path: Path, loaded: LoadedModel) -> None:
    adapter = save_adapter(saved, tmp_path / "adapter")
    adapted = load_model(str(saved), adapter=str(adapter), quantization=loaded.quantization)
    merged = load_model(str(saved), adapter=str(adapter))
    assert any("lora_A" in name for name, _ in adapted.model.named_modules())
    assert not any("vision" in name and "lora_A" in name for name, _ in adapted.model.named_modules())
    layer, exact, bare = (one.language_model.layers[0].self_attn.q_proj for one in (adapted, merged, loaded))
    got, want, without = (output_weight(one, 64, torch.float32, loaded.device) for one in (layer, exact, bare))
    assert (got - want).norm() / want.norm() < 0.12 < (without - want).norm() / want.norm()


def test_a_quantised_output_embedding_is_refused(saved: Path) -> None:
    from bitsandbytes.nn import Linear8bitLt

    model = load_model(str(saved)).model
    model.set_output_embeddings(Linear8bitLt(64, 400, bias=False, has_fp16_weights=False))
    with pytest.raises(ModelError, match="output embedding is quantised"):
        plain_products(model)


def test_another_kind_is_refused(saved: Path) -> None:
    with pytest.raises(ModelError, match="8bit, 4bit"):
        load_model(str(saved), quantization="2bit")
