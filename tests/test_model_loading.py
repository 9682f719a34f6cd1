"""Loading: from a directory without a network, complete or not at all, with an error that says what to do."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from models import save_small_model
from safetensors.torch import load_file, save_file

from medinterp.errors import ModelError, ModelNotFoundError
from medinterp.model import load_model
from medinterp.model.capture import ATTENTION
from medinterp.model.facts import LayerShape

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_small_model(tmp_path_factory.mktemp("model"), dtype="float16")


def _key(weights: dict[str, torch.Tensor], ending: str) -> str:
    (key,) = [name for name in weights if name.endswith(ending) and "vision" not in name]
    return key


@pytest.fixture
def directory(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "copy"))


def test_a_directory_needs_no_network(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    loaded = load_model(str(directory))
    assert loaded.model_id == str(directory)
    assert loaded.revision.startswith("fingerprint:")
    assert not loaded.model.training


def test_facts_are_the_config(directory: Path) -> None:
    facts = load_model(str(directory)).facts
    assert (facts.layers, facts.heads, set(facts.shapes)) == (4, 4, {LayerShape(2, 24, layer) for layer in range(4)})
    assert (facts.least_cells, facts.image_size) == (256, 128)
    assert facts.layer_types[2] == "full_attention"
    assert facts.sliding_window == 512
    assert len(facts.eos_token_ids) == 2


def test_dtype_auto_is_float32_on_a_cpu_whatever_was_saved(directory: Path) -> None:
    assert load_model(str(directory), device="cpu").dtype == torch.float32
    assert load_model(str(directory), device="cpu", dtype="bfloat16").dtype == torch.bfloat16
    with pytest.raises(ModelError, match="int8"):
        load_model(str(directory), dtype="int8")


def test_only_the_language_model_is_captured(directory: Path) -> None:
    config = load_model(str(directory)).model.config
    assert config.text_config._attn_implementation == ATTENTION
    assert config.vision_config._attn_implementation == "sdpa"


def test_the_pil_image_processor_is_used(directory: Path) -> None:
    assert type(load_model(str(directory)).processor.image_processor).__name__ == "Gemma3ImageProcessorPil"


def test_the_sidecar_is_read(directory: Path) -> None:
    sidecar = {"notice": "Synthetic films only.", "default_prompt": "Read."}
    (directory / "medinterp.json").write_text(json.dumps(sidecar))
    loaded = load_model(str(directory))
    assert (loaded.notice, loaded.default_prompt) == ("Synthetic films only.", "Read.")


@pytest.mark.parametrize("content", ["{", '{"note": "x"}', '{"notice": 3}', '{"indication": "no"}'])
def test_a_wrong_sidecar_is_refused(directory: Path, content: str) -> None:
    (directory / "medinterp.json").write_text(content)
    with pytest.raises(ModelError, match=r"medinterp\.json"):
        load_model(str(directory))


def test_the_fingerprint_follows_the_weights(directory: Path) -> None:
    before = load_model(str(directory)).revision
    assert load_model(str(directory)).revision == before
    weights = load_file(directory / "model.safetensors")
    weights[_key(weights, "language_model.model.norm.weight")] += 1
    save_file(weights, directory / "model.safetensors", {"format": "pt"})
    assert load_model(str(directory)).revision != before


@pytest.mark.parametrize("name", ["./nowhere", "/nowhere/at/all", "nowhere", "a/b/c"])
def test_what_is_nowhere_is_not_found(name: str) -> None:
    with pytest.raises(ModelNotFoundError, match="neither"):
        load_model(name)


def test_a_hub_id_that_is_not_cached_says_what_to_do() -> None:
    with pytest.raises(ModelNotFoundError, match="HF_TOKEN") as caught:
        load_model("medinterp-tests/no-such-model", allow_download=False)
    assert "allow_download=False" in str(caught.value)


COMMIT = "0123456789abcdef0123456789abcdef01234567"


def test_a_hub_id_is_loaded_offline_from_a_cache_that_somebody_filled(directory: Path, tmp_path: Path) -> None:
    """As a pod of a cluster does, in a process of its own: the hub's libraries read the environment when imported."""
    model = tmp_path / "hub" / "models--owner--model"
    shutil.copytree(directory, model / "snapshots" / COMMIT)
    (model / "refs").mkdir()
    (model / "refs" / "main").write_text(COMMIT)
    script = f"""
from medinterp.model import load_model
for revision in ("main", None, {COMMIT!r}):
    loaded = load_model("owner/model", revision=revision, allow_download=False)
    print(loaded.model_id, loaded.revision)
"""
    answer = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=ROOT,
        env={**os.environ, "HF_HUB_CACHE": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1"},
    )
    assert answer.stdout.split() == ["owner/model", COMMIT] * 3, answer.stderr[-2000:]


def test_an_empty_directory_is_not_a_model(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match=r"config\.json"):
        load_model(str(tmp_path))


def test_a_directory_without_weights_is_not_a_model(directory: Path) -> None:
    (directory / "model.safetensors").unlink()
    with pytest.raises(ModelNotFoundError, match="complete"):
        load_model(str(directory))


def test_missing_weights_are_never_random(directory: Path) -> None:
    weights = load_file(directory / "model.safetensors")
    del weights[_key(weights, "layers.1.self_attn.q_proj.weight")]
    save_file(weights, directory / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match=r"q_proj"):
        load_model(str(directory))


def test_another_architecture_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gpt2"}))
    with pytest.raises(ModelError, match="gpt2"):
        load_model(str(tmp_path))


def test_a_processor_for_another_grid_is_refused(directory: Path) -> None:
    settings = json.loads((directory / "processor_config.json").read_text())
    settings["image_seq_length"] = 64
    (directory / "processor_config.json").write_text(json.dumps(settings))
    with pytest.raises(ModelError, match="64 image tokens"):
        load_model(str(directory))
