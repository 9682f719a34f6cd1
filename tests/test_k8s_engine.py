"""k8s/vllm.yaml beside k8s/rayservice.yaml: as closed, and the writer that the README names reaches it."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from tests.test_config import ROOT, cluster, deployment, pods

MANIFEST = ROOT / "k8s" / "vllm.yaml"


def documents(kind: str) -> list[dict[str, Any]]:
    return [document for document in yaml.safe_load_all(MANIFEST.read_text()) if document["kind"] == kind]


@pytest.fixture
def pod() -> dict[str, Any]:
    (engine,) = documents("Deployment")
    template = engine["spec"]["template"]
    assert engine["spec"]["selector"]["matchLabels"] == template["metadata"]["labels"]
    return template["spec"]


def writers() -> list[dict[str, Any]]:
    """The `writer` of the README and of the manifest's head."""
    found = []
    for name in ("README.md", "k8s/vllm.yaml"):
        (block,) = re.findall(r"\{kind: openai,\s[^}]+\}", (ROOT / name).read_text())
        found.append(yaml.safe_load(block))
    return found


def test_the_engine_is_closed(pod: dict[str, Any]) -> None:
    (container,) = pod["containers"]
    assert pod["securityContext"] == pods()["gpu"]["securityContext"]
    assert container["securityContext"] == pods()["gpu"]["containers"][0]["securityContext"]
    assert pod["automountServiceAccountToken"] is False
    for variable in container["env"]:
        if re.search("TOKEN|KEY", variable["name"]):
            assert set(variable) == {"name", "valueFrom"} and "secretKeyRef" in variable["valueFrom"]
    assert {"VLLM_API_KEY", "VLLM_NO_USAGE_STATS"} <= {variable["name"] for variable in container["env"]}
    assert {"startupProbe", "readinessProbe", "livenessProbe"} <= set(container)
    assert container["resources"]["requests"] == container["resources"]["limits"]
    assert ":" in container["image"] and not container["image"].endswith(":latest")


def test_only_the_cluster_comes_in_and_it_may_go_out(pod: dict[str, Any]) -> None:
    inward, outward = (policy["spec"] for policy in documents("NetworkPolicy"))
    engine = {"matchLabels": {"app": "medinterp-vllm"}}
    ray = {"matchLabels": {"ray.io/originated-from-cr-name": "medinterp"}}
    assert inward["podSelector"] == engine and sorted(inward["policyTypes"]) == ["Egress", "Ingress"]
    assert inward["ingress"] == [{"from": [{"podSelector": ray}], "ports": [{"port": 8000}]}]
    assert outward["podSelector"] == ray
    assert outward["egress"] == [{"to": [{"podSelector": engine}], "ports": [{"port": 8000}]}]
    (service,) = documents("Service")
    assert service["spec"]["selector"] == engine["matchLabels"]


def test_the_writer_that_is_documented_fits_the_engine_and_the_model(pod: dict[str, Any]) -> None:
    first, second = writers()
    assert first == second
    (service,) = documents("Service")
    assert first["base_url"] == f"http://{service['metadata']['name']}:{service['spec']['ports'][0]['port']}/v1"
    (container,) = pod["containers"]
    model = cluster()["applications"][0]["args"]["model"]
    assert first["model"] == container["args"][0] == model["name"]
    assert f"--dtype={model['dtype']}" in container["args"]
    assert not [argument for argument in container["args"] if re.match("--(reasoning-parser|enable-log)", argument)]


def test_the_replica_that_asks_has_the_key(pod: dict[str, Any]) -> None:
    assert deployment(cluster(), "generation")["ray_actor_options"]["label_selector"] == {"medinterp/pool": "gpu"}
    asks = {entry["name"]: entry for entry in pods()["gpu"]["containers"][0]["env"]}[writers()[0]["api_key_env"]]
    holds = {entry["name"]: entry for entry in pod["containers"][0]["env"]}["VLLM_API_KEY"]
    secret = asks["valueFrom"]["secretKeyRef"]
    assert holds["valueFrom"]["secretKeyRef"] == {name: secret[name] for name in ("name", "key")}
