"""Questions in other words and films slightly changed: what is asked, what is compared and how it is counted."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from traces import make_trace

from medinterp.errors import PromptError, UnknownMethodError
from medinterp.evaluation.sensitivity import (
    Comparison,
    compare,
    compare_reports,
    comparison_from,
    read_csv,
    read_prompts,
    summarise,
)
from medinterp.evaluation.sensitivity.answers import mirrored, same_answer, yes_no
from medinterp.evaluation.sensitivity.maps import map_shifts
from medinterp.evaluation.sensitivity.results import MapShift, Margin, Said, Variant
from medinterp.evaluation.sensitivity.table import comparison_table, report_table, summary_table
from medinterp.imaging.perturb import Perturbation, crop, flip
from medinterp.report import build_report
from medinterp.types import Film, Finding, Float32Array, Generation, ImageSpan

CELLS = 16


# ---- answers and questions ----


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Yes.", "yes"),
        ("**No**, there is not.", "no"),
        (" yes there is", "yes"),
        ("No", "no"),
        ("No pneumothorax.", None),
        ("Nothing.", None),
        ("Yesterday's film", None),
        ("", None),
    ],
)
def test_yes_and_no_are_told_from_words_that_begin_alike(text: str, expected: str | None) -> None:
    assert yes_no(text) == expected


def test_answers_are_the_same_when_they_say_the_same() -> None:
    assert same_answer("Yes, on the left.", "yes")
    assert same_answer("<unused94>thought\nNo, or is it?<unused95>Yes.", "<unused94>thought\nIt is.<unused95>Yes.")
    assert same_answer("Right  mid zone.", "right mid zone")
    assert not same_answer("Yes.", "No.")
    assert not same_answer("No pneumothorax.", "No.")
    assert not same_answer("Right mid zone.", "Right upper zone.")


def test_a_mirror_exchanges_whole_words_in_their_own_capitals() -> None:
    text = "LEFT and Right, left-sided, rightward; bright, aright, leftover."
    assert mirrored(text) == "RIGHT and Left, right-sided, leftward; bright, aright, leftover."
    assert mirrored(mirrored(text)) == text


def test_prompts_are_groups_between_blank_lines(tmp_path: Path) -> None:
    path = tmp_path / "prompts.txt"
    path.write_text(
        "# devices\n\nIs there a tube?\n# in other words\n  Any tube?  \n\n\nWhere?\n", encoding="utf-8-sig"
    )
    assert [group.questions for group in read_prompts(path)] == [("Is there a tube?", "Any tube?"), ("Where?",)]


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"# nothing\n\n", "no question"), (b"A?\nB?\nA?\n", "twice"), (b"\xff\xfe\x00", "UTF-8"), (None, "cannot read")],
)
def test_prompts_that_cannot_be_used_are_refused(tmp_path: Path, content: bytes | None, says: str) -> None:
    path = tmp_path / "prompts.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(PromptError, match=says):
        read_prompts(path)


def test_rows_of_one_film_and_group_belong_together(tmp_path: Path) -> None:
    path = tmp_path / "questions.csv"
    path.write_text(
        'group,film,question,by\n1,a.png,Tube?,x\n1,/b.png,Tube?,x\n1,a.png,"A tube, any?",y\n2,a.png,Q?,z\n'
    )
    groups = read_csv(path)
    assert [(group.film, group.questions) for group in groups] == [
        (tmp_path / "a.png", ("Tube?", "A tube, any?")),
        (Path("/b.png"), ("Tube?",)),
        (tmp_path / "a.png", ("Q?",)),
    ]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("film,question\na.png,Q?\n", "no column group"),
        ("film,group,question\na.png,1,Q?\na.png,1\n", "line 3"),
        ("film,group,question\n", "no question"),
        ("film,group,question\na.png,1,Q?\na.png,1,Q?\n", "twice"),
        ("", "no column film, group, question"),
    ],
)
def test_a_csv_file_that_cannot_be_used_is_refused(tmp_path: Path, content: str, says: str) -> None:
    (tmp_path / "q.csv").write_text(content)
    with pytest.raises(PromptError, match=says):
        read_csv(tmp_path / "q.csv")


# ---- a reader that is known through and through ----


class Reader:
    """Answers by a rule, and looks at every cell as much as the picture is bright there."""

    def __init__(self, answer: Callable[[Film, str], str]) -> None:
        self.answer = answer
        self.asked: list[str] = []
        tokenizer = lambda text, **_: {"input_ids": self.ids(text)}  # noqa: E731
        self.loaded = SimpleNamespace(
            model_id="made-by-hand",
            revision="1",
            facts=SimpleNamespace(image_size=64),
            processor=SimpleNamespace(tokenizer=tokenizer),
        )

    @staticmethod
    def ids(text: str) -> list[int]:
        """One token a word."""
        return [sum(map(ord, word)) for word in text.split()]

    def generate(self, films: Sequence[Film], prompt: str | None, **_: Any) -> Generation:
        asked = prompt or "Report."
        self.asked.append(asked)
        text = self.answer(films[0], asked)
        ids, ends = self.ids(text), np.cumsum([len(word) + 1 for word in text.split()]) - 1
        spans = [(int(end) - len(word), int(end)) for word, end in zip(text.split(), ends, strict=True)]
        count = len(ids)
        report = build_report(ids, spans, text, [-0.1] * count, [()] * count, [0.5] * count, True)
        seen = cv2.resize(films[0].pixels.astype(np.float32), (CELLS, CELLS), interpolation=cv2.INTER_AREA)
        rows = np.broadcast_to((seen / seen.sum()).ravel(), (count, 1, 1, CELLS**2)).astype(np.float16)
        trace = make_trace(rows, (ImageSpan(0, CELLS**2, CELLS, CELLS),))
        return Generation(report, replace(trace, provenance=replace(trace.provenance, prompt=asked)))


@pytest.fixture
def forced(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, list[int], bool]]:
    """What margins were asked for: question, token ids, with the end or not. Each is as large as its place."""
    calls: list[tuple[str, list[int], bool]] = []

    def told(loaded: Any, film: Film, question: str, token_ids: Sequence[int], *, end: bool) -> tuple[Margin, ...]:
        calls.append((question, list(token_ids), end))
        return tuple(Margin(float(place + 1), "a", "b") for place in range(len(token_ids) + end))

    monkeypatch.setattr("medinterp.evaluation.sensitivity.asking.forced_margins", told)
    return calls


def lit_film() -> Film:
    """A film with a bright place on the left of the picture, of a size of its own."""
    pixels = np.full((320, 480), 20, np.uint8)
    pixels[90:170, 60:150] = 220
    return Film(pixels, "image/png", "of the file")


def test_maps_that_go_with_the_picture_have_not_moved(forced: list[Any]) -> None:
    reader: Any = Reader(lambda film, question: "Yes.")
    result = compare(reader, lit_film(), ["Is it lit?", "Lit?"], methods=["raw"])
    bits = {variant.name: variant.shifts[0].bits for variant in result.variants}
    assert bits["paraphrase"] == 0.0
    assert bits["flip"] == pytest.approx(0.0, abs=1e-6)
    assert bits["crop"] == pytest.approx(0.0, abs=5e-3)
    assert 0.0 < bits["five_pixels"] < 0.05
    assert bits["contrast"] > 0.0
    # The same maps, not moved back, are far apart: the test above would fail.
    unmoved = replace(flip(), forth=lambda values: values, back=lambda values: values)
    (lost,) = compare(reader, lit_film(), ["Is it lit?"], methods=["raw"], perturbations=[unmoved]).variants
    assert lost.shifts[0].bits is not None and lost.shifts[0].bits > 0.2
    kept = {variant.name: variant.shifts[0].kept for variant in result.variants}
    assert kept["flip"] == pytest.approx(1.0)
    assert 0.8 < kept["crop"] < 0.95


def test_a_mirrored_film_is_asked_and_answers_in_a_mirror(forced: list[Any]) -> None:
    def answer(film: Film, question: str) -> str:
        left = film.pixels[:, : film.width // 2].mean() > film.pixels[:, film.width // 2 :].mean()
        return "Left upper zone." if left else "Right upper zone."

    reader: Any = Reader(answer)
    result = compare(reader, lit_film(), ["Where, left or right?"], perturbations=[flip()])
    (variant,) = result.variants
    assert variant.question == "Where, right or left?" == reader.asked[-1]
    assert (result.answer, variant.answer) == ("Left upper zone.", "Right upper zone.")
    assert not variant.changed
    # The answer whose margin is asked for is the true one of the mirrored film, with its end.
    assert forced == [
        ("Where, left or right?", Reader.ids("Left upper zone."), True),
        ("Where, right or left?", Reader.ids("Right upper zone."), True),
    ]
    blind: Any = Reader(lambda film, question: "Left upper zone.")
    (variant,) = compare(blind, lit_film(), ["Where?"], perturbations=[flip()]).variants
    assert variant.changed


def test_only_yes_or_no_decides_a_yes_or_no_answer(forced: list[Any]) -> None:
    reader: Any = Reader(lambda film, question: "Yes, on the left." if "see" in question else "Yes.")
    result = compare(reader, lit_film(), ["Is there?", "Do you see it?"], perturbations=[])
    assert result.yes_no and result.consistency == 1.0
    assert forced[-1] == ("Do you see it?", Reader.ids("Yes."), False)
    assert result.variants[0].answer == "Yes, on the left."


def test_changed_answers_are_counted_and_their_maps_marked(forced: list[Any]) -> None:
    def answer(film: Film, question: str) -> str:
        return "" if "silent" in question else "No." if "other" in question else "Yes."

    reader: Any = Reader(answer)
    steps: list[int] = []
    questions = ["Q?", "Q please?", "Something other?", "Be silent!"]
    result = compare(reader, lit_film(), questions, methods=["raw"], perturbations=[crop()], progress=steps.append)
    assert [variant.changed for variant in result.variants] == [False, True, True, False]
    assert [variant.shifts[0].other_answer for variant in result.variants] == [False, True, True, False]
    assert result.variants[2].shifts[0].bits is None
    assert result.consistency == pytest.approx(1 / 3)
    assert sum(steps) == 5
    assert comparison_from(json.loads(json.dumps(asdict(result)))) == result
    table = comparison_table(result)
    assert "0.000*" in table and "33% of 3" in table


def test_what_cannot_be_asked_is_refused(forced: list[Any]) -> None:
    reader: Any = Reader(lambda film, question: "")
    with pytest.raises(PromptError, match="wrote nothing"):
        compare(reader, lit_film(), ["Q?"])
    with pytest.raises(PromptError, match="no question"):
        compare(reader, lit_film(), [])
    asked = len(reader.asked)
    with pytest.raises(UnknownMethodError):
        compare(reader, lit_film(), ["Q?"], methods=["tea leaves"])
    assert len(reader.asked) == asked


def test_reports_are_compared_finding_by_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(film: Film, question: str) -> str:
        middle = film.width // 2
        left, right = (float(half.max()) for half in (film.pixels[:, :middle], film.pixels[:, middle:]))
        if max(left, right) < 100:
            return "LUNGS: No nodule. PLEURA: Small left pleural effusion."
        return f"LUNGS: Nodule in the {'left' if left > right else 'right'} upper zone. HEART: Enlarged heart."

    def logprobs(loaded: Any, film: Film, prompt: str, ids: Sequence[int]) -> Float32Array:
        return np.full(len(ids), film.pixels.max() / -100, np.float32)

    monkeypatch.setattr("medinterp.evaluation.sensitivity.reports.forced_logprobs", logprobs)
    dark = Perturbation("dark", "dark", lambda pixels, rng, side: pixels // 4)
    moved = Perturbation("moved", "sides exchanged, untold", lambda pixels, rng, side: pixels[:, ::-1])
    reader: Any = Reader(answer)
    result = compare_reports(reader, lit_film(), methods=["raw"], perturbations=[flip(), dark, moved])
    by_name = {variant.name: {one.name: one for one in variant.findings} for variant in result.variants}
    assert [variant.changed for variant in result.variants] == [False, True, True]
    assert {one.change for one in by_name["flip"].values()} == {"same"}
    assert by_name["flip"]["nodule"].after == Said("present", "left", ("upper",))
    assert by_name["flip"]["nodule"].logprob_change is None
    assert by_name["flip"]["nodule"].shifts[0].bits == pytest.approx(0.0, abs=1e-6)
    gone = by_name["dark"]["nodule"]
    assert (gone.change, gone.before, gone.after) == ("gone", Said("present", "left", ("upper",)), None)
    assert gone.shifts == ()
    assert gone.logprob_change == pytest.approx((220 - 55) / 100)
    assert by_name["dark"]["pleural effusion"].change == "new"
    assert by_name["dark"]["pleural effusion"].logprob_change is None
    away = by_name["moved"]["nodule"]
    assert (away.change, away.after) == ("moved", Said("present", "right", ("upper",)))
    assert away.shifts[0].other_answer and away.shifts[0].bits is not None and away.shifts[0].bits > 0.2
    table = report_table(result)
    assert "gone" in table and "left upper" in table and "+1.65" in table


def test_two_findings_of_one_name_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(film: Film, question: str) -> str:
        sides = ["left", "right"] if film.pixels[:, : film.width // 2].max() > 100 else ["right", "left"]
        nodules = [f"Nodule in the {side} upper zone." for side in sides]
        if film.pixels.max() < 100:
            nodules = ["Nodule in the right upper zone.", "Nodule in the left lower zone."]
        return f"LUNGS: {' '.join(nodules)} IMPRESSION: Nodule on the left."

    monkeypatch.setattr(
        "medinterp.evaluation.sensitivity.reports.forced_logprobs", lambda *_: np.zeros(99, np.float32)
    )
    dark = Perturbation("dark", "dark", lambda pixels, rng, side: pixels // 4)
    reader: Any = Reader(answer)
    result = compare_reports(reader, lit_film(), perturbations=[flip(), dark])
    by_name = {variant.name: variant for variant in result.variants}
    assert not by_name["flip"].changed
    assert [one.before for one in by_name["flip"].findings] == [
        Said("present", "left", ("upper",)),
        Said("present", "right", ("upper",)),
    ]
    assert [(one.before, one.after, one.change) for one in by_name["dark"].findings] == [
        (Said("present", "left", ("upper",)), Said("present", "left", ("lower",)), "moved"),
        (Said("present", "right", ("upper",)), Said("present", "right", ("upper",)), "same"),
    ]


def test_a_hedge_is_a_change_that_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of parts that are written by hand: what is compared is how sure a report is."""
    monkeypatch.setattr(
        "medinterp.evaluation.sensitivity.reports.forced_logprobs", lambda *_: np.zeros(99, np.float32)
    )
    sure, unsure = ("nodule", "present", "left", ("upper", "mid")), ("nodule", "uncertain", "left", ("mid", "upper"))
    denied, gone = ("edema", "absent", None, ()), ("edema", "uncertain", None, ())
    both = (("tube", "uncertain", None, ()), ("tube", "present", None, ()))
    elsewhere = ("nodule", "uncertain", "left", ())
    on_film, on_dark, on_bright = (sure, gone, *both), (unsure, denied, both[0]), (elsewhere, gone, *both)

    def findings(film: Film, question: str) -> str:
        return {220: "film", 55: "dark", 255: "bright"}[int(film.pixels.max())]

    texts = {"film": on_film, "dark": on_dark, "bright": on_bright}
    reader: Any = Reader(findings)
    generate = reader.generate

    def generated(films: Sequence[Film], prompt: str | None, **options: Any) -> Generation:
        generation = generate(films, prompt, **options)
        told = texts[generation.report.text]
        made = tuple(
            Finding(index, name, status, side, zones, 0, 4, (0,))  # type: ignore[arg-type]
            for index, (name, status, side, zones) in enumerate(told)
        )
        return replace(generation, report=replace(generation.report, findings=made))

    reader.generate = generated
    dark = Perturbation("dark", "dark", lambda pixels, rng, side: pixels // 4)
    bright = Perturbation("bright", "bright", lambda pixels, rng, side: np.maximum(pixels, 255))
    result = compare_reports(reader, lit_film(), methods=["raw"], perturbations=[dark, bright])
    by_name = {variant.name: {one.name: one for one in variant.findings} for variant in result.variants}
    hedged, lost, sure_before = (by_name["dark"][name] for name in ("nodule", "edema", "tube"))
    assert (hedged.change, hedged.before, hedged.after) == ("hedged", Said(*sure[1:]), Said(*unsure[1:]))
    assert hedged.shifts[0].other_answer and hedged.shifts[0].bits is not None
    assert (lost.change, lost.before, lost.after) == ("gone", Said("uncertain", None, ()), None)
    # Affirmed and hedged at one place is affirmed.
    assert (sure_before.change, sure_before.before) == ("hedged", Said("present", None, ()))
    assert [one.change for one in by_name["bright"].values()] == ["moved", "same", "same"]
    assert by_name["bright"]["edema"].after == Said("uncertain", None, ())
    assert [variant.changed for variant in result.variants] == [True, True]
    table = report_table(result)
    assert "left upper and mid" in table and "uncertain, left mid and upper" in table and "hedged" in table
    again = compare_reports(reader, replace(lit_film(), pixels=lit_film().pixels // 4), perturbations=[back()])
    assert {one.name: one.change for one in again.variants[0].findings} == {
        "nodule": "affirmed",
        "edema": "new",
        "tube": "affirmed",
    }


def back() -> Perturbation:
    return Perturbation("back", "as it was", lambda pixels, rng, side: pixels * 4)


# ---- maps ----


def test_shifts_take_the_part_that_speaks_for() -> None:
    one, two = (np.zeros((4, 4), np.float32) for _ in range(2))
    one[0, 0], two[3, 3] = 2.0, 0.5
    apart = {"m": two}
    signed = {"m": np.where(one > 0, one, -1.0).astype(np.float32)}

    def bits(first: dict[str, Float32Array], other: dict[str, Float32Array]) -> float | None:
        (shift,) = map_shifts(["m"], first, other, None, other_answer=False)
        assert (shift.kept is None) == (shift.bits is None)
        return shift.bits

    assert bits({"m": one}, {"m": one * 7}) == 0.0
    assert bits({"m": one}, signed) == 0.0
    assert bits({"m": one}, apart) == pytest.approx(1.0)
    assert bits({"m": one}, {"m": -one}) is None
    assert bits({"m": one}, {}) is None
    # A map that lies wholly on what was cut off has nothing left to compare with.
    edge = np.zeros((16, 16), np.float32)
    edge[0, :] = 1.0
    (shift,) = map_shifts(["m"], {"m": edge}, {"m": edge}, crop(0.1), other_answer=False)
    assert shift.bits is None


# ---- many ----


def made_comparison(film: str, held: Sequence[bool], bits: Sequence[float | None], flipped: bool) -> Comparison:
    margin = Margin(2.0, "Yes", "No")
    variants = [
        Variant("paraphrase", "Q?", "A", not one, margin, -1.0, (MapShift("raw", value, 1.0, not one),))
        for one, value in zip(held, bits, strict=True)
    ]
    variants.append(Variant("flip", "Q?", "A", flipped, margin, -3.0, (MapShift("raw", 0.5, 1.0, flipped),)))
    consistency = sum(held) / len(held) if held else None
    return Comparison(
        film, "m", "1", 0, 64, ("raw",), ("flip",), "Q?", "Yes.", True, margin, consistency, tuple(variants)
    )


def test_a_summary_counts_over_groups_and_draws_films() -> None:
    groups = [
        made_comparison("a", [True, True, False], [0.0, 0.1, 0.8], False),
        made_comparison("a", [True], [None], True),
        made_comparison("b", [], [], True),
        made_comparison("b", [False, True], [0.9, 0.2], True),
    ]
    summary = summarise(groups)
    assert (summary["groups"], summary["films"], summary["paraphrases"]) == (4, 2, 6)
    assert summary["consistency"]["value"] == pytest.approx(4 / 6, abs=1e-4)
    assert summary["consistency"]["low"] < 4 / 6 < summary["consistency"]["high"]
    reworded, flipped = summary["variants"]["paraphrase"], summary["variants"]["flip"]
    assert reworded["changed"]["value"] == pytest.approx(2 / 6, abs=1e-4)
    assert flipped["changed"]["value"] == 0.75
    assert flipped["margin_change"]["value"] == -3.0
    assert reworded["maps"]["raw"]["bits"]["value"] == pytest.approx(0.4)
    assert reworded["maps"]["raw"]["bits_same_answer"]["value"] == pytest.approx(0.1)
    assert summary == summarise(groups)
    assert flipped["changed"]["high"] == 1.0
    assert summarise(groups[2:])["variants"]["flip"]["changed"] == {"value": 1.0, "low": None, "high": None}  # one film
    apart = [made_comparison(film, [], [], True) for film in "abcd"]
    assert summarise(apart)["variants"]["flip"]["changed"] == {"value": 1.0, "low": 0.3976, "high": 1.0}
    one = summarise(groups[:1])
    assert one["consistency"] == {"value": 0.6667, "low": None, "high": None}
    nothing = summarise([made_comparison("b", [], [], True)])
    assert nothing["consistency"]["value"] is None
    assert "0.75 (" in summary_table(summary) and "paraphrase" in summary_table(summary)
