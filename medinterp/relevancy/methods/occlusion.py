"""Occlusion: each image cell hidden in turn (model/occlusion.py). The causal reference."""

from __future__ import annotations

from medinterp.relevancy.method import Method

METHOD = Method(
    name="occlusion",
    family="perturbation",
    title="Occlusion",
    meaning="How much less likely the word becomes when a cell is hidden: cause, not correlation.",
    citation="Zeiler & Fergus, Visualizing and Understanding Convolutional Networks, ECCV 2014, sec. 4.2",
    needs=frozenset(),
    on_model=True,
    signed=True,
    additive=True,
)
