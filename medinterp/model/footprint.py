"""How much memory a model takes, by arithmetic on its config: nothing is loaded for it.

Every term is a tensor that the code holds at the peak of what is named, and says which. b is the bytes of a number in
the model's dtype; where that is less than 4, what is computed in float32 is a copy beside it. What a kernel takes
within itself (a workspace of cuBLAS) and what an allocator rounds up are not in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from medinterp.model.facts import LayerShape

BEST = 6
"""Of each place's likeliest tokens so many are kept: five others beside the one that is written."""
BLOCK_BYTES = 32 * 2**20
"""Of the softmax rows that are held at once (evidence.py)."""
VOCABULARY_PART = 8192
"""Tokens whose logits are computed at a time where log-probabilities are asked for (likelihood.py)."""


class Attention(Protocol):
    """What memory of attention depends on; ModelFacts and Layout have it."""

    @property
    def layers(self) -> int: ...
    @property
    def heads(self) -> int: ...
    @property
    def shapes(self) -> tuple[LayerShape, ...]: ...
    @property
    def own_layers(self) -> tuple[int, ...]: ...


@dataclass(frozen=True)
class Vision:
    """A vision tower: layers of `hidden` and `intermediate` numbers a patch; patches, pixels: of one film, channels
    included."""

    hidden: int
    intermediate: int
    patches: int
    pixels: int


@dataclass(frozen=True)
class Layout:
    """A checkpoint's sizes, as its config has them (`inspection.layout_of`).

    intermediate: of the widest layer's MLP (all experts of a position together); norms: of the stream, in a layer;
    query_norms: whether queries and keys are normalised; itemsize: b; weights: bytes of all parameters as they are
    loaded; linear: bytes of those of the language model that a step of the writer reads; cells: of one film; vision:
    None where a film's cells are its own pixels.
    """

    layers: int
    heads: int
    hidden: int
    intermediate: int
    shapes: tuple[LayerShape, ...]
    norms: int
    query_norms: bool
    vocabulary: int
    itemsize: int
    weights: int
    linear: int
    cells: int
    vision: Vision | None

    @property
    def own_layers(self) -> tuple[int, ...]:
        """The layers that have keys and values of their own."""
        return tuple(layer for layer, shape in enumerate(self.shapes) if shape.source == layer)

    @property
    def copied(self) -> int:
        """Bytes of a number's float32 copy: none where the dtype is float32 already."""
        return 0 if self.itemsize >= 4 else 4


def slot_bytes(model: Attention, itemsize: int, vocabulary: int, length: int, rows: int) -> int:
    """Bytes of one slot: keys and values of every position, a query of every row, the logits and what is kept of them.

    length: positions; rows: tokens of a report, and one more (slots.py).
    """
    own = [model.shapes[layer] for layer in model.own_layers]
    cache = sum(2 * shape.key_value_heads * shape.head_dim for shape in own) * length
    queries = sum(model.heads * shape.head_dim for shape in model.shapes) * rows
    logits = 4 * vocabulary + rows * (4 * (1 + BEST) + 8 * BEST)
    return (cache + queries) * itemsize + logits


def trace_bytes(
    model: Attention, *, cells: int, prompt_length: int, report_length: int, layer_attention: bool
) -> int:
    """Bytes of one report's CapturedRows (evidence.py); cells: of all images."""
    sequence = prompt_length + report_length
    rows = model.layers * model.heads * report_length
    matrix = 2 * model.layers * sequence**2 if layer_attention else 0
    return rows * (2 * cells + 16) + matrix + 4 * model.layers * model.heads * sequence


def metric_bytes(model: Attention) -> int:
    """The quadratic forms of W_O, float32 [H, D, D] a layer, which are kept once a report was written (values.py)."""
    return sum(4 * model.heads * shape.head_dim**2 for shape in model.shapes)


def vision_bytes(layout: Layout, films: int) -> int:
    """Of films that are encoded together, at the activation of a layer's MLP: its pixels, what came into the tower,
    what came into the layer, what attention made of that, the normalised copy, and the MLP before and after its
    activation."""
    tower = layout.vision
    if tower is None:
        return 0
    patch = 4 * tower.hidden + 2 * tower.intermediate
    return films * (tower.patches * patch + tower.pixels) * layout.itemsize


