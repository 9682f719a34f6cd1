"""Phrases as data: the small language of the tables in data/, and finding them in linear time."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from medinterp.report.tables import word_set
from medinterp.report.tokens import Token, base_form

Value = TypeVar("Value")

# "...": where something is. "~": what joins a structure to what is said of it.
PLACES = word_set("place_run")
LINKS = word_set("link_run")
_RUN = 9
_ITEM = re.compile(r"\(|\)[?*]?|\||\.\.\.|~|<\w+>[?*]?|[^\s()|?*]+[?*]?")


@dataclass(frozen=True, slots=True)
class Match(Generic[Value]):
    """tokens[start:end] are a phrase of `value`."""

    value: Value
    start: int
    end: int


def run_of(words: Iterable[str]) -> str:
    """A regular expression for one of the words, with the blank behind it."""
    return f"(?:{'|'.join(map(re.escape, sorted(map(base_form, words))))}) "


STATES = word_set("states")
_GAPS = {
    "...": f"(?:{run_of(PLACES)}|(?:and |, )?{run_of(STATES)}){{0,{_RUN}}}?",
    "~": f"(?:{run_of(LINKS)}|{run_of(STATES)}(?:and|,|or) ){{0,{_RUN}}}?",
}


class _Parser:
    """One phrase into a regular expression over base forms (each with a blank behind it), and its first words."""

    def __init__(self, phrase: str, words: Mapping[str, str]) -> None:
        self._items = _ITEM.findall(phrase)
        self._words = words
        self._at = 0
        self.vocabulary: set[str] = set()

    def whole(self, name: str) -> tuple[str, set[str]]:
        """The expression and the words that can stand first; raises ValueError that says what is wrong with `name`."""
        strange = sorted(set(" ".join(self._items)) & set('+[]{}"\\^$-') | {s for s in self._items if s != s.lower()})
        if strange:
            raise ValueError(f"{name}: only small letters and ( | ) ? * ... ~ <word> can stand in it, not {strange}")
        try:
            pattern, firsts, empty = self.parse()
        except KeyError as error:
            raise ValueError(f"{name}: [words] has no {error}") from None
        except IndexError:
            raise ValueError(f"{name}: a bracket is not closed") from None
        if self._at != len(self._items):
            raise ValueError(f"{name}: a bracket is closed that was not opened")
        if empty:
            raise ValueError(f"{name}: all of it may be missing")
        return pattern, firsts

    def parse(self) -> tuple[str, set[str], bool]:
        """The expression, the words that can stand first, and whether it may be empty."""
        parts: list[str] = []
        firsts: set[str] = set()
        empty = False
        while True:
            part, first, nullable = self._sequence()
            parts.append(part)
            firsts |= first
            empty |= nullable
            if self._at == len(self._items) or self._items[self._at] != "|":
                break
            self._at += 1
        parts.sort(key=lambda part: -part.count(" "))  # the longest is tried first
        return (parts[0] if len(parts) == 1 else f"(?:{'|'.join(parts)})"), firsts, empty

    def _sequence(self) -> tuple[str, set[str], bool]:
        pattern, firsts, empty = "", set(), True
        while self._at < len(self._items) and self._items[self._at] != "|" and self._items[self._at][0] != ")":
            part, first, nullable = self._item()
            if empty:
                firsts |= first
            pattern += part
            empty &= nullable
        return pattern, firsts, empty

    def _item(self) -> tuple[str, set[str], bool]:
        item = self._items[self._at]
        self._at += 1
        if item in _GAPS:
            return _GAPS[item], set(map(base_form, PLACES if item == "..." else LINKS)), True
        if item == "(":
            part, firsts, nullable = self.parse()
            closing = self._items[self._at]
            self._at += 1
            return _repeated(part, closing[1:]), firsts, nullable or len(closing) > 1
        sign = item[-1] if item[-1] in "?*" and len(item) > 1 else ""
        word = item[: len(item) - len(sign)]
        if word.startswith("<"):
            inner = _Parser(self._words[word[1:-1]], self._words)
            part, firsts, nullable = inner.parse()
            self.vocabulary |= inner.vocabulary
            return _repeated(part, sign), firsts, nullable or bool(sign)
        word = base_form(word)
        self.vocabulary.add(word)
        return _repeated(re.escape(word) + " ", sign), {word}, bool(sign)


def _repeated(part: str, sign: str) -> str:
    return {"": part, "?": f"(?:{part})?", "*": f"(?:{part}){{0,4}}"}[sign]


class PhraseTable(Generic[Value]):
    """Phrases with what each means."""

    def __init__(self, phrases: Iterable[tuple[str, Value]], words: Mapping[str, str]) -> None:
        self.vocabulary: set[str] = set()
        self._by_first: dict[str, list[tuple[int, re.Pattern[str], Value]]] = {}
        for order, (phrase, value) in enumerate(phrases):
            parser = _Parser(phrase, words)
            pattern, firsts = parser.whole(f"the phrase {phrase!r} of {value!r}")
            self.vocabulary |= parser.vocabulary
            compiled = re.compile(pattern)
            for first in firsts:
                self._by_first.setdefault(first, []).append((order, compiled, value))

    def every(self, tokens: Sequence[Token]) -> list[tuple[int, Match[Value]]]:
        """(order, match) of each phrase at each token; of one value at one token the longest."""
        starts: list[int] = []
        ends: dict[int, int] = {}
        pieces: list[str] = []
        length = 0
        for index, token in enumerate(tokens):
            starts.append(length)
            pieces.append(f"{token.base} ")
            length += len(token.base) + 1
            ends[length] = index + 1
        text = "".join(pieces)
        found: list[tuple[int, Match[Value]]] = []
        for index, token in enumerate(tokens):
            for order, pattern, value in self._by_first.get(token.base, ()):
                match = pattern.match(text, starts[index])
                if match is not None and match.end() in ends:
                    found.append((order, Match(value, index, ends[match.end()])))
        return found

    def find(self, tokens: Sequence[Token], *, shared: bool = False, coordinated: bool = False) -> list[Match[Value]]:
        """The phrases in order, the longest first where two overlap, then the one that was given first.

        shared: different values of exactly the same tokens stand beside each other. coordinated: so do those that share
        a word of one "and" ("tortuous and calcified aorta" names two).
        """
        taken: dict[int, tuple[int, int]] = {}
        kept: dict[tuple[int, int], list[Match[Value]]] = {}
        for _, match in sorted(
            self.every(tokens), key=lambda item: (item[1].start - item[1].end, item[0], item[1].start)
        ):
            span = (match.start, match.end)
            others = {taken[k] for k in range(*span) if k in taken}
            if not all(
                (shared and other == span) or (coordinated and _coordinated(tokens, other, span)) for other in others
            ):
                continue
            if any(one.value == match.value for other in others for one in kept[other]):
                continue
            for k in range(*span):
                taken.setdefault(k, span)
            kept.setdefault(span, []).append(match)
        return [match for span in sorted(kept) for match in kept[span]]


def _coordinated(tokens: Sequence[Token], longer: tuple[int, int], shorter: tuple[int, int]) -> bool:
    """Whether the shorter phrase is a part of the longer one, from its start or to its end, across an "and"."""
    if longer[0] == shorter[0] and shorter[1] < longer[1]:
        rest = range(shorter[1], longer[1])
    elif longer[1] == shorter[1] and longer[0] < shorter[0]:
        rest = range(longer[0], shorter[0])
    else:
        return False
    between = [tokens[k].base for k in rest]
    return shorter[1] - shorter[0] > 1 and (not {"and", "or", ","}.isdisjoint(between) or STATES.issuperset(between))
