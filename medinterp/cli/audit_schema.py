"""`medinterp audit schema`."""

from __future__ import annotations

import argparse

from medinterp.cli.arguments import Commands


def add(commands: Commands) -> None:
    """Add the command."""
    schema = commands.add_parser("schema", help="what the columns of an audit's tables hold")
    schema.set_defaults(run=_schema)


def _schema(options: argparse.Namespace) -> int:
    from medinterp.audit.schema import columns_told

    print("\n".join(columns_told()))
    return 0
