"""What of a model fits a device, with which settings, and how long a report may take: by footprint.py's arithmetic."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from medinterp.model import footprint
from medinterp.model.footprint import Layout

GIB = 2**30
LENGTHS = (2048, 1024, 768)
"""Positions of a slot that are tried, the longest first."""
WRITER_SHARE, QUESTION_SHARE = 0.5, 0.25
"""Of the memory that is free once the model is loaded: `writer.memory_share`, `questions.memory_share`."""
RUNTIME = GIB // 2
"""Of a GPU: CUDA's context and the libraries' workspaces, which no tensor of ours is."""
REPORT_TOKENS = 128
"""Of the report whose seconds are told."""
GRAPH_S, COMPILED_S = 8.0e-3 / 34, 2.8e-3 / 34
"""Of a step, seconds a layer beside reading the weights: measured on one H100 with MedGemma-4B's 34 layers, where it
takes 10.3 ms as a graph and 5.16 ms compiled, and reading 7.8 GB at the data sheet's 3,350 GB/s 2.3 ms. What small
kernels wait for each other is about the same on other GPUs; it is not known of them."""


@dataclass(frozen=True)
class Gpu:
    """gib: of memory, as the driver shows it; gb_per_s: of its memory, by the maker's data sheet; None: not known.
    bfloat16: whether it computes in it."""

    name: str
    gib: float
    gb_per_s: float | None = None
    bfloat16: bool = True


GPUS = (
    Gpu("H200", 140.4, 4800),
    Gpu("H100 SXM", 79.6, 3350),
    Gpu("A100 80 GB", 80.0, 2039),
    Gpu("A100 40 GB", 40.0, 1555),
    Gpu("L40S", 45.0, 864),
    Gpu("RTX 4090", 24.0, 1008),
    Gpu("L4", 22.5, 300),
    Gpu("T4", 15.0, 320, bfloat16=False),
)
"""NVIDIA's data sheets; the H100's and H200's are those of the SXM modules."""


@dataclass(frozen=True)
class Fit:
    """How a model goes on one device, or on several of one kind.

    weights, slot, questions: bytes: of all weights, of one slot with its evidence, and what occlusion and gradients may
    take; report_s, compiled_s: seconds of REPORT_TOKENS tokens, the film and the prompt not counted (None: not known);
    least: by method, the bytes that its smallest piece takes; withheld: methods whose smallest piece is more.
    """

    device: str
    devices: int
    dtype: str
    quantization: str | None
    weights: int
    slots: int
    length: int
    slot: int
    questions: int
    report_s: float | None
    compiled_s: float | None
    least: Mapping[str, int]
    withheld: tuple[str, ...]


def fits(
    layouts: Mapping[tuple[int, str | None], Layout],
    gpus: Sequence[Gpu],
    *,
    prompt_tokens: int,
    context_length: int,
    slots: int = 8,
    max_length: int | None = None,
    quantization: str | None = None,
) -> Fit | None:
    """The best way to run a model on GPUs of one kind, or None where there is none.

    layouts: of a model, by bytes of a number and quantisation. As saved before 8 bits before 4, one GPU before several,
    a long slot before a short one; a given quantization or max_length is kept.
    """
    kinds = (quantization,) if quantization else (None, "8bit", "4bit")
    lengths = (max_length,) if max_length else LENGTHS
    for kind in kinds:
        for count in range(1, len(gpus) + 1):
            gpu = min(gpus[:count], key=lambda one: one.gib)
            itemsize = 2 if gpu.bfloat16 else 4
            for length in lengths:
                fit = _on(layouts[itemsize, kind], gpu, count, kind, prompt_tokens, min(length, context_length), slots)
                if fit is not None:
                    return fit
    return None


def _on(
    layout: Layout, gpu: Gpu, count: int, quantization: str | None, prompt_tokens: int, length: int, slots: int
) -> Fit | None:
    free = int(gpu.gib * GIB) * count - RUNTIME * count - layout.weights - footprint.metric_bytes(layout)
    rows = length - layout.cells + 1
    if free <= 0 or length <= prompt_tokens:
        return None
    evidence = 2 * layout.layers * length**2  # room.py counts the prompt's rows with a slot
    slot = footprint.slot_bytes(layout, layout.itemsize, layout.vocabulary, length, rows) + evidence
    made = min(slots, int(free * WRITER_SHARE) // slot)
    if made < 1 or free - made * slot < footprint.vision_bytes(layout, 1):
        return None
    questions = int((free - made * slot) * QUESTION_SHARE)
    report = min(REPORT_TOKENS, length - prompt_tokens)
    least = dict(_least(layout, prompt_tokens, report))
    step = None if gpu.gb_per_s is None else layout.linear / (gpu.gb_per_s * 1e9)
    return Fit(
        device=gpu.name,
        devices=count,
        dtype="bfloat16" if gpu.bfloat16 else "float32",
        quantization=quantization,
        weights=layout.weights,
        slots=made,
        length=length,
        slot=slot,
        questions=questions,
        report_s=None if step is None else REPORT_TOKENS * (step + layout.layers * GRAPH_S),
        compiled_s=None if step is None else REPORT_TOKENS * (step + layout.layers * COMPILED_S),
        least=least,
        withheld=tuple(name for name, taken in least.items() if taken > free - made * slot),
    )


def _least(layout: Layout, prompt_tokens: int, report: int) -> Iterator[tuple[str, int]]:
    """The smallest piece of each method that asks the model again: one picture, one row, one copy, one point."""
    yield "occlusion", footprint.occlusion_bytes(layout, prompt_tokens, report, 1)
    yield "edge_gradient", footprint.edge_gradient_bytes(layout, prompt_tokens, 1)
    yield "gradient_relevancy", footprint.gradient_relevancy_bytes(layout, prompt_tokens, report - 1, 1)
    yield "integrated_gradients", footprint.integrated_bytes(layout, prompt_tokens, report, 1)


def settings_lines(name: str, fit: Fit, *, revision: str | None = None, adapter: str | None = None) -> list[str]:
    """What to change in serve_config.yaml, under `args` of the application `api`."""
    model = [f"name: {name}"]
    model += [f"revision: {revision}"] if revision else []
    model += [f"adapter: {adapter}"] if adapter else []
    model += [f"dtype: {fit.dtype}", f"device: {'cpu' if fit.device == 'CPU' else 'cuda'}"]
    model += [f"quantization: {fit.quantization}"] if fit.quantization else []
    model += [f"gpus: {fit.devices}"] if fit.devices > 1 else []
    return [
        "model:",
        *(f"  {line}" for line in model),
        "writer:",
        "  kind: slots",
        f"  max_slots: {fit.slots}",
        f"  max_length: {fit.length}",
    ]
