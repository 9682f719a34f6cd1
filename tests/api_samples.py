"""A small explanation for tests of the store and of the HTTP API."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np

from medinterp.report import build_report
from medinterp.types import (
    Alternative,
    Explanation,
    Film,
    Finding,
    MapPack,
    Provenance,
    Report,
    ReportToken,
    Section,
    Word,
)

TEXT = "PLEURA: No effusion.\nHEART: Größe normal."
SPANS = ((0, 7), (8, 10), (11, 16), (16, 19), (19, 20), (21, 27), (28, 33), (34, 41))


def sample_film(height: int = 40, width: int = 60) -> Film:
    """A 16-bit ramp, wider than high."""
    pixels = np.arange(height * width, dtype=np.uint16).reshape(height, width) * 27
    return Film(pixels=pixels, media_type="image/png", sha256="ab" * 32, notes=("16 bit",))


def sample_explanation(film: Film | None = None) -> Explanation:
    """A report of eight tokens with random maps on a 4 x 4 grid."""
    tokens = tuple(
        ReportToken(t, 100 + t, start, end, -0.25 * t, (Alternative("x", -1.5), Alternative("y", -2.0)))
        for t, (start, end) in enumerate(SPANS)
    )
    words = (
        Word(0, "No", 8, 10, (1,), -0.25, 0.5, "PLEURA"),
        Word(1, "effusion", 11, 19, (2, 3), -1.25, 0.25, "PLEURA"),
        Word(2, "Größe", 28, 33, (6,), -1.5, 0.125, "HEART"),
    )
    report = Report(
        text=TEXT,
        tokens=tokens,
        words=words,
        sections=(Section("PLEURA", 8, 20, TEXT[8:20]), Section("HEART", 28, 41, TEXT[28:41])),
        findings=(Finding(0, "pleural effusion", "absent", None, (), 11, 19, (1,), "PLEURA"),),
        complete=True,
    )
    provenance = Provenance(
        model_id="sample",
        model_revision="1",
        dtype="float32",
        device="cpu",
        library_versions={"numpy": np.__version__},
        film_sha256=("ab" * 32,),
        prompt_sha256="cd" * 32,
        prompt="Describe the film.",
        seed=None,
        max_new_tokens=64,
        layer_types=("sliding_attention", "full_attention"),
        sliding_window=32,
        notice=None,
        prompt_tokens=300,
    )
    values = np.random.default_rng(5).random((len(SPANS), 4, 4)).astype(np.float32)
    pack = MapPack("raw", values, signed=False, additive=False, notes=("last layer",))
    return Explanation(film or sample_film(), report, {"raw": pack}, provenance)


def given_explanation(text: str, film: Film | None = None) -> Explanation:
    """A report that somebody else wrote, a token a word or sign; a model would hardly write of zebras."""
    spans = [match.span() for match in re.finditer(r"\w+|[^\w\s]", text)]
    logprobs = [-9.0 if text[start:end].casefold() == "zebra" else -0.25 for start, end in spans]
    count = len(spans)
    report = build_report(range(count), spans, text, logprobs, [()] * count, [0.25] * count, True)
    sample = sample_explanation(film)
    values = np.random.default_rng(5).random((count, 4, 4)).astype(np.float32)
    packs = {"raw": replace(sample.packs["raw"], values=values)}
    provenance = replace(sample.provenance, given=True, max_new_tokens=count)
    return replace(sample, report=report, packs=packs, provenance=provenance)
