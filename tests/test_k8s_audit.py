"""The audit of an archive on a cluster (k8s/overlays/audit): by the schemas, closed, and a command that is ours."""

from __future__ import annotations

import shlex
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from medinterp.cli import audit, main
from tests.k8s_build import K8S, Document, build, of_kind, ray_service, selected
from tests.k8s_rules import RULES
from tests.k8s_schemas import kept


def job() -> Document:
    (found,) = of_kind(build("audit"), "RayJob")
    return found


def groups() -> dict[str, Document]:
    cluster = job()["spec"]["rayClusterSpec"]
    return {"head": cluster["headGroupSpec"], **{group["groupName"]: group for group in cluster["workerGroupSpecs"]}}


def flaws(document: Document) -> list[str]:
    return [flaw.message for flaw in jsonschema.Draft202012Validator(kept("RayJob")).iter_errors(document)]


def test_every_document_fits_its_schema() -> None:
    for document in build("audit"):
        if document["kind"] == "RayJob":
            assert flaws(document) == []
        else:
            kubernetes_validate.validate(document, "1.37", strict=True)
    assert flaws({**job(), "spec": {**job()["spec"], "entrypoints": "x"}})


@pytest.mark.parametrize(
    "rule",
    [
        "the_name_is_a_short_label",
        "ray_is_started_by_the_operator",
        "start_parameters_are_strings",
        "resources_stand_in_one_place",
        "pools_have_room_to_scale",
        "the_head_runs_no_replica",
        "tokens_are_asked_for",
        "probes_are_the_operators",
        "what_is_alpha_is_off",
        "shared_memory_fits_the_pod",
        "ray_sees_what_kubernetes_gives",
    ],
)
def test_the_operators_rules_hold(rule: str) -> None:
    as_service = {"metadata": job()["metadata"], "spec": {"rayClusterConfig": job()["spec"]["rayClusterSpec"]}}
    assert list(RULES[rule](as_service)) == []


def test_the_command_is_ours_and_asks_for_what_the_pool_has() -> None:
    program, *arguments = shlex.split(job()["spec"]["entrypoint"])
    assert program == "medinterp"
    options = main.__globals__["_parser"]().parse_args(audit.completed(arguments))
    pool = groups()["gpu"]
    assert options.actors == pool["replicas"] == pool["maxReplicas"]
    limits = pool["template"]["spec"]["containers"][0]["resources"]["limits"]
    assert options.num_gpus == int(limits["nvidia.com/gpu"])
    assert options.source.startswith("s3://") and options.out.startswith("s3://")
    serve = yaml.safe_load((K8S / "overlays" / "gpu" / "serve_config.yaml").read_text())
    assert serve["applications"][0]["args"]["model"]["name"] == options.model
    assert serve["applications"][0]["args"]["model"]["revision"] == options.revision


def test_it_is_the_services_ray_and_image() -> None:
    cluster = job()["spec"]["rayClusterSpec"]
    service = ray_service(build("gpu"))["spec"]["rayClusterConfig"]
    assert cluster["rayVersion"] == service["rayVersion"]
    images = {group["template"]["spec"]["containers"][0]["image"] for group in groups().values()}
    pool = next(group for group in service["workerGroupSpecs"] if group["groupName"] == "gpu")
    assert images == {pool["template"]["spec"]["containers"][0]["image"]}


def test_it_is_restricted_closed_and_spills_nothing() -> None:
    (policy,) = of_kind(build("audit"), "NetworkPolicy")
    assert set(policy["spec"]["policyTypes"]) == {"Ingress", "Egress"}
    peers = [peer for rule in policy["spec"]["ingress"] for peer in rule["from"]]
    assert len(peers) == 2
    for group in groups().values():
        template: Any = group["template"]
        assert selected(policy["spec"]["podSelector"], template["metadata"]["labels"])
        spec = template["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["automountServiceAccountToken"] is False
        container = spec["containers"][0]
        assert container["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
        said = {one["name"]: one["value"] for one in container["env"]}
        assert said["RAY_automatic_object_spilling_enabled"] == "0" and said["RAY_USAGE_STATS_ENABLED"] == "0"
