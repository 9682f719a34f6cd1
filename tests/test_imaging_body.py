"""What of a film is body, and where markers stand, against the films that were drawn."""

from __future__ import annotations

import cv2
import numpy as np

from medinterp.imaging.body import body_mask, share_by_cell
from medinterp.imaging.markers import marker_boxes, reduced_copy
from medinterp.phantom.films import draw_film, sample_film
from medinterp.phantom.shortcut import sample_shortcut_film, shortcut_masks

WIDTH, HEIGHT = 480, 600


def test_markers_are_boxed_and_stand_outside_the_body_and_nodules_are_none() -> None:
    with_marker = 0
    for seed in range(70_000, 70_012):
        film = sample_shortcut_film(seed, 0.95)
        drawing = draw_film(film, WIDTH, HEIGHT)
        pixels, marker = drawing.uint8(), shortcut_masks(film, drawing).marker
        boxes = marker_boxes(reduced_copy(pixels))
        if not marker.any():
            assert boxes == ()
            continue
        with_marker += 1
        ((left, top, right, bottom, text),) = boxes
        rows, columns = np.flatnonzero(marker.any(axis=1)), np.flatnonzero(marker.any(axis=0))
        drawn = (columns[0] / WIDTH, rows[0] / HEIGHT, (columns[-1] + 1) / WIDTH, (rows[-1] + 1) / HEIGHT)
        assert np.allclose((left, top, right, bottom), drawn, atol=0.01) and text == "L"
        body = cv2.resize(body_mask(pixels).astype(np.uint8), (WIDTH, HEIGHT), interpolation=cv2.INTER_NEAREST)
        assert body[marker].mean() < 0.05
    assert with_marker >= 4


def test_lungs_and_findings_are_body_and_the_air_above_the_shoulders_is_not() -> None:
    for seed in range(81_000, 81_006):
        drawing = draw_film(sample_film(seed), WIDTH, HEIGHT)
        body = body_mask(drawing.uint8())
        shares = share_by_cell(body, 16, 16)
        assert shares.shape == (16, 16) and shares.min() >= 0 and shares.max() <= 1
        assert shares[6:12, 3:13].min() == 1.0 and shares[0, 0] == shares[0, -1] == 0.0
        for mask in drawing.masks:
            here = cv2.resize(body.astype(np.uint8), (WIDTH, HEIGHT), interpolation=cv2.INTER_NEAREST)
            assert here[mask].mean() > 0.97
    assert not body_mask(np.zeros((64, 64), np.uint8)).any()


def test_words_are_boxed_as_one_and_have_no_letter() -> None:
    pixels = np.full((800, 700), 20, np.uint8)
    cv2.putText(pixels, "PORTABLE", (60, 90), cv2.FONT_HERSHEY_SIMPLEX, 1.2, 255, 4)
    cv2.circle(pixels, (90, 400), 18, 200, -1)
    ((left, top, right, bottom, text),) = marker_boxes(reduced_copy(pixels))
    assert text == "" and left < 0.1 and right > 0.33 and top < 0.09 and bottom > 0.11
