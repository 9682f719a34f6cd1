"""Is the map of this word true? Reliance on the picture, deletion, insertion, and a verdict in words.

The report stays as it was written; what is asked is how likely its words are when the picture, or cells of it, are
replaced. Cells are replaced by those of a blank film and of other films at the same places, never by the mean
embedding that occlusion uses, so that occlusion is not judged by its own baseline.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from medinterp.errors import SelectionError
from medinterp.evaluation.fills import fill_films
from medinterp.evaluation.localisation import centre_prior
from medinterp.evaluation.reliance import FilmSwaps, largest_loss
from medinterp.imaging.geometry import cell_densities, film_grid
from medinterp.model.loading import LoadedModel
from medinterp.model.memory import storage_bytes
from medinterp.model.pieces import Pieces
from medinterp.model.replay import MEMORY_BYTES
from medinterp.types import Asked, Faithfulness, Film, Float32Array, Interval, OrderScores, Report

RELIANCE_NATS = float(np.log(2.0))
"""A selection depends on the picture when another film can make it half as likely.

The blank film is told and not asked: no model has seen one in training, and what it writes then can be anything, words
that the text determines included.
"""
RESAMPLES = 2000
SENTENCES = {
    "region": "Driven by this region: replacing what the map marks costs the words more than chance does.",
    "picture": "Driven by the picture, but this map is no better than chance at saying where.",
    "text": "Not driven by this picture: it follows from the text before it, or is said of other films as well.",
}

Curves = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class OrderCurves:
    """p of the selection in one order of the cells, float64 [fills, steps] each, at `Judge.fractions`."""

    deletion: Curves
    insertion: Curves

    def areas(self, fractions: Curves) -> tuple[Curves, Curves, Curves]:
        """Deletion and insertion AUC and SRG of each fill, [fills]."""
        deletion = np.asarray(np.trapezoid(self.deletion, fractions, axis=1))
        insertion = np.asarray(np.trapezoid(self.insertion, fractions, axis=1))
        return deletion, insertion, insertion - deletion


class Judge:
    """Judges maps of one selection of a report. The caller holds loaded.lock while it is used.

    logprob: of the selection, nats; drops: what it loses with each fill in the whole film's place, float64 [fills],
    the blank film first; fractions: float64 [steps], 0 to 1.
    """

    @torch.no_grad()
    def __init__(
        self,
        loaded: LoadedModel,
        films: Sequence[Film],
        prompt: Asked,
        token_ids: Sequence[int],
        selection: Sequence[int],
        *,
        image: int = 0,
        swaps: Sequence[Film] | None = None,
        memory_bytes: int = MEMORY_BYTES,
        seed: int = 0,
        progress: Callable[[int], None] | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> None:
        """films, prompt, token_ids: as the report was written; selection: indices of its tokens.

        progress gets the number of passes done; GenerationCancelled is raised between batches. Raises
        SelectionError for a selection that the report has not.
        """
        fills = fill_films(films[image], swaps)
        if not selection or min(selection) < 0 or max(selection) >= len(token_ids):
            raise SelectionError(f"the report has {len(token_ids)} tokens; nothing of it is selected")
        self._selection = sorted(set(selection))
        self._image = image
        self._pieces = Pieces(loaded, memory_bytes, "passes", None, progress, cancelled)
        written = token_ids[: self._selection[-1] + 1]
        swapped = FilmSwaps(loaded, films, prompt, written, self._pieces, image=image)
        self._replay = swapped.replay
        self._own, self._film = self._replay.of_image(image), self._replay.prompt.films[image]
        self.cells = self._own.stop - self._own.start
        steps = [2**k for k in range(self.cells.bit_length()) if 2**k < self.cells]
        self._steps = sorted({0, *steps, 3 * self.cells // 4, self.cells})
        self.fractions = np.array(self._steps) / self.cells
        self._rng = np.random.default_rng(seed)
        self._fills = torch.stack([swapped.cells(fill) for fill in fills])
        self._batch = self._replay.batch_size(
            self._pieces, len(self._steps) - 2, self._with(0), storage_bytes([self._fills])
        )
        self.logprob = float(swapped.logprobs()[self._selection].sum())
        self.drops = self.logprob - np.array(
            [swapped.logprobs(cells)[self._selection].sum() for cells in self._fills]
        )

    @property
    def passes_of_an_order(self) -> int:
        """How many passes `curves` takes."""
        return 2 * (len(self._steps) - 2) * len(self._fills)

    @property
    def reliance(self) -> float:
        """The most that the selection loses with another film in this one's place, nats; the blank one is none."""
        return float(largest_loss(self.drops))

    @torch.no_grad()
    def curves(self, values: Float32Array | None) -> OrderCurves:
        """Deletion and insertion by a map [rows, columns], ties at random; None: a random order for each fill."""
        inner = np.array(self._steps[1:-1])
        start, rows = np.exp(self.logprob), []
        for fill in range(len(self._fills)):
            scores = np.zeros(self.cells) if values is None else self._scores(values)
            order = np.lexsort((self._rng.random(self.cells), -scores))
            deletion = np.exp(self._probabilities(order, inner, fill))
            # What is revealed first is replaced last: the same passes from the other end of the order.
            insertion = np.exp(self._probabilities(order[::-1], self.cells - inner, fill))
            end = np.exp(self.logprob - self.drops[fill])
            rows.append((np.array([start, *deletion, end]), np.array([end, *insertion, start])))
        return OrderCurves(np.array([d for d, _ in rows]), np.array([i for _, i in rows]))

    def judge(self, method: str, values: Float32Array, baselines: Mapping[str, OrderCurves]) -> Faithfulness:
        """A map's scores beside those of `baselines` (see `baselines`), and the verdict."""
        own = self.curves(values)
        srg = own.areas(self.fractions)[2]
        over = {name: self._interval(srg - curves.areas(self.fractions)[2]) for name, curves in baselines.items()}
        verdict = verdict_of(self.reliance, over["random"], over["centre"])
        return Faithfulness(
            method=method,
            token_indices=tuple(self._selection),
            logprob=self.logprob,
            blank_drop=float(self.drops[0]),
            swap_drops=tuple(float(drop) for drop in self.drops[1:]),
            reliance=self.reliance,
            fractions=tuple(float(fraction) for fraction in self.fractions),
            scores=self.scores(own),
            random=self.scores(baselines["random"]),
            centre=self.scores(baselines["centre"]),
            over_random=over["random"],
            over_centre=over["centre"],
            verdict=verdict,
            sentence=SENTENCES[verdict],
            image=self._image,
        )

    def baselines(self) -> dict[str, OrderCurves]:
        """Curves of a random order ("random") and of nearness to the film's centre ("centre")."""
        return {"random": self.curves(None), "centre": self.curves(centre_prior(*film_grid(self._film)))}

    def _scores(self, values: Float32Array) -> Curves:
        """A map's value at each of the film's cells."""
        return (values.ravel() if len(self._film) == 1 else cell_densities(values, self._film)).astype(np.float64)

    def scores(self, curves: OrderCurves) -> OrderScores:
        """Areas with their intervals over the fills, and the mean curves."""
        deletion, insertion, srg = curves.areas(self.fractions)
        return OrderScores(
            self._interval(deletion),
            self._interval(insertion),
            self._interval(srg),
            tuple(float(p) for p in curves.deletion.mean(axis=0)),
            tuple(float(p) for p in curves.insertion.mean(axis=0)),
        )

    def _interval(self, by_fill: Curves) -> Interval:
        drawn = by_fill[self._rng.integers(len(by_fill), size=(RESAMPLES, len(by_fill)))].mean(axis=1)
        low, high = np.percentile(drawn, [2.5, 97.5])
        return Interval(float(by_fill.mean()), float(low), float(high))

    def _with(self, fill: int) -> torch.Tensor:
        """All cells, those of the judged image by a fill's."""
        cells = self._replay.features.clone()
        cells[self._own] = self._fills[fill]
        return cells

    def _probabilities(self, order: npt.NDArray[np.intp], counts: npt.NDArray[np.intp], fill: int) -> Curves:
        """log p of the selection with the first `count` cells of the order replaced, for each count."""
        device = self._replay.features.device
        where = torch.zeros(len(counts), len(self._replay.features), dtype=torch.bool, device=device)
        for row, count in enumerate(counts):
            where[row, self._own][torch.from_numpy(order[:count].copy()).to(device)] = True
        parts = []
        for part in torch.split(where, self._batch):
            self._pieces.give_way()
            logprobs = self._replay.logprobs(self._replay.replaced(part, self._with(fill)))
            parts.append(logprobs[:, self._selection].sum(dim=1).double().cpu().numpy())
            self._pieces.tell(len(part))
        return np.concatenate(parts)


