"""Every overlay of k8s/, with and without what may be added: built by kustomize, and read strictly by the schemas."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from deployments.environment import ENVIRONMENT
from tests.k8s_build import (
    K8S,
    OPTIONS,
    OVERLAYS,
    ROOT,
    VARIANTS,
    build,
    environment,
    groups,
    of_kind,
    pods,
    ray_pods,
    ray_service,
    selected,
    serve_config,
)
from tests.k8s_schemas import kept

KUBERNETES = "1.37"


def flaws(document: dict[str, Any]) -> list[str]:
    """What Kubernetes, or the operator's own schema, would not take, unknown keys included."""
    if document["kind"] in ("RayService", "ServiceMonitor"):
        validator = jsonschema.Draft202012Validator(kept(document["kind"]))
        return [f"{'.'.join(map(str, flaw.absolute_path))}: {flaw.message}" for flaw in validator.iter_errors(document)]
    try:
        kubernetes_validate.validate(document, KUBERNETES, strict=True)
    except kubernetes_validate.ValidationError as flaw:
        return [str(flaw)]
    return []


@VARIANTS
def test_every_document_fits_its_schema(variant: tuple[str, ...]) -> None:
    for document in build(*variant):
        assert flaws(document) == [], document["metadata"]["name"]


@pytest.mark.parametrize(
    ("kind", "path", "value"),
    [
        ("RayService", ("spec", "upgradeStratagy"), {}),
        ("RayService", ("spec", "rayClusterConfig", "workerGroupSpecs", 0, "minReplica"), 1),
        ("RayService", ("spec", "rayClusterConfig", "workerGroupSpecs", 0, "minReplicas"), "1"),
        ("RayService", ("spec", "rayClusterConfig", "headGroupSpec", "rayStartParams", "num-cpus"), 0),
        ("RayService", ("spec", "rayClusterConfig", "headGroupSpec", "template", "spec", "runAsNonRoot"), True),
        ("RayService", ("spec", "rayClusterConfig", "authOptions", "mode"), "tokens"),
        ("ServiceMonitor", ("spec", "endpoints", 0, "ports"), "metrics"),
        ("NetworkPolicy", ("spec", "podSelectors"), {}),
        ("PodDisruptionBudget", ("spec", "minAvailable"), 1.5),
        ("StatefulSet", ("spec", "template", "spec", "containers", 0, "envs"), []),
        ("Ingress", ("spec", "rules", 0, "http", "paths", 0, "pathType"), 1),
    ],
)
def test_a_misspelt_key_or_a_wrong_type_is_found(kind: str, path: tuple[str | int, ...], value: object) -> None:
    document = copy.deepcopy(of_kind(build("gpu", *OPTIONS), kind)[0])
    section: Any = document
    for step in path[:-1]:
        section = section[step]
    section[path[-1]] = value
    assert flaws(document)


@VARIANTS
def test_names_are_unique_and_in_one_namespace(variant: tuple[str, ...]) -> None:
    documents = build(*variant)
    names = [(document["kind"], document["metadata"]["name"]) for document in documents]
    assert len(names) == len(set(names))
    assert {document["metadata"].get("namespace", "medinterp") for document in documents} == {"medinterp"}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_serve_is_told_what_stands_in_the_overlays_file(overlay: str) -> None:
    text = (K8S / "overlays" / overlay / "serve_config.yaml").read_text()
    assert ray_service(build(overlay))["spec"]["serveConfigV2"] == text
    assert "medinterp-serve" not in {document["metadata"]["name"] for document in build(overlay)}


def test_the_engine_overlay_differs_by_its_writer_alone() -> None:
    ours, engines = serve_config(build("gpu")), serve_config(build("gpu-with-engine"))
    assert ours["applications"][0]["args"].pop("writer") != engines["applications"][0]["args"].pop("writer")
    assert ours == engines


def test_the_demo_differs_by_model_pool_and_size_alone() -> None:
    demo, gpu = serve_config(build("demo")), serve_config(build("gpu"))
    for config in (demo, gpu):
        del config["applications"][0]["args"]["model"]
        for block in config["applications"][0]["deployments"]:
            if block["name"] == "generation":
                del block["ray_actor_options"]
            for size in ("min_replicas", "max_replicas"):
                del block["autoscaling_config"][size]
    assert demo == gpu


