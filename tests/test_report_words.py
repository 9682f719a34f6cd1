"""Words and tokens are tied by character offsets, whatever the tokens cut through."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medinterp.report import build_report, find_words, inside_marks
from medinterp.types import Alternative, Report


def report_of(pieces: list[str], *, complete: bool = True) -> Report:
    """A report from the text that each token writes; token k has log-probability -(k + 1) and mass k / 100."""
    offsets, text = [], ""
    for piece in pieces:
        offsets.append((len(text), len(text) + len(piece)))
        text += piece
    count = range(len(pieces))
    return build_report(
        [100 + k for k in count],
        offsets,
        text,
        [-(k + 1.0) for k in count],
        [(Alternative("x", -0.5),)] * len(pieces),
        [k / 100 for k in count],
        complete,
    )


def byte_tokens(text: str, cuts: set[int]) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Tokens that cut the UTF-8 bytes anywhere: the characters that each wrote a part of, and their bytes."""
    data = text.encode()
    edges = [0, *sorted(cut for cut in cuts if 0 < cut < len(data)), len(data)]
    spans, bytes_of = [], []
    for start, stop in pairwise(edges):
        characters = len(data[:start].decode(errors="ignore")), len(data[:stop].decode(errors="ignore"))
        unfinished = len(text[: characters[1]].encode()) < stop
        spans.append((characters[0], characters[1] + unfinished))
        bytes_of.append((start, stop))
    return spans, bytes_of


def test_a_word_of_several_tokens_adds_log_probabilities_and_averages_mass() -> None:
    report = report_of(["A", " no", "du", "le", " is", " seen", "."])
    words = {word.text: word for word in report.words}
    assert [word.text for word in report.words] == ["A", "nodule", "is", "seen"]
    assert words["nodule"].token_indices == (1, 2, 3)
    assert words["nodule"].logprob == pytest.approx(-(2 + 3 + 4))
    assert words["nodule"].image_mass == pytest.approx(0.02)
    assert report.text[words["nodule"].start : words["nodule"].end] == "nodule"
    assert report.tokens[2].token_id == 102
    assert report.tokens[2].alternatives == (Alternative("x", -0.5),)
    assert report.complete
    assert not report_of(["A"], complete=False).complete


def test_a_word_with_a_token_below_one_in_a_thousand_is_unlikely() -> None:
    report = report_of([" a", " b", " c", " d", " e", " f", " no", "dule"])  # token k has log-probability -(k + 1)
    assert [word.text for word in report.words if word.unlikely] == ["nodule"]


def test_repeated_words_are_different_words() -> None:
    report = report_of(["left", " nodule", ", left", " effusion", ", ", "le", "ft", " mass"])
    left = [word for word in report.words if word.text == "left"]
    assert [word.token_indices for word in left] == [(0,), (2,), (5, 6)]
    assert [word.index for word in left] == [0, 2, 4]
    assert len({word.start for word in left}) == 3
    assert len({word.logprob for word in left}) == 3


def test_one_token_may_write_several_words() -> None:
    report = report_of(["No acute", " finding."])
    assert [(word.text, word.token_indices) for word in report.words] == [
        ("No", (0,)),
        ("acute", (0,)),
        ("finding", (1,)),
    ]


def test_a_token_inside_a_character_belongs_to_its_word() -> None:
    """An e with accent is two bytes: the tokens that wrote one each both hold the letter."""
    text = "Épanchement à droite"
    spans, _ = byte_tokens(text, {1, 7, 13, 14})
    assert spans[:2] == [(0, 1), (0, 6)]
    count = len(spans)
    report = build_report([1] * count, spans, text, [-1.0] * count, [()] * count, [0.5] * count, True)
    assert [word.text for word in report.words] == ["Épanchement", "à", "droite"]
    assert report.words[0].token_indices == (0, 1, 2)
    assert 0 not in report.words[1].token_indices


LETTERS = st.text(alphabet="aéß胸µ👍́ -.,\n", max_size=30)


@given(LETTERS, st.sets(st.integers(1, 120)))
def test_words_hold_exactly_the_tokens_that_share_their_bytes(text: str, cuts: set[int]) -> None:
    spans, pieces = byte_tokens(text, cuts)
    if not text:
        spans, pieces = [], []
    count = len(spans)
    report = build_report([1] * count, spans, text, [-1.0] * count, [()] * count, [0.5] * count, True)
    for word in report.words:
        assert text[word.start : word.end] == word.text
        start, stop = len(text[: word.start].encode()), len(text[: word.end].encode())
        sharing = tuple(k for k, (first, last) in enumerate(pieces) if first < stop and start < last)
        assert word.token_indices == sharing
        assert word.logprob == pytest.approx(-len(sharing))


