"""What a GPU does with a layout of MedGemma's: sections that stand alone, so that one may fail and others tell."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping

import torch

from medinterp.evaluation.reading import film_of, unseen_films
from medinterp.evaluation.speed.generation import exactly, given_lines, medgemma_width
from medinterp.evaluation.speed.line import BenchLine, interleaved, seconds_line
from medinterp.evaluation.writing import default_prompts, plain_tokens
from medinterp.model import load_model
from medinterp.model.capture import AttentionCall
from medinterp.model.forcing import attention_by
from medinterp.model.gradients import edge_gradient, gradient_relevancy
from medinterp.model.integrated import integrated_edge_gradient, integrated_gradients
from medinterp.model.loading import LoadedModel
from medinterp.model.memory import free_bytes
from medinterp.model.occlusion import occlusion
from medinterp.model.prompt import PromptInputs
from medinterp.model.slots import Slots
from medinterp.model.writer import DecodeOptions, Writer, write_all

LAYOUTS: Mapping[str, tuple[int, int, int]] = {"medgemma-4b": (34, 27, 262_208), "tiny": (2, 1, 416)}
"""Language layers, vision layers and vocabulary, all of MedGemma-4B's widths; `tiny` shows on a CPU that all runs."""
TOKENS = 128
QUESTION_SHARE = 0.25
"""Of the free memory: what a question takes in the service, unless the settings say otherwise."""


def card_lines(
    layout: str, device: str, *, tokens: int = TOKENS, failed: Callable[[str, Exception], None]
) -> Iterator[BenchLine]:
    """Measure random weights of a layout, section by section; failed(section, error) is told of one that could not."""
    try:
        loaded = _loaded(layout, torch.device(device))
        films = [film_of(*one)[0] for one in unseen_films(8)]
        prompts = default_prompts(loaded, films)
    except Exception as error:
        failed("the model", error)
        return
    where = loaded.device
    label = f"{layout}, {torch.cuda.get_device_name(where) if where.type == 'cuda' else 'CPU'}"
    sections: Mapping[str, Callable[[], Iterator[BenchLine]]] = {
        "steps": lambda: _steps(loaded, prompts, label, tokens),
        "one report": lambda: _one(loaded, prompts[0], label, tokens),
        "side by side": lambda: _side_by_side(loaded, prompts, label, tokens),
        "given report": lambda: iter(given_lines(loaded, films[0], label, tokens=tokens, rounds=2)),
        "occlusion": lambda: _occlusion(loaded, prompts[0], label, tokens),
        "gradients": lambda: _gradients(loaded, prompts[0], label, tokens),
        "compiled steps": lambda: _steps(loaded, prompts, label, tokens, compiled=True),
        "one compiled report": lambda: _one(loaded, prompts[0], label, tokens, compiled=True),
    }
    for name, section in sections.items():
        try:
            yield from section()
        except Exception as error:  # whatever it is, the others still stand, and it is told
            failed(name, error)


def _loaded(layout: str, device: torch.device) -> LoadedModel:
    layers, vision_layers, vocabulary = LAYOUTS[layout]
    return medgemma_width(
        load_model("phantom", device="cpu"),
        layers=layers,
        vision_layers=vision_layers,
        vocabulary=vocabulary,
        device=device,
        dtype=torch.bfloat16 if device.type == "cuda" else torch.float32,
    )


class _Forgetful(Slots):
    """Slots that keep no queries: the writer without its capture."""

    def observe(self, call: AttentionCall, output: torch.Tensor) -> None:
        """Keep nothing."""


@torch.inference_mode()
def _writer(
    loaded: LoadedModel,
    prompts: list[PromptInputs],
    tokens: int,
    kind: type[Slots] = Slots,
    *,
    compiled: bool = False,
) -> Writer:
    """A writer with a slot for each prompt, as a replica keeps it; its steps of every shape have run."""
    length = max(prompt.length for prompt in prompts) + tokens + 1
    writer = Writer(kind(loaded, len(prompts), length, tokens + 1, compiled=compiled))
    writer.warm()
    return writer


