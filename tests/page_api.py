"""A stand-in for the HTTP API in tests of the page: no model, the real schema, every request kept."""

from __future__ import annotations

import asyncio
import io
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from fastapi import FastAPI, File, Form, Request, UploadFile
from fastapi.responses import JSONResponse, Response, StreamingResponse
from PIL import Image

from medinterp.api.events import event
from medinterp.api.packed import packed_maps
from medinterp.api.problems import MEDIA_TYPE, Problem, problem_of
from medinterp.api.report_id import new_report_id
from medinterp.api.schema import (
    ExplanationModel,
    FilmModel,
    JudgingModel,
    MeasuringModel,
    MethodsModel,
    ProgressModel,
    ProvenanceModel,
    ReportModel,
    TextDelta,
)
from medinterp.api.schema_boxes import box_verdicts_model
from medinterp.api.schema_models import LimitsModel, ListedModelModel, LoadedModelModel, ModelsModel
from medinterp.api.schema_packed import PackedMapsModel
from medinterp.api.schema_sensitivity import (
    ComparingModel,
    ComparisonModel,
    PerturbationModel,
    PerturbationsModel,
    ReportComparisonModel,
)
from medinterp.api.schema_sources import HeadsAskingModel, SelectingModel
from medinterp.errors import FilmWithheldError, ReportTextError
from medinterp.imaging.perturb import PERTURBATIONS
from medinterp.render import encode_png
from medinterp.types import FilmWarning, MapPack, PixelSpacing, Report, WindowChoice
from tests.page_asking import Questions, heads, judgement, methods, reliances, text_sources
from tests.page_maps import GRID, Options, fake_pack
from tests.page_reports import fake_report, written
from tests.sensitivity_samples import sample_comparison, sample_report_comparison
from tests.sources_samples import sample_box_verdicts

MODEL_SIDE = 24
"""Pixels of a side of what the stand-in's model sees."""
NOTICE = "Demo model: reads synthetic films only."
PROMPT = "Write a chest radiograph report with the sections DEVICES, LUNGS, PLEURA, HEART, IMPRESSION."
MEANING = methods()[0].meaning
MAX_REPORT_CHARACTERS = 1200
GONE = Problem(
    type="urn:medinterp:problem:report-not-found", title="Not found.", status=404, detail="It has expired."
)
NOT_THERE = Problem(
    type="urn:medinterp:problem:missing-evidence", title="The method was not computed.", status=422, detail=""
)