@VARIANTS
def test_every_selector_chooses_somebody(variant: tuple[str, ...]) -> None:
    """A policy that selects no pod guards nothing, and nobody is told."""
    documents = build(*variant)
    everybody = [pod["labels"] for pod in pods(documents).values()]
    # Pods that others make: the gateway's (Gateway API), the job that KubeRay lets clean a cluster's state.
    everybody += [
        {"gateway.networking.k8s.io/gateway-name": "medinterp-gateway"},
        {"app": "medinterp", "ray.io/node-type": "redis-cleanup"},
    ]
    selectors = []
    for document in documents:
        spec = document.get("spec", {})
        if document["kind"] == "NetworkPolicy":
            selectors.append(spec["podSelector"])
            for rule in (*spec.get("ingress", []), *spec.get("egress", [])):
                peers = (*rule.get("from", []), *rule.get("to", []))
                selectors += [peer["podSelector"] for peer in peers if "podSelector" in peer]
        elif document["kind"] in ("PodDisruptionBudget", "Deployment", "StatefulSet"):
            selectors.append(spec["selector"])
        elif document["kind"] == "Service":
            selectors.append({"matchLabels": spec["selector"]})
    assert len(selectors) > 10
    for selector in selectors:
        assert selector and any(selected(selector, labels) for labels in everybody), selector


@VARIANTS
def test_every_pod_has_its_own_policy_inwards_and_outwards(variant: tuple[str, ...]) -> None:
    documents = build(*variant)
    for name, pod in pods(documents).items():
        types = {
            kind
            for policy in of_kind(documents, "NetworkPolicy")
            if selected(policy["spec"]["podSelector"], pod["labels"])
            for kind in policy["spec"]["policyTypes"]
        }
        assert types == {"Ingress", "Egress"}, name


@VARIANTS
def test_every_service_and_port_that_is_named_is_there(variant: tuple[str, ...]) -> None:
    documents = build(*variant)
    services = {document["metadata"]["name"]: document["spec"] for document in of_kind(documents, "Service")}
    store = serve_config(documents)["applications"][0]["args"]["store"]["url"]
    state = ray_service(documents)["spec"]["rayClusterConfig"]["gcsFaultToleranceOptions"]["redisAddress"]
    for address in (store.removeprefix("redis://").partition("/")[0], state):
        host, port = address.split(":")
        assert int(port) in [one["port"] for one in services[host]["ports"]]
    for monitor in of_kind(documents, "ServiceMonitor"):
        (chosen,) = [one for one in of_kind(documents, "Service")
                     if selected(monitor["spec"]["selector"], one["metadata"].get("labels", {}))]
        assert {end["port"] for end in monitor["spec"]["endpoints"]} <= {one["name"] for one in chosen["spec"]["ports"]}
    for ingress in of_kind(documents, "Ingress"):
        backend = ingress["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]
        assert backend == {"name": "medinterp-serve-svc", "port": {"number": 8000}}  # KubeRay's: NAME-serve-svc


@VARIANTS
def test_what_a_volume_or_a_variable_names_is_there(variant: tuple[str, ...]) -> None:
    documents = build(*variant)
    claims = {claim["metadata"]["name"] for claim in of_kind(documents, "PersistentVolumeClaim")}
    maps = {document["metadata"]["name"]: document["data"] for document in of_kind(documents, "ConfigMap")}
    templates = {
        template["metadata"]["name"]
        for workload in of_kind(documents, "StatefulSet")
        for template in workload["spec"].get("volumeClaimTemplates", [])
    }
    for pod in pods(documents).values():
        volumes = {volume["name"]: volume for volume in pod["spec"].get("volumes", [])}
        for volume in volumes.values():
            if "persistentVolumeClaim" in volume:
                assert volume["persistentVolumeClaim"]["claimName"] in claims
            if "configMap" in volume:
                assert {item["key"] for item in volume["configMap"]["items"]} <= set(maps[volume["configMap"]["name"]])
        for container in pod["spec"]["containers"]:
            assert {mount["name"] for mount in container["volumeMounts"]} <= set(volumes) | templates
            for source in container.get("envFrom", []):
                assert source["configMapRef"]["name"] in maps


@VARIANTS
def test_images_are_pinned_and_ours_are_where_the_overlay_says(variant: tuple[str, ...]) -> None:
    version = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.M)
    assert version
    images = {container["image"] for pod in pods(build(*variant)).values() for container in pod["spec"]["containers"]}
    for image in images:
        name, _, tag = image.rpartition(":")
        assert name and "latest" not in tag
        if "/medinterp-" in image:
            assert image.startswith("registry.example.org/") and tag == version.group(1)
    assert {"registry.example.org/medinterp-cpu:0.1.0"} <= images


