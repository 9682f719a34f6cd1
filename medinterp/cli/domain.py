"""`medinterp domain`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from medinterp.cli.arguments import Commands, positive
from medinterp.errors import SelectionError

if TYPE_CHECKING:
    from medinterp.types import Film


def add(commands: Commands) -> None:
    """Add the command."""
    domain = commands.add_parser(
        "domain", help="describe the films that a model was made for, so that others are told before it reads them"
    )
    domain.add_argument("films", nargs="*", type=Path, metavar="FILM", help="films as the model was trained on")
    domain.add_argument("--synthetic", type=positive, default=None, metavar="N", help="N synthetic films instead")
    domain.add_argument("--out", type=Path, required=True, metavar="FILE", help="films.json in the model's directory")
    domain.set_defaults(run=_domain)


def _domain(options: argparse.Namespace) -> int:
    from tqdm import tqdm

    from medinterp.imaging.domain import fit_domain

    if bool(options.films) == (options.synthetic is not None):
        raise SelectionError("give either films or --synthetic N")
    total = options.synthetic or len(options.films)
    with tqdm(total=total, desc="films", unit="film") as bar:
        domain = fit_domain(_films(options), progress=bar.update)
    domain.save(options.out)
    print(f"{options.out}: {domain.films} films, threshold {domain.threshold:.0f}")
    return 0


def _films(options: argparse.Namespace) -> Iterator[Film]:
    from medinterp.evaluation.reading import CALIBRATION_SEEDS_START, film_of, unseen_films
    from medinterp.imaging import open_film

    if options.films:
        yield from map(open_film, options.films)
    else:
        yield from (film_of(*one)[0] for one in unseen_films(options.synthetic, CALIBRATION_SEEDS_START))
