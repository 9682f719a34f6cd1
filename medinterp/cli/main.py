"""The command line's entry: one command a file."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from medinterp.cli import (
    again,
    audit,
    bench,
    calibrate,
    doctor,
    domain,
    evaluate,
    explain,
    export,
    keys,
    phantom,
    selftest,
    sensitivity,
)
from medinterp.errors import MedInterpError

COMMANDS = (
    explain, audit, export, keys, phantom, evaluate, calibrate, domain, bench, selftest, sensitivity, doctor, again,
)  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status (2 for an error that says what to do, 130 when stopped)."""
    options = _parser().parse_args(audit.completed(sys.argv[1:] if arguments is None else arguments))
    try:
        return int(options.run(options))
    except MedInterpError as error:
        print(f"medinterp: {error}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:  # `medinterp[client]` alone has none of the library's packages
        if error.name is None or error.name.partition(".")[0] == "medinterp":
            raise
        extra = "audit" if error.name.partition(".")[0] in ("pyarrow", "ray") else "model"
        wanted = f"pip install 'medinterp[{extra}]'"
        print(f"medinterp: the package {error.name} is not installed: {wanted}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("medinterp: stopped", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="medinterp", description="Why did the model write this word?")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add(commands)
    return parser
