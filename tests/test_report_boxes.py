"""Boxes in an answer: read wherever they can be, and never taken for prose."""

from __future__ import annotations

import json
import time

import pytest

from medinterp.report import BOX_QUESTION, box_question, build_report, read_report
from medinterp.types import Report

LIST = '[{"box_2d": [620, 110, 800, 330], "label": "consolidation in the right lower zone"}]'
ANSWER = f"The right base is dense.\n\nFinal Answer: ```json\n{LIST}\n```"


def written(text: str, scale: tuple[float, float] = (1000.0, 1000.0)) -> Report:
    """The report of a text that a model wrote, a token a character."""
    spans = [(k, k + 1) for k in range(len(text))]
    count = len(text)
    return build_report(list(range(count)), spans, text, [-0.1] * count, [()] * count, [0.5] * count, True, scale)


def test_a_box_in_the_documented_form() -> None:
    report = written(ANSWER)
    (box,) = report.boxes
    assert (box.left, box.top, box.right, box.bottom) == pytest.approx((0.11, 0.62, 0.33, 0.80))
    assert (box.label, box.finding, box.flaws) == ("consolidation in the right lower zone", "consolidation", ())
    assert report.text[box.start : box.end] == LIST[1:-1]
    assert [report.words[k].text for k in box.word_indices] == [
        *("620", "110", "800", "330"),
        *"consolidation in the right lower zone".split(),
    ]
    assert "".join(report.text[k] for k in box.token_indices) == "620110800330consolidationintherightlowerzone"


def test_its_label_states_a_finding_as_a_sentence_does() -> None:
    report = read_report(ANSWER)
    (finding,) = report.findings
    assert (finding.name, finding.status) == ("consolidation", "present")
    assert (finding.side, finding.zones) == ("right", ("lower",))
    assert [report.text[s.start : s.end] for s in report.sentences] == [
        "The right base is dense.",
        "consolidation in the right lower zone",
    ]
    assert report.sections[0].text == f"```json\n{LIST}\n```"


def test_a_structure_is_no_finding_and_nothing_is_left_unread() -> None:
    report = read_report('[{"box_2d": [1, 2, 30, 40], "label": "right clavicle"}]')
    assert report.boxes[0].finding is None and not report.findings
    assert [sentence.reading for sentence in report.sentences] == ["other"]


def test_prose_before_a_list_is_not_joined_to_its_labels() -> None:
    report = read_report('No pneumothorax [{"box_2d": [1, 2, 30, 40], "label": "nodule"}]')
    assert [(finding.name, finding.status) for finding in report.findings] == [
        ("pneumothorax", "absent"),
        ("nodule", "present"),
    ]


@pytest.mark.parametrize(
    ("written_as", "edges", "said"),
    [
        ('{"box_2d": [800, 330, 620, 110], "label": "nodule"}', (0.11, 0.62, 0.33, 0.8), "swapped"),
        ('{"box_2d": [620.5, -10, 800, 1330], "label": "nodule"}', (0.0, 0.6205, 1.0, 0.8), "beyond the film"),
        ('{"box_2d": [0.62, 0.11, 0.8, 0.33], "label": "nodule"}', (0.11, 0.62, 0.33, 0.8), "shares of the film"),
        ('{"box_2d": [620, 110, 800, 330]}', (0.11, 0.62, 0.33, 0.8), "no label"),
        ('[{"box_2d": [620, 110, 800, 330], "label": "left pleu', (0.11, 0.62, 0.33, 0.8), "cut off in its label"),
        ('[{"box_2d": [620, 110, 800, 330], "la', (0.11, 0.62, 0.33, 0.8), "cut off before its label"),
        ("{'label': 'no nodule', 'box_2d': [620, 110, 800, 330],}", (0.11, 0.62, 0.33, 0.8), "denies"),
    ],
)
def test_what_is_wrong_with_a_box_is_said(written_as: str, edges: tuple[float, ...], said: str) -> None:
    (box,) = read_report(written_as).boxes
    assert box.edges == pytest.approx(edges)
    assert any(said in flaw for flaw in box.flaws)


@pytest.mark.parametrize(
    ("written_as", "said"),
    [
        ('{"box_2d": [620, 110, 800], "label": "nodule"}', "3 coordinates, not 4"),
        ('{"box_2d": [620, 110, 620, 330], "label": "nodule"}', "covers nothing"),
        ('{"box_2d": "here", "label": "nodule"}', "no list of coordinates"),
        ('{"box_2d": [620, 110, 8', "cut off in it"),
    ],
)
def test_a_box_that_cannot_be_read_loses_no_other(written_as: str, said: str) -> None:
    report = read_report(f"[{LIST[1:-1]}, {written_as}")
    assert [box.label for box in report.boxes] == ["consolidation in the right lower zone"]
    (note,) = report.box_notes
    assert note.startswith("Box 2 of 2 could not be read") and said in note


def test_lists_of_a_thought_are_none_and_a_box_said_twice_counts_once() -> None:
    report = read_report(f"<unused94>thought\n[{LIST[1:-1].replace('620', '600')}]<unused95>{LIST} {LIST}")
    (box,) = report.boxes
    assert box.top == pytest.approx(0.62) and box.start == report.text.rindex("{")


def test_an_empty_list_says_that_there_is_none() -> None:
    for text in ("Final Answer: ```json\n[]\n```", "Final Answer: []"):
        report = read_report(text)
        assert not report.boxes and not report.findings
        assert report.box_notes == ("The list of boxes is empty: the model draws none.",)
    assert not read_report("The lungs are clear [see above].").box_notes


def test_other_forms_by_the_familys_own_scale() -> None:
    text = '```json\n[{"bbox_2d": [112, 56, 224, 280], "label": "nodule"}]\n```'
    assert written(text, (560.0, 448.0)).boxes[0].edges == pytest.approx((0.25, 0.1, 0.5, 0.5))
    assert written(text).boxes[0].edges == pytest.approx((0.112, 0.056, 0.224, 0.28))


def test_the_question_asks_for_the_form_that_is_read() -> None:
    asked = box_question("nodule")
    assert "Where is the nodule?" in asked and "{finding}" not in asked and "{finding}" in BOX_QUESTION
    example = asked[asked.rindex("```json") : asked.index("```, and")]
    assert read_report(example).boxes[0].label == "car"
    assert json.loads(example.removeprefix("```json"))


def test_time_is_linear_in_the_text() -> None:
    began = time.perf_counter()
    for text in ('{"box_2d": [' * 20_000, "[" * 50_000, '[{"box":' + " " * 50_000, "`" * 50_000, LIST[:-1] * 1000):
        from medinterp.report.boxes import find_boxes, without_lists

        without_lists(text, find_boxes(text)[0])
    assert time.perf_counter() - began < 5.0