@given(st.lists(st.sampled_from(["no", " no", "dule", ".", " ", "\n", "LUNGS", ":", "-", "é", ""]), max_size=25))
def test_every_letter_is_in_one_word(pieces: list[str]) -> None:
    report = report_of(pieces)
    covered = [position for word in report.words for position in range(word.start, word.end)]
    assert len(covered) == len(set(covered))
    letters = [k for k, character in enumerate(report.text) if character.isalnum()]
    assert set(letters) <= set(covered)
    assert [word.index for word in report.words] == list(range(len(report.words)))


def test_joined_words() -> None:
    words = find_words("2.5 cm mid-zone; patient's X-ray, 1,000 or a.b", ())
    assert [word.text for word in words] == ["2.5", "cm", "mid-zone", "patient's", "X-ray", "1,000", "or", "a", "b"]


def test_a_text_that_no_model_wrote_has_nothing_measured() -> None:
    (word,) = find_words("nodule", ())
    assert word.token_indices == ()
    assert math.isnan(word.image_mass)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="one entry for each token"):
        build_report([1, 2], [(0, 1)], "a", [-1.0], [()], [0.1], True)
    for spans in ([(0, 2), (0, 3)], [(0, 2), (1, 1)], [(0, 9)], [(2, 1)]):
        count = len(spans)
        with pytest.raises(ValueError, match="token span"):
            build_report([1] * count, spans, "abc", [-1.0] * count, [()] * count, [0.0] * count, True)


def test_words_and_findings_know_their_section() -> None:
    report = report_of(["LUNGS", ": A ", "nodule", ".\n", "HEART", ": En", "larged", " heart."])
    assert [word.text for word in report.words] == ["LUNGS", "A", "nodule", "HEART", "Enlarged", "heart"]
    assert [word.section for word in report.words] == [None, "LUNGS", "LUNGS", None, "HEART", "HEART"]
    nodule, heart = report.findings
    assert (nodule.name, nodule.section, nodule.word_indices) == ("nodule", "LUNGS", (2,))
    assert [report.words[k].text for k in heart.word_indices] == ["Enlarged", "heart"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("हिन्दी में रिपोर्ट", ["हिन्दी", "में", "रिपोर्ट"]),
        ("বাংলা ভাষা", ["বাংলা", "ভাষা"]),
        ("தமிழ் மொழி", ["தமிழ்", "மொழி"]),
        ("شَدِيدٌ جِدًّا", ["شَدِيدٌ", "جِدًّا"]),
        ("שָׁלוֹם עֲלֵיכֶם", ["שָׁלוֹם", "עֲלֵיכֶם"]),
        ("右肺に結節。", ["右", "肺", "に", "結", "節"]),
        ("肺部清晰", ["肺", "部", "清", "晰"]),
        ("ไม่", ["ไ", "ม่"]),
    ],
)
def test_words_of_other_scripts_end_where_unicode_says(text: str, words: list[str]) -> None:
    assert [word.text for word in find_words(text, ())] == words


def test_a_thought_is_a_part_of_its_own() -> None:
    """Its tokens and words are kept, but it has no finding, no section and no sentence."""
    report = report_of(["<unused94>", "thought\n", "Lungs: a nodule?", "<unused95>", "**Heart:**", " Enlarged", "."])
    (thought,) = report.thinking
    assert report.text[thought.start : thought.end] == "<unused94>thought\nLungs: a nodule?<unused95>"
    assert thought.token_indices == (0, 1, 2, 3)
    assert [section.name for section in report.sections] == ["Heart"]
    assert [(finding.name, finding.status) for finding in report.findings] == [("cardiomegaly", "present")]
    assert [sentence.start for sentence in report.sentences] == [report.text.index("Enlarged")]
    assert [word.text for word in report.words] == ["Lungs", "a", "nodule", "Heart", "Enlarged"]
    assert [word.section for word in report.words] == [None, None, None, None, "Heart"]


def test_inside_the_marks_of_a_thought() -> None:
    for text in ("a <unused94>thought b<unused95> c", "a <|channel>thought b<channel|> c"):
        (thought,) = report_of([text]).thinking
        first, last = inside_marks(text, thought.start, thought.end)
        assert text[first:last] == " b"


@pytest.mark.parametrize("text", ["<unused94>thought a nodule", "<|channel>thought\na nodule<channel|>"])
def test_a_thought_that_is_cut_off_and_one_of_gemma_4(text: str) -> None:
    report = report_of([text])
    assert [(thought.start, thought.end) for thought in report.thinking] == [(0, len(text))]
    assert report.findings == ()


def test_a_line_feed_at_the_end_is_no_part_of_the_last_word() -> None:
    """`$` stands before it too, and the word would reach to the end of the text."""
    words = find_words("No nodule\n", ())
    assert [(word.text, word.start, word.end) for word in words] == [("No", 0, 2), ("nodule", 3, 9)]
