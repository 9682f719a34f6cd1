"""The stand-in's answers to questions: maps on demand and judgements, with progress."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import numpy as np
from fastapi.responses import JSONResponse, Response, StreamingResponse
from pydantic import BaseModel

from medinterp.api.events import event
from medinterp.api.problems import MEDIA_TYPE, Problem
from medinterp.api.schema import (
    FaithfulnessModel,
    IntervalModel,
    MethodModel,
    OrderScoresModel,
    ProgressModel,
    SettingModel,
)
from medinterp.api.schema_sources import (
    HeadsAskingModel,
    HeadsModel,
    RelianceModel,
    RelianceWordModel,
    SelectingModel,
    TextSourcesModel,
)
from medinterp.api.source_answers import heads_model
from medinterp.evaluation.faithfulness import SENTENCES
from medinterp.relevancy import METHODS
from medinterp.types import HeadMaps, Report

STEPS = 8
FRACTIONS = (0.0, *(2.0**k / 256 for k in range(8)), 0.75, 1.0)
LOGPROB = -0.02
DROPS = {
    "region": (3.55, (3.1, 0.02, 2.4, 3.69)),
    "picture": (1.2, (0.9, 1.4, 0.05, -0.3)),
    "text": (0.04, (0.02, -0.08, 0.01, 0.03)),
}
"""What the words lose with a blank film, and with four others, nats."""


def methods() -> tuple[MethodModel, ...]:
    """Two that are computed with a report, the consensus only when asked for, and two that ask the model again."""
    raw = MethodModel(
        name="raw",
        family="attention",
        title="Raw attention",
        meaning="Where the last layer looked, all heads averaged.",
        citation="Vaswani et al. 2017",
        unit="attention weight",
        needs=("image_attention",),
        on_model=False,
        default=True,
    )
    consensus = raw.model_copy(
        update={"name": "consensus", "family": "consensus", "title": "Consensus", "default": False}
    )
    asks = {"needs": (), "on_model": True, "default": False}
    occlusion = raw.model_copy(
        update=asks
        | {
            "name": "occlusion",
            "family": "perturbation",
            "title": "Occlusion",
            "meaning": "How much less likely the word becomes when a cell is hidden.",
            "citation": "Zeiler & Fergus, ECCV 2014",
            "unit": "nats of log-probability",
            "settings": tuple(SettingModel.model_validate(setting) for setting in METHODS["occlusion"].settings),
        }
    )
    gradient = raw.model_copy(
        update=asks
        | {
            "name": "head_importance_gradient",
            "title": "Head importance (gradient)",
            "meaning": "Attention of all heads, each as much as the word's probability depends on its output.",
            "citation": "head gates of Michel et al., Are Sixteen Heads Really Better than One?, NeurIPS 2019",
        }
    )
    return raw, consensus, occlusion, gradient


def judgement(verdict: str, method: str) -> FaithfulnessModel:
    """A judgement with curves that go with its verdict."""
    blank, swaps = DROPS[verdict]
    start = float(np.exp(LOGPROB))
    end = float(np.mean(np.exp(LOGPROB - np.array([blank, *swaps]))))

    def scores(deletion_rate: float, insertion_rate: float) -> OrderScoresModel:
        at = np.array(FRACTIONS)
        deletion = end + (start - end) * (np.exp(-deletion_rate * at) - at * np.exp(-deletion_rate))
        insertion = start - (start - end) * (np.exp(-insertion_rate * at) - at * np.exp(-insertion_rate))
        areas = [float(np.trapezoid(curve, at)) for curve in (deletion, insertion)]
        interval = [IntervalModel(value=a, low=a - 0.06, high=a + 0.05) for a in areas]
        gain = areas[1] - areas[0]
        return OrderScoresModel(
            deletion=interval[0],
            insertion=interval[1],
            srg=IntervalModel(value=gain, low=gain - 0.09, high=gain + 0.08),
            deletion_curve=tuple(float(p) for p in deletion),
            insertion_curve=tuple(float(p) for p in insertion),
        )

    own = scores(16, 12) if verdict == "region" else scores(3, 3)
    random, centre = scores(2, 2), scores(4, 3.5)

    def over(baseline: OrderScoresModel) -> IntervalModel:
        gain = own.srg.value - baseline.srg.value
        return IntervalModel(value=gain, low=gain - 0.05, high=gain + 0.06)

    return FaithfulnessModel.model_validate(
        {
            "method": method,
            "token_indices": (3, 4),
            "logprob": LOGPROB,
            "blank_drop": blank,
            "swap_drops": swaps,
            "reliance": max(blank, *swaps),
            "fractions": FRACTIONS,
            "scores": own,
            "random": random,
            "centre": centre,
            "over_random": over(random),
            "over_centre": over(centre),
            "verdict": verdict,
            "sentence": SENTENCES[verdict],
        }
    )


def reliances(report_id: str, report: Report) -> RelianceModel:
    """Word k loses k / 10 nats with the second film, less with the others; every third word gains."""
    drops = [(word, word.index / 10 if word.index % 3 else -0.5) for word in report.words]
    words = tuple(
        RelianceWordModel(
            index=word.index, logprob=word.logprob, reliance=drop, blank_drop=drop - 0.2, swap_drops=(drop, drop - 1)
        )
        for word, drop in drops
    )
    return RelianceModel(id=report_id, films=3, words=words)


def selected_tokens(report: Report, asked: SelectingModel) -> tuple[int, ...]:
    """The tokens that wrote what is asked about."""
    if asked.finding is not None:
        words = [report.words[index] for index in report.findings[asked.finding].word_indices]
    else:
        first, last = map(int, str(asked.words).split("-"))
        words = list(report.words[first : last + 1])
    return tuple(sorted({token for word in words for token in word.token_indices}))


def text_sources(report_id: str, report: Report, prompt: str, asked: SelectingModel) -> TextSourcesModel:
    """A quarter of the attention on the film; of the words before, each later one has more; half speak against."""
    tokens = selected_tokens(report, asked)
    before = [word for word in report.words if word.token_indices and word.token_indices[0] < tokens[-1]]
    spans = [match.span() for match in re.finditer(r"\w+", prompt)]
    share = 0.25 / len(spans)
    shares = np.arange(1, len(before) + 1, dtype=float)
    shares *= 0.25 / shares.sum()
    source = {"attention": 0.25, "gradient": 1.5}
    return TextSourcesModel.model_validate(
        {
            "id": report_id,
            "token_indices": tokens,
            "logprob": -0.5,
            "film": source,
            "images": (source,),
            "first_token": {"attention": 0.125},
            "template": {"attention": 0.0625, "gradient": -0.25},
            "punctuation": {"attention": 0.0625, "gradient": 0.75},
            "prompt": [
                {"start": start, "end": end, "text": prompt[start:end], "attention": share, "gradient": 0.001}
                for start, end in spans
            ],
            "report": [
                {"index": word.index, "attention": gave, "gradient": (-1.0) ** k * gave}
                for k, (word, gave) in enumerate(zip(before, shares, strict=True))
            ],
        }
    )


LAYERS, HEADS = 3, 4


def heads(report_id: str, asked: HeadsAskingModel, grid: int) -> HeadsModel:
    """Layer l, head h looks at row l and column h of the film; the later the layer, the more."""
    maps = np.full((LAYERS, HEADS, grid, grid), 1e-5, dtype=np.float32)
    for layer in range(LAYERS):
        for head in range(HEADS):
            maps[layer, head, layer, head] = 0.1 * (layer + 1) + 0.01 * head
    kinds = ("sliding_attention", "full_attention", "sliding_attention")
    return heads_model(report_id, HeadMaps((0,), asked.image, maps.sum(axis=(2, 3)), maps, kinds, 32))


@dataclass
class Questions:
    """Answers questions. Tests set the knobs and read what was asked.

    step_s: seconds between two steps of progress; hold_at: the step that is not gone beyond, until it is None;
    refuse: answered in place of a stream; break_with: ends the stream after half of its steps; verdict: of a
    judgement; asked: (what, body) of each question; stopped: streams that the page went away from.
    """

    step_s: float = 0.0
    hold_at: int | None = None
    refuse: Problem | None = None
    break_with: Problem | None = None
    verdict: str = "region"
    asked: list[tuple[str, dict[str, object]]] = field(default_factory=list)
    stopped: int = 0

    def answer(
        self,
        name: str,
        what: str,
        of: int,
        body: dict[str, object],
        answer: BaseModel,
        then: Callable[[], object] = lambda: None,
    ) -> Response:
        """Progress in steps, then the answer as event `name`, and `then` is called right before it."""
        self.asked.append((name, body))
        if self.refuse is not None:
            problem = self.refuse
            return JSONResponse(problem.model_dump(), problem.status, headers=problem.headers, media_type=MEDIA_TYPE)
        return StreamingResponse(self._stream(name, what, of, answer, then), media_type="text/event-stream")

    async def _stream(
        self, name: str, what: str, of: int, answer: BaseModel, then: Callable[[], object]
    ) -> AsyncIterator[bytes]:
        try:
            for step in range(1, STEPS + 1):
                if self.break_with is not None and step > STEPS // 2:
                    yield event("error", self.break_with)
                    return
                yield event("progress", ProgressModel(what=what, done=of * step // STEPS, of=of))
                yield b": alive\n\n"
                await asyncio.sleep(self.step_s)
                while step == self.hold_at:
                    await asyncio.sleep(0.02)
            then()
            yield event(name, answer)
        except (asyncio.CancelledError, GeneratorExit):
            self.stopped += 1
            raise
