"""The tables of data/: names of chest findings, cues, and words for side and zone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from medinterp.report.phrases import LINKS, PLACES, PhraseTable
from medinterp.report.tables import table
from medinterp.report.tokens import Spelling, base_form

Cue = tuple[str, str]
"""What a cue does and to which side: ("deny", "before") denies what follows it."""


IGNORED = "ignored"
"""The entry for what looks like a name and is none."""


@dataclass(frozen=True)
class Term:
    """A finding of the table, with its keys (data/findings.toml says what each means).

    snomed, radlex: its codes, where one is public.
    """

    name: str
    sided: bool
    zoned: bool
    device: bool
    apart: bool
    part: bool
    sign: bool
    anywhere: bool
    looks: bool
    usual: bool
    chronic: bool
    snomed: str | None
    radlex: str | None


@dataclass(frozen=True)
class Lexicon:
    """All tables, compiled.

    denied: structure -> names of the findings that a normal statement about it denies; narrow: property -> the only
    ones that a statement about that property does.
    """

    terms: Mapping[str, Term]
    names: PhraseTable[str]
    structures: PhraseTable[str]
    denied: Mapping[str, tuple[str, ...]]
    narrow: Mapping[str, frozenset[str]]
    cues: PhraseTable[Cue]
    changes: PhraseTable[str]
    boundaries: PhraseTable[str]
    roles: PhraseTable[str]
    places: PhraseTable[tuple[str, str]]
    normal: PhraseTable[str]
    topics: PhraseTable[str]
    spelling: Spelling


@cache
def lexicon() -> Lexicon:
    """The tables, read once."""
    found, cues = dict(table("findings")), table("cues")
    words, structures = found.pop("words"), found.pop("structures")
    macros = {**words, **cues["words"]}
    _check(found, structures)
    terms = {name: _term(name, entry) for name, entry in found.items() if name != IGNORED}
    names = PhraseTable(((phrase, name) for name, entry in found.items() for phrase in entry["phrases"]), macros)
    tables: dict[str, PhraseTable[Any]] = {
        "structures": PhraseTable(_pairs(structures), macros),
        "cues": PhraseTable(
            ((p, (kind, way)) for kind in ("affirm", "hedge", "deny") for p, way in _pairs(cues[kind])), macros
        ),
        "changes": PhraseTable(_pairs(cues["change"]), macros),
        "boundaries": PhraseTable(_pairs(cues["boundary"]), macros),
        "roles": PhraseTable(_pairs({**cues["role"], "elsewhere": cues["place"]["elsewhere"]}), macros),
        "places": PhraseTable(
            [
                *((p, ("mask", key)) for key in ("not_a_side", "none_there") for p in cues["place"][key]),
                *((p, ("side", side)) for p, side in _pairs(cues["place"]["side"])),
                *((p, ("zone", zone)) for p, zone in _pairs(cues["place"]["zone"])),
            ],
            macros,
        ),
        "normal": PhraseTable(_pairs(cues["normal"]), macros),
        "topics": PhraseTable(_pairs(cues["topic"]), macros),
    }
    known = set(names.vocabulary).union(*(each.vocabulary for each in tables.values()), LINKS, PLACES)
    known |= set(map(base_form, cues["spelling"]["real"]))
    denied: dict[str, list[str]] = {}
    for name, entry in found.items():
        for structure in entry.get("normal", ()):
            denied.setdefault(structure, []).append(name)
    return Lexicon(
        terms=terms,
        names=names,
        denied={structure: tuple(its) for structure, its in denied.items()},
        narrow={word: frozenset(its) for word, its in cues["narrow"].items()},
        spelling=Spelling(names.vocabulary | tables["places"].vocabulary, known),
        **tables,
    )


def finding_names() -> tuple[str, ...]:
    """The names of the table, in its order."""
    return tuple(lexicon().terms)


_KEYS = frozenset(Term.__dataclass_fields__) - {"name"} | {"phrases", "normal"}


def _check(found: Mapping[str, Any], structures: Mapping[str, Any]) -> None:
    """Raise ValueError for an entry with a key that means nothing, or without phrases."""
    for name, entry in found.items():
        strange = sorted(set(entry) - _KEYS)
        if strange or not entry.get("phrases"):
            raise ValueError(f"findings.toml, {name}: {'unknown ' + ', '.join(strange) if strange else 'no phrases'}")
        unknown = sorted(set(entry.get("normal", ())) - set(structures))
        if unknown:
            raise ValueError(f"findings.toml, {name}: no structure is called {', '.join(unknown)}")


def _term(name: str, entry: Mapping[str, Any]) -> Term:
    device = entry.get("device", False)
    return Term(
        name=name,
        sided=entry.get("sided", True),
        zoned=entry.get("zoned", True),
        device=device,
        apart=entry.get("apart", device),
        part=entry.get("part", False),
        sign=entry.get("sign", False),
        anywhere=entry.get("anywhere", False),
        looks=entry.get("looks", False),
        usual=entry.get("usual", False),
        chronic=entry.get("chronic", False),
        snomed=entry.get("snomed"),
        radlex=entry.get("radlex"),
    )


def _pairs(table: Mapping[str, list[str]]) -> Iterator[tuple[str, str]]:
    """(phrase, its key) of a table of lists."""
    return ((phrase, key) for key, phrases in table.items() for phrase in phrases)
