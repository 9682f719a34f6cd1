"""`medinterp doctor`: what there is of a model, what is missing, what fits, without reading a weight."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import safetensors
import safetensors.torch
import yaml
from models import save_small_model
from test_model_footprint import P, medgemma

from medinterp.cli import main
from medinterp.model import fitting
from medinterp.model.examining import find_files, missing_files, missing_packages
from medinterp.model.fitting import GIB, GPUS, Gpu, fits, settings_lines


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_small_model(tmp_path_factory.mktemp("doctor"))


@pytest.fixture
def model(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "model"))


@pytest.fixture(autouse=True)
def no_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever opens weights for their tensors fails."""

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("weights were read")

    for name in ("safe_open",):
        monkeypatch.setattr(safetensors, name, refuse)
    for name in ("load_file", "load", "safe_open"):
        monkeypatch.setattr(safetensors.torch, name, refuse, raising=False)


def asked(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, Any]:
    status = main(["doctor", *arguments])
    told = capsys.readouterr().out
    return status, json.loads(told) if "--json" in arguments else told


def test_the_demo_model(capsys: pytest.CaptureFixture[str]) -> None:
    status, told = asked(capsys, "phantom", "--json")
    assert (status, told["where"], told["license"]) == (0, "package", "apache-2.0")
    assert told["sizes"]["parameters"]["whole"] == 2_217_024
    assert (told["sizes"]["rows"], told["sizes"]["columns"]) == (16, 16)
    assert told["missing"] == told["missing_packages"] == []
    status, text = asked(capsys, "phantom", "--gpu-memory", "24")
    assert status == 0 and "fits: bfloat16" in text and "expected, by the formula (measured: one H100)" in text
    lines = text.splitlines()
    start = next(k for k, line in enumerate(lines) if line.startswith("serve_config.yaml"))
    pasted = yaml.safe_load("\n".join(lines[start + 1 : lines.index("", start)]))
    assert pasted["model"]["name"] == "phantom" and pasted["writer"]["max_slots"] == 8


