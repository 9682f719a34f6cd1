"""serve_config.yaml and those of k8s/overlays, read strictly and against the applications they build."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError
from ray.serve import Application
from ray.serve._private.api import call_user_app_builder_with_args_if_necessary as call_builder
from ray.serve.schema import ServeDeploySchema

import deployments.app
from deployments.__main__ import OBJECT_STORE_BYTES
from deployments.app import GENERATION_CPUS, generation_resources
from deployments.configuration import read_configuration
from deployments.listening import refuse_strangers
from deployments.settings import (
    USER_CONFIGS,
    ApiArgs,
    EngineSettings,
    GenerationUserConfig,
    ModelSettings,
    QuestionSettings,
    QueueSettings,
    RenderingUserConfig,
    SlotsSettings,
    UiArgs,
)
from medinterp.api.access.settings import AccessSettings, RateSettings
from medinterp.api.admission import OVER
from medinterp.api.health import LOOK_S
from medinterp.api.jobs.settings import JobSettings
from medinterp.api.settings import ApiFixed, Decoding, Limits
from medinterp.imaging import FilmLimits
from medinterp.imaging.workers import DecodingLimits
from tests.serve_config_schema import unknown_keys

ROOT = Path(__file__).parent.parent
OVERLAYS = ("demo", "gpu", "gpu-with-engine")


def local() -> dict[str, Any]:
    config: dict[str, Any] = yaml.safe_load((ROOT / "serve_config.yaml").read_text())
    return config


def cluster(overlay: str) -> dict[str, Any]:
    """What an overlay's RayService tells Serve; tests/test_k8s_build.py holds that it does."""
    place = ROOT / "k8s" / "overlays" / overlay / "serve_config.yaml"
    config: dict[str, Any] = yaml.safe_load(place.read_text())
    return config


CONFIGS = pytest.mark.parametrize(
    "config", [local(), *map(cluster, OVERLAYS)], ids=["serve_config.yaml", *OVERLAYS]
)


def deployment(config: dict[str, Any], name: str) -> dict[str, Any]:
    """One deployment's block."""
    blocks = (block for application in config["applications"] for block in application["deployments"])
    return next(block for block in blocks if block["name"] == name)


def user_config(config: dict[str, Any], name: str) -> Any:
    """What a deployment's block says may change, read as the deployment does."""
    return USER_CONFIGS[name].model_validate(deployment(config, name)["user_config"])


def built_names(application: Application) -> Iterator[str]:
    """The names of a built application's deployments, the ingress first."""
    bound = application._bound_deployment
    yield bound.name
    for argument in bound.init_args:
        if isinstance(argument, Application):
            yield from built_names(argument)


@CONFIGS
def test_serve_reads_it_and_drops_nothing(config: dict[str, Any]) -> None:
    ServeDeploySchema.model_validate(config)
    assert unknown_keys(config) == []


@pytest.mark.parametrize(
    ("section", "key"),
    [("", "num_replcas"), ("ray_actor_options", "num_gpu"), ("autoscaling_config", "max_replica")],
)
def test_a_misspelt_key_is_found(section: str, key: str) -> None:
    config = local()
    block = deployment(config, "relevancy")
    (block[section] if section else block)[key] = 1
    assert [path.rpartition(".")[2] for path in unknown_keys(config)] == [key]


@CONFIGS
def test_deployments_are_those_of_the_built_applications(config: dict[str, Any]) -> None:
    for application in config["applications"]:
        builder = getattr(deployments.app, application["import_path"].partition(":")[2])
        built = call_builder(builder, application["args"])
        named = [block["name"] for block in application["deployments"]]
        assert sorted(named) == sorted(set(built_names(built)))


@CONFIGS
def test_two_applications_where_the_page_expects_them(config: dict[str, Any]) -> None:
    places = {application["name"]: application["route_prefix"] for application in config["applications"]}
    assert places == {"api": "/v1", "ui": "/"}
    ui = next(application for application in config["applications"] if application["name"] == "ui")
    assert f"/{UiArgs.model_validate(ui['args']).api_root}" == places["api"]


def test_unknown_arguments_are_refused() -> None:
    args = local()["applications"][0]["args"]
    ApiArgs.model_validate(args)
    for path in ((), ("model",), ("writer",), ("decoding",), ("shutdown",), ("store",)):
        wrong = copy.deepcopy(args)
        section = wrong
        for part in path:
            section = section[part]
        section["max_token"] = 1
        with pytest.raises(ValidationError, match="max_token"):
            ApiArgs.model_validate(wrong)
    with pytest.raises(ValidationError):
        UiArgs.model_validate({"api_roots": "/v1"})


@CONFIGS
def test_what_may_change_stands_in_the_file_and_nowhere_else(config: dict[str, Any]) -> None:
    for application in config["applications"]:
        for block in application["deployments"]:
            assert ("user_config" in block) == (block["name"] in USER_CONFIGS)
    for name, kind in USER_CONFIGS.items():
        given = deployment(config, name)["user_config"]
        assert set(given) == set(kind.model_fields)
        kind.model_validate(given)
        assert not set(given) & set(ApiArgs.model_fields)
        with pytest.raises(ValidationError, match="max_token"):
            kind.model_validate(given | {"max_token": 1})


