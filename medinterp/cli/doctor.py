"""`medinterp doctor`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from medinterp.cli.arguments import Commands, positive, print_result
from medinterp.errors import ModelError, ModelNotFoundError

if TYPE_CHECKING:
    from medinterp.model.examining import Files, Sizes
    from medinterp.model.fitting import Fit, Gpu

DOES_NOT_GO, NOT_FOUND = 1, 2
"""Exit status when the model is incomplete, cannot be explained or does not fit; when there is none."""
_GIB = 2**30


def add(commands: Commands) -> None:
    """Add the command."""
    doctor = commands.add_parser(
        "doctor",
        help="is a model there, what does it need, and what fits this machine? from its config, no weights read",
        epilog="Exit status: 0 it goes; 1 it is incomplete, cannot be explained, or does not fit; 2 not found.",
    )
    doctor.add_argument("model", help="phantom, a directory or a hub id")
    doctor.add_argument("--revision", default=None, help="of a hub id")
    doctor.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    doctor.add_argument(
        "--gpu-memory", type=float, nargs="+", metavar="GIB", help="of GPUs that this machine has not, one number each"
    )
    doctor.add_argument("--slots", type=positive, default=8, metavar="N", help="reports side by side, at most (8)")
    doctor.add_argument("--max-length", type=positive, default=None, metavar="N", help="positions of a slot")
    doctor.add_argument("--quantization", choices=("8bit", "4bit"), default=None)
    doctor.add_argument("--adapter", default=None, metavar="DIR", help="a LoRA of it: it is merged and takes no more")
    doctor.add_argument("--offline", action="store_true", help="ask the hub nothing, as HF_HUB_OFFLINE=1 does")
    doctor.add_argument("--json", action="store_true", help="as JSON")
    doctor.set_defaults(run=_doctor)


def _doctor(options: argparse.Namespace) -> int:
    from medinterp.model.examining import find_files, missing_files, missing_packages, read_sizes

    found: dict[str, Any] = {"model": options.model}
    try:
        files = find_files(options.model, options.revision, allow_download=not options.offline)
        if "config.json" not in files.sizes:
            adapter = "adapter_config.json" in files.sizes
            told = ": it is an adapter; name its model, and it as --adapter" if adapter else ": is it a saved model?"
            raise ModelNotFoundError(f"{options.model} holds no config.json{told}")
    except ModelNotFoundError as error:
        return _told({**found, "problem": str(error)}, [f"not found: {error}"], options, NOT_FOUND)
    lines = list(_file_lines(files))
    found |= {"where": files.where, "revision": files.revision, "license": files.license, "gated": files.gated}
    found["bytes_of_weights"] = _weights_on_disk(files)
    try:
        sizes = read_sizes(options.model, files)
    except ModelError as error:
        return _told({**found, "problem": str(error)}, [*lines, f"cannot be used: {error}"], options, DOES_NOT_GO)
    lines += _size_lines(sizes)
    missing = missing_files(files)
    packages = missing_packages(files, adapter=options.adapter is not None, quantization=options.quantization)
    lines += [f"missing: {', '.join(missing)}"] if missing else ["complete: tokenizer, processor, template, weights"]
    lines += [f"packages to install: pip install {' '.join(packages)}"] if packages else []
    found |= {"sizes": _sizes_json(sizes), "missing": missing, "missing_packages": packages}
    machine = _machine(options)
    fit_lines, fit = _fit(options, sizes, machine)
    found |= fit
    goes = not missing and not packages and fit["fit"] is not None
    return _told(found, [*lines, *fit_lines], options, 0 if goes else DOES_NOT_GO)


def _told(found: dict[str, Any], lines: list[str], options: argparse.Namespace, status: int) -> int:
    if options.json:
        print_result({**found, "status": status}, None)
    else:
        print("\n".join(lines))
    return status


def _weights_on_disk(files: Files) -> int:
    return sum(size for name, size in files.sizes.items() if name.endswith(".safetensors"))


def _file_lines(files: Files) -> Iterator[str]:
    at = f", revision {files.revision}" if files.revision else ""
    where = {"package": "in this package", "cache": "in the hub's cache", "hub": "on the hub, which was reached"}
    yield f"found: {where.get(files.where, f'{files.directory}')}{at}"
    gated = "; gated: accept the licence on the model's page and set HF_TOKEN" if files.gated else ""
    yield f"licence: {files.license or 'none told in its README.md'}{gated}"
    yield f"on disk: {_weights_on_disk(files) / _GIB:.2f} GiB of weights"


def _size_lines(sizes: Sizes) -> Iterator[str]:
    yield f"family: {sizes.family}, supported"
    yield (
        f"size: {sizes.parameters.whole / 1e9:.3f} G parameters, saved in {sizes.saved_dtype}; {sizes.layers} layers, "
        f"{sizes.heads} query heads over {sizes.key_value_heads} for keys, {sizes.head_dim} wide"
    )
    yield (
        f"a film of 2048 x 2500: {sizes.rows} x {sizes.columns} cells, about {sizes.prompt_tokens} tokens with a "
        f"prompt; context {sizes.context_length}"
    )


def _sizes_json(sizes: Sizes) -> dict[str, Any]:
    from dataclasses import asdict, fields

    told = {one.name: getattr(sizes, one.name) for one in fields(sizes) if one.name != "layouts"}
    return {**told, "parameters": asdict(sizes.parameters)}


def _machine(options: argparse.Namespace) -> list[Gpu]:
    """The devices that are meant: those named, those seen, or the CPU with the memory that is free."""
    import torch

    from medinterp.model.fitting import GPUS, Gpu
    from medinterp.model.memory import free_bytes

    if options.gpu_memory:
        return [Gpu(f"GPU of {gib:g} GiB", gib) for gib in options.gpu_memory]
    if options.device != "cpu" and torch.cuda.is_available():
        seen = []
        for index in range(torch.cuda.device_count()):
            name, free = torch.cuda.get_device_name(index), torch.cuda.mem_get_info(index)[0]
            known = next((one for one in GPUS if one.name.split()[0] in name.replace("-", " ").split()), None)
            has = torch.cuda.get_device_capability(index) >= (8, 0)
            seen.append(Gpu(name, free / _GIB, None if known is None else known.gb_per_s, has))
        return seen
    if options.device == "cuda":
        raise ModelError("no GPU is seen here (torch.cuda); tell the memory of the one you mean: --gpu-memory 24")
    return [Gpu("CPU", free_bytes(torch.device("cpu")) / _GIB, None, bfloat16=False)]


def _fit(options: argparse.Namespace, sizes: Sizes, machine: list[Gpu]) -> tuple[list[str], dict[str, Any]]:
    import shutil
    from dataclasses import asdict

    from medinterp.model.fitting import GPUS, fits, settings_lines

    def best(gpus: list[Gpu]) -> Fit | None:
        return fits(
            sizes.layouts, gpus, prompt_tokens=sizes.prompt_tokens, context_length=sizes.context_length,
            slots=options.slots, max_length=options.max_length, quantization=options.quantization,
        )  # fmt: skip

    fit, disk = best(machine), shutil.disk_usage(".").free
    names = ", ".join(f"{one.name} ({one.gib:.1f} GiB free)" for one in machine)
    lines = ["", f"here: {names}; {disk / _GIB:.0f} GiB of disk"]
    others = {one.name: best([one]) for one in GPUS}
    found = {
        "machine": [asdict(one) for one in machine],
        "disk_bytes": disk,
        "fit": None if fit is None else asdict(fit),
        "gpus": {name: None if one is None else asdict(one) for name, one in others.items()},
    }
    if fit is None:
        weights = sizes.layouts[2, options.quantization].weights / _GIB
        lines.append(f"does not fit here: the weights alone take {weights:.1f} GiB in 2 bytes a number")
    else:
        yaml = settings_lines(options.model, fit, revision=options.revision, adapter=options.adapter)
        lines += [_fit_line(fit), *_question_lines(fit), "serve_config.yaml, under args of the application api:"]
        lines += [f"  {line}" for line in yaml]
        found["settings"] = yaml
    lines += ["", f"expected, by the formula ({_MEASURED}); a report of 128 tokens, without reading film and prompt:"]
    return [*lines, *(_table_line(name, one) for name, one in others.items())], found


_MEASURED = "measured: one H100"


def _fit_line(fit: Fit) -> str:
    how = f"{fit.quantization or fit.dtype}" + (f", spread over {fit.devices} of them" if fit.devices > 1 else "")
    return (
        f"fits: {how}: weights {fit.weights / _GIB:.2f} GiB, {fit.slots} slots x {fit.length} positions "
        f"{fit.slots * fit.slot / _GIB:.2f} GiB, a question to the model up to {fit.questions / _GIB:.2f} GiB"
    )


def _question_lines(fit: Fit) -> Iterator[str]:
    over = {name: size for name, size in fit.least.items() if size > fit.questions}
    for name, size in over.items():
        told = "does not fit" if name in fit.withheld else "is more than a question's share, and fits"
        yield f"  {name}: its smallest piece takes {size / _GIB:.2f} GiB, which {told}"


def _table_line(name: str, fit: Fit | None) -> str:
    if fit is None:
        return f"  {name:<11} does not fit"
    seconds = ""
    if fit.report_s is not None and fit.compiled_s is not None:
        seconds = f"{fit.report_s:6.1f} s, compiled {fit.compiled_s:.1f} s"
    return f"  {name:<11} {fit.quantization or fit.dtype:<9} {fit.slots} slots x {fit.length:<5} {seconds}"
