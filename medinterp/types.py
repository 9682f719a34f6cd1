"""The nouns that travel between layers: film -> report -> trace -> maps -> view.

Frozen dataclasses over numpy arrays. T report tokens, N = P + T positions in all (P of the
prompt), L language layers, H query heads, an image grid of rows x columns cells.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Float16Array = npt.NDArray[np.float16]
Float32Array = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]
Quantity = Literal["relevancy", "disagreement"]
"""What of a method's maps is looked at: the maps, or how far the members of a consensus disagree."""

_HALVES: Float32Array = np.arange(2**16, dtype=np.uint16).view(np.float16).astype(np.float32)


def float32_of(halves: Float16Array) -> Float32Array:
    """The same numbers in float32, by a table: numpy's own cast takes three times as long on small numbers."""
    return np.asarray(_HALVES[halves.view(np.uint16)])


@dataclass(frozen=True)
class FilmWarning:
    """What is doubtful about a film, or about what was made of it.

    code: stable, for programs (e.g. "inverted"); text: a sentence for people, no identity;
    withholds: a report on such a film would mean nothing, so none is written unless it is asked for by force.
    """

    code: str
    text: str
    withholds: bool = False


@dataclass(frozen=True)
class WindowChoice:
    """A way to bring a DICOM's stored values to gray.

    name: what `window=` takes ("window-1", "lut-1", "full"); label: the same for people.
    """

    name: str
    label: str


@dataclass(frozen=True, eq=False)
class DicomSource:
    """What a film's own DICOM says of patient, study and picture, for objects that are made about that picture.

    It names the patient: it goes where the film goes and is deleted with it, and stands in no answer, log or page.
    header: a data set of a few elements, explicit VR little endian, text in UTF-8 (`imaging.dicom_source` reads it);
    rows, columns: of the stored pixels; orientation: the EXIF orientation 1..8 that turned them upright.
    """

    header: bytes = field(repr=False)
    rows: int
    columns: int
    orientation: int


@dataclass(frozen=True, eq=False)
class Film:
    """One radiograph as it is looked at: upright, bright is dense, one channel, square pixels.

    pixels: uint8 or uint16 [height, width], full range of its dtype, source orientation applied.
    media_type: "image/png", "image/jpeg", "image/tiff" or "application/dicom" ("application/octet-stream" for an
        array that was given in memory).
    sha256: hex digest of the bytes that were read.
    notes: what was done to the source (e.g. "inverted: MONOCHROME1"), for provenance; no identity.
    warnings: what is doubtful about it.
    windows, window: the windows and tables that a DICOM offers, and the name of the one that was used (or of what
        was asked for in numbers); none for other kinds of files.
    source: of a DICOM, what objects about its picture need; it names the patient.
    """

    pixels: npt.NDArray[np.uint8] | npt.NDArray[np.uint16]
    media_type: str
    sha256: str
    notes: tuple[str, ...] = ()
    warnings: tuple[FilmWarning, ...] = ()
    windows: tuple[WindowChoice, ...] = ()
    window: str | None = None
    source: DicomSource | None = field(default=None, repr=False)

    @property
    def height(self) -> int:
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        return int(self.pixels.shape[1])


@dataclass(frozen=True)
class ImageSpan:
    """Where one image's cells lie in the sequence: positions start .. stop-1, row-major grid."""

    start: int
    stop: int
    rows: int
    columns: int


@dataclass(frozen=True)
class Alternative:
    """A token that could have stood here, with its log-probability (nats)."""

    text: str
    logprob: float


@dataclass(frozen=True)
class ReportToken:
    """One generated token t.

    index: t, 0-based; token_id: vocabulary id; start, end: character span in Report.text that it wrote,
    wholly or in part (tokens that share a character overlap there; a control token's span is empty);
    logprob: log p of this token where it was generated, nats.
    """

    index: int
    token_id: int
    start: int
    end: int
    logprob: float
    alternatives: tuple[Alternative, ...] = ()


@dataclass(frozen=True)
class Word:
    """A run of characters of the report that can be clicked, with the tokens that wrote it.

    logprob: sum of its tokens' log-probabilities (log p of the word), nats.
    image_mass: mean over its tokens, layers and heads of the attention on image cells, 0..1.
    section: name of the section it stands in, or None.
    unlikely: the model gave one of its tokens less than 1 in 1,000 at its place: it would hardly have written the word.
    """

    index: int
    text: str
    start: int
    end: int
    token_indices: tuple[int, ...]
    logprob: float
    image_mass: float
    section: str | None = None
    unlikely: bool = False


