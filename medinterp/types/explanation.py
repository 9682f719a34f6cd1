"""A report with its films and maps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from medinterp.types.answers import BoxVerdict, Faithfulness, Reliance, TextSources
from medinterp.types.film import Film
from medinterp.types.maps import MapPack
from medinterp.types.report import Report
from medinterp.types.trace import AttentionTrace, Provenance


@dataclass(frozen=True, eq=False)
class Explanation:
    """A report with its maps: what the facade returns and what the store keeps.

    prior, prior_packs: an earlier film that was read beside the current one, and the maps on it. text_sources: those
    that were asked for and are kept, the newest last. verdicts: of the selections that were judged, one for each
    method, image and tokens. reliance: of every word, once it was asked for.
    box_verdicts: of every box, once they were judged.
    """

    film: Film
    report: Report
    packs: Mapping[str, MapPack]
    provenance: Provenance
    trace: AttentionTrace | None = field(default=None, repr=False)
    prior: Film | None = None
    prior_packs: Mapping[str, MapPack] = field(default_factory=dict)
    text_sources: tuple[TextSources, ...] = ()
    verdicts: tuple[Faithfulness, ...] = ()
    reliance: Reliance | None = None
    box_verdicts: tuple[BoxVerdict, ...] = ()
