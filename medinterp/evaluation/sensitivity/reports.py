"""The whole report of a film and of the film slightly changed: which findings change."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from medinterp.errors import PromptError
from medinterp.evaluation.sensitivity.answers import mirrored
from medinterp.evaluation.sensitivity.maps import map_shifts, maps_of, needs_layers, packs_of
from medinterp.evaluation.sensitivity.margins import forced_logprobs
from medinterp.evaluation.sensitivity.results import (
    Change,
    FindingChange,
    MapShift,
    ReportComparison,
    ReportVariant,
    Said,
)
from medinterp.imaging.perturb import PERTURBATIONS, Perturbation
from medinterp.report import is_impression
from medinterp.types import Asked, Film, Finding, Float32Array, MapPack, Report

if TYPE_CHECKING:
    from medinterp.model import Generator


_Told = tuple[Said, Finding]
_Place = tuple[str | None, frozenset[str]]


@dataclass(frozen=True, eq=False)
class _Reading:
    asked: Asked
    report: Report
    packs: Mapping[str, MapPack]

    def findings(self, *, mirrored_film: bool = False) -> dict[str, list[_Told]]:
        """By name what the report affirms or hedges, each place once; told outside the impression, or in it alone.

        A place that is both affirmed and hedged is affirmed. mirrored_film: sides are exchanged back.
        """
        told = [finding for finding in self.report.findings if finding.status != "absent"]
        outside = {finding.name for finding in told if not is_impression(finding.section)}
        found: dict[str, dict[_Place, _Told]] = {}
        for finding in told:
            if is_impression(finding.section) and finding.name in outside:
                continue
            said, others = _said(finding, mirrored_film=mirrored_film), found.setdefault(finding.name, {})
            if _place(said) not in others or (said.status, others[_place(said)][0].status) == ("present", "uncertain"):
                others[_place(said)] = said, finding
        return {name: list(places.values()) for name, places in found.items()}

    def tokens(self, finding: Finding) -> tuple[int, ...]:
        """The tokens that name a finding."""
        words = (self.report.words[index] for index in finding.word_indices)
        return tuple(sorted({token for word in words for token in word.token_indices}))


def compare_reports(
    generator: Generator,
    film: Film,
    *,
    prompt: Asked | None = None,
    methods: Sequence[str] = (),
    perturbations: Sequence[Perturbation] = tuple(PERTURBATIONS.values()),
    seed: int = 0,
    max_new_tokens: int = 512,
    progress: Callable[[int], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> ReportComparison:
    """Have the report written of the film and of each changed film, and compare finding by finding.

    prompt: None for the model's own. A finding is a name, side and zones that the report affirms or hedges, outside the
    impression where it does so there; of one name, those of one place are the same, and of the others the first moved
    to the first, and so on. Maps are those of the words that name it, each from its own report, moved back to the film.

    progress gets 1 for each report, 1 + len(perturbations) in all. Raises PromptError (also when nothing was
    written), RequestTooLargeError, GenerationCancelled, and before the model is asked UnknownMethodError.
    """
    layers = needs_layers(methods)
    side = generator.loaded.facts.image_size

    def read(picture: Film, asked: Asked | None) -> _Reading:
        generation = generator.generate(
            [picture], asked, max_new_tokens=max_new_tokens, layer_attention=layers, cancelled=cancelled
        )
        rendered = generation.trace.provenance.asked
        packs = packs_of(generator, picture, rendered, generation, methods, cancelled)
        if progress is not None:
            progress(1)
        return _Reading(rendered, generation.report, packs)

    first = read(film, prompt)
    if not first.report.tokens:
        raise PromptError("the model wrote no report of this film; ask with another prompt")
    ids = [token.token_id for token in first.report.tokens]
    turned = mirrored(first.asked) if isinstance(first.asked, str) else first.asked.reworded(mirrored)
    unchanged = forced_logprobs(generator.loaded, film, first.asked, ids)
    variants = []
    for change in perturbations:
        picture = change.apply(film, seed=seed, side=side)
        reading = read(picture, turned if change.mirrors else first.asked)
        gained = None
        if not change.mirrors:
            gained = forced_logprobs(generator.loaded, picture, first.asked, ids) - unchanged
        findings = _changes(first, reading, change, gained, methods)
        changed = any(one.change != "same" for one in findings)
        variants.append(ReportVariant(change.name, reading.report.text, changed, findings))
    return ReportComparison(
        film_sha256=film.sha256,
        model_id=generator.loaded.model_id,
        model_revision=generator.loaded.revision,
        seed=seed,
        max_new_tokens=max_new_tokens,
        methods=tuple(methods),
        perturbations=tuple(change.name for change in perturbations),
        prompt=first.asked if isinstance(first.asked, str) else first.asked.text,
        report=first.report.text,
        variants=tuple(variants),
    )


def _changes(
    first: _Reading,
    reading: _Reading,
    perturbation: Perturbation,
    gained: Float32Array | None,
    methods: Sequence[str],
) -> tuple[FindingChange, ...]:
    """Findings of either report; gained: what log p of the first report's tokens gains, float32 [T]."""
    here, there = first.findings(), reading.findings(mirrored_film=perturbation.mirrors)
    changes = []
    for name in [*here, *(name for name in there if name not in here)]:
        for one, two in _pairs(here.get(name, []), there.get(name, [])):
            before, after = (None if told is None else told[0] for told in (one, two))
            change = _change(before, after)
            logprob_change: float | None = None
            shifts: tuple[MapShift, ...] = ()
            if one is not None and gained is not None:
                logprob_change = math.fsum(float(gained[token]) for token in first.tokens(one[1]))
            if one is not None and two is not None:
                maps = maps_of(first.packs, first.tokens(one[1])), maps_of(reading.packs, reading.tokens(two[1]))
                shifts = map_shifts(methods, *maps, perturbation, other_answer=change != "same")
            changes.append(FindingChange(name, before, after, change, logprob_change, shifts))
    return tuple(changes)


def _said(finding: Finding, *, mirrored_film: bool) -> Said:
    side = mirrored(finding.side) if mirrored_film and finding.side is not None else finding.side
    return Said("present" if finding.present else "uncertain", side, finding.zones)


def _place(said: Said) -> _Place:
    return said.side, frozenset(said.zones)


def _pairs(here: Sequence[_Told], there: Sequence[_Told]) -> list[tuple[_Told | None, _Told | None]]:
    """Each finding of one name with the one that it became: those of one place first, the others in their order."""
    places = {_place(said) for said, _ in here}
    stayed = {_place(told[0]): told for told in there if _place(told[0]) in places}
    others = iter([told for told in there if _place(told[0]) not in stayed])
    pairs: list[tuple[_Told | None, _Told | None]] = [
        (told, stayed[_place(told[0])] if _place(told[0]) in stayed else next(others, None)) for told in here
    ]
    return pairs + [(None, told) for told in others]


def _change(before: Said | None, after: Said | None) -> Change:
    if after is None:
        return "gone"
    if before is None:
        return "new"
    if _place(before) != _place(after):
        return "moved"
    if before.status == after.status:
        return "same"
    return "hedged" if before.status == "present" else "affirmed"
