"""Gradient times input: what occlusion takes away with one cell, to first order (model/integrated.py)."""

from __future__ import annotations

from medinterp.relevancy.method import Method

METHOD = Method(
    name="input_x_gradient",
    family="gradient",
    title="Input x gradient",
    meaning="First-order loss of the word when a cell is hidden, by every way that leads from the cell to the word.",
    citation="Shrikumar et al., Not Just a Black Box, 2016; captum's InputXGradient",
    needs=frozenset(),
    on_model=True,
    signed=True,
    additive=True,
)