def generation_bytes(
    layout: Layout,
    *,
    slots: int,
    prompt_length: int,
    report_length: int,
    together: int = 1,
    length: int | None = None,
    layer_attention: bool = True,
) -> int:
    """The writer's slots, and beside them the largest of: films encoded, prompts read, a report's evidence.

    length: positions of a slot, as long as prompt and report unless given; together: prompts of one length that are
    read in one pass. The prompts' own attention (layer_attention) is kept while a report is written.
    """
    told = prompt_length + report_length + 1
    positions = told if length is None else length
    rows = report_length + 1 if length is None else positions - layout.cells + 1
    held = slots * slot_bytes(layout, layout.itemsize, layout.vocabulary, positions, rows)
    matrices = 2 * layout.layers * prompt_length**2 if layer_attention else 0
    rows_at_once = min(BLOCK_BYTES, 4 * layout.heads * prompt_length**2) if layer_attention else 0
    reading = together * (prompt_length * _pass_width(layout) + matrices) + 2 * rows_at_once
    trace = trace_bytes(
        layout,
        cells=layout.cells,
        prompt_length=prompt_length,
        report_length=report_length,
        layer_attention=layer_attention,
    )
    first = vision_bytes(layout, together)
    return held + max(first, reading + metric_bytes(layout), slots * matrices + trace + metric_bytes(layout))


def replay_bytes(layout: Layout, positions: int) -> int:
    """What Replay holds of a pass (replay.py): every layer's keys, values and mask, the entries, the films' cells."""
    kinds = 2 * positions**2  # a mask of each kind of layer, one byte an entry
    rows = (positions + layout.cells) * layout.hidden * layout.itemsize
    return _keys_and_values(layout, positions) + kinds + rows


def edge_gradient_bytes(layout: Layout, prompt_length: int, report_length: int) -> int:
    """One forward of the report's rows over held keys and values, whose graph is whole while the head's slopes are
    taken (gradients.py)."""
    positions = prompt_length + report_length - 1
    kept = sum(_kept_layer(layout, shape, report_length) for shape in layout.shapes)
    looks = sum(
        _open_attention(layout, shape, report_length, positions, copies=1, held=True) for shape in layout.shapes
    )
    after = kept + max(head_bytes(layout, report_length), _way_back(layout, report_length))
    # At the end the gradients of all weights stand beside them, and cells are picked out of a layer at a time.
    slopes = 4 * report_length * layout.heads * (layout.layers * positions + 4 * layout.cells)
    maps = 2 * 4 * layout.layers * report_length * layout.cells
    return max(vision_bytes(layout, 1), replay_bytes(layout, positions) + looks + max(after, slopes + maps))


def gradient_relevancy_bytes(layout: Layout, prompt_length: int, token: int, copies: int) -> int:
    """`copies` copies of the sequence up to the row of report token `token` (0-based), each with its graph."""
    rows = prompt_length + token
    kept = copies * sum(_kept_layer(layout, shape, rows) for shape in layout.shapes)
    looks = sum(_open_attention(layout, shape, rows, rows, copies=copies, held=False) for shape in layout.shapes)
    # At the end the gradients of all weights stand beside them, and a layer's product of the two and what is above 0.
    slopes = 4 * copies * layout.heads * rows**2 * (layout.layers + 2)
    after = max(kept + _way_back(layout, copies * rows), slopes)
    return max(vision_bytes(layout, 1), replay_bytes(layout, rows) + looks + after)