@dataclass(frozen=True)
class Section:
    """A named part of the report: Report.text[start:end] is its body, heading left out."""

    name: str
    start: int
    end: int
    text: str


FindingStatus = Literal["present", "uncertain", "absent"]
FindingChange = Literal["new", "unchanged", "larger", "smaller", "resolved", "removed"]
MentionRole = Literal[
    "history",
    "indication",
    "comparison",
    "technique",
    "advice",
    "disclaimer",
    "differential",
    "example",
    "elsewhere",
]
SentenceReading = Literal["read", "other", "unread"]


@dataclass(frozen=True)
class Finding:
    """A finding that the report states: its name, its status, and the words that say so.

    status: "present", "uncertain" (hedged: `hedge` is the character span of the words that do it) or "absent";
    side: "left", "right", "bilateral" or None; zones: e.g. ("upper",), ("upper", "lower") or ();
    start, end: the character span of the finding's own name, or of the normal statement ("the lungs are clear") that
    denies it; word_indices: the words that name it; change: against an earlier film, where one is told.
    """

    index: int
    name: str
    status: FindingStatus
    side: str | None
    zones: tuple[str, ...]
    start: int
    end: int
    word_indices: tuple[int, ...]
    section: str | None = None
    hedge: tuple[int, int] | None = None
    change: FindingChange | None = None

    @property
    def present(self) -> bool:
        """Whether the report affirms the finding without a hedge."""
        return self.status == "present"


@dataclass(frozen=True)
class Mention:
    """A finding's name that states nothing about this film: history, advice, an example, another part of the body.

    start, end: the character span of the name; word_indices: the words that name it.
    """

    index: int
    name: str
    role: MentionRole
    start: int
    end: int
    word_indices: tuple[int, ...]
    section: str | None = None


@dataclass(frozen=True)
class Sentence:
    """A sentence of the report, and what became of it: Report.text[start:end].

    reading: "read" when its findings are in Report.findings, or it states that nothing is abnormal;
    "other" when it is not about findings (technique, history, advice); "unread" when nobody can tell what it states.
    """

    start: int
    end: int
    reading: SentenceReading


@dataclass(frozen=True)
class Thinking:
    """What the model thought before it answered: Report.text[start:end], with the marks around it.

    token_indices: the tokens that wrote it. It holds no section, no finding and no sentence of the report.
    """

    start: int
    end: int
    token_indices: tuple[int, ...]


@dataclass(frozen=True)
class Report:
    """What the model wrote."""

    text: str
    tokens: tuple[ReportToken, ...]
    words: tuple[Word, ...]
    sections: tuple[Section, ...]
    findings: tuple[Finding, ...]
    complete: bool
    """True when the model ended the report itself, False when the token limit cut it off."""
    mentions: tuple[Mention, ...] = ()
    sentences: tuple[Sentence, ...] = ()
    thinking: tuple[Thinking, ...] = ()


@dataclass(frozen=True)
class Provenance:
    """Enough to make the same report again."""

    model_id: str
    model_revision: str
    dtype: str
    device: str
    library_versions: Mapping[str, str]
    film_sha256: tuple[str, ...]
    prompt_sha256: str
    prompt: str
    seed: int | None
    max_new_tokens: int
    layer_types: tuple[str, ...]
    sliding_window: int | None
    notice: str | None = None
    """A sentence that the model's maker wants shown beside every report."""
    given: bool = False
    """Whether somebody else wrote the report, and the model was asked only how it would have come to it."""
    writer: str | None = None
    """The engine that wrote the report for this request, by its model's name there; None: the model here did."""
    tokens_compared: bool = False
    """Whether the engine told its own tokens, so that they could be compared with the text tokenised again."""
    retokenised_at: int | None = None
    """The character from which on the engine's tokens were cut otherwise, None when all were equal."""


