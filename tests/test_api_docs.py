"""The examples of the documentation run, and /v1/docs shows the API without anything from elsewhere."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from collections.abc import AsyncGenerator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import numpy as np
import pytest
from fastapi import FastAPI
from selenium.webdriver.common.by import By

from medinterp.api.app import create_api
from medinterp.api.backend import BoxesTask, HeadsTask, MeasuringTask, Progress, ReadingTask, RelianceTask, SourcesTask
from medinterp.api.examples import EXAMPLES, PROBLEM
from medinterp.api.jobs.settings import JobSettings
from medinterp.api.problems import Problem
from medinterp.api.routes_docs import FILES
from medinterp.api.schema_jobs import BatchModel, JobModel
from medinterp.api.store import open_store
from medinterp.types import BoxVerdict, Explanation, Film, HeadMaps, MapPack, Reliance, TextSources
from tests.api_backend import FakeBackend, api_settings, png
from tests.api_service import Here, Service, service  # noqa: F401 - pytest finds fixtures by name
from tests.browser import Page, browser, chromium, foreign_requests, serve  # noqa: F401 - pytest finds fixtures by name

README = Path(__file__).parent.parent / "README.md"
BLOCK = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
GIVEN = "LUNGS: No nodule is seen. HEART: Normal size. PLEURA: No pleural effusion today."
SHELL = shutil.which("bash")


def commands(text: str) -> list[str]:
    """Every curl command of a text's shell blocks, with its continuation lines."""
    found = []
    for block in BLOCK.findall(text):
        lines = block.replace("\\\n", " ").splitlines()
        found += [line for line in lines if line.startswith("curl ") and "/v1/" in line]
    return found


class Longer(FakeBackend):
    """Answers for as many words as the report has, which has maps by two methods."""

    async def read(self, film: Film, task: ReadingTask, prior: Film | None = None) -> Explanation:
        explanation = await super().read(film, task, prior)
        second = replace(explanation.packs["raw"], method="layer_weighted")
        return replace(explanation, packs={**explanation.packs, second.method: second})

    async def measure(self, report_id: str, task: MeasuringTask) -> AsyncGenerator[Progress | MapPack]:
        report = self.stored(report_id).report
        async for item in super().measure(report_id, task):
            if isinstance(item, MapPack):
                yield replace(item, values=np.zeros((len(report.tokens), 4, 4), np.float32))
            else:
                yield item

    async def sources(
        self, report_id: str, task: SourcesTask | HeadsTask | RelianceTask | BoxesTask
    ) -> AsyncGenerator[Progress | TextSources | HeadMaps | Reliance | tuple[BoxVerdict, ...]]:
        report = self.stored(report_id).report
        async for item in super().sources(report_id, task):
            if isinstance(item, Reliance):
                none = np.zeros(len(report.words), np.float32)
                yield Reliance(("blank", "one", "other"), none, none, np.stack((none, none)), none)
            elif isinstance(item, TextSources):
                before = np.zeros(max(item.token_indices), np.float32)
                yield replace(item, report_attention=before, report_gradient=before)
            else:
                yield item


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a real server listens, with a job that is done; its films are films-7's."""
    directory = tmp_path_factory.mktemp("docs")
    settings = api_settings(directory, store_bytes=2**24).model_copy(update={"jobs": JobSettings(look_s=0.05)})
    settings = settings.model_copy(update={"methods": ("raw", "layer_weighted")})
    store = open_store(settings.store)
    app = FastAPI()
    api = create_api(Longer(store), settings, store, Here(settings.limits.film()))
    app.mount("/v1", api)
    app.router.lifespan_context = lambda _: api.router.lifespan_context(api)
    with serve(app) as address:
        yield address


def run(command: str, place: str, directory: Path) -> subprocess.CompletedProcess[str]:
    """A command of the documentation, with what stands for a film, a report and a job put in."""
    (directory / "films").mkdir(exist_ok=True)
    (directory / "films" / "film-7.png").write_bytes(png())
    files = {"image": ("f.png", png())}
    if re.search(r"\bID\b", command):
        report = httpx.post(f"{place}v1/reports", files=files, data={"report": GIVEN}).json()["id"]
        command = re.sub(r"\bID\b", report, command)
    if re.search(r"\bJOB\b", command):
        job = httpx.post(f"{place}v1/reports", files=files, headers={"Prefer": "respond-async"}).json()["id"]
        while httpx.get(f"{place}v1/jobs/{job}").json()["state"] != "done":
            time.sleep(0.02)
        command = re.sub(r"\bJOB\b", job, command)
    command = command.replace("http://127.0.0.1:8000/", place).replace("@FILM", "@films/film-7.png")
    command = command.replace("curl ", "curl --fail-with-body -sS --max-time 20 ")
    assert SHELL is not None
    return subprocess.run([SHELL, "-ec", command], cwd=directory, capture_output=True, text=True, errors="replace")