def test_a_changed_environment_is_a_changed_cluster() -> None:
    """The ConfigMap's name has the hash of its content, and the RayService follows it in every group."""
    documents = build("gpu")
    (name,) = [one["metadata"]["name"] for one in of_kind(documents, "ConfigMap")
               if one["metadata"]["name"].startswith("medinterp-environment-")]
    for pod in ray_pods(documents).values():
        assert pod["spec"]["containers"][0]["envFrom"] == [{"configMapRef": {"name": name}}]


def test_reports_survive_where_that_is_chosen() -> None:
    def reports(*variant: str) -> tuple[dict[str, Any], str]:
        documents = build(*variant)
        workloads = {one["metadata"]["name"]: one for one in of_kind(documents, "StatefulSet")}
        config = next(one["data"] for one in of_kind(documents, "ConfigMap") if "reports.conf" in one["data"])
        return workloads["medinterp-reports"]["spec"], config["reports.conf"]

    volatile, kept_nowhere = reports("gpu")
    assert "volumeClaimTemplates" not in volatile and "appendonly no" in kept_nowhere and 'save ""' in kept_nowhere
    lasting, on_disk = reports("gpu", "persistent-reports")
    assert [claim["metadata"]["name"] for claim in lasting["volumeClaimTemplates"]] == ["data"]
    assert [volume["name"] for volume in lasting["template"]["spec"]["volumes"]] == ["config"]
    assert "appendonly yes" in on_disk and "dir /data" in on_disk
    for config in (kept_nowhere, on_disk):
        assert "maxmemory-policy noeviction" in config


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_redis_has_more_memory_than_it_may_fill(overlay: str) -> None:
    documents = build(overlay)
    config = next(one["data"] for one in of_kind(documents, "ConfigMap") if "reports.conf" in one["data"])
    for name, text in (("medinterp-reports", config["reports.conf"]),
                       ("medinterp-cluster-state", config["cluster.conf"])):
        filled = re.search(r"^maxmemory (\d+)(mb|gb)$", text, re.M)
        assert filled
        bytes_ = int(filled.group(1)) * {"mb": 2**20, "gb": 2**30}[filled.group(2)]
        (container,) = pods(documents)[f"StatefulSet {name}"]["spec"]["containers"]
        assert bytes_ <= 0.75 * int(container["resources"]["limits"]["memory"].removesuffix("Gi")) * 2**30


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_smallest_cluster_holds_the_smallest_service(overlay: str) -> None:
    documents = build(overlay)
    room = {}
    for name, group in groups(documents).items():
        if name != "head":
            container = group["template"]["spec"]["containers"][0]
            room[name] = group["minReplicas"] * float(container["resources"]["limits"]["cpu"])
    for application in serve_config(documents)["applications"]:
        for block in application["deployments"]:
            replicas = block.get("num_replicas") or block["autoscaling_config"]["min_replicas"]
            pool = block["ray_actor_options"]["label_selector"]["medinterp/pool"]
            room[pool] -= replicas * block["ray_actor_options"]["num_cpus"]
    assert min(room.values()) >= 0, room


@VARIANTS
def test_usage_statistics_are_off(variant: tuple[str, ...]) -> None:
    documents = build(*variant)
    for pod in ray_pods(documents).values():
        assert environment(documents, pod["spec"])["RAY_USAGE_STATS_ENABLED"] == "0"


def test_every_file_of_k8s_is_built_by_some_variant() -> None:
    """Nothing lies beside kustomize: each file is named by a kustomization that a variant has."""
    named: set[Path] = set()
    for place in K8S.rglob("kustomization.yaml"):
        content = yaml.safe_load(place.read_text())
        names = [*content.get("resources", []), *content.get("components", []), *content.get("configurations", [])]
        names += [patch["path"] for patch in content.get("patches", [])]
        for generator in content.get("configMapGenerator", []):
            names += [*generator.get("files", []), *generator.get("envs", [])]
        named |= {(place.parent / name).resolve() for name in names}
        named.add(place)
    files = {path for path in K8S.rglob("*") if path.is_file() and path.parent != K8S}
    assert files - named == set()
    assert {path.name for path in (K8S / "components").iterdir()} == {*OPTIONS, "gpu", "weights", "weights-prefilled"}


OF_ONE_MACHINE = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "RAY_AUTH_MODE"}
"""With the one no second node could join; KubeRay's authOptions say the other."""


def test_pods_have_the_environment_that_python_m_deployments_sets() -> None:
    documents = build("gpu")
    expected = {name: value for name, value in ENVIRONMENT.items() if name not in OF_ONE_MACHINE}
    for pod in ray_pods(documents).values():
        there = environment(documents, pod["spec"])
        assert {name: there.get(name) for name in expected} == expected
        assert not OF_ONE_MACHINE & set(there)
