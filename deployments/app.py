"""Application builders, named by import_path in serve_config.yaml.

Without `from __future__ import annotations`: Serve reads the argument's type at run time.
"""

import ray
from ray import serve
from ray.serve import Application

from deployments.api import ApiDeployment
from deployments.generation import GenerationDeployment
from deployments.relevancy import RelevancyDeployment
from deployments.rendering import RenderingDeployment
from deployments.settings import ApiArgs, ModelSettings, UiArgs
from deployments.ui import UiDeployment
from medinterp.api.settings import ApiFixed

GENERATION_CPUS = 0.4
"""Of Ray's count, where the configuration has no ray_actor_options of its own for generation."""


def build_api(args: ApiArgs) -> Application:
    """Film -> generation -> relevancy -> rendering, behind the HTTP API."""
    fixed = ApiFixed(**{name: getattr(args, name) for name in ApiFixed.model_fields})
    relevancy = serve.deployment(name="relevancy")(RelevancyDeployment).bind()
    takes = generation_resources(args.model)
    generation = serve.deployment(name="generation", ray_actor_options=takes)(GenerationDeployment).bind(
        args.model, args.writer, args.store, relevancy, args.models, args.max_loaded
    )
    rendering = serve.deployment(name="rendering")(RenderingDeployment).bind(args.store)
    api = serve.deployment(name="api")(ApiDeployment).bind(fixed, generation, relevancy, rendering, args.aliases)
    return _application(api)


def build_ui(args: UiArgs) -> Application:
    """The page."""
    return _application(serve.deployment(name="ui")(UiDeployment).bind(args))


def generation_resources(model: ModelSettings) -> dict[str, float]:
    """What a replica of generation takes where the configuration does not say: the model's GPUs, where Ray has any.

    A replica sees no GPU but those that it takes. Raises ValueError for more GPUs than Ray has.
    """
    resources: dict[str, float] = ray.cluster_resources() if ray.is_initialized() else {}  # type: ignore[no-untyped-call]
    there = int(resources.get("GPU", 0))
    if model.device == "cpu" or not there:
        return {"num_cpus": GENERATION_CPUS}
    if model.gpus > there:
        raise ValueError(f"model.gpus is {model.gpus}, and Ray has {there}")
    return {"num_cpus": GENERATION_CPUS, "num_gpus": model.gpus}


def _application(bound: object) -> Application:
    """Serve's decorators are untyped; this is where its word is checked."""
    if not isinstance(bound, Application):
        raise TypeError(f"{bound!r} is not a bound deployment")
    return bound
