"""The region of a film that drove a finding: its map above a threshold, on the grid of the film's own file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from medinterp.errors import SelectionError
from medinterp.evaluation.metrics import otsu_threshold
from medinterp.export.naming import tokens_of
from medinterp.export.view import pack_on
from medinterp.imaging.geometry import upsample
from medinterp.imaging.orientation import as_stored
from medinterp.relevancy import select_map, word_maps
from medinterp.render import report_range
from medinterp.types import BoolArray, DicomSource, Explanation, Finding, Float32Array, MapPack


@dataclass(frozen=True)
class Threshold:
    """From which value on a map counts as region.

    rule: "otsu", each map's own (IEEE Trans. SMC 1979), or "share" of the top of the report's scale, 0 < share <= 1.
    """

    rule: Literal["otsu", "share"] = "otsu"
    share: float | None = None

    @property
    def title(self) -> str:
        """For people and for the record in a file."""
        return "Otsu of each map" if self.share is None else f"{self.share:g} of the top of the report's scale"


def parse_threshold(text: str) -> Threshold:
    """Read "otsu" or a share such as "0.5". Raises SelectionError."""
    if text.strip().lower() == "otsu":
        return Threshold()
    try:
        share = float(text)
    except ValueError:
        share = 0.0
    if not 0.0 < share <= 1.0:
        raise SelectionError("a threshold is otsu, or a share of the report's scale above 0 and up to 1, such as 0.5")
    return Threshold("share", share)


@dataclass(frozen=True, eq=False)
class Region:
    """What drove one finding. level: the value from which on cells count; mask: bool [rows, columns] as stored."""

    finding: Finding
    level: float
    mask: BoolArray


def on_stored(values: Float32Array, source: DicomSource) -> Float32Array:
    """A map of the upright film's cells laid over the pixels as they lie in the file, float32 [rows, columns].

    The film is the file's picture with its pixels made square, and turned. A cell is a share of the film's width and
    height, so that making pixels square changes nothing; turning is undone on the cells.
    """
    return upsample(as_stored(values, source.orientation), source.rows, source.columns)


def affirmed(explanation: Explanation) -> tuple[Finding, ...]:
    """The findings that the report affirms and whose words a model wrote."""
    report = explanation.report
    return tuple(one for one in report.findings if one.present and tokens_of(report, one))


def regions(
    explanation: Explanation,
    source: DicomSource,
    method: str | None = None,
    threshold: Threshold | None = None,
    *,
    without_sinks: bool = False,
) -> tuple[MapPack, tuple[Region, ...]]:
    """The maps' pack, and a region for each affirmed finding, of the map's positive part.

    One whose map is the same everywhere, or stays below the threshold, has an empty mask. Raises SelectionError for a
    method that was not computed.
    """
    asked = threshold or Threshold()
    pack = pack_on(explanation, method, 0)
    _, top = report_range(word_maps(pack, explanation.report.words, without_sinks=without_sinks), pack.signed)
    found = []
    for finding in affirmed(explanation):
        chosen = select_map(pack, tokens_of(explanation.report, finding), without_sinks=without_sinks)
        values = np.maximum(on_stored(chosen.values, source), 0.0)
        flat = not float(values.max()) > float(values.min())
        level = otsu_threshold(values) if asked.share is None else asked.share * top
        mask = np.zeros(values.shape, np.bool_) if flat or not level > 0.0 else values >= level
        found.append(Region(finding, level, np.asarray(mask)))
    return pack, tuple(found)
