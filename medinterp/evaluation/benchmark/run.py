"""The whole benchmark: several models, many films, in parallel, and going on where it was stopped."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from medinterp.evaluation.reading import unseen_films

FIRST_SEED = 10_300_000
"""First seed of the films of the benchmark."""


@dataclass(frozen=True)
class Extent:
    """How much is measured: films for each model; judged, sanity: of how many of them also deletion and insertion,
    and the maps of the randomised model, which take longest."""

    films: int = 1000
    judged: int = 100
    sanity: int = 50


def run_benchmark(
    models: Sequence[str],
    work: Path,
    extent: Extent,
    *,
    first_seed: int = FIRST_SEED,
    workers: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> dict[str, list[dict[str, Any]]]:
    """Score every film with every model; answers by model the films' scores (benchmark.film.FilmScores as dicts).

    Each film's scores lie in the work directory as soon as they are known, under the model's revision, so that a run
    that was stopped goes on. workers: processes, as many as there are cores unless given. progress gets 1 a film.
    """
    work.mkdir(parents=True, exist_ok=True)
    count = workers or os.cpu_count() or 1
    results: dict[str, list[dict[str, Any]]] = {}
    with ProcessPoolExecutor(count, mp_context=get_context("spawn"), initializer=_one_thread) as pool:
        jobs = {
            pool.submit(_score, model, work, first_seed, number, number < extent.judged, number < extent.sanity): (
                model,
                number,
            )
            for model in models
            for number in range(extent.films)
        }
        done: dict[tuple[str, int], dict[str, Any]] = {}
        try:
            for job in as_completed(jobs):
                done[jobs[job]] = job.result()
                if progress is not None:
                    progress(1)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    for model in models:
        results[model] = [done[model, number] for number in range(extent.films)]
    return results


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


@lru_cache(maxsize=1)
def _generator(model: str) -> Any:
    from medinterp.model import Generator, load_model

    return Generator(load_model(model))


@lru_cache(maxsize=1)
def _randomised(model: str) -> Any:
    from medinterp.evaluation.benchmark.randomised import randomised

    return randomised(_generator(model).loaded)


@lru_cache(maxsize=1)
def _mean_masks() -> Any:
    from medinterp.evaluation.localisation import mean_masks

    return mean_masks()


def _score(model: str, work: Path, first_seed: int, number: int, judged: bool, sanity: bool) -> dict[str, Any]:
    from medinterp.evaluation.benchmark.film import Plan, score_film

    generator = _generator(model)
    revision = "".join(letter for letter in generator.loaded.revision if letter.isalnum())
    kinds = f"{'j' if judged else ''}{'s' if sanity else ''}"
    path = work / revision / f"{first_seed + number}{kinds}.json"
    if not path.exists():
        (synthetic, width, height) = next(unseen_films(1, first_seed + number))
        plan = Plan(judged, _randomised(model) if sanity else None, _mean_masks())
        scores = asdict(score_film(generator, synthetic, width, height, plan))
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}.part")
        partial.write_text(json.dumps(scores), encoding="utf-8")
        partial.rename(path)
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found
