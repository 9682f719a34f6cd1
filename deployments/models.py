"""The models of a replica of generation: the default one for as long as it lives, others by Serve's multiplexing.

Serve (ray/serve/multiplex.py, 2.60) routes a request by its model's name to a replica that holds it, keeps the models
that were used last, and loads one at a time. What it leaves to us:
- It lets a model go although reports are being written with it: it calls `__del__` and waits for that, so that ours
  waits until they have ended, and only then the next one is loaded.
- A caller who goes away would end the loading for all who wait for it, and leave the name among those being loaded for
  ever: loading is a task of its own here.
- It lets one go before it knows whether the next can be loaded at all: what is seen to be missing beforehand, or failed
  a short while ago, is refused without asking Serve.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager

from ray import serve

from deployments.errands import Errands
from deployments.served import ServedModel, free_memory
from deployments.settings import ModelSettings
from medinterp.api.schema_models import LoadedModelModel
from medinterp.errors import ModelBrokenError, ModelError, ModelGoneError, UnknownModelError
from medinterp.types import Provenance

logger = logging.getLogger("medinterp.generation")

AGAIN_S = 60.0
"""A model that could not be loaded is not tried again sooner."""


class _Place:
    """What Serve keeps: it calls `__del__` when another model takes the place (and Python does once more)."""

    def __init__(self, model: ServedModel) -> None:
        self.model = model

    def __del__(self) -> None:
        if self.model.there and not sys.is_finalizing():
            logger.info("model %s: makes room", self.model.alias)
            self.model.let_go()


class Models:
    """Finds the model that a request chose, or that wrote a report; loads it where need be."""

    def __init__(
        self,
        default: ServedModel,
        others: Sequence[ModelSettings],
        max_loaded: int,
        load: Callable[[ModelSettings], ServedModel],
        errands: Errands,
    ) -> None:
        """max_loaded: of the others, how many at once; load: takes its time, in a thread of errands."""
        self.default = default
        self._others = {settings.chosen_by: settings for settings in others}
        self._load, self._errands = load, errands
        self._held: dict[str, ServedModel] = {}
        self._failed: dict[str, tuple[float, str]] = {}
        self._fetching: dict[str, asyncio.Task[_Place]] = {}
        self._multiplexed = serve.multiplexed(max_num_models_per_replica=max_loaded)(self._placed())

    @property
    def loaded(self) -> tuple[ServedModel, ...]:
        """Those that can be used just now, the default one first."""
        return (self.default, *(model for model in list(self._held.values()) if model.there))

    def facts(self) -> tuple[LoadedModelModel, ...]:
        """Of every model, loaded or not, the default one first. Reads small files."""
        there = {model.alias: model.facts for model in self.loaded}
        return (self.default.facts, *(there.get(alias) or self._known(alias) for alias in self._others))

    @asynccontextmanager
    async def lent(self, alias: str | None) -> AsyncGenerator[ServedModel]:
        """The model of that name, or the default one, to be used within.

        Raises UnknownModelError, and ModelBrokenError where it cannot be loaded, at once for a while after it failed.
        """
        model = self.default
        if alias not in (None, self.default.alias):
            model = await self._fetched(str(alias))
            while not model.enter():  # it made room for another one at this very moment
                model = await self._fetched(str(alias))
        else:
            model.enter()
        try:
            yield model
        finally:
            model.leave()

    @asynccontextmanager
    async def writer_of(self, provenance: Provenance) -> AsyncGenerator[ServedModel]:
        """The model that wrote a report, as `lent`. Raises ModelGoneError where it is not there, or another by now."""
        alias = provenance.alias
        if alias not in (None, self.default.alias, *self._others):
            raise ModelGoneError(
                f"the report was made with the model {alias}, which this service has no more: what it says cannot be "
                "asked of another one; read the film again"
            )
        async with self.lent(alias) as model:
            if not model.wrote(provenance):
                raise ModelGoneError(
                    f"the report was made with revision {provenance.model_revision} of {provenance.model_id}; here "
                    f"{model.alias} is {model.facts.revision} by now: read the film again"
                )
            yield model

    async def _fetched(self, alias: str) -> ServedModel:
        if alias not in self._others:
            there = ", ".join((self.default.alias, *self._others))
            raise UnknownModelError(f"there is no model {alias!r} here; there are {there}")
        known = self._held.get(alias)
        problem = None if known is not None and known.there else await asyncio.to_thread(self._problem, alias)
        if problem is not None:
            raise ModelBrokenError(problem)
        fetching = self._fetching.get(alias)
        if fetching is None:
            fetching = self._fetching[alias] = asyncio.create_task(self._multiplexed(alias))
            fetching.add_done_callback(lambda done: self._fetched_at_last(alias, done))
        return (await asyncio.shield(fetching)).model

    def _fetched_at_last(self, alias: str, done: asyncio.Task[_Place]) -> None:
        del self._fetching[alias]
        if not done.cancelled():
            done.exception()  # nobody may be left who asks for it

    def _placed(self) -> Callable[[str], object]:
        """What Serve calls to load a model; a function, for a method's `self` would be the deployment's to Serve."""

        async def load(alias: str) -> _Place:
            began = time.monotonic()
            logger.info("model %s: loading", alias)
            self._failed.pop(alias, None)
            try:
                model = await self._errands.run("", lambda *_: self._load(self._others[alias]))
            except Exception as error:
                self._failed[alias] = time.monotonic(), _told(alias, error)
                logger.error("model %s cannot be loaded: %s: %s", alias, type(error).__name__, error)
            if alias in self._failed:  # out here, for what was loaded of it is in the error's frames
                await asyncio.to_thread(free_memory)
                raise ModelBrokenError(self._failed[alias][1])
            self._held[alias] = model
            logger.info("model %s: loaded in %.1f s", alias, time.monotonic() - began)
            return _Place(model)

        return load

    def _problem(self, alias: str) -> str | None:
        """Why the model cannot be loaded, as far as that is known without trying."""
        failed_at, told = self._failed.get(alias, (0.0, ""))
        if told and time.monotonic() - failed_at < AGAIN_S:
            return f"{told} It is tried again after {AGAIN_S:.0f} s."
        return self._known(alias).problem

    def _known(self, alias: str) -> LoadedModelModel:
        """What is known of a model that is not loaded."""
        from medinterp.model.known import known_of
        from medinterp.model.prompt import DEFAULT_PROMPT

        settings, problem = self._others[alias], self._failed.get(alias, (0.0, None))[1]
        try:
            known = known_of(settings.name, settings.adapter)
        except ModelError as error:
            logger.warning("model %s cannot be loaded: %s", alias, error)
            return LoadedModelModel(
                alias=alias, id=settings.name, loaded=False, problem=_told(alias, error), notice=None,
                default_prompt=settings.prompt or DEFAULT_PROMPT,
            )
        return LoadedModelModel(
            alias=alias, id=known.model_id, loaded=False, problem=problem, notice=known.notice,
            default_prompt=settings.prompt or known.default_prompt or DEFAULT_PROMPT,
            reads_indication=known.reads_indication, box_question=known.box_question,
        )


def _told(alias: str, error: Exception) -> str:
    """For whoever asked; the error's own text, which names places of this machine, is for the log."""
    why = (type(error).__doc__ or "").strip().partition("\n")[0] if isinstance(error, ModelError) else ""
    return f"The model {alias} cannot be loaded here. {why or 'An error stopped it.'} The service's log says more."
