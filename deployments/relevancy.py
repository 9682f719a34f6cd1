"""The relevancy deployment: turns the trace into maps and drops it."""

from __future__ import annotations

from typing import NamedTuple

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

    def explain(
        self, generation: Generation, methods: tuple[str, ...]
    ) -> Explained:
        """All requested maps of all tokens on each film, and what the model finds doubtful about the films.

        The trace goes no further. Raises MethodError.
        """
        trace, measured = generation.trace, generation.measured
        films = len(spans_by_film(trace.image_spans))
        packs, on_prior = (
            self._compute_maps(trace, methods, image=image, measured=measured) if image < films else {}
            for image in (0, 1)
        )
        return Explained(
            generation.report, packs, trace.provenance, generation.warnings, on_prior, generation.prior_warnings
        )

    def ping(self) -> None:
        """Answer."""
