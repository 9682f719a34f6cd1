"""What drove some words of a report: film, prompt, and the report so far, by attention and by gradient x input."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from medinterp.errors import ModelError
from medinterp.model.likelihood import token_logprobs, token_slopes
from medinterp.model.loading import LoadedModel
from medinterp.model.prompt import PromptInputs, build_prompt
from medinterp.model.prompt_words import PromptWords, outside, prompt_words
from medinterp.model.selection import SelectionPass, token_ids_of
from medinterp.types import Asked, Film, Float32Array, Report, TextSources

_TOLERANCE = 1e-3
"""How far the parts of an attention row may be from 1."""


@dataclass(frozen=True, eq=False)
class PositionSources:
    """attention, gradient: float32 [S], of each position that the selection's last token was written after, as in
    `TextSources`; logprob: log p(selection), nats."""

    attention: Float32Array
    gradient: Float32Array
    logprob: float


def text_sources(
    loaded: LoadedModel,
    films: Sequence[Film],
    report: Report,
    prompt: Asked,
    tokens: Sequence[int],
    *,
    cancelled: Callable[[], bool] | None = None,
) -> TextSources:
    """Both measures of `TextSources` for some tokens of a report, by one pass and one way back.

    films, prompt: those that the report was written of; tokens: indices of the report's. Raises SelectionError for
    tokens that it has not, MethodError for a prompt whose words cannot be tied to tokens (`prompt_words`),
    GenerationCancelled before either pass, ModelError where the attention does not add up to 1.
    """
    inputs = build_prompt(loaded, films, prompt)
    words = prompt_words(loaded, inputs, prompt)
    with loaded.lock.asking(cancelled):
        found = position_sources(loaded, inputs, token_ids_of(report), tokens, cancelled=cancelled)
    return _by_word(found, inputs, words, report, tokens)


def position_sources(
    loaded: LoadedModel,
    prompt: PromptInputs,
    token_ids: Sequence[int],
    tokens: Sequence[int],
    *,
    cancelled: Callable[[], bool] | None = None,
) -> PositionSources:
    """Attention and gradient x input of each position before the selection's last token, q_t's own among them.

    The report is teacher-forced: log p(selection) is the sum of its tokens' log p, and a token's own embedding, which
    stands behind its row q_t, has no part in it; that of an earlier token of the selection has, for the later ones.
    What is held is one pass with its way back. The caller holds loaded.lock.
    """
    loaded.lock.give_way(cancelled, "0 of 2 passes")
    asked = SelectionPass(loaded, prompt, token_ids, tokens)
    attention = torch.zeros(asked.length, dtype=torch.float64, device=loaded.device)

    def take(layer: int, weights: torch.Tensor) -> None:
        nonlocal attention
        attention += weights.sum((0, 1), dtype=torch.float64).to(attention.device)

    head = loaded.head
    with torch.enable_grad():
        asked.entries.requires_grad_()
        states = asked.states(take)
    with torch.no_grad():
        logprob = float(token_logprobs(states, head, asked.token_ids).sum())
    loaded.lock.give_way(cancelled, "1 of 2 passes")
    (slopes,) = torch.autograd.grad(states, asked.entries, token_slopes(states, head, asked.token_ids))
    gradient = (slopes[0].float() * asked.entries.detach()[0].float()).sum(-1)
    attention /= len(asked.rows) * loaded.facts.layers * loaded.facts.heads
    return PositionSources(attention.float().cpu().numpy(), gradient.cpu().numpy(), logprob)


def _by_word(
    found: PositionSources, inputs: PromptInputs, prompt: PromptWords, report: Report, tokens: Sequence[int]
) -> TextSources:
    """Add positions up to films, words and what is between them."""
    length, stop = inputs.length, len(found.attention)
    places = [tuple(length + t for t in word.token_indices if length + t < stop) for word in report.words]
    between = [*prompt.between, *outside(range(length, stop), places)]
    cells = [[p for span in film for p in range(span.start, span.stop)] for film in inputs.films]
    taken = {0, *between, *(p for part in (*cells, *prompt.positions) for p in part)}
    template = [position for position in range(length) if position not in taken]
    attention, gradient = found.attention, found.gradient
    sources = TextSources(
        token_indices=tuple(sorted(set(tokens))),
        logprob=found.logprob,
        film_attention=tuple(float(attention[part].sum()) for part in cells),
        film_gradient=tuple(float(gradient[part].sum()) for part in cells),
        first_token_attention=float(attention[0]),
        template_attention=float(attention[template].sum()),
        template_gradient=float(gradient[[0, *template]].sum()),
        punctuation_attention=float(attention[between].sum()),
        punctuation_gradient=float(gradient[between].sum()),
        prompt_spans=prompt.spans,
        prompt_attention=_shared_out(attention, prompt.positions),
        prompt_gradient=_shared_out(gradient, prompt.positions),
        report_attention=_shared_out(attention, places),
        report_gradient=_shared_out(gradient, places),
    )
    whole = (
        sum(sources.film_attention)
        + sources.first_token_attention
        + sources.template_attention
        + sources.punctuation_attention
        + float(sources.prompt_attention.sum() + sources.report_attention.sum())
    )
    if not abs(whole - 1.0) < _TOLERANCE:
        raise ModelError(f"the attention of the selected rows adds up to {whole:.4f} instead of 1")
    return sources


def _shared_out(values: Float32Array, words: Sequence[Sequence[int]]) -> Float32Array:
    """A value for each word, float32 [words]: its positions' sum; a position of several words is shared evenly."""
    holders = Counter(position for word in words for position in word)
    return np.array(
        [sum(float(values[position]) / holders[position] for position in word) for word in words], dtype=np.float32
    )
