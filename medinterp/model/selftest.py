"""Is what is captured what the model computed? Asked once when a model is loaded."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from medinterp.errors import ModelError, SelfTestError
from medinterp.model.entering import encode_images
from medinterp.model.facts import ModelFacts
from medinterp.model.forcing import attention_by, teacher_forced
from medinterp.model.loading import LoadedModel
from medinterp.model.prompt import PromptInputs, ask, build_prompt
from medinterp.model.replay import Replay
from medinterp.model.writer import Decoded, DecodeOptions, decode
from medinterp.types import Film, Float16Array, Float32Array

TOKENS = 8
_ROW_TOLERANCE = {torch.float32: 1e-3, torch.float16: 2e-2, torch.bfloat16: 1e-1}
"""Largest difference of one attention weight. In 16 bits eager rounds its scores where SDPA does not."""
_LOGPROB_TOLERANCE = {torch.float32: 1e-3, torch.float16: 1e-1, torch.bfloat16: 5e-1}
"""Largest difference of one token's log-probability, nats."""
_MASS_TOLERANCE = 1e-3
_PLANTS = ((0.1, 0.3), (0.2, 0.9), (0.4, 0.1), (0.6, 0.7), (0.8, 0.2), (0.9, 0.6))
"""Where cells are asked for their places: shares of rows and columns."""
_LEAST_RANK = 0.8
"""Of grids that are wrong the mean rank of six cells is 0.5 with a spread of 0.12."""


@dataclass(frozen=True)
class SelfTestCheck:
    """One check: what was measured, and what it was held against."""

    name: str
    value: float
    limit: str


@dataclass(frozen=True)
class SelfTestReport:
    """All checks of a model that passed."""

    model_id: str
    revision: str
    dtype: str
    device: str
    checks: tuple[SelfTestCheck, ...]


class _Checks:
    def __init__(self, loaded: LoadedModel) -> None:
        self._model_id = loaded.model_id
        self.passed: list[SelfTestCheck] = []

    def at_most(self, name: str, value: float, tolerance: float, why: str) -> None:
        self._check(name, value, f"at most {tolerance:g}", value <= tolerance, why)

    def more_than(self, name: str, value: float, bound: float, why: str) -> None:
        self._check(name, value, f"more than {bound:g}", value > bound, why)

    def _check(self, name: str, value: float, limit: str, passed: bool, why: str) -> None:
        if not passed:  # also when the value is not a number
            raise SelfTestError(f"{self._model_id}: {name} is {value:.3g} and must be {limit}: {why}")
        self.passed.append(SelfTestCheck(name, value, limit))


def self_test(loaded: LoadedModel) -> SelfTestReport:
    """Read planted images, write a few tokens, and hold every captured row against the eager implementation.

    Checks: one BOS; the image span by id, contiguous and complete; the picture reaches the language model, each part of
    it the cell that stands for it; in every kind of layer image cells see later ones, or not, as the family has it, and
    the whole mask is the family's; rows sum to one; a forward of the model's own over film and report, and a pass as
    occlusion makes it, give the generated tokens' log-probabilities; the rows are eager's on the same input. Limits for
    float32; the larger ones of 16-bit models stand in the report. Raises SelfTestError with the check and its number.
    """
    try:
        return _tested(loaded)
    except SelfTestError:
        raise
    except ModelError as error:
        raise SelfTestError(f"{loaded.model_id}: {error}") from error


