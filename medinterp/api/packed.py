"""Maps packed for a browser, as an answer."""

from __future__ import annotations

from collections.abc import Sequence

from medinterp.api.schema_packed import PackedMapsModel, RangesModel
from medinterp.types import MapPack, Word
from medinterp.view.packs import packed


def packed_maps(report_id: str, pack: MapPack, words: Sequence[Word]) -> PackedMapsModel:
    """A method's maps of every token, float16 [tokens, rows, columns] with one scale for all (medinterp.view.packs)."""
    maps = packed(pack, words)
    _, rows, columns = maps.tokens.shape
    return PackedMapsModel(
        id=report_id,
        method=pack.method,
        image=pack.image,
        rows=rows,
        columns=columns,
        signed=pack.signed,
        additive=pack.additive,
        notes=pack.notes,
        tokens=maps.tokens,
        scale=maps.scale,
        disagreement=maps.disagreement,
        disagreement_scale=maps.disagreement_scale,
        ranges=RangesModel.model_validate(maps.ranges),
        members=pack.members,
        options=dict(pack.options),
        sinks=pack.sinks,
    )
