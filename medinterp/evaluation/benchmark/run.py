"""The whole benchmark: several models, many films, in parallel, and going on where it was stopped."""

from __future__ import annotations

import hashlib
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
SCORES = 2
"""Of what is computed: to be raised when scores of the same name change their meaning."""


@dataclass(frozen=True)
class Extent:
    """How much is measured: films for each model, and of how many of them also what takes longer (film.Plan):
    occlusion and gradient relevancy, deletion and insertion, the control models' maps."""

    films: int = 1000
    thorough: int = 200
    judged: int = 100
    controlled: int = 50

    def parts(self, number: int) -> tuple[bool, bool, bool]:
        """Whether the film of that number is thorough, judged and controlled."""
        return number < self.thorough, number < self.judged, number < self.controlled


def run_benchmark(
    models: Sequence[str],
    work: Path,
    extent: Extent,
    *,
    shuffled: str | None = None,
    first_seed: int = FIRST_SEED,
    workers: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> dict[str, list[dict[str, Any]]]:
    """Score every film with every model; answers by model the films' scores (benchmark.film.FilmScores as dicts).

    Each film's scores lie in the work directory as soon as they are known, under the model's revision, layer weights
    and methods, so that a run that was stopped goes on, and one of something else does not. shuffled: a control model
    that was trained on other films' reports, beside the one of random weights. workers: processes, as many as there are
    cores unless given. progress gets 1 a film.
    """
    work.mkdir(parents=True, exist_ok=True)
    count = workers or os.cpu_count() or 1
    results: dict[str, list[dict[str, Any]]] = {}
    with ProcessPoolExecutor(count, mp_context=get_context("spawn"), initializer=_one_thread) as pool:
        jobs = {
            pool.submit(_score, model, shuffled, work, first_seed, number, extent.parts(number)): (model, number)
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
def _controls(model: str, shuffled: str | None) -> dict[str, Any]:
    from medinterp.evaluation.benchmark.randomised import randomised
    from medinterp.model import load_model

    controls = {"randomised": randomised(_generator(model).loaded)}
    if shuffled is not None:
        controls["shuffled"] = load_model(shuffled)
    return controls


@lru_cache(maxsize=1)
def _mean_masks() -> Any:
    from medinterp.evaluation.localisation import mean_masks

    return mean_masks()


def _score(
    model: str, shuffled: str | None, work: Path, first_seed: int, number: int, parts: tuple[bool, bool, bool]
) -> dict[str, Any]:
    from medinterp.evaluation.benchmark.film import Plan, score_film

    generator = _generator(model)
    thorough, judged, controlled = parts
    controls = _controls(model, shuffled) if controlled else {}
    asked = [name for name, wanted in (("thorough", thorough), ("judged", judged)) if wanted]
    asked += [f"{name}-{_short(control.revision)}" for name, control in controls.items()]
    path = work / _made_by(generator.loaded) / ".".join([str(first_seed + number), *asked, "json"])
    if not path.exists():
        (synthetic, width, height) = next(unseen_films(1, first_seed + number))
        plan = Plan(thorough, judged, controls, _mean_masks())
        scores = asdict(score_film(generator, synthetic, width, height, plan))
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}.part")
        partial.write_text(json.dumps(scores), encoding="utf-8")
        partial.rename(path)
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _made_by(loaded: Any) -> str:
    """What scores depend on beside the film, as a directory's name."""
    from medinterp.evaluation.benchmark.film import PRIORS
    from medinterp.relevancy import METHODS

    weights = b"" if loaded.layer_weights is None else loaded.layer_weights.tobytes()
    names = ",".join([str(SCORES), *METHODS, *PRIORS]).encode()
    return f"{_short(loaded.revision)}-{hashlib.sha256(names + weights).hexdigest()[:8]}"


def _short(revision: str) -> str:
    """A revision as a part of a file's name."""
    return "".join(letter for letter in revision if letter.isalnum())[-16:]
