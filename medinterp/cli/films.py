"""Films on the command line: files and whole folders, and a result folder of its own for each."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from medinterp.errors import SelectionError

if TYPE_CHECKING:
    from medinterp.types import Film

HEAD_BYTES = 512
"""What is looked at of a file in a folder to tell whether it may be a film."""


@dataclass(frozen=True)
class FilmFile:
    """A file, and where its results go below the output folder."""

    path: Path
    result: Path


def tell(path: Path, film: Film) -> None:
    """Say on standard error what is doubtful about a film."""
    for warning in film.warnings:
        print(f"medinterp: {path}: {warning.text}", file=sys.stderr)


def find_films(sources: Sequence[Path], *, out: Path | None = None) -> tuple[list[FilmFile], int]:
    """The films among files and folders, in order and each once, and how many other files the folders hold.

    A file that is named is taken for a film whatever it is; of a folder, those that begin as a film does, in all its
    subfolders but `out`, where results lie. The result of a file is called as the file is, with as much of its path as
    tells it from the others.
    Raises SelectionError when there is none.
    """
    found: dict[str, Path] = {}  # a file that is named in two ways is one film
    others = 0
    for source in sources:
        if not source.is_dir():
            found.setdefault(os.path.abspath(source), source)
            continue
        for path in _files(source, out):
            if _may_be_film(path):
                found.setdefault(os.path.abspath(path), path)
            else:
                others += 1
    paths = list(found.values())
    if not paths:
        raise SelectionError(f"there is no film in {', '.join(map(str, sources))}")
    return [FilmFile(path, result) for path, result in zip(paths, _results(paths), strict=True)], others


def _files(folder: Path, out: Path | None) -> Iterator[Path]:
    for where, folders, names in os.walk(folder):
        if out is not None:
            folders[:] = [name for name in folders if os.path.abspath(Path(where, name)) != os.path.abspath(out)]
        folders.sort()
        yield from (Path(where, name) for name in sorted(names))


def _may_be_film(path: Path) -> bool:
    from medinterp.imaging.film import may_be_film

    if path.name == "DICOMDIR" or not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            return may_be_film(file.read(HEAD_BYTES))
    except OSError:
        return True  # said when its turn comes


def _results(paths: Sequence[Path]) -> list[Path]:
    """For each path its stem, behind as many of its folders as tell it apart; with its suffix where folders do not."""
    absolute = [Path(os.path.abspath(path)) for path in paths]
    suffixed = Counter(path.with_suffix("") for path in absolute)
    names = [path if suffixed[path.with_suffix("")] > 1 else path.with_suffix("") for path in absolute]
    depth = [1] * len(names)
    while True:
        results = [Path(*name.parts[1:][-count:]) for name, count in zip(names, depth, strict=True)]
        twice = {result for result, times in Counter(results).items() if times > 1}
        if not twice:
            return results
        depth = [count + (result in twice) for count, result in zip(depth, results, strict=True)]
