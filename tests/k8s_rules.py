"""What KubeRay 1.7 refuses or lets go wrong although its schema allows it, as rules over a RayService.

From ray-operator/controllers/ray/utils/validation.go, and from what its documentation leaves to the reader. Each rule
answers with what is wrong; tests/test_k8s_operator.py holds every overlay to each, and sees each one broken.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

Document = dict[str, Any]
Rule = Callable[[Document], Iterator[str]]
RULES: dict[str, Rule] = {}


def rule(check: Rule) -> Rule:
    """Put a rule among the rest, under its own name."""
    RULES[check.__name__] = check
    return check


def _cluster(service: Document) -> Document:
    cluster: Document = service["spec"]["rayClusterConfig"]
    return cluster


def _groups(service: Document) -> list[tuple[str, Document]]:
    cluster = _cluster(service)
    workers = [(group["groupName"], group) for group in cluster.get("workerGroupSpecs", [])]
    return [("head", cluster["headGroupSpec"]), *workers]


def _names(container: Document) -> set[str]:
    return {variable["name"] for variable in container.get("env", [])}


@rule
def the_name_is_a_short_label(service: Document) -> Iterator[str]:
    """RFC 1035, and room for what the operator puts behind it."""
    name = service["metadata"]["name"]
    if not re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", name) or len(name) > 41:
        yield name


@rule
def ray_is_started_by_the_operator(service: Document) -> Iterator[str]:
    """A command or arguments of the Ray container, the first of its pod, would stand before `ray start`."""
    for name, group in _groups(service):
        if {"command", "args"} & set(group["template"]["spec"]["containers"][0]):
            yield name


@rule
def start_parameters_are_strings(service: Document) -> Iterator[str]:
    """A number is refused by the schema; `true` would be, too."""
    for name, group in _groups(service):
        if not all(isinstance(value, str) for value in group["rayStartParams"].values()):
            yield name


@rule
def resources_stand_in_one_place(service: Document) -> Iterator[str]:
    """rayStartParams or the group's `resources`, not both."""
    for name, group in _groups(service):
        if group.get("resources") and {"num-cpus", "num-gpus", "memory", "resources"} & set(group["rayStartParams"]):
            yield name


@rule
def labels_stand_in_the_group(service: Document) -> Iterator[str]:
    """Not in rayStartParams, and in Kubernetes' syntax."""
    for name, group in _groups(service):
        if "labels" in group["rayStartParams"]:
            yield name
        for key, value in group.get("labels", {}).items():
            word = r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
            if not re.fullmatch(rf"([a-z0-9.-]+/)?{word}", key) or not re.fullmatch(f"({word})?", value):
                yield f"{name}: {key}={value}"


@rule
def pools_have_room_to_scale(service: Document) -> Iterator[str]:
    """0 <= minReplicas <= maxReplicas, both said."""
    for group in _cluster(service)["workerGroupSpecs"]:
        if not 0 <= group.get("minReplicas", -1) <= group.get("maxReplicas", -1):
            yield group["groupName"]


@rule
def the_second_autoscaler_is_chosen_once(service: Document) -> Iterator[str]:
    """By autoscalerOptions.version; the environment's variable beside it is refused, as a restart policy is."""
    cluster = _cluster(service)
    if cluster.get("enableInTreeAutoscaling") is not True or cluster["autoscalerOptions"].get("version") != "v2":
        yield "autoscaler v2 is not on"
    for name, group in _groups(service):
        if "RAY_enable_autoscaler_v2" in _names(group["template"]["spec"]["containers"][0]):
            yield f"{name}: RAY_enable_autoscaler_v2"
        if group["template"]["spec"].get("restartPolicy", "Never") != "Never":
            yield f"{name}: restartPolicy"


@rule
def the_head_runs_no_replica(service: Document) -> Iterator[str]:
    """With CPUs of its own it would be given some."""
    if _cluster(service)["headGroupSpec"]["rayStartParams"].get("num-cpus") != "0":
        yield "num-cpus"


@rule
def tokens_are_asked_for(service: Document) -> Iterator[str]:
    """authOptions.mode token, of a Ray that has tokens (2.52), and not Kubernetes' own with a RayService."""
    cluster = _cluster(service)
    options = cluster.get("authOptions", {})
    if options.get("mode") != "token" or options.get("enableK8sTokenAuth"):
        yield str(options)
    if tuple(map(int, cluster.get("rayVersion", "0.0").split(".")[:2])) < (2, 52):
        yield "rayVersion"


