"""Application builders, named by import_path in serve_config.yaml.

Without `from __future__ import annotations`: Serve reads the argument's type at run time.
"""

from ray import serve
from ray.serve import Application

from deployments.api import ApiDeployment
from deployments.generation import GenerationDeployment
from deployments.relevancy import RelevancyDeployment
from deployments.rendering import RenderingDeployment
from deployments.settings import ApiArgs, UiArgs
from deployments.ui import UiDeployment
from medinterp.api.settings import ApiFixed


def build_api(args: ApiArgs) -> Application:
    """Film -> generation -> relevancy -> rendering, behind the HTTP API."""
    fixed = ApiFixed(**{name: getattr(args, name) for name in ApiFixed.model_fields})
    relevancy = serve.deployment(name="relevancy")(RelevancyDeployment).bind()
    generation = serve.deployment(name="generation")(GenerationDeployment).bind(
        args.model, args.writer, args.store, relevancy, args.models, args.max_loaded
    )
    rendering = serve.deployment(name="rendering")(RenderingDeployment).bind(args.store)
    api = serve.deployment(name="api")(ApiDeployment).bind(fixed, generation, relevancy, rendering, args.aliases)
    return _application(api)


def build_ui(args: UiArgs) -> Application:
    """The page."""
    return _application(serve.deployment(name="ui")(UiDeployment).bind(args))


def _application(bound: object) -> Application:
    """Serve's decorators are untyped; this is where its word is checked."""
    if not isinstance(bound, Application):
        raise TypeError(f"{bound!r} is not a bound deployment")
    return bound
