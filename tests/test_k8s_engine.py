"""The engine beside the service (overlays/gpu-with-engine): closed, of the same checkpoint, reached by its key."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from tests.k8s_build import ROOT, build, environment, of_kind, pods, ray_pods, serve_config

NAME = "Deployment medinterp-engine"


@pytest.fixture
def container() -> dict[str, Any]:
    (one,) = pods(build("gpu-with-engine"))[NAME]["spec"]["containers"]
    found: dict[str, Any] = one
    return found


@pytest.fixture
def api() -> dict[str, Any]:
    found: dict[str, Any] = serve_config(build("gpu-with-engine"))["applications"][0]["args"]
    return found


def test_it_tells_nobody_and_asks_for_its_key(container: dict[str, Any]) -> None:
    there = environment(build("gpu-with-engine"), pods(build("gpu-with-engine"))[NAME]["spec"])
    assert there["VLLM_NO_USAGE_STATS"] == "1" and there["HF_HUB_OFFLINE"] == "1"
    assert isinstance(there["VLLM_API_KEY"], dict)
    assert {"startupProbe", "readinessProbe", "livenessProbe"} <= set(container)
    assert container["resources"]["requests"] == container["resources"]["limits"]
    assert not [argument for argument in container["args"] if re.match("--(reasoning-parser|enable-log)", argument)]


def test_the_replica_that_asks_has_the_same_key(api: dict[str, Any]) -> None:
    documents = build("gpu-with-engine")
    held = environment(documents, pods(documents)[NAME]["spec"])["VLLM_API_KEY"]
    asked = environment(documents, ray_pods(documents)["gpu"]["spec"])[api["writer"]["api_key_env"]]
    assert held == asked


def test_the_writer_reaches_it_and_reads_the_same_checkpoint(container: dict[str, Any], api: dict[str, Any]) -> None:
    (service,) = [one for one in of_kind(build("gpu-with-engine"), "Service")
                  if one["metadata"]["name"] == "medinterp-engine"]
    port = service["spec"]["ports"][0]["port"]
    assert api["writer"]["base_url"] == f"http://medinterp-engine:{port}/v1"
    assert api["writer"]["model"] == container["args"][0] == api["model"]["name"]
    for setting in ("revision", "dtype"):
        assert f"--{setting}={api['model'][setting]}" in container["args"]


def test_it_may_be_shown_a_prior_film_too(container: dict[str, Any]) -> None:
    (limit,) = [argument for argument in container["args"] if argument.startswith("--limit-mm-per-prompt=")]
    assert yaml.safe_load(limit.partition("=")[2]) == {"image": 2}


def test_the_readme_names_a_writer_that_the_settings_take() -> None:
    from deployments.settings import EngineSettings

    (block,) = re.findall(r"\{kind: openai,\s[^}]+\}", (ROOT / "README.md").read_text())
    EngineSettings.model_validate(yaml.safe_load(block))