@CONFIGS
def test_what_a_film_may_cost_stands_in_the_file_and_reaches_the_api(config: dict[str, Any]) -> None:
    args = copy.deepcopy(config["applications"][0]["args"])
    limits = deployment(config, "api")["user_config"]["limits"]
    assert set(limits) == set(Limits.model_fields)
    assert set(args["decoding"]) == set(Decoding.model_fields)
    args["decoding"]["workers"], args["decoding"]["cpu_s"] = 5, 7
    fixed = call_builder(deployments.app.build_api, args)._bound_deployment.init_args[0]
    assert isinstance(fixed, ApiFixed)
    decoding = fixed.decoding.limits()
    assert (decoding.workers, decoding.cpu_s, decoding.wall_s) == (5, 7, args["decoding"]["wall_s"])
    film = Limits.model_validate({**limits, "min_film_side": 77, "max_film_aspect": 3.5}).film()
    assert (film.min_side, film.max_aspect, film.max_bytes) == (77, 3.5, limits["max_upload_bytes"])


@CONFIGS
def test_the_writer_and_the_questions_stand_in_the_file_and_reach_the_model(config: dict[str, Any]) -> None:
    args = copy.deepcopy(config["applications"][0]["args"])
    own = args["writer"]["kind"] == "slots"
    assert set(args["writer"]) == set((SlotsSettings if own else EngineSettings).model_fields)
    assert set(deployment(config, "generation")["user_config"]["questions"]) == set(QuestionSettings.model_fields)
    if own:
        assert deployment(config, "generation")["max_ongoing_requests"] > args["writer"]["max_slots"]
    changed = "max_slots" if own else "timeout_s"
    args["writer"][changed] = 3
    generation = call_builder(deployments.app.build_api, args)._bound_deployment.init_args[1]
    _, writer, *_ = generation._bound_deployment.init_args
    assert getattr(writer, changed) == 3


@CONFIGS
def test_who_may_wait_stands_in_the_file(config: dict[str, Any]) -> None:
    """Serve's own bound is never the one that refuses: it knows neither callers nor a pace."""
    queue = user_config(config, "generation").queue
    assert set(deployment(config, "generation")["user_config"]["queue"]) == set(QueueSettings.model_fields)
    inside = OVER * (queue.reports + queue.questions)
    others = max(deployment(config, name)["max_ongoing_requests"] for name in ("rendering", "relevancy"))
    assert deployment(config, "generation")["max_ongoing_requests"] >= inside + others


def test_films_and_traces_fit_the_object_store() -> None:
    file = ApiArgs.model_validate(local()["applications"][0]["args"]), user_config(local(), "generation")
    for settings, changing in ((ApiArgs(), GenerationUserConfig()), file):
        assert settings.model.traces_bytes + changing.queue.film_bytes <= OBJECT_STORE_BYTES
    with pytest.raises(ValidationError, match="traces_bytes is below max_trace_bytes"):
        ApiArgs.model_validate({"model": {"traces_bytes": 2**20}})


@CONFIGS
def test_what_is_under_way_has_time_to_end(config: dict[str, Any], tmp_path: Path) -> None:
    def drain_s() -> float:
        (tmp_path / "serve.yaml").write_text(yaml.safe_dump(config))
        return read_configuration(tmp_path / "serve.yaml").drain_s

    config = copy.deepcopy(config)
    assert drain_s() > user_config(config, "api").limits.timeout_s
    config["applications"][0]["args"].pop("shutdown", None)
    deployment(config, "api")["user_config"]["limits"]["timeout_s"] = 77
    assert drain_s() == 87
    del deployment(config, "api")["user_config"]
    assert drain_s() == Limits().timeout_s + 10
    config["applications"][0]["args"]["shutdown"] = {"drain_s": 5}
    assert drain_s() == 5


@CONFIGS
def test_what_rendering_keeps_stands_in_the_file(config: dict[str, Any]) -> None:
    assert user_config(config, "rendering") == RenderingUserConfig()


@CONFIGS
def test_a_look_at_the_health_has_time_to_answer(config: dict[str, Any]) -> None:
    """Two looks at most, and a loop that is busy for a while; what is stuck is found by what it has taken."""
    for application in config["applications"]:
        for block in application["deployments"]:
            assert block["health_check_timeout_s"] >= 2 * 2 * LOOK_S


