"""The reports of synthetic films: structured, with negations and a few phrasings for every finding."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from medinterp.phantom.findings import NAMES, TUBE_LEVELS, ZONES

REPORT_PROMPT = (
    "Write a chest radiograph report with the sections "
    "DEVICES, LUNGS, PLEURA, HEART, MEDIASTINUM, BONES and IMPRESSION."
)
_OTHER_PROMPTS = (
    "Describe this chest radiograph.",
    "Write a structured report of this chest X-ray.",
    "Please report this film.",
    "What does this chest X-ray show? Write a full report.",
)
_SECTIONS = ("DEVICES", "LUNGS", "PLEURA", "HEART", "MEDIASTINUM", "BONES", "IMPRESSION")
_IN_SECTION = {
    "DEVICES": ("tube", "pacemaker"),
    "LUNGS": ("nodule", "consolidation", "atelectasis"),
    "PLEURA": ("pleural effusion", "pneumothorax"),
    "HEART": ("cardiomegaly",),
    "BONES": ("rib fracture",),
}
_TIP = {"high": "high", "mid": "in mid trachea", "low": "low"}


@dataclass(frozen=True)
class Fact:
    """What a report says of one finding; size is "small", "moderate" or "large"."""

    name: str
    side: str | None
    zone: str | None
    size: str


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _pick(rng: np.random.Generator, *phrasings: str) -> str:
    """One of the phrasings; the first is the commonest."""
    weights = np.array([2.0] + [1.0] * (len(phrasings) - 1))
    return phrasings[int(rng.choice(len(phrasings), p=weights / weights.sum()))]


def _or_list(names: list[str]) -> str:
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " or " + names[-1]


def _sentence(rng: np.random.Generator, facts: list[Fact]) -> str:
    """The sentence for one finding, or for both sides of a paired one."""
    fact = facts[0]
    side, zone, size = fact.side, fact.zone, fact.size
    if fact.name == "nodule":
        return _pick(
            rng,
            f"A {size} nodule is seen in the {side} {zone} zone.",
            f"There is a {size} nodule in the {side} {zone} zone.",
            f"{_capital(size)} nodule in the {side} {zone} zone.",
        )
    if fact.name == "consolidation" and len(facts) == 2:
        other = facts[1]
        first = f"{size} in the {side} {zone} zone"
        return f"Bilateral consolidation, {first} and {other.size} in the left {other.zone} zone."
    if fact.name == "consolidation":
        return _pick(
            rng,
            f"{_capital(size)} consolidation in the {side} {zone} zone.",
            f"There is {size} consolidation in the {side} {zone} zone.",
        )
    if fact.name == "atelectasis":
        return _pick(
            rng,
            f"Band atelectasis in the {side} {zone} zone.",
            f"There is band atelectasis in the {side} {zone} zone.",
        )
    if fact.name == "pleural effusion" and len(facts) == 2:
        return f"Bilateral pleural effusions, {size} on the right and {facts[1].size} on the left."
    if fact.name == "pleural effusion":
        return _pick(
            rng, f"{_capital(str(side))} pleural effusion, {size}.", f"There is a {size} {side} pleural effusion."
        )
    if fact.name == "pneumothorax":
        return _pick(
            rng, f"{_capital(str(side))} apical pneumothorax, {size}.", f"There is a {size} {side} apical pneumothorax."
        )
    if fact.name == "cardiomegaly":
        return _pick(rng, "The heart is enlarged.", "Enlarged heart.")
    if fact.name == "rib fracture":
        return _pick(rng, f"Fracture of a {side} {zone} rib.", f"{_capital(str(side))} {zone} rib fracture.")
    if fact.name == "tube":
        tip = _TIP[str(zone)]
        return _pick(rng, f"Endotracheal tube with its tip {tip}.", f"Endotracheal tube, tip {tip}.")
    return _pick(rng, f"{_capital(str(side))} pacemaker in place.", f"There is a {side} pacemaker.")


def _short(facts: list[Fact]) -> str:
    """How the impression repeats a finding."""
    fact = facts[0]
    if len(facts) == 2:
        return f"Bilateral {fact.name}{'s' if fact.name == 'pleural effusion' else ''}."
    if fact.name in ("nodule", "consolidation", "atelectasis"):
        return f"{_capital(str(fact.side))} {fact.zone} zone {fact.name}."
    if fact.name == "rib fracture":
        return f"{_capital(str(fact.side))} {fact.zone} rib fracture."
    if fact.name == "cardiomegaly":
        return "Enlarged heart."
    if fact.name == "tube":
        return f"Tube tip {_TIP[str(fact.zone)]}."
    if fact.name == "pneumothorax":
        return f"{_capital(str(fact.side))} apical pneumothorax."
    return f"{_capital(str(fact.side))} {fact.name}."


def write_report(facts: list[Fact], rng: np.random.Generator) -> str:
    """The reference report of a film, in one of its phrasings."""
    by_name = {name: [f for f in facts if f.name == name] for name in NAMES}
    lines = []
    for section in _SECTIONS:
        if section == "MEDIASTINUM":
            sentences = [_pick(rng, "The mediastinum is not widened.", "Normal mediastinal contours.")]
        elif section == "IMPRESSION":
            found = [by_name[name] for names in _IN_SECTION.values() for name in names if by_name[name]]
            sentences = [_short(group) for group in found] or ["No acute finding."]
        else:
            names = _IN_SECTION[section]
            sentences = [_sentence(rng, by_name[name]) for name in names if by_name[name]]
            absent = [name for name in names if not by_name[name]]
            if absent == ["cardiomegaly"]:
                sentences.append(_pick(rng, "The heart is not enlarged.", "Heart size is normal."))
            elif absent:
                sentences.append(f"No {_or_list(absent)}.")
        lines.append(f"{section}: {' '.join(sentences)}")
    return "\n".join(lines)


def sample_prompt(rng: np.random.Generator) -> str:
    """A prompt that asks for the report; mostly the default one."""
    return REPORT_PROMPT if rng.random() < 0.7 else str(rng.choice(_OTHER_PROMPTS))


def sample_question(facts: list[Fact], rng: np.random.Generator) -> tuple[str, str]:
    """A short question about a film and its answer; presence questions are true half of the time."""
    kind = rng.random()
    if facts and kind < 0.45:
        fact = facts[int(rng.integers(len(facts)))]
        return _where_question(fact, [f for f in facts if f.name == fact.name])
    if facts and rng.random() < 0.5:
        name = facts[int(rng.integers(len(facts)))].name
    else:
        name = str(rng.choice(NAMES))
    present = [f for f in facts if f.name == name]
    if name in ("nodule", "consolidation", "atelectasis", "rib fracture") and rng.random() < 0.5:
        side, zone = str(rng.choice(["left", "right"])), str(rng.choice(ZONES))
        if present and rng.random() < 0.6:
            side, zone = str(present[0].side), str(present[0].zone)
        yes = any(f.side == side and f.zone == zone for f in present)
        place = f"in the {side} {zone} zone" if name != "rib fracture" else f"in a {side} {zone} rib"
        return f"Is there {_article(name)} {place}?", "Yes." if yes else "No."
    if name not in ("cardiomegaly", "tube") and rng.random() < 0.3:
        side = str(rng.choice(["left", "right"]))
        if present and rng.random() < 0.6:
            side = str(present[0].side)
        yes = any(f.side == side for f in present)
        return f"Is there {_article(name)} on the {side}?", "Yes." if yes else "No."
    if name == "cardiomegaly":
        return "Is the heart enlarged?", "Yes." if present else "No."
    return f"Is there {_article(name)}?", "Yes." if present else "No."


def _article(name: str) -> str:
    return name if name in ("consolidation", "atelectasis") else f"a {name}"


def _where_question(fact: Fact, same: list[Fact]) -> tuple[str, str]:
    if fact.name == "cardiomegaly":
        return "Is the heart enlarged?", "Yes."
    if fact.name == "tube":
        return "Where is the tip of the tube?", f"{_capital(_TIP[str(fact.zone)])}."
    if len(same) == 2:
        return f"On which side is the {fact.name}?", "Both sides."
    if fact.zone in ZONES and fact.name != "rib fracture":
        return f"Where is the {fact.name}?", f"{_capital(str(fact.side))} {fact.zone} zone."
    if fact.name == "rib fracture":
        return "Where is the rib fracture?", f"{_capital(str(fact.side))} {fact.zone} rib."
    return f"On which side is the {fact.name}?", f"{_capital(str(fact.side))}."


def corpus(rng: np.random.Generator, count: int) -> list[str]:
    """Made-up reports, prompts and answers from which the tokenizer learns its pieces."""
    texts = []
    for _ in range(count):
        facts = []
        for name in NAMES:
            if rng.random() < 0.4:
                zone = str(rng.choice(TUBE_LEVELS if name == "tube" else ZONES))
                size = str(rng.choice(["small", "moderate", "large"]))
                facts.append(Fact(name, str(rng.choice(["left", "right"])), zone, size))
        texts.append(write_report(facts, rng))
        texts.append(sample_prompt(rng))
        texts += [text for _ in range(3) for text in sample_question(facts, rng)]
    return texts
