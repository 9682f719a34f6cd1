"""The words of a text as the lexicon knows them: base forms, spelling, abbreviations."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

_TOKEN = re.compile(
    r"\*\*[ \t]*\n|\[ \]|\+/-|\bw/out\b|\b(?:[rhsbwfcRHSBWFC]/[opwluPOWLU]|e\.g|i\.e)\b\.?|"
    r"[^\W\d_]+(?:['’][^\W\d_]+)?|\d+(?:[.,]\d+)*|[^\s\w]",
)
_HIDDEN = re.compile(r"[xX]{3,}")
"""What stands for a word that was taken out to hide a person."""
_BOLD_LINE = re.compile(r"[ \t]*(?:(?:[*+\-•]|\d{1,2}[.)])[ \t]+)?\*\*[^*]+$")
"""A line that is bold as a whole is a label of what stands below it."""
_SIGNS = {
    "?": "query",
    "&": "and",
    "+/-": "possible",
    "w/out": "w/o",
    "[ ]": "no",
    "\u274c": "no",
    "\u2717": "no",
    "\u2718": "no",
    "\u2610": "no",
}
_DROPPED = frozenset("*_`#\"'“”‘’$\\{}~^[]<>=")
_IRREGULAR = {
    "apices": "apex",
    "apexes": "apex",
    "bases": "base",
    "hila": "hilum",
    "hili": "hilum",
    "hilus": "hilum",
    "vertebrae": "vertebra",
    "vertebras": "vertebra",
    "bullae": "bulla",
    "pleurae": "pleura",
    "sulci": "sulcus",
    "bronchi": "bronchus",
    "emboli": "embolus",
    "granulomata": "granuloma",
    "pneumothoraces": "pneumothorax",
    "pneumothoraxes": "pneumothorax",
    "hydropneumothoraces": "hydropneumothorax",
    "hemidiaphragms": "hemidiaphragm",
    "viscera": "viscera",
    "lenses": "lens",
    "foci": "focus",
    "thoraces": "thorax",
    "metastatic": "metastatic",
    "intersitial": "interstitial",
    "dont": "don't",
    "doesnt": "doesn't",
    "isnt": "isn't",
    "arent": "aren't",
    "cant": "can't",
    "effs": "effusion",
    "atx": "atelectasis",
    "consol": "consolidation",
    "degen": "degenerative",
    "vols": "volume",
    "fx": "fracture",
    "fxs": "fracture",
    "xray": "x-ray",
    "entubated": "intubated",
    "hasnt": "hasn't",
    "havent": "haven't",
    "wasnt": "wasn't",
    "didnt": "didn't",
}
_KEPT = frozenset(
    "has was is this as its gas pancreas us plus thus versus vs lens dish kerley yes less his minus".split()
)
_BRITISH = (("oedem", "edem"), ("haem", "hem"), ("oesoph", "esoph"), ("tumour", "tumor"), ("grey", "gray"))
LONG = 7
"""Words of so many letters are read with one letter wrong; short ones never."""


@dataclass(frozen=True, slots=True)
class Token:
    """A word or a sign: its base form, its characters text[start:end], and whether it is a plural."""

    base: str
    start: int
    end: int
    plural: bool = False


def tokenise(text: str, start: int, end: int, spelling: Spelling) -> list[Token]:
    """The tokens of text[start:end]; markup is left out."""
    tokens: list[Token] = []
    for match in _TOKEN.finditer(text, start, end):
        written = match.group()
        if written == "-" and _within(text, match.start()):
            continue  # "air-fluid" is two words
        if written.endswith("\n") and not _BOLD_LINE.match(text, text.rfind("\n", 0, match.start()) + 1, match.start()):
            continue
        if written not in _DROPPED and not _HIDDEN.fullmatch(written):
            base = ":" if written.endswith("\n") else _SIGNS.get(written) or spelling.base(written)
            plural = (written[-1:] in "sS" and base[-1:] != "s") or (
                base in ("apex", "hilum") and written.lower() != base
            )
            tokens.append(Token(base, *match.span(), plural))
    return tokens


def _within(text: str, at: int) -> bool:
    """Whether letters or digits stand on both sides."""
    return 0 < at < len(text) - 1 and text[at - 1].isalnum() and text[at + 1].isalnum()


def base_form(written: str) -> str:
    """Lower case, singular, American: "Opacities" is "opacity", "oedema" is "edema"."""
    word = written.lower().replace("’", "'").rstrip(".") or written
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if word.endswith("'s"):
        word = word[:-2]
    for british, american in _BRITISH:
        word = word.replace(british, american)
    if len(word) <= 3 or word in _KEPT or not word.endswith("s"):
        return word
    if word.endswith("ies"):
        return word[:-3] + "y"
    if word.endswith(("sses", "xes", "ches", "shes")):
        return word[:-2]
    if word.endswith(("ases", "oses", "yses", "eses")) and word[:-2] + "is" in _ENDS_IN_IS:
        return word[:-2] + "is"
    return word if word.endswith(("ss", "us", "is", "'s")) else word[:-1]


_ENDS_IN_IS = frozenset("atelectasis metastasis stenosis fibrosis diagnosis prosthesis anastomosis scoliosis".split())


class Spelling:
    """Base forms, and of the lexicon's long words also what is written with one letter wrong.

    One letter left out, added, exchanged for another, or changed with its neighbour (Damerau 1964).
    """

    def __init__(self, long_words: Collection[str], known: Collection[str]) -> None:
        self._known = known
        self._longest = max((len(word) for word in long_words), default=0) + 1
        self._near: dict[str, list[str]] = {}
        for word in sorted({word for word in long_words if len(word) >= LONG and word.isalpha()}):
            for shorter in {word, *_without_one(word)}:
                self._near.setdefault(shorter, []).append(word)
        self._bases: dict[str, str] = {}

    def base(self, written: str) -> str:
        """The word as the lexicon writes it."""
        found = self._bases.get(written)
        if found is None:
            found = self._correct(base_form(written))
            if len(self._bases) < 20_000 and len(written) <= self._longest:
                self._bases[written] = found
        return found

    def _correct(self, word: str) -> str:
        if not LONG - 1 <= len(word) <= self._longest or word in self._known or not word.isalpha():
            return word
        found = {near for candidate in (word, *_without_one(word)) for near in self._near.get(candidate, ())}
        near = [other for other in found if _one_edit(word, other)]
        return near[0] if len(near) == 1 else word


def _without_one(word: str) -> list[str]:
    return [word[:index] + word[index + 1 :] for index in range(len(word))]


def _one_edit(one: str, other: str) -> bool:
    """Whether one letter makes the difference; the first letter is never the wrong one."""
    if one[0] != other[0]:
        return False
    if len(one) > len(other):
        one, other = other, one
    first = next((k for k, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), len(one))
    if len(one) < len(other):
        return one[first:] == other[first + 1 :]
    rest, others = one[first:], other[first:]
    return rest[1:] == others[1:] or (rest[:2] == others[1::-1] and rest[2:] == others[2:])
