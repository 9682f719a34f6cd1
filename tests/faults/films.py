"""Films for many clients, each with its own."""

from __future__ import annotations

import functools

import cv2

from medinterp.phantom.films import TEST_SEEDS_START, draw_film, sample_film

WIDTH, HEIGHT = 512, 448
FIRST = TEST_SEEDS_START + 5000


@functools.cache
def film(number: int) -> bytes:
    """PNG of a synthetic film, small: drawing and decoding it is not what is measured."""
    drawn = draw_film(sample_film(FIRST + number), WIDTH, HEIGHT)
    return bytes(cv2.imencode(".png", drawn.uint8())[1])
