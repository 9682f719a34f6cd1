"""KubeRay's own rules (tests/k8s_rules.py): every overlay keeps each, and each is seen broken."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from tests.k8s_build import OPTIONS, VARIANTS, build, of_kind, ray_pods, ray_service, selected
from tests.k8s_rules import RULES

CLUSTER = ("spec", "rayClusterConfig")
HEAD = (*CLUSTER, "headGroupSpec")
POOL = (*CLUSTER, "workerGroupSpecs", 0)
BROKEN: dict[str, list[tuple[tuple[str | int, ...], Any]]] = {
    "the_name_is_a_short_label": [(("metadata", "name"), "Medinterp"), (("metadata", "name"), "m" * 42)],
    "ray_is_started_by_the_operator": [((*POOL, "template", "spec", "containers", 0, "command"), ["ray"])],
    "start_parameters_are_strings": [((*HEAD, "rayStartParams", "num-cpus"), 0)],
    "resources_stand_in_one_place": [((*HEAD, "resources"), {"CPU": "1"})],
    "labels_stand_in_the_group": [
        ((*POOL, "rayStartParams", "labels"), "a=b"),
        ((*POOL, "labels", "medinterp/pool"), "c p u"),
    ],
    "pools_have_room_to_scale": [((*POOL, "minReplicas"), 9), ((*POOL, "minReplicas"), -1)],
    "the_second_autoscaler_is_chosen_once": [
        ((*CLUSTER, "enableInTreeAutoscaling"), False),
        ((*CLUSTER, "autoscalerOptions", "version"), "v1"),
        ((*HEAD, "template", "spec", "containers", 0, "env"), [{"name": "RAY_enable_autoscaler_v2", "value": "1"}]),
        ((*POOL, "template", "spec", "restartPolicy"), "Always"),
    ],
    "the_head_runs_no_replica": [((*HEAD, "rayStartParams", "num-cpus"), "2")],
    "tokens_are_asked_for": [((*CLUSTER, "authOptions"), {}), ((*CLUSTER, "rayVersion"), "2.51.0")],
    "fault_tolerance_is_set_in_one_place": [
        ((*HEAD, "template", "spec", "containers", 0, "env"), [{"name": "REDIS_PASSWORD", "value": "x"}]),
        ((*CLUSTER, "gcsFaultToleranceOptions", "redisPassword"), {"value": "readable"}),
        ((*CLUSTER, "gcsFaultToleranceOptions", "externalStorageNamespace"), "medinterp"),
        (("metadata", "annotations"), {"ray.io/ft-enabled": "true"}),
    ],
    "probes_are_the_operators": [((*POOL, "template", "spec", "containers", 0, "readinessProbe"), {})],
    "names_of_services_are_the_operators": [((*HEAD, "headService"), {"metadata": {"name": "mine"}})],
    "what_is_alpha_is_off": [((*CLUSTER, "networkPolicy"), {}), ((*CLUSTER, "tlsOptions"), {})],
    "the_cluster_has_no_upgrade_of_its_own": [((*CLUSTER, "upgradeStrategy"), {"type": "Recreate"})],
    "an_upgrade_takes_no_gpu_twice": [
        (("spec", "upgradeStrategy"), {"type": "NewCluster"}),
        (("spec", "upgradeStrategy"), {"type": "NewClusterWithIncrementalUpgrade"}),
        (("spec", "upgradeStrategy", "clusterUpgradeOptions", "maxSurgePercent"), 10),
        (("spec", "upgradeStrategy", "clusterUpgradeOptions", "gatewayClassName"), ""),
        ((*CLUSTER, "enableInTreeAutoscaling"), False),
    ],
    "shared_memory_fits_the_pod": [
        ((*POOL, "rayStartParams", "object-store-memory"), str(8 * 2**30)),
        ((*POOL, "template", "spec", "volumes"), []),
        ((*POOL, "template", "spec", "containers", 0, "resources", "limits", "memory"), "4Gi"),
    ],
    "ray_sees_what_kubernetes_gives": [
        ((*POOL, "template", "spec", "containers", 0, "resources", "requests", "cpu"), "1"),
    ],
    "the_proxy_is_on_every_node": [
        (("spec", "serveConfigV2"), "{proxy_location: HeadOnly, http_options: {host: 0.0.0.0, port: 8000}}"),
        (("spec", "serveConfigV2"), "{proxy_location: EveryNode, http_options: {host: 127.0.0.1, port: 8000}}"),
    ],
}


@VARIANTS
@pytest.mark.parametrize("name", RULES)
def test_every_overlay_keeps(variant: tuple[str, ...], name: str) -> None:
    assert list(RULES[name](ray_service(build(*variant)))) == []


@pytest.mark.parametrize(("name", "path", "value"), [(name, *one) for name in RULES for one in BROKEN[name]])
def test_it_is_seen_broken(name: str, path: tuple[str | int, ...], value: Any) -> None:
    service = copy.deepcopy(ray_service(build("gpu", *OPTIONS)))
    section: Any = service
    for step in path[:-1]:
        section = section[step]
    section[path[-1]] = value
    assert list(RULES[name](service))


def test_where_a_gateway_is_callers_go_over_in_steps() -> None:
    plain, stepped = ray_service(build("gpu"))["spec"], ray_service(build("gpu", "gateway"))["spec"]
    assert plain["upgradeStrategy"] == {"type": "None"}
    assert stepped["upgradeStrategy"]["type"] == "NewClusterWithIncrementalUpgrade"
    assert {name for name in plain if plain[name] != stepped[name]} == {"upgradeStrategy"}
    # The old cluster outlives the longest report that somebody may still wait for.
    assert stepped["rayClusterDeletionDelaySeconds"] > 330


@VARIANTS
def test_disruption_budgets_are_of_the_kind_that_counts_for_an_operators_pods(variant: tuple[str, ...]) -> None:
    """No scale subresource stands behind Ray's pods: only a whole minAvailable works. Each group has one."""
    documents = build(*variant)
    budgets = [document["spec"] for document in of_kind(documents, "PodDisruptionBudget")]
    for budget in budgets:
        assert set(budget) == {"minAvailable", "selector"} and type(budget["minAvailable"]) is int
    for pod in ray_pods(documents).values():
        assert len([one for one in budgets if selected(one["selector"], pod["labels"])]) == 1
