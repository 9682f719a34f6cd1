"""What runs the model, seen from outside: what of it may change, what it shows, and whether it is well."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from deployments.handoff import Handoff
from deployments.settings import GenerationUserConfig
from medinterp.api import metrics
from medinterp.api.admission import Admission
from medinterp.api.health import Probe
from medinterp.errors import ModelError

if TYPE_CHECKING:
    from medinterp.model import Generator


class ModelOperation:
    """Of one replica of generation."""

    def __init__(self, generator: Generator, reports: Admission, questions: Admission, handoff: Handoff) -> None:
        """The defaults of GenerationUserConfig hold until `change`."""
        self._generator, self._reports, self._questions, self._handoff = generator, reports, questions, handoff
        self._config = GenerationUserConfig()
        self._device = Probe(
            "the device", lambda: _compute(generator.loaded.device), patience_s=lambda: self._config.stalled_s
        )
        self.change(self._config)

    def change(self, config: GenerationUserConfig) -> None:
        """From now on this holds; what is under way or was promised stays."""
        self._config = config
        self._reports.resize(config.queue.reports, max_bytes=config.queue.film_bytes)
        self._questions.resize(config.queue.questions)
        self._generator.memory_share = config.questions.memory_share
        self._generator.loaded.lock.piece_s = config.questions.piece_s

    def show(self, *, slots: bool) -> None:
        """Let the metrics ask what is under way; slots: whether the model writes in slots."""
        if slots:
            metrics.SLOTS.ask(lambda: self._generator.writing.slots)
            metrics.SLOTS_BUSY.ask(lambda: self._generator.writing.busy)
            metrics.QUEUE.ask(lambda: self._generator.writing.waiting, queue="writer")
        metrics.QUEUE.ask(lambda: self._reports.inside, queue="reports")
        metrics.QUEUE.ask(lambda: self._questions.inside, queue="questions")
        metrics.QUEUE.ask(lambda: self._handoff.budget.waiting, queue="traces")
        metrics.TRACE_BYTES.ask(lambda: self._handoff.budget.taken)
        metrics.TRACE_MAX_BYTES.ask(lambda: self._handoff.budget.limit)

    async def check(self) -> None:
        """Raise when nobody writes any more, a step of the model is stuck, or the device does not compute.

        One look of 2 s at most; a step, and an answer of the device, may take `stalled_s`: a slow machine is well.
        """
        if not self._generator.alive:
            raise ModelError("the writing thread has died")
        if (still_s := self._generator.still_s) > self._config.stalled_s:
            raise ModelError(f"the model has not gone on for {still_s:.0f} s: a step is stuck")
        await self._device.check()


def _compute(device: Any) -> None:
    import torch

    torch.ones(1, device=device).add_(1).item()