class FakeApi:
    """The API's routes. Tests set the knobs and read `requests` (method, path with query, form)."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.refuse: Problem | None = None  # POST /reports answers this
        self.break_with: Problem | None = None  # the stream ends with this after half of the text
        self.refuse_maps: Problem | None = None
        self.sharp: tuple[str, ...] = ()  # words whose maps reach twice as high as all others
        self.refuse_model_view: Problem | None = None
        self.notes: tuple[str, ...] = ("16 bit",)
        self.warnings: tuple[FilmWarning, ...] = ()  # where one withholds, a film is read by force only
        self.windows: tuple[WindowChoice, ...] = ()  # the first is used where none is asked for
        self.sinks = False  # the maps have sink cells
        self.map_delays_s: list[float] = []  # of the next answers with maps
        self.word_delay_s = 0.0
        self.report: Report = fake_report()
        self.progress: ProgressModel | None = None  # told after the text, before the report
        self.max_upload_bytes = 2**20
        self.reads_indication = True
        self.stopped = 0  # streams that the page went away from
        self.films: dict[str, Image.Image] = {}
        self.priors: dict[str, Image.Image] = {}
        self.made: dict[str, ExplanationModel] = {}  # what was answered, for those who come by a link
        self.by: dict[str, LoadedModelModel | None] = {}  # who wrote it, where it was not phantom
        self.used: dict[str, str | None] = {}  # the window of each film
        self.given: dict[str, Report] = {}  # reports that somebody else wrote
        self.deep: npt.NDArray[np.uint16] | None = None  # all the grays of the film, where it has more than 8 bits
        self.spacing: PixelSpacing | None = None
        self.sides_told = False
        self.others: tuple[LoadedModelModel, ...] = ()  # models that may be chosen beside phantom
        self.engine: dict[str, Any] = {}  # of the provenance, where an engine writes
        self.computed: dict[str, dict[str, Options]] = {}  # each report's methods, and their options
        self.questions = Questions()
        self.app = self._routes()

    def paths(self, method: str, contains: str) -> list[str]:
        """Paths with query of the requests so far."""
        return [path for verb, path, _ in self.requests if verb == method and contains in path]

    def _routes(self) -> FastAPI:
        app = FastAPI(openapi_url=None)

        @app.middleware("http")
        async def keep(request: Request, call_next):  # type: ignore[no-untyped-def]
            path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
            if request.method != "POST":
                self.requests.append((request.method, path, {}))
            return await call_next(request)

        app.get("/models")(self.models)
        app.get("/methods")(self.methods)
        app.get("/perturbations")(self.perturbations)
        app.post("/reports", response_model=None)(self.create)
        app.delete("/reports/{report_id}", status_code=204, response_model=None)(self.delete)
        app.get("/reports/{report_id}/film.png", response_model=None)(self.film)
        app.get("/reports/{report_id}", response_model=None)(self.again)
        app.get("/reports/{report_id}/maps/packed", response_model=None)(self.maps)
        app.post("/reports/{report_id}/maps", response_model=None)(self.measure)
        app.post("/reports/{report_id}/faithfulness", response_model=None)(self.judge)
        app.post("/reports/{report_id}/sensitivity", response_model=None)(self.compare)
        app.get("/reports/{report_id}/export", response_model=None)(self.export)
        app.post("/reports/{report_id}/text", response_model=None)(self.text)
        app.post("/reports/{report_id}/heads", response_model=None)(self.heads)
        app.post("/reports/{report_id}/reliance", response_model=None)(self.reliance)
        app.post("/reports/{report_id}/boxes", response_model=None)(self.boxes)
        return app

    async def models(self) -> ModelsModel:
        model = LoadedModelModel(
            alias="phantom", id="phantom", loaded=True, revision="1", dtype="float32", device="cpu", notice=NOTICE,
            default_prompt=PROMPT, writer="slots: 1 of 300 positions", reads_indication=self.reads_indication,
        )
        limits = LimitsModel(
            min_film_side=32,
            max_film_aspect=5.0,
            max_decoded_bytes=2**29,
            max_upload_bytes=self.max_upload_bytes,
            max_pixels=2**26,
            max_prompt_characters=8000,
            max_report_characters=MAX_REPORT_CHARACTERS,
            max_new_tokens=1024,
            default_max_new_tokens=300,
        )
        models = (model, *self.others)
        return ModelsModel(models=models, limits=limits, data=tuple(ListedModelModel(id=one.alias) for one in models))

    async def methods(self) -> MethodsModel:
        return MethodsModel(methods=methods())

    async def perturbations(self) -> PerturbationsModel:
        return PerturbationsModel(
            perturbations=tuple(PerturbationModel.model_validate(one) for one in PERTURBATIONS.values())
        )

    async def create(
        self,
        image: UploadFile,
        methods: Annotated[list[str], Form()],
        prompt: Annotated[str | None, Form()] = None,
        indication: Annotated[str | None, Form()] = None,
        prior: Annotated[UploadFile | None, File()] = None,
        report: Annotated[str | None, Form()] = None,
        max_new_tokens: Annotated[int | None, Form()] = None,
        window: Annotated[str | None, Form()] = None,
        force: Annotated[bool, Form()] = False,
        model: Annotated[str | None, Form()] = None,
    ) -> Response:
        given = report and report.replace("\r\n", "\n")  # browsers send it so
        optional = {
            "prompt": prompt,
            "indication": indication,
            "report": given,
            "max_new_tokens": max_new_tokens,
            "window": window,
            "force": force and "true",
            "model": model,
        }
        form = {"methods": " ".join(methods)}
        form |= {name: str(value) for name, value in optional.items() if value not in (None, False)}
        if prior is not None:
            form["prior"] = str(prior.filename)
        self.requests.append(("POST", "/v1/reports", form))
        data = await image.read()
        refuse = self._refusal(given, max_new_tokens, force)
        if refuse is not None:
            body = refuse.model_dump()
            return JSONResponse(body, refuse.status, headers=refuse.headers, media_type=MEDIA_TYPE)
        report_id = new_report_id()
        self.films[report_id] = Image.open(io.BytesIO(data)).convert("L")
        if prior is not None:
            self.priors[report_id] = Image.open(io.BytesIO(await prior.read())).convert("L")
        if given is not None:
            self.given[report_id] = self.report if given == self.report.text else written(given)
        self.by[report_id] = next((one for one in self.others if one.alias == model), None)
        self.used[report_id] = window or (self.windows[0].name if self.windows else None)
        self.computed[report_id] = {method: {} for method in methods}
        return StreamingResponse(self._stream(report_id, tuple(methods)), media_type="text/event-stream")

    def _refusal(self, given: str | None, max_new_tokens: int | None, force: bool) -> Problem | None:
        """Why nothing is written or explained, if so."""
        withholding = tuple(warning for warning in self.warnings if warning.withholds)
        if given is None and max_new_tokens is None:
            return problem_of(ReportTextError("the page sends its token limit where a report is written"))
        if given is not None and max_new_tokens is not None:
            return problem_of(ReportTextError("leave out max_new_tokens"))
        if given is not None and len(given) > MAX_REPORT_CHARACTERS:
            return problem_of(ReportTextError(f"the given report has {len(given)} characters"))
        return problem_of(FilmWithheldError(withholding)) if withholding and not force else self.refuse

    async def _stream(self, report_id: str, methods: tuple[str, ...]) -> AsyncIterator[bytes]:
        given = self.given.get(report_id)
        pieces = re.findall(r"\s?\S+", self.report.text) if given is None else [given.text]
        try:
            for k, piece in enumerate(pieces):
                if self.break_with is not None and k == len(pieces) // 2:
                    yield event("error", self.break_with)
                    return
                framed = event("text", TextDelta(delta=piece))
                yield framed[: k % 20]  # a reader must not rely on where the network cuts
                yield framed[k % 20 :]
                if k % 7 == 0:
                    yield b": alive\n\n"
                await asyncio.sleep(self.word_delay_s)
            if self.progress is not None:
                yield event("progress", self.progress)
                await asyncio.sleep(20 * self.word_delay_s)
            self.made[report_id] = self._explanation(report_id, methods)
            yield event("report", self.made[report_id])
        except (asyncio.CancelledError, GeneratorExit):  # the latter where it is cancelled while it hands on a piece
            self.stopped += 1
            raise

    def _explanation(self, report_id: str, methods: tuple[str, ...]) -> ExplanationModel:
        film, by = self.films[report_id], self.by.get(report_id)
        provenance = ProvenanceModel(
            model_id="phantom" if by is None else by.id,
            alias="phantom" if by is None else by.alias,
            model_revision="1",
            dtype="float32",
            device="cpu",
            library_versions={},
            film_sha256=("ab" * 32,) * (1 + (report_id in self.priors)),
            prompt_sha256="cd" * 32,
            prompt=PROMPT,
            seed=None,
            max_new_tokens=300,
            layer_types=("full_attention",),
            sliding_window=None,
            notice=NOTICE if by is None else by.notice,
            given=report_id in self.given,
            **self.engine,
        )
        described = {
            "width": film.width,
            "height": film.height,
            "bits": 8 if self.deep is None else 16,
            "spacing": self.spacing,
            "sides_told": self.sides_told,
            "media_type": "application/dicom" if self.windows else "image/png",
            "sha256": "ab" * 32,
            "notes": self.notes,
            "warnings": self.warnings,
            "windows": self.windows,
            "window": self.used[report_id],
        }
        return ExplanationModel(
            id=report_id,
            expires_at=datetime.now(UTC) + timedelta(hours=1),
            film=FilmModel.model_validate(described),
            prior=self._prior(report_id),
            report=ReportModel.model_validate(self.report_of(report_id)),
            methods=methods,
            rows=GRID,
            columns=GRID,
            provenance=provenance,
        )

    def _prior(self, report_id: str) -> FilmModel | None:
        film = self.priors.get(report_id)
        if film is None:
            return None
        return FilmModel(
            width=film.width, height=film.height, bits=8, media_type="image/png", sha256="ef" * 32,
            notes=("an old film",), warnings=(), windows=(), window=None,
        )  # fmt: skip

    def report_of(self, report_id: str) -> Report:
        """The report that was given, or the one that is always written."""
        return self.given.get(report_id, self.report)

    async def again(self, report_id: str) -> Response:
        if report_id not in self.films:
            return refusal(GONE)
        kept = self.made[report_id].model_copy(update={"methods": tuple(self.computed[report_id])})
        return Response(kept.model_dump_json(), media_type="application/json")

    async def delete(self, report_id: str) -> Response:
        del self.films[report_id]
        self.priors.pop(report_id, None)
        return Response(status_code=204)

    async def film(
        self, report_id: str, view: Literal["film", "model"] = "film", image: int = 0, depth: int = 8
    ) -> Response:
        film = (self.films if image == 0 else self.priors)[report_id]
        if depth == 16:
            assert self.deep is not None, "the page asks for no grays that a film has not"
            return Response(encode_png(self.deep), media_type="image/png")
        if view == "film":
            return png(film)
        if self.refuse_model_view is not None:
            return refusal(self.refuse_model_view)
        return png(film.resize((MODEL_SIDE, MODEL_SIDE)))

    async def maps(self, report_id: str, method: str, image: int = 0) -> Response:
        if report_id not in self.films:
            return refusal(GONE)
        if self.refuse_maps is not None:
            return refusal(self.refuse_maps)
        if method not in self.computed[report_id]:
            return refusal(NOT_THERE)
        answer = self.packed(report_id, method, self.computed[report_id][method], image)
        await asyncio.sleep(self.map_delays_s.pop(0) if self.map_delays_s else 0)
        return Response(answer.model_dump_json(), media_type="application/json")

    def packed(
        self, report_id: str, method: str, options: Options | None = None, image: int = 0
    ) -> PackedMapsModel:
        """The answer, made of the pack as the API makes it."""
        report = self.report_of(report_id)
        return packed_maps(report_id, self.pack(method, options, image, report), report.words)

    async def measure(self, report_id: str, asked: MeasuringModel) -> Response:
        body = asked.model_dump(exclude_unset=True)
        options = {name: value for name, value in body.items() if name not in ("method", "image")}
        answer = self.packed(report_id, asked.method, options)
        kept = {asked.method: options}
        return self.questions.answer(
            "maps", asked.method, GRID * GRID, body, answer, then=lambda: self.computed[report_id].update(kept)
        )

    async def text(self, report_id: str, asked: SelectingModel) -> Response:
        answer = text_sources(report_id, self.report_of(report_id), PROMPT, asked)
        return self.questions.answer("text_sources", "text", 8, asked.model_dump(exclude_unset=True), answer)

    async def heads(self, report_id: str, asked: HeadsAskingModel) -> Response:
        answer = heads(report_id, asked, GRID)
        return self.questions.answer("heads", "heads", 8, asked.model_dump(exclude_defaults=True), answer)

    async def reliance(self, report_id: str) -> Response:
        self.questions.asked.append(("reliance", {}))
        if self.questions.refuse is not None:
            return refusal(self.questions.refuse)
        answer = reliances(report_id, self.report_of(report_id))
        return Response(answer.model_dump_json(), media_type="application/json")

    async def boxes(self, report_id: str) -> Response:
        answer = box_verdicts_model(report_id, sample_box_verdicts())
        return self.questions.answer("boxes", "boxes", 261, {}, answer)

    async def judge(self, report_id: str, asked: JudgingModel) -> Response:
        body = asked.model_dump(exclude_unset=True)
        answer = judgement(self.questions.verdict, str(asked.method))
        return self.questions.answer("faithfulness", "faithfulness", 315, body, answer)

    async def compare(self, report_id: str, asked: ComparingModel) -> Response:
        chosen = (asked.methods or (), asked.perturbations, asked.seed)
        answer: ComparisonModel | ReportComparisonModel
        if asked.questions:
            answer = ComparisonModel.model_validate(sample_comparison(asked.questions, *chosen))
        else:
            answer = ReportComparisonModel.model_validate(sample_report_comparison(*chosen))
        return self.questions.answer("sensitivity", "sensitivity", 8, asked.model_dump(exclude_unset=True), answer)

    def pack(
        self, method: str, options: Options | None = None, image: int = 0, report: Report | None = None
    ) -> MapPack:
        """Maps by a method of the report that is always written, or of another."""
        return fake_pack(report or self.report, method, options or {}, image, sharp=self.sharp, sinks=self.sinks)

    async def export(self, report_id: str, format: str) -> Response:
        return Response(f"export as {format}", media_type="application/octet-stream")


def refusal(problem: Problem) -> Response:
    """The problem as an answer."""
    return JSONResponse(problem.model_dump(), problem.status, media_type=MEDIA_TYPE)


def png(image: Image.Image) -> Response:
    """The image as an answer."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return Response(buffer.getvalue(), media_type="image/png", headers={"Cache-Control": "no-store"})


def together(page: FastAPI, api: FastAPI) -> FastAPI:
    """One application with the API under /v1 and the page at /."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with page.router.lifespan_context(page):
            yield

    outer = FastAPI(openapi_url=None, lifespan=lifespan)
    outer.mount("/v1", api)
    outer.mount("/", page)
    return outer
