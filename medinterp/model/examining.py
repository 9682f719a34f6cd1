"""What there is of a model before anything of it is loaded: its files, licence, family and sizes. No weight is read."""

from __future__ import annotations

import importlib.util
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Literal

from medinterp.errors import ModelError, ModelNotFoundError

if TYPE_CHECKING:
    from medinterp.model.footprint import Layout
    from medinterp.model.inspection import Parameters

FILM = 2048, 2500
"""Width and height of the film whose cells are counted, pixels."""
PROMPT_TOKENS = 100
"""Of a reporting prompt with its template, beside the film's cells: 356 - 256 in MedGemma's measured runs."""
_ASKED = ("config.json", "preprocessor_config.json", "processor_config.json", "model.safetensors.index.json")
"""What is brought from the hub; of everything else the sizes are asked for."""
_NEEDED: Mapping[str, tuple[str, ...]] = {
    "tokenizer": ("tokenizer.json", "tokenizer.model"),
    "tokenizer settings": ("tokenizer_config.json",),
    "processor": ("preprocessor_config.json", "processor_config.json"),
    "generation config": ("generation_config.json",),
    "weights in safetensors": ("model.safetensors", "model.safetensors.index.json"),
}
_PACKAGES: Mapping[str, str] = {"bitsandbytes": "bitsandbytes", "torchao": "torchao"}


@dataclass(frozen=True)
class Files:
    """where: in the package, a directory, the hub's cache, or on the hub; sizes: bytes of each file by its name;
    directory: where its small files can be read; gated: whether a licence has to be accepted on the hub first."""

    where: Literal["package", "directory", "cache", "hub"]
    sizes: Mapping[str, int]
    directory: Path
    revision: str | None = None
    license: str | None = None
    gated: bool = False


@dataclass(frozen=True)
class Sizes:
    """What a config says of a model: of one film of FILM the grid and the prompt's length in tokens."""

    family: str
    parameters: Parameters
    layers: int
    heads: int
    key_value_heads: int
    head_dim: int
    rows: int
    columns: int
    prompt_tokens: int
    context_length: int
    saved_dtype: str
    layouts: Mapping[tuple[int, str | None], Layout] = field(repr=False)
    """By bytes of a number and quantisation."""


def find_files(name: str, revision: str | None = None, *, allow_download: bool = True) -> Files:
    """Look for a model. Raises ModelNotFoundError with what to do where there is none, or the hub does not show it."""
    from medinterp.model.loading import BUNDLED

    directory = BUNDLED[name]() if name in BUNDLED else Path(name).expanduser()
    if directory.is_dir():
        return _in_directory(directory, "package" if name in BUNDLED else "directory")
    if directory.is_absolute() or name.startswith((".", "~")) or name.count("/") != 1:
        raise ModelNotFoundError(
            f"{name!r} is neither a bundled model ({', '.join(BUNDLED)}), a directory nor a hub id (owner/name)"
        )
    return _on_hub(name, revision, allow_download)


def _in_directory(
    directory: Path, where: Literal["package", "directory", "cache"], revision: str | None = None
) -> Files:
    sizes = {path.name: path.stat().st_size for path in directory.iterdir() if path.is_file()}
    card = directory / "README.md"
    told = _licence(card.read_text(encoding="utf-8", errors="replace")) if card.is_file() else None
    return Files(where, sizes, directory, revision, told)


