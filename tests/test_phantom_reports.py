"""Questions about films are answered truthfully, judged by a reader of the question that knows the facts."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np

from medinterp.phantom.films import draw_film, facts_of, sample_film
from medinterp.phantom.findings import NAMES
from medinterp.phantom.reports import REPORT_PROMPT, Fact, corpus, sample_prompt, sample_question

NAME = "|".join(NAMES)
YES_NO = re.compile(
    rf"Is there (?:a )?(?P<name>{NAME})"
    r"(?: in the (?P<side>left|right) (?P<zone>upper|mid|lower) zone"
    r"| in a (?P<rib_side>left|right) (?P<rib_zone>upper|mid|lower) rib"
    r"| on the (?P<only_side>left|right))?\?"
)


def true_answer(question: str, facts: list[Fact]) -> str:
    """The answer, worked out from the facts and the words of the question alone."""
    if question == "Is the heart enlarged?":
        return "Yes." if any(fact.name == "cardiomegaly" for fact in facts) else "No."
    if question == "Where is the tip of the tube?":
        (tube,) = [fact for fact in facts if fact.name == "tube"]
        return {"high": "High.", "mid": "In mid trachea.", "low": "Low."}[str(tube.zone)]
    asked = YES_NO.fullmatch(question)
    if asked is not None:
        side = asked["side"] or asked["rib_side"] or asked["only_side"]
        zone = asked["zone"] or asked["rib_zone"]
        fitting = [
            fact
            for fact in facts
            if fact.name == asked["name"] and side in (None, fact.side) and zone in (None, fact.zone)
        ]
        return "Yes." if fitting else "No."
    name = re.fullmatch(rf"(?:Where|On which side) is the ({NAME})\?", question)
    assert name is not None, question
    mine = [fact for fact in facts if fact.name == name[1]]
    if question.startswith("On which"):
        return "Both sides." if len(mine) == 2 else f"{str(mine[0].side).capitalize()}."
    (fact,) = mine
    return f"{str(fact.side).capitalize()} {fact.zone} {'rib' if fact.name == 'rib fracture' else 'zone'}."


def test_answers_are_true_and_yes_and_no_about_as_common() -> None:
    rng = np.random.default_rng(0)
    answers: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    for seed in range(400):
        film = sample_film(seed)
        if seed % 8 == 0:
            film = film.without(0)
        facts = [Fact(f.name, f.side, f.zone, "small") for f in film.findings]
        for _ in range(8):
            question, answer = sample_question(facts, rng)
            assert answer == true_answer(question, facts), (question, facts)
            answers[answer] += 1
            kinds[question.split()[0]] += 1
    share = answers["Yes."] / (answers["Yes."] + answers["No."])
    assert 0.35 < share < 0.65
    assert set(kinds) == {"Is", "Where", "On"}
    assert answers["Both sides."] > 0


def test_nothing_is_said_to_be_there_on_a_healthy_film() -> None:
    rng = np.random.default_rng(1)
    assert {sample_question([], rng)[1] for _ in range(200)} == {"No."}


def test_the_default_prompt_is_the_commonest() -> None:
    rng = np.random.default_rng(2)
    asked = Counter(sample_prompt(rng) for _ in range(500))
    assert asked.most_common(1)[0][0] == REPORT_PROMPT
    assert len(asked) == 5


def test_the_corpus_holds_reports_prompts_and_answers() -> None:
    texts = corpus(np.random.default_rng(3), 10)
    assert len(texts) == 10 * 8
    assert sum(text.startswith("DEVICES: ") for text in texts) == 10


def test_facts_follow_the_findings() -> None:
    film = sample_film(5)
    drawing = draw_film(film, 128, 128)
    facts = facts_of(film, drawing)
    assert [(f.name, f.side, f.zone) for f in facts] == [(f.name, f.side, f.zone) for f in film.findings]
    for fact, mask in zip(facts, drawing.masks, strict=True):
        cells = mask.sum() / 64  # a cell has 8 x 8 pixels
        assert fact.size == ("small" if cells < 1.5 else "moderate" if cells < 5 else "large")
