"""One pass over a report that is written, up to the last of some tokens, that shows the attention of their rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from medinterp.errors import SelectionError
from medinterp.model.capture import AttentionCall
from medinterp.model.entering import enter
from medinterp.model.evidence import BLOCK_BYTES, attention_rows
from medinterp.model.loading import LoadedModel
from medinterp.model.prompt import PromptInputs
from medinterp.types import Report

TakeRows = Callable[[int, torch.Tensor], None]
"""Gets a layer and softmax weights of some rows, float32 [H, rows, S]; each row of each layer comes once."""


class SelectionPass:
    """Prompt and report up to the last selected token, which no row that counts has read.

    rows: int64 [selected tokens], the positions q_t = P - 1 + t in order; S = P + max(t) positions are read. The caller
    holds loaded.lock.
    """

    def __init__(
        self, loaded: LoadedModel, prompt: PromptInputs, token_ids: Sequence[int], tokens: Sequence[int]
    ) -> None:
        """token_ids: of the report; tokens: those that are selected. Raises SelectionError for none or others."""
        if not tokens or min(tokens) < 0 or max(tokens) >= len(token_ids):
            raise SelectionError(f"the report has {len(token_ids)} tokens; nothing of it is selected")
        self._loaded = loaded
        chosen = sorted(set(tokens))
        self.rows = torch.tensor(chosen, device=loaded.device) + prompt.length - 1
        self.token_ids = torch.tensor([token_ids[token] for token in chosen], device=loaded.device)
        with torch.no_grad():
            self._entered = enter(loaded, [prompt], token_ids[: chosen[-1]])

    @property
    def entries(self) -> torch.Tensor:
        """[1, S, width], what the language model takes."""
        return self._entered.entries

    @property
    def length(self) -> int:
        """S."""
        return int(self.entries.shape[1])

    def states(self, take: TakeRows) -> torch.Tensor:
        """Final states of the selected rows, [1, rows, d], with gradients where the caller has switched them on.

        Image cells see each other both ways, as they did when the report was written (trap 3).
        """
        states = self._entered.states(self._loaded, attention_recorder=_Rows(self.rows, take))
        return states[:, self.rows]


class _Rows:
    """Takes the selected rows of every layer, some at a time, so that a whole report's never stand side by side."""

    def __init__(self, rows: torch.Tensor, take: TakeRows) -> None:
        self._rows, self._take = rows, take

    @torch.no_grad()
    def observe(self, call: AttentionCall, output: torch.Tensor) -> None:
        """Take what one layer computed."""
        block = max(1, BLOCK_BYTES // (4 * call.query.shape[1] * call.key.shape[2]))
        mask = call.whole_mask[0, 0]
        for rows in torch.split(self._rows.to(call.query.device), block):
            self._take(call.layer, attention_rows(call.query[0, :, rows], call.key[0], mask[rows], call.scaling))


def token_ids_of(report: Report) -> list[int]:
    """The vocabulary ids of a report's tokens, in order."""
    return [token.token_id for token in report.tokens]
