"""What every word of a report loses when its film is another one: one pass a film, for all words at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch

from medinterp.errors import SelectionError
from medinterp.evaluation.fills import fill_films, resized
from medinterp.model.entering import encode_images
from medinterp.model.loading import LoadedModel
from medinterp.model.pieces import Pieces
from medinterp.model.prompt import PICTURE, build_prompt
from medinterp.model.replay import MEMORY_BYTES, Replay
from medinterp.model.selection import token_ids_of
from medinterp.types import Asked, Film, ImageSpan, Reliance, Report

Nats = npt.NDArray[np.float64]


class FilmSwaps:
    """A report's passes with other films in one film's place; further films of the prompt stay.

    replay: of the report as it was written. The caller holds loaded.lock and has gradients switched off.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        films: Sequence[Film],
        prompt: Asked,
        token_ids: Sequence[int],
        pieces: Pieces,
        *,
        image: int = 0,
    ) -> None:
        """films, prompt, token_ids: as the report was written, up to the last token that is asked for; image: which of
        the films gives way."""
        self.replay = Replay(loaded, build_prompt(loaded, films, prompt), token_ids)
        self._loaded, self._pieces, self._image = loaded, pieces, image
        self._shape = films[image].height, films[image].width

    def cells(self, film: Film) -> torch.Tensor:
        """The features of another film on this one's grid, [cells, width]. Raises GenerationCancelled."""
        self._pieces.give_way()
        other = build_prompt(self._loaded, [film], PICTURE)
        own = self.replay.prompt.films[self._image]
        if _cut(other.films[0]) != _cut(own):  # the grid, and the crops, are by the film's shape
            other = build_prompt(self._loaded, [resized(film, self._shape)], PICTURE)
        return encode_images(self._loaded, [other])

    def logprobs(self, cells: torch.Tensor | None = None) -> Nats:
        """log p of every token with these cells, [cells, width], in the film's place (None: its own), float64 [T].

        Nats. Raises GenerationCancelled.
        """
        self._pieces.give_way()
        features = self.replay.features[None].clone()
        if cells is not None:
            features[0, self.replay.of_image(self._image)] = cells
        found: Nats = self.replay.logprobs(features)[0].double().cpu().numpy()
        self._pieces.tell(1)
        return found


def _cut(film: Sequence[ImageSpan]) -> list[tuple[object, ...]]:
    return [(span.rows, span.columns, span.part) for span in film]


def largest_loss(drops: Nats) -> Nats:
    """Reliance: the most that is lost with another film, [...] of drops [films, ...], the blank film first.

    The blank one is none of them (see `faithfulness.RELIANCE_NATS`).
    """
    loss: Nats = np.asarray(drops[1:].max(axis=0))
    return loss


def word_reliance(
    loaded: LoadedModel,
    films: Sequence[Film],
    report: Report,
    prompt: Asked,
    *,
    swaps: Sequence[Film] | None = None,
    progress: Callable[[int, int], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Reliance:
    """The reliance of every word on the first film, as `faithfulness` has it for one selection.

    films, prompt: those that the report was written of; swaps: films that take the first one's place, four synthetic
    ones unless given. progress gets the passes done, and of how many. Raises SelectionError for a report without words
    or for no film to take the place, GenerationCancelled between passes.
    """
    last = max((token for word in report.words for token in word.token_indices), default=None)
    if last is None:
        raise SelectionError("the report has no word that a token wrote: there is nothing to ask about")
    fills = fill_films(films[0], swaps)
    total, done = 1 + len(fills), 0

    def told(passes: int) -> None:
        nonlocal done
        done += passes
        if progress is not None:
            progress(done, total)

    with loaded.lock.asking(cancelled), torch.no_grad():
        pieces = Pieces(loaded, MEMORY_BYTES, "passes", total, told, cancelled)
        swapped = FilmSwaps(loaded, films, prompt, token_ids_of(report)[: last + 1], pieces)
        own = swapped.logprobs()
        drops = own - np.array([swapped.logprobs(swapped.cells(film)) for film in fills])
    by_word = _by_word(drops, report)
    return Reliance(
        fills=("blank", *(film.sha256 for film in fills[1:])),
        logprob=_by_word(own[None], report)[0].astype(np.float32),
        blank_drop=by_word[0].astype(np.float32),
        swap_drops=by_word[1:].astype(np.float32),
        reliance=largest_loss(by_word).astype(np.float32),
    )


def _by_word(values: Nats, report: Report) -> Nats:
    """Sums over each word's tokens, [films, tokens] -> [films, words]; nan for a word that no token wrote."""
    columns = [
        values[:, list(word.token_indices)].sum(axis=1) if word.token_indices else np.full(len(values), np.nan)
        for word in report.words
    ]
    return np.stack(columns, axis=1)
