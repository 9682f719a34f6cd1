"""A report that is already written, run through the model again with image cells replaced at will.

The vision tower runs once, and what stands before the first image is computed once: its keys and values do not
depend on the picture. Every further pass goes from the first image cell to the last report token that is asked for,
under the very masks that the model made for the whole sequence (trap 3), many pictures side by side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import DynamicCache

from medinterp.model.capture import AttentionCall
from medinterp.model.entering import encode_images, enter, position_ids
from medinterp.model.likelihood import token_logprobs
from medinterp.model.loading import LoadedModel
from medinterp.model.memory import storage_bytes
from medinterp.model.pieces import Pieces
from medinterp.model.prompt import PromptInputs

MEMORY_BYTES = 512 * 2**20


@dataclass(frozen=True, eq=False)
class LayerPass:
    """What one layer saw: key, value [1, key/value heads, S, D]; mask bool [1, 1, S, S]."""

    key: torch.Tensor
    value: torch.Tensor
    mask: torch.Tensor


class _Keeper:
    """Keeps every layer's keys, values and mask of one pass."""

    def __init__(self) -> None:
        self.layers: dict[int, LayerPass] = {}

    def observe(self, call: AttentionCall, output: torch.Tensor) -> None:
        self.layers[call.layer] = LayerPass(call.key, call.value, call.whole_mask)


class Replay:
    """One report's passes. The caller holds loaded.lock and has gradients switched off.

    features: [cells of all images, width], the image cells as they are; token_ids: the report's tokens up to the
    last one that is asked for; layers: what each layer saw in the pass as it was, S = P + len(token_ids) - 1
    positions (the last token's own row predicts nothing that is asked).
    """

    def __init__(
        self,
        loaded: LoadedModel,
        prompt: PromptInputs,
        token_ids: Sequence[int],
        features: torch.Tensor | None = None,
    ) -> None:
        """features: other image cells than the prompt's films have."""
        self.loaded, self.prompt = loaded, prompt
        self.token_ids = torch.tensor(token_ids, dtype=torch.long, device=loaded.device)
        self.features = encode_images(loaded, [prompt]) if features is None else features
        entered = enter(loaded, [prompt], token_ids[:-1], self.features)
        keeper = _Keeper()
        entered.states(loaded, attention_recorder=keeper)
        self.layers = [keeper.layers[layer] for layer in range(loaded.facts.layers)]
        self.start = prompt.image_spans[0].start
        """The first image cell: passes begin there."""
        self.entries = entered.entries
        self._cells = entered.cells[0]
        self.cells = self._cells.nonzero()[:, 0]
        """The places of all cells in the sequence."""

    @property
    def means(self) -> torch.Tensor:
        """The mean feature of each cell's image, [cells of all images, width]."""
        counts = [span.stop - span.start for span in self.prompt.image_spans]
        return torch.cat([part.mean(dim=0).expand_as(part) for part in torch.split(self.features, counts)])

    def of_image(self, image: int) -> slice:
        """Where the cells of one film, its crops among them, stand among all."""
        counts = [sum(span.stop - span.start for span in film) for film in self.prompt.films]
        return slice(sum(counts[:image]), sum(counts[: image + 1]))

    @property
    def length(self) -> int:
        """S, the number of positions of a pass."""
        return int(self._cells.shape[0])

    def states(self, features: torch.Tensor) -> torch.Tensor:
        """Final states at the rows q_t for each picture; features [B, cells, width] -> [B, T, d]."""
        count, start, loaded = len(features), self.start, self.loaded
        cache = DynamicCache()
        if start:
            for index in loaded.facts.own_layers:
                layer = self.layers[index]
                key, value = layer.key[:, :, :start], layer.value[:, :, :start]
                cache.update(key.expand(count, -1, -1, -1), value.expand(count, -1, -1, -1), index)
        entries = self.entries[:, start:].repeat(count, 1, 1)
        entries[:, self._cells[start:], : features.shape[-1]] = features.to(entries.dtype)
        rows = slice(start, self.length)
        states = loaded.family.step(
            loaded.language_model,
            entries,
            self._masks(slice(start, None)),
            position_ids=position_ids(self.prompt, rows, entries.device),
            past_key_values=cache,
            use_cache=True,
        )
        return states[:, self.prompt.length - 1 - start :]

    def logprobs(self, features: torch.Tensor) -> torch.Tensor:
        """log p of every report token for each picture; features [B, cells, width] -> float64 [B, T], nats."""
        return token_logprobs(self.states(features), self.loaded.head, self.token_ids)

    def replaced(self, where: torch.Tensor, fill: torch.Tensor) -> torch.Tensor:
        """Pictures with cells replaced: where bool [B, cells of all images], fill [cells, width]."""
        return torch.where(where[..., None], fill[None], self.features[None])

    def batch_size(self, pieces: Pieces, most: int, fill: torch.Tensor, also_held_bytes: int = 0) -> int:
        """How many pictures with cells replaced, at most `most`, run side by side in the question that pieces are of.

        fill: [cells, width]; also_held_bytes: what the question holds beside this Replay.
        """
        whole = torch.zeros(len(self.features), dtype=torch.bool, device=self.features.device)
        return pieces.side_by_side(
            lambda count: self.logprobs(self.replaced(whole.repeat(count, 1), fill)),
            most,
            self.held_bytes + also_held_bytes,
        )

    @property
    def held_bytes(self) -> int:
        """What it holds as long as it lives."""
        layers = [tensor for layer in self.layers for tensor in (layer.key, layer.value, layer.mask)]
        return storage_bytes([self.token_ids, self.features, self.entries, self._cells, *layers])

    def _masks(self, rows: slice) -> dict[str, torch.Tensor]:
        """The mask of each kind of layer, bool [1, 1, rows, S]."""
        types = self.loaded.facts.layer_types
        return {kind: self.layers[types.index(kind)].mask[:, :, rows] for kind in set(types)}
