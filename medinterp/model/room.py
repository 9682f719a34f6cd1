"""What the writer's slots may take of the device's memory, settled before the first report."""

from __future__ import annotations

import bisect
from dataclasses import dataclass

from medinterp.errors import ModelError, RequestTooLargeError
from medinterp.model.device import step_shapes
from medinterp.model.footprint import slot_bytes
from medinterp.model.loading import LoadedModel
from medinterp.model.memory import free_bytes

_MIB = 2**20


@dataclass(frozen=True)
class Room:
    """Slots of one length.

    length: positions of a slot, prompt and report; rows: of its report's tokens, and one more; slot_bytes: of one
    slot and its evidence; free_bytes: what the device had when this was settled; compiled: whether steps are compiled.
    """

    slots: int
    length: int
    rows: int
    slot_bytes: int
    free_bytes: int
    compiled: bool = False

    def check(self, prompt_length: int, max_new_tokens: int) -> None:
        """Raise RequestTooLargeError for a report that no slot can hold."""
        needed = prompt_length + max_new_tokens
        if needed > self.length or max_new_tokens >= self.rows:
            raise RequestTooLargeError(
                f"the prompt takes {prompt_length} tokens (images included), the report up to {max_new_tokens}, "
                f"together {needed}; a slot of the writer holds {self.length}: ask for at most "
                f"{max(0, min(self.length - prompt_length, self.rows - 1))} new tokens, or raise writer.max_length"
            )

    def told(self, loaded: LoadedModel) -> str:
        """What is taken, and what a step is, in words for the log."""
        few = self.compiled or loaded.in_graphs
        counts, lengths = (", ".join(map(str, sizes)) for sizes in step_shapes(self.slots, self.length, few=few))
        taken, free = self.slots * self.slot_bytes / _MIB, self.free_bytes / _MIB
        room = f"{self.slots} slots x {self.length} positions x {loaded.facts.layers} layers"
        step = "no graph on this device: a step is launched operation by operation"
        if len(loaded.devices) > 1:
            step = f"over {len(loaded.devices)} devices there is no graph: a step is launched operation by operation"
        elif loaded.in_graphs:
            step = (
                f"a step is one CUDA graph for {counts} slots and {lengths} positions; outside the graph: reading a "
                "prompt, drawing at a temperature, the rows of a finished report"
            )
        compiled = "; the language model's part is compiled" if self.compiled else ""
        return f"{room} take {taken:,.0f} MiB of {free:,.0f} MiB free; {step}{compiled}"


def plan_room(
    loaded: LoadedModel,
    *,
    max_slots: int,
    max_length: int,
    memory_share: float,
    max_trace_bytes: int = 0,
    compiled: bool = False,
) -> Room:
    """As many slots as fit in a share of the free memory, at most max_slots.

    max_length: positions of a slot; no more than the model holds are made. max_trace_bytes: what a report's evidence
    may take beside its slot, the prompt's rows while it is written. Raises ModelError where not even one slot
    fits, with the length that would.
    """
    facts = loaded.facts
    length = min(max_length, facts.context_length)
    if length <= facts.least_cells:
        raise ModelError(f"writer.max_length is {length}; one image alone takes {facts.least_cells} positions")
    if compiled and len(loaded.devices) > 1:
        raise ModelError("writer.compile needs the model on one GPU (model.gpus: 1)")
    free = min(map(free_bytes, loaded.devices))  # as if all slots were on the fullest
    vocabulary = len(loaded.head.weight)

    def rows(positions: int) -> int:
        return positions - facts.least_cells + 1  # there is an image in every prompt

    def size(positions: int) -> int:
        evidence = min(2 * facts.layers * positions**2, max_trace_bytes)
        return slot_bytes(facts, loaded.dtype.itemsize, vocabulary, positions, rows(positions)) + evidence

    budget = int(free * memory_share)
    slots = min(max_slots, budget // size(length))
    if slots < 1:
        fitting = bisect.bisect_right(range(length), budget, key=size) - 1
        raise ModelError(
            f"one slot of {length} positions takes {size(length) / _MIB:,.0f} MiB; writer.memory_share allows "
            f"{budget / _MIB:,.0f} of {free / _MIB:,.0f} MiB free: lower writer.max_length to {max(0, fitting)}, or "
            "raise the share"
        )
    return Room(slots, length, rows(length), size(length), free, compiled)
