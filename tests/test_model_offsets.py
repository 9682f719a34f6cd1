"""Tokens to characters: what is streamed is what is kept, and every character has its token."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from models import real_tokenizer, small_tokenizer

from medinterp.model.offsets import IncrementalDecoder, decode_offsets

TOKENIZER = small_tokenizer()


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_any_text_comes_back_with_spans_that_tile_it(text: str) -> None:
    ids = TOKENIZER(text, add_special_tokens=False)["input_ids"]
    decoded, offsets = decode_offsets(TOKENIZER, ids)
    assert decoded == TOKENIZER.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    assert "".join(decoded[start:stop] for start, stop in offsets) == decoded
    assert [start for start, _ in offsets] == [0, *(stop for _, stop in offsets)][: len(offsets)]


@settings(deadline=None)
@given(st.lists(st.integers(0, len(TOKENIZER) - 1), max_size=30))
def test_any_tokens_stream_to_what_is_kept(ids: list[int]) -> None:
    decoder = IncrementalDecoder(TOKENIZER)
    streamed = "".join([decoder.push(token) for token in ids] + [decoder.finish()])
    assert streamed == decoder.text
    assert len(decoder.offsets) == len(ids)
    assert "".join(decoder.text[start:stop] for start, stop in decoder.offsets) == decoder.text


def test_a_token_that_ends_inside_a_character_writes_nothing_yet() -> None:
    ids = TOKENIZER("A\N{GRINNING FACE}B", add_special_tokens=False)["input_ids"]
    assert len(ids) == 6  # four of them are the four bytes of one character
    text, offsets = decode_offsets(TOKENIZER, ids)
    assert text == "A\N{GRINNING FACE}B"
    assert offsets == ((0, 1), (1, 1), (1, 1), (1, 1), (1, 2), (2, 3))


def test_a_report_cut_inside_a_character_keeps_what_there_is() -> None:
    ids = TOKENIZER("A\N{GRINNING FACE}", add_special_tokens=False)["input_ids"][:3]
    text, offsets = decode_offsets(TOKENIZER, ids)
    assert text == "A\N{REPLACEMENT CHARACTER}"
    assert offsets == ((0, 1), (1, 1), (1, 2))


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
    assert "".join(text[start:stop] for start, stop in offsets) == text
