"""A strict reading of Serve's configuration: Ray's own schemas, with unknown keys refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from ray.serve.config import AutoscalingConfig
from ray.serve.schema import (
    DeploymentSchema,
    HTTPOptionsSchema,
    LoggingConfig,
    RayActorOptionsSchema,
    ServeApplicationSchema,
    ServeDeploySchema,
)

PARTS: Mapping[str, type[BaseModel]] = {
    "ray_actor_options": RayActorOptionsSchema,
    "autoscaling_config": AutoscalingConfig,
    "logging_config": LoggingConfig,
}


def unknown_keys(config: Mapping[str, Any]) -> list[str]:
    """The dotted paths of keys that Serve would drop without a word."""
    found = _unknown(config, ServeDeploySchema, "")
    found += _unknown(config.get("http_options", {}), HTTPOptionsSchema, "http_options.")
    found += _unknown(config.get("logging_config", {}), LoggingConfig, "logging_config.")
    for application in config["applications"]:
        place = f"{application['name']}."
        found += _unknown(application, ServeApplicationSchema, place)
        for deployment in application.get("deployments", []):
            inner = f"{place}{deployment['name']}."
            found += _unknown(deployment, DeploymentSchema, inner)
            for part, schema in PARTS.items():
                found += _unknown(deployment.get(part, {}), schema, f"{inner}{part}.")
    return found


def _unknown(section: Mapping[str, Any], schema: type[BaseModel], place: str) -> list[str]:
    names = set(schema.model_fields)
    return [place + key for key in section if key not in names]