def _on_hub(name: str, revision: str | None, allow_download: bool) -> Files:
    from huggingface_hub import HfApi, constants, errors, hf_hub_download, try_to_load_from_cache

    page, offline = f"{constants.ENDPOINT}/{name}", constants.HF_HUB_OFFLINE or not allow_download
    if offline:
        cached = try_to_load_from_cache(name, "config.json", revision=revision)
        if not isinstance(cached, str):
            raise ModelNotFoundError(
                f"{name} is not in the hub's cache ({constants.HF_HUB_CACHE}), and the hub may not be asked (offline): "
                f"fetch it where there is a network (`hf download {name}`), or name a directory that holds it"
            )
        return _in_directory(Path(cached).parent, "cache", Path(cached).parent.name)
    try:
        info = HfApi().model_info(name, revision=revision, files_metadata=True, timeout=20)
        sizes = {one.rfilename: int(one.size or 0) for one in info.siblings or ()}
        card: Any = info.card_data
        for file in (one for one in _ASKED if one in sizes):
            path = Path(hf_hub_download(name, file, revision=info.sha))
    except errors.GatedRepoError as error:
        raise ModelNotFoundError(
            f"{name} is there and gated: accept its licence on {page}, and set HF_TOKEN to a token of that account"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise ModelNotFoundError(f"the hub shows no repository {name} (private ones need HF_TOKEN): {page}") from error
    except (errors.HfHubHTTPError, errors.HFValidationError, OSError) as error:
        raise ModelNotFoundError(
            f"{name}: {constants.ENDPOINT} was not reached ({type(error).__name__}); with HF_HUB_OFFLINE=1 the cache "
            "alone is looked into"
        ) from error
    if "config.json" not in sizes:
        raise ModelNotFoundError(f"{name} holds no config.json: it is no model of transformers ({page})")
    return Files("hub", sizes, path.parent, info.sha, getattr(card, "license", None), bool(info.gated))


def _licence(card: str) -> str | None:
    """What a model card's front matter says."""
    front = re.match(r"---\n(.*?)\n---", card, re.DOTALL)
    told = front and re.search(r"^license(?:_name)?:\s*(\S.*)$", front[1], re.MULTILINE)
    return told[1].strip() if told else None


def missing_files(files: Files) -> list[str]:
    """What a model needs and has not, in words; of safetensors files the headers are read, where they lie here."""
    missing = [what for what, names in _NEEDED.items() if not any(name in files.sizes for name in names)]
    told = [_json(files, name) for name in ("tokenizer_config.json", "processor_config.json")]
    templates = {"chat_template.jinja", "chat_template.json"} & set(files.sizes)
    if not templates and not any("chat_template" in one for one in told) and files.where != "hub":
        missing.append("chat template")
    index = _json(files, "model.safetensors.index.json").get("weight_map", {})
    missing += [f"shard {name}" for name in sorted(set(index.values()) - set(files.sizes))]
    if files.where != "hub":
        for name in sorted(name for name in files.sizes if name.endswith(".safetensors")):
            if files.sizes[name] != _whole_size(files.directory / name):
                missing.append(f"the end of {name} (it is cut off)")
    return missing


def _whole_size(path: Path) -> int:
    """The size that a safetensors file should have, by its header; 0 for one that is none."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(min(length, 2**27)))
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
        return 8 + length + max(ends, default=0)
    except (ValueError, KeyError, TypeError, OSError):
        return 0


def missing_packages(files: Files, *, adapter: bool, quantization: str | None) -> list[str]:
    """Python packages that this model needs with these options, and that are not installed."""
    method = str((_json(files, "config.json").get("quantization_config") or {}).get("quant_method", "")).lower()
    wanted = {_PACKAGES[method]} if method in _PACKAGES else {method} if method else set()
    wanted |= ({"peft"} if adapter else set()) | ({"bitsandbytes"} if quantization else set())
    return sorted(name for name in wanted if importlib.util.find_spec(name) is None)


def _json(files: Files, name: str) -> dict[str, Any]:
    path = files.directory / name
    try:
        told = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except ValueError as error:
        raise ModelError(f"{path} is not JSON: {error}") from error
    return told if isinstance(told, dict) else {}


def read_sizes(name: str, files: Files) -> Sizes:
    """The sizes of a model from its config. Raises ModelError for a family that is not known or cannot be explained."""
    import torch
    from transformers import AutoConfig

    from medinterp.model.families import family_of
    from medinterp.model.inspection import QUANTISED, bare_model, count_parameters, layout_of
    from medinterp.model.prompt import PromptInputs
    from medinterp.types import ImageSpan

    try:
        config = AutoConfig.from_pretrained(str(files.directory), local_files_only=True)
    except (OSError, ValueError) as error:  # a model_type that transformers does not know is a ValueError
        raise ModelError(f"{name}: its config.json cannot be used: {str(error).splitlines()[0]}") from error
    family = family_of(config, name)
    model = bare_model(config, family)
    rows, columns, pixels = _grid(family, model, files)
    cells = rows * columns
    ids = torch.empty(cells + PROMPT_TOKENS, dtype=torch.long, device="meta")
    prompt = PromptInputs("", ids, ids, torch.empty(pixels, device="meta"), (ImageSpan(0, cells, rows, columns),))
    text = config.get_text_config()
    layouts = {
        (itemsize, kind): layout_of(model, family, prompt, itemsize=itemsize, quantization=kind)
        for itemsize in (2, 4)
        for kind in (None, *QUANTISED)
    }
    shapes = layouts[2, None].shapes
    return Sizes(
        family=type(config).__name__.removesuffix("Config"),
        parameters=count_parameters(model, family),
        layers=len(shapes),
        heads=text.num_attention_heads,
        key_value_heads=shapes[0].key_value_heads,
        head_dim=shapes[0].head_dim,
        rows=rows,
        columns=columns,
        prompt_tokens=cells + PROMPT_TOKENS,
        context_length=text.max_position_embeddings,
        saved_dtype=str(config.dtype or "not told").removeprefix("torch."),
        layouts=layouts,
    )


def _grid(family: Any, model: Any, files: Files) -> tuple[int, int, int]:
    """Rows and columns of the cells of a film of FILM, and how many numbers its pixels are.

    Raises ModelError without a processor's settings, where the config alone does not tell.
    """
    from PIL import Image

    config = model.config
    square = getattr(config, "mm_tokens_per_image", None)
    if not {"preprocessor_config.json", "processor_config.json"} & set(files.sizes):
        if square is None:
            raise ModelError("how many cells a film has cannot be told without preprocessor_config.json")
        side = config.vision_config.image_size
        return math.isqrt(square), math.isqrt(square), 3 * side**2
    maker = family.image_processor(str(files.directory), {"local_files_only": True})
    made = dict(maker(images=[Image.new("RGB", FILM)], return_tensors="pt"))
    pixels = int(made.pop("pixel_values").numel())
    if square is not None:
        return math.isqrt(square), math.isqrt(square), pixels
    ((rows, columns),) = family.grids(SimpleNamespace(image_processor=maker), made)
    return rows, columns, pixels
