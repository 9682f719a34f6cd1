"""One copy of the model: films in, rows of films and words out, whatever becomes of each film."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from medinterp.audit.looking import Looked
from medinterp.audit.rows import Rows, failed, film_row, word_rows
from medinterp.errors import MedInterpError
from medinterp.types import Film, Float32Array, Generation

OUT_OF_MEMORY = "The device has not enough memory for this film alone."
UNFORESEEN = {"model": "The model failed on this film.", "maps": "The maps of this film could not be computed."}


@dataclass(frozen=True)
class Asked:
    """What is asked of the model about every film.

    model, revision: as `load_model` takes them; prompt: None for the model's own; threads: torch's (None: its choice).
    force: films too on which a report means nothing.
    """

    model: str
    methods: tuple[str, ...]
    reliance: bool = False
    prompt: str | None = None
    max_new_tokens: int = 512
    columns: tuple[pa.Field, ...] = ()
    threads: int | None = None
    revision: str | None = None
    force: bool = False


class Reader:
    """The model, and what an audit asks of it."""

    def __init__(self, asked: Asked, batch: int) -> None:
        """batch: reports that are written side by side. Raises as `load_model` and `self_test` do, UnknownMethodError,
        MethodError for methods that ask the model again with options that it has not."""
        import torch

        from medinterp.model import Generator, load_model, self_test
        from medinterp.relevancy import METHODS, get_method

        if asked.threads is not None:
            torch.set_num_threads(asked.threads)
        self.asked = asked
        methods = [get_method(name) for name in asked.methods]
        self._on_model = [method.name for method in methods if method.on_model]
        self._layers = any("layer_attention" in method.needs for method in methods)
        if any(method.combine is not None for method in methods):
            self._layers = self._layers or any("layer_attention" in method.needs for method in METHODS.values())
        self.loaded = load_model(asked.model, revision=asked.revision)
        self_test(self.loaded)
        self._make: Callable[[int], Any] = lambda slots: Generator(self.loaded, max_slots=slots)
        self._slots = batch
        self._generator = self._make(batch)
        self.grid, self._prompt_sha256 = self._probe()

    def facts(self) -> Mapping[str, Any]:
        """What the manifest says of the model: the same for every copy of it."""
        import importlib.metadata

        libraries = ("numpy", "pyarrow", "ray", "tokenizers", "torch", "transformers")
        return {
            "model": {
                "id": self.loaded.model_id,
                "revision": self.loaded.revision,
                "dtype": str(self.loaded.dtype).removeprefix("torch."),
                "device": str(self.loaded.device),
                "notice": self.loaded.notice,
            },
            "grid": list(self.grid),
            "prompt_sha256": self._prompt_sha256,
            "libraries": {name: importlib.metadata.version(name) for name in libraries},
        }

    def read(self, looked: Sequence[Looked]) -> list[Rows]:
        """The rows of some films, in order: written side by side, the given ones explained, failures told as such.

        Films for which there is not enough memory are asked again half as many at once, and so on down to one.
        """
        found: dict[int, Rows] = {}
        again = list(range(len(looked)))
        at_once = min(self._slots, len(looked))
        while again:
            short: list[int] = []
            with ThreadPoolExecutor(max_workers=max(1, at_once)) as threads:
                for place, rows in zip(again, threads.map(lambda k: self._one(looked[k]), again), strict=True):
                    if rows is None:
                        short.append(place)
                    else:
                        found[place] = rows
            if short and at_once == 1:
                for place in short:
                    found[place] = failed(looked[place].row, "model", OUT_OF_MEMORY, "OutOfMemoryError")
                short = []
            elif short:
                at_once = max(1, at_once // 2)
                self._shrink(at_once)
            again = short
        return [found[place] for place in range(len(looked))]

    def _shrink(self, slots: int) -> None:
        """From now on write fewer reports side by side: the memory is what it is."""
        import torch

        self._slots = min(self._slots, slots)
        self._generator = self._make(self._slots)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _one(self, looked: Looked) -> Rows | None:
        """One film's rows; None where there was not enough memory."""
        if looked.film is None:
            return failed(looked.row, "read", looked.reason, looked.error)
        stage = "read"
        try:
            film = self.loaded.admit(looked.film, force=self.asked.force)
            stage = "model"
            generation = self._written(film, looked.row["report"])
            stage = "maps"
            maps = self._maps(film, generation)
            reliance = self._reliance(film, generation) if self.asked.reliance else None
        except MedInterpError as error:
            return failed(looked.row, stage, str(error), type(error).__name__)
        except Exception as error:  # whatever it is, it costs this film alone; its text may hold anything
            if _out_of_memory(error):
                return None
            return failed(looked.row, stage, UNFORESEEN.get(stage, UNFORESEEN["model"]), type(error).__name__)
        grids = {name: map_.shape[1:] for name, map_ in maps.items()}
        resampled = any(grid != self.grid for grid in grids.values())
        brought = {name: resample(map_, self.grid) for name, map_ in maps.items()}
        given = looked.row["report"] is not None
        row = film_row(looked, film, generation.report, given, resampled, self.grid, self.asked.columns)
        return Rows(row, word_rows(looked.row["film_id"], generation.report, brought, reliance, self.grid), None)

    def _written(self, film: Film, report: str | None) -> Generation:
        if report is not None:
            given: Generation = self._generator.force(
                [film], report, self.asked.prompt, layer_attention=self._layers
            )
            return given
        written: Generation = self._generator.generate(
            [film], self.asked.prompt, max_new_tokens=self.asked.max_new_tokens, layer_attention=self._layers
        )
        return written

    def _maps(self, film: Film, generation: Generation) -> dict[str, Float32Array]:
        """Of each method the maps of all words, float32 [words, rows, columns]."""
        from medinterp.relevancy import compute_maps, word_maps

        report, trace = generation.report, generation.trace
        measured = {}
        if self._on_model:
            measured = self._generator.measure([film], report, trace.provenance.prompt, self._on_model)
        packs = compute_maps(trace, self.asked.methods, {}, measured=measured)
        return {name: word_maps(pack, report.words) for name, pack in packs.items()}

    def _reliance(self, film: Film, generation: Generation) -> Float32Array:
        from medinterp.evaluation.reliance import word_reliance

        report, prompt = generation.report, generation.trace.provenance.prompt
        return word_reliance(self.loaded, [film], report, prompt).reliance

    def _probe(self) -> tuple[tuple[int, int], str]:
        """The grid of a square film's maps, which is that of all, and the digest of the prompt as the model gets it."""
        from medinterp.imaging.geometry import film_grid
        from medinterp.model.prompt import DEFAULT_PROMPT, build_prompt

        side = self.loaded.facts.image_size
        square = Film(np.zeros((side, side), np.uint8), "application/octet-stream", "")
        asked = self.asked.prompt or self.loaded.default_prompt or DEFAULT_PROMPT
        inputs = build_prompt(self.loaded, [square], asked)
        return film_grid(inputs.films[0]), hashlib.sha256(inputs.text.encode()).hexdigest()


def resample(maps: Float32Array, grid: tuple[int, int]) -> Float32Array:
    """Maps [words, rows, columns] on another grid, by area: what a cell has is shared out, and sums stay."""
    if maps.shape[1:] == grid:
        return maps
    down, across = (_overlap(old, new) for old, new in zip(maps.shape[1:], grid, strict=True))
    return np.asarray(down @ maps @ across.T, dtype=np.float32)


def _overlap(old: int, new: int) -> Float32Array:
    """[new, old]: the share of each old cell that lies in each new one."""
    edges, wanted = np.linspace(0, 1, old + 1), np.linspace(0, 1, new + 1)
    inside = np.minimum(wanted[1:, None], edges[None, 1:]) - np.maximum(wanted[:-1, None], edges[None, :-1])
    return np.asarray(np.maximum(inside, 0) * old, dtype=np.float32)


def _out_of_memory(error: Exception) -> bool:
    import torch

    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and "not enough memory" in str(error)  # torch's own words on a CPU


