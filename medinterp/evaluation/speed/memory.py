"""Peak memory of one generation, each way in a process of its own."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path

from medinterp.evaluation.speed.line import BenchLine

WAYS = ("plain", "captured", "eager")


def memory_lines(name: str, *, batch: int, tokens: int) -> list[BenchLine]:
    """What generation adds to the resident memory at its peak, with capture and by eager, beside plain."""
    peaks = {}
    script = "from medinterp.evaluation.speed.memory import main; main()"
    for way in WAYS:
        command = [sys.executable, "-c", script, name, way, str(batch), str(tokens)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        peaks[way] = int(done.stdout.split()[-1]) / 2**20
    where = f"({Path(name).name}, batch {batch}, {tokens} tokens)"
    named = {"captured": "full capture", "eager": "eager with output_attentions"}
    return [
        BenchLine(
            f"peak memory of generation with {title} / plain {where}",
            round(peaks[way] / peaks["plain"], 3),
            round(peaks["plain"], 1),
            round(peaks[way], 1),
            "MiB",
        )
        for way, title in named.items()
    ]


def _status(key: str) -> int:
    """Bytes that Linux reports of this process under a key of /proc/self/status."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) * 1024
    raise OSError(f"/proc/self/status has no {key}")


def main() -> None:
    """Generate once to warm up (few tokens), then measure the peak of a whole generation above that."""
    import torch

    from medinterp.evaluation.reading import film_of, unseen_films
    from medinterp.evaluation.speed.generation import exactly
    from medinterp.evaluation.writing import default_prompts, plain_tokens
    from medinterp.model import load_model
    from medinterp.model.forcing import attention_by
    from medinterp.model.writer import DecodeOptions, decode

    name, way, batch, tokens = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    loaded = load_model(name)
    films = [film_of(*one)[0] for one in unseen_films(batch)]
    prompts = default_prompts(loaded, films)

    def run(count: int) -> None:
        if way == "captured":
            decode(loaded, prompts, DecodeOptions(count, min_new_tokens=count, layer_attention=True))
            return
        whole = {"output_attentions": True, "return_dict_in_generate": True} if way == "eager" else {}
        with attention_by(loaded, "eager" if way == "eager" else "sdpa"):
            plain_tokens(loaded, prompts, **exactly(loaded, count), **whole)

    with loaded.lock, torch.no_grad():
        run(2)
        ctypes.CDLL(None).malloc_trim(0)  # what the warm-up freed and glibc kept would hide what is taken again
        before = _status("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts again from here
        run(tokens)
    print(_status("VmHWM") - before)


if __name__ == "__main__":
    main()
