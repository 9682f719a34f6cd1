"""Tokens to characters: what is streamed is what is kept, and every character has its token."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from models import real_tokenizer, small_tokenizer

from medinterp.model.offsets import IncrementalDecoder, decode_offsets

TOKENIZER = small_tokenizer()


def joined(text: str, offsets: Sequence[tuple[int, int]]) -> str:
    """What the spans hold, a character that several tokens wrote counted once."""
    reached, pieces = 0, []
    for start, stop in offsets:
        assert max(0, reached - 1) <= start <= reached <= stop
        pieces.append(text[reached:stop])
        reached = stop
    return "".join(pieces)


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_any_text_comes_back_with_the_bytes_that_each_token_wrote(text: str) -> None:
    assume(not any(token.content in text for token in TOKENIZER.added_tokens_decoder.values()))  # they write nothing
    ids = TOKENIZER(text, add_special_tokens=False)["input_ids"]
    decoded, offsets = decode_offsets(TOKENIZER, ids)
    assert decoded == text == joined(decoded, offsets)
    # An independent count: a token's bytes are as many as the letters of its byte-level piece.
    sizes = [len(piece) for piece in TOKENIZER.convert_ids_to_tokens(ids)]
    owners = [k for k, character in enumerate(text) for _ in character.encode()]
    assert sum(sizes) == len(owners)
    at = 0
    for (start, stop), size in zip(offsets, sizes, strict=True):
        assert (start, stop) == (owners[at], owners[at + size - 1] + 1)
        at += size


@settings(deadline=None)
@given(st.lists(st.integers(0, len(TOKENIZER) - 1), max_size=30))
def test_any_tokens_stream_to_what_is_kept(ids: list[int]) -> None:
    decoder = IncrementalDecoder(TOKENIZER)
    streamed = "".join([decoder.push(token) for token in ids] + [decoder.finish()])
    assert streamed == decoder.text == TOKENIZER.decode(ids, skip_special_tokens=True)
    assert len(decoder.offsets) == len(ids)
    assert joined(decoder.text, decoder.offsets) == decoder.text


def test_a_character_of_several_tokens_stands_in_the_span_of_each() -> None:
    ids = TOKENIZER("A\N{GRINNING FACE}B", add_special_tokens=False)["input_ids"]
    assert len(ids) == 6  # four of them are the four bytes of one character
    text, offsets = decode_offsets(TOKENIZER, ids)
    assert text == "A\N{GRINNING FACE}B"
    assert offsets == ((0, 1), (1, 2), (1, 2), (1, 2), (1, 2), (2, 3))
    decoder = IncrementalDecoder(TOKENIZER)
    assert [decoder.push(token) for token in ids] == ["A", "", "", "", "\N{GRINNING FACE}", "B"]


def test_a_report_cut_inside_a_character_keeps_what_there_is() -> None:
    ids = TOKENIZER("A\N{GRINNING FACE}", add_special_tokens=False)["input_ids"][:3]
    text, offsets = decode_offsets(TOKENIZER, ids)
    assert text == "A\N{REPLACEMENT CHARACTER}"
    assert offsets == ((0, 1), (1, 2), (1, 2))


def test_control_tokens_write_nothing() -> None:
    ids = TOKENIZER("no tube", add_special_tokens=False)["input_ids"]
    control = TOKENIZER.convert_tokens_to_ids("<start_of_turn>")
    text, offsets = decode_offsets(TOKENIZER, [control, *ids[:1], control, *ids[1:]])
    assert text == "no tube"
    assert offsets[0] == (0, 0)
    assert offsets[2][0] == offsets[2][1] == offsets[1][1]


@pytest.mark.parametrize("text", ["DEVICES: No tube.\n\nLUNGS:  two  spaces", " épanchement \N{OGHAM LETTER BEITH}"])
def test_the_real_tokenizer_too(text: str) -> None:
    tokenizer = real_tokenizer()
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    decoded, offsets = decode_offsets(tokenizer, ids)
    assert decoded == text
    assert joined(text, offsets) == text


def test_the_marks_of_a_thought_are_kept_though_they_are_control_tokens() -> None:
    """Gemma 4 thinks between two special tokens; skipping them would run the thought into the report."""
    tokenizer = small_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|channel>", "<channel|>"]})
    opening, closing = tokenizer.convert_tokens_to_ids(["<|channel>", "<channel|>"])
    thought, answer = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in ("thought\nhm", "no tube"))
    text, offsets = decode_offsets(tokenizer, [opening, *thought, closing, *answer])
    assert text == "<|channel>thought\nhm<channel|>no tube" == joined(text, offsets)
    assert text[slice(*offsets[0])] == "<|channel>"
