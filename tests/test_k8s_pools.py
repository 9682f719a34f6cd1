"""Every pool of k8s/ gives its deployments what they read: variables, files, weights, derived from their settings."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

import pytest
from pydantic import BaseModel
from ray.serve import Application
from ray.serve._private.api import call_user_app_builder_with_args_if_necessary as call_builder

import deployments.app
from deployments.settings import ModelSettings
from medinterp.model.loading import BUNDLED
from tests.k8s_build import (
    OVERLAYS,
    VARIANTS,
    Document,
    build,
    environment,
    groups,
    of_kind,
    pods,
    ray_pods,
    serve_config,
)

SECRET_FILES = {"medinterp-keys": {"keys.json"}, "medinterp-store-key": {"key"}}
"""The files of the secrets that are mounted, as k8s/README.md makes them."""


def settings_of(given: Any) -> Iterator[BaseModel]:
    """A deployment's settings, and those inside of them."""
    if isinstance(given, BaseModel):
        yield given
        for name in type(given).model_fields:
            yield from settings_of(getattr(given, name))


def arguments(documents: tuple[Document, ...]) -> dict[str, list[BaseModel]]:
    """What every deployment of the built applications is given, by its name."""
    found: dict[str, list[BaseModel]] = {}

    def walk(application: Application) -> None:
        bound = application._bound_deployment
        found[bound.name] = [one for given in bound.init_args for one in settings_of(given)]
        for given in bound.init_args:
            if isinstance(given, Application):
                walk(given)

    for application in serve_config(documents)["applications"]:
        walk(call_builder(getattr(deployments.app, application["import_path"].partition(":")[2]), application["args"]))
    return found


def named(settings: list[BaseModel], ending: str) -> set[str]:
    """What the fields say whose names end so: variables of the environment (_env), files (_file)."""
    fields = [(one, name) for one in settings for name in type(one).model_fields if name.endswith(ending)]
    return {getattr(one, name) for one, name in fields if getattr(one, name) is not None}


def pools(documents: tuple[Document, ...]) -> dict[str, str]:
    """The group that each deployment runs in."""
    by_label = {group["labels"]["medinterp/pool"]: name for name, group in groups(documents).items() if name != "head"}
    return {
        block["name"]: by_label[block["ray_actor_options"]["label_selector"]["medinterp/pool"]]
        for application in serve_config(documents)["applications"]
        for block in application["deployments"]
    }


def mounted(spec: Document) -> dict[str, str]:
    """Path of each file of a mounted secret -> the secret's name."""
    secrets = {volume["name"]: volume["secret"]["secretName"] for volume in spec["volumes"] if "secret" in volume}
    return {
        f"{mount['mountPath']}/{name}": secrets[mount["name"]]
        for mount in spec["containers"][0]["volumeMounts"]
        if mount["name"] in secrets
        for name in SECRET_FILES[secrets[mount["name"]]]
    }


@VARIANTS
def test_every_deployment_finds_the_variables_that_its_settings_name(variant: tuple[str, ...]) -> None:
    documents = build(*variant)
    place, specs = pools(documents), ray_pods(documents)
    given = arguments(documents)
    assert set(given) == set(place)
    for name, settings in given.items():
        there = environment(documents, specs[place[name]]["spec"])
        for variable in named(settings, "_env"):
            assert isinstance(there.get(variable), dict), f"{name} reads {variable}, which its pool does not have"


def test_who_reads_what() -> None:
    """The rule above is not an empty one: the store's password is read in both pools, the engine's key in one."""
    given = arguments(build("gpu-with-engine"))
    read = {name: named(settings, "_env") for name, settings in given.items()}
    store = "MEDINTERP_REDIS_PASSWORD"
    assert read == {
        "generation": {store, "ENGINE_API_KEY"},
        "rendering": {store},
        "relevancy": set(),
        "api": {store},
        "ui": set(),
    }


@VARIANTS
def test_no_pool_has_a_secret_that_nobody_there_reads(variant: tuple[str, ...]) -> None:
    documents = build(*variant)
    place, given = pools(documents), arguments(documents)
    for group, pod in ray_pods(documents).items():
        read = {one for name, where in place.items() if where == group for one in named(given[name], "_env")}
        held = {name for name, value in environment(documents, pod["spec"]).items() if isinstance(value, dict)}
        assert held <= read or variant[:2] == ("demo", "gpu"), group  # there the pool of GPUs has no deployment


