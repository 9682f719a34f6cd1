"""Texts with what they state, one JSON object a line."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from medinterp.errors import DatasetError
from medinterp.report import finding_names
from medinterp.types import FindingChange, FindingStatus, MentionRole

ZONES = ("apical", "upper", "mid", "lower", "perihilar", "high", "low")
"""Of the lungs; high, mid and low of a tube's tip."""
SIDES = ("left", "right", "bilateral")
ASKED = ("side", "zones", "change")
"""What is asked of a finding only where its line has the key."""


@dataclass(frozen=True)
class WantedFinding:
    """A finding that a text states; asked: which of ASKED the line names (None and () ask for none)."""

    name: str
    status: FindingStatus
    side: str | None = None
    zones: tuple[str, ...] = ()
    change: FindingChange | None = None
    asked: frozenset[str] = frozenset(ASKED)


@dataclass(frozen=True)
class WantedMention:
    """A finding's name that states nothing about the film."""

    name: str
    role: MentionRole


@dataclass(frozen=True)
class WantedText:
    """A text and what it states; line: where it stands in its file, from 1."""

    line: int
    text: str
    findings: tuple[WantedFinding, ...]
    mentions: tuple[WantedMention, ...] = ()
    id: str | None = None


class _BadLineError(Exception):
    """What is wrong with a line."""


def read_wanted(path: Path) -> tuple[WantedText, ...]:
    """The texts of a file of JSON lines, UTF-8.

    A line: {"text": str, "findings": [{"name", "status", "side", "zones", "change"}], "mentions": [{"name", "role"}],
    "id": str or int}; "mentions" and "id" may be left out, of a finding all but name and status. A blank line and one
    that starts with "#" are skipped. Raises DatasetError when the file cannot be read, has no text, or has a bad line.
    """
    texts: list[WantedText] = []
    for number, line in enumerate(_content(path).split("\n"), start=1):
        if line.strip() and not line.lstrip().startswith("#"):
            try:
                texts.append(_text(number, line))
            except _BadLineError as error:
                raise DatasetError(f"{path}, line {number}: {error}") from error
    if not texts:
        raise DatasetError(f'{path} has no text; write one a line: {{"text": "...", "findings": []}}')
    return tuple(texts)


def _content(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DatasetError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path} is not UTF-8 text; save it as UTF-8") from error


def _text(number: int, line: str) -> WantedText:
    try:
        value = json.loads(line)
    except json.JSONDecodeError as error:
        raise _BadLineError(f"no JSON: {error.msg} at column {error.colno}") from error
    entries = _object(value, "the line", needed=("text", "findings"), others=("mentions", "id"))
    name = entries.get("id")
    if name is not None and (isinstance(name, bool) or not isinstance(name, str | int)):
        raise _BadLineError(f"id is text or a number, not {_shown(name)}")
    findings, mentions = (_list(entries.get(key, []), key) for key in ("findings", "mentions"))
    return WantedText(
        line=number,
        text=_said(entries["text"], "text"),
        findings=tuple(_finding(one, f"finding {place}") for place, one in enumerate(findings, start=1)),
        mentions=tuple(_mention(one, f"mention {place}") for place, one in enumerate(mentions, start=1)),
        id=None if name is None else str(name),
    )


def _finding(value: Any, where: str) -> WantedFinding:
    entries = _object(value, where, needed=("name", "status"), others=ASKED)
    zones = _list(entries.get("zones", []), f"{where}: zones")
    return WantedFinding(
        name=_name(entries["name"], f"{where}: name"),
        status=_one_of(entries["status"], get_args(FindingStatus), f"{where}: status"),
        side=_one_of(entries.get("side"), (None, *SIDES), f"{where}: side"),
        zones=tuple(_one_of(zone, ZONES, f"{where}: a zone") for zone in zones),
        change=_one_of(entries.get("change"), (None, *get_args(FindingChange)), f"{where}: change"),
        asked=frozenset(entries) & frozenset(ASKED),
    )


def _mention(value: Any, where: str) -> WantedMention:
    entries = _object(value, where, needed=("name", "role"))
    name = _name(entries["name"], f"{where}: name")
    return WantedMention(name, _one_of(entries["role"], get_args(MentionRole), f"{where}: role"))


def _object(value: Any, where: str, needed: tuple[str, ...], others: tuple[str, ...] = ()) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise _BadLineError(f"{where} is an object, not {_shown(value)}")
    missing = [key for key in needed if key not in value]
    if missing:
        raise _BadLineError(f"{where} has no {missing[0]}")
    unknown = [key for key in value if key not in (*needed, *others)]
    if unknown:
        raise _BadLineError(f"{where} has {_shown(unknown[0])}; there are {', '.join((*needed, *others))}")
    return value


def _list(value: Any, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise _BadLineError(f"{where} is a list, not {_shown(value)}")
    return value


def _name(value: Any, where: str) -> str:
    """A name of the table: another one would count as missed whatever is read."""
    name, names = _said(value, where), finding_names()
    if name not in names:
        near = difflib.get_close_matches(name, names, n=3) or [other for other in names if name in other][:3]
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise _BadLineError(f"{where} is one of medinterp/report/data/findings.toml, not {_shown(name)}{hint}")
    return name


def _said(value: Any, where: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise _BadLineError(f"{where} is text that says something, not {_shown(value)}")
    return value


def _one_of(value: Any, choices: tuple[Any, ...], where: str) -> Any:
    if value not in choices:
        allowed = ", ".join("null" if choice is None else choice for choice in choices)
        raise _BadLineError(f"{where} is one of {allowed}, not {_shown(value)}")
    return value


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else f"{text[:37]}..."
