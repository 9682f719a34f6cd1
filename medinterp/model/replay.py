"""A report that is already written, run through the model again with image cells replaced at will.

The vision tower runs once, and what stands before the first image is computed once: its keys and values do not
depend on the picture. Every further pass goes from the first image cell to the last report token that is asked for,
under the very masks that the model made for the whole sequence (trap 3), many pictures side by side.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from transformers import DynamicCache
from transformers.modeling_outputs import BaseModelOutputWithPooling

from medinterp.model.capture import AttentionCall
from medinterp.model.loading import LoadedModel
from medinterp.model.memory import storage_bytes
from medinterp.model.pieces import Pieces
from medinterp.model.prompt import PromptInputs

MEMORY_BYTES = 512 * 2**20
_VOCABULARY_PART = 8192


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

    features: [images, cells, d], the projected image cells as they are; token_ids: the report's tokens up to the
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
        self.features = encode_images(loaded, prompt.pixel_values) if features is None else features
        report = torch.tensor(token_ids[:-1], dtype=torch.long)
        ids = torch.cat([prompt.input_ids, report])[None].to(loaded.device)
        types = torch.cat([prompt.token_type_ids, torch.zeros_like(report)])[None].to(loaded.device)
        keeper = _Keeper()
        encoded = BaseModelOutputWithPooling(pooler_output=self.features)
        loaded.model.model(
            input_ids=ids,
            token_type_ids=types,
            mm_encoder_outputs={"image": encoded},
            use_cache=False,
            attention_recorder=keeper,
        )
        self.layers = [keeper.layers[layer] for layer in range(loaded.facts.layers)]
        self.start = prompt.image_spans[0].start
        """The first image cell: passes begin there."""
        self._cells = (ids == loaded.facts.image_token_id)[0]
        self.embeddings = embedded(loaded, ids, self.features)

    @property
    def length(self) -> int:
        """S, the number of positions of a pass."""
        return int(self._cells.shape[0])

    def states(self, features: torch.Tensor) -> torch.Tensor:
        """Final states at the rows q_t for each picture; features [B, images, cells, d] -> [B, T, d]."""
        count, start = len(features), self.start
        cache = DynamicCache()
        if start:
            for index, layer in enumerate(self.layers):
                key, value = layer.key[:, :, :start], layer.value[:, :, :start]
                cache.update(key.expand(count, -1, -1, -1), value.expand(count, -1, -1, -1), index)
        embeddings = self.embeddings[:, start:].repeat(count, 1, 1)
        embeddings[:, self._cells[start:]] = features.flatten(1, 2).to(embeddings.dtype)
        positions = torch.arange(start, self.length, device=embeddings.device)[None]
        states: torch.Tensor = self.loaded.model.model.language_model(
            inputs_embeds=embeddings,
            attention_mask=self._masks(slice(start, None)),
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
        ).last_hidden_state
        return states[:, self.prompt.length - 1 - start :]

    def logprobs(self, features: torch.Tensor) -> torch.Tensor:
        """log p of every report token for each picture; features [B, images, cells, d] -> float64 [B, T], nats."""
        weight = self.loaded.model.lm_head.weight
        return token_logprobs(self.states(features), weight, self.token_ids)

    def replaced(self, where: torch.Tensor, fill: torch.Tensor) -> torch.Tensor:
        """Pictures with cells replaced: where bool [B, images, cells], fill [images, cells or 1, d]."""
        return torch.where(where[..., None], fill[None], self.features[None])

    def batch_size(self, pieces: Pieces, most: int, fill: torch.Tensor, also_held_bytes: int = 0) -> int:
        """How many pictures with cells replaced, at most `most`, run side by side in the question that pieces are of.

        fill: [images, cells or 1, d]; also_held_bytes: what the question holds beside this Replay.
        """
        whole = torch.zeros(self.features.shape[:2], dtype=torch.bool, device=self.features.device)
        return pieces.side_by_side(
            lambda count: self.logprobs(self.replaced(whole.repeat(count, 1, 1), fill)),
            most,
            self.held_bytes + also_held_bytes,
        )

    @property
    def held_bytes(self) -> int:
        """What it holds as long as it lives."""
        layers = [tensor for layer in self.layers for tensor in (layer.key, layer.value, layer.mask)]
        return storage_bytes([self.token_ids, self.features, self.embeddings, self._cells, *layers])

    def _masks(self, rows: slice) -> dict[str, torch.Tensor]:
        """The mask of each kind of layer, bool [1, 1, rows, S]."""
        types = self.loaded.facts.layer_types
        return {kind: self.layers[types.index(kind)].mask[:, :, rows] for kind in set(types)}


def encode_images(loaded: LoadedModel, pixel_values: torch.Tensor) -> torch.Tensor:
    """Projected image cells [images, cells, d] of preprocessed films [images, 3, size, size]."""
    pixels = pixel_values.to(loaded.device, loaded.dtype)
    features: torch.Tensor = loaded.model.model.get_image_features(pixels, return_dict=True).pooler_output
    return features


def embedded(loaded: LoadedModel, ids: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
    """What the language model gets: ids int64 [1, S], features [images, cells, d] -> [1, S, d]."""
    cells = (ids == loaded.facts.image_token_id)[0]
    words = ids.masked_fill(cells, 0)  # the image token itself may lie outside the vocabulary
    embeddings: torch.Tensor = loaded.model.model.get_input_embeddings()(words)
    embeddings[0, cells] = features.flatten(0, 1).to(embeddings.dtype)
    return embeddings


def token_logprobs(states: torch.Tensor, weight: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """log softmax(states weight^T) at the chosen tokens; states [B, T, d] -> float64 [B, T].

    As -log(1 + exp(z' - z)), z the chosen token's logit and z' the log-sum-exp of all others: where the model is sure,
    log p is near 0 and z - logsumexp(all) would be the difference of two equal numbers, with no digit left of what a
    cell is worth. Logits are float32 whatever the model's dtype (bfloat16 ones come in steps of 0.1), a part of the
    vocabulary at a time.
    """
    own, others = _own_and_others(states.float(), weight, chosen)
    return -torch.nn.functional.softplus((others - own).double())


@torch.no_grad()
def token_slopes(states: torch.Tensor, weight: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """d log p / d states of `token_logprobs`, in the states' dtype, [B, T, d].

    (1 - p) (w_y - sum over the others of their share of z' times w), which keeps nothing of the head: autograd would
    keep all of it in float32.
    """
    rows = states.float()
    own, others = _own_and_others(rows, weight, chosen)
    slopes = weight[chosen].float().expand(rows.shape).clone()
    for part, logits, _ in _parts_of_others(rows, weight, chosen):
        slopes -= (logits - others[..., None]).exp_() @ part
    slopes *= torch.sigmoid((others - own).double())[..., None]
    return slopes.to(states.dtype)


def _own_and_others(
    rows: torch.Tensor, weight: torch.Tensor, chosen: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The chosen token's logit, and the log-sum-exp of all others, float32 [B, T]."""
    others = torch.full(rows.shape[:-1], -torch.inf, device=rows.device)
    own = torch.zeros_like(others)
    for _, logits, found in _parts_of_others(rows, weight, chosen):
        own = own + found
        others = torch.logaddexp(others, logits.logsumexp(-1))
    return own, others


def _parts_of_others(
    rows: torch.Tensor, weight: torch.Tensor, chosen: torch.Tensor
) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Of each part of the vocabulary: its weight, float32 [V, d]; logits [B, T, V], the chosen token's -inf; and that
    token's logit [B, T], 0 where it is of another part."""
    start = 0
    for half in torch.split(weight, _VOCABULARY_PART):
        part = half.float()
        logits = rows @ part.T
        here = (chosen >= start) & (chosen < start + len(part))
        place = (chosen - start).clamp(0, len(part) - 1).expand(rows.shape[:-1])[..., None]
        own = torch.where(here, logits.gather(-1, place)[..., 0], 0.0)
        gone = torch.where(here, -torch.inf, 0.0).expand(rows.shape[:-1])[..., None]
        yield part, logits.scatter_add(-1, place, gone), own
        start += len(part)
