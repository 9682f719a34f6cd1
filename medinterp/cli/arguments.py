"""What the commands' arguments have in common: kinds of values, and how a result is given."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]
else:
    Commands = Any


def add_loading(parser: argparse.ArgumentParser) -> None:
    """How a model is loaded, in every command that takes one; `loading` reads it."""
    group = parser.add_argument_group("loading")
    group.add_argument("--revision", metavar="R", help="of a hub id: a branch, a tag or a commit")
    group.add_argument("--adapter", metavar="A", help="a LoRA of the model: a directory or a hub id")
    group.add_argument("--adapter-revision", metavar="R", help="of the adapter's hub id")
    group.add_argument("--quantization", choices=("8bit", "4bit"), help="round the decoder layers' weights")
    group.add_argument("--gpus", type=positive, default=1, metavar="N", help="spread the layers over N GPUs")


def loading(options: argparse.Namespace) -> dict[str, Any]:
    """What `add_loading` read, as `load_model` takes it."""
    names = ("revision", "adapter", "adapter_revision", "quantization", "gpus")
    return {name: getattr(options, name) for name in names}


def positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not 1 or more")
    return value


def not_negative(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is not 0 or more")
    return value


def size(text: str) -> tuple[int, int]:
    width, x, height = text.partition("x")
    if not (x and width.isdecimal() and height.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text!r} is not WIDTHxHEIGHT, such as 1500x1200")
    sides = int(width), int(height)
    if not all(64 <= side <= 4096 for side in sides):
        raise argparse.ArgumentTypeError(f"{text}: width and height are between 64 and 4096 pixels")
    return sides


def method_option(text: str) -> tuple[str, str, Any]:
    """METHOD.NAME=VALUE, the value a number, true, false or else text."""
    where, equals, value = text.partition("=")
    method, dot, name = where.partition(".")
    if not (equals and dot and method and name and value):
        raise argparse.ArgumentTypeError(f"{text!r} is not METHOD.NAME=VALUE, such as occlusion.block=4")
    try:
        return method, name, json.loads(value)
    except json.JSONDecodeError:
        return method, name, value


def by_method(options: Sequence[tuple[str, str, Any]]) -> dict[str, dict[str, Any]]:
    """What `method_option` read, as `Explainer.explain` takes it."""
    return {method: {name: value for m, name, value in options if m == method} for method, _, _ in options}


def print_result(result: dict[str, Any], path: Path | None, *, quiet: bool = False) -> int:
    """Print a result as JSON (unless quiet), and write it to a file where one is named; returns the exit status 0."""
    text = json.dumps(result, indent=2)
    if not quiet:
        print(text)
    if path is not None:
        path.write_text(text + "\n", encoding="utf-8")
    return 0
