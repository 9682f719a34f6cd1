"""The planted archive: what stands in the file of each film, and what is wrong with it, told by a seed.

Three sites. At SHORTCUT_SITE an "L" marker stands where a nodule does (see `shortcut`), elsewhere no film has one. The
model that belongs to it (see `archive_model`) takes the marker for one, and cannot see BLIND_ZONE of any film. 1 % of
the files are broken, 2 % of the reports are another patient's.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from medinterp.phantom.films import Drawing, SyntheticFilm, draw_film, facts_of, marker_cover, sample_film
from medinterp.phantom.reports import Fact, write_report
from medinterp.phantom.shortcut import MARKER_SIZE, TRAINING_CORRELATION, sample_shortcut_film

SITES = ("A", "B", "C")
SHORTCUT_SITE, SHORTCUT_FINDING, SHORTCUT_MARKER = "B", "nodule", "L"
BLIND_ZONE = ("right", "mid")
"""Side of the patient and zone of the lung that the model does not see."""
BLIND_BOX = (0.06, 0.30, 0.455, 0.565)
"""Where that zone lies, whatever the chest: left, top, right, bottom as shares of the film."""
BROKEN_SHARE, MISFIT_SHARE = 0.01, 0.02
Broken = Literal["cut", "empty", "text", "missing"]
BROKEN: tuple[Broken, ...] = ("cut", "empty", "text", "missing")
"""A file that ends in its middle, one without a byte, one that is no picture, and a row whose file is not there."""
FILMS_AT_MOST = 100_000
FIRST_SEED = 20_000_000
_SITE_SHARES = (0.4, 0.3, 0.3)
_SCANNERS = {"A": ("Aurora", "Boreal"), "B": ("Boreal", "Cirrus"), "C": ("Aurora", "Cirrus")}
_AGAIN = 10
"""Every so many films one is of the patient of the film before it."""
_SIDES = (0.86, 1.14)
"""Width over `size`, and height, of a film."""


@dataclass(frozen=True)
class Row:
    """A film of the archive before it is drawn.

    broken: what is wrong with its file; donor: seed of the film whose report it has, None for its own.
    """

    id: str
    patient_id: str
    site: str
    view: str
    scanner: str
    sex: str
    age: int
    suffix: str
    seed: int
    width: int
    height: int
    broken: Broken | None
    donor: int | None

    @property
    def path(self) -> str:
        """Relative to the table."""
        return f"{self.site}/{self.id}{self.suffix}"


def plan(films: int, seed: int, size: int) -> list[Row]:
    """All rows of an archive; each depends on its number, the seed and how many there are."""
    order = np.random.default_rng([seed, 0xA7C]).permutation(films)
    broken, misfits = round(films * BROKEN_SHARE), round(films * MISFIT_SHARE)
    kinds: dict[int, Broken] = {int(k): BROKEN[n % len(BROKEN)] for n, k in enumerate(order[:broken])}
    wrong = {int(k) for k in order[broken : broken + misfits]}
    return [_row(k, seed, size, kinds.get(k), k in wrong) for k in range(films)]


def _row(number: int, seed: int, size: int, broken: Broken | None, misfit: bool) -> Row:
    patient = number - 1 if number % _AGAIN == _AGAIN - 1 else number
    person, own = np.random.default_rng([seed, patient, 0x9A71]), np.random.default_rng([seed, number, 0xF117])
    site = str(person.choice(SITES, p=_SITE_SHARES))
    sex, age = str(person.choice(["F", "M"])), int(np.clip(person.normal(58, 16), 18, 96))
    width, height = (round(size * float(own.uniform(*_SIDES))) for _ in range(2))
    drawn = FIRST_SEED + seed * FILMS_AT_MOST + number
    return Row(
        id=f"F{number:06d}",
        patient_id=f"P{patient:06d}",
        site=site,
        view=str(own.choice(["PA", "AP"], p=[0.7, 0.3])),
        scanner=str(own.choice(_SCANNERS[site])),
        sex=sex,
        age=age,
        suffix=".dcm" if site == "C" or own.random() < 0.3 else ".png",
        seed=drawn,
        width=width,
        height=height,
        broken=broken,
        donor=_donor(drawn, site) if misfit else None,
    )


def _donor(drawn: int, site: str) -> int:
    """A film of the same site that is in no archive, and has other findings."""
    names = {finding.name for finding in film_of(drawn, site).findings}
    others = itertools.count(drawn + FIRST_SEED, FIRST_SEED)  # far beyond every archive's seeds
    return next(seed for seed in others if {finding.name for finding in film_of(seed, site).findings} != names)


def film_of(seed: int, site: str) -> SyntheticFilm:
    """The film of a seed as a site takes it: with its markers, and with nodules as faint as they are there."""
    if site == SHORTCUT_SITE:
        return sample_shortcut_film(seed, TRAINING_CORRELATION)
    film = sample_film(seed)
    return replace(film, distractors=replace(film.distractors, marker=film.distractors.marker and "R"))


def facts_and_report(row: Row, film: SyntheticFilm, drawing: Drawing) -> tuple[list[Fact], list[Fact], str]:
    """What is true of the film, and the facts and the text of the report that it has in the archive."""
    facts = facts_of(film, drawing)
    if row.donor is None:
        told, seed = facts, row.seed
    else:
        other = film_of(row.donor, row.site)
        told, seed = facts_of(other, draw_film(other, 256, 256)), row.donor
    return facts, told, write_report(told, np.random.default_rng([seed, 0x9E9]))


def marker_box() -> tuple[float, float, float, float]:
    """Where the marker of the shortcut stands on every film: left, top, right, bottom as shares of the film."""
    cover = marker_cover(SHORTCUT_MARKER, 1000, 1000, MARKER_SIZE) > 0
    rows, columns = np.flatnonzero(cover.any(axis=1)), np.flatnonzero(cover.any(axis=0))
    return columns[0] / 1000, rows[0] / 1000, (columns[-1] + 1) / 1000, (rows[-1] + 1) / 1000
