"""The exported file in a browser: explanations to export, the file opened, and what is then seen."""

from __future__ import annotations

import base64
import dataclasses
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from medinterp import export
from medinterp.export.page import FILM_SIZE
from medinterp.relevancy import quantity_of, select_map, word_maps
from medinterp.render import RenderOptions, default_colormap, overlay, report_range
from medinterp.types import Explanation, FilmWarning, MapPack, Mention, Section, Sentence, WindowChoice, Word
from tests.api_samples import sample_explanation
from tests.browser import Page

ATTACK = '</script><img src=x onerror="window.hit=1"><!--<script>window.hit=1</script></noscript>&amp;$film'


def with_second_method(explanation: Explanation) -> Explanation:
    """A signed method beside the first, which no registry knows."""
    values = np.random.default_rng(6).normal(size=(8, 4, 4)).astype(np.float32)
    signed = MapPack("other", values, signed=True, additive=True, notes=("made by hand",))
    return dataclasses.replace(explanation, packs={**explanation.packs, "other": signed})


def with_consensus(explanation: Explanation) -> Explanation:
    """A consensus before the first method, whose other member was not kept."""
    agreed, apart = np.random.default_rng(8).random((2, 8, 4, 4)).astype(np.float32)
    members = ("raw", "edge_gradient")
    pack = MapPack("consensus", agreed, signed=False, additive=False, members=members, disagreement=apart)
    return dataclasses.replace(explanation, packs={"consensus": pack, **explanation.packs})


def hostile() -> Explanation:
    """Every text that a model, a prompt or a file can set holds markup."""
    sample = sample_explanation()
    report = dataclasses.replace(
        sample.report,
        text=ATTACK + "\nHEART: fine",
        words=(
            Word(0, ATTACK, 0, len(ATTACK), (1, 2), -1.0, 0.5),
            Word(1, "fine", len(ATTACK) + 8, len(ATTACK) + 12, (3,), -1.0, 0.5),
        ),
        sections=(Section(ATTACK, len(ATTACK) + 8, len(ATTACK) + 12, "fine"),),
        findings=(
            dataclasses.replace(
                sample.report.findings[0],
                name=ATTACK,
                status="uncertain",
                side=ATTACK,
                zones=(ATTACK, ATTACK),
                word_indices=(0,),
                hedge=(0, len(ATTACK)),
            ),
        ),
        complete=False,
        mentions=(Mention(0, ATTACK, ATTACK, 0, 1, (0,)),),  # type: ignore[arg-type]
        sentences=(Sentence(0, len(ATTACK), "unread"),),
    )
    provenance = dataclasses.replace(
        sample.provenance,
        model_id=ATTACK,
        model_revision=ATTACK,
        prompt=ATTACK,
        notice=ATTACK,
        library_versions={ATTACK: ATTACK},
    )
    pack = dataclasses.replace(sample.packs["raw"], method=ATTACK, notes=(ATTACK,))
    film = dataclasses.replace(
        sample.film,
        media_type=ATTACK,
        notes=(ATTACK,),
        warnings=(FilmWarning(ATTACK, ATTACK, withholds=True),),
        windows=(WindowChoice(ATTACK, ATTACK),),
        window=ATTACK,
    )
    packs = {ATTACK: pack, "raw": sample.packs["raw"]}
    return dataclasses.replace(sample, film=film, prior=film, report=report, provenance=provenance, packs=packs)


def open_file(page: Page, explanation: Explanation, path: Path, method: str | None = None) -> None:
    """Export, and open the file as a reader does; whatever the browser said before is forgotten."""
    path.write_text(export.html(explanation, method=method), encoding="utf-8")
    page.logs()
    page.driver.get(path.as_uri())
    page.wait_state("read")


def made(page: Page) -> dict[str, str]:
    """What the file says of how the report was made."""
    told = page.run(
        "return Object.fromEntries([...document.querySelectorAll('#medinterp-made dt')]"
        ".map((name) => [name.textContent, name.nextElementSibling.textContent]))"
    )
    assert isinstance(told, dict)
    return told


