"""What a relevancy method declares of itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from medinterp.errors import MissingEvidenceError
from medinterp.types import AttentionTrace, MapPack

Family = Literal["attention", "propagation", "gradient", "perturbation"]


@dataclass(frozen=True)
class Method:
    """A way to say which cells drove a word.

    name: as in requests; title, meaning: for people, the latter one line; citation: the paper and
    equation; needs: the fields of AttentionTrace that must be there; compute: trace and options in,
    maps of all tokens out.
    """

    name: str
    family: Family
    title: str
    meaning: str
    citation: str
    needs: frozenset[str]
    compute: Callable[[AttentionTrace, Mapping[str, Any]], MapPack]

    def run(self, trace: AttentionTrace, options: Mapping[str, Any] | None = None) -> MapPack:
        """Maps of every report token; raises MissingEvidenceError when the trace lacks what is needed."""
        missing = sorted(name for name in self.needs if getattr(trace, name) is None)
        if missing:
            raise MissingEvidenceError(
                f"{self.name} needs {', '.join(missing)}, which this trace was captured without; "
                "read the film again with it switched on"
            )
        return self.compute(trace, options or {})
