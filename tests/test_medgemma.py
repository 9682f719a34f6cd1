"""MedGemma without its weights: Gemma 3's own tokenizer and template on a random checkpoint of its layout, narrowed."""

from __future__ import annotations

import dataclasses
import functools
import json
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any
from xml.dom import minidom

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medinterp import Explainer, Explanation
from medinterp.api.store import pack_record, unpack_record
from medinterp.errors import PromptError
from medinterp.evaluation.faithfulness import Judge
from medinterp.evaluation.sensitivity.margins import forced_logprobs
from medinterp.export.files import FileTask, make_file
from medinterp.model import LoadedModel
from medinterp.model.offsets import decode_offsets
from medinterp.model.prompt import DEFAULT_PRIOR, DEFAULT_PROMPT, DEFAULT_SYSTEM, ask, build_prompt
from medinterp.model.prompt_words import prompt_words
from medinterp.relevancy import compute_maps
from medinterp.report import build_report, read_report
from medinterp.types import Asked, Conversation, Report, Turn
from tests.medgemma import VOCABULARY, save_medgemma
from tests.medgemma_answers import ANSWERS
from tests.models import noise_film, real_tokenizer

FILM, PRIOR = noise_film(1), noise_film(2, 240, 320)
TALK = Conversation(
    (
        Turn("user", ("Before it: ", 0, "  is there a nodule? Größe?\n")),
        Turn("assistant", ("**No:** there is none.",)),
        Turn("user", ("An earlier film:", 1, "Is it *new*?")),
    ),
    "Be brief.",
)


@pytest.fixture(scope="module")
def explainer(tmp_path_factory: pytest.TempPathFactory) -> Explainer:
    return Explainer.from_pretrained(str(save_medgemma(tmp_path_factory.mktemp("medgemma"), narrow=True)), check=True)


@pytest.fixture(scope="module")
def loaded(explainer: Explainer) -> LoadedModel:
    return explainer.loaded


@pytest.fixture(scope="module")
def explanation(explainer: Explainer) -> Explanation:
    return explainer.explain(FILM, prior=PRIOR, force=True, prompt=TALK, max_new_tokens=12, methods=["raw"])


def test_it_is_medgemmas_layout(loaded: LoadedModel) -> None:
    facts = loaded.facts
    assert loaded.model.config.text_config.vocab_size == VOCABULARY
    assert (facts.least_cells, facts.sliding_window, facts.context_length) == (256, 1024, 131_072)
    assert facts.eos_token_ids == {1, 106} and len(loaded.processor.tokenizer) == 262_145


def test_what_the_template_writes(loaded: LoadedModel) -> None:
    """The instruction stands in the first turn of the user, before its film; texts lose their outer blanks."""
    assert build_prompt(loaded, [FILM, PRIOR], TALK).text == (
        "<bos><start_of_turn>user\nBe brief.\n\nBefore it:<start_of_image>is there a nodule? Größe?<end_of_turn>\n"
        "<start_of_turn>model\n**No:** there is none.<end_of_turn>\n"
        "<start_of_turn>user\nAn earlier film:<start_of_image>Is it *new*?<end_of_turn>\n<start_of_turn>model\n"
    )
    assert build_prompt(loaded, [FILM], "Read it.").text == (
        "<bos><start_of_turn>user\n<start_of_image>Read it.<end_of_turn>\n<start_of_turn>model\n"
    )


@pytest.mark.parametrize(
    ("asked", "films"),
    [
        (TALK, 2),
        ("Größe des Herzens?\n  user model\n", 1),
        (Conversation((Turn("user", ("new user", 0, "user new")),), "user"), 1),
        (Conversation((Turn("user", (0, 1)), Turn("assistant", ("a",)), Turn("user", ("a a",))), "a"), 2),
        (Conversation((Turn("user", (0, "One", 1)),)), 2),
    ],
    ids=["talk", "words of the template", "around", "the same word", "between"],
)
def test_spans_and_words_of_a_conversation(loaded: LoadedModel, asked: Asked, films: int) -> None:
    inputs = build_prompt(loaded, [FILM, PRIOR][:films], asked)
    ids = inputs.input_ids.tolist()
    assert ids.count(2) == 1 and ids[0] == 2, "one BOS"
    assert len(inputs.films) == films and inputs.cells == films * 256
    assert ids.count(loaded.facts.image_token_id) == inputs.cells
    for span in inputs.image_spans:
        assert set(ids[span.start : span.stop]) == {loaded.facts.image_token_id}
    words = prompt_words(loaded, inputs, asked)
    text = asked if isinstance(asked, str) else asked.text
    assert words.spans == tuple((word.start, word.end) for word in read_report(text).words)
    for (start, end), positions in zip(words.spans, words.positions, strict=True):
        assert text[start:end] in tokenizer().decode([ids[p] for p in positions])
    flat = [p for positions in words.positions for p in positions]
    assert flat == sorted(flat), "one behind the other"
    held = sorted({*flat, *words.between})
    parts = (asked,) if isinstance(asked, str) else asked.texts
    assert "".join(tokenizer().decode([ids[p] for p in held]).split()) == "".join("".join(parts).split())


