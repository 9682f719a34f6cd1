"""What a model is asked as it reads it: its template's rendering, and where the images stand in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from medinterp.errors import ModelError, PromptError
from medinterp.types import Asked, Conversation, Film, ImageSpan, Turn, spans_by_film
from medinterp.types.conversation import GAP

if TYPE_CHECKING:
    import torch

    from medinterp.model.loading import LoadedModel

DEFAULT_PROMPT = (
    "Write a radiology report of this chest X-ray. Begin with the heading FINDINGS: and describe, each in a sentence "
    "of its own with side and zone, the devices, lungs, pleura, heart, mediastinum and bones; say what is absent as "
    "well as what is present. Then, under the heading IMPRESSION:, sum up what matters."
)
"""Of models that have none of their own. Two sections, those of MIMIC-CXR's reports, which MedGemma was trained on
(https://arxiv.org/abs/2507.05201): a longer list of headings is one that such a model seldom saw."""
DEFAULT_PRIOR = (
    " The first image is the current film, the second an earlier film of the same patient: say what has changed since."
)
"""Follows DEFAULT_PROMPT where there is a prior film."""
DEFAULT_SYSTEM = "You are an expert radiologist."
"""The instruction on MedGemma's model card; of models whose makers gave no prompt."""
INDICATION = "Indication: "
"""What an indication stands behind, on a line of its own after the prompt and an empty line."""
_HERE = 0xE000
"""Private use, so in no template: such a character stands in each text's place to see where a template puts it."""
PICTURE = "."
"""A prompt for who needs the films' cells alone."""


@dataclass(frozen=True, eq=False)
class PromptInputs:
    """One prompt as the model reads it.

    text: the rendered conversation, before image tokens are spread out; input_ids, token_type_ids: int64 [P], the
    latter 1 on image cells; pixel_values, vision: the films as the image processor made them, and what it tells of them
    by the names that the model's forward has; position_offset: how far the model's own position of a report's token
    lies beyond its place in the sequence (Qwen's rope_deltas); positions: int64 [axes, P], the model's own of the
    prompt, None where they are the places.
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


def build_prompt(loaded: LoadedModel, films: Sequence[Film], asked: Asked) -> PromptInputs:
    """Render what is asked about the films and tokenise it, with exactly one BOS where the model has one (trap 4).

    Raises PromptError for an empty prompt, for one that holds control tokens, without a film, and for a conversation
    that is none or has no place in the model's template; ModelError when the template or the processor does not write
    what the model expects.
    """
    from PIL import Image

    from medinterp.imaging import rgb8

    if not films:
        raise PromptError("at least one film is needed")
    conversation = conversation_of(loaded, asked, len(films))
    check_conversation(loaded.processor.tokenizer, conversation, len(films))
    places(loaded, conversation)
    text = rendered(loaded, conversation)
    pictures = [Image.fromarray(rgb8(film)) for film in films]
    inputs = loaded.family.read_prompt(loaded.model, loaded.processor, loaded.facts, text, pictures)
    bos = loaded.facts.bos_token_id
    begins = int((inputs.input_ids == bos).sum()) if bos is not None else 1
    if begins != 1:
        raise ModelError(f"the rendered prompt holds {begins} BOS tokens instead of one: look at the chat template")
    return inputs


def ask(
    loaded: LoadedModel,
    prompt: Asked | None = None,
    *,
    system: str | None = None,
    indication: str | None = None,
    films: int = 1,
) -> Asked:
    """What the model is asked where a prompt and its circumstances are told apart.

    prompt, system: None for the model's own (LoadedModel), "" for no instruction; indication: follows the prompt.
    Raises PromptError for a conversation with an indication or two instructions, and for an indication that the model
    does not read.
    """
    if isinstance(prompt, Conversation):
        if indication is not None or (system is not None and prompt.system is not None):
            raise PromptError("a conversation holds all its words: leave out indication, and a second instruction")
        own = loaded.system if system is None else system
        return prompt if prompt.system is not None else replace(prompt, system=own or None)
    words = default_prompt(loaded, films) if prompt is None else prompt
    if indication is not None and indication.strip():
        if not loaded.reads_indication:
            raise PromptError("this model was made for reports without an indication, and would misread one")
        words = f"{words}{GAP}{INDICATION}{indication.strip()}"
    system = loaded.system if system is None else system
    return replace(conversation_of(loaded, words, films), system=system) if system else words


def default_prompt(loaded: LoadedModel, films: int = 1) -> str:
    """What is asked where nobody says: the model's own prompt, or else DEFAULT_PROMPT."""
    return loaded.default_prompt or DEFAULT_PROMPT + (DEFAULT_PRIOR if films > 1 else "")


def known_system(loaded: LoadedModel, told: str | None) -> str:
    """The instruction that a model is given; None for DEFAULT_SYSTEM, where its chat template has a place for one.

    Raises ModelError for one that is told and has no place.
    """
    if told == "":
        return told
    try:
        places(loaded, Conversation((Turn("user", (0, PICTURE)),), PICTURE))
    except PromptError as error:
        if told is None:
            return ""
        raise ModelError(f"an instruction cannot be given to this model: {error}") from error
    return DEFAULT_SYSTEM if told is None else told


def conversation_of(loaded: LoadedModel, asked: Asked, films: int) -> Conversation:
    """A prompt as the one turn that it is."""
    return asked if isinstance(asked, Conversation) else one_turn(asked, films, image_first=loaded.image_first)


def one_turn(prompt: str, films: int, *, image_first: bool) -> Conversation:
    """A prompt and its films, these before it or behind it."""
    numbers = range(films)
    return Conversation((Turn("user", (*numbers, prompt) if image_first else (prompt, *numbers)),))


def messages(conversation: Conversation, films: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A conversation in the form that chat templates and OpenAI's protocol share; films: the part for each film."""
    told = [] if conversation.system is None else [("system", (conversation.system,))]
    turns = [*told, *((turn.role, turn.parts) for turn in conversation.turns)]

    def content(part: str | int) -> dict[str, Any]:
        return {"type": "text", "text": part} if isinstance(part, str) else dict(films[part])

    return [{"role": role, "content": [content(part) for part in parts]} for role, parts in turns]


def rendered(loaded: LoadedModel, conversation: Conversation) -> str:
    """By the model's own template, before image tokens are spread out. Raises PromptError where it refuses."""
    from jinja2 import TemplateError

    turns = messages(conversation, [{"type": "image"}] * len(conversation.films))
    try:
        return str(loaded.processor.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))
    except TemplateError:
        pass
    # Raised out here: what the template says may quote what was asked.
    raise PromptError(f"the model's chat template refuses {_beyond(conversation)}")


def places(loaded: LoadedModel, conversation: Conversation) -> list[str]:
    """What the template writes around a conversation's texts: before each, and behind the last.

    Raises PromptError where it leaves one out, writes one twice or in another order, or refuses.
    """
    marks = [chr(_HERE + k) for k in range(len(conversation.texts))]
    left = iter(marks)
    text = rendered(loaded, conversation.reworded(lambda _: next(left)))
    if [letter for letter in text if letter in marks] != marks:
        raise PromptError(f"the model's chat template has no place for {_beyond(conversation)}")
    around = []
    for mark in marks:
        before, _, text = text.partition(mark)
        around.append(before)
    return [*around, text]


def _beyond(conversation: Conversation) -> str:
    """What of a conversation a template may not know."""
    told = ["an instruction (system)"] if conversation.system is not None else []
    told += ["earlier answers"] if len(conversation.turns) > 1 else []
    return " and ".join(told) or "this order of words and films"


def check_conversation(tokenizer: Any, conversation: Conversation, films: int) -> None:
    """Raise PromptError for turns that do not alternate, films that are not these, no words, or control tokens."""
    roles = [turn.role for turn in conversation.turns]
    if not roles or roles != ["user" if k % 2 == 0 else "assistant" for k in range(len(roles))] or len(roles) % 2 == 0:
        raise PromptError("turns alternate between user and assistant, and the first and the last are the user's")
    if conversation.films != tuple(range(films)):
        raise PromptError(
            f"a conversation about {films} film(s) names each once, in their order, from 0; this one names "
            f"{list(conversation.films)}"
        )
    for turn in conversation.turns:
        if not turn.parts:
            raise PromptError("a turn is empty")
        if turn.role == "assistant" and not all(isinstance(part, str) for part in turn.parts):
            raise PromptError("a film stands in a turn of the user's")
        if any(isinstance(one, str) and isinstance(other, str) for one, other in pairwise(turn.parts)):
            raise PromptError("two texts follow each other in a turn: join them")  # a template might, to control tokens
    if not any(isinstance(part, str) for turn in conversation.turns for part in turn.parts):
        raise PromptError("the prompt is empty")
    for text in conversation.texts:
        check_prompt(tokenizer, text)


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