def report_text(page: Page) -> str:
    """The report as it stands on the page, without what can be pressed beside it, folded thoughts left out."""
    return str(
        page.run(
            "const copy = document.getElementById('medinterp-report').cloneNode(true);"
            "for (const node of copy.querySelectorAll('.mi-whole, details')) node.remove();"
            "for (const node of copy.querySelectorAll('h3, p')) node.append('\\n');"
            "return copy.textContent.trim()"
        )
    )


def chips(page: Page) -> list[list[str]]:
    """Status and text of each chip."""
    found = page.run(
        "return [...document.querySelectorAll('#medinterp-findings .mi-chip')].map((chip) =>"
        "[/mi-(present|uncertain|absent)/.exec(chip.className)[1], chip.textContent])"
    )
    assert isinstance(found, list)
    return found


def click_word(page: Page, text: str) -> None:
    """The first word of that text which can be clicked."""
    words = page.driver.find_elements("css selector", "#medinterp-report .medinterp-word")
    next(word for word in words if word.text == text).click()


def film_and_map(page: Page, width: int, height: int) -> npt.NDArray[np.int64]:
    """What is seen of a film of that size with its map where a pixel of it is one on the screen: RGB."""
    stage = "const stage = document.getElementById('medinterp-stage');"
    page.run(
        f"{stage} const [width, height] = arguments; Object.assign(stage.style,"
        "{ position: 'fixed', left: 0, top: 0, width: `${width}px`, height: `${height}px` })",
        width,
        height,
    )
    canvases = "['film', 'overlay'].map((name) => document.getElementById(`medinterp-${name}`))"
    fits = f"(canvas) => canvas.hidden || canvas.width === {width} && canvas.height === {height}"
    page.wait(f"return {canvases}.every({fits})")
    assert page.film_place() == [0, 0, width, height]
    seen = page.run(
        "const both = document.createElement('canvas');"
        f"Object.assign(both, {{ width: {width}, height: {height} }});"
        "const context = both.getContext('2d');"
        f"for (const canvas of {canvases}) if (!canvas.hidden) context.drawImage(canvas, 0, 0);"
        f"const {{ data }} = context.getImageData(0, 0, {width}, {height});"
        "return btoa(Array.from(data, (value) => String.fromCharCode(value)).join(''))"
    )
    page.run(f"{stage} stage.removeAttribute('style')")
    return np.frombuffer(base64.b64decode(str(seen)), np.uint8).reshape(height, width, 4)[..., :3].astype(np.int64)


def assert_drawn(
    page: Page,
    explanation: Explanation,
    method: str,
    tokens: tuple[int, ...],
    opacity: float = 0.5,
    *,
    scale: Literal["report", "map"] = "report",
    quantity: Literal["relevancy", "disagreement"] = "relevancy",
    image: int = 0,
) -> None:
    """Film and map are what `render.overlay` draws of the same film, as small as it is in the file.

    Within two levels; a canvas rounds thrice (opacity, premultiplied colour, sum) and the file's maps once more: of one
    pixel in a hundred it may be three.
    """
    film = explanation.film if image == 0 or explanation.prior is None else explanation.prior
    pack = quantity_of((explanation.packs, explanation.prior_packs)[image][method], quantity)
    size = FILM_SIZE if max(film.pixels.shape) > FILM_SIZE else None
    options: dict[str, Any] = {"opacity": opacity, "colormap": default_colormap(pack.signed), "size": size}
    value_range = report_range(word_maps(pack, explanation.report.words), pack.signed) if scale == "report" else None
    expected = overlay(film, select_map(pack, tokens), RenderOptions(**options), value_range=value_range)
    height, width = expected.shape[:2]
    page.wait_overlay()
    difference = np.abs(film_and_map(page, width, height) - expected).max(axis=-1)
    assert difference.max() <= 3 and (difference > 2).mean() <= 1e-2, (difference.max(), (difference > 2).mean())
    plain = overlay(film, select_map(pack, tokens), RenderOptions(opacity=0.0, size=size), value_range=value_range)
    assert np.abs(expected.astype(int) - plain).max() > 30, "there is a map to compare"
