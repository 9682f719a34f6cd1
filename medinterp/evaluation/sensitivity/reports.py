"""The whole report of a film and of the film slightly changed: which findings change."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from medinterp.errors import PromptError
from medinterp.evaluation.sensitivity.answers import mirrored
from medinterp.evaluation.sensitivity.maps import map_shifts, maps_of, needs_layers, packs_of
from medinterp.evaluation.sensitivity.margins import forced_logprobs
from medinterp.evaluation.sensitivity.results import FindingChange, MapShift, ReportComparison, ReportVariant, Said
from medinterp.imaging.perturb import PERTURBATIONS, Perturbation
from medinterp.types import Film, Finding, Float32Array, MapPack, Report

if TYPE_CHECKING:
    from medinterp.model import Generator


@dataclass(frozen=True, eq=False)
class _Reading:
    prompt: str
    report: Report
    packs: Mapping[str, MapPack]

    @property
    def findings(self) -> dict[str, Finding]:
        """The first affirmed mention of each finding: the sections come before the impression."""
        found: dict[str, Finding] = {}
        for finding in self.report.findings:
            if finding.present:
                found.setdefault(finding.name, finding)
        return found

    def tokens(self, finding: Finding) -> tuple[int, ...]:
        """The tokens that name a finding."""
        words = (self.report.words[index] for index in finding.word_indices)
        return tuple(sorted({token for word in words for token in word.token_indices}))


def compare_reports(
    generator: Generator,
    film: Film,
    *,
    prompt: str | None = None,
    methods: Sequence[str] = (),
    perturbations: Sequence[Perturbation] = tuple(PERTURBATIONS.values()),
    seed: int = 0,
    max_new_tokens: int = 512,
    progress: Callable[[int], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> ReportComparison:
    """Have the report written of the film and of each changed film, and compare finding by finding.

    prompt: None for the model's own. A finding is what the report affirms anywhere; of several mentions of one name
    the first counts. Maps are those of the words that name it, each from its own report, moved back to the film.

    progress gets 1 for each report, 1 + len(perturbations) in all. Raises PromptError (also when nothing was
    written), RequestTooLargeError, GenerationCancelled, and before the model is asked UnknownMethodError.
    """
    layers = needs_layers(methods)
    side = generator.loaded.facts.image_size

    def read(picture: Film, asked: str | None) -> _Reading:
        generation = generator.generate(
            [picture], asked, max_new_tokens=max_new_tokens, layer_attention=layers, cancelled=cancelled
        )
        rendered = generation.trace.provenance.prompt
        packs = packs_of(generator, picture, rendered, generation, methods, cancelled)
        if progress is not None:
            progress(1)
        return _Reading(rendered, generation.report, packs)

    first = read(film, prompt)
    if not first.report.tokens:
        raise PromptError("the model wrote no report of this film; ask with another prompt")
    ids = [token.token_id for token in first.report.tokens]
    unchanged = forced_logprobs(generator.loaded, film, first.prompt, ids)
    variants = []
    for change in perturbations:
        picture = change.apply(film, seed=seed, side=side)
        reading = read(picture, mirrored(first.prompt) if change.mirrors else first.prompt)
        gained = None
        if not change.mirrors:
            gained = forced_logprobs(generator.loaded, picture, first.prompt, ids) - unchanged
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
        prompt=first.prompt,
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
    here, there = first.findings, reading.findings
    changes = []
    for name in [*here, *(name for name in there if name not in here)]:
        before, after = _said(here.get(name)), _said(there.get(name))
        if after is not None and perturbation.mirrors and after.side is not None:
            after = replace(after, side=mirrored(after.side))
        logprob_change: float | None = None
        shifts: tuple[MapShift, ...] = ()
        if name in here and gained is not None:
            logprob_change = math.fsum(float(gained[token]) for token in first.tokens(here[name]))
        if name in here and name in there:
            one = maps_of(first.packs, first.tokens(here[name]))
            two = maps_of(reading.packs, reading.tokens(there[name]))
            shifts = map_shifts(methods, one, two, perturbation, other_answer=before != after)
        changes.append(FindingChange(name, before, after, _kind(before, after), logprob_change, shifts))
    return tuple(changes)


def _kind(before: Said | None, after: Said | None) -> Literal["same", "moved", "gone", "new"]:
    if after is None:
        return "gone"
    if before is None:
        return "new"
    return "same" if before == after else "moved"


def _said(finding: Finding | None) -> Said | None:
    return None if finding is None else Said(finding.side, finding.zone)
