"""The generation deployment: writes the report and emits the trace of how it came about."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor

import ray

from deployments.settings import ModelSettings
from medinterp.api.backend import ReadingTask
from medinterp.api.schema import LoadedModelModel
from medinterp.types import Film, Generation


class GenerationDeployment:
    """Holds the model; one generation runs at a time, in the one thread of its worker."""

    def __init__(self, settings: ModelSettings) -> None:
        """Load the model and test it. Raises ModelError: a replica that fails the test never serves."""
        from medinterp.model import Generator, load_model, self_test
        from medinterp.model.prompt import DEFAULT_PROMPT

        loaded = load_model(
            settings.name,
            revision=settings.revision,
            dtype=settings.dtype,
            device=settings.device,
            allow_download=settings.allow_download,
            image_first=settings.image_first,
            calibration=settings.calibration,
        )
        self_test(loaded)
        self._generator = Generator(loaded, max_trace_bytes=settings.max_trace_bytes)
        self._device = loaded.device
        self._prompt = settings.prompt or loaded.default_prompt or DEFAULT_PROMPT
        self._facts = LoadedModelModel(
            id=loaded.model_id,
            revision=loaded.revision,
            dtype=str(loaded.dtype).removeprefix("torch."),
            device=str(loaded.device),
            notice=loaded.notice,
            default_prompt=self._prompt,
        )
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="generation")

    async def model(self) -> LoadedModelModel:
        """What model reads the films."""
        return self._facts

    async def write(self, film: Film, task: ReadingTask) -> Generation:
        """Read the film; the trace's numpy arrays go through the object store."""
        return await self._generate(film, task, None)

    async def write_aloud(
        self, film: Film, task: ReadingTask
    ) -> AsyncGenerator[str | dict[str, ray.ObjectRef[Generation]]]:
        """The report's text as it grows; last, {"generation": reference to what `write` returns}."""
        loop = asyncio.get_running_loop()
        deltas: asyncio.Queue[str | None] = asyncio.Queue()

        def on_word(delta: str) -> None:
            loop.call_soon_threadsafe(deltas.put_nowait, delta)

        writing = asyncio.create_task(self._generate(film, task, on_word))
        writing.add_done_callback(lambda _: deltas.put_nowait(None))
        try:
            while (delta := await deltas.get()) is not None:
                yield delta
            yield {"generation": ray.put(await writing)}
        finally:
            writing.cancel()

    async def _generate(
        self, film: Film, task: ReadingTask, on_word: Callable[[str], None] | None
    ) -> Generation:
        """Run one generation in the worker; when the caller goes away, it stops at the next token."""
        gone = threading.Event()

        def work() -> Generation:
            return self._generator.generate(
                [film],
                task.prompt or self._prompt,
                max_new_tokens=task.max_new_tokens,
                layer_attention=task.layer_attention,
                on_word=on_word,
                cancelled=gone.is_set,
            )

        try:
            return await asyncio.get_running_loop().run_in_executor(self._worker, work)
        finally:
            gone.set()

    def check_health(self) -> None:
        """Raise when the device no longer computes, so that the replica is replaced."""
        import torch

        torch.ones(1, device=self._device).add_(1).item()
