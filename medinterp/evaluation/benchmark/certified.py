"""Certified tokens: those for which exact counterfactual films prove that one finding drove them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from medinterp.evaluation.reading import film_of
from medinterp.model.entering import encode_images
from medinterp.model.loading import LoadedModel
from medinterp.model.prompt import build_prompt
from medinterp.model.replay import Replay
from medinterp.phantom.films import SyntheticFilm
from medinterp.types import Asked, Film

COLLAPSE_NATS = float(np.log(10.0))
"""Taking the finding away makes a certified token at least ten times less likely ..."""
STEADY_NATS = float(np.log(2.0))
"""... and redrawing everything else never half as likely."""
REDRAWINGS = 2


@dataclass(frozen=True, eq=False)
class Certificates:
    """What counterfactuals say of a report's tokens.

    removal: float64 [findings, T], nats that each token loses when one finding was never drawn; redrawing: float64
    [T], the most that it loses when the rest of the film is drawn anew.
    """

    removal: npt.NDArray[np.float64]
    redrawing: npt.NDArray[np.float64]

    def tokens(self, finding: int) -> list[int]:
        """The tokens that this finding drove and no other one did."""
        collapsed = self.removal >= COLLAPSE_NATS
        alone = collapsed[finding] & (collapsed.sum(axis=0) == 1) & (self.redrawing < STEADY_NATS)
        return [int(token) for token in np.flatnonzero(alone)]


def redrawn(film: SyntheticFilm, number: int) -> SyntheticFilm:
    """The same chest with the same findings, its lung texture and grain drawn anew."""
    seed = int(np.random.default_rng([film.seed, 0x4ED4, number]).integers(2**31))
    return replace(film, seed=seed, anatomy=replace(film.anatomy, texture_seed=seed))


@torch.no_grad()
def certify(
    loaded: LoadedModel,
    synthetic: SyntheticFilm,
    width: int,
    height: int,
    token_ids: Sequence[int],
    prompt: Asked,
) -> Certificates:
    """Ask the model how likely its report's tokens are on the counterfactual films; the caller holds loaded.lock."""
    count = len(synthetic.findings)
    others = [synthetic.without(k) for k in range(count)] + [redrawn(synthetic, k) for k in range(REDRAWINGS)]
    films = [film_of(one, width, height)[0] for one in (synthetic, *others)]
    losses = losses_on(loaded, films, token_ids, prompt)
    return Certificates(losses[:count], losses[count:].max(axis=0))


@torch.no_grad()
def losses_on(
    loaded: LoadedModel, films: Sequence[Film], token_ids: Sequence[int], prompt: Asked
) -> npt.NDArray[np.float64]:
    """What the tokens, written of the first film, lose on each of the others: nats, float64 [films - 1, T]."""
    inputs = build_prompt(loaded, films[:1], prompt)
    replay = Replay(loaded, inputs, token_ids)
    cells = torch.stack([encode_images(loaded, [build_prompt(loaded, [film], prompt)]) for film in films])
    logprobs = replay.logprobs(cells).double().cpu().numpy()
    return np.asarray(logprobs[0] - logprobs[1:])
