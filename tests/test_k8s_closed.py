"""What k8s/ lets in and out, who runs as what, and where secrets come from."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.k8s_build import OPTIONS, OVERLAYS, VARIANTS, build, of_kind, pods, ray_pods, selected

RAY_PORTS = {6379, 10001, 8265, 8080}
SECRETS = {
    "medinterp-redis": {"reports-password", "cluster-password"},
    "medinterp-hub": {"token"},
    "medinterp-engine": {"api-key"},
}
"""The secrets that k8s/README.md makes, and their keys."""


@VARIANTS
def test_every_pod_is_restricted(variant: tuple[str, ...]) -> None:
    """The namespace enforces Kubernetes' "restricted" standard; here is what it asks for."""
    documents = build(*variant)
    (namespace,) = of_kind(documents, "Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    for name, pod in pods(documents).items():
        spec = pod["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True and spec["securityContext"]["runAsUser"] > 0, name
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
        for container in spec["containers"]:
            assert container["securityContext"]["allowPrivilegeEscalation"] is False
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            assert {"cpu", "memory"} <= set(container["resources"]["limits"])
        for volume in spec["volumes"]:
            assert set(volume) - {"name"} <= {"emptyDir", "configMap", "secret", "persistentVolumeClaim"}
    scaler = of_kind(documents, "RayService")[0]["spec"]["rayClusterConfig"]["autoscalerOptions"]
    assert scaler["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


@VARIANTS
def test_only_the_head_has_an_account_of_kubernetes(variant: tuple[str, ...]) -> None:
    for name, pod in pods(build(*variant)).items():
        assert (pod["spec"].get("automountServiceAccountToken") is False) == (name != "ray head"), name


@VARIANTS
def test_secrets_come_from_secrets_that_the_readme_makes(variant: tuple[str, ...]) -> None:
    documents = build(*variant)
    assert of_kind(documents, "Secret") == []
    found = []

    def look(node: Any) -> None:
        if isinstance(node, dict):
            if "secretKeyRef" in node:
                found.append(node["secretKeyRef"])
            for value in node.values():
                look(value)
        elif isinstance(node, list):
            for value in node:
                look(value)

    look(list(documents))
    assert found
    for reference in found:
        assert reference["key"] in SECRETS[reference["name"]]
    for pod in pods(documents).values():
        for container in pod["spec"]["containers"]:
            for variable in container.get("env", []):
                if re.search("TOKEN|PASSWORD|KEY", variable["name"]):
                    assert set(variable) == {"name", "valueFrom"} and "secretKeyRef" in variable["valueFrom"]


def reached(documents: tuple[dict[str, Any], ...], name: str) -> set[tuple[str, int | None]]:
    """(who, port) of all that may come in to a pod from outside of the Ray cluster; port None is any."""
    cluster = {"podSelector": {"matchLabels": {"app": "medinterp"}}}
    found = set()
    for policy in of_kind(documents, "NetworkPolicy"):
        spec = policy["spec"]
        if "Ingress" in spec["policyTypes"] and selected(spec["podSelector"], pods(documents)[name]["labels"]):
            for rule in spec.get("ingress", []):
                assert rule["from"], "a rule without peers is open to everybody"
                for peer in rule["from"]:
                    if peer != cluster:
                        (who,) = [value for one in peer.values() for value in one["matchLabels"].values()][-1:]
                        found |= {(who, port["port"]) for port in rule.get("ports", [{"port": None}])}
    return found


OPERATOR = {("kuberay-system", 8265), ("kuberay-system", 8000)}
CALLERS = {("medinterp-gateway", 8000), ("ingress-nginx", 8000)}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_nobody_comes_in_unless_that_is_added(overlay: str) -> None:
    documents = build(overlay)
    for group in ray_pods(documents):
        assert reached(documents, f"ray {group}") == OPERATOR


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_callers_reach_the_serve_port_of_workers_and_no_other(overlay: str) -> None:
    documents = build(overlay, *OPTIONS)
    assert reached(documents, "ray head") == OPERATOR | {("monitoring", 8080)}
    for group in set(ray_pods(documents)) - {"head"}:
        assert reached(documents, f"ray {group}") == OPERATOR | CALLERS | {("monitoring", 8080)}
    callers = {who for who, _ in CALLERS}
    assert not {port for who, port in reached(documents, "ray cpu") if who in callers} & RAY_PORTS


@VARIANTS
def test_who_reaches_the_stores_and_the_engine(variant: tuple[str, ...]) -> None:
    documents = build(*variant)
    policies = {policy["metadata"]["name"]: policy["spec"] for policy in of_kind(documents, "NetworkPolicy")}
    groups = ray_pods(documents)

    def comers(policy: str) -> set[str]:
        (rule,) = policies[policy]["ingress"]
        (peer,) = rule["from"]
        return {name for name, pod in groups.items() if selected(peer["podSelector"], pod["labels"])}

    assert comers("medinterp-reports") == set(groups) - {"head"}
    assert comers("medinterp-cluster-state") == {"head"}
    cleaner = {**groups["head"]["labels"], "ray.io/node-type": "redis-cleanup"}  # of the head's template
    (peer,) = policies["medinterp-cluster-state"]["ingress"][0]["from"]
    assert selected(peer["podSelector"], cleaner)
    assert selected(policies["medinterp"]["podSelector"], cleaner)
    if "gpu-with-engine" in variant:
        assert comers("medinterp-engine") == {"gpu"}


@VARIANTS
def test_where_pods_may_go(variant: tuple[str, ...]) -> None:
    """To the internet only the job that fetches weights; to the Kubernetes API only the head."""
    documents = build(*variant)
    for name, pod in pods(documents).items():
        anywhere = set()
        for policy in of_kind(documents, "NetworkPolicy"):
            spec = policy["spec"]
            if "Egress" in spec["policyTypes"] and selected(spec["podSelector"], pod["labels"]):
                for rule in spec.get("egress", []):
                    if "to" not in rule:
                        anywhere |= {port["port"] for port in rule["ports"]}
        expected = {"ray head": {443, 6443}, "Job medinterp-weights": {443}}
        assert anywhere == expected.get(name, set()), name


@pytest.mark.parametrize("name", ["reports", "cluster-state"])
def test_redis_gets_its_password_by_no_argument(name: str) -> None:
    (container,) = pods(build("demo"))[f"StatefulSet medinterp-{name}"]["spec"]["containers"]
    assert container["command"] == ["/bin/sh", "-c"]
    first, second = container["args"][0].splitlines()[:2]
    assert first == "exec redis-server /etc/redis/redis.conf - <<END" and second == 'requirepass "$REDIS_PASSWORD"'