def integrated_bytes(layout: Layout, prompt_length: int, report_length: int, points: int, start: int = 0) -> int:
    """`points` points of the path side by side, from the first image cell (at `start`) on (integrated.py)."""
    positions = prompt_length + report_length - 1
    rows = positions - start
    masks = layout.layers * rows * positions * layout.itemsize  # SDPA makes numbers of each layer's
    graph = masks + points * sum(
        _kept_layer(layout, shape, rows) + _fast_attention(layout, shape, rows, positions) for shape in layout.shapes
    )
    after = max(head_bytes(layout, points * report_length), _way_back(layout, points * rows))
    pictures = points * (rows * layout.hidden + 2 * layout.cells * layout.hidden) * layout.itemsize
    return max(vision_bytes(layout, 1), replay_bytes(layout, positions) + graph + pictures + after)


def occlusion_bytes(layout: Layout, prompt_length: int, report_length: int, pictures: int, start: int = 0) -> int:
    """`pictures` masked passes side by side: each has keys and values of its own and one layer's work, or, behind the
    last layer, logits of a part of the vocabulary (replay.py)."""
    positions = prompt_length + report_length - 1
    rows = positions - start
    entry = (rows + layout.cells) * layout.hidden * layout.itemsize  # the cells replaced, and the entries with them
    forward = pictures * (_keys_and_values(layout, positions) + entry + rows * _pass_width(layout))
    behind = head_bytes(layout, pictures * report_length) + pictures * (entry + rows * layout.hidden * layout.itemsize)
    return max(vision_bytes(layout, 1), replay_bytes(layout, positions) + max(forward, behind))


def head_bytes(layout: Layout, rows: int) -> int:
    """Log-probabilities of `rows` rows (likelihood.py): two parts of the head in float32 (the next is made while the
    last is still named), four logits of a part each, and the rows and their slopes in float32."""
    part = min(VOCABULARY_PART, layout.vocabulary)
    return 2 * part * layout.hidden * layout.copied + 4 * rows * (4 * part + 2 * layout.hidden)


def _keys_and_values(layout: Layout, positions: int) -> int:
    own = (layout.shapes[layer] for layer in layout.own_layers)
    return sum(2 * shape.key_value_heads * shape.head_dim for shape in own) * positions * layout.itemsize


def _pass_width(layout: Layout) -> int:
    """Bytes a position while a layer's MLP multiplies gate and up without a graph: these two and their product; the
    stream, its normalised copy, and what came into the pass."""
    return (3 * layout.intermediate + 3 * layout.hidden) * layout.itemsize


def _kept_layer(layout: Layout, shape: LayerShape, rows: int) -> int:
    """What the graph keeps of a layer beside its attention: the norms' inputs in float32, those of the queries' and
    keys' norms, and the MLP's gate before and behind its activation and up. The weights want no gradient, so that no
    linear layer keeps its input."""
    norms = 4 * layout.norms * layout.hidden
    if layout.query_norms:
        norms += 4 * (layout.heads + shape.key_value_heads) * shape.head_dim
    return rows * (norms + 3 * layout.intermediate * layout.itemsize)


def _open_attention(
    layout: Layout, shape: LayerShape, rows: int, keys: int, *, copies: int, held: bool
) -> int:
    """What OpenAttention keeps: the calls' q, k and v, softmax(q k^T) in float32 and its inverted mask, the output;
    keys in float32; where keys and values are not held, queries in float32 and the weights in the model's dtype too."""
    heads, groups, width = layout.heads, shape.key_value_heads, shape.head_dim
    calls = copies * rows * (2 * heads + 2 * groups) * width * layout.itemsize
    weights = 4 * copies * heads * rows * keys + rows * keys
    if held:
        return calls + weights + groups * keys * width * layout.copied
    again = copies * heads * rows * keys * layout.itemsize if layout.copied else 0
    return calls + weights + copies * (heads * rows + groups * keys) * width * layout.copied + again


def _fast_attention(layout: Layout, shape: LayerShape, rows: int, keys: int) -> int:
    """What SDPA keeps: queries and output, keys and values repeated for every head."""
    return 2 * layout.heads * shape.head_dim * (rows + keys) * layout.itemsize


def _way_back(layout: Layout, rows: int) -> int:
    """The gradients of one layer's MLP on the way back: gate, up and product, and the stream's in float32, twice."""
    return rows * (3 * layout.intermediate * layout.itemsize + 2 * 4 * layout.hidden)