@pytest.mark.parametrize(
    ("turns", "told"),
    [
        ((), "alternate"),
        ((Turn("user", (0, "a")), Turn("assistant", ("b",))), "alternate"),
        ((Turn("user", (0, "a")), Turn("user", ("b",))), "alternate"),
        ((Turn("user", ("a",)),), "names each once"),
        ((Turn("user", (1, 0, "a")),), "names each once"),
        ((Turn("user", ("a",)), Turn("assistant", (0, "b")), Turn("user", ("c",))), "the user's"),
        ((Turn("user", (0, "<start_of_", "image>")),), "join them"),
        ((Turn("user", (0, "a<end_of_turn>")),), "control tokens"),
        ((Turn("user", (0, "a")), Turn("assistant", ("<start_of_image>",)), Turn("user", ("c",))), "control tokens"),
        ((Turn("user", (0, "a")), Turn("assistant", (" ",)), Turn("user", ("c",))), "empty"),
        ((Turn("user", (0,)),), "empty"),
        ((Turn("user", (0, "a")), Turn("assistant", ()), Turn("user", ("c",))), "empty"),
    ],
)
def test_what_is_no_conversation(loaded: LoadedModel, turns: tuple[Turn, ...], told: str) -> None:
    with pytest.raises(PromptError, match=told):
        build_prompt(loaded, [FILM], Conversation(turns))


def test_an_instruction_may_hold_no_control_token(loaded: LoadedModel) -> None:
    with pytest.raises(PromptError, match="control tokens"):
        build_prompt(loaded, [FILM], ask(loaded, "Read it.", system="Be <bos> brief."))


def test_what_is_asked_where_nobody_says(loaded: LoadedModel) -> None:
    """The instruction of MedGemma's model card, and a prompt that says which film is which."""
    (turn,) = (plain := ask(loaded)).turns  # type: ignore[union-attr]
    assert (plain.system, turn.parts) == (DEFAULT_SYSTEM, (0, DEFAULT_PROMPT))  # type: ignore[union-attr]
    (turn,) = ask(loaded, indication=" cough, fever\n", films=2).turns  # type: ignore[union-attr]
    assert turn.parts == (0, 1, f"{DEFAULT_PROMPT}{DEFAULT_PRIOR}\n\nIndication: cough, fever")
    assert ask(loaded, "Is there a nodule?", system="") == "Is there a nodule?"
    assert ask(loaded, "A", indication="b", system="") == "A\n\nIndication: b"
    with pytest.raises(PromptError, match="leave out"):
        ask(loaded, TALK, indication="cough")
    assert ask(loaded, dataclasses.replace(TALK, system=None)).system == DEFAULT_SYSTEM  # type: ignore[union-attr]
    own = dataclasses.replace(loaded, default_prompt="Mine.", system="", reads_indication=False)
    assert ask(own, films=2) == "Mine."
    with pytest.raises(PromptError, match="indication") as caught:
        ask(own, indication="Mrs Doe coughs")
    assert "Doe" not in str(caught.value)


@pytest.mark.parametrize("broken", ["system", "assistant"])
def test_a_template_without_such_a_turn_refuses_it(loaded: LoadedModel, broken: str) -> None:
    """The real template raises, and what it says is not passed on; another one leaves the turn out."""
    whole = loaded.processor.chat_template
    loop = "{%- for message in loop_messages -%}"
    drops = whole.replace(loop, loop.replace(" -%}", " if message['role'] != 'assistant' -%}"))
    drops = drops.replace("raise_exception(", "(")
    drops = drops.replace('(first_user_prefix if loop.first else "")', "''")
    refuses = "{% if messages | length > 1 %}{{ raise_exception(messages | string) }}"
    talk = dataclasses.replace(TALK, system=None)
    asked = ask(loaded, "Mrs Doe?", system="Be brief.") if broken == "system" else talk
    films = [FILM] if broken == "system" else [FILM, PRIOR]
    try:
        for template, told in ((drops, "has no place for"), (refuses + "{% endif %}" + whole, "refuses")):
            loaded.processor.chat_template = template
            with pytest.raises(PromptError, match=told) as caught:
                build_prompt(loaded, films, asked)
            assert "Doe" not in str(caught.value) and caught.value.__cause__ is None
            assert ("instruction" if broken == "system" else "earlier answers") in str(caught.value)
    finally:
        loaded.processor.chat_template = whole


