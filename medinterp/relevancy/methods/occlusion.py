"""Occlusion: each image cell hidden in turn (model/occlusion.py). The causal reference."""

from __future__ import annotations

from medinterp.relevancy.method import Method, Setting

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
    settings=(
        Setting("every cell (exact)", "Each cell is hidden by itself."),
        Setting("coarse to fine (fast)", "Blocks, then each cell of the strongest tenth.", {"coarse_to_fine": True}),
        Setting("2 x 2 blocks", "A block's cells share what it is worth.", {"block": 2}),
        Setting("4 x 4 blocks", "A block's cells share what it is worth.", {"block": 4}),
    ),
    unit="nats of log-probability",
    layers="the whole model",
)