def _tested(loaded: LoadedModel) -> SelfTestReport:
    checks = _Checks(loaded)
    dtype = str(loaded.dtype).removeprefix("torch.")
    if loaded.dtype not in _ROW_TOLERANCE:
        raise SelfTestError(f"{loaded.model_id}: no tolerance is known for {dtype}")
    with loaded.lock, torch.inference_mode():
        prompt, other = _planted_prompt(loaded, 1), _planted_prompt(loaded, 2)
        (written,) = decode(loaded, [prompt], DecodeOptions(TOKENS, min_new_tokens=TOKENS))
        (unlike,) = decode(loaded, [other], DecodeOptions(1, min_new_tokens=1, layer_attention=False))
        _check_prompt(checks, loaded, prompt)
        _check_picture(checks, written, unlike)
        replay = Replay(loaded, prompt, written.token_ids)
        _check_grid(checks, loaded, replay)
        _check_image_block(checks, loaded, prompt, written)
        mass = written.rows.attention_mass.sum(-1)
        checks.at_most("row sum error", _largest(mass - 1), _MASS_TOLERANCE, "softmax rows must sum to one")
        forced = teacher_forced(loaded, prompt, written.token_ids)
        difference = _largest(forced.logprobs.cpu().numpy() - written.logprobs)
        checks.at_most(
            "teacher-forced log-probability difference",
            difference,
            _LOGPROB_TOLERANCE[loaded.dtype],
            "a second forward over the report is another computation (token_type_ids dropped? cache cut?)",
        )
        checks.at_most(
            "log-probability difference of a pass from the first cell on",
            _largest(replay.logprobs(replay.features[None])[0].cpu().numpy() - written.logprobs),
            _LOGPROB_TOLERANCE[loaded.dtype],
            "what occlusion and gradients run is another computation (keys cut off? a cell's features lost?)",
        )
        _check_masks(checks, loaded, replay)
        with attention_by(loaded, "eager"):
            eager = teacher_forced(loaded, prompt, written.token_ids, attentions=True)
        if eager.attentions is None:
            raise SelfTestError(f"{loaded.model_id}: the eager implementation gave no attention to compare with")
        _check_rows(checks, loaded, prompt, written, eager.attentions)
    return SelfTestReport(loaded.model_id, loaded.revision, dtype, str(loaded.device), tuple(checks.passed))


def _planted_prompt(
    loaded: LoadedModel, seed: int, place: tuple[float, float, float, float] | None = None
) -> PromptInputs:
    """The default prompt with a film of noise that stands for itself; place: top, bottom, left, right of a white square
    on it, shares of its height and width."""
    pixels = np.random.default_rng(seed).integers(0, 256, size=(320, 256), dtype=np.uint8)
    if place is not None:
        top, bottom = (round(share * len(pixels)) for share in place[:2])
        left, right = (round(share * pixels.shape[1]) for share in place[2:])
        pixels[top:bottom, left:right] = 255
    film = Film(pixels, "image/png", hashlib.sha256(pixels.tobytes()).hexdigest())
    return build_prompt(loaded, [film], ask(loaded))


def _check_prompt(checks: _Checks, loaded: LoadedModel, prompt: PromptInputs) -> None:
    bos = loaded.facts.bos_token_id
    begins = 1 if bos is None else int((prompt.input_ids == bos).sum())
    checks.at_most("BOS tokens beyond the first", begins - 1, 0, "the chat template and the tokenizer both write one")
    cells = prompt.input_ids == loaded.facts.image_token_id
    (span,) = prompt.image_spans
    outside = int(cells.sum()) - int(cells[span.start : span.stop].sum())
    checks.at_most("image tokens outside the span", outside, 0, "the span must hold every image token")
    missing = span.rows * span.columns - int(cells[span.start : span.stop].sum())
    checks.at_most("image cells missing from the span", missing, 0, "the span must be contiguous and complete")


def _check_picture(checks: _Checks, written: Decoded, unlike: Decoded) -> None:
    checks.more_than(
        "change of the image cells' states between two pictures",
        _largest(written.image_state - unlike.image_state),
        0.0,
        "the picture does not reach the language model (is the projector still at its zero start?)",
    )


def _check_grid(checks: _Checks, loaded: LoadedModel, replay: Replay) -> None:
    """A white square on the part of the film that a cell stands for changes that cell most: mean rank, 1 at best."""
    (span,) = replay.prompt.image_spans
    before, ranks = replay.features.float(), []
    for down, across in _PLANTS:
        row, column = int(down * span.rows), int(across * span.columns)
        place = row / span.rows, (row + 1) / span.rows, column / span.columns, (column + 1) / span.columns
        changes = (encode_images(loaded, [_planted_prompt(loaded, 1, place)]).float() - before).norm(dim=-1)
        ranks.append(float((changes < changes[row * span.columns + column]).float().mean()))
    checks.more_than(
        "rank of a cell's change when its part of the film changes",
        float(np.mean(ranks)),
        _LEAST_RANK,
        "the cells are not where the grid says (rows and columns exchanged? another order?)",
    )


