"""The chat turn that asks for a report, and where the images stand in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from medinterp.errors import ModelError, PromptError
from medinterp.types import Film, ImageSpan, spans_by_film

if TYPE_CHECKING:
    import torch

    from medinterp.model.loading import LoadedModel

DEFAULT_PROMPT = (
    "You are an expert radiologist. Read this chest radiograph and write a report with these sections, each "
    "on a line of its own and in this order: DEVICES, LUNGS, PLEURA, HEART, MEDIASTINUM, BONES, IMPRESSION. "
    "Write each section's name in capitals with a colon, then its findings in full sentences with side and "
    "zone. Say what is absent as well as what is present."
)


@dataclass(frozen=True, eq=False)
class PromptInputs:
    """One prompt as the model reads it.

    text: the rendered chat turn, before image tokens are spread out; input_ids, token_type_ids: int64 [P], the latter 1
    on image cells; pixel_values, vision: the films as the image processor made them, and what it tells of them by the
    names that the model's forward has; position_offset: how far the model's own position of a report's token lies
    beyond its place in the sequence (Qwen's rope_deltas); positions: int64 [axes, P], the model's own of the prompt,
    None where they are the places.
    """

    text: str
    input_ids: torch.Tensor
    token_type_ids: torch.Tensor
    pixel_values: torch.Tensor
    image_spans: tuple[ImageSpan, ...]
    position_offset: int = 0
    positions: torch.Tensor | None = None
    vision: Mapping[str, torch.Tensor] = field(default_factory=dict)

    @property
    def length(self) -> int:
        """P, the number of prompt tokens."""
        return int(self.input_ids.shape[0])

    @property
    def films(self) -> list[list[ImageSpan]]:
        """The spans of each film."""
        return spans_by_film(self.image_spans)

    @property
    def cells(self) -> int:
        """The number of all images' cells."""
        return sum(span.stop - span.start for span in self.image_spans)


def build_prompt(loaded: LoadedModel, films: Sequence[Film], prompt: str) -> PromptInputs:
    """Render the chat turn for the films and tokenise it, with exactly one BOS where the model has one
    (trap 4).

    Raises PromptError for an empty prompt, for one that holds control tokens, or without a film;
    ModelError when the template or the processor does not write what the model expects.
    """
    from PIL import Image

    from medinterp.imaging import rgb8

    if not films:
        raise PromptError("at least one film is needed")
    check_prompt(loaded.processor.tokenizer, prompt)
    text = chat_turn(loaded, len(films), prompt)
    pictures = [Image.fromarray(rgb8(film)) for film in films]
    inputs = loaded.family.read_prompt(loaded.model, loaded.processor, loaded.facts, text, pictures)
    bos = loaded.facts.bos_token_id
    begins = int((inputs.input_ids == bos).sum()) if bos is not None else 1
    if begins != 1:
        raise ModelError(f"the rendered prompt holds {begins} BOS tokens instead of one: look at the chat template")
    return inputs


def chat_turn(loaded: LoadedModel, images: int, prompt: str) -> str:
    """The rendered chat turn, before image tokens are spread out."""
    films: list[dict[str, str]] = [{"type": "image"}] * images
    words = [{"type": "text", "text": prompt}]
    content = [*films, *words] if loaded.image_first else [*words, *films]
    turn = [{"role": "user", "content": content}]
    return str(loaded.processor.apply_chat_template(turn, tokenize=False, add_generation_prompt=True))


def check_prompt(tokenizer: Any, prompt: str) -> None:
    """Raise PromptError when the prompt is empty or would be read as control tokens."""
    if not prompt.strip():
        raise PromptError("the prompt is empty")
    held = control_tokens(tokenizer, prompt)
    if held:
        raise PromptError(f"the prompt holds the model's control tokens: {', '.join(held)}")


def control_tokens(tokenizer: Any, text: str) -> list[str]:
    """The control tokens that a text would be read as, each once; the marks of a thought may stand in a report."""
    control = {i: token.content for i, token in tokenizer.added_tokens_decoder.items() if token.special}
    control |= dict(zip(tokenizer.all_special_ids, tokenizer.all_special_tokens, strict=True))
    return sorted({control[i] for i in tokenizer(text, add_special_tokens=False)["input_ids"] if i in control})


def find_image_spans(
    input_ids: Sequence[int], image_token_id: int, grids: Sequence[tuple[int, int]]
) -> tuple[ImageSpan, ...]:
    """Find every image's cells by the image token's id (trap 1); grids: rows and columns of each image.

    Raises ModelError unless there are as many runs as images, each contiguous and of rows * columns cells.
    """
    edges = [False, *(token == image_token_id for token in input_ids), False]
    starts = [p for p in range(len(input_ids)) if edges[p + 1] and not edges[p]]
    stops = [p + 1 for p in range(len(input_ids)) if edges[p + 1] and not edges[p + 2]]
    lengths = [stop - start for start, stop in zip(starts, stops, strict=True)]
    if lengths != [rows * columns for rows, columns in grids]:
        told = ", ".join(f"{rows} x {columns}" for rows, columns in grids)
        raise ModelError(
            f"{len(grids)} image(s) of {told} cells were put into the prompt, but runs of {lengths} image tokens came "
            "out"
        )
    spans = zip(starts, stops, grids, strict=True)
    return tuple(ImageSpan(start, stop, rows, columns) for start, stop, (rows, columns) in spans)