def test_who_may_come_in_stands_in_the_file_with_its_defaults_and_reaches_the_api() -> None:
    args = copy.deepcopy(local()["applications"][0]["args"])
    assert AccessSettings.model_validate(args["access"]) == AccessSettings()
    assert set(args["access"]) == set(AccessSettings.model_fields)
    assert set(args["access"]["rate"]) == set(RateSettings.model_fields)
    ui = local()["applications"][1]["args"]
    assert set(ui) == set(UiArgs.model_fields) and UiArgs.model_validate(ui) == UiArgs()
    args["access"]["allowed_hosts"], args["logs"] = ["x-ray.example"], "json"
    settings = call_builder(deployments.app.build_api, args)._bound_deployment.init_args[0]
    assert (settings.access.allowed_hosts, settings.logs) == (("x-ray.example",), "json")


def test_what_jobs_may_take_stands_in_the_file_with_its_defaults_and_reaches_the_api() -> None:
    args = copy.deepcopy(local()["applications"][0]["args"])
    assert set(args["jobs"]) == set(JobSettings.model_fields) and args["cache_pictures"] is False
    assert JobSettings.model_validate(args["jobs"]) == JobSettings()
    args["jobs"]["at_once"], args["cache_pictures"] = 7, True
    settings = call_builder(deployments.app.build_api, args)._bound_deployment.init_args[0]
    assert (settings.jobs.at_once, settings.cache_pictures) == (7, True)


@CONFIGS
def test_nobody_but_this_machine_comes_in_without_a_key(config: dict[str, Any]) -> None:
    args = ApiArgs.model_validate(config["applications"][0]["args"])
    refuse_strangers(args.access, config["http_options"].get("host", "0.0.0.0"))


def test_an_engine_may_write() -> None:
    args = copy.deepcopy(local()["applications"][0]["args"])
    args["writer"] = {"kind": "openai", "base_url": "http://vllm:8000/v1", "model": "m", "api_key_env": "KEY"}
    assert ApiArgs.model_validate(args).writer == EngineSettings(**args["writer"])
    for wrong in ({"kind": "vllm"}, {"kind": "openai"}, {"kind": "slots", "base_url": "http://vllm:8000/v1"}):
        with pytest.raises(ValidationError):
            ApiArgs.model_validate(args | {"writer": wrong})


def test_the_defaults_are_those_of_the_library() -> None:
    assert Limits().film() == FilmLimits()
    assert Decoding().limits() == DecodingLimits()


def test_builders_have_typed_arguments() -> None:
    assert deployments.app.build_api.__annotations__["args"] is ApiArgs
    assert deployments.app.build_ui.__annotations__["args"] is UiArgs


def test_the_local_file_listens_on_this_machine_only() -> None:
    assert local()["http_options"]["host"] == "127.0.0.1"


@CONFIGS
def test_each_part_scales_by_itself_and_the_page_does_not(config: dict[str, Any]) -> None:
    for name in ("generation", "relevancy", "rendering", "api"):
        scaling = deployment(config, name)["autoscaling_config"]
        assert scaling["min_replicas"] <= scaling["max_replicas"]
    ui = deployment(config, "ui")
    assert "autoscaling_config" not in ui
    assert isinstance(ui["num_replicas"], int)
    assert ui["max_ongoing_requests"] >= 500


def test_at_its_largest_the_local_service_fits_two_cores() -> None:
    total = 0.0
    for application in local()["applications"]:
        for block in application["deployments"]:
            replicas = block.get("num_replicas") or block["autoscaling_config"]["max_replicas"]
            total += replicas * block.get("ray_actor_options", {"num_cpus": GENERATION_CPUS})["num_cpus"]
    assert total <= 2.0


@pytest.mark.parametrize(
    ("model", "there", "takes"),
    [({}, 0, {}), ({}, 2, {"num_gpus": 1}), ({"gpus": 2}, 2, {"num_gpus": 2}), ({"device": "cpu"}, 2, {})],
)
def test_a_replica_takes_its_cards_where_there_are_any(
    monkeypatch: pytest.MonkeyPatch, model: dict[str, Any], there: int, takes: dict[str, int]
) -> None:
    """So that one line of the file, the model's name, is all that is changed for a GPU."""
    assert "ray_actor_options" not in deployment(local(), "generation")
    monkeypatch.setattr("ray.is_initialized", lambda: True)
    monkeypatch.setattr("ray.cluster_resources", lambda: {"CPU": 2.0, **({"GPU": float(there)} if there else {})})
    assert generation_resources(ModelSettings(**model)) == {"num_cpus": GENERATION_CPUS, **takes}
    if there:
        with pytest.raises(ValueError, match="Ray has 2"):
            generation_resources(ModelSettings(gpus=3))


@CONFIGS
def test_time_limits_are_nested(config: dict[str, Any]) -> None:
    """The API answers before the proxy gives up, and a shutdown waits for the longest report."""
    args = ApiArgs.model_validate(config["applications"][0]["args"])
    longest = user_config(config, "api").limits.timeout_s
    assert args.decoding.wall_s < longest
    assert config["http_options"]["request_timeout_s"] > longest
    for name in ("generation", "api"):
        assert deployment(config, name)["graceful_shutdown_timeout_s"] > longest
    for application in config["applications"]:
        assert all(block["health_check_period_s"] <= 5 for block in application["deployments"])
