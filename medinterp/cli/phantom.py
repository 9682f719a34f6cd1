"""`medinterp phantom film | archive | train`."""

from __future__ import annotations

import argparse
from pathlib import Path

from medinterp.cli.arguments import Commands, not_negative, positive, size


def add(commands: Commands) -> None:
    """Add the commands."""
    phantom = commands.add_parser("phantom", help="the demo model and its synthetic films")
    parts = phantom.add_subparsers(required=True, metavar="PART")
    film = parts.add_parser("film", help="draw a synthetic film with its truth")
    film.add_argument("--seed", type=not_negative, required=True)
    film.add_argument("--size", type=size, default=(1024, 1024), metavar="WIDTHxHEIGHT")
    film.add_argument("--out", type=Path, required=True, metavar="DIR")
    film.add_argument("--bits", type=int, choices=(12, 16), default=16, help="bits stored in the DICOM file")
    film.add_argument("--monochrome1", action="store_true", help="store the DICOM file inverted")
    film.add_argument("--without", type=not_negative, default=0, metavar="K", help="the counterfactual's finding")
    film.set_defaults(run=_film)
    archive = parts.add_parser("archive", help="an archive with a planted shortcut and blind spot; goes on")
    archive.add_argument("--films", type=positive, required=True, metavar="N")
    archive.add_argument("--out", type=Path, required=True, metavar="DIR")
    archive.add_argument("--seed", type=not_negative, default=0)
    archive.add_argument("--size", type=positive, default=512, help="pixels of a film's side, about")
    archive.set_defaults(run=_archive)
    train = parts.add_parser("train", help="train the demo model; goes on where it was stopped")
    train.add_argument("--work", type=Path, default=Path(".cache/phantom"), metavar="DIR")
    train.add_argument("--out", type=Path, required=True, metavar="DIR")
    train.add_argument("--seed", type=not_negative, default=0)
    boxes = parts.add_parser("train-boxes", help="teach the demo model boxes: an adapter; goes on where it was stopped")
    boxes.add_argument("--work", type=Path, default=Path(".cache/phantom"), metavar="DIR")
    boxes.add_argument("--out", type=Path, required=True, metavar="DIR")
    boxes.add_argument("--seed", type=not_negative, default=0)
    boxes.set_defaults(run=_train_boxes)
    instead = train.add_mutually_exclusive_group()
    instead.add_argument("--small", action="store_true", help="half of the steps: for further seeds")
    instead.add_argument("--control", choices=("shuffled", "shortcut"), help="a control model of the benchmark")
    train.set_defaults(run=_train)


def _film(options: argparse.Namespace) -> int:
    from medinterp.phantom.files import write_film
    from medinterp.phantom.films import sample_film

    width, height = options.size
    written = write_film(
        sample_film(options.seed),
        width,
        height,
        options.out,
        bits=options.bits,
        monochrome1=options.monochrome1,
        without=options.without,
    )
    print("\n".join(map(str, written)))
    return 0


def _archive(options: argparse.Namespace) -> int:
    from medinterp.phantom.archive_files import write_archive

    table, truth, model = write_archive(options.films, options.out, seed=options.seed, size=options.size)
    print(f"{table}\n{truth}\n{model}\nmedinterp audit {table} --model {model} --out AUDIT")
    return 0


def _train(options: argparse.Namespace) -> int:
    from medinterp.phantom.training.recipe import SMALL
    from medinterp.phantom.training.train import train

    recipe = SMALL if options.small else None
    train(options.work, options.out, seed=options.seed, recipe=recipe, control=options.control)
    return 0


def _train_boxes(options: argparse.Namespace) -> int:
    from medinterp.phantom.training.boxes import train_boxes

    train_boxes(options.work, options.out, seed=options.seed)
    return 0
