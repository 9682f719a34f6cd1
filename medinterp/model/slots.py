"""Places for reports that are written side by side: a static key/value cache whose rows have their own lengths."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from transformers import Cache
from transformers.cache_utils import CacheLayerMixin

from medinterp.model.capture import AttentionCall
from medinterp.model.footprint import BEST
from medinterp.model.loading import LoadedModel


class SlotLayer(CacheLayerMixin):
    """One layer's keys and values [slots, key/value heads, length, D]; each slot is written at its own position."""

    is_compileable = True
    is_sliding = False

    def __init__(self, keys: torch.Tensor, values: torch.Tensor, position: torch.Tensor) -> None:
        """position: long [slots], where each slot is written."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.keys: torch.Tensor = keys
        self.values: torch.Tensor = values
        self._position = position
        self.is_initialized = True

    def lazy_initialization(self, *_: Any) -> None:
        """Everything is there from the start."""

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write one key and value [slots, heads, 1, D] for each slot; answers all of them."""
        position = self._position.to(key_states.device)
        index = position[:, None, None, None].expand_as(key_states)
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

    token, position, row: long [slots], what is read next, where it stands, and which row it becomes; offset: long
    [slots], how far the model's own position of a report's token lies beyond its place in the cache; least: long
    [slots], tokens before which a report does not end. keys, values: of each layer [slots, key/value heads, length, D],
    one and the same where layers share them; queries: q of each layer and row [slots, H, rows, D].
    Of the last step: logits, float32 [slots, vocabulary]; total, float32 [slots], their log-sum-exp; likeliest, long
    [slots], the token that a greedy writer takes, -1 where the model overflowed. Of every row: scores, float32
    [slots, rows, 1 + BEST], log-probabilities of the token that was taken and of the likeliest; ids, long
    [slots, rows, BEST], the likeliest.
    """

    def __init__(
        self, loaded: LoadedModel, count: int, length: int, rows: int, *, compiled: bool = False
    ) -> None:
        """length: positions of a slot, prompt and report; rows: tokens of a report, and one more; compiled: whether the
        language model's part of a step is compiled, once for each shape, when it is first run."""
        facts, device, dtype = loaded.facts, loaded.device, loaded.dtype
        self.loaded, self.count, self.length, self.rows, self.compiled = loaded, count, length, rows, compiled
        self.token, self.position, self.row, self.offset, self.least, self.likeliest = (
            torch.zeros(count, dtype=torch.long, device=device) for _ in range(6)
        )
        def zeros(layer: int, *shape: int) -> torch.Tensor:
            return torch.zeros(shape, dtype=dtype, device=loaded.layer_device(layer))

        shapes = facts.shapes
        own = [
            [
                zeros(layer, count, shapes[layer].key_value_heads, length, shapes[layer].head_dim)
                for layer in facts.own_layers
            ]
            for _ in range(2)
        ]
        self.keys, self.values = ([kept[shape.source] for shape in shapes] for kept in own)
        self.queries = [zeros(layer, count, facts.heads, rows, shape.head_dim) for layer, shape in enumerate(shapes)]
        self._held = [*own[0], *own[1]]
        vocabulary = len(loaded.head.weight)
        self.logits = torch.zeros((count, vocabulary), device=device)
        self.total = torch.zeros(count, device=device)
        self.best = torch.zeros((count, BEST), device=device), torch.zeros_like(self.token)[:, None].repeat(1, BEST)
        self.scores = torch.zeros((count, rows, 1 + BEST), device=device)
        self.ids = torch.zeros((count, rows, BEST), dtype=torch.long, device=device)
        self._language: Callable[..., Any] = loaded.language_model
        if compiled:
            self._language = torch.compile(self._language, fullgraph=True, dynamic=False)
        self._places = torch.arange(length, device=device)
        self._every = torch.arange(count, device=device)
        # An image token in the text would be an image that is not there; the model is never asked for one.
        self._never = torch.tensor(facts.never, device=device)
        ends = torch.zeros(vocabulary, dtype=torch.bool, device=device)
        ends[sorted(facts.eos_token_ids)] = True
        self._ends = ends
        self._caches: dict[tuple[int, int], Cache] = {}

    def clear(self, slot: int) -> None:
        """Forget what a slot holds: masked keys and values are still multiplied, by 0, and 0 times NaN is NaN."""
        for state in self._held:
            state[slot].zero_()

    def move(self, source: int, target: int) -> None:
        """Put what one slot holds in another's place."""
        one_each = self.token, self.position, self.row, self.offset, self.least, self.likeliest, self.total
        for state in (*self._held, *self.queries, *one_each, self.logits, *self.best, self.scores, self.ids):
            state[target] = state[source]

    def forward(self, count: int, length: int) -> None:
        """One step of the first `count` slots, of which none has reached `length`: reads `token`, writes keys, values,
        queries and what is known of the next token. A graph can replay it."""
        position = self.position[:count]
        masks = {kind: self.mask(kind, position)[:, None, None, :length] for kind in self._kinds()}
        loaded = self.loaded
        states = loaded.family.step(
            self._language,
            loaded.family.embed(loaded.model, self.token[:count, None]),
            masks,
            position_ids=(position + self.offset[:count])[:, None],
            past_key_values=self._cache(count, length),
            use_cache=True,
            attention_recorder=self,
        )
        self.logits[:count].copy_(loaded.logits(states[:, -1]))
        self.rate(slice(count))

    def rate(self, which: slice) -> None:
        """From the logits of some slots what is known of their next token: `total`, `best`, `likeliest`."""
        logits, allowed = self.logits[which], self.allowed(which)
        self.total[which].copy_(logits.logsumexp(-1))
        best = logits.topk(BEST)
        self.best[0][which].copy_(best.values)
        self.best[1][which].copy_(best.indices)
        overflowed = ~self.total[which].isfinite()
        self.likeliest[which].copy_(allowed.argmax(-1).masked_fill(overflowed, -1))

    def allowed(self, which: slice) -> torch.Tensor:
        """The logits of some slots, -inf for tokens that cannot be next: float32 [slots, vocabulary]."""
        too_soon = (self.row[which] < self.least[which])[:, None] & self._ends
        return self.logits[which].index_fill(1, self._never, -torch.inf).masked_fill(too_soon, -torch.inf)

    def take(self, count: int) -> None:
        """Keep what is known of the tokens in `token`, at each slot's own row."""
        every, row, total = self._every[:count], self.row[:count], self.total[:count, None]
        taken = self.logits[:count].gather(1, self.token[:count, None])
        self.scores[every, row] = torch.cat([taken, self.best[0][:count]], dim=1) - total
        self.ids[every, row] = self.best[1][:count]

    def observe(self, call: AttentionCall, output: torch.Tensor) -> None:
        """Keep q of one layer [slots, H, 1, D] at each slot's own row."""
        count = call.query.shape[0]
        index = self.row[:count].to(call.query.device)[:, None, None, None].expand_as(call.query)
        self.queries[call.layer][:count].scatter_(2, index, call.query)

    def mask(self, kind: str, position: torch.Tensor) -> torch.Tensor:
        """What a query at each position may see in a layer of that kind: bool [positions, length]."""
        seen = self._places <= position[:, None]
        window = self.loaded.facts.sliding_window
        if kind == "sliding_attention" and window is not None:
            seen &= self._places > position[:, None] - window
        return seen

    def _kinds(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self.loaded.facts.layer_types))

    def _cache(self, count: int, length: int) -> Cache:
        """Views of the first slots and positions, as the model takes them."""
        if (count, length) not in self._caches:
            layers = [
                SlotLayer(self.keys[k][:count, :, :length], self.values[k][:count, :, :length], self.position[:count])
                for k in self.loaded.facts.own_layers
            ]
            self._caches[count, length] = Cache(layers=list[Any](layers))
        return self._caches[count, length]
