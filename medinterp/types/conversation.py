"""What a model is asked: an instruction, and turns of words and films."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

GAP = "\n\n"
"""Between texts where a conversation is told as one."""


@dataclass(frozen=True)
class Turn:
    """One turn. parts, in their order: words, and the numbers of the films that stand between them."""

    role: Literal["user", "assistant"]
    parts: tuple[str | int, ...]


@dataclass(frozen=True)
class Conversation:
    """An instruction, and turns of the user and of earlier answers, alternating; the user's is the first and the last.

    system: None where the model is given no instruction (`prompt.ask` fills in the model's own). Films are numbered
    from 0 in the order in which they stand in the turns; 0 is the film, 1 the prior one. How a model's template renders
    it is prompt.py's.
    """

    turns: tuple[Turn, ...]
    system: str | None = None

    @property
    def texts(self) -> tuple[str, ...]:
        """Its words part by part, the instruction first."""
        first = () if self.system is None else (self.system,)
        return (*first, *(part for turn in self.turns for part in turn.parts if isinstance(part, str)))

    @property
    def films(self) -> tuple[int, ...]:
        """The numbers of its films."""
        return tuple(part for turn in self.turns for part in turn.parts if isinstance(part, int))

    @property
    def text(self) -> str:
        """All its words, an empty line between the parts."""
        return GAP.join(self.texts)

    def reworded(self, change: Callable[[str], str]) -> Conversation:
        """The same with other words in each part, changed in the order of `texts`."""
        system = None if self.system is None else change(self.system)
        turns = tuple(
            replace(turn, parts=tuple(change(part) if isinstance(part, str) else part for part in turn.parts))
            for turn in self.turns
        )
        return Conversation(turns, system)


Asked = str | Conversation
"""A prompt of one turn, whose films stand where the model wants them, or a whole conversation."""
