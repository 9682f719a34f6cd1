"""The configuration file, checked before anything is started."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError
from ray.serve.schema import DeploymentSchema, ServeDeploySchema

from deployments.environment import ENDPOINTS
from deployments.listening import made_insecure, refuse_strangers
from deployments.settings import USER_CONFIGS, ApiArgs, UiArgs
from medinterp.api.settings import ApiUserConfig
from medinterp.errors import AccessError

BEYOND_S = 10.0
"""After the longest request, until it has been answered too."""
ARGUMENTS: dict[str, type[BaseModel]] = {"deployments.app:build_api": ApiArgs, "deployments.app:build_ui": UiArgs}


class StartError(Exception):
    """The service cannot start; the text says why, in one line."""


@dataclass(frozen=True)
class Configuration:
    """What `python -m deployments` runs. drain_s: of what is under way when the service is ended."""

    serve: ServeDeploySchema
    drain_s: float

    @property
    def host(self) -> str:
        """Where the page and the API listen."""
        return str(self.serve.http_options.host)

    @property
    def port(self) -> int:
        """Where the page and the API listen."""
        return int(self.serve.http_options.port)


def read_configuration(path: Path, *, insecure: bool = False) -> Configuration:
    """The file's content, with `access.insecure` where that is asked for.

    Raises StartError for a file that Serve, or an application, would refuse, and where strangers could come in.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise StartError(f"{path}: {error.strerror}") from None
    except yaml.YAMLError as error:
        raise StartError(f"{path} is no YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise StartError(f"{path} holds no configuration")
    if insecure:
        made_insecure(content)
    serve: ServeDeploySchema = _checked(ServeDeploySchema, content, f"{path}")
    if serve.tracing_config is not None:
        raise StartError(f"{path}: tracing_config does not reach Serve's proxies: set {ENDPOINTS[0]} instead")
    drain_s = 0.0
    for application in serve.applications:
        arguments = ARGUMENTS.get(application.import_path or "")
        if arguments is None:
            raise StartError(f"{path}: application {application.name}: {application.import_path} is none of ours")
        where = f"{path}: application {application.name}"
        checked = _checked(arguments, application.args, where)
        user_configs = {
            deployment.name: _user_config(deployment, f"{where}: deployment {deployment.name}: user_config")
            for deployment in application.deployments
        }
        if isinstance(checked, ApiArgs):
            drain_s = max(drain_s, _drain_s(checked, user_configs.get("api")))
            try:
                refuse_strangers(checked.access, str(serve.http_options.host))
            except AccessError as error:
                raise StartError(f"{path}: {error}") from None
    return Configuration(serve, drain_s)


def _user_config(deployment: DeploymentSchema, where: str) -> BaseModel | None:
    """What stands in it, checked; the defaults where nothing does, None where nothing may."""
    given, kind = deployment.user_config, USER_CONFIGS.get(deployment.name)
    if not isinstance(given, dict):
        return None if kind is None else kind()
    if kind is None:
        raise StartError(f"{where}: this deployment has none")
    checked: BaseModel = _checked(kind, given, where)
    return checked


def _drain_s(args: ApiArgs, user_config: BaseModel | None) -> float:
    """What is under way has so long when the service is ended."""
    if args.shutdown.drain_s is not None:
        return args.shutdown.drain_s
    changing = user_config if isinstance(user_config, ApiUserConfig) else ApiUserConfig()
    return changing.limits.timeout_s + BEYOND_S


def fixed_part(serve: ServeDeploySchema) -> dict[str, Any]:
    """All of it but what may change while the service runs."""
    content: dict[str, Any] = serve.model_dump(exclude_unset=True, mode="json")
    for application in content["applications"]:
        for deployment in application.get("deployments", []):
            deployment.pop("user_config", None)
    return content


def _checked(kind: Any, content: Any, where: str) -> Any:
    """The content as a model of that kind; the values themselves are not repeated."""
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        flaws = [f"{'.'.join(map(str, flaw['loc'])) or 'it'}: {flaw['msg']}" for flaw in error.errors()]
        raise StartError(f"{where}: {'; '.join(flaws)}") from None


def require_free(host: str, port: int) -> None:
    """Raise StartError where somebody listens already: Serve would share the port with them without a word."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise StartError(f"http_options: cannot listen on {host}:{port}: {error.strerror}") from None
