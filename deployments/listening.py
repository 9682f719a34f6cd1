"""Where the service listens, and that nobody but this machine comes in without a key unless that is wished."""

from __future__ import annotations

from typing import Any

from medinterp.api.access.settings import AccessSettings
from medinterp.errors import AccessError
from medinterp.web.peers import is_loopback

EVERY_INTERFACE = "0.0.0.0"
"""Where Serve listens when a configuration file names no host."""


def refuse_strangers(access: AccessSettings, host: str) -> None:
    """Raise AccessError where others can reach the service and nobody is asked for a key."""
    if not is_loopback(host) and not access.guarded and not access.insecure:
        raise AccessError(
            f"the service would listen on {host} without keys, open to everybody: make one (medinterp keys new --name X"
            " --scopes read,write --file F) and name its file (access: {keys_file: F}), or listen on 127.0.0.1;"
            " to serve without keys all the same: access: {insecure: true}, or python -m deployments --insecure"
        )


def http_host() -> str:
    """The host that Serve's proxies listen on: asked of its controller, so that it holds for `serve run` and a cluster.

    The controller has the configuration's `http_options.host`, or its own default.
    """
    import ray
    from ray.serve._private.constants import SERVE_CONTROLLER_NAME, SERVE_NAMESPACE

    controller: Any = ray.get_actor(SERVE_CONTROLLER_NAME, namespace=SERVE_NAMESPACE)
    return str(ray.get(controller.get_http_config.remote()).host or EVERY_INTERFACE)


def made_insecure(content: dict[str, Any]) -> None:
    """Write `access.insecure` into a configuration file's content, for its applications that have an API."""
    for application in content.get("applications", []):
        if str(application.get("import_path", "")).endswith(":build_api"):
            arguments = application.setdefault("args", {})
            arguments["access"] = {**(arguments.get("access") or {}), "insecure": True}
