"""`medinterp selftest`."""

from __future__ import annotations

import argparse

from medinterp.cli.arguments import Commands, print_result


def add(commands: Commands) -> None:
    """Add the command."""
    selftest = commands.add_parser("selftest", help="is what is captured from a model what it computed?")
    selftest.add_argument("model")
    selftest.set_defaults(run=_selftest)


def _selftest(options: argparse.Namespace) -> int:
    from dataclasses import asdict

    from medinterp.model import load_model, self_test

    return print_result(asdict(self_test(load_model(options.model))), None)