def test_no_weight_is_read(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of a file of weights the header alone: as many bytes as it says."""
    size = (model / "model.safetensors").stat().st_size
    status, _ = asked(capsys, str(model))
    assert status == 0
    header = int.from_bytes((model / "model.safetensors").read_bytes()[:8], "little")
    assert header < size / 5
    (model / "model.safetensors").write_bytes((model / "model.safetensors").read_bytes()[: 8 + header])
    status, told = asked(capsys, str(model), "--json")
    assert status == 1 and told["missing"] == ["the end of model.safetensors (it is cut off)"]
    assert told["sizes"]["parameters"]["whole"] > 100_000, "sizes come of the config"


@pytest.mark.parametrize(
    ("gone", "what"),
    [
        ("tokenizer.json", "tokenizer"),
        ("processor_config.json", "processor"),
        ("generation_config.json", "generation config"),
        ("chat_template.jinja", "chat template"),
        ("model.safetensors", "weights in safetensors"),
    ],
)
def test_what_is_missing_is_named(model: Path, gone: str, what: str, capsys: pytest.CaptureFixture[str]) -> None:
    (model / gone).unlink()
    status, told = asked(capsys, str(model), "--json")
    assert (status, told["missing"]) == (1, [what])


def test_a_shard_that_is_not_there(model: Path) -> None:
    (model / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "model-2.safetensors"}}))
    assert missing_files(find_files(str(model))) == ["shard model-2.safetensors"]


def test_packages_that_it_needs(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**config, "quantization_config": {"quant_method": "gptqmodel"}}))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    files = find_files(str(model))
    assert missing_packages(files, adapter=True, quantization="4bit") == ["bitsandbytes", "gptqmodel", "peft"]


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"model_type": "diffusion_gemma"}, "writes a block of tokens at once"),
        ({"model_type": "bert"}, "medinterp reads vision-language models"),
        ({"model_type": "nothing-known"}, "cannot be used"),
    ],
)
def test_a_model_that_cannot_be_explained(
    tmp_path: Path, config: dict[str, str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    status, text = asked(capsys, str(tmp_path))
    assert status == 1 and told in text


@pytest.mark.parametrize("name", ["nothing", "./nothing", "/nothing/here", "nobody/nothing"])
def test_a_model_that_is_not_there(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, text = asked(capsys, name, "--offline")
    assert status == 2 and text.startswith("not found: ")


def test_a_model_that_does_not_fit(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, told = asked(capsys, str(model), "--gpu-memory", "0.5", "--json")
    assert (status, told["fit"]) == (1, None)


def both() -> dict[tuple[int, str | None], Any]:
    """MedGemma-4B as it is, in 2 and 4 bytes a number, and quantised."""
    from dataclasses import replace

    ours = medgemma()
    wide = replace(ours, itemsize=4, weights=2 * ours.weights, linear=2 * ours.linear)
    small = {kind: replace(ours, weights=int(ours.weights * share)) for kind, share in (("8bit", 0.6), ("4bit", 0.4))}
    return {(2, None): ours, (4, None): wide} | {(size, kind): one for size in (2, 4) for kind, one in small.items()}


@pytest.mark.parametrize(
    ("gpu", "dtype", "quantization"),
    [("H100 SXM", "bfloat16", None), ("RTX 4090", "bfloat16", None), ("T4", "float32", "8bit")],
)
def test_what_fits_which_gpu(gpu: str, dtype: str, quantization: str | None) -> None:
    (one,) = (one for one in GPUS if one.name == gpu)
    fit = fits(both(), [one], prompt_tokens=P, context_length=131_072)
    assert fit is not None and (fit.dtype, fit.quantization) == (dtype, quantization)
    assert fit.weights + fit.slots * fit.slot + fit.questions < one.gib * GIB


def test_the_seconds_of_the_gpu_that_was_measured() -> None:
    """128 tokens: 1.39 s with 0.09 s for film and prompt; compiled, 5.16 ms a step."""
    (h100,) = (one for one in GPUS if one.name == "H100 SXM")
    fit = fits(both(), [h100], prompt_tokens=P, context_length=131_072)
    assert fit is not None and fit.report_s == pytest.approx(1.39 - 0.09, rel=0.05)
    assert fit.compiled_s == pytest.approx(128 * 5.16e-3, rel=0.05)


def test_several_gpus_where_one_is_too_small() -> None:
    small = [Gpu("small", 5.0)] * 3
    without = {key: one for key, one in both().items() if key[1] is None}
    layouts = {**without, **{(size, kind): without[size, None] for size in (2, 4) for kind in ("8bit", "4bit")}}
    fit = fits(layouts, small, prompt_tokens=P, context_length=131_072)
    assert fit is not None and fit.devices == 2
    assert f"  gpus: {fit.devices}" in settings_lines("owner/name", fit)
    assert fits(layouts, small[:1], prompt_tokens=P, context_length=131_072) is None
    assert fitting.RUNTIME < GIB


def on_hub(monkeypatch: pytest.MonkeyPatch, model: Path, *, gated: bool) -> list[str]:
    """A hub that has the model; it is asked for nothing but the small files that it is told to have been asked for."""
    import huggingface_hub
    from huggingface_hub import errors

    fetched: list[str] = []
    siblings = [SimpleNamespace(rfilename=path.name, size=path.stat().st_size) for path in model.iterdir()]

    def info(_: Any, name: str, **__: Any) -> SimpleNamespace:
        card = SimpleNamespace(license="health-ai-developer-foundations")
        return SimpleNamespace(siblings=siblings, card_data=card, gated="manual" if gated else False, sha="abc")

    def download(name: str, file: str, *, revision: str) -> str:
        fetched.append(file)
        if gated:
            raise errors.GatedRepoError("403", response=SimpleNamespace(headers={}, status_code=403, request=None))
        return str(model / file)

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", info)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    return fetched


def test_the_hub_is_asked_for_small_files_alone(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fetched = on_hub(monkeypatch, model, gated=False)
    status, told = asked(capsys, "owner/name", "--json")
    assert (status, told["where"], told["revision"]) == (0, "hub", "abc")
    assert told["license"] == "health-ai-developer-foundations"
    assert set(fetched) == {"config.json", "processor_config.json"}
    assert told["bytes_of_weights"] == (model / "model.safetensors").stat().st_size


def test_a_gated_model_without_a_licence(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    on_hub(monkeypatch, model, gated=True)
    status, text = asked(capsys, "owner/name")
    assert status == 2 and "is there and gated: accept its licence on https://huggingface.co/owner/name" in text