def _check_image_block(checks: _Checks, loaded: LoadedModel, prompt: PromptInputs, written: Decoded) -> None:
    """A[cell i, cell j > i] > 0 in every layer whose kind has such a block (trap 3), and 0 in the others: of a kind's
    layers the least, or most, of the largest such weights."""
    (span,) = prompt.image_spans
    matrix = written.rows.layer_attention
    if matrix is None:
        raise SelfTestError(f"{loaded.model_id}: layer_attention was not captured")
    block = matrix[:, span.start : span.stop, span.start : span.stop]
    later = np.triu(block.astype(np.float32), k=1).max(axis=(1, 2))
    kinds = np.array(loaded.facts.layer_types)
    for kind in sorted(set(kinds)):
        name = f"attention from image cells to later image cells, {{}} of all {kind} layers"
        if kind in loaded.facts.blocks:
            why = "image cells are causal, so the mask was lost (token_type_ids dropped, or no mask for the capture)"
            checks.more_than(name.format("least"), float(later[kinds == kind].min()), 0.0, why)
        else:
            why = "image cells of this family are causal in these layers, so the mask is another's"
            checks.at_most(name.format("most"), float(later[kinds == kind].max()), 0.0, why)


def _check_masks(checks: _Checks, loaded: LoadedModel, replay: Replay) -> None:
    """The masks that the model made are those that the family is known to have, entry by entry."""
    for kind in sorted(set(loaded.facts.layer_types)):
        rule = known_mask(loaded.facts, replay.prompt, replay.length, kind)
        layers = [k for k, other in enumerate(loaded.facts.layer_types) if other == kind]
        unlike = max(int((replay.layers[layer].mask[0, 0].cpu() != rule).sum()) for layer in layers)
        checks.at_most(
            f"mask entries unlike those known, most of all {kind} layers",
            unlike,
            0,
            "the model was run under another mask than its family's (another version of transformers?)",
        )


    shared = [(k, shape.source) for k, shape in enumerate(loaded.facts.shapes) if shape.source != k]
    if shared:
        keys = [layer.key.cpu() for layer in replay.layers]
        checks.at_most(
            "difference of keys that layers share, most of all",
            max(float((keys[k] - keys[source]).abs().max()) for k, source in shared),
            0.0,
            "layers share keys and values otherwise than the family is known to do",
        )


def known_mask(facts: ModelFacts, prompt: PromptInputs, length: int, kind: str) -> torch.Tensor:
    """What each position sees in a kind of layer: bool [length, length].

    Those before it, in a block also the later cells of its own image; of all that as far back as the window.
    """
    place = torch.arange(length)
    seen = place[None] <= place[:, None]
    if kind in facts.blocks:
        for span in prompt.image_spans:
            seen[span.start : span.stop, span.start : span.stop] = True
    if kind == "sliding_attention" and facts.sliding_window is not None:
        seen &= place[None] > place[:, None] - facts.sliding_window
    return seen


def _check_rows(
    checks: _Checks,
    loaded: LoadedModel,
    prompt: PromptInputs,
    written: Decoded,
    eager: Sequence[torch.Tensor],
) -> None:
    (span,) = prompt.image_spans
    first, last = prompt.length - 1, prompt.length - 1 + len(written.token_ids)
    tolerance = _ROW_TOLERANCE[loaded.dtype]
    why = "what is captured is not what the model's attention computes"
    images, masses, means = [], [], []
    for weights in eager:
        rows = weights[:, first:last].float()
        on_image = rows[..., span.start : span.stop]
        split = [on_image.sum(-1), rows[..., 0], rows[..., prompt.length :].sum(-1)]
        split.insert(2, rows.sum(-1) - sum(split))
        images.append(on_image.transpose(0, 1).cpu().numpy())
        masses.append(torch.stack(split, dim=-1).transpose(0, 1).cpu().numpy())
        means.append(weights.float().mean(0).cpu().numpy())
    rows_captured, matrix = written.rows, written.rows.layer_attention
    checks.at_most(
        "image row difference to eager",
        _beyond_rounding(np.stack(images, 1), rows_captured.image_attention),
        tolerance,
        why,
    )
    checks.at_most(
        "attention mass difference to eager",
        _largest(np.stack(masses, 1) - rows_captured.attention_mass),
        tolerance,
        why,
    )
    if matrix is not None:
        checks.at_most("layer attention difference to eager", _beyond_rounding(np.stack(means), matrix), tolerance, why)


def _beyond_rounding(exact: Float32Array, kept: Float16Array) -> float:
    """The largest difference, less what float16 takes away of each weight."""
    return max(0.0, float((np.abs(exact - kept) - exact * 2.0**-11 - 2.0**-25).max()))


def _largest(difference: npt.NDArray[np.floating[Any]]) -> float:
    return float(np.abs(difference).max())
