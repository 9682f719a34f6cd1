"""`medinterp selftest`."""

from __future__ import annotations

import argparse

from medinterp.cli.arguments import Commands, add_loading, loading, print_result
from medinterp.errors import SelectionError


def add(commands: Commands) -> None:
    """Add the command."""
    selftest = commands.add_parser("selftest", help="is what is captured from a model what it computed?")
    selftest.add_argument("model", nargs="?")
    selftest.add_argument(
        "--families", action="store_true", help="instead of a model: a tiny random one of every family, as a table"
    )
    add_loading(selftest)
    selftest.set_defaults(run=_selftest)


def _selftest(options: argparse.Namespace) -> int:
    from dataclasses import asdict

    if options.families == (options.model is not None):
        raise SelectionError("name a model, or give --families")
    if options.families:
        from medinterp.evaluation.families.table import families_table, run_families

        results = run_families()
        print(families_table(results))
        return int(any(isinstance(found, str) for found in results.values()))
    from medinterp.model import load_model, self_test

    return print_result(asdict(self_test(load_model(options.model, **loading(options)))), None)
