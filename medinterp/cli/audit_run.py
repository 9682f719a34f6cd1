"""`medinterp audit SOURCE --out DIR`."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING

from medinterp.cli.arguments import Commands, not_negative, positive
from medinterp.errors import MethodError

if TYPE_CHECKING:
    from medinterp.audit.pipeline import Progress
    from medinterp.audit.reader import Asked
    from medinterp.audit.source import Archive

SOME_FAILED = 1
"""Exit status when some films have no report."""


def add(commands: Commands) -> None:
    """Add the command."""
    run = commands.add_parser(
        "run",
        help="read the films of a folder, a table or an object store; the same command again goes on",
        description="SOURCE is a folder of films, a CSV or Parquet table with a column `path` (and id, labels, report, "
        "patient_id, and columns of its own), or such a folder or table at s3:// or gs://.",
    )
    run.add_argument("source", metavar="SOURCE")
    run.add_argument("--out", required=True, metavar="DIR", help="a folder, or s3://... or gs://...")
    run.add_argument("--model", default="phantom", help="phantom, a directory or a hub id (default: phantom)")
    run.add_argument("--revision", default=None, help="of a model on the hub: a commit, a tag or a branch")
    run.add_argument("--methods", default=None, metavar="A,B", help='of the maps, apart by commas; "all" for all')
    run.add_argument("--reports", default=None, metavar="FILE", help="a table of reports to explain: id, report")
    run.add_argument("--reliance", action="store_true", help="what every word loses with another film: six passes more")
    run.add_argument("--prompt", default=None)
    run.add_argument("--max-new-tokens", type=positive, default=512, help="of a report (default: 512)")
    run.add_argument("--actors", type=positive, default=1, metavar="N", help="copies of the model (default: 1)")
    run.add_argument("--batch", type=positive, default=8, metavar="N", help="films side by side in each (default: 8)")
    run.add_argument("--num-gpus", type=float, default=None, metavar="N", help="of each copy (default: 1 if any)")
    run.add_argument("--limit", type=positive, default=None, metavar="N", help="read N films at most, this time")
    run.add_argument("--object-store-mb", type=not_negative, default=1024, metavar="MB", help="of this machine's Ray")
    run.add_argument("--dashboard", action="store_true", help="Ray's dashboard, for a Ray of this machine")
    run.add_argument("--retry-failures", action="store_true", help="read the films again that have no report")
    run.add_argument("--force", action="store_true", help="read films too on which a report means nothing")
    run.add_argument("--dry-run", action="store_true", help="read three films, and say what all would cost")
    run.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    import torch

    from medinterp.audit import state
    from medinterp.audit.places import place_of
    from medinterp.audit.reader import Asked
    from medinterp.audit.source import read_source
    from medinterp.explainer import DEFAULT_METHODS
    from medinterp.relevancy import METHODS, get_method

    methods = tuple(options.methods.split(",")) if options.methods else DEFAULT_METHODS
    methods = tuple(METHODS) if "all" in methods else methods
    for name in methods:
        get_method(name)
    if len(set(methods)) < len(methods):
        raise MethodError("a method is named twice")
    place = place_of(options.out)
    archive = read_source(options.source, options.reports, out=place)
    _tell_archive(archive)
    gpus = (1.0 if torch.cuda.is_available() else 0.0) if options.num_gpus is None else options.num_gpus
    threads = None if gpus else max(1, (os.cpu_count() or 1) // options.actors)
    asked = Asked(
        options.model,
        methods,
        options.reliance,
        options.prompt,
        options.max_new_tokens,
        archive.columns,
        threads,
        options.revision,
        options.force,
    )
    if options.dry_run:
        from medinterp.audit.estimate import estimate

        print("\n".join(estimate(archive, asked, options.actors, options.batch).told()))
        return 0
    if options.retry_failures:
        print(f"medinterp: {state.forget_failures(place)} films without a report are read again", file=sys.stderr)
    return _stream(options, archive, asked, gpus)


def _stream(options: argparse.Namespace, archive: Archive, asked: Asked, gpus: float) -> int:
    from tqdm import tqdm

    from medinterp.audit.machine import running_ray
    from medinterp.audit.places import place_of

    with running_ray(dashboard=options.dashboard, object_store_bytes=options.object_store_mb * 2**20) as ray_is:
        from medinterp.audit.pipeline import Room, run

        room = Room(options.actors, options.batch, gpus=gpus)
        print(f"medinterp: {archive.films.num_rows} films, Ray on {ray_is}", file=sys.stderr)
        with tqdm(total=archive.films.num_rows, desc="films", unit="film") as bar:

            def told(progress: Progress) -> None:
                if bar.initial != progress.before:  # those of earlier runs took none of this one's time
                    bar.initial = bar.n = progress.before
                if progress.done > bar.n:
                    bar.set_postfix(failed=progress.failed, refresh=False)
                    bar.update(progress.done - bar.n)

            manifest = run(archive, place_of(options.out), asked, room, limit=options.limit, told=told)
    print(
        f"{manifest['films']} films read, {manifest['failed']} without a report, {manifest['words']} words, in "
        f"{manifest['seconds']:.0f} s: {options.out}"
    )
    return SOME_FAILED if manifest["failed"] else 0


def _tell_archive(archive: Archive) -> None:
    if archive.left_behind:
        print(f"medinterp: left behind, for they name patients: {', '.join(archive.left_behind)}", file=sys.stderr)