@rule
def fault_tolerance_is_set_in_one_place(service: Document) -> Iterator[str]:
    """gcsFaultToleranceOptions, and neither the annotations nor the variables nor a parameter that it makes itself."""
    head = _cluster(service)["headGroupSpec"]
    own = {"RAY_REDIS_ADDRESS", "REDIS_PASSWORD", "REDIS_USERNAME"}
    yield from sorted(own & _names(head["template"]["spec"]["containers"][0]))
    yield from sorted({"redis-password", "redis-username"} & set(head["rayStartParams"]))
    yield from sorted({"ray.io/ft-enabled", "ray.io/external-storage-namespace"}
                      & set(service["metadata"].get("annotations", {})))
    options = _cluster(service).get("gcsFaultToleranceOptions", {})
    if "redisAddress" not in options or "valueFrom" not in options.get("redisPassword", {}):
        yield "redisAddress, and redisPassword by reference"
    # Each cluster of an upgrade has a space of its own, by its id, as long as nobody names one for both.
    if {"externalStorageNamespace", "storage", "backend"} & set(options):
        yield "externalStorageNamespace, storage, backend"


@rule
def probes_are_the_operators(service: Document) -> Iterator[str]:
    """Its readiness probe of a worker asks Serve's proxy; another one would send callers to who cannot answer."""
    for name, group in _groups(service):
        for container in group["template"]["spec"]["containers"]:
            if {"livenessProbe", "readinessProbe", "startupProbe"} & set(container):
                yield name


@rule
def names_of_services_are_the_operators(service: Document) -> Iterator[str]:
    """headService.metadata.name is refused."""
    if "name" in _cluster(service)["headGroupSpec"].get("headService", {}).get("metadata", {}):
        yield "headService"


@rule
def what_is_alpha_is_off(service: Document) -> Iterator[str]:
    """networkPolicy, tlsOptions and historyServerOptions are refused without their feature gates."""
    yield from sorted({"networkPolicy", "tlsOptions", "historyServerOptions"} & set(_cluster(service)))


@rule
def the_cluster_has_no_upgrade_of_its_own(service: Document) -> Iterator[str]:
    """rayClusterConfig.upgradeStrategy is for a RayCluster that nobody else makes."""
    if "upgradeStrategy" in _cluster(service):
        yield "rayClusterConfig.upgradeStrategy"


@rule
def an_upgrade_takes_no_gpu_twice(service: Document) -> Iterator[str]:
    """None, or NewClusterWithIncrementalUpgrade with all that it needs: the operator dies of a missing number."""
    strategy = service["spec"]["upgradeStrategy"]
    if strategy["type"] == "None":
        if "clusterUpgradeOptions" in strategy:
            yield "options without an upgrade"
        return
    if strategy["type"] != "NewClusterWithIncrementalUpgrade":
        yield strategy["type"]
        return
    options = strategy.get("clusterUpgradeOptions", {})
    step, surge = options.get("stepSizePercent", -1), options.get("maxSurgePercent", -1)
    if not 0 < step <= surge <= 100 or options.get("intervalSeconds", 0) <= 0 or not options.get("gatewayClassName"):
        yield str(options)
    if not _cluster(service).get("enableInTreeAutoscaling"):
        yield "an incremental upgrade needs the autoscaler"


@rule
def shared_memory_fits_the_pod(service: Document) -> Iterator[str]:
    """/dev/shm is memory of the pod, and holds the object store: else Ray puts objects on the disk, in /tmp."""
    for name, group in _groups(service):
        spec = group["template"]["spec"]
        container = spec["containers"][0]
        mounted = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
        volumes = {volume["name"]: volume.get("emptyDir", {}) for volume in spec["volumes"]}
        shared = volumes.get(mounted.get("/dev/shm", ""), {})
        size = int(shared.get("sizeLimit", "0Gi").removesuffix("Gi")) * 2**30
        memory = int(container["resources"]["limits"]["memory"].removesuffix("Gi")) * 2**30
        store = int(group["rayStartParams"].get("object-store-memory", 2**63))
        if shared.get("medium") != "Memory" or not store < size <= memory / 3:
            yield f"{name}: object store {store}, /dev/shm {size}, pod {memory}"


@rule
def ray_sees_what_kubernetes_gives(service: Document) -> Iterator[str]:
    """KubeRay takes a group's CPUs and GPUs from its limits; a request below them is a promise of less."""
    for name, group in _groups(service):
        resources = group["template"]["spec"]["containers"][0]["resources"]
        if name != "head" and resources["requests"] != resources["limits"]:
            yield name


@rule
def the_proxy_is_on_every_node(service: Document) -> Iterator[str]:
    """HeadOnly would leave every worker NotReady: the probe asks its own proxy."""
    import yaml

    config = yaml.safe_load(service["spec"]["serveConfigV2"])
    if config.get("proxy_location") != "EveryNode" or config["http_options"]["port"] != 8000:
        yield "proxy_location EveryNode, port 8000"
    if config["http_options"]["host"] != "0.0.0.0":
        yield "host: other pods and the probe come by the pod's address"
