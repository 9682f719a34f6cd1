"""Decoding a large film in a worker process, measured on one core."""

from __future__ import annotations

import asyncio
import dataclasses
import io
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from medinterp.evaluation.speed.line import BenchLine, interleaved, seconds_line
from medinterp.imaging import read_film, rgb8
from medinterp.imaging.workers import DecodingPool
from medinterp.types import Film

HEIGHT, WIDTH = 3000, 2500
MODEL_SIZE = 896
"""MedGemma's."""


def decoding_lines() -> list[BenchLine]:
    """The lines, from a process of its own that has one core and shares it with its worker."""
    one = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
    done = subprocess.run(
        [sys.executable, "-c", "from medinterp.evaluation.speed.decoding import main; main()"],
        env={**os.environ, **one},
        check=True,
        capture_output=True,
        text=True,
    )
    return [BenchLine(**json.loads(line)) for line in done.stdout.splitlines()]


def dicom_film(height: int, width: int, seed: int = 1) -> bytes:
    """A synthetic film as an uncompressed 16-bit DICOM."""
    from medinterp.phantom.files import write_dicom
    from medinterp.phantom.films import draw_film, sample_film

    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "film.dcm"
        write_dicom(draw_film(sample_film(seed), width, height).uint16(), path)
        return path.read_bytes()


def processed(film: Film, processor: Any) -> None:
    """The film as gray of 8 bits for display, and from it what the model gets."""
    from PIL import Image

    processor(images=[Image.fromarray(rgb8(film))], do_pan_and_scan=False, return_tensors="pt")


def measured(height: int, width: int, rounds: int) -> list[BenchLine]:
    """By a worker beside pydicom's way to gray and the same in this process; then on to display and model input."""
    import cv2
    import pydicom
    from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut
    from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil

    cv2.setNumThreads(1)
    data = dicom_film(height, width)
    processor = Gemma3ImageProcessorPil(size={"height": MODEL_SIZE, "width": MODEL_SIZE})
    pool = DecodingPool()

    def plain() -> None:
        dataset = pydicom.dcmread(io.BytesIO(data))
        gray = apply_voi_lut(apply_modality_lut(dataset.pixel_array, dataset), dataset)
        assert gray.shape == (height, width)

    with asyncio.Runner() as runner:

        def by_worker() -> Film:
            return runner.run(pool.read(data))

        try:
            if not np.array_equal(by_worker().pixels, read_film(data).pixels):
                raise AssertionError("a worker's film is not the film")
            seconds = interleaved(
                {
                    "pydicom": plain,
                    "here": lambda: read_film(data),
                    "worker": by_worker,
                    "all": lambda: processed(by_worker(), processor),
                },
                rounds,
            )
        finally:
            pool.close()
    what = f"({height:,} x {width:,}, 16 bits, one core)"
    compared = (
        ("to film by a worker / pydicom's pixels, rescaled and windowed", "pydicom", "worker"),
        ("to film by a worker / in this process", "here", "worker"),
        ("to film by a worker, display and model input / pydicom's pixels, rescaled and windowed", "pydicom", "all"),
    )
    return [
        seconds_line(f"DICOM {name} {what}", seconds[baseline], seconds[value]) for name, baseline, value in compared
    ]


def main() -> None:
    """Measure on one core and print a JSON line for each line of the benchmark."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    for line in measured(HEIGHT, WIDTH, rounds=7):
        print(json.dumps(dataclasses.asdict(line)))


if __name__ == "__main__":
    main()