@dataclass(frozen=True, eq=False)
class AttentionTrace:
    """What the model did while it wrote the report, captured beside its own attention kernel.

    image_attention: float16 [T, L, H, cells], softmax weights of row q_t on the image cells
        (all images' cells one after the other, in the order of image_spans).
    attention_mass: float32 [T, L, H, 4], row q_t's total weight on the image(s), the first token,
        the rest of the prompt, and the report so far; sums to 1 within 1e-3.
    layer_attention: float16 [L, N, N], head-mean of every layer, or None when not asked for.
    value_norm: float32 [L, H, N], || W_O^h v_j || scaled by the layer's frozen post-attention
        RMSNorm (methods.md), or None.
    token_logprob: float32 [T], nats.
    image_state: float32 [cells, d], the final (normalised) states at the image cells.
    unembedding: float32 [T, d], output-embedding rows of the generated tokens.
    image_spans: one for each image; prompt_length: P; query_position of token t is P - 1 + t.
    layer_weights: float32 [L], what `medinterp calibrate` learned for this model and revision; sums to 1,
        or None for a model that nobody has calibrated.
    """

    image_attention: Float16Array
    attention_mass: Float32Array
    layer_attention: Float16Array | None
    value_norm: Float32Array | None
    token_logprob: Float32Array
    image_state: Float32Array
    unembedding: Float32Array
    image_spans: tuple[ImageSpan, ...]
    prompt_length: int
    provenance: Provenance
    layer_weights: Float32Array | None = None

    @cached_property
    def head_mean(self) -> Float32Array:
        """Mean over heads of image_attention, float32 [T, L, cells]; computed once."""
        tokens, layers, _, cells = self.image_attention.shape
        means = np.empty((tokens, layers, cells), dtype=np.float32)
        for token in range(tokens):  # one at a time: the whole in float32 would be twice the trace
            means[token] = float32_of(self.image_attention[token]).mean(axis=1)
        return means

    @property
    def report_length(self) -> int:
        """T, the number of generated tokens."""
        return int(self.image_attention.shape[0])

    @property
    def sequence_length(self) -> int:
        """N = P + T."""
        return self.prompt_length + self.report_length

    def query_position(self, token: int) -> int:
        """q_t: the row that predicted report token t."""
        return self.prompt_length - 1 + token


@dataclass(frozen=True, eq=False)
class MeasuredCells:
    """What a method that asked the model again found.

    values: float32 [T, cells of all images], in the order of image_spans, with the method's own sign and mass.
    options: what it was asked with.
    """

    values: Float32Array
    image_spans: tuple[ImageSpan, ...]
    notes: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Generation:
    """One film read by the model: the report, the trace of how it came about, and what was measured afterwards.

    warnings: what the model's own knowledge of films finds doubtful (LoadedModel.doubts); prior_warnings: the same of a
    prior film.
    """

    report: Report
    trace: AttentionTrace
    measured: Mapping[str, MeasuredCells] = field(default_factory=dict)
    warnings: tuple[FilmWarning, ...] = ()
    prior_warnings: tuple[FilmWarning, ...] = ()


@dataclass(frozen=True, eq=False)
class MapPack:
    """One method's maps for every report token.

    values: float32 [T, rows, columns], the method's own sign and mass, never rescaled (deep rollouts reach
        1e-9, where float16 has nothing).
    signed: True when negative values mean "speaks against".
    additive: True when a word's map is the sum over its tokens, False when it is the mean.
    notes: what the reader must know (e.g. "uncalibrated").
    members, disagreement: of a consensus the methods that it joins, and the standard deviation of their
    cell ranks, float32 [T, rows, columns]. image: which of the prompt's images the maps are on.
    sinks: bool [rows, columns], cells that collect attention whatever is written, or None (not looked for).
    options: what the method was given.
    """

    method: str
    values: Float32Array
    signed: bool
    additive: bool
    notes: tuple[str, ...] = ()
    members: tuple[str, ...] = ()
    disagreement: Float32Array | None = None
    image: int = 0
    sinks: BoolArray | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class RelevancyMap:
    """One map for one selection of the report (a word, a phrase, a finding).

    values: float32 [rows, columns]; token_indices: the tokens it speaks of; image: which of the prompt's
    images it lies on; disagreement: of a consensus, float32 [rows, columns].
    """

    method: str
    values: Float32Array
    token_indices: tuple[int, ...]
    signed: bool
    notes: tuple[str, ...] = ()
    image: int = 0
    disagreement: Float32Array | None = None


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


@dataclass(frozen=True, eq=False)
class Explanation:
    """A report with its maps: what the facade returns and what the store keeps.

    prior, prior_packs: an earlier film that was read beside the current one, and the maps on it. text_sources: those
    that were asked for and are kept, the newest last. verdicts: of the selections that were judged, one for each
    method, image and tokens. reliance: of every word, once it was asked for.
    """

    film: Film
    report: Report
    packs: Mapping[str, MapPack]
    provenance: Provenance
    trace: AttentionTrace | None = field(default=None, repr=False)
    prior: Film | None = None
    prior_packs: Mapping[str, MapPack] = field(default_factory=dict)
    text_sources: tuple[TextSources, ...] = ()
    verdicts: tuple[Faithfulness, ...] = ()
    reliance: Reliance | None = None
