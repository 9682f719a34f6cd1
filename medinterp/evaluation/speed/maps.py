"""All attention methods for one report at MedGemma-4B's shape, measured on one core."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import tracemalloc

import numpy as np

from medinterp.evaluation.speed.line import BenchLine, interleaved
from medinterp.types import AttentionTrace, ImageSpan, Provenance

TOKENS, LAYERS, HEADS, LENGTH, CELLS = 200, 34, 8, 500, 256


def maps_lines() -> list[BenchLine]:
    """The lines, from a process of its own that has one core and one thread."""
    one = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
    done = subprocess.run(
        [sys.executable, "-c", "from medinterp.evaluation.speed.maps import main; main()"],
        env={**os.environ, **one},
        check=True,
        capture_output=True,
        text=True,
    )
    return [BenchLine(**json.loads(line)) for line in done.stdout.splitlines()]


def random_trace(seed: int = 0) -> AttentionTrace:
    """Random causal attention of the shape of one 200-token report by MedGemma-4B."""
    rng = np.random.default_rng(seed)
    prompt = LENGTH - TOKENS
    span = ImageSpan(20, 20 + CELLS, 16, 16)
    rows = rng.gamma(0.2, size=(TOKENS, LAYERS, HEADS, CELLS)).astype(np.float32)
    share = rng.uniform(0.05, 0.8, size=(TOKENS, LAYERS, HEADS, 1)).astype(np.float32)
    rows *= share / rows.sum(axis=-1, keepdims=True)
    mass = np.zeros((TOKENS, LAYERS, HEADS, 4), dtype=np.float32)
    mass[..., 0], mass[..., 1] = share[..., 0], 1 - share[..., 0]
    matrices = np.tril(rng.random((LAYERS, LENGTH, LENGTH), dtype=np.float32)) + np.eye(LENGTH, dtype=np.float32) * 1e-3
    matrices /= matrices.sum(axis=-1, keepdims=True)
    provenance = Provenance("random", "0", "float32", "cpu", {}, ("0",), "0", "", None, TOKENS, (), None)
    return AttentionTrace(
        image_attention=rows.astype(np.float16),
        attention_mass=mass,
        layer_attention=matrices.astype(np.float16),
        value_norm=rng.random((LAYERS, HEADS, LENGTH), dtype=np.float32),
        token_logprob=np.zeros(TOKENS, dtype=np.float32),
        image_state=np.zeros((CELLS, 8), dtype=np.float32),
        unembedding=np.zeros((TOKENS, 8), dtype=np.float32),
        image_spans=(span,),
        prompt_length=prompt,
        provenance=provenance,
    )


def trace_nbytes(trace: AttentionTrace) -> int:
    """Bytes of all arrays of a trace."""
    arrays = (getattr(trace, field.name) for field in dataclasses.fields(trace))
    return sum(array.nbytes for array in arrays if isinstance(array, np.ndarray))


def token_by_token(trace: AttentionTrace, tokens: int) -> None:
    """Rollout as it is usually written: whole N x N products, once more for every token."""
    matrices = trace.layer_attention
    assert matrices is not None
    length = matrices.shape[-1]
    eye = np.eye(length, dtype=np.float32)
    for token in range(tokens):
        joint = eye
        for matrix in matrices:
            joint = (0.5 * matrix.astype(np.float32) + 0.5 * eye) @ joint
        assert joint[trace.query_position(token)].shape == (length,)


def main() -> None:
    """Measure on one core and print a JSON line for each line of the benchmark."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    import cv2

    from medinterp.relevancy import ATTENTION_METHODS, compute_maps

    cv2.setNumThreads(1)
    trace = random_trace()
    few = 3
    seconds = interleaved(
        {
            # A copy each time: what a trace computes once and keeps is part of the work.
            "all": lambda: compute_maps(dataclasses.replace(trace), ATTENTION_METHODS),
            "flow": lambda: compute_maps(dataclasses.replace(trace), ["attention_flow"]),
            "usual": lambda: token_by_token(trace, few),
        },
        3,
    )
    every, flow, usual = (float(np.median(seconds[name])) for name in ("all", "flow", "usual"))
    usual *= TOKENS / few
    shape = f"T {TOKENS}, L {LAYERS}, H {HEADS}, N {LENGTH}, one core"
    tracemalloc.start()
    compute_maps(dataclasses.replace(trace), ATTENTION_METHODS)
    extra = tracemalloc.get_traced_memory()[1]
    held, count = trace_nbytes(trace), len(ATTENTION_METHODS)
    lines = [
        BenchLine(f"all {count} attention methods / N x N rollout ({shape})", every / usual, usual, every, "s"),
        BenchLine(f"attention flow / N x N rollout ({shape})", flow / usual, usual, flow, "s"),
        BenchLine(
            f"peak memory, trace included / trace ({shape})",
            (held + extra) / held,
            held / 2**20,
            (held + extra) / 2**20,
            "MiB",
        ),
    ]
    for line in lines:
        rounded = {name: round(v, 5) if isinstance(v, float) else v for name, v in dataclasses.asdict(line).items()}
        print(json.dumps(rounded))


if __name__ == "__main__":
    main()
