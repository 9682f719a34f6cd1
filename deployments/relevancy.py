"""The relevancy deployment: turns the trace into maps and drops it."""

from __future__ import annotations

from asyncio import to_thread
from typing import NamedTuple

from deployments.metrics import collected, join_ray_metrics
from medinterp import stages
from medinterp.api.health import UnderWay
from medinterp.api.metrics import Collected
from medinterp.types import FilmWarning, Generation, MapPack, Provenance, Report, spans_by_film


class Explained(NamedTuple):
    """An explanation without its films, and the model's doubts about them."""

    report: Report
    packs: dict[str, MapPack]
    provenance: Provenance
    doubts: tuple[FilmWarning, ...]
    prior_packs: dict[str, MapPack]
    prior_doubts: tuple[FilmWarning, ...]


class RelevancyDeployment:
    """Stateless; numpy only, torch is never loaded."""

    def __init__(self) -> None:
        """Import what computes the maps."""
        from medinterp.relevancy import compute_maps

        self._compute_maps = compute_maps
        self._under_way = UnderWay("maps")
        join_ray_metrics()

    def explain(
        self, generation: Generation, methods: tuple[str, ...]
    ) -> Explained:
        """All requested maps of all tokens on each film, and what the model finds doubtful about the films.

        The trace goes no further. Raises MethodError.
        """
        trace, measured = generation.trace, generation.measured
        films = len(spans_by_film(trace.image_spans))
        with self._under_way.one(), stages.stage("maps"):
            packs, on_prior = (
                self._compute_maps(trace, methods, image=image, measured=measured) if image < films else {}
                for image in (0, 1)
            )
        return Explained(
            generation.report, packs, trace.provenance, generation.warnings, on_prior, generation.prior_warnings
        )

    def ping(self) -> None:
        """Answer."""

    async def check_health(self) -> None:
        """Raise when the maps of a report have taken 5 minutes. At once."""
        self._under_way.check()

    async def metrics(self) -> Collected:
        """What this replica has counted."""
        return await to_thread(collected)
