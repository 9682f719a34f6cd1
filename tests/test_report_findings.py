"""Findings come back out of every report that phantom can write, of MedGemma's prose and of radiologists'."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.sr.codedict import codes

from medinterp.phantom.findings import NAMES, TUBE_LEVELS, ZONES
from medinterp.phantom.reports import Fact, write_report
from medinterp.report import parse_findings, read_report
from medinterp.report.lexicon import lexicon
from medinterp.report.phrases import PhraseTable
from medinterp.types import Finding

SECTION_OF = {
    "DEVICES": ("tube", "pacemaker"),
    "LUNGS": ("nodule", "consolidation", "atelectasis"),
    "PLEURA": ("pleural effusion", "pneumothorax"),
    "HEART": ("cardiomegaly",),
    "BONES": ("rib fracture",),
}
SIZES = ("small", "moderate", "large")

Said = tuple[str | None, str, str, str | None, tuple[str, ...]]


def named(text: str) -> list[Finding]:
    """The findings that are named themselves: not the absences of a normal statement, which share its span."""
    findings = parse_findings(text)
    spans = [(finding.start, finding.end) for finding in findings]
    denied = {(f.start, f.end) for f in findings if f.status == "absent" and "ormal" in text[f.start : f.end]}
    return [f for f in findings if spans.count((f.start, f.end)) == 1 and (f.start, f.end) not in denied]


def said(text: str) -> list[Said]:
    """(section, name, status, side, zones) of every finding that is named, in order."""
    return [(f.section, f.name, f.status, f.side, f.zones) for f in named(text)]


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
                body.append((section, name, "present", side, told_zones(name, mine)))
                impression.append(
                    ("IMPRESSION", name, "present", side, told_zones(name, mine) if len(mine) == 1 else ())
                )
            elif "Heart size is normal" not in text or name != "cardiomegaly":
                denied.append((section, name, "absent", None, ()))
        body += denied
        if section == "HEART" and "not widened" in text:
            body.append(("MEDIASTINUM", "mediastinal widening", "absent", None, ()))
    return body + impression


def told_zones(name: str, facts: list[Fact]) -> tuple[str, ...]:
    """The zones that a report tells of a finding, in the order that it tells them: the right before the left."""
    return tuple(dict.fromkeys(fact.zone for fact in facts if fact.zone is not None))


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
        ("DEVICES", "tube", "present", None, ("mid",)),
        ("DEVICES", "pacemaker", "present", "left", ()),
        ("LUNGS", "opacity", "present", "right", ("lower",)),
        ("LUNGS", "pneumonia", "uncertain", "right", ("lower",)),
        ("LUNGS", "nodule", "absent", None, ()),
        ("LUNGS", "nodule", "absent", None, ()),
        ("PLEURA", "pleural effusion", "present", "bilateral", ()),
        ("PLEURA", "pneumothorax", "absent", None, ()),
        ("HEART", "cardiomegaly", "present", None, ()),
        ("BONES", "fracture", "absent", None, ()),
        ("BONES", "rib fracture", "present", "left", ()),
        ("IMPRESSION", "cardiomegaly", "present", None, ()),
        ("IMPRESSION", "pleural effusion", "present", "bilateral", ()),
        ("IMPRESSION", "opacity", "present", "right", ("lower",)),
        ("IMPRESSION", "pneumonia", "uncertain", "right", ("lower",)),
    ]


def test_medgemmas_list_of_findings() -> None:
    text = (
        "**Findings:**\n\n* **Lungs:** Clear. No focal consolidation, pneumothorax, or pleural effusion.\n"
        "* **Heart:** The heart size is normal.\n* **Bones:** No acute bony abnormalities are seen.\n\n"
        "**Impression:**\n\nNo acute cardiopulmonary process."
    )
    report = read_report(text)
    assert said(text) == [
        ("Lungs", "consolidation", "absent", None, ()),
        ("Lungs", "pneumothorax", "absent", None, ()),
        ("Lungs", "pleural effusion", "absent", None, ()),
    ]
    assert {f.name for f in report.findings if f.section == "Heart"} == {"cardiomegaly"}
    assert not [f for f in report.findings if f.section in ("Bones", "Impression")]
    assert {sentence.reading for sentence in report.sentences} == {"read"}


def statuses(text: str) -> list[tuple[str, str]]:
    """(name, status) of what is named."""
    return [(finding.name, finding.status) for finding in named(text)]


PRESENT, UNCERTAIN, ABSENT = "present", "uncertain", "absent"
STATUSES: list[tuple[str, list[tuple[str, str]]]] = [
    # What stands before a comma is not denied by what is denied behind it.
    ("Small left pleural effusion, no pneumothorax.", [("pleural effusion", PRESENT), ("pneumothorax", ABSENT)]),
    ("Cardiomegaly, no edema.", [("cardiomegaly", PRESENT), ("edema", ABSENT)]),
    ("Large right pneumothorax, no midline shift.", [("pneumothorax", PRESENT), ("mediastinal shift", ABSENT)]),
    (
        "Consolidation, no effusion, no pneumothorax.",
        [("consolidation", PRESENT), ("pleural effusion", ABSENT), ("pneumothorax", ABSENT)],
    ),
    ("Pneumothorax: no. Effusion: none.", [("pneumothorax", ABSENT), ("pleural effusion", ABSENT)]),
    ("Pneumothorax, none.", [("pneumothorax", ABSENT)]),
    ("Pneumothorax, no.", [("pneumothorax", ABSENT)]),
    # What a denied sign would suggest is denied with it.
    ("There is no opacity to suggest pneumonia.", [("opacity", ABSENT), ("pneumonia", ABSENT)]),
    ("No focal opacity suggestive of pneumonia.", [("opacity", ABSENT), ("pneumonia", ABSENT)]),
    ("No consolidation consistent with pneumonia.", [("consolidation", ABSENT), ("pneumonia", ABSENT)]),
    ("No findings suggesting edema.", [("edema", ABSENT)]),
    ("No effusion, findings suggest edema.", [("pleural effusion", ABSENT), ("edema", UNCERTAIN)]),
    # Hedges, on both sides.
    ("Opacity, which may represent pneumonia.", [("opacity", PRESENT), ("pneumonia", UNCERTAIN)]),
    ("Atelectasis versus pneumonia.", [("atelectasis", UNCERTAIN), ("pneumonia", UNCERTAIN)]),
    ("Right basilar atelectasis or infiltrate.", [("atelectasis", UNCERTAIN), ("infiltrate", UNCERTAIN)]),
    ("Pulmonary edema cannot be excluded.", [("edema", UNCERTAIN)]),
    ("Question of a left pneumothorax.", [("pneumothorax", UNCERTAIN)]),
    ("Findings concerning for pneumonia.", [("pneumonia", UNCERTAIN)]),
    ("Correlate for pneumonia.", [("pneumonia", UNCERTAIN)]),
    ("Possible small effusion, probable atelectasis.", [("pleural effusion", UNCERTAIN), ("atelectasis", UNCERTAIN)]),
    (
        "The differential includes edema, pneumonia and hemorrhage.",
        [("edema", UNCERTAIN), ("pneumonia", UNCERTAIN), ("hemorrhage", UNCERTAIN)],
    ),
    ("The heart may be enlarged.", [("cardiomegaly", UNCERTAIN)]),
    ("Borderline heart size.", [("cardiomegaly", UNCERTAIN)]),
    ("Pneumonia is possible.", [("pneumonia", UNCERTAIN)]),
    ("Opacity consistent with pneumonia.", [("opacity", PRESENT), ("pneumonia", PRESENT)]),
    ("No definite effusion.", [("pleural effusion", ABSENT)]),
    ("Pneumonia is unlikely.", [("pneumonia", ABSENT)]),
    # Contractions.
    ("There isn't an effusion.", [("pleural effusion", ABSENT)]),
    ("I don't see a pneumothorax.", [("pneumothorax", ABSENT)]),
    ("The film doesn’t show consolidation.", [("consolidation", ABSENT)]),
    ("Pneumothorax isn't seen.", [("pneumothorax", ABSENT)]),
    ("The pneumothorax hasn't resolved.", [("pneumothorax", PRESENT)]),
    ("The effusion has not cleared.", [("pleural effusion", PRESENT)]),
    ("I can't rule out a small pneumothorax.", [("pneumothorax", UNCERTAIN)]),
    # How far a denial reaches.
    ("No edema with bilateral tiny nodules.", [("edema", ABSENT), ("nodule", PRESENT)]),
    ("No effusion seen, dense nodule in the left lung.", [("pleural effusion", ABSENT), ("nodule", PRESENT)]),
    ("No pneumothorax the heart is enlarged", [("pneumothorax", ABSENT), ("cardiomegaly", PRESENT)]),
    ("No edema, large effusion.", [("edema", ABSENT), ("pleural effusion", PRESENT)]),
    (
        "No consolidation, large effusion or pneumothorax.",
        [("consolidation", ABSENT), ("pleural effusion", ABSENT), ("pneumothorax", ABSENT)],
    ),
    (
        "The lungs are free of consolidation, effusion, or pneumothorax.",
        [("consolidation", ABSENT), ("pleural effusion", ABSENT), ("pneumothorax", ABSENT)],
    ),
    ("Neither pneumothorax nor effusion is seen.", [("pneumothorax", ABSENT), ("pleural effusion", ABSENT)]),
    (
        "No effusion is seen, nor is there a pneumothorax.",
        [("pleural effusion", ABSENT), ("pneumothorax", ABSENT)],
    ),
    (
        "No effusion or pneumothorax, mild cardiomegaly.",
        [("pleural effusion", ABSENT), ("pneumothorax", ABSENT), ("cardiomegaly", PRESENT)],
    ),
    ("Hyperinflated without focal consolidation.", [("hyperinflation", PRESENT), ("consolidation", ABSENT)]),
    ("The nodular density seen before was a nipple shadow.", [("nodule", ABSENT), ("nipple shadow", PRESENT)]),
    ("The heart is not enlarged.", [("cardiomegaly", ABSENT)]),
    ("No cardiac enlargement.", [("cardiomegaly", ABSENT)]),
    ("Cardiac enlargement is seen.", [("cardiomegaly", PRESENT)]),
    ("**Cardiac silhouette**: Enlarged", [("cardiomegaly", PRESENT)]),
    ("No change in the moderate left pleural effusion.", [("pleural effusion", PRESENT)]),
    ("| Pneumothorax | Absent |\n| Effusion | Present |", [("pneumothorax", ABSENT), ("pleural effusion", PRESENT)]),
    ("No evidence of:\n- pneumothorax\n- effusion", [("pneumothorax", ABSENT), ("pleural effusion", ABSENT)]),
    ("Is there an effusion? No.", [("pleural effusion", ABSENT)]),
    (
        "No XXXX of XXXX pneumothorax. The XXXX is enlarged heart.",
        [("pneumothorax", ABSENT), ("cardiomegaly", PRESENT)],
    ),
    # What was read wrongly once.
    ("The lungs are hyperexpanded and otherwise clear.", [("hyperinflation", PRESENT)]),
    ("The lungs are otherwise clear of effusion.", [("pleural effusion", ABSENT)]),
    ("The NG tube is normal in position.", [("nasogastric tube", PRESENT)]),
    ("This is unlikely to represent pneumonia.", [("pneumonia", ABSENT)]),
    ("No pneumothorax, ET tube in good position.", [("pneumothorax", ABSENT), ("tube", PRESENT)]),
    ("No pneumothorax, heart enlarged.", [("pneumothorax", ABSENT), ("cardiomegaly", PRESENT)]),
    ("No acute process, emphysema.", [("emphysema", PRESENT)]),
    ("No complications, including pneumothorax.", [("pneumothorax", ABSENT)]),
    ("No consolidation, atelectasis at the left base.", [("consolidation", ABSENT), ("atelectasis", PRESENT)]),
    ("No nodules, masses in the right lung.", [("nodule", ABSENT), ("nodule", ABSENT)]),
    ("No pneumothorax mild cardiomegaly.", [("pneumothorax", ABSENT), ("cardiomegaly", PRESENT)]),
    ("No effusion + cardiomegaly.", [("pleural effusion", ABSENT), ("cardiomegaly", PRESENT)]),
    ("no evidence of\npneumothorax", [("pneumothorax", ABSENT)]),
    ("no pneumothorax\nor effusion", [("pneumothorax", ABSENT), ("pleural effusion", ABSENT)]),
    (
        "no pleural effusion\nno pneumothorax\ncardiomegaly present",
        [("pleural effusion", ABSENT), ("pneumothorax", ABSENT), ("cardiomegaly", PRESENT)],
    ),
    ("Effusion absent but edema present.", [("pleural effusion", ABSENT), ("edema", PRESENT)]),
    ("Neither lung shows consolidation.", [("consolidation", ABSENT)]),
    ("Pneumothorax (no), effusion (yes).", [("pneumothorax", ABSENT), ("pleural effusion", PRESENT)]),
    ("Edema neg, effusion pos.", [("edema", ABSENT), ("pleural effusion", PRESENT)]),
    ("Negative for pneumonia, positive for effusion.", [("pneumonia", ABSENT), ("pleural effusion", PRESENT)]),
    ("* **Pneumothorax:** There is no evidence of this.", [("pneumothorax", ABSENT)]),
    ("**Pneumothorax**\nNone seen.", [("pneumothorax", ABSENT)]),
    ("The following are absent: pneumothorax, edema.", [("pneumothorax", ABSENT), ("edema", ABSENT)]),
    ("Normal interstitial markings.", [("interstitial opacity", ABSENT)]),
    ("Almost complete resolution of the pneumothorax.", [("pneumothorax", PRESENT)]),
    ("Skin fold mimics a pneumothorax.", [("pneumothorax", ABSENT)]),
    ("Effusion is not well seen.", [("pleural effusion", UNCERTAIN)]),
    ("Uncertain whether the opacity is pneumonia.", [("opacity", PRESENT), ("pneumonia", UNCERTAIN)]),
    ("Heart size is normal to mildly enlarged.", [("cardiomegaly", UNCERTAIN)]),
    ("Heart: Upper normal.", [("cardiomegaly", UNCERTAIN)]),
    ("HEART: Large effusion.", [("pleural effusion", PRESENT)]),
    ("HEART: Large hiatal hernia.", [("hiatal hernia", PRESENT)]),
    ("No effusion, or suspicious nodule.", [("pleural effusion", ABSENT), ("nodule", ABSENT)]),
    ("No effusion, kyphosis.", [("pleural effusion", ABSENT), ("kyphosis", PRESENT)]),
    ("ET tube in right main bronchus; removal recommended.", [("tube", PRESENT)]),
    ("Left chest tube removed without pneumothorax.", [("chest tube", ABSENT), ("pneumothorax", ABSENT)]),
    ("Effusions, if any, are small.", [("pleural effusion", UNCERTAIN)]),
    ("Pneumothorax has not recurred.", [("pneumothorax", ABSENT)]),
    ("The heart does not appear enlarged.", [("cardiomegaly", ABSENT)]),
    ("Previously normal heart size is now increased.", [("cardiomegaly", PRESENT)]),
    ("Pneumothorax is unlikely but cannot be excluded.", [("pneumothorax", UNCERTAIN)]),
    ("It is not possible to rule out pneumothorax.", [("pneumothorax", UNCERTAIN)]),
    ("The patient has a large pneumothorax.", [("pneumothorax", PRESENT)]),
    ("I recommend CT because there is a large mass in the left lung.", [("nodule", PRESENT)]),
]


@pytest.mark.parametrize(("text", "expected"), STATUSES)
def test_status(text: str, expected: list[tuple[str, str]]) -> None:
    assert statuses(text) == expected


@pytest.mark.parametrize(
    ("text", "hedge"),
    [
        ("Opacity, which may represent pneumonia.", "may represent"),
        ("Pulmonary edema cannot be excluded.", "cannot be excluded"),
        ("Atelectasis versus pneumonia.", "versus"),
        ("Concerning for pneumonia.", "Concerning for"),
        ("Pneumonia: possible.", "possible"),
    ],
)
def test_a_hedge_has_the_span_of_its_words(text: str, hedge: str) -> None:
    (span,) = {finding.hedge for finding in parse_findings(text) if finding.status == "uncertain"}
    assert span is not None
    assert text[span[0] : span[1]] == hedge


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The left pneumothorax has resolved.", [("pneumothorax", "left", ())]),
        ("Right apical pneumothorax is no longer seen.", [("pneumothorax", "right", ("apical",))]),
        (
            "No left effusion. Right pneumothorax is small.",
            [("pleural effusion", "left", ()), ("pneumothorax", "right", ())],
        ),
        (
            "A new moderate right pleural effusion with adjacent atelectasis.",
            [("pleural effusion", "right", ()), ("atelectasis", "right", ())],
        ),
        ("The ET tube tip is high, 7 cm above the carina.", [("tube", None, ("high",))]),
        ("Endotracheal tube in place. Its tip is low.", [("tube", None, ("low",))]),
        ("Consolidation in the left and right lower zones.", [("consolidation", "bilateral", ("lower",))]),
        (
            "Bilateral consolidation, small in the right upper zone and large in the left lower zone.",
            [("consolidation", "bilateral", ("upper", "lower"))],
        ),
        ("Nodule in the right mid-lung zone.", [("nodule", "right", ("mid",))]),
        ("A 2 cm mass projects\nover the left upper lobe.", [("nodule", "left", ("upper",))]),
        ("RLL pneumonia.", [("pneumonia", "right", ("lower",))]),
        ("LUL nodule.", [("nodule", "left", ("upper",))]),
        ("Lingular consolidation.", [("consolidation", "left", ("mid",))]),
        ("R effusion.", [("pleural effusion", "right", ())]),
        ("B/l effusions.", [("pleural effusion", "bilateral", ())]),
        ("Atelectasis at both bases.", [("atelectasis", "bilateral", ("lower",))]),
        ("Opacity in the upper and lower lobes.", [("opacity", None, ("upper", "lower"))]),
        ("The right lung shows an infiltrate, the left is clear.", [("infiltrate", "right", ())]),
        ("Right pneumothorax, best seen with the left side down.", [("pneumothorax", "right", ())]),
        (
            "Effusion and atelectasis on the left.",
            [("pleural effusion", "left", ()), ("atelectasis", "left", ())],
        ),
        (
            "Left basilar atelectasis, no effusion.",
            [("atelectasis", "left", ("lower",)), ("pleural effusion", None, ())],
        ),
        (
            "Small left pleural effusion, no pneumothorax.",
            [("pleural effusion", "left", ()), ("pneumothorax", None, ())],
        ),
        ("**Right Lung:**\n* There is consolidation.", [("consolidation", "right", ())]),
        ("Pacemaker leads in the right atrium.", [("pacemaker", None, ())]),
        ("Right effusion, clear left lung.", [("pleural effusion", "right", ())]),
        ("The right hilum is normal, the left is prominent.", [("hilar enlargement", "left", ())]),
        ("At the left base, there is atelectasis.", [("atelectasis", "left", ("lower",))]),
        (
            "Scarring at the right apex, left base atelectasis.",
            [("scarring", "right", ("apical",)), ("atelectasis", "left", ("lower",))],
        ),
    ],
)
def test_side_and_zones(text: str, expected: list[tuple[str, str | None, tuple[str, ...]]]) -> None:
    assert [(finding.name, finding.side, finding.zones) for finding in named(text)] == expected


@pytest.mark.parametrize(
    ("text", "name", "change", "status"),
    [
        ("New right effusion.", "pleural effusion", "new", PRESENT),
        ("The effusion is unchanged.", "pleural effusion", "unchanged", PRESENT),
        ("No change in the left effusion.", "pleural effusion", "unchanged", PRESENT),
        ("The effusion has increased in size.", "pleural effusion", "larger", PRESENT),
        ("Improving edema.", "edema", "smaller", PRESENT),
        ("The edema has nearly resolved.", "edema", "smaller", PRESENT),
        ("The pneumothorax has resolved.", "pneumothorax", "resolved", ABSENT),
        ("Interval removal of the endotracheal tube.", "tube", "removed", ABSENT),
        ("There is an effusion.", "pleural effusion", None, PRESENT),
    ],
)
def test_change(text: str, name: str, change: str | None, status: str) -> None:
    (finding,) = parse_findings(text)
    assert (finding.name, finding.change, finding.status) == (name, change, status)


@pytest.mark.parametrize(
    ("text", "mentions"),
    [
        ("**Disclaimer:** this cannot rule out a fracture", [("fracture", "disclaimer")]),
        ("Evaluate for pneumonia.", [("pneumonia", "indication")]),
        ("CT to exclude a mass.", [("nodule", "advice")]),
        ("History of pneumothorax.", [("pneumothorax", "history")]),
        ("This could be benign, such as a granuloma.", [("granuloma", "example")]),
        ("Fracture of the left femur.", [("fracture", "elsewhere")]),
        ("Calcified granulomas in the spleen.", [("granuloma", "elsewhere")]),
        ("INDICATION: pneumonia\nFINDINGS: Normal.", [("pneumonia", "indication")]),
        ("Comparison: film with an effusion.\nFindings: Normal.", [("pleural effusion", "comparison")]),
        (
            "**Differential Diagnosis:**\n1. Pneumonia\n2. Edema",
            [("pneumonia", "differential"), ("edema", "differential")],
        ),
    ],
)
def test_what_is_no_statement_about_the_film_is_a_mention_with_its_role(
    text: str, mentions: list[tuple[str, str]]
) -> None:
    report = read_report(text)
    assert [(mention.name, mention.role) for mention in report.mentions] == mentions
    assert not [finding for finding in report.findings if finding.status != "absent"]


@pytest.mark.parametrize(
    ("text", "span", "names"),
    [
        ("The heart size is normal.", "heart size is normal", {"cardiomegaly"}),
        ("Heart size and mediastinal contours are normal.", None, {"cardiomegaly", "mediastinal widening"}),
        ("The left lung is clear.", "left lung is clear", {"consolidation", "opacity", "nodule", "atelectasis"}),
        ("Lungs: Clear.", "Clear", {"consolidation", "opacity", "nodule", "atelectasis"}),
        ("The trachea is midline.", "trachea is midline", {"mediastinal shift"}),
        ("Lung volumes are normal.", "Lung volumes are normal", {"low lung volumes"}),
    ],
)
def test_normal_statements_say_what_is_absent(text: str, span: str | None, names: set[str]) -> None:
    findings = parse_findings(text)
    assert {finding.status for finding in findings} == {"absent"}
    assert names <= {finding.name for finding in findings}
    if span is not None:
        assert {text[finding.start : finding.end] for finding in findings} == {span}


@pytest.mark.parametrize(
    "text",
    [
        "No acute cardiopulmonary process.",
        "The heart size is not normal.",
        "The lungs are not clear.",
        "Normal chest.",
        "Are the lungs clear? No.",
        "The lungs were clear on the previous film.",
        "Neither lung is clear.",
        "I cannot say that the lungs are clear.",
        "Repeat film once the lungs are clear.",
    ],
)
def test_no_absence_that_nobody_wrote(text: str) -> None:
    assert parse_findings(text) == ()


def test_a_normal_statement_is_named_by_its_words() -> None:
    """Also where each of them says little by itself: a finding can be chosen by its words."""
    report = read_report("**Heart:** Normal.")
    (finding,) = report.findings
    assert [report.words[k].text for k in finding.word_indices] == ["Normal"]


def test_a_lobe_that_is_clear_is_not_both_lungs() -> None:
    assert {(f.side, f.zones) for f in parse_findings("The right upper lobe is clear.")} == {("right", ("upper",))}


def test_a_normal_statement_spares_what_its_sentence_affirms() -> None:
    findings = parse_findings("The lungs are clear except for a nodule at the left base.")
    assert [finding.status for finding in findings if finding.name == "nodule"] == ["present"]


@pytest.mark.parametrize(
    ("text", "reading"),
    [
        ("There is a nodule.", "read"),
        ("No acute cardiopulmonary process.", "read"),
        ("Two views of the chest were obtained.", "other"),
        ("Here's a breakdown of the findings:", "other"),
        ("The stomach is upside down.", "unread"),
        ("The lungs are not clear.", "unread"),
        ("Heart size is larger than normal.", "unread"),
        ("A white rim of air is seen at the left apex.", "unread"),
    ],
)
def test_every_sentence_is_read_or_not_about_findings_or_unread(text: str, reading: str) -> None:
    (sentence,) = read_report(text).sentences
    assert (text[sentence.start : sentence.end].rstrip(".:"), sentence.reading) == (text.rstrip(".:"), reading)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Bibasilar atelectsis.", "atelectasis"),
        ("Pleural efusion.", "pleural effusion"),
        ("Cardiomegally.", "cardiomegaly"),
        ("Pneumohtorax.", "pneumothorax"),
        ("Pulmonary oedema.", "edema"),
    ],
)
def test_long_words_are_read_with_one_letter_wrong(text: str, name: str) -> None:
    assert [finding.name for finding in parse_findings(text)] == [name]


@pytest.mark.parametrize(
    "text", ["An injection and confusion.", "The rubs and the modules.", "Plural mess.", "A tuba."]
)
def test_real_and_short_words_are_no_misspellings(text: str) -> None:
    assert parse_findings(text) == ()


def test_the_table_has_names_with_codes() -> None:
    terms = lexicon().terms
    assert len(terms) >= 70
    assert terms["pneumothorax"].snomed == "36118008"
    of_dicom = {getattr(codes.SCT, name).value for name in codes.SCT.dir()}
    assert {term.snomed for term in terms.values() if term.snomed is not None} <= of_dicom
    assert all(term.radlex is None or re.fullmatch(r"RID\d+", term.radlex) for term in terms.values())


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


@given(st.lists(st.sampled_from([*WORDS, ".", ",", ";", "\n", "*"]), max_size=25))
@settings(deadline=None)
def test_whatever_the_text_every_name_is_found_once_and_in_order(words: list[str]) -> None:
    text = " ".join(words)
    findings = parse_findings(text)
    assert [finding.start for finding in findings] == sorted(finding.start for finding in findings)
    assert sum(finding.name == "nodule" for finding in findings) == words.count("nodule")
    assert sum("tube" in text[finding.start : finding.end] for finding in findings) == words.count("tube")
    assert all(finding.side in (None, "left", "right", "bilateral") for finding in findings)


@pytest.mark.parametrize(
    ("phrase", "words"),
    [
        ("(pleural effusion", "a bracket is not closed"),
        ("pleural) effusion", "a bracket is closed that was not opened"),
        ("<lung> effusion", "has no 'lung'"),
        ("Pleural effusion", r"not \['Pleural'\]"),
        ("air-space disease", r"not \['-'\]"),
        ("effusions?+", r"not \['\+'\]"),
        ("effusion?", "all of it may be missing"),
    ],
)
def test_a_phrase_that_is_malformed_is_told_with_its_name(phrase: str, words: str) -> None:
    with pytest.raises(ValueError, match=f"of 'pleural effusion'.*{words}"):
        PhraseTable([(phrase, "pleural effusion")], {})


@pytest.mark.parametrize(
    "text", ["A" * 200_000, "**Lungs:** Clear.\n" * 500, "<unused94>" * 500, "no edema to suggest " * 500]
)
def test_long_and_odd_texts_are_read(text: str) -> None:
    """A word of 200,000 letters once took all memory: it is no misspelling of anything."""
    read_report(text)


@given(st.text(max_size=200))
@settings(deadline=None)
def test_any_text_is_read(text: str) -> None:
    report = read_report(text)
    for finding in report.findings:
        assert 0 <= finding.start < finding.end <= len(text)
    assert [s.start for s in report.sentences] == sorted(s.start for s in report.sentences)
