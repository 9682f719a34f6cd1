"""All lines of the benchmark, one after the other."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

from medinterp.evaluation.reading import film_of, unseen_films
from medinterp.evaluation.speed.decoding import decoding_lines
from medinterp.evaluation.speed.generation import generation_lines, given_lines, medgemma_width
from medinterp.evaluation.speed.language import language_lines
from medinterp.evaluation.speed.line import BenchLine
from medinterp.evaluation.speed.maps import maps_lines
from medinterp.evaluation.speed.memory import memory_lines
from medinterp.evaluation.speed.occlusion import exact_lines, sampled_lines
from medinterp.evaluation.speed.pictures import overlay_lines
from medinterp.model import load_model
from medinterp.model.prompt import DEFAULT_PROMPT


def run_bench(name: str = "phantom", *, skipped: Callable[[str, str], None]) -> Iterator[BenchLine]:
    """Measure generation by a model and by one of MedGemma-4B's layer widths, memory, maps, decoding, reading, and last
    the whole service and its page. `skipped` is told a section that cannot be measured here, and why. Raises
    ServiceError where the service's configuration is not in the current directory."""
    from medinterp.evaluation.speed.service import service_lines

    loaded = load_model(name)
    films = [film_of(*one)[0] for one in unseen_films(8)]
    yield from generation_lines(loaded, films[:1], name, tokens=128, rounds=7)
    yield from generation_lines(loaded, films, name, tokens=128, rounds=5)
    yield from given_lines(loaded, films[0], name, tokens=128, rounds=7)
    yield from memory_lines(name, batch=8, tokens=128)
    yield from maps_lines()
    yield from overlay_lines()
    yield from decoding_lines()
    yield from language_lines()
    yield from exact_lines(loaded, films[0], name, tokens=96)
    wide = medgemma_width(load_model("phantom"))
    yield from generation_lines(wide, films[:1], wide.model_id, tokens=48, rounds=2)
    proportioned = medgemma_width(load_model("phantom"), layers=5, vision_layers=4)
    # the prompt's first words: 88 tokens of phantom's tokenizer, where Gemma's makes 89 of the whole
    proportioned = dataclasses.replace(proportioned, default_prompt=" ".join(DEFAULT_PROMPT.split()[:22]))
    label = "random weights, MedGemma-4B's widths, 5 of 34 language and 4 of 27 vision layers, prompt of Gemma's length"
    yield from sampled_lines(proportioned, films[0], label, tokens=96)
    yield from service_lines(loaded, films, name, tokens=128, rounds=5)
    yield from page_bench(name, skipped=skipped)


def page_bench(name: str = "phantom", *, skipped: Callable[[str, str], None]) -> Iterator[BenchLine]:
    """Measure the page of the whole service alone; arguments and errors as of `run_bench`."""
    from medinterp.evaluation.speed.page import missing, page_lines
    from medinterp.evaluation.speed.service import running_service

    if why := missing():
        skipped("page", why)
        return
    with running_service(name) as url:
        yield from page_lines(url, name)
