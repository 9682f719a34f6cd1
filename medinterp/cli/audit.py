"""`medinterp audit SOURCE`, and what is done with an audit: `medinterp audit schema`, ..."""

from __future__ import annotations

from collections.abc import Sequence

from medinterp.cli import audit_compare, audit_report, audit_run, audit_schema
from medinterp.cli.arguments import Commands

MODULES = (audit_run, audit_report, audit_compare, audit_schema)
PARTS = ("run", "report", "film", "compare", "schema")


def add(commands: Commands) -> None:
    """Add the command and its parts."""
    audit = commands.add_parser(
        "audit",
        help="read a whole archive of films; write tables of evidence",
        description="`medinterp audit SOURCE --out DIR` is `medinterp audit run SOURCE --out DIR`.",
    )
    parts = audit.add_subparsers(required=True, metavar="SOURCE | COMMAND")
    for part in MODULES:
        part.add(parts)


def completed(arguments: Sequence[str]) -> list[str]:
    """The arguments with `run` put in where a source follows `audit`."""
    given = list(arguments)
    if len(given) > 1 and given[0] == "audit" and given[1] not in (*PARTS, "-h", "--help"):
        given.insert(1, "run")
    return given
