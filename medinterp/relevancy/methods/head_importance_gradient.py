"""Head importance by gradient: heads count as much as the word depends on them (model/gradients.py)."""

from __future__ import annotations

from medinterp.relevancy.method import Method

METHOD = Method(
    name="head_importance_gradient",
    family="attention",
    title="Head importance (gradient)",
    meaning="Attention of all heads, each as much as the word's probability depends on its output.",
    citation="head gates of Michel et al., Are Sixteen Heads Really Better than One?, NeurIPS 2019, sec. 4.1",
    needs=frozenset(),
    on_model=True,
    signed=False,
    additive=False,
    unit="attention weight x nats",
)
