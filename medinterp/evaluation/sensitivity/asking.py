"""One question on one film: asked in other words, and asked of the film slightly changed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from medinterp.errors import PromptError
from medinterp.evaluation.sensitivity.answers import mirrored, same_answer, yes_no
from medinterp.evaluation.sensitivity.maps import Maps, map_shifts, maps_of, needs_layers, packs_of
from medinterp.evaluation.sensitivity.margins import decisive, forced_margins
from medinterp.evaluation.sensitivity.results import PARAPHRASE, Comparison, Margin, Variant
from medinterp.imaging.perturb import PERTURBATIONS, Perturbation
from medinterp.types import Film, Report

if TYPE_CHECKING:
    from medinterp.model import Generator

ANSWER_TOKENS = 64
"""Where an answer is cut off."""


@dataclass(frozen=True, eq=False)
class _Reading:
    text: str
    report: Report
    maps: Maps


def compare(
    generator: Generator,
    film: Film,
    questions: Sequence[str],
    *,
    methods: Sequence[str] = (),
    perturbations: Sequence[Perturbation] = tuple(PERTURBATIONS.values()),
    seed: int = 0,
    max_new_tokens: int = ANSWER_TOKENS,
    progress: Callable[[int], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Comparison:
    """Ask the first question on the film, its paraphrases (the others) on the film, and it again on changed films.

    Answers are greedy; seed is for the perturbations. On a mirrored film the question has left and right exchanged,
    and its answer is compared after exchanging them back: an unchanged answer has followed the picture.

    The margin is that of the first question's answer under each variant (results.Margin): teacher-forced, over the
    tokens that write yes or no where it is a yes-or-no answer, else over all its tokens and its end. Maps are those
    of the words of the answer (of yes or no alone), each from the variant's own reading, moved back to the film.

    progress gets 1 for each question that was asked, len(questions) + len(perturbations) in all. Raises PromptError
    (also when nothing was written in answer), RequestTooLargeError, GenerationCancelled, and before the model is
    asked UnknownMethodError.
    """
    if not questions:
        raise PromptError("there is no question to ask")
    layers = needs_layers(methods)
    side = generator.loaded.facts.image_size

    def read(picture: Film, question: str) -> _Reading:
        generation = generator.generate(
            [picture], question, max_new_tokens=max_new_tokens, layer_attention=layers, cancelled=cancelled
        )
        packs = packs_of(generator, picture, question, generation, methods, cancelled)
        report = generation.report
        reading = _Reading(report.text, report, maps_of(packs, _answering(report)))
        if progress is not None:
            progress(1)
        return reading

    first = read(film, questions[0])
    if not first.report.tokens:
        raise PromptError("the model wrote nothing in answer to the first question; ask in another way")
    margin = _margin(generator, film, questions[0], first, mirror=False)

    def variant(name: str, picture: Film, question: str, change: Perturbation | None) -> Variant:
        mirror = change is not None and change.mirrors
        asked = mirrored(question) if mirror else question
        reading = read(picture, asked)
        changed = not same_answer(first.text, mirrored(reading.text) if mirror else reading.text)
        its_margin = _margin(generator, picture, asked, first, mirror=mirror)
        shifts = map_shifts(methods, first.maps, reading.maps, change, other_answer=changed)
        return Variant(name, asked, reading.text, changed, its_margin, its_margin.nats - margin.nats, shifts)

    reworded = [variant(PARAPHRASE, film, question, None) for question in questions[1:]]
    perturbed = [
        variant(change.name, change.apply(film, seed=seed, side=side), questions[0], change) for change in perturbations
    ]
    held = [not one.changed for one in reworded]
    return Comparison(
        film_sha256=film.sha256,
        model_id=generator.loaded.model_id,
        model_revision=generator.loaded.revision,
        seed=seed,
        max_new_tokens=max_new_tokens,
        methods=tuple(methods),
        perturbations=tuple(change.name for change in perturbations),
        question=questions[0],
        answer=first.text,
        yes_no=yes_no(first.text) is not None,
        margin=margin,
        consistency=sum(held) / len(held) if held else None,
        variants=(*reworded, *perturbed),
    )


def _answering(report: Report) -> tuple[int, ...]:
    """The tokens that give the answer: those of yes or no, else of all words; none where there is no word."""
    thought = [(block.start, block.end) for block in report.thinking]
    words = [word for word in report.words if not any(start <= word.start < end for start, end in thought)]
    words = words[:1] if yes_no(report.text) else words
    return tuple(sorted({token for word in words for token in word.token_indices}))


def _margin(generator: Generator, film: Film, question: str, first: _Reading, *, mirror: bool) -> Margin:
    """The first answer's margin on this film and question, on a mirrored film with its sides exchanged."""
    ids = [token.token_id for token in first.report.tokens]
    if yes_no(first.text):
        deciding = _answering(first.report)
        margins = forced_margins(generator.loaded, film, question, ids[: deciding[-1] + 1], end=False)
        return decisive([margins[token] for token in deciding])
    turned = mirrored(first.text) if mirror else first.text
    if turned != first.text:
        ids = generator.loaded.processor.tokenizer(turned, add_special_tokens=False)["input_ids"]
    margins = forced_margins(generator.loaded, film, question, ids, end=first.report.complete)
    return decisive(margins)
