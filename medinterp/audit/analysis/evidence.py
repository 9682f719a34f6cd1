"""One reading of the word table: what every mention of a finding was driven by, and how likely its sentence was.

A mention is one finding of one report (its words together). The evidence of a word is the positive part of its map as
shares of its sum; a mention's is the mean of its words'. Words stream by; nothing of a map is kept but its shares by
place and the atlases' sums.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from medinterp.audit.analysis.atlas import Atlas, AtlasSums
from medinterp.audit.analysis.films import Films, overlap
from medinterp.audit.schema import NO_FINDING
from medinterp.audit.tables import Audit
from medinterp.errors import SelectionError
from medinterp.types import BoolArray, Float32Array

PLACES = ("marker", "outside the body", "border")
"""Where evidence of a finding cannot lie, each without those before it; border: the outermost cells."""
ZONES = tuple((side, zone) for zone in ("upper", "mid", "lower") for side in ("right", "left"))
"""Thirds of each half of the lungs' box, as the patient's sides are."""
_ZONE_OF = {"apical": "upper", "upper": "upper", "mid": "mid", "middle": "mid", "lower": "lower", "basal": "lower"}
_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")
_LIGHT = ("film_id", "finding", "start", "finding_index", "status", "side", "zones", "logprob", "unlikely", "reliance")
_ROWS = 65_536
_MAP_ROWS = 4096


@dataclass(frozen=True, eq=False)
class Words:
    """All words: film (row of Films), sentence (of all films' sentences), surprise (-log p, nats) and unlikely."""

    film: npt.NDArray[np.int32]
    sentence: npt.NDArray[np.int32]
    surprise: Float32Array
    unlikely: BoolArray


@dataclass(frozen=True, eq=False)
class Mentions:
    """One row a mention.

    film, sentence as in Words; finding: index into `findings`; affirmed: present or uncertain; zone: index into ZONES
    of the one zone that it is said to lie in, -1 for none, several or both sides; touched: bool [mentions, zones], all
    zones that it may lie in; written: no word of its sentence is one that the model would hardly have written;
    reliance: nats, of its word that loses most, nan where not asked; places: float32 [mentions, places], zones: float32
    [mentions, zones], shares of its evidence; nan without evidence, and zones without lungs.
    """

    findings: tuple[str, ...]
    film: npt.NDArray[np.int32]
    sentence: npt.NDArray[np.int32]
    finding: npt.NDArray[np.int16]
    affirmed: BoolArray
    zone: npt.NDArray[np.int8]
    touched: BoolArray
    written: BoolArray
    reliance: Float32Array
    places: Float32Array
    zones: Float32Array

    def __len__(self) -> int:
        return len(self.film)


@dataclass(frozen=True, eq=False)
class Evidence:
    """What an audit's tables say of its films."""

    films: Films
    words: Words
    mentions: Mentions
    atlases: Mapping[str, Mapping[str, Atlas]]
    """By finding: "all", and where films have labels "true" and "false"."""
    method: str
    sentence_of_film: npt.NDArray[np.int64]
    """The first sentence of each film's report."""


def read_evidence(audit: Audit, films: Films, method: str | None = None) -> Evidence:
    """Read the words of an audit once; method: whose maps, by default the first.

    Raises SelectionError for a method that the audit has no maps by.
    """
    methods = audit.manifest["methods"]
    method = method or methods[0]
    if method not in methods:
        raise SelectionError(f"the audit has no maps by {method!r}; there are: {', '.join(methods)}")
    words, rows = _read_words(audit, films)
    names = tuple(sorted(set(rows["finding"].tolist())))
    key, first, of_row = np.unique(rows["key"], return_index=True, return_inverse=True)
    count = len(key)
    mentions = Mentions(
        findings=names,
        film=rows["film"][first].astype(np.int32),
        sentence=rows["sentence"][first].astype(np.int32),
        finding=np.searchsorted(np.array(names, dtype=np.str_), rows["finding"][first]).astype(np.int16),
        affirmed=rows["affirmed"][first],
        zone=rows["zone"][first].astype(np.int8),
        touched=(rows["touched"][first, None] >> np.arange(len(ZONES)) & 1) > 0,
        written=~_any_unlikely(words)[rows["sentence"][first]],
        reliance=_largest(rows["reliance"], of_row, count),
        places=np.full((count, len(PLACES)), np.nan, dtype=np.float32),
        zones=np.full((count, len(ZONES)), np.nan, dtype=np.float32),
    )
    atlases = {name: _read_maps(audit, films, mentions, name, key, method) for name in names}
    starts, begins = sentence_starts(films.reports)
    return Evidence(films, words, mentions, atlases, method, np.searchsorted(starts, begins))


def _read_words(audit: Audit, films: Films) -> tuple[Words, dict[str, npt.NDArray[Any]]]:
    """All words, and of those that name a finding what becomes mentions."""
    ids = pa.array(films.ids)
    starts, first = sentence_starts(films.reports)
    light: list[tuple[npt.NDArray[Any], ...]] = []
    named: list[dict[str, npt.NDArray[Any]]] = []
    for batch in audit.words(_LIGHT, batch_rows=_ROWS):
        film = pc.index_in(batch["film_id"], ids).to_numpy(zero_copy_only=False).astype(np.int32)
        sentence = np.searchsorted(starts, first[film] + batch["start"].to_numpy(), side="right").astype(np.int32) - 1
        surprise = -batch["logprob"].to_numpy(zero_copy_only=False).astype(np.float32)
        light.append((film, sentence, surprise, batch["unlikely"].to_numpy(zero_copy_only=False).astype(bool)))
        names = pc.and_(pc.not_equal(batch["finding"], NO_FINDING), pc.is_valid(batch["finding_index"]))
        kept = names.to_numpy(zero_copy_only=False).astype(bool)
        if not kept.any():
            continue
        some = batch.filter(names)
        number = some["finding_index"].to_numpy(zero_copy_only=False).astype(np.int64)
        places = list(zip(some["side"].to_pylist(), some["zones"].to_pylist(), strict=True))
        reliance = some["reliance"].cast(pa.float32()).to_numpy(zero_copy_only=False)
        named.append(
            {
                "film": film[kept],
                "sentence": sentence[kept],
                "key": film[kept].astype(np.int64) << 20 | number,
                "finding": some["finding"].to_numpy(zero_copy_only=False).astype(np.str_),
                "affirmed": pc.is_in(some["status"], pa.array(["present", "uncertain"])).to_numpy(zero_copy_only=False),
                "zone": np.array([zone_of(*place) for place in places]),
                "touched": np.array([sum(1 << zone for zone in zones_of(*place)) for place in places]),
                "reliance": reliance.astype(np.float32),
            }
        )
    if not named:
        raise SelectionError("no word of the audit names a finding: there is nothing to analyse")
    columns = [np.concatenate(part) for part in zip(*light, strict=True)]
    words = Words(*columns)
    return words, {name: np.concatenate([part[name] for part in named]) for name in named[0]}


def sentence_starts(reports: list[str]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Where all sentences of all reports start, one report laid after the other, and where each report does."""
    lengths = np.array([len(text) + 1 for text in reports], dtype=np.int64)
    first = np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int64)
    starts = [
        begin + at
        for begin, text in zip(first.tolist(), reports, strict=True)
        for at in (0, *(found.end() for found in _SENTENCE.finditer(text)))
    ]
    return np.array(starts, dtype=np.int64), first


def zone_of(side: str | None, zones: list[str]) -> int:
    """The one zone of ZONES that a mention lies in, -1 where it tells none, several, or both sides."""
    found = zones_of(side, zones)
    return found[0] if len(found) == 1 else -1


def zones_of(side: str | None, zones: list[str]) -> list[int]:
    """All zones of ZONES that a mention may lie in: "bilateral" means each of its zones on either side."""
    sides = {"bilateral": ("right", "left"), "right": ("right",), "left": ("left",)}.get(side or "", ())
    found = {_ZONE_OF[zone] for zone in zones if zone in _ZONE_OF}
    return [k for k, (own, zone) in enumerate(ZONES) if own in sides and zone in found]


def _any_unlikely(words: Words) -> BoolArray:
    return np.asarray(np.bincount(words.sentence, words.unlikely, int(words.sentence.max(initial=0)) + 1) > 0)


def _largest(values: npt.NDArray[Any], of_row: npt.NDArray[np.integer], count: int) -> Float32Array:
    found = np.full(count, -np.inf, dtype=np.float32)
    told = np.isfinite(values.astype(np.float32))
    np.maximum.at(found, of_row[told], values[told].astype(np.float32))
    return np.where(np.isfinite(found), found, np.float32(np.nan)).astype(np.float32)


def _read_maps(
    audit: Audit, films: Films, mentions: Mentions, name: str, keys: npt.NDArray[np.int64], method: str
) -> Mapping[str, Atlas]:
    """Fill in the shares of a finding's affirmed mentions, and return its atlases."""
    rows, columns = films.grid
    weights, ids, column = place_weights(films), pa.array(films.ids), f"map_{method}"
    sums = AtlasSums(films)
    number = np.zeros(len(mentions), dtype=np.int32)
    for batch in audit.words(["film_id", "finding_index", "status", column], name, batch_rows=_MAP_ROWS):
        some = batch.filter(pc.is_in(batch["status"], pa.array(["present", "uncertain"])))
        if not some.num_rows:
            continue
        film = pc.index_in(some["film_id"], ids).to_numpy(zero_copy_only=False).astype(np.int64)
        number_of = some["finding_index"].to_numpy(zero_copy_only=False).astype(np.int64)
        mention = np.searchsorted(keys, film << 20 | number_of)
        maps = np.clip(some[column].flatten().to_numpy(zero_copy_only=False).reshape(len(film), -1), 0.0, None)
        total = maps.sum(axis=1)
        some_evidence = total > 0
        film, mention = film[some_evidence], mention[some_evidence]
        shares = (maps[some_evidence] / total[some_evidence, None]).astype(np.float32)
        first = number[mention] == 0
        for table in (mentions.places, mentions.zones):
            table[mention[first]] = 0.0
        np.add.at(number, mention, 1)
        np.add.at(mentions.places, mention, np.stack([(shares * part[film]).sum(axis=1) for part in weights], axis=1))
        np.add.at(mentions.zones, mention, zone_shares(shares.reshape(-1, rows, columns), films.lungs[film]))
        sums.add(film, name, shares.reshape(-1, rows, columns))
    mine = number > 0
    for table in (mentions.places, mentions.zones):
        table[mine] /= number[mine, None]
    return sums.means()


def place_weights(films: Films) -> tuple[Float32Array, ...]:
    """How much of each cell of each film belongs to each of PLACES, float32 [films, cells]."""
    rows, columns = films.grid
    ring = np.ones((rows, columns), dtype=np.float32)
    ring[1:-1, 1:-1] = 0.0
    rest = 1.0 - films.marker
    return films.marker, rest * (1.0 - films.body), rest * films.body * ring.ravel()


def zone_shares(maps: Float32Array, lungs: npt.NDArray[np.float64]) -> Float32Array:
    """The share of each map [n, rows, columns] in each of ZONES, by its film's lungs [n, 4]: float32 [n, zones]."""
    _, rows, columns = maps.shape
    left, top, right, bottom = lungs.T
    third = (bottom - top) / 3.0
    down = np.stack([overlap(top + k * third, top + (k + 1) * third, rows) for k in range(3)], axis=1)
    middle = (left + right) / 2.0
    across = np.stack([overlap(left, middle, columns), overlap(middle, right, columns)], axis=1)
    found = np.einsum("nij,nzi,nsj->nzs", maps, down, across, optimize=True)
    return np.asarray(found.reshape(len(maps), -1), dtype=np.float32)