def _steps(
    loaded: LoadedModel, prompts: list[PromptInputs], label: str, tokens: int, *, compiled: bool = False
) -> Iterator[BenchLine]:
    """One step beside one reading of the weights, and beside one that keeps no queries."""
    reading = _reading_seconds(loaded)
    for count in (1, 8):
        named = f"{label}, {count} side by side" + (", compiled" if compiled else "")
        seconds = {
            name: _step_seconds(loaded, prompts[:count], kind, tokens, compiled)
            for name, kind in {"kept": Slots, "forgotten": _Forgetful}.items()
        }
        yield _line(f"one step / one reading of the weights ({named})", reading, seconds["kept"])
        title = f"one step that keeps the queries / one that does not ({named})"
        yield _line(title, seconds["forgotten"], seconds["kept"])


@torch.inference_mode()
def _step_seconds(
    loaded: LoadedModel, prompts: list[PromptInputs], kind: type[Slots], tokens: int, compiled: bool
) -> float:
    """The median step, the choice of its tokens not counted."""
    options = DecodeOptions(tokens, min_new_tokens=tokens, layer_attention=False)
    taken = []
    with loaded.lock:
        writer = _writer(loaded, prompts, tokens, kind, compiled=compiled)
        for prompt in prompts:
            writer.admit(prompt, options)
        for _ in range(tokens):
            writer.choose()
            _wait(loaded)
            started = time.perf_counter()
            writer.step()
            _wait(loaded)
            taken.append(time.perf_counter() - started)
    return statistics.median(taken)


def _reading_seconds(loaded: LoadedModel) -> float:
    """Of the language model's weights, at the bandwidth of a copy (which reads and writes)."""
    size = sum(weight.numel() * weight.element_size() for weight in loaded.language_model.parameters())
    block = torch.empty(min(size, 2**30), dtype=torch.uint8, device=loaded.device)
    target, taken = torch.empty_like(block), []
    for _ in range(6):
        _wait(loaded)
        started = time.perf_counter()
        target.copy_(block)
        _wait(loaded)
        taken.append(time.perf_counter() - started)
    bandwidth = 2 * block.numel() / statistics.median(taken[1:])
    return float(size / bandwidth)


def _one(
    loaded: LoadedModel, prompt: PromptInputs, label: str, tokens: int, *, compiled: bool = False
) -> Iterator[BenchLine]:
    """Plain `generate`, and the writer with and without what attention flow needs; how far the tokens agree."""
    written: dict[str, list[int]] = {}

    def plain() -> None:
        with attention_by(loaded, "sdpa"):
            (written["plain"],) = plain_tokens(loaded, [prompt], **exactly(loaded, tokens))

    def captured(writer: Writer, layer_attention: bool) -> Callable[[], None]:
        def run() -> None:
            options = DecodeOptions(tokens, min_new_tokens=tokens, layer_attention=layer_attention)
            written["captured"] = list(write_all(writer, [prompt], options)[0].token_ids)

        return run

    with loaded.lock, torch.no_grad():
        own = _writer(loaded, [prompt], tokens, compiled=compiled)
        without = _writer(loaded, [prompt], tokens, _Forgetful, compiled=compiled)
        runs = {
            "plain": plain,
            "no capture": captured(without, False),
            "rows": captured(own, False),
            "all": captured(own, True),
        }
        seconds = interleaved(runs, rounds=2)
    named = f"{label}, batch 1, {tokens} tokens" + (", compiled" if compiled else "")
    yield seconds_line(f"generation with rows and masses / plain ({named})", seconds["plain"], seconds["rows"])
    title = f"generation with rows and masses / the same writer that keeps no queries ({named})"
    yield seconds_line(title, seconds["no capture"], seconds["rows"])
    yield seconds_line(f"generation with layer_attention / without ({named})", seconds["rows"], seconds["all"])
    pairs = zip(written["plain"], written["captured"], strict=True)
    same = next((place for place, (one, other) in enumerate(pairs) if one != other), tokens)
    title = f"first tokens that plain generation writes too ({named})"
    yield BenchLine(title, round(same / tokens, 4), tokens, same, "")


