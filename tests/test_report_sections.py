"""Sections, as phantom and MedGemma write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medinterp.report import find_sections, is_impression
from medinterp.report.sections import section_at


def names(text: str) -> list[str]:
    """Section names in order."""
    return [section.name for section in find_sections(text)]


@pytest.mark.parametrize(
    "text",
    [
        "LUNGS: Clear.\nHEART: Normal.",
        "Lungs: Clear.\nHeart: Normal.",
        "**Lungs:** Clear.\n**Heart:** Normal.",
        "**Lungs**: Clear.\n\n**Heart**: Normal.",
        "__Lungs:__ Clear.\n__Heart:__ Normal.",
        "* **Lungs:** Clear.\n* **Heart:** Normal.",
        "- Lungs: Clear.\n- Heart: Normal.",
        "1. **Lungs:** Clear.\n2. **Heart:** Normal.",
        "## Lungs\nClear.\n## Heart\nNormal.",
        "**LUNGS**\nClear.\n**HEART**\nNormal.",
        "> Lungs: Clear.\n> Heart: Normal.",
    ],
)
def test_headings_of_every_kind(text: str) -> None:
    sections = find_sections(text)
    assert [section.name.upper() for section in sections] == ["LUNGS", "HEART"]
    for section, body in zip(sections, ("Clear.", "Normal."), strict=True):
        assert section.text.strip(" >\n-*12.") == body.strip(".")
        assert text[section.start : section.end] == section.text


def test_capitals_on_one_line() -> None:
    text = "DEVICES: No tube. LUNGS: Clear. LINES AND TUBES: none. IMPRESSION: Normal."
    assert names(text) == ["DEVICES", "LUNGS", "LINES AND TUBES", "IMPRESSION"]


@pytest.mark.parametrize(
    "text",
    [
        "The findings are as follows: clear lungs.",
        "Pneumothorax: none.\nPleural effusion: small.",
        "Seen at 10:30 on the film.",
        "There is a nodule.",
        "",
    ],
)
def test_what_is_no_heading(text: str) -> None:
    assert names(text) == []


def test_devices_named_as_headings() -> None:
    assert names("- Tubes: The ET tube tip is high.\n- Lines, tubes, and devices: None.") == [
        "Tubes",
        "Lines, tubes, and devices",
    ]


def test_empty_sections_and_positions() -> None:
    text = "LUNGS:\nHEART: Normal."
    lungs, heart = find_sections(text)
    assert lungs.text == ""
    assert section_at((lungs, heart), text.index("Normal")) == "HEART"
    assert section_at((lungs, heart), 0) is None


@given(st.lists(st.sampled_from(["LUNGS:", "**Heart:**", "\n", " Clear.", "## Bones", "*", ":", " a"]), max_size=20))
def test_sections_are_in_order_and_are_the_text(parts: list[str]) -> None:
    text = "".join(parts)
    reached = 0
    for section in find_sections(text):
        assert reached <= section.start <= section.end <= len(text)
        assert text[section.start : section.end] == section.text
        reached = section.end


@pytest.mark.parametrize(
    "text",
    [
        "*Impression*: Normal.",
        "IMPRESSION\nNormal.",
        "IMPRESSION - Normal.",
        "**Overall Impression:** Normal.",
        "Conclusion: Normal.",
        "**Final Answer:** Normal.",
        "## Summary\nNormal.",
        "FINDINGS: Clear. IMPRESSION: Normal.",
        "**FINDINGS:** Clear. **IMPRESSION:** Normal.",
    ],
)
def test_what_is_the_impression(text: str) -> None:
    last = find_sections(text)[-1]
    assert is_impression(last.name)
    assert last.text == "Normal."


@pytest.mark.parametrize("name", ["Findings", "Lungs", "Recommendations", "Clinical History", "Differential Diagnosis"])
def test_what_is_not_the_impression(name: str) -> None:
    assert not is_impression(name)


def test_a_bold_diagnosis_in_a_list_is_no_section() -> None:
    assert names("1. **Pneumonia**: there is consolidation.\n2. **Right lower lobe nodule:** 1 cm.") == []
