"""Films of patients on which radiologists drew where a finding is; each data set is read from its owner's files.

Nothing is downloaded: CheXlocalize and MS-CXR are given by their owners to those who sign for them.
"""

from __future__ import annotations

from medinterp.evaluation.datasets.chexlocalize import read_chexlocalize
from medinterp.evaluation.datasets.item import GroundingItem
from medinterp.evaluation.datasets.ms_cxr import read_ms_cxr

__all__ = ["GroundingItem", "read_chexlocalize", "read_ms_cxr"]
