"""Findings come back out of every report that phantom can write, and out of MedGemma's prose."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medinterp.phantom.findings import NAMES, TUBE_LEVELS, ZONES
from medinterp.phantom.reports import Fact, write_report
from medinterp.report import parse_findings

SECTION_OF = {
    "DEVICES": ("tube", "pacemaker"),
    "LUNGS": ("nodule", "consolidation", "atelectasis"),
    "PLEURA": ("pleural effusion", "pneumothorax"),
    "HEART": ("cardiomegaly",),
    "BONES": ("rib fracture",),
}
SIZES = ("small", "moderate", "large")

Said = tuple[str | None, str, bool, str | None, str | None]


def said(text: str) -> list[Said]:
    """(section, name, present, side, zone) of every mention, in order."""
    return [(f.section, f.name, f.present, f.side, f.zone) for f in parse_findings(text)]


def true_of(facts: list[Fact], text: str) -> list[Said]:
    """What the report of these facts says, by how reports are built and not by parsing."""
    body: list[Said] = []
    impression: list[Said] = []
    for section, names in SECTION_OF.items():
        denied: list[Said] = []
        for name in names:
            mine = [fact for fact in facts if fact.name == name]
            if mine:
                side = "bilateral" if len(mine) == 2 else mine[0].side
                zones = {fact.zone for fact in mine}
                body.append((section, name, True, side, zones.pop() if len(zones) == 1 else None))
                impression.append(("IMPRESSION", name, True, side, mine[0].zone if len(mine) == 1 else None))
            elif "Heart size is normal" not in text or name != "cardiomegaly":
                denied.append((section, name, False, None, None))
        body += denied
        if section == "HEART" and "not widened" in text:
            body.append(("MEDIASTINUM", "mediastinal widening", False, None, None))
    return body + impression


def random_facts(rng: np.random.Generator) -> list[Fact]:
    """A set of facts as films have them, and larger ones."""
    facts = []
    share = rng.choice([0.15, 0.4, 0.9])
    for name in NAMES:
        if rng.random() > share:
            continue
        sides: list[str | None] = [str(rng.choice(["left", "right"]))]
        if name in ("pleural effusion", "consolidation") and rng.random() < 0.4:
            sides = ["right", "left"]
        if name in ("tube", "cardiomegaly"):
            sides = [None]
        for side in sides:
            zone = None
            if name in ("nodule", "consolidation", "atelectasis", "rib fracture"):
                zone = str(rng.choice(ZONES))
            elif name == "pneumothorax":
                zone = "apical"
            elif name == "tube":
                zone = str(rng.choice(TUBE_LEVELS))
            facts.append(Fact(name, side, zone, str(rng.choice(SIZES))))
    return facts


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=800, deadline=None)
def test_every_phrase_of_phantom_comes_back_as_its_facts(seed: int) -> None:
    rng = np.random.default_rng(seed)
    facts = random_facts(rng)
    text = write_report(facts, rng)
    assert said(text) == true_of(facts, text), text
    assert said(text.replace("\n", " ")) == true_of(facts, text), text


def test_every_single_fact_in_every_phrasing() -> None:
    """Nothing is left to chance: all names, sides and zones, with twenty draws of the phrasing each."""
    for name in NAMES:
        sides = (None,) if name in ("tube", "cardiomegaly") else ("left", "right")
        zones: tuple[str | None, ...] = (None,)
        if name in ("nodule", "consolidation", "atelectasis", "rib fracture"):
            zones = ZONES
        elif name == "pneumothorax":
            zones = ("apical",)
        elif name == "tube":
            zones = TUBE_LEVELS
        for side in sides:
            for zone in zones:
                for size in SIZES:
                    texts = {write_report([Fact(name, side, zone, size)], np.random.default_rng(k)) for k in range(20)}
                    assert len(texts) > 1
                    for text in texts:
                        assert said(text) == true_of([Fact(name, side, zone, size)], text), text


MEDGEMMA = """Based on the provided chest X-ray, here is a structured report:

**DEVICES:** An endotracheal tube is in place with its tip in the mid trachea. A left-sided pacemaker is noted with \
leads in the right atrium and right ventricle.
**LUNGS:** There is a patchy opacity in the right lower lobe, which may represent pneumonia. No pulmonary nodules or \
masses are identified.
**PLEURA:** Small bilateral pleural effusions, left greater than right. No evidence of pneumothorax.
**HEART:** The cardiac silhouette is mildly enlarged.
**MEDIASTINUM:** The mediastinum is within normal limits.
**BONES:** There is no acute fracture. Old healed left rib fractures are noted.

