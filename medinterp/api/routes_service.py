"""Routes that speak of the service: its methods, its model, its health."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter

from medinterp.api.answers import methods_model
from medinterp.api.backend import Backend
from medinterp.api.schema import HealthModel, MethodsModel
from medinterp.api.schema_models import LimitsModel, ListedModelModel, ModelsModel
from medinterp.api.schema_sensitivity import PerturbationModel, PerturbationsModel
from medinterp.api.settings import LiveSettings
from medinterp.api.store import ReportStore
from medinterp.errors import StoreError, StoreFullError
from medinterp.imaging.perturb import PERTURBATIONS


def service_routes(backend: Backend, settings: LiveSettings, store: ReportStore) -> APIRouter:
    """Build the routes."""
    router = APIRouter(tags=["service"])

    @router.get("/methods")
    async def methods() -> MethodsModel:
        """Every method that turns the trace into maps."""
        return methods_model(settings.methods)

    @router.get("/perturbations")
    async def perturbations() -> PerturbationsModel:
        """Every change of a film on which answers and maps can be compared."""
        return PerturbationsModel(
            perturbations=tuple(PerturbationModel.model_validate(change) for change in PERTURBATIONS.values())
        )

    @router.get("/models")
    async def models() -> ModelsModel:
        """The models that read films, with their notices and default prompts, and the limits."""
        limits = LimitsModel.model_validate(settings.limits)
        models = await backend.models()
        listed = tuple(ListedModelModel(id=model.alias) for model in models)
        return ModelsModel(models=models, limits=limits, data=listed)

    @router.get("/healthz")
    async def healthz() -> HealthModel:
        """The HTTP API answers; nothing is said of what stands behind it."""
        return HealthModel()

    @router.get("/readyz")
    async def readyz() -> HealthModel:
        """The model is loaded, every part of the service answers, and the store has room for another report."""
        try:
            await asyncio.to_thread(store.check)
        except StoreFullError as error:
            raise StoreError(str(error)) from error  # 503: it is the service that is not ready
        await backend.check()
        return HealthModel(status="ready")

    return router
