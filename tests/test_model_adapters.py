"""LoRA adapters: merged into the weights, by name or as a directory of its own; what does not fit is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from models import noise_film, save_small_model
from safetensors.torch import load_file, save_file

from medinterp.errors import CalibrationError, ModelError, ModelNotFoundError
from medinterp.model import Generator, LoadedModel, load_model, self_test
from medinterp.model.forcing import teacher_forced
from medinterp.model.prompt import build_prompt

pytestmark = [
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),  # peft's own
    pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings=True` and a tied layer:UserWarning"),
]
TOKENS = [20, 30, 40, 50]


def save_adapter(base: Path, directory: Path, *, seed: int = 0, std: float = 0.1, **options: Any) -> Path:
    """A random LoRA of a saved model, as peft saves one after training."""
    from peft import LoraConfig, get_peft_model
    from transformers import Gemma3ForConditionalGeneration

    model = Gemma3ForConditionalGeneration.from_pretrained(base, local_files_only=True)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        wrapped = get_peft_model(model, LoraConfig(r=4, **{"target_modules": ["q_proj", "o_proj"], **options}))
        with torch.no_grad():
            for name, parameter in wrapped.named_parameters():
                if "lora_" in name:
                    parameter.normal_(std=std)
    wrapped.save_pretrained(directory)
    return directory


def logprobs(loaded: LoadedModel) -> torch.Tensor:
    with torch.no_grad():
        return teacher_forced(loaded, build_prompt(loaded, [noise_film()], "Read."), TOKENS).logprobs


def peft_logprobs(base: Path, adapter: Path) -> torch.Tensor:
    """As peft itself computes, the change beside the weights."""
    from peft import PeftModel

    loaded = load_model(str(base))
    PeftModel.from_pretrained(loaded.model, str(adapter)).eval()
    return logprobs(loaded)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_small_model(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def saved(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its names take the vision tower's q_proj too."""
    return save_adapter(base, tmp_path_factory.mktemp("adapter"))


@pytest.fixture
def adapter(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "adapter"))


def rewrite(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"use_dora": True, "target_modules": ["o_proj"]},
        {"modules_to_save": ["lm_head"], "target_modules": ["v_proj"], "use_rslora": True},
    ],
    ids=["q and o, vision too", "dora", "with a head of its own"],
)
def test_a_merged_adapter_computes_what_peft_computes(base: Path, tmp_path: Path, options: dict[str, Any]) -> None:
    adapter = save_adapter(base, tmp_path / "adapter", **options)
    loaded = load_model(str(base), adapter=str(adapter))
    got, bare = logprobs(loaded), logprobs(load_model(str(base)))
    assert (got - peft_logprobs(base, adapter)).abs().max() < 2e-5
    assert (got - bare).abs().max() > 0.05  # the adapter does something
    assert not any("lora" in name for name, _ in loaded.model.named_modules())


def test_everything_that_reads_weights_sees_the_adapter(base: Path, adapter: Path) -> None:
    loaded, bare = load_model(str(base), adapter=str(adapter)), load_model(str(base))
    assert all(self_test(loaded).checks)
    gram, before = loaded.value_metric.gram[0], bare.value_metric.gram[0]
    assert not torch.allclose(gram, before, rtol=0.01)
    layer = loaded.language_model.layers[0]
    weight = layer.self_attn.o_proj.weight.float() * (1.0 + layer.post_attention_layernorm.weight.float())[:, None]
    by_head = weight.view(64, 4, 24).transpose(0, 1)
    assert torch.allclose(gram.flatten(0, 1), by_head.transpose(1, 2) @ by_head, rtol=1e-4, atol=1e-5)


def test_the_adapters_directory_names_its_base(base: Path, adapter: Path) -> None:
    rewrite(adapter / "adapter_config.json", base_model_name_or_path=str(base))
    by_name, by_adapter = load_model(str(adapter)), load_model(str(base), adapter=str(adapter))
    assert torch.equal(logprobs(by_name), logprobs(by_adapter))
    assert by_name.revision == by_adapter.revision
    assert by_name.revision.split("+")[0] == load_model(str(base)).revision
    assert (by_name.model_id, by_name.adapter) == (str(adapter), None)
    assert (by_adapter.model_id, by_adapter.adapter) == (str(base), str(adapter))


def test_a_relative_base_stands_beside_the_adapter(base: Path, adapter: Path) -> None:
    shutil.copytree(base, adapter.parent / "base")
    rewrite(adapter / "adapter_config.json", base_model_name_or_path="../base")
    assert torch.equal(logprobs(load_model(str(adapter))), logprobs(load_model(str(base), adapter=str(adapter))))


