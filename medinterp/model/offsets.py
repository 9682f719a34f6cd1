"""From tokens to text as it grows, and which characters each token wrote."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from medinterp.report import THINKING_MARKS

_REPLACEMENT = "\ufffd"
_MARKS = frozenset(mark for pair in THINKING_MARKS for mark in pair)


class IncrementalDecoder:
    """Decodes one report token by token.

    A byte-level token may end inside a UTF-8 character; the character is held back until it is whole, and
    stands in the span of every token that wrote a part of it. The report's text is by definition the
    pieces one after the other, so what was streamed is what is kept. Control tokens write nothing, but for those that
    open or close a thought (Gemma 4's `<|channel>`): without them nobody could tell a thought from the report.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._marks = {
            token_id: str(token)
            for token_id, token in tokenizer.added_tokens_decoder.items()
            if token.special and str(token) in _MARKS
        }
        self._tokens: list[int] = []
        self._settled = 0
        """Tokens before this one have been written whole."""
        self._context = 0
        """Decoding starts at this token: the last piece is decoded again, as left context for the next."""
        self._ahead = 0
        """Characters already written of the tokens that are not settled."""
        self._pieces: list[str] = []
        self._offsets: list[tuple[int, int]] = []
        self._length = 0

    def push(self, token_id: int) -> str:
        """Take one token and return the text that it adds, which may be empty."""
        self._tokens.append(token_id)
        now = self._unsettled()
        whole = now.rstrip(_REPLACEMENT)
        piece = whole[self._ahead :]
        begun = int(len(now) > max(len(whole), self._ahead))
        self._pieces.append(piece)
        self._offsets.append((self._length, self._length + len(piece) + begun))
        self._length += len(piece)
        if begun:
            self._ahead += len(piece)
        else:
            self._context, self._settled, self._ahead = self._settled, len(self._tokens), 0
        return piece

    def finish(self) -> str:
        """Return what was still held back: the report ended inside a character."""
        if self._settled == len(self._tokens):
            return ""
        rest = self._unsettled()[self._ahead :]
        self._settled = len(self._tokens)
        self._pieces[-1] += rest
        self._offsets[-1] = (self._offsets[-1][0], self._length + len(rest))
        self._length += len(rest)
        return rest

    @property
    def text(self) -> str:
        """The report so far."""
        return "".join(self._pieces)

    @property
    def offsets(self) -> tuple[tuple[int, int], ...]:
        """For each token the span of characters in `text` that it wrote, wholly or in part: start, end."""
        return tuple(self._offsets)

    def _unsettled(self) -> str:
        """The text of the tokens that are not settled."""
        before = self._decode(self._context, self._settled)
        return self._decode(self._context, len(self._tokens))[len(before) :]

    def _decode(self, start: int, stop: int) -> str:
        pieces: list[str] = []
        for is_mark, run in groupby(self._tokens[start:stop], key=self._marks.__contains__):
            ids = list(run)
            if is_mark:
                pieces += [self._marks[token_id] for token_id in ids]
            else:
                pieces.append(self._tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))
        return "".join(pieces)


def decode_offsets(tokenizer: Any, token_ids: Sequence[int]) -> tuple[str, tuple[tuple[int, int], ...]]:
    """Decode a whole report: its text, and each token's span of characters."""
    decoder = IncrementalDecoder(tokenizer)
    for token_id in token_ids:
        decoder.push(token_id)
    decoder.finish()
    return decoder.text, decoder.offsets