**IMPRESSION:**
1.  Cardiomegaly with small bilateral pleural effusions.
2.  Right lower lobe opacity, possibly pneumonia.
"""


def test_medgemmas_structured_prose() -> None:
    assert said(MEDGEMMA) == [
        ("DEVICES", "tube", True, None, "mid"),
        ("DEVICES", "pacemaker", True, "left", None),
        ("LUNGS", "consolidation", True, "right", "lower"),
        ("LUNGS", "pneumonia", True, None, None),
        ("LUNGS", "nodule", False, None, None),
        ("LUNGS", "nodule", False, None, None),
        ("PLEURA", "pleural effusion", True, "bilateral", None),
        ("PLEURA", "pneumothorax", False, None, None),
        ("HEART", "cardiomegaly", True, None, None),
        ("BONES", "fracture", False, None, None),
        ("BONES", "rib fracture", True, "left", None),
        ("IMPRESSION", "cardiomegaly", True, None, None),
        ("IMPRESSION", "pleural effusion", True, "bilateral", None),
        ("IMPRESSION", "consolidation", True, "right", "lower"),
        ("IMPRESSION", "pneumonia", True, None, None),
    ]


def test_medgemmas_list_of_findings() -> None:
    text = (
        "**Findings:**\n\n* **Lungs:** Clear. No focal consolidation, pneumothorax, or pleural effusion.\n"
        "* **Heart:** The heart size is normal.\n* **Bones:** No acute bony abnormalities are seen.\n\n"
        "**Impression:**\n\nNo acute cardiopulmonary process."
    )
    assert said(text) == [
        ("Lungs", "consolidation", False, None, None),
        ("Lungs", "pneumothorax", False, None, None),
        ("Lungs", "pleural effusion", False, None, None),
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The heart is not enlarged.", [("cardiomegaly", False, None, None)]),
        ("No cardiac enlargement.", [("cardiomegaly", False, None, None)]),
        ("Cardiac enlargement is seen.", [("cardiomegaly", True, None, None)]),
        ("The heart is enlarged.", [("cardiomegaly", True, None, None)]),
        ("The left pneumothorax has resolved.", [("pneumothorax", False, "left", None)]),
        ("Right apical pneumothorax is no longer seen.", [("pneumothorax", False, "right", "apical")]),
        (
            "The lungs are free of consolidation, effusion, or pneumothorax.",
            [(name, False, None, None) for name in ("consolidation", "pleural effusion", "pneumothorax")],
        ),
        (
            "Neither pneumothorax nor effusion is seen.",
            [("pneumothorax", False, None, None), ("pleural effusion", False, None, None)],
        ),
        (
            "Consolidation in the left lower lobe but no effusion.",
            [("consolidation", True, "left", "lower"), ("pleural effusion", False, None, None)],
        ),
        (
            "No left effusion. Right pneumothorax is small.",
            [("pleural effusion", False, "left", None), ("pneumothorax", True, "right", None)],
        ),
        ("No change in the moderate left pleural effusion.", [("pleural effusion", True, "left", None)]),
        ("Pulmonary edema cannot be excluded.", [("edema", True, None, None)]),
        (
            "A new moderate right pleural effusion with adjacent atelectasis.",
            [("pleural effusion", True, "right", None), ("atelectasis", True, "right", None)],
        ),
        (
            "Lungs are hyperinflated without focal consolidation.",
            [("hyperinflation", True, None, None), ("consolidation", False, None, None)],
        ),
        (
            "Pneumothorax: None. Effusion: small left.",
            [("pneumothorax", False, None, None), ("pleural effusion", True, "left", None)],
        ),
        ("Interval removal of the endotracheal tube.", [("tube", False, None, None)]),
        ("The ET tube tip is high, 7 cm above the carina.", [("tube", True, None, "high")]),
        ("Endotracheal tube in place. Its tip is low.", [("tube", True, None, "low")]),
        ("Consolidation in the left and right lower zones.", [("consolidation", True, "bilateral", "lower")]),
        (
            "Bilateral consolidation, small in the right upper zone and large in the left lower zone.",
            [("consolidation", True, "bilateral", None)],
        ),
        ("Nodule in the right mid-lung zone.", [("nodule", True, "right", "mid")]),
        ("The left lung is clear. No nodule on the right.", [("nodule", False, "right", None)]),
        ("A 2 cm mass projects\nover the left upper lobe.", [("nodule", True, "left", "upper")]),
        ("Nasogastric tube in the stomach.", [("nasogastric tube", True, None, None)]),
        # What stands before a comma is not denied by what is denied behind it.
        (
            "Small left pleural effusion, no pneumothorax.",
            [("pleural effusion", True, "left", None), ("pneumothorax", False, None, None)],
        ),
        ("Cardiomegaly, no edema.", [("cardiomegaly", True, None, None), ("edema", False, None, None)]),
        (
            "Large right pneumothorax, no midline shift.",
            [("pneumothorax", True, "right", None)],
        ),
        (
            "Consolidation, no effusion, no pneumothorax.",
            [
                ("consolidation", True, None, None),
                ("pleural effusion", False, None, None),
                ("pneumothorax", False, None, None),
            ],
        ),
        (
            "Pneumothorax: no. Effusion: none.",
            [("pneumothorax", False, None, None), ("pleural effusion", False, None, None)],
        ),
        ("Pneumothorax, none.", [("pneumothorax", False, None, None)]),
        ("Pneumothorax, no.", [("pneumothorax", False, None, None)]),
        # What a denied sign would suggest is denied with it.
        (
            "There is no opacity to suggest pneumonia.",
            [("consolidation", False, None, None), ("pneumonia", False, None, None)],
        ),
        (
            "No focal opacity suggestive of pneumonia.",
            [("consolidation", False, None, None), ("pneumonia", False, None, None)],
        ),
        (
            "No consolidation consistent with pneumonia.",
            [("consolidation", False, None, None), ("pneumonia", False, None, None)],
        ),
        ("No findings suggesting edema.", [("edema", False, None, None)]),
        (
            "No effusion, findings suggest edema.",
            [("pleural effusion", False, None, None), ("edema", True, None, None)],
        ),
        # Contractions.
        ("There isn't an effusion.", [("pleural effusion", False, None, None)]),
        ("I don't see a pneumothorax.", [("pneumothorax", False, None, None)]),
        ("The film doesn’t show consolidation.", [("consolidation", False, None, None)]),
        ("Pneumothorax isn't seen.", [("pneumothorax", False, None, None)]),
        ("The pneumothorax hasn't resolved.", [("pneumothorax", True, None, None)]),
        ("The effusion has not cleared.", [("pleural effusion", True, None, None)]),
        ("I can't rule out a small pneumothorax.", [("pneumothorax", True, None, None)]),
        # How far a denial reaches.
        ("No edema with bilateral tiny nodules.", [("edema", False, None, None), ("nodule", True, "bilateral", None)]),
        (
            "No effusion seen, dense nodule in the left lung.",
            [("pleural effusion", False, None, None), ("nodule", True, "left", None)],
        ),
        (
            "No pneumothorax the heart is enlarged",
            [("pneumothorax", False, None, None), ("cardiomegaly", True, None, None)],
        ),
        ("No edema, large effusion.", [("edema", False, None, None), ("pleural effusion", True, None, None)]),
        (
            "No consolidation, large effusion or pneumothorax.",
            [(name, False, None, None) for name in ("consolidation", "pleural effusion", "pneumothorax")],
        ),
        (
            "No effusion is seen, nor is there a pneumothorax.",
            [("pleural effusion", False, None, None), ("pneumothorax", False, None, None)],
        ),
    ],
)
def test_prose(text: str, expected: list[tuple[str, bool, str | None, str | None]]) -> None:
    assert [mention[1:] for mention in said(text)] == expected


def test_a_finding_names_its_words_and_its_place() -> None:
    text = "LUNGS: No nodule. A small nodule is seen. The heart is not enlarged."
    first, second, heart = parse_findings(text)
    assert [finding.index for finding in (first, second, heart)] == [0, 1, 2]
    assert text[first.start : first.end] == text[second.start : second.end] == "nodule"
    assert first.start < second.start
    assert first.word_indices == (2,)
    assert second.word_indices == (5,)
    assert heart.word_indices == (9, 12)


WORDS = ["no", "left", "right", "heart", "is", "enlarged", "nodule", "tube", "tip", "low", "and", "but", "LUNGS:"]


@given(st.lists(st.sampled_from([*WORDS, ".", ",", ";", "\n", "**"]), max_size=25))
@settings(deadline=None)
def test_whatever_the_text_every_name_is_found_once_and_in_order(words: list[str]) -> None:
    text = " ".join(words)
    findings = parse_findings(text)
    assert [finding.start for finding in findings] == sorted({finding.start for finding in findings})
    assert sum(finding.name == "nodule" for finding in findings) == words.count("nodule")
    assert sum("tube" in text[finding.start : finding.end] for finding in findings) == words.count("tube")
    assert all(finding.side in (None, "left", "right", "bilateral") for finding in findings)
