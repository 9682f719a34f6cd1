"""Consensus: where methods of independent kinds agree, and how far they do not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from medinterp.errors import MissingEvidenceError
from medinterp.relevancy.method import Method
from medinterp.relevancy.ranks import cell_ranks
from medinterp.types import MapPack


def combine(members: Mapping[str, MapPack]) -> MapPack:
    """The mean of the members' cell ranks, 0..1, and their spread, float32 [T, rows, columns] each.

    members: one method of each family. Raises MissingEvidenceError for fewer than two: readings of the same
    rows agree with each other, and that says nothing.
    """
    if len(members) < 2:
        raise MissingEvidenceError(
            "consensus needs methods of at least two families (attention, propagation, gradient, perturbation); "
            f"there is only {', '.join(members) or 'none'}"
        )
    packs: Sequence[MapPack] = list(members.values())
    shape = packs[0].values.shape
    ranks = np.stack([cell_ranks(pack.values.reshape(shape[0], shape[1] * shape[2])) for pack in packs])
    names = ", ".join(members)
    notes = [
        f"consensus of {names}: mean rank of each cell, not attention; "
        "their disagreement is the standard deviation of the ranks"
    ]
    notes += [f"{pack.method}: {note}" for pack in packs for note in pack.notes]
    return MapPack(
        method="consensus",
        values=ranks.mean(axis=0).reshape(shape).astype(np.float32),
        signed=False,
        additive=False,
        notes=tuple(notes),
        members=tuple(members),
        image=packs[0].image,
        disagreement=ranks.std(axis=0).reshape(shape).astype(np.float32),
    )


METHOD = Method(
    name="consensus",
    family="consensus",
    title="Consensus",
    meaning="Cells that methods of independent kinds rank high, beside how far the methods disagree.",
    citation="mean rank, Borda 1781; members of one family count once (this library)",
    needs=frozenset({"image_attention", "layer_attention"}),
    combine=combine,
    unit="mean rank, 0 to 1",
    layers="those of its members",
)
