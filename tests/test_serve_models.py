"""Several models in one replica of generation, without Ray: who writes, who answers, who makes room, and when."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Iterator
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import ray.serve.multiplex
import torch
from pydantic import ValidationError

import deployments.generation
from deployments.generation import GenerationDeployment
from deployments.relevancy import RelevancyDeployment
from deployments.served import ServedModel
from deployments.settings import ApiArgs, DefaultModelSettings, ModelSettings, SlotsSettings
from medinterp.api.backend import MeasuringTask, Progress, ReadingTask
from medinterp.api.report_id import new_report_id
from medinterp.api.store import SqliteStoreSettings, pack_record
from medinterp.errors import ModelBrokenError, ModelGoneError, UnknownModelError
from medinterp.model import Generator, load_model
from medinterp.model.beside import loading_beside
from medinterp.model.prompt import ask
from medinterp.types import Explanation, Generation, MapPack
from tests.generation import Untouched
from tests.models import noise_film, save_small_model

FILM = noise_film()
TASK = ReadingTask(prompt="Look.", methods=("raw",), max_new_tokens=12, layer_attention=False)
SLOTS = SlotsSettings(max_slots=2, max_length=512, memory_share=0.1)


@dataclass
class Several:
    """The deployment of a (the default), b and c, where one beside the default is held at once; d is broken."""

    deployment: GenerationDeployment
    directories: dict[str, Path]
    loads: list[str]
    tested: list[str]

    def ask(self, model: str | None, tokens: int = 12) -> Any:
        return self.deployment.write(FILM, replace(TASK, model=model, max_new_tokens=tokens))

    def alone(self, model: str) -> Generation:
        """What the library makes of the film by itself."""
        generator = Generator(load_model(str(self.directories[model]), calibration=None))
        return generator.generate([FILM], ask(generator.loaded, TASK.prompt), max_new_tokens=12, layer_attention=False)

    def keep(self, written: Generation, **changed: Any) -> str:
        """The report in the store; changed: of its provenance."""
        report, packs, provenance, *_ = RelevancyDeployment().explain(written, TASK.methods)
        report_id = new_report_id()
        explanation = Explanation(FILM, report, packs, replace(provenance, **changed))
        self.deployment._store.put(report_id, pack_record(explanation))
        return report_id

    async def measured(self, report_id: str) -> MapPack:
        async with aclosing(self.deployment.measure(report_id, MeasuringTask("edge_gradient"))) as items:
            return [item async for item in items if not isinstance(item, Progress)][-1]


@pytest.fixture(scope="module")
def directories(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    found = {name: save_small_model(root / name, seed=seed) for seed, name in enumerate("abcd")}
    weights = found["d"] / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    (found["b"] / "medinterp.json").write_text('{"notice": "B reads noise.", "default_prompt": "Look, B."}')
    return found


@pytest.fixture
def several(
    directories: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Several]:
    context = SimpleNamespace(app_name="api", deployment="generation", replica_id="1")
    monkeypatch.setattr(ray.serve.multiplex, "_get_internal_replica_context", lambda: context)
    monkeypatch.setattr(ray.serve.multiplex, "_get_global_client", Mock())
    loads: list[str] = []
    real = deployments.generation.make_generator

    def counted(settings: ModelSettings, *arguments: Any) -> Any:
        loads.append(settings.chosen_by)
        return real(settings, *arguments)

    monkeypatch.setattr(deployments.generation, "make_generator", counted)
    tested: list[str] = []  # the self-test has tests of its own, and takes longer than all of this
    monkeypatch.setattr("medinterp.model.self_test", lambda loaded: tested.append(loaded.model_id), raising=False)
    (tmp_path / "store").mkdir(mode=0o700)
    deployment = GenerationDeployment(
        DefaultModelSettings(name=str(directories["a"]), alias="a"),
        SLOTS,
        SqliteStoreSettings(path=str(tmp_path / "store" / "r.sqlite3")),
        Untouched(),  # type: ignore[arg-type]
        tuple(ModelSettings(name=str(directories[name]), alias=name) for name in "bcd"),
    )
    yield Several(deployment, directories, loads, tested)
    for model in deployment._models.loaded:
        model.let_go()
    deployment._store.close()


def same(one: Generation, other: Generation) -> None:
    assert one.report.text == other.report.text
    np.testing.assert_allclose(one.trace.image_attention, other.trace.image_attention, atol=2e-3)


def test_each_report_is_of_the_model_that_was_chosen_and_so_are_its_answers(several: Several) -> None:
    async def all_of_it() -> tuple[list[Generation], list[MapPack]]:
        written = await asyncio.gather(several.ask(None), several.ask("b"), several.ask("a"), several.ask("b"))
        kept = [several.keep(one) for one in written[:2]]
        return written, list(await asyncio.gather(*map(several.measured, kept)))

    written, maps = asyncio.run(all_of_it())
    assert several.loads == ["a", "b"]  # once, and c not at all
    assert several.tested == [str(several.directories[name]) for name in "ab"]
    assert [one.trace.provenance.alias for one in written] == ["a", "b", "a", "b"]
    alone = {name: several.alone(name) for name in "ab"}
    for one, name in zip(written, "abab", strict=True):
        same(one, alone[name])
    assert alone["a"].report.text != alone["b"].report.text
    for pack, name in zip(maps, "ab", strict=True):
        generator = Generator(load_model(str(several.directories[name]), calibration=None))
        one = alone[name]
        found = generator.measure([FILM], one.report, one.trace.provenance.asked, ["edge_gradient"])
        cells = found["edge_gradient"].values
        np.testing.assert_allclose(pack.values.reshape(len(pack.values), -1), cells.reshape(len(cells), -1), atol=1e-5)


def test_a_model_makes_room_when_its_report_has_ended_and_then_its_memory_is_free(several: Several) -> None:
    order: list[str] = []

    async def written(model: str, tokens: int) -> Generation:
        one: Generation = await several.ask(model, tokens)
        order.append(model)
        return one

    async def all_of_it() -> tuple[Generation, weakref.ref[Any], MapPack]:
        await several.ask("b", 1)
        b = several.deployment._models.loaded[1]
        memory = weakref.ref(b.generator.loaded.model)
        long = asyncio.create_task(written("b", 150))
        while not b.generator.writing.busy:
            await asyncio.sleep(0.01)
        await asyncio.gather(written("c", 1), several.ask("a", 1))
        gc.collect()
        assert [model.alias for model in several.deployment._models.loaded] == ["a", "c"]
        report = await long
        assert memory() is None
        return report, memory, await several.measured(several.keep(report))

    report, _, maps = asyncio.run(all_of_it())
    assert order == ["b", "c"]
    assert len(report.report.tokens) == len(maps.values) > 12
    assert several.loads == ["a", "b", "c", "b"]  # the question brought b back
    assert report.report.text.startswith(several.alone("b").report.text)


def test_a_broken_model_is_told_of_and_hurts_no_other(several: Several) -> None:
    async def all_of_it() -> None:
        await several.ask("b", 1)
        for _ in range(3):
            with pytest.raises(ModelBrokenError, match=r"d cannot be loaded here\..* log says more") as caught:
                await several.ask("d", 1)
            assert str(several.directories["d"]) not in str(caught.value)
        await several.deployment.ping()
        assert len((await several.ask(None, 2)).report.tokens) == 2
        with pytest.raises(UnknownModelError, match="no model 'e' here; there are a, b, c, d"):
            await several.ask("e", 1)
        facts = await several.deployment.models()
        assert [(one.alias, one.loaded, bool(one.problem)) for one in facts] == [
            ("a", True, False), ("b", False, False), ("c", False, False), ("d", False, True)
        ]
        assert (facts[1].notice, facts[1].default_prompt, facts[1].revision) == ("B reads noise.", "Look, B.", None)
        assert len((await several.ask("c", 1)).report.tokens) == 1

    asyncio.run(all_of_it())
    assert several.loads == ["a", "b", "d", "c"]  # d is not tried again at once


def test_what_is_seen_to_be_missing_drives_nobody_out(several: Several) -> None:
    several.deployment._models._others["c"] = ModelSettings(name="/none", alias="c")

    async def all_of_it() -> None:
        await several.ask("b", 1)
        with pytest.raises(ModelBrokenError):
            await several.ask("c", 1)
        await several.ask("b", 1)

    asyncio.run(all_of_it())
    assert several.loads == ["a", "b"]


def test_a_report_is_never_asked_about_of_another_model(several: Several) -> None:
    async def all_of_it() -> None:
        written = await several.ask("b")
        cases = {
            "which this service has no more": {"alias": "z"},
            "here b is fingerprint": {"model_revision": "fingerprint:0"},
            "here a is fingerprint": {"alias": None},  # of before there were several: the default one's, or nobody's
        }
        for told, changed in cases.items():
            report_id = several.keep(written, **changed)
            with pytest.raises(ModelGoneError, match=told):
                await several.measured(report_id)
            with pytest.raises(ModelGoneError, match=told):
                await several.deployment.view(report_id)
        earlier = several.keep(await several.ask(None), alias=None)
        assert len((await several.measured(earlier)).values) == 12
        assert (await several.deployment.view(several.keep(written)))[1:4] == b"PNG"

    asyncio.run(all_of_it())


def test_who_leaves_while_a_model_is_loaded_takes_it_from_nobody(several: Several) -> None:
    async def all_of_it() -> None:
        leaving = asyncio.create_task(several.ask("b", 1))
        while several.loads[-1] != "b":
            await asyncio.sleep(0.01)
        staying = asyncio.create_task(several.ask("b", 2))
        await asyncio.sleep(0)
        leaving.cancel()
        with suppress(asyncio.CancelledError):
            await leaving
        assert len((await staying).report.tokens) == 2

    asyncio.run(all_of_it())
    assert several.loads == ["a", "b"]


def test_others_stand_still_while_torch_is_changed_for_all(
    several: Several, directories: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """transformers sets the process's default dtype while it builds a model."""
    lock = several.deployment._models.default.generator.loaded.lock
    seen: list[tuple[torch.dtype, bool]] = []
    real = torch.set_default_dtype

    def watched(dtype: torch.dtype) -> None:
        seen.append((dtype, lock.mine))
        real(dtype)

    monkeypatch.setattr(torch, "set_default_dtype", watched)
    with loading_beside([lock]):
        load_model(str(directories["b"]), dtype="bfloat16", calibration=None)
    assert (torch.bfloat16, True) in seen
    assert all(held for _, held in seen)
    assert not lock.mine and torch.get_default_dtype() == torch.float32
    seen.clear()
    load_model(str(directories["b"]), dtype="bfloat16", calibration=None)
    assert (torch.bfloat16, False) in seen


def test_a_model_that_was_let_go_says_so(several: Several) -> None:
    model: ServedModel = several.deployment._models.default
    assert model.enter()
    model.leave()
    model.let_go()
    model.let_go()
    assert not model.enter()


def test_two_models_of_one_name_are_refused() -> None:
    with pytest.raises(ValidationError, match="two models are chosen by phantom: give one of them another alias"):
        ApiArgs(models=[{"name": "phantom"}])
    assert ApiArgs(models=[{"name": "phantom", "alias": "again"}]).aliases == ("phantom", "again")
    with pytest.raises(ValidationError, match="traces_bytes"):
        ApiArgs(models=[{"name": "other", "traces_bytes": 1}])


