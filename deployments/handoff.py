"""From generation to relevancy: a trace goes through the object store, as many at once as it has room for."""

from __future__ import annotations

import asyncio
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
from ray.serve.handle import DeploymentHandle

from deployments.faults import translated
from deployments.relevancy import Explained
from medinterp.api.budget import ByteBudget
from medinterp.errors import ServiceInterruptedError
from medinterp.types import Generation


class Handoff:
    """Lets relevancy turn traces into maps.

    Generation does this itself: only it knows when a trace is made, and only who awaits the maps knows when the trace
    is gone again. What would spill the store onto a disk waits in this process meanwhile.
    """

    def __init__(self, relevancy: DeploymentHandle[Any], store_bytes: int) -> None:
        """store_bytes: of traces that are on their way at once."""
        self._relevancy: Any = relevancy.options(_by_reference=True)
        self.budget = ByteBudget(store_bytes)

    async def explained(self, generation: Generation, methods: tuple[str, ...]) -> Explained:
        """The maps; asked for once more when a replica died on the way. Raises MethodError, ServiceError."""
        async with self.budget.holding(array_bytes(generation)):
            try:
                return await self._explained(generation, methods)
            except ServiceInterruptedError:
                return await self._explained(generation, methods)

    async def _explained(self, generation: Generation, methods: tuple[str, ...]) -> Explained:
        explaining = self._relevancy.explain.remote(generation, methods)
        try:
            with translated():
                explained: Explained = await explaining
                return explained
        except asyncio.CancelledError:
            explaining.cancel()
            raise


def array_bytes(value: object) -> int:
    """Of all arrays in a value of dataclasses, mappings and sequences: what it takes of the object store."""
    if isinstance(value, np.ndarray):
        return int(value.nbytes)
    if is_dataclass(value):
        return sum(array_bytes(getattr(value, field.name)) for field in fields(value))
    if isinstance(value, dict):
        return sum(map(array_bytes, value.values()))
    if isinstance(value, list | tuple):
        return sum(map(array_bytes, value))
    return 0
