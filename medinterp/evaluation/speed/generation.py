"""Generation with capture beside plain `generate`, the same tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from medinterp.errors import ModelError
from medinterp.evaluation.speed.line import BenchLine, interleaved, seconds_line
from medinterp.evaluation.writing import default_prompts, plain_tokens
from medinterp.model.families import family_of
from medinterp.model.forcing import attention_by
from medinterp.model.given import read_given
from medinterp.model.loading import LoadedModel
from medinterp.model.slots import Slots
from medinterp.model.writer import DecodeOptions, Writer, decode, write_all
from medinterp.phantom.training.layouts import config_of, layout, processor_of
from medinterp.types import Film


def generation_lines(
    loaded: LoadedModel, films: Sequence[Film], label: str, *, tokens: int, rounds: int
) -> list[BenchLine]:
    """Times of one batch: rows and masses, `layer_attention` too, and the eager implementation with its weights.

    Raises ModelError when capture and plain generation do not write the same tokens.
    """
    prompts = default_prompts(loaded, films)
    written: dict[str, list[list[int]]] = {}

    def plain(name: str, implementation: str, **options: Any) -> Callable[[], None]:
        def run() -> None:
            with attention_by(loaded, implementation):
                written[name] = plain_tokens(loaded, prompts, **exactly(loaded, tokens), **options)

        return run

    def captured(name: str, layer_attention: bool) -> Callable[[], None]:
        def run() -> None:
            options = DecodeOptions(tokens, min_new_tokens=tokens, layer_attention=layer_attention)
            written[name] = [list(one.token_ids) for one in decode(loaded, prompts, options)]

        return run

    runs = {
        "plain": plain("plain", "sdpa"),
        "rows and masses": captured("rows and masses", False),
        "rows, masses and layer_attention": captured("rows, masses and layer_attention", True),
        "eager with output_attentions": plain(
            "eager with output_attentions", "eager", output_attentions=True, return_dict_in_generate=True
        ),
    }
    with loaded.lock, torch.no_grad():
        seconds = interleaved(runs, rounds)
    for name in ("rows and masses", "rows, masses and layer_attention"):
        if written[name] != written["plain"]:
            raise ModelError(f"{label}: generation with {name} wrote other tokens than plain generation")
    batch = f"{label}, batch {len(films)}, {tokens} tokens"
    return [
        seconds_line(f"generation with {name} / plain ({batch})", seconds["plain"], seconds[name])
        for name in runs
        if name != "plain"
    ]


def given_lines(loaded: LoadedModel, film: Film, label: str, *, tokens: int, rounds: int) -> list[BenchLine]:
    """A report of so many tokens that somebody else wrote, explained in one pass, beside writing it with capture."""
    (prompt,) = default_prompts(loaded, [film])
    options = DecodeOptions(tokens, min_new_tokens=tokens)
    written: dict[str, tuple[int, ...]] = {}

    with torch.inference_mode():
        writer = Writer(Slots(loaded, 1, prompt.length + tokens + 1, tokens + 1))

    def write() -> None:
        written["ids"] = write_all(writer, [prompt], options)[0].token_ids

    with loaded.lock:
        write()
        given = lambda: read_given(loaded, prompt, written["ids"]).decoded()  # noqa: E731 - the other side of `write`
        seconds = interleaved({"write": write, "given": given}, rounds)
    name = f"explaining a given report / writing it with capture ({label}, {tokens} tokens)"
    return [seconds_line(name, seconds["write"], seconds["given"])]


def exactly(loaded: LoadedModel, tokens: int) -> dict[str, Any]:
    """Options of `generate` under which it writes so many tokens, chosen as the capture's decoder chooses them."""
    return {
        "max_new_tokens": tokens,
        "min_new_tokens": tokens,
        "suppress_tokens": list(loaded.facts.never),
    }


def medgemma_width(
    phantom: LoadedModel,
    *,
    layers: int = 6,
    vision_layers: int = 3,
    vocabulary: int | None = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> LoadedModel:
    """A random model of MedGemma-4B's layer widths and image size; by default of few layers and phantom's vocabulary.

    It is made on the device itself, in its dtype.
    """
    from transformers import Gemma3ForConditionalGeneration

    from medinterp.model.capture import ATTENTION

    told, tokenizer = layout("MedGemma-4B"), phantom.processor.tokenizer
    # not tied: a random head of the embedding's own would repeat the last token for ever
    config = config_of(
        told,
        tokenizer,
        vision={"num_hidden_layers": vision_layers},
        num_hidden_layers=layers,
        layer_types=["f" if (k + 1) % 6 == 0 else "s" for k in range(layers)],
        vocab_size=vocabulary or phantom.model.config.text_config.vocab_size,
    )
    torch.manual_seed(0)
    model_class: Any = Gemma3ForConditionalGeneration
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            model = model_class(config).eval().requires_grad_(False)
    finally:
        torch.set_default_dtype(before)
    model.model.multi_modal_projector.mm_input_projection_weight.normal_(std=0.03)
    model.generation_config = phantom.model.generation_config
    _, processor = processor_of(told, tokenizer, phantom.processor.chat_template)
    model.set_attn_implementation({"text_config": ATTENTION})
    family = family_of(config, "the widths")
    return LoadedModel(
        model=model,
        processor=processor,
        model_id="random weights, MedGemma-4B's layer widths",
        revision="random",
        notice=None,
        default_prompt=None,
        image_first=True,
        facts=family.read_facts(model, processor),
        family=family,
    )
