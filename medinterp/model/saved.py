"""What lies in a model's directory, looked at before it is loaded: each thing that is wrong has its own sentence."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medinterp.errors import ModelError, ModelNotFoundError

INDEX = "model.safetensors.index.json"
_GGUF = "GGUF is the format of llama.cpp, which tells no attention: name the checkpoint that it was made from, with {}"
_HOW = "quantization 8bit or 4bit where memory is short"
_PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt")
_PARTS = {
    "tokenizer": ("tokenizer.json", "tokenizer.model", "vocab.json"),
    "processor": ("preprocessor_config.json", "processor_config.json"),
}


def refuse_other_formats(path: Path) -> None:
    """Refuse files of llama.cpp, directories that cannot be read, and those without a transformers config.

    Raises ModelNotFoundError; path: a directory, or a file that was named as a model.
    """
    if path.suffix == ".gguf" and path.is_file():
        raise ModelNotFoundError(f"{path}: {_GGUF.format(_HOW)}")
    if not path.is_dir():
        return
    try:
        names = sorted(one.name for one in path.iterdir())
    except OSError as error:
        raise ModelNotFoundError(f"{path} cannot be read ({error.strerror}): give this user the right to") from error
    if {"config.json", "adapter_config.json"} & set(names):
        return
    if any(name.endswith(".gguf") for name in names):
        raise ModelNotFoundError(f"{path}: {_GGUF.format(_HOW)}")
    if "params.json" in names or any(name.startswith("consolidated.") for name in names):
        raise ModelNotFoundError(
            f"{path} is in its maker's original format (params.json, consolidated.*): take the checkpoint in the "
            "format of transformers, which has a config.json, or convert it by the script in transformers"
        )
    raise ModelNotFoundError(f"{path} holds no config.json: is it a saved model?")


def check_config(directory: Path) -> None:
    """Raise ModelError for a config that is none, or that only code of its own can read."""
    config = _json(directory / "config.json")
    if config.get("auto_map") and not config.get("model_type"):
        raise _own_code(directory)


def check_parts(directory: Path) -> None:
    """Raise ModelNotFoundError or ModelError for a directory that is no whole checkpoint in safetensors."""
    for part, names in _PARTS.items():
        if not any((directory / name).is_file() for name in names):
            raise ModelNotFoundError(
                f"{directory} holds no {part} ({' or '.join(names)}): copy the {part}'s files from where the model was"
            )
    for path in _weights(directory):
        _check_length(path)


def refuse_own_code(directory: Path, error: Exception) -> None:
    """Where transformers has no class for a checkpoint that brings its own: say that no code is run."""
    if _json(directory / "config.json").get("auto_map"):
        raise _own_code(directory) from error


def _own_code(directory: Path) -> ModelError:
    return ModelError(
        f"{directory} brings code of its own (auto_map in config.json), and this transformers has no class for it; "
        "code from checkpoints is never run: take a release of transformers that has it, or another model"
    )


def _weights(directory: Path) -> Sequence[Path]:
    index = directory / INDEX
    if index.is_file():
        try:
            named = sorted(set(_json(index)["weight_map"].values()))
            shards = [directory / name for name in named]
        except (KeyError, TypeError, AttributeError) as error:
            raise ModelError(f"{index} is not an index of weights: fetch or save the model again") from error
        missing = [shard.name for shard in shards if not shard.is_file()]
        if missing:
            raise ModelNotFoundError(
                f"{directory} lacks {', '.join(missing[:3])}, of {len(shards)} files that {INDEX} names: fetch it again"
            )
        return shards
    if (directory / "model.safetensors").is_file():
        return [directory / "model.safetensors"]
    if any(any(directory.glob(pattern)) for pattern in _PICKLED):
        raise ModelNotFoundError(
            f"{directory} holds its weights pickled alone, and unpickling runs code: load the model where you trust it "
            "and save it by save_pretrained, which writes safetensors"
        )
    raise ModelNotFoundError(f"{directory} is not a complete saved model: it holds no model.safetensors and no {INDEX}")


def _check_length(path: Path) -> None:
    """A safetensors file is 8 bytes (the header's length), the header, and as many bytes as it says."""
    size = path.stat().st_size
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header: Any = json.loads(file.read(length)) if 8 + length <= size else None
        stop = max((entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"), default=0)
    except OSError as error:
        raise ModelNotFoundError(f"{path} cannot be read ({error.strerror}): give this user the right to") from error
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        stop = -1
    if 8 + length + stop != size:
        raise ModelError(f"{path} is broken or cut off ({size} bytes): fetch or save it again")


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise ModelError(f"{path} is not readable JSON: fetch or save the model again") from error
    if not isinstance(found, dict):
        raise ModelError(f"{path} is not a JSON object: fetch or save the model again")
    return found