def test_names_of_older_transformers_are_read(base: Path, adapter: Path) -> None:
    want = logprobs(load_model(str(base), adapter=str(adapter)))
    weights = load_file(adapter / "adapter_model.safetensors")
    older = {name.replace(".model.language_model.", ".language_model.model."): value for name, value in weights.items()}
    assert older.keys() != weights.keys()
    save_file(older, adapter / "adapter_model.safetensors", {"format": "pt"})
    assert torch.equal(logprobs(load_model(str(base), adapter=str(adapter))), want)


def test_what_was_learned_of_the_base_does_not_hold_for_the_adapter(base: Path, adapter: Path, tmp_path: Path) -> None:
    whole = Path(shutil.copytree(base, tmp_path / "whole"))
    bare = load_model(str(whole))
    learned = {"model_revision": bare.revision, "layer_weights": [0.25] * 4}
    (whole / "calibration.json").write_text(json.dumps(learned))
    (whole / "medinterp.json").write_text(json.dumps({"notice": "Of the base.", "default_prompt": "Read."}))
    assert load_model(str(whole)).layer_weights is not None
    adapted = load_model(str(whole), adapter=str(adapter))
    assert adapted.layer_weights is None and adapted.film_domain is None
    assert (adapted.notice, adapted.default_prompt) == ("Of the base.", "Read.")
    with pytest.raises(CalibrationError):
        load_model(str(whole), adapter=str(adapter), calibration=whole / "calibration.json")
    (adapter / "calibration.json").write_text(json.dumps({**learned, "model_revision": adapted.revision}))
    (adapter / "medinterp.json").write_text(json.dumps({"default_prompt": "Say boxes."}))
    again = load_model(str(whole), adapter=str(adapter))
    assert np.array_equal(again.layer_weights, np.full(4, 0.25, np.float32))
    assert (again.notice, again.default_prompt) == ("Of the base.", "Say boxes.")


def test_provenance_tells_the_adapter(base: Path, adapter: Path) -> None:
    loaded = load_model(str(base), adapter=str(adapter))
    told = Generator(loaded).generate([noise_film()], "Read.", max_new_tokens=1).trace.provenance
    assert (told.model_id, told.adapter, told.model_revision) == (str(base), str(adapter), loaded.revision)


def test_another_adapter_is_another_revision(base: Path, adapter: Path, tmp_path: Path) -> None:
    other = save_adapter(base, tmp_path / "other", seed=1)
    revisions = {load_model(str(base), adapter=str(one)).revision for one in (adapter, other)}
    assert len(revisions) == 2


def test_an_adapter_of_another_shape_is_refused(base: Path, adapter: Path, tmp_path: Path) -> None:
    weights = load_file(adapter / "adapter_model.safetensors")
    name = next(iter(weights))
    save_file({**weights, name: weights[name][:, :-1].contiguous()}, adapter / "adapter_model.safetensors")
    with pytest.raises(ModelError, match="adapter"):
        load_model(str(base), adapter=str(adapter))


def test_an_adapter_that_lacks_a_weight_is_refused(base: Path, adapter: Path) -> None:
    weights = load_file(adapter / "adapter_model.safetensors")
    weights.pop(next(iter(weights)))
    save_file(weights, adapter / "adapter_model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match=r"do not fit this model \(missing: .*lora_"):
        load_model(str(base), adapter=str(adapter))


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"peft_type": "IA3"}, "IA3"),
        ({"megatron_config": {"a": 1}}, "megatron_config"),
        ({"alora_invocation_tokens": [1]}, "alora"),
        ({"target_modules": ["nothing_of_the_kind"]}, "nothing_of_the_kind"),
        ({"base_model_name_or_path": None}, "does not name its model"),
        ({"base_model_name_or_path": "/home/somebody/medgemma"}, "where it is now, with adapter="),
    ],
)
def test_an_adapter_that_cannot_be_used_says_why(
    base: Path, adapter: Path, changes: dict[str, Any], match: str
) -> None:
    by_itself = "base_model_name_or_path" in changes
    rewrite(adapter / "adapter_config.json", **changes)
    with pytest.raises((ModelError, ModelNotFoundError), match=match):
        load_model(str(adapter)) if by_itself else load_model(str(base), adapter=str(adapter))


def test_a_pickled_adapter_is_refused(base: Path, adapter: Path) -> None:
    (adapter / "adapter_model.safetensors").rename(adapter / "adapter_model.bin")
    with pytest.raises(ModelError, match=r"no adapter_model\.safetensors"):
        load_model(str(base), adapter=str(adapter))


def test_a_model_is_no_adapter_and_no_adapter_is_on_an_adapter(base: Path, adapter: Path) -> None:
    with pytest.raises(ModelError, match="whole model"):
        load_model(str(base), adapter=str(base))
    with pytest.raises(ModelError, match="adapter itself"):
        load_model(str(adapter), adapter=str(adapter))
    whole = shutil.copytree(base, adapter, dirs_exist_ok=True)
    with pytest.raises(ModelError, match="a whole model and an adapter"):
        load_model(str(whole))
