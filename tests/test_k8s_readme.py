"""k8s/README.md says how each secret is made and why each resource is there, and names nothing that is not."""

from __future__ import annotations

import re

from tests.k8s_build import K8S, OPTIONS, OVERLAYS, ROOT, build, pods
from tests.test_k8s_closed import SECRETS
from tests.test_k8s_pools import SECRET_FILES

TEXT = (K8S / "README.md").read_text()
GENERATED = re.compile(r"-[a-z0-9]{10}$")


def everything() -> set[tuple[str, str]]:
    """Kind and name of all that any overlay makes, without the hash of a generated name."""
    documents = [one for overlay in OVERLAYS for one in build(overlay, *OPTIONS)]
    names = {(one["kind"], one["metadata"]["name"]) for one in documents}
    return {(kind, GENERATED.sub("", name) if kind == "ConfigMap" else name) for kind, name in names}


def test_every_resource_is_said_why_and_no_other() -> None:
    told = set()
    for row in re.findall(r"^\| ((?:[A-Z]\w+[^|]*)`medinterp[^|]*) \|", TEXT, re.M):
        parts = re.split(r", (?=[A-Z])", row)
        kinds: list[str] = []
        for part in parts:
            kinds.append(part.split(" ")[0])
            names = re.findall(r"`(medinterp[\w-]*)`", part)
            told |= {(kind, name) for kind in kinds for name in names}
            kinds = [] if names else kinds
    assert told == everything()


def test_secrets_are_made_as_they_are_named() -> None:
    made = {}
    for name, rest in re.findall(r"create secret generic (\S+)((?:[^\n\\]|\\\n)*)", TEXT):
        made[name] = set(re.findall(r"--from-(?:literal=|file=)([\w.-]+)", rest))
    assert made == SECRETS | SECRET_FILES
    table = re.findall(r"^\| (?:`(medinterp-[\w-]+)` )?\| `([\w.-]+)`", TEXT, re.M)
    name, listed = "", {}
    for first, key in table:
        name = first or name
        listed.setdefault(name, set()).add(key)
    assert listed == made


def test_secrets_that_pods_name_are_made() -> None:
    named = set()
    for overlay in OVERLAYS:
        for pod in pods(build(overlay, *OPTIONS)).values():
            named |= {one["secret"]["secretName"] for one in pod["spec"]["volumes"] if "secret" in one}
            for container in pod["spec"]["containers"]:
                references = [one.get("valueFrom", {}).get("secretKeyRef") for one in container.get("env", [])]
                named |= {one["name"] for one in references if one}
    named.add(build("demo")[-1]["spec"]["rayClusterConfig"]["gcsFaultToleranceOptions"]["redisPassword"]["valueFrom"][
        "secretKeyRef"]["name"])
    assert named == set(SECRETS | SECRET_FILES)


def test_paths_are_there() -> None:
    paths = set(re.findall(r"\bk8s/[\w./-]*\w", TEXT))
    paths |= {f"k8s/{one}" for one in re.findall(r"`((?:overlays|components|base)/[\w./-]+)`", TEXT)}
    assert len(paths) > 8
    for path in paths:
        assert (ROOT / path).exists(), path
    for folder in ("overlays", "components"):
        for place in (K8S / folder).iterdir():
            assert f"`{folder}/{place.name}`" in TEXT


def test_numbers_are_those_of_the_manifests() -> None:
    spec = build("gpu", "gateway")[-1]["spec"]
    options = spec["upgradeStrategy"]["clusterUpgradeOptions"]
    assert f"steps of {options['stepSizePercent']} % every minute" in TEXT and options["intervalSeconds"] == 60
    assert f"{spec['rayClusterDeletionDelaySeconds']} s after the last caller" in TEXT
    assert "`graceful_shutdown_timeout_s` (320 s" in TEXT
    assert "graceful_shutdown_timeout_s: 320" in spec["serveConfigV2"]
