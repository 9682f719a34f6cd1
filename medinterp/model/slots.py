"""Places for reports that are written side by side: a static key/value cache whose rows have their own lengths."""

from __future__ import annotations

from typing import Any

import torch
from transformers import Cache
from transformers.cache_utils import CacheLayerMixin

from medinterp.model.capture import AttentionCall
from medinterp.model.loading import LoadedModel


class SlotLayer(CacheLayerMixin):
    """One layer's keys and values [slots, key/value heads, length, D]; each slot is written at its own position."""

    is_compileable = True
    is_sliding = False
    keys: torch.Tensor
    values: torch.Tensor

    def __init__(self, shape: tuple[int, ...], like: torch.Tensor, position: torch.Tensor) -> None:
        """like: a tensor of the model's dtype and device; position: long [slots], where each slot is written."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.keys, self.values = like.new_zeros(shape), like.new_zeros(shape)
        self._position = position
        self.is_initialized = True

    def lazy_initialization(self, *_: Any) -> None:
        """Everything is there from the start."""

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write one key and value [slots, heads, 1, D] for each slot; answers all of them."""
        index = self._position[:, None, None, None].expand_as(key_states)
        self.keys.scatter_(2, index, key_states)
        self.values.scatter_(2, index, value_states)
        return self.keys, self.values

    def get_mask_sizes(self, *_: Any) -> tuple[int, int]:
        """All keys, from position 0 on."""
        return self.keys.shape[2], 0

    def get_seq_length(self) -> int:
        """Not one number: each slot has its own."""
        return 0

    def get_max_length(self) -> int:
        """The length of every slot."""
        return int(self.keys.shape[2])


class Slots:
    """The state of all slots, in tensors of fixed shape that stay where they are: a step reads no host value.

    token, position, row: long [slots], what is read next, where it stands, and which row it becomes; queries: q of
    every layer and row [L, slots, H, rows, D]; logits: float32 [slots, vocabulary], of the last step.
    """

    def __init__(self, loaded: LoadedModel, count: int, length: int, rows: int) -> None:
        """length: positions of a slot, prompt and report; rows: tokens of a report, and one more."""
        facts, device, dtype = loaded.facts, loaded.device, loaded.dtype
        self.loaded, self.count, self.length, self.rows = loaded, count, length, rows
        self.token = torch.zeros(count, dtype=torch.long, device=device)
        self.position = torch.zeros(count, dtype=torch.long, device=device)
        self.row = torch.zeros(count, dtype=torch.long, device=device)
        shape = (count, facts.key_value_heads, length, facts.head_dim)
        self.layers = [SlotLayer(shape, loaded.model.lm_head.weight, self.position) for _ in range(facts.layers)]
        self.queries = torch.zeros((facts.layers, count, facts.heads, rows, facts.head_dim), dtype=dtype, device=device)
        self.logits = torch.zeros((count, loaded.model.lm_head.weight.shape[0]), device=device)
        self._cache = Cache(layers=list[Any](self.layers))
        self._places = torch.arange(length, device=device)

    def clear(self, slot: int) -> None:
        """Forget what a slot holds: masked keys and values are still multiplied, by 0, and 0 times NaN is NaN."""
        for layer in self.layers:
            layer.keys[slot].zero_()
            layer.values[slot].zero_()

    def forward(self) -> None:
        """One step of all slots: reads `token`, writes keys, values, queries and `logits`. A graph can replay it."""
        language = self.loaded.model.model.language_model
        states = language(
            inputs_embeds=language.embed_tokens(self.token[:, None]),
            attention_mask={kind: self.mask(kind, self.position)[:, None, None] for kind in self._kinds()},
            position_ids=self.position[:, None],
            past_key_values=self._cache,
            use_cache=True,
            attention_recorder=self,
        ).last_hidden_state
        self.logits.copy_(self.loaded.model.lm_head(states[:, -1]))

    def observe(self, call: AttentionCall, output: torch.Tensor) -> None:
        """Keep q of one layer [slots, H, 1, D] at each slot's own row."""
        kept = self.queries[call.layer]
        kept.scatter_(2, self.row[:, None, None, None].expand_as(call.query), call.query)

    def mask(self, kind: str, position: torch.Tensor) -> torch.Tensor:
        """What a query at each position may see in a layer of that kind: bool [positions, length]."""
        seen = self._places <= position[:, None]
        window = self.loaded.facts.sliding_window
        if kind == "sliding_attention" and window is not None:
            seen &= self._places > position[:, None] - window
        return seen

    def _kinds(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self.loaded.facts.layer_types))
