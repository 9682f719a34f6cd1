"""What runs the models, seen from outside: what of it may change, what it shows, and whether it is well."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from deployments.handoff import Handoff
from deployments.models import Models
from deployments.settings import GenerationUserConfig
from medinterp.api import metrics
from medinterp.api.admission import Admission
from medinterp.api.health import Probe
from medinterp.errors import GenerationCancelled, ModelError

if TYPE_CHECKING:
    from medinterp.model import Generator


class ModelOperation:
    """Of one replica of generation."""

    def __init__(self, models: Models, reports: Admission, questions: Admission, handoff: Handoff) -> None:
        """The defaults of GenerationUserConfig hold until `change`."""
        self._models, self._reports, self._questions, self._handoff = models, reports, questions, handoff
        self._config = GenerationUserConfig()
        device = models.default.generator.loaded.device
        self._device = Probe("the device", lambda: _compute(device), patience_s=lambda: self._config.stalled_s)
        self.change(self._config)

    @property
    def _generators(self) -> list[Generator]:
        """Of the models that are loaded; one may be let go at any time."""
        found = []
        for model in self._models.loaded:
            with suppress(GenerationCancelled):
                found.append(model.generator)
        return found

    def change(self, config: GenerationUserConfig) -> None:
        """From now on this holds; what is under way or was promised stays."""
        self._config = config
        self._reports.resize(config.queue.reports, max_bytes=config.queue.film_bytes)
        self._questions.resize(config.queue.questions)
        for generator in self._generators:
            self.configure(generator)

    def configure(self, generator: Generator) -> None:
        """What holds now, for a model that was loaded just now."""
        generator.memory_share = self._config.questions.memory_share
        generator.loaded.lock.piece_s = self._config.questions.piece_s

    def show(self, *, slots: bool) -> None:
        """Let the metrics ask what is under way; slots: whether the model writes in slots."""
        if slots:
            metrics.SLOTS.ask(lambda: sum(one.writing.slots for one in self._generators))
            metrics.SLOTS_BUSY.ask(lambda: sum(one.writing.busy for one in self._generators))
            metrics.QUEUE.ask(lambda: sum(one.writing.waiting for one in self._generators), queue="writer")
        metrics.QUEUE.ask(lambda: self._reports.inside, queue="reports")
        metrics.QUEUE.ask(lambda: self._questions.inside, queue="questions")
        metrics.QUEUE.ask(lambda: self._handoff.budget.waiting, queue="traces")
        metrics.TRACE_BYTES.ask(lambda: self._handoff.budget.taken)
        metrics.TRACE_MAX_BYTES.ask(lambda: self._handoff.budget.limit)

    async def check(self) -> None:
        """Raise when nobody writes any more, a step of the model is stuck, or the device does not compute.

        One look of 2 s at most; a step, and an answer of the device, may take `stalled_s`: a slow machine is well.
        """
        for generator in self._generators:
            if not generator.alive:
                raise ModelError("the writing thread has died")
            if (still_s := generator.still_s) > self._config.stalled_s:
                raise ModelError(f"the model has not gone on for {still_s:.0f} s: a step is stuck")
        await self._device.check()


def _compute(device: Any) -> None:
    import torch

    torch.ones(1, device=device).add_(1).item()
