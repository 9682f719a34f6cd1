"""The chat turn that asks for a report, and where the images stand in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from medinterp.errors import ModelError, PromptError
from medinterp.types import Film, ImageSpan

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

    text: the rendered chat turn, before image tokens are spread out; input_ids, token_type_ids: int64
    [P], the latter 1 on image cells; pixel_values: float32 [images, 3, size, size]; position_offset: how far the
    model's own position of a report's token lies beyond its place in the sequence (Qwen's rope_deltas).
    """

    text: str
    input_ids: torch.Tensor
    token_type_ids: torch.Tensor
    pixel_values: torch.Tensor
    image_spans: tuple[ImageSpan, ...]
    position_offset: int = 0

    @property
    def length(self) -> int:
        """P, the number of prompt tokens."""
        return int(self.input_ids.shape[0])


def build_prompt(loaded: LoadedModel, films: Sequence[Film], prompt: str) -> PromptInputs:
    """Render the chat turn for the films and tokenise it, with exactly one BOS (trap 4).

    Raises PromptError for an empty prompt, for one that holds control tokens, or without a film;
    ModelError when the template or the processor does not write what the model expects.
    """
    from PIL import Image

    from medinterp.imaging import rgb8

    if not films:
        raise PromptError("at least one film is needed")
    processor, facts = loaded.processor, loaded.facts
    check_prompt(processor.tokenizer, prompt)
    text = chat_turn(loaded, len(films), prompt)
    inputs = processor(
        text=text,
        images=[Image.fromarray(rgb8(film)) for film in films],
        # Gemma's template writes the BOS itself; the tokenizer must then not write a second one.
        add_special_tokens=not text.startswith(processor.tokenizer.bos_token),
        do_pan_and_scan=False,
        return_tensors="pt",
    )
    input_ids, token_type_ids = inputs["input_ids"][0], inputs["token_type_ids"][0]
    if not bool(((input_ids == facts.image_token_id) == (token_type_ids == 1)).all()):
        raise ModelError("the processor's token_type_ids do not mark the image cells; they would become causal")
    begins = int((input_ids == facts.bos_token_id).sum())
    if begins != 1:
        raise ModelError(f"the rendered prompt holds {begins} BOS tokens instead of one: look at the chat template")
    spans = find_image_spans(input_ids.tolist(), facts.image_token_id, len(films), facts.grid_rows, facts.grid_columns)
    return PromptInputs(text, input_ids, token_type_ids, inputs["pixel_values"], spans)


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
    input_ids: Sequence[int], image_token_id: int, images: int, rows: int, columns: int
) -> tuple[ImageSpan, ...]:
    """Find every image's cells by the image token's id (trap 1).

    Raises ModelError unless there are as many runs as images, each contiguous and of rows * columns cells.
    """
    edges = [False, *(token == image_token_id for token in input_ids), False]
    starts = [p for p in range(len(input_ids)) if edges[p + 1] and not edges[p]]
    stops = [p + 1 for p in range(len(input_ids)) if edges[p + 1] and not edges[p + 2]]
    spans = tuple(ImageSpan(start, stop, rows, columns) for start, stop in zip(starts, stops, strict=True))
    lengths = [span.stop - span.start for span in spans]
    if lengths != [rows * columns] * images:
        raise ModelError(
            f"{images} image(s) of {rows} x {columns} cells were put into the prompt, but runs of {lengths} "
            "image tokens came out"
        )
    return spans
