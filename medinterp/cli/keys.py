"""`medinterp keys`: make, list and remove the API keys of a file."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from medinterp.errors import AccessError

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]
else:
    Commands = Any


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser("keys", help="who may use the HTTP API", description=__doc__)
    actions = parser.add_subparsers(required=True, metavar="ACTION")

    new = actions.add_parser("new", help="make a key, and print it this once: the file has its hash alone")
    new.add_argument("--name", required=True, help="what logs call it; its reports are this name's")
    new.add_argument("--scopes", default="read,write", help="of read, write, metrics (default: read,write)")
    new.add_argument("--file", type=Path, required=True, help="the keys' file; made where there is none")
    new.add_argument("--per-minute", type=float, help="requests a minute, instead of the settings' own")
    new.add_argument("--burst", type=int, help="requests at once, instead of the settings' own")
    new.add_argument("--replace", action="store_true", help="in place of the key that has this name now")
    new.set_defaults(run=run_new)

    listed = actions.add_parser("list", help="names, scopes and limits")
    listed.add_argument("--file", type=Path, required=True)
    listed.set_defaults(run=run_list)

    remove = actions.add_parser("remove", help="take a key out; it holds no more from the next request on")
    remove.add_argument("--name", required=True)
    remove.add_argument("--file", type=Path, required=True)
    remove.set_defaults(run=run_remove)


def run_new(options: argparse.Namespace) -> int:
    """Make a key. Raises AccessError."""
    from pydantic import ValidationError

    from medinterp.api.access.keys import KeyEntry, KeyList, hash_of, new_key, read_keys, write_keys
    from medinterp.api.access.settings import Scope

    kept = read_keys(options.file).keys if options.file.exists() else ()
    if any(entry.name == options.name for entry in kept) and not options.replace:
        raise AccessError(f"{options.file} has a key named {options.name}: --replace makes a new one in its place")
    key = new_key()
    try:
        entry = KeyEntry(
            name=options.name,
            sha256=hash_of(key),
            scopes=tuple(dict.fromkeys(part.strip() for part in options.scopes.split(",") if part.strip())),
            per_minute=options.per_minute,
            burst=options.burst,
        )
    except ValidationError as error:
        first = error.errors()[0]
        allowed = ", ".join(get_args(Scope))
        told = f"--scopes takes {allowed}" if first["loc"][0] == "scopes" else f"--{first['loc'][0]}: {first['msg']}"
        raise AccessError(told.replace("_", "-")) from None
    write_keys(options.file, KeyList(keys=(*(one for one in kept if one.name != entry.name), entry)))
    print(key)
    return 0


def run_list(options: argparse.Namespace) -> int:
    """List the keys. Raises AccessError."""
    from medinterp.api.access.keys import read_keys

    for entry in read_keys(options.file).keys:
        limits = [f"{entry.per_minute:g} a minute"] if entry.per_minute else []
        limits += [f"{entry.burst} at once"] if entry.burst else []
        print("\t".join((entry.name, ",".join(entry.scopes), ", ".join(limits) or "the settings' limits")))
    return 0


def run_remove(options: argparse.Namespace) -> int:
    """Remove a key. Raises AccessError."""
    from medinterp.api.access.keys import KeyList, read_keys, write_keys

    kept = read_keys(options.file).keys
    left = tuple(entry for entry in kept if entry.name != options.name)
    if len(left) == len(kept):
        raise AccessError(f"{options.file} has no key named {options.name}")
    write_keys(options.file, KeyList(keys=left))
    return 0
