"""Who may show the page in a frame of theirs (CSP frame-ancestors)."""

from __future__ import annotations

import re
from collections.abc import Sequence

SELF = "self"
NONE = "none"
_ORIGIN = re.compile(r"https?://(\*\.)?[A-Za-z0-9._-]+(:[0-9]{1,5})?")


def is_ancestor(text: str) -> bool:
    """Whether the text may stand among the ancestors: "self", "none", or SCHEME://HOST with or without a port."""
    return text in (SELF, NONE) or _ORIGIN.fullmatch(text) is not None


def frame_ancestors(named: Sequence[str]) -> str:
    """The directive for those named; nobody where there is none. Raises ValueError for what cannot stand there."""
    for one in named:
        if not is_ancestor(one):
            raise ValueError(f"{one!r} is neither self, none, nor an origin such as https://host.example")
    if NONE in named and len(named) > 1:
        raise ValueError("none stands alone: it lets nobody frame the page")
    told = [f"'{one}'" if one in (SELF, NONE) else one for one in named] or [f"'{NONE}'"]
    return f"frame-ancestors {' '.join(told)}"
