"""The relevancy deployment: turns the trace into maps and drops it."""

from __future__ import annotations

from medinterp.types import FilmWarning, Generation, MapPack, Provenance, Report


class RelevancyDeployment:
    """Stateless; numpy only, torch is never loaded."""

    def __init__(self) -> None:
        """Import what computes the maps."""
        from medinterp.relevancy import compute_maps

        self._compute_maps = compute_maps

    def explain(
        self, generation: Generation, methods: tuple[str, ...]
    ) -> tuple[Report, dict[str, MapPack], Provenance, tuple[FilmWarning, ...]]:
        """All requested maps of all tokens, and what the model finds doubtful about the film.

        The trace goes no further. Raises MethodError.
        """
        packs = self._compute_maps(generation.trace, methods, measured=generation.measured)
        return generation.report, packs, generation.trace.provenance, generation.warnings

    def ping(self) -> None:
        """Answer."""