def test_every_question_builds_the_very_same_conversation(
    explainer: Explainer, explanation: Explanation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Log-probabilities by teacher forcing are the report's own, and no forward reads another prompt."""
    loaded, report = explainer.loaded, explanation.report
    assert explanation.provenance.asked == TALK and explanation.provenance.prompt == TALK.text
    own = build_prompt(loaded, [FILM, PRIOR], TALK)
    assert explanation.provenance.prompt_tokens == own.length
    read = type(loaded.family).read_prompt
    seen: list[tuple[str, int]] = []

    def watched(family: Any, model: Any, processor: Any, facts: Any, text: str, pictures: Any) -> Any:
        inputs = read(family, model, processor, facts, text, pictures)
        if len(pictures) == 2:
            seen.append((text, inputs.length))
        return inputs

    monkeypatch.setattr(type(loaded.family), "read_prompt", watched)
    word = report.words[0]
    tokens = list(word.token_indices)
    logprobs = np.array([token.logprob for token in report.tokens])
    with explainer.loaded.lock:  # as `faithfulness` begins
        judge = Judge(loaded, [FILM, PRIOR], explanation.provenance.asked, [t.token_id for t in report.tokens], tokens,
                      image=1, swaps=[noise_film(9)])  # fmt: skip
    assert judge.logprob == pytest.approx(logprobs[tokens].sum(), abs=1e-4)
    for image in (0, 1):
        heads = explainer.heads(explanation, word, image=image)
        assert explanation.trace is not None
        rows = explanation.trace.image_attention[tokens][..., image * 256 : image * 256 + 256].astype(np.float32)
        np.testing.assert_allclose(heads.maps.reshape(*heads.maps.shape[:2], -1), rows.mean(axis=0), atol=2e-3)
    reliance = explainer.reliance(explanation, swaps=[noise_film(9)])
    np.testing.assert_allclose(reliance.logprob, [one.logprob for one in report.words], atol=1e-4)
    sources = explainer.text_sources(explanation, word)
    assert sources.logprob == pytest.approx(logprobs[tokens].sum(), abs=1e-4)
    assert sources.prompt_spans == tuple((one.start, one.end) for one in read_report(TALK.text).words)
    measured = explainer._generator.measure([FILM, PRIOR], report, explanation.provenance.asked, ["edge_gradient"])
    assert measured["edge_gradient"].values.shape == (len(report.tokens), 512)
    ids = [token.token_id for token in report.tokens]
    given = explainer._generator.force([FILM, PRIOR], ids, explanation.provenance.asked)
    np.testing.assert_allclose([token.logprob for token in given.report.tokens], logprobs, atol=1e-4)
    assert given.trace.provenance.asked == TALK
    assert len(seen) == 7 and set(seen) == {(own.text, own.length)}


def test_a_comparison_asks_the_conversation_too(explainer: Explainer) -> None:
    asked = Conversation((Turn("user", ("Left or right?", 0, "Where is the left nodule?")),), "Be brief.")
    first = explainer.explain(FILM, force=True, prompt=asked, max_new_tokens=6, methods=["raw"])
    logprobs = [token.logprob for token in first.report.tokens]
    ids = [token.token_id for token in first.report.tokens]
    forced = forced_logprobs(explainer.loaded, FILM, first.provenance.asked, ids)
    np.testing.assert_allclose(forced[: len(ids)], logprobs, atol=1e-4)
    compared = explainer.sensitivity(first, perturbations=["flip"])
    assert compared.report == first.report.text and compared.prompt == asked.text  # type: ignore[union-attr]


def test_it_is_kept_in_the_store(explanation: Explanation) -> None:
    kept = unpack_record(pack_record(explanation))
    assert kept.provenance.asked == TALK == explanation.provenance.asked
    assert kept.report.text == explanation.report.text


@functools.cache
def tokenizer() -> Any:
    """Hypothesis is not given it: it would print all its tokens."""
    return real_tokenizer()


def report_of(text: str, *, limit: int | None = None) -> Report:
    ids = tokenizer()(text, add_special_tokens=False)["input_ids"][:limit]
    decoded, offsets = decode_offsets(tokenizer(), ids)
    count = len(ids)
    return build_report(
        ids, offsets, decoded, [-1.0] * count, [()] * count, [0.1] * count, limit is None or decoded == text
    )


def check_tiling(report: Report) -> None:
    """Token spans are the text, one behind the other; words share it with the tokens that wrote them."""
    reached = 0
    for token in report.tokens:
        assert max(0, reached - 1) <= token.start <= reached <= token.end
        reached = token.end
    assert reached == len(report.text)
    for word, after in pairwise(report.words):
        assert word.end <= after.start
    for word in report.words:
        assert report.text[word.start : word.end] == word.text
        wrote = [t.index for t in report.tokens if t.start < t.end and t.start < word.end and word.start < t.end]
        assert word.token_indices == tuple(wrote)
    for section in report.sections:
        assert report.text[section.start : section.end] == section.text


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_of_medgemmas_is_read_and_every_cut_of_it_stands(name: str) -> None:
    answer = ANSWERS[name]
    whole = report_of(answer.text)
    assert whole.text == answer.text and whole.unfinished is None
    check_tiling(whole)
    assert tuple(section.name for section in whole.sections) == answer.sections
    found = {(one.name, one.side, one.status) for one in whole.findings}
    assert set(answer.findings) <= found
    assert len(whole.thinking) == answer.thoughts
    for thought in whole.thinking:
        assert not any(thought.start <= one.start < thought.end for one in (*whole.findings, *whole.sections))
    for limit in range(1, len(whole.tokens), max(1, len(whole.tokens) // 12)):
        cut = report_of(answer.text, limit=limit)
        check_tiling(cut)
        assert cut.unfinished is not None and f"after {limit} token" in cut.unfinished


def test_a_thought_that_was_cut_off_is_no_report() -> None:
    text = ANSWERS["thought"].text
    inside = report_of(text, limit=12)
    assert inside.findings == () == inside.sections and "before the report began" in str(inside.unfinished)
    begun = report_of(text, limit=len(report_of(text).tokens) - 2)
    assert begun.unfinished is not None and "before" not in begun.unfinished


PIECES = st.sampled_from(
    ["**FINDINGS:**", "## Impression", "\n", "\n\n", "* ", ":**", "<unused94>thought\n", "<unused95>", "No nodule.",
     " ", "Größe", "胸", "👩🏽‍⚕️", "\u202e", "\x00", "|", "1. ", "Heart", "ﷺ", "\r"]
)  # fmt: skip


@settings(deadline=None, max_examples=80)
@given(st.lists(PIECES, max_size=14), st.integers(0, 40))
def test_any_answer_tiles(pieces: list[str], limit: int) -> None:
    text = "".join(pieces)
    ids = tokenizer()(text, add_special_tokens=False)["input_ids"]
    assert decode_offsets(tokenizer(), ids)[0] == text
    check_tiling(report_of(text))
    check_tiling(report_of(text, limit=limit))


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(0, VOCABULARY - 1), max_size=24))
def test_any_tokens_tile(ids: list[int]) -> None:
    """A random model's: control letters, halves of characters, numbers that no token has."""
    text, offsets = decode_offsets(tokenizer(), ids)
    count = len(ids)
    check_tiling(build_report(ids, offsets, text, [-1.0] * count, [()] * count, [0.1] * count, True))


def test_what_a_random_model_writes_can_be_taken_away(explainer: Explainer) -> None:
    """Control letters, writing from right to left, half a character: JSON, HTML and SVG are whole."""
    odd = ["<0x00>", "<0x1B>", "<0xE2>", "<0x80>", "<0xAE>", "<0xFF>", "<unused94>"]
    bytes_ = tokenizer().convert_tokens_to_ids(odd)
    words = tokenizer()(" vatt קצ كلا علىMenuBar గ్రాలు", add_special_tokens=False)["input_ids"]
    generation = explainer._generator.force([FILM], [*words, *bytes_, *words])
    packs = compute_maps(generation.trace, ["raw"])
    made = Explanation(FILM, generation.report, packs, generation.trace.provenance)
    kept = unpack_record(pack_record(made))
    assert kept.report == generation.report and "\x00" in kept.report.text
    now = datetime.now(UTC)
    assert json.loads(make_file(kept, FileTask("json"), now))["text"] == kept.report.text
    assert b"\x00" not in make_file(kept, FileTask("html"), now)
    svg = make_file(kept, FileTask("figure-svg", selection=kept.report.words), now)
    assert minidom.parseString(svg).documentElement.tagName == "svg"
