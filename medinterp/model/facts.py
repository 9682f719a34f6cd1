"""The numbers of a checkpoint, read from its configuration and never written in code."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LayerShape:
    """One layer's attention: key/value heads, the width D of a head, and the layer whose keys and values it takes, its
    own unless layers share them."""

    key_value_heads: int
    head_dim: int
    source: int


@dataclass(frozen=True)
class ModelFacts:
    """Shapes and identifiers of one vision-language checkpoint, as its family reads them (families/).

    layers L, heads H (query heads), hidden_size d of the language model; shapes: of every layer; layer_types:
    "sliding_attention" or "full_attention" for each layer; sliding_window: positions, or None when no layer slides;
    blocks: the kinds of layers in which an image cell sees the later cells of its image; never: tokens that no report
    holds, image_token_id among them where it is in the vocabulary; least_cells: image tokens that an image has at
    the least (its grid stands in its ImageSpan); image_size: pixels at each side of a square film as the model gets it;
    context_length: positions that the language model was made for; bos_token_id: None where the model has none;
    logit_cap: c of c tanh(z / c), None where logits are as they come.
    """

    layers: int
    heads: int
    hidden_size: int
    shapes: tuple[LayerShape, ...]
    layer_types: tuple[str, ...]
    sliding_window: int | None
    blocks: frozenset[str]
    image_token_id: int
    never: tuple[int, ...]
    least_cells: int
    image_size: int
    context_length: int
    bos_token_id: int | None
    eos_token_ids: frozenset[int]
    logit_cap: float | None = None

    @property
    def own_layers(self) -> tuple[int, ...]:
        """The layers that have keys and values of their own; the others come behind them."""
        return tuple(layer for layer, shape in enumerate(self.shapes) if shape.source == layer)