@VARIANTS
def test_every_file_that_a_setting_names_is_mounted(variant: tuple[str, ...]) -> None:
    documents = build(*variant)
    place, specs = pools(documents), ray_pods(documents)
    for name, settings in arguments(documents).items():
        for file in named(settings, "_file"):
            assert file in mounted(specs[place[name]]["spec"]), f"{name} reads {file}, which its pool does not have"


def test_a_file_that_is_not_mounted_is_found() -> None:
    class Sealed(BaseModel):
        encryption_key_file: str | None = None

    class Store(BaseModel):
        store: Sealed

    settings = list(settings_of(Store(store=Sealed(encryption_key_file="/etc/medinterp/store/key"))))
    assert named(settings, "_file") == {"/etc/medinterp/store/key"}
    for documents in map(build, OVERLAYS):
        for group, pod in ray_pods(documents).items():
            paths = mounted(pod["spec"])
            assert ("/etc/medinterp/store/key" in paths) == (group != "head")
            assert ("/etc/medinterp/keys/keys.json" in paths) == (group == "cpu")


@VARIANTS
def test_mounted_secrets_are_read_only_and_no_strangers(variant: tuple[str, ...]) -> None:
    for pod in pods(build(*variant)).values():
        for volume in pod["spec"]["volumes"]:
            if "secret" in volume:
                assert volume["secret"]["defaultMode"] == 0o440
                for container in pod["spec"]["containers"]:
                    (mount,) = [one for one in container["volumeMounts"] if one["name"] == volume["name"]]
                    assert mount["readOnly"] is True


@VARIANTS
def test_a_model_of_the_hub_is_read_from_the_volume(variant: tuple[str, ...]) -> None:
    documents = build(*variant)
    (settings,) = [one for one in arguments(documents)["generation"] if isinstance(one, ModelSettings)]
    if settings.name in BUNDLED:
        assert of_kind(documents, "Job") == []
        return
    assert settings.allow_download is False and settings.device == "cuda"
    spec = ray_pods(documents)[pools(documents)["generation"]]["spec"]
    there = environment(documents, spec)
    assert there["HF_HUB_OFFLINE"] == "1" and "HF_TOKEN" not in there
    (mount,) = [one for one in spec["containers"][0]["volumeMounts"] if one["mountPath"] == there["HF_HUB_CACHE"]]
    (volume,) = [one for one in spec["volumes"] if one["name"] == mount["name"]]
    assert mount["readOnly"] is True
    assert volume["persistentVolumeClaim"] == {"claimName": "medinterp-weights", "readOnly": True}
    (job,) = [pod["spec"] for name, pod in pods(documents).items() if name == "Job medinterp-weights"]
    fetched = environment(documents, job)
    assert (fetched["MODEL"], fetched["REVISION"]) == (settings.name, settings.revision)
    assert fetched["HF_HUB_CACHE"] in {one["mountPath"] for one in job["containers"][0]["volumeMounts"]}


def test_weights_that_are_there_need_no_job_and_no_token() -> None:
    documents = build("demo", "gpu", "weights-prefilled")
    (claim,) = of_kind(documents, "PersistentVolumeClaim")
    assert claim["spec"]["accessModes"] == ["ReadOnlyMany"] and claim["spec"]["storageClassName"] == ""
    assert of_kind(documents, "Job") == []


@VARIANTS
def test_a_replica_that_wants_a_gpu_is_where_one_is(variant: tuple[str, ...]) -> None:
    documents = build(*variant)
    place, specs = pools(documents), ray_pods(documents)
    for application in serve_config(documents)["applications"]:
        for block in application["deployments"]:
            limits = specs[place[block["name"]]]["spec"]["containers"][0]["resources"]["limits"]
            assert float(limits.get("nvidia.com/gpu", 0)) >= block["ray_actor_options"].get("num_gpus", 0)
            assert float(limits["cpu"]) >= block["ray_actor_options"]["num_cpus"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_reports_are_in_the_store_of_the_cluster(overlay: str) -> None:
    """A file of one pod would be found by its own replicas alone."""
    assert serve_config(build(overlay))["applications"][0]["args"]["store"]["kind"] == "redis"


def test_paths_are_absolute() -> None:
    for path in mounted(ray_pods(build("demo"))["cpu"]["spec"]):
        assert PurePosixPath(path).is_absolute()
