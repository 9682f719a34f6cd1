"""Which tokens of a prompt wrote which of its words, and which are the chat template's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from medinterp.errors import MethodError
from medinterp.model.loading import LoadedModel
from medinterp.model.offsets import decode_offsets
from medinterp.model.prompt import PICTURE, PromptInputs, conversation_of, places
from medinterp.report import find_words
from medinterp.types import Asked, Conversation, ReportToken, Turn
from medinterp.types.conversation import GAP

_OTHER_LETTERS = (
    "the model's chat template or tokenizer reads this prompt in other letters, so that its words cannot be tied to "
    "tokens; ask in plain letters"
)


@dataclass(frozen=True)
class PromptWords:
    """The words of what was asked as the report's are made, and where each stands.

    spans: start and end of each word in the prompt (of a conversation: in its `text`), code points; positions: for
    each the places in the sequence of the tokens that wrote it; between: places of the prompt's tokens that wrote no
    part of a word.
    """

    spans: tuple[tuple[int, int], ...]
    positions: tuple[tuple[int, ...], ...]
    between: tuple[int, ...]


def prompt_words(loaded: LoadedModel, inputs: PromptInputs, asked: Asked) -> PromptWords:
    """Find the words of what was asked among the positions of the sequence, by what the template writes around them.

    Never by searching for their text, which may stand in the template too. Raises MethodError where template or
    tokenizer do not give the words back letter by letter: they could not be tied to tokens.
    """
    tokenizer = loaded.processor.tokenizer
    conversation = conversation_of(loaded, asked, len(inputs.films))
    text, offsets = decode_offsets(tokenizer, inputs.input_ids.tolist())

    def letters(part: str) -> str:
        return decode_offsets(tokenizer, tokenizer(part, add_special_tokens=False)["input_ids"])[0]

    probe = Conversation((Turn("user", (PICTURE, 0, PICTURE)),))
    image = places(loaded, probe)[1]  # what the template writes for a film
    if not image:
        raise MethodError(_OTHER_LETTERS)
    tokens: list[ReportToken] = []
    shown, at = 0, 0  # characters of the conversation's words, and of the rendered prompt
    for before, words in zip(places(loaded, conversation), conversation.texts, strict=False):
        written = words.strip() if inputs.text[at + len(before) :].startswith(words.strip()) else words
        at += len(before)
        if not inputs.text.startswith(before, at - len(before)) or not inputs.text.startswith(written, at):
            raise MethodError(_OTHER_LETTERS)
        stretch = inputs.text[:at].rpartition(image)[2]
        behind, _, _ = inputs.text[at:].partition(image)
        start = _stretch_start(inputs, text, offsets, inputs.text[:at].count(image), letters(stretch + behind))
        start += len(letters(stretch))
        end, lead = start + len(written), shown + words.find(written)
        if text[start:end] != written:
            raise MethodError(_OTHER_LETTERS)
        tokens += [
            ReportToken(position, 0, max(low, start) - start + lead, min(high, end) - start + lead, 0.0)
            for position, (low, high) in enumerate(offsets)
            if low < end and high > start and low < high
        ]
        at += len(written)
        shown += len(words) + len(GAP)
    found = find_words(conversation.text, tokens)
    return PromptWords(
        spans=tuple((word.start, word.end) for word in found),
        positions=tuple(word.token_indices for word in found),
        between=outside([token.index for token in tokens], [word.token_indices for word in found]),
    )


def _stretch_start(
    inputs: PromptInputs, text: str, offsets: Sequence[tuple[int, int]], films: int, letters: str
) -> int:
    """Where in the decoded prompt the template's letters behind so many films begin.

    The processor writes line ends behind a film that the template does not: they are counted off.
    """
    if films == 0:
        return 0
    stop = inputs.films[films - 1][-1].stop
    start = offsets[stop][0] if stop < len(offsets) else len(text)
    more = len(text[start:]) - len(text[start:].lstrip()) - (len(letters) - len(letters.lstrip()))
    return start + max(more, 0)


def outside(positions: Sequence[int], words: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """Those of the positions that belong to no word."""
    held = {position for word in words for position in word}
    return tuple(position for position in positions if position not in held)
