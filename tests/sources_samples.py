"""Text sources, maps by head and reliance of the sample report, made by hand."""

from __future__ import annotations

import numpy as np

from medinterp.types import BoxMap, BoxVerdict, HeadMaps, Reliance, TextSources


def sample_text_sources(tokens: tuple[int, ...] = (2, 3)) -> TextSources:
    """Of "effusion" in the sample: numbers that float32 holds exactly; the prompt is "Describe the film."."""
    return TextSources(
        token_indices=tokens,
        logprob=-1.25,
        film_attention=(0.25, 0.125),
        film_gradient=(1.5, -0.5),
        first_token_attention=0.125,
        template_attention=0.0625,
        template_gradient=-0.25,
        punctuation_attention=0.0625,
        punctuation_gradient=0.75,
        prompt_spans=((0, 8), (9, 12), (13, 17)),
        prompt_attention=np.array([0.0625, 0.03125, 0.03125], np.float32),
        prompt_gradient=np.array([0.5, -0.125, 0.0], np.float32),
        report_attention=np.array([0.125, 0.125, 0.0], np.float32),
        report_gradient=np.array([-2.0, 0.25, 0.0], np.float32),
    )


def sample_heads(tokens: tuple[int, ...] = (2, 3), image: int = 0) -> HeadMaps:
    """Two layers of three heads on 4 x 5 cells, as small as attention on one of many cells is."""
    maps = np.random.default_rng(9).random((2, 3, 4, 5)).astype(np.float32) * np.float32(1e-4)
    return HeadMaps(tokens, image, maps.sum(axis=(2, 3)), maps, ("sliding_attention", "full_attention"), 32)


def sample_reliance() -> Reliance:
    """Of the sample's three words with a blank film and two others: numbers that float32 holds exactly."""
    drops = np.array([[0.0, 2.5, 0.25], [0.5, 3.0, -0.125], [-0.25, 4.5, 0.0]], np.float32)
    logprob = np.array([-0.25, -1.25, -1.5], np.float32)
    return Reliance(("blank", "one", "other"), logprob, drops[0], drops[1:], drops[1:].max(axis=0))


def sample_box_verdicts() -> tuple[BoxVerdict, ...]:
    """Of one box: numbers that JSON holds exactly."""
    own = BoxMap((2, 3), 4.5, 0.25, 0.125, (0.75, 0.5), False)
    return (BoxVerdict(0, own, None, "elsewhere", "Says here, looked there."),)
