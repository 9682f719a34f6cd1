"""What a model family says of itself, so that nothing else asks which family a model is of.

A position enters the language model as one row, its *entry*: the embedding, and behind it whatever else a family adds
(embeddings for each layer, features of a picture for deeper layers). An image cell's *feature* is the part of its
entry that comes from the picture, and stands first in it. The methods are as most families have them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from medinterp.errors import ModelError
from medinterp.model.facts import LayerShape, ModelFacts
from medinterp.model.prompt import PromptInputs, find_image_spans
from medinterp.types import ImageSpan


@dataclass(frozen=True, eq=False)
class FilmProcessor:
    """What loading.py and prompt.py need of a processor; the template lies beside it or in the tokenizer."""

    tokenizer: Any
    image_processor: Any
    chat_template: str | None

    def apply_chat_template(self, turns: Sequence[Mapping[str, Any]], **options: Any) -> str:
        """The rendered turns."""
        return str(self.tokenizer.apply_chat_template(turns, chat_template=self.chat_template, **options))


class Family:
    """One family; the only instances are its files' FAMILY."""

    model_class: str
    """In transformers."""
    types_name = "mm_token_type_ids"
    """What the model's forward calls the types of tokens, 1 on image cells."""
    vision_names: tuple[str, ...] = ()
    """What the image processor tells of the films and the vision tower takes, beside pixel_values."""

    def load_processor(self, source: str, options: Mapping[str, Any]) -> Any:
        """What makes model inputs of films and text; its pictures by PIL, the same with and without torchvision."""
        from transformers import AutoTokenizer
        from transformers.processing_utils import ProcessorMixin

        # A checkpoint's own processor has parts for videos and sound that need torchvision.
        tokenizer = AutoTokenizer.from_pretrained(source, **options)
        told, _ = ProcessorMixin.get_processor_dict(source, **options)
        return FilmProcessor(
            tokenizer, self.image_processor(source, options), told.get("chat_template") or tokenizer.chat_template
        )

    def image_processor(self, source: str, options: Mapping[str, Any]) -> Any:
        """The part of it that is for pictures."""
        from transformers import AutoImageProcessor

        loader: Any = AutoImageProcessor
        return loader.from_pretrained(source, backend="pil", **options)

    def language_model(self, model: Any) -> Any:
        """What has the embedding (`embed_tokens`) and the layers, each with its `self_attn`."""
        return model.model.language_model

    def read_facts(self, model: Any, processor: Any) -> ModelFacts:
        """Shapes and identifiers. Raises ModelError when model and processor do not belong together."""
        config, text = model.config, model.config.get_text_config()
        layer_types = tuple(getattr(text, "layer_types", None) or ["full_attention"] * text.num_hidden_layers)
        least, side = self.cells(model, processor)
        return ModelFacts(
            layers=text.num_hidden_layers,
            heads=text.num_attention_heads,
            hidden_size=text.hidden_size,
            shapes=self.shapes(text),
            layer_types=layer_types,
            sliding_window=text.sliding_window if "sliding_attention" in layer_types else None,
            blocks=self.blocks(text),
            image_token_id=config.image_token_id,
            never=self.never(config),
            least_cells=least,
            image_size=side,
            context_length=text.max_position_embeddings,
            bos_token_id=processor.tokenizer.bos_token_id,
            eos_token_ids=_eos_token_ids(model, processor),
            logit_cap=getattr(text, "final_logit_softcapping", None),
        )

    def cells(self, model: Any, processor: Any) -> tuple[int, int]:
        """How many cells an image has at the least, and the side of a square film as the model gets it, pixels.

        Raises ModelError where processor and model do not fit.
        """
        raise NotImplementedError

    def shapes(self, text: Any) -> tuple[LayerShape, ...]:
        """Of every layer; text: the language model's config."""
        width = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
        return tuple(LayerShape(text.num_key_value_heads, width, layer) for layer in range(text.num_hidden_layers))

    def blocks(self, text: Any) -> frozenset[str]:
        """Kinds of layers in which an image cell sees the later cells of its own image."""
        return frozenset()

    def never(self, config: Any) -> tuple[int, ...]:
        """Tokens that stand for pictures or sound: no report holds them."""
        held = (getattr(config, f"{medium}_token_id", None) for medium in ("image", "video", "audio"))
        vocabulary = config.get_text_config().vocab_size
        return tuple(sorted({int(token) for token in held if token is not None and token < vocabulary}))

    def read_prompt(
        self, model: Any, processor: Any, facts: ModelFacts, text: str, pictures: Sequence[Any]
    ) -> PromptInputs:
        """A rendered chat turn with its pictures (PIL, RGB) as the model reads it: a BOS only where the template
        writes one, or the tokenizer by itself."""
        vision = dict(processor.image_processor(images=list(pictures), return_tensors="pt"))
        pixels, grids = vision.pop("pixel_values"), self.grids(processor, vision)
        tokens = processor.tokenizer.convert_ids_to_tokens
        before, after = ("".join(tokens(list(ids))) for ids in self.around(model.config))
        image = tokens(facts.image_token_id)
        parts = text.split(image)
        if len(parts) != len(grids) + 1:
            raise ModelError(f"the chat template wrote {len(parts) - 1} images into the prompt instead of {len(grids)}")
        spread = [before + image * (rows * columns) + after for rows, columns in grids]
        whole = "".join(part + cells for part, cells in zip(parts, [*spread, ""], strict=True))
        bos = processor.tokenizer.bos_token
        ids = processor.tokenizer(whole, add_special_tokens=bos is not None and not text.startswith(bos))
        input_ids = torch.tensor(ids["input_ids"])
        types = (input_ids == facts.image_token_id).long()
        spans = find_image_spans(input_ids.tolist(), facts.image_token_id, grids)
        kept = {name: vision[name] for name in self.vision_names}
        positions, offset = self.positions(model, input_ids, types, kept)
        return PromptInputs(text, input_ids, types, pixels, spans, offset, positions, kept)

    def grids(self, processor: Any, vision: Mapping[str, Any]) -> list[tuple[int, int]]:
        """Rows and columns of each image's cells, by what the image processor tells."""
        raise NotImplementedError

    def around(self, config: Any) -> tuple[Sequence[int], Sequence[int]]:
        """Tokens that the processor writes before and behind an image's cells where the template writes one token."""
        return (), ()

    def box_scale(self, processor: Any, film: ImageSpan) -> tuple[float, float]:
        """What a film's height and width are in the coordinates of the boxes that the model writes: thousandths."""
        return 1000.0, 1000.0

    def positions(
        self, model: Any, input_ids: torch.Tensor, types: torch.Tensor, vision: Mapping[str, torch.Tensor]
    ) -> tuple[torch.Tensor | None, int]:
        """The model's own positions of a prompt [axes, P], None where they are places in the sequence; and how far
        those of the report lie beyond its places."""
        return None, 0

    def picture(self, image_processor: Any, picture: Any) -> npt.NDArray[np.float32]:
        """A picture (PIL, RGB) as the model gets it, [height, width, channels], normalised."""
        raise NotImplementedError

    def own_inputs(self, model: Any, prompts: Sequence[PromptInputs]) -> dict[str, Any]:
        """What the model's own forward and `generate` take for prompts of one length, where the model is."""
        first = prompts[0]
        vision = {name: torch.cat([one.vision[name] for one in prompts]).to(model.device) for name in first.vision}
        return {
            "input_ids": torch.stack([one.input_ids for one in prompts]).to(model.device),
            self.types_name: torch.stack([one.token_type_ids for one in prompts]).to(model.device),
            "pixel_values": torch.cat([one.pixel_values for one in prompts]).to(model.device, model.dtype),
            **vision,
        }

    def own_masks(self, model: Any, own: Mapping[str, Any]) -> dict[str, Any]:
        """What the model's own forward takes beside `own` to compute what `generate` does."""
        return {}

    def encode(self, model: Any, pixels: torch.Tensor, vision: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Features of the cells of all images, one image after the other, [cells, width]."""
        found = model.model.get_image_features(pixels, **vision, return_dict=True).pooler_output
        return found.flatten(0, 1) if isinstance(found, torch.Tensor) else torch.cat(found)

    def embed(self, model: Any, ids: torch.Tensor) -> torch.Tensor:
        """Entries of tokens, [..., width]; ids int64 [...]."""
        embeddings: torch.Tensor = self.language_model(model).embed_tokens(ids)
        return embeddings

    def entries(self, model: Any, ids: torch.Tensor, cells: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        """Entries of sequences with image cells, [B, S, width]; ids int64, cells bool [B, S]; features: of them all."""
        entries = self.embed(model, ids.masked_fill(cells, self.filler(model.config)))
        entries = torch.nn.functional.pad(entries, (0, max(0, features.shape[-1] - entries.shape[-1])))
        entries[..., : features.shape[-1]][cells] = features.to(entries.dtype)
        return entries

    def filler(self, config: Any) -> int:
        """The token that stands in an image cell's place where tokens are looked up; the image token may have none."""
        return 0

    def run(
        self, model: Any, entries: torch.Tensor, types: torch.Tensor, positions: torch.Tensor | None, **options: Any
    ) -> torch.Tensor:
        """Final states [B, S, d] of whole sequences, under the masks that the model itself makes.

        entries: [B, S, width]; types: int64 [B, S]; positions: [axes, B, S], None for places in the sequence.
        """
        states: torch.Tensor = model.model(
            inputs_embeds=entries, **{self.types_name: types}, use_cache=False, **options
        ).last_hidden_state
        return states

    def step(self, language: Any, entries: torch.Tensor, masks: Mapping[str, Any], **options: Any) -> torch.Tensor:
        """Final states [B, R, d] of some rows; language: the language model, or what it was compiled to.

        masks: of each kind of layer, bool [B or 1, 1, R, keys]; options: position_ids, past_key_values, use_cache, and
        who watches.
        """
        states: torch.Tensor = language(inputs_embeds=entries, attention_mask=masks, **options).last_hidden_state
        return states

    def post_norm(self, layer: Any) -> tuple[torch.Tensor, float] | None:
        """The norm between a layer's attention and the stream that it is added to: its factors [d] and epsilon."""
        return None

    def carried(self, model: Any) -> list[float]:
        """Of what each layer adds to the stream, the factor with which it is in the last one's."""
        return [1.0] * len(self.language_model(model).layers)


def _eos_token_ids(model: Any, processor: Any) -> frozenset[int]:
    """The ids that end a report: those of the generation config, and the tokenizer's own."""
    configured = model.generation_config.eos_token_id
    listed = configured if isinstance(configured, list) else [configured]
    ids = frozenset(int(i) for i in [*listed, processor.tokenizer.eos_token_id] if i is not None)
    if not ids:
        raise ModelError("neither generation_config.json nor the tokenizer names a token that ends the report")
    return ids