def verdict_of(reliance: float, over_random: Interval, over_centre: Interval) -> str:
    """The rule: "text" below RELIANCE_NATS; "region" when the map beats both baselines with its whole interval."""
    if reliance < RELIANCE_NATS:
        return "text"
    return "region" if over_random.low > 0 and over_centre.low > 0 else "picture"


def judge_map(
    loaded: LoadedModel,
    films: Sequence[Film],
    report: Report,
    prompt: Asked,
    selection: Sequence[int],
    method: str,
    values: Float32Array,
    *,
    image: int = 0,
    swaps: Sequence[Film] | None = None,
    memory_bytes: int = MEMORY_BYTES,
    progress: Callable[[int, int], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Faithfulness:
    """Judge one map, float32 [rows, columns], of some tokens of a report.

    films, prompt: those that the report was written of. progress gets the passes done, and of how many. Raises
    SelectionError, GenerationCancelled.
    """
    done, total = 0, 0

    def told(passes: int) -> None:
        nonlocal done
        done += passes
        if progress is not None and total:
            progress(min(done, total), total)

    with loaded.lock.asking(cancelled):
        judge = Judge(
            loaded,
            films,
            prompt,
            [token.token_id for token in report.tokens],
            selection,
            image=image,
            swaps=swaps,
            memory_bytes=memory_bytes,
            progress=told,
            cancelled=cancelled,
        )
        total = done + 3 * judge.passes_of_an_order
        return judge.judge(method, values, judge.baselines())
