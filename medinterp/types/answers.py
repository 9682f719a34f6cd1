"""What the model answers when it is asked about some words again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from medinterp.types.arrays import Float32Array


@dataclass(frozen=True)
class Interval:
    """A number and its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class OrderScores:
    """How a selection's probability p falls and rises when cells are replaced in one order, most relevant first.

    deletion, insertion: area under p over the share of cells replaced, or revealed (lower, higher is more faithful);
    srg: symmetric relevance gain, the area under p with the least relevant cells replaced first less that with the
    most relevant first, which is insertion less deletion. deletion_curve, insertion_curve: mean p over the fills, at
    Faithfulness.fractions.
    """

    deletion: Interval
    insertion: Interval
    srg: Interval
    deletion_curve: tuple[float, ...]
    insertion_curve: tuple[float, ...]


@dataclass(frozen=True)
class Faithfulness:
    """Whether a selection's words depend on the picture, and whether a map says where.

    logprob: log p of the selection as it was written, nats. blank_drop, swap_drops: what it loses when the film is
    blank, or is each of some other films, nats; reliance: the largest loss with another film (no model has learned from
    blank ones: what it writes then can be anything). fractions: shares of cells at which
    curves are taken. scores: of the map; random, centre: of a random order and of nearness to the film's centre.
    over_random, over_centre: srg of the map less that of the baseline, with intervals over the fills.
    verdict: "region" (driven by the region that the map shows), "picture" (driven by the picture, but this map is no
    better than chance) or "text" (not driven by the picture); sentence: the same for people.
    """

    method: str
    token_indices: tuple[int, ...]
    logprob: float
    blank_drop: float
    swap_drops: tuple[float, ...]
    reliance: float
    fractions: tuple[float, ...]
    scores: OrderScores
    random: OrderScores
    centre: OrderScores
    over_random: Interval
    over_centre: Interval
    verdict: str
    sentence: str
    image: int = 0

    def of_same_map(self, other: Faithfulness) -> bool:
        """Whether another verdict is of the same method's map of the same tokens on the same image."""
        key = (self.method, self.token_indices, self.image)
        return key == (other.method, other.token_indices, other.image)


@dataclass(frozen=True, eq=False)
class Reliance:
    """What every word of a report loses when another film stands in the film's place, nats.

    As Faithfulness defines them, of each word by itself: logprob, blank_drop, reliance: float32 [words]; swap_drops:
    float32 [films, words]; nan for a word that no token wrote. fills: what stood in the film's place, "blank" and then
    each film of swap_drops by its sha256 (drawn ones: "synthetic-SEED").
    """

    fills: tuple[str, ...]
    logprob: Float32Array
    blank_drop: Float32Array
    swap_drops: Float32Array
    reliance: Float32Array


@dataclass(frozen=True, eq=False)
class TextSources:
    """What of film, prompt and report so far drove some words of the report, by two measures.

    attention: the mean over layers, heads and the selection's tokens t of A[l,h][q_t, j], 0..1; film, first token,
    template, prompt words, report words and punctuation add up to 1.
    gradient: e_j . d log p(selection) / d e_j, e_j the embedding of position j as it enters the language model (of an
    image cell the projected one), nats, signed: positive where more of it would make the words likelier. Gradient x
    input: Shrikumar et al. 2016, Not Just a Black Box, arXiv:1605.01713; Denil et al. 2014, arXiv:1412.6815. It is a
    first order, the slope at the text as it stands, and not what taking a word away would cost: where the model is sure
    it is near 0 throughout though much depends on the word (saturation), and the parts do not add up to log p.

    token_indices: of the selection; logprob: log p(selection), nats. film_*: one for each film; template_*: control
    tokens and what the chat template writes, where the gradient, but not the attention, holds the first token too;
    punctuation_*: tokens of prompt and report that wrote no part of a word. prompt_spans: start and end in
    Provenance.prompt of its words, and float32 [prompt words] for each; report_*: float32 [words of the report], 0 for
    what was not there yet. A word of several tokens has their sum, a token of several words is shared out evenly.
    """

    token_indices: tuple[int, ...]
    logprob: float
    film_attention: tuple[float, ...]
    film_gradient: tuple[float, ...]
    first_token_attention: float
    template_attention: float
    template_gradient: float
    punctuation_attention: float
    punctuation_gradient: float
    prompt_spans: tuple[tuple[int, int], ...]
    prompt_attention: Float32Array
    prompt_gradient: Float32Array
    report_attention: Float32Array
    report_gradient: Float32Array

    @property
    def film_share(self) -> float:
        """The films' part, 0..1, of the attention on films and text; the first token and the template are neither."""
        film = sum(self.film_attention)
        text = float(self.prompt_attention.sum() + self.report_attention.sum()) + self.punctuation_attention
        return film / (film + text)


@dataclass(frozen=True, eq=False)
class HeadMaps:
    """Where each head of each layer looked on one film while it wrote some words.

    mass: float32 [L, H], A[l,h][q_t, cells] summed over the film's cells; maps: float32 [L, H, rows, columns], the same
    cell by cell; both the mean over the selection's tokens. image: which of the prompt's films. layer_types:
    "full_attention" or "sliding_attention" for each layer; sliding_window: positions, None where no layer slides.
    """

    token_indices: tuple[int, ...]
    image: int
    mass: Float32Array
    maps: Float32Array
    layer_types: tuple[str, ...]
    sliding_window: int | None


@dataclass(frozen=True)
class BoxMap:
    """How the causal map of some words lies to a box.

    token_indices: of the words; reliance: the most that they lose with another film in this one's place, nats; iou:
    of the box and the map's region (its positive part from its own Otsu threshold on) on the film; share: of the map's
    positive part that lies in the box, 0..1; peak_inside: whether the strongest cell touches the box; peak: its centre,
    x and y as shares of the film.
    """

    token_indices: tuple[int, ...]
    reliance: float
    iou: float
    share: float
    peak: tuple[float, float]
    peak_inside: bool


BoxVerdictName = Literal["agrees", "elsewhere", "text", "unclear"]
"""agrees; says here, looked there; not because of the picture; cannot tell."""


@dataclass(frozen=True)
class BoxVerdict:
    """Whether a box lies where the model looked: "says here, looked there".

    index: the box's, in Report.boxes; own: of the box's own label and coordinates; finding: of the words that name the
    same finding elsewhere in the report, None where none do; sentence: the verdict for people.
    """

    index: int
    own: BoxMap
    finding: BoxMap | None
    verdict: BoxVerdictName
    sentence: str
