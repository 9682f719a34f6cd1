"""What is wrong with a checkpoint is said before it is loaded, each thing by its own sentence."""

from __future__ import annotations

import builtins
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from models import save_small_model

from medinterp.errors import ModelError, ModelNotFoundError
from medinterp.model import load_model


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_small_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def directory(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "copy"))


def config(path: Path, **changes: Any) -> None:
    told = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({**told, **changes}))


def cut(path: Path) -> None:
    whole = (path / "model.safetensors").read_bytes()
    (path / "model.safetensors").write_bytes(whole[: len(whole) // 2])


def only(path: Path, *names: str) -> None:
    for one in path.iterdir():
        one.unlink()
    for name in names:
        (path / name).write_bytes(b"{}")


def index(path: Path) -> None:
    (path / "model.safetensors").unlink()
    named = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (path / "model.safetensors.index.json").write_text(json.dumps(named))


def quantised(kind: str) -> Callable[[Path], None]:
    return lambda path: config(path, quantization_config={"quant_method": kind, "bits": 4, "group_size": 128})


WRONG: dict[str, tuple[Callable[[Path], object], str]] = {
    "cut off": (cut, r"model\.safetensors is broken or cut off"),
    "not safetensors": (lambda path: (path / "model.safetensors").write_bytes(b"x" * 99), "broken or cut off"),
    "a shard is missing": (index, r"lacks model-00001-of-00002\.safetensors, .*of 2 files"),
    "broken index": (lambda path: (path / "model.safetensors.index.json").write_text("[]"), "is not a JSON object"),
    "pickled": (lambda path: (path / "model.safetensors").rename(path / "pytorch_model.bin"), "unpickling runs code"),
    "no weights": (lambda path: (path / "model.safetensors").unlink(), r"holds no model\.safetensors"),
    "GGUF": (lambda path: only(path, "medgemma-Q4_K_M.gguf"), r"llama\.cpp"),
    "original format": (lambda path: only(path, "params.json", "consolidated.safetensors"), "original format"),
    "nothing": (only, r"holds no config\.json"),
    "config is not JSON": (lambda path: (path / "config.json").write_text("{"), r"config\.json is not readable JSON"),
    "config is a list": (lambda path: (path / "config.json").write_text("[]"), r"config\.json is not a JSON object"),
    "no tokenizer": (lambda path: (path / "tokenizer.json").unlink(), "holds no tokenizer"),
    "no processor": (lambda path: (path / "processor_config.json").unlink(), "holds no processor"),
    "its own code": (
        lambda path: config(path, model_type="somebody_vl", auto_map={"AutoConfig": "code.Config"}),
        "never run",
    ),
    "unknown kind": (lambda path: config(path, model_type="somebody_vl"), "cannot be loaded.*somebody_vl"),
    **{kind: (quantised(kind), f"quantised by {kind}") for kind in ("gptq", "awq", "fp8", "mxfp4", "torchao")},
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_checkpoint_that_cannot_be_loaded_says_why(directory: Path, wrong: str) -> None:
    spoil, match = WRONG[wrong]
    spoil(directory)
    with pytest.raises(ModelError, match=match):
        load_model(str(directory))


def test_a_gguf_file_is_named_as_one(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    with pytest.raises(ModelNotFoundError, match=r"llama\.cpp"):
        load_model(str(tmp_path / "model.gguf"))


def test_code_beside_a_known_class_is_not_run(directory: Path) -> None:
    (directory / "code.py").write_text("raise SystemExit('code was run')")
    config(directory, auto_map={"AutoConfig": "code.Config", "AutoModelForImageTextToText": "code.Model"})
    load_model(str(directory))


def test_a_directory_that_cannot_be_read(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(ModelNotFoundError, match=r"cannot be read.*Permission denied"):
        load_model(str(directory))


@pytest.mark.parametrize("way", ["saved", "asked for"])
def test_without_the_library_of_its_quantisation(directory: Path, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = builtins.__import__

    def without(name: str, *rest: Any, **named: Any) -> Any:
        if name.split(".")[0] == "bitsandbytes":
            raise ImportError("No module named 'bitsandbytes'")
        return whole(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    if way == "saved":
        config(directory, quantization_config={"quant_method": "bitsandbytes", "load_in_8bit": True})
    with pytest.raises(ModelError, match=r"bitsandbytes: pip install 'medinterp\[model,quantization\]'"):
        load_model(str(directory), quantization=None if way == "saved" else "4bit")