@pytest.mark.parametrize("command", commands(README.read_text(encoding="utf-8")))
def test_the_readme_s_calls_run(place: str, command: str, tmp_path: Path) -> None:
    done = run(command, place, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_readme_has_calls() -> None:
    assert len(commands(README.read_text(encoding="utf-8"))) >= 10


@pytest.mark.parametrize("named", EXAMPLES, ids=lambda named: " ".join(named))
def test_examples_run(place: str, named: tuple[str, str], tmp_path: Path) -> None:
    done = run(EXAMPLES[named].curl, place, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_call_that_fails_fails_the_test(place: str, tmp_path: Path) -> None:
    assert run("curl http://127.0.0.1:8000/v1/reports/none", place, tmp_path).returncode != 0


def test_examples_are_what_the_schema_says(service: Service) -> None:  # noqa: F811 - the fixture
    document = service.client.get("/openapi.json").json()
    seen = 0
    for verbs in document["paths"].values():
        for operation in verbs.values():
            answers = [answer.get("content", {}) for answer in operation["responses"].values()]
            bodies = [operation.get("requestBody", {}).get("content", {}), *answers]
            for body in (one for content in bodies for one in content.values() if "example" in one):
                schema = {**body["schema"], "components": document["components"]}
                jsonschema.validate(body["example"], schema)
                seen += 1
    assert seen > 30
    JobModel.model_validate(EXAMPLES["get", "/jobs/{job_id}"].answer)
    BatchModel.model_validate(EXAMPLES["post", "/batches"].answer)
    Problem.model_validate(PROBLEM)


def test_the_page_names_no_other_place(service: Service) -> None:  # noqa: F811 - the fixture
    for below, (_, media_type) in FILES.items():
        answer = service.client.get(f"/docs{below}")
        assert answer.status_code == 200 and answer.headers["content-type"] == media_type
        assert "http" not in answer.text.replace("http-equiv", "").replace("HTTP", "")
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy


def test_the_page_shows_every_call(place: str, browser: Page) -> None:  # noqa: F811 - the fixture
    browser.come(f"{place}v1/docs")
    browser.wait("return !document.getElementById('calls').hasAttribute('aria-busy')")
    document: dict[str, Any] = httpx.get(f"{place}v1/openapi.json").json()
    wanted = {f"{verb}-{path}" for path, verbs in document["paths"].items() for verb in verbs}
    wanted |= set(document["components"]["schemas"])
    shown = {element.get_attribute("id") for element in browser.driver.find_elements(By.TAG_NAME, "details")}
    assert shown == wanted
    browser.run("location.hash = 'post-/batches'")
    browser.wait("return document.getElementById('post-/batches').open")
    block = browser.driver.find_element(By.ID, "post-/batches").text
    assert "curl -F image=@FILM" in block and "report.1" in block and '"counts"' in block
    find = browser.driver.find_element(By.ID, "find")
    find.send_keys("occlusion maps")
    left = [one.get_attribute("id") for one in browser.driver.find_elements(By.CSS_SELECTOR, "details:not([hidden])")]
    assert "post-/reports/{report_id}/maps" in left and "get-/methods" not in left
    console, requests = browser.logs()
    assert console == [] and foreign_requests(requests) == []


def test_the_page_needs_no_key(tmp_path: Path) -> None:
    from tests.api_access import guarded

    with guarded(tmp_path) as (guarded_service, _):
        for below in FILES:
            assert guarded_service.client.get(f"/docs{below}").status_code == 200
        assert guarded_service.client.get("/openapi.json").status_code == 200
        assert guarded_service.client.get("/methods").status_code == 401


def test_the_document_is_json(place: str) -> None:
    assert json.loads(httpx.get(f"{place}v1/openapi.json").text)["openapi"].startswith("3.")