def _side_by_side(loaded: LoadedModel, prompts: list[PromptInputs], label: str, tokens: int) -> Iterator[BenchLine]:
    """All in the slots of one writer, at once and one after another."""
    options = DecodeOptions(tokens, min_new_tokens=tokens, layer_attention=False)
    with loaded.lock:
        writer = _writer(loaded, prompts, tokens)
        seconds = interleaved(
            {
                "in turn": lambda: [write_all(writer, [prompt], options) for prompt in prompts],
                "side by side": lambda: write_all(writer, prompts, options),
            },
            rounds=1,
        )
    named = f"{len(prompts)} films side by side / {len(prompts)} in turn ({label}, {tokens} tokens)"
    yield seconds_line(named, seconds["in turn"], seconds["side by side"])


def _occlusion(loaded: LoadedModel, prompt: PromptInputs, label: str, tokens: int) -> Iterator[BenchLine]:
    """Every cell within 8 GiB beside within 512 MiB; what was taken beside the budget, where the device counts it."""
    ids = [min(loaded.facts.eos_token_ids)] * tokens
    seconds: dict[int, float] = {}
    with loaded.lock:
        occlusion(loaded, prompt, ids, memory_bytes=512 * 2**20, block=4)  # kernels are chosen here
    for budget in (512 * 2**20, 8 * 2**30):
        before = _peak_from_here(loaded)
        started = time.perf_counter()
        with loaded.lock:
            occlusion(loaded, prompt, ids, memory_bytes=budget)
        seconds[budget] = time.perf_counter() - started
        if loaded.device.type == "cuda":
            taken = torch.cuda.max_memory_allocated(loaded.device) - before
            name = f"memory that occlusion took / its budget ({label}, {tokens} tokens)"
            yield BenchLine(name, round(taken / budget, 4), budget / 2**20, round(taken / 2**20, 1), "MiB")
    small, large = seconds.values()
    yield _line(f"occlusion of every cell within 8 GiB / within 512 MiB ({label}, {tokens} tokens)", small, large)


def _gradients(loaded: LoadedModel, prompt: PromptInputs, label: str, tokens: int) -> Iterator[BenchLine]:
    """Each gradient method within a share of the free memory: what it took of it, and integrated gradients' seconds."""
    ids = [min(loaded.facts.eos_token_ids)] * tokens
    few, some = list(range(min(4, tokens))), list(range(min(8, tokens)))
    runs: Mapping[str, Callable[[int], object]] = {
        "gradient_relevancy": lambda budget: gradient_relevancy(loaded, prompt, ids, tokens=some, memory_bytes=budget),
        "edge_gradient": lambda budget: edge_gradient(loaded, prompt, ids, memory_bytes=budget),
        "integrated_edge_gradient": lambda budget: integrated_edge_gradient(loaded, prompt, ids, memory_bytes=budget),
        "integrated_gradients": lambda budget: integrated_gradients(
            loaded, prompt, ids, tokens=few, memory_bytes=budget
        ),
    }
    reading = _reading_seconds(loaded)
    for name, run in runs.items():
        budget = int(free_bytes(loaded.device) * QUESTION_SHARE)
        with loaded.lock:
            run(budget)  # kernels are chosen here
            before = _peak_from_here(loaded)
            _wait(loaded)
            started = time.perf_counter()
            run(budget)
            _wait(loaded)
            seconds = time.perf_counter() - started
        if loaded.device.type == "cuda":
            taken = torch.cuda.max_memory_allocated(loaded.device) - before
            title = f"memory that {name} took / its budget ({label}, {tokens} tokens)"
            yield BenchLine(title, round(taken / budget, 4), round(budget / 2**20, 1), round(taken / 2**20, 1), "MiB")
        wanted = {"integrated_gradients": len(few), "gradient_relevancy": len(some)}.get(name, tokens)
        yield _line(f"{name}, a token / one reading of the weights ({label})", reading, seconds / wanted)


def _peak_from_here(loaded: LoadedModel) -> int:
    if loaded.device.type != "cuda":
        return 0
    torch.cuda.reset_peak_memory_stats(loaded.device)
    return int(torch.cuda.memory_allocated(loaded.device))


def _wait(loaded: LoadedModel) -> None:
    if loaded.device.type == "cuda":
        torch.cuda.synchronize(loaded.device)


def _line(name: str, baseline: float, value: float) -> BenchLine:
    return BenchLine(name, round(value / baseline, 4), round(baseline, 6), round(value, 6), "s")
