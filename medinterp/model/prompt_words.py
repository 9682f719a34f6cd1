"""Which tokens of a prompt wrote which of its words, and which are the chat template's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from medinterp.errors import MethodError
from medinterp.model.loading import LoadedModel
from medinterp.model.offsets import decode_offsets
from medinterp.model.prompt import PromptInputs, chat_turn
from medinterp.report import find_words
from medinterp.types import ReportToken

_HERE = "\ue000"
"""Stands in the prompt's place to see what the template writes around it; private use, so in no template."""


@dataclass(frozen=True)
class PromptWords:
    """The words of a prompt as the report's are made, and where each stands.

    spans: start and end of each word in the prompt, code points; positions: for each the places in the sequence of the
    tokens that wrote it; between: places of the prompt's tokens that wrote no part of a word.
    """

    spans: tuple[tuple[int, int], ...]
    positions: tuple[tuple[int, ...], ...]
    between: tuple[int, ...]


def prompt_words(loaded: LoadedModel, inputs: PromptInputs, prompt: str) -> PromptWords:
    """Find the prompt's words among the positions of the sequence, by what the template writes around them.

    Never by searching for its text, which may stand in the template too. Raises MethodError where template or
    tokenizer do not give the prompt back letter by letter: its words could not be tied to tokens.
    """
    tokenizer = loaded.processor.tokenizer
    before, _, after = chat_turn(loaded, len(inputs.films), _HERE).partition(_HERE)
    written = inputs.text[len(before) : len(inputs.text) - len(after)]
    text, offsets = decode_offsets(tokenizer, inputs.input_ids.tolist())

    def letters(part: str) -> int:
        return len(decode_offsets(tokenizer, tokenizer(part, add_special_tokens=False)["input_ids"])[0])

    # Where an image stands the processor writes more than the template: counted from the side that has none.
    start = len(text) - letters(after) - len(written) if loaded.image_first else letters(before)
    lead = prompt.find(written)  # a template may trim
    if not written or lead < 0 or text[max(start, 0) : start + len(written)] != written:
        raise MethodError(
            "the model's chat template or tokenizer reads this prompt in other letters, so that its words cannot be "
            "tied to tokens; ask in plain letters"
        )
    end = start + len(written)
    inside = [
        (position, max(low, start) - start + lead, min(high, end) - start + lead)
        for position, (low, high) in enumerate(offsets)
        if low < end and high > start and low < high
    ]
    tokens = [ReportToken(position, 0, low, high, 0.0) for position, low, high in inside]
    words = find_words(prompt, tokens)
    return PromptWords(
        spans=tuple((word.start, word.end) for word in words),
        positions=tuple(word.token_indices for word in words),
        between=outside([position for position, _, _ in inside], [word.token_indices for word in words]),
    )


def outside(positions: Sequence[int], words: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """Those of the positions that belong to no word."""
    held = {position for word in words for position in word}
    return tuple(position for position in positions if position not in held)
