"""Gradient times input: nearly what occlusion takes away with one cell, from one slope (model/integrated.py)."""

from __future__ import annotations

from medinterp.relevancy.method import Method

METHOD = Method(
    name="input_x_gradient",
    family="gradient",
    title="Input x gradient",
    meaning="What the word's slope says a hidden cell would cost it, by every way from the cell to the word.",
    citation="Shrikumar et al., Not Just a Black Box, 2016; captum's InputXGradient",
    needs=frozenset(),
    on_model=True,
    signed=True,
    additive=True,
    unit="nats of log-probability",
)
