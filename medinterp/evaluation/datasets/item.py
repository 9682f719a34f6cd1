"""One finding drawn on one film, and what its label is called in a report."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from medinterp.types import BoolArray

_OPACITIES = (
    "opacity",
    "airspace disease",
    "infiltrate",
    "consolidation",
    "interstitial opacity",
    "interstitial lung disease",
    "pneumonia",
)
REPORT_NAMES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        # The label holds the heart's: an enlarged heart enlarges the silhouette of heart and mediastinum.
        "Enlarged Cardiomediastinum": ("mediastinal widening", "cardiomegaly"),
        "Cardiomegaly": ("cardiomegaly",),
        "Lung Lesion": ("nodule", "cavity", "malignancy"),
        "Airspace Opacity": _OPACITIES,
        "Lung Opacity": _OPACITIES,
        "Edema": ("edema", "vascular congestion", "heart failure"),
        "Consolidation": ("consolidation",),
        "Pneumonia": ("pneumonia", "consolidation", "infiltrate", "airspace disease"),
        "Atelectasis": ("atelectasis",),
        "Pneumothorax": ("pneumothorax", "hydropneumothorax"),
        "Pleural Effusion": ("pleural effusion", "hydropneumothorax", "blunted costophrenic angle"),
        "Support Devices": (
            "tube",
            "nasogastric tube",
            "chest tube",
            "tracheostomy",
            "pacemaker",
            "defibrillator",
            "central venous catheter",
            "PICC",
            "port",
            "dialysis catheter",
            "pulmonary artery catheter",
            "catheter",
            "intra-aortic balloon pump",
            "ventricular assist device",
            "prosthetic valve",
            "implanted device",
        ),
    }
)
"""Label of CheXlocalize or MS-CXR -> the names of `medinterp.report.lexicon` that a report gives it.

Labels are those of the CheXpert labeller (Irvin et al., AAAI 2019), wider than a report's names.
"""


@dataclass(frozen=True, eq=False)
class GroundingItem:
    """A film, what was found on it, and where.

    image: the film's file; label: the data set's name of the finding (a key of REPORT_NAMES); phrase: the sentence
    that the radiologist tied to the place, or None where there is only a label; size: height and width of the film
    in pixels; draw: makes the mask.
    """

    image: Path
    label: str
    phrase: str | None
    size: tuple[int, int]
    draw: Callable[[], BoolArray] = field(repr=False)

    @property
    def mask(self) -> BoolArray:
        """Where the finding is, bool [height, width]; drawn anew each time, for a thousand do not fit in memory."""
        return self.draw()
