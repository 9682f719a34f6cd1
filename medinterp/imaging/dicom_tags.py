"""What a DICOM's header says that the film is: no frontal chest film, said before anybody looks."""

from __future__ import annotations

from pydicom.dataset import Dataset

from medinterp.imaging.dicom_values import term, terms
from medinterp.types import FilmWarning

PROJECTION = frozenset({"CR", "DX", "DR", "RG", "XR", "RF", "XA", "SC", "OT", ""})
CHEST = ("CHEST", "THORA", "TORA", "LUNG", "RIB", "PULM", "HEART", "CLAVIC", "STERN", "BRUST", "POUMON")
LATERAL = frozenset({"LL", "RL", "LATERAL", "LAT", "LLD", "RLD", "LEFT LATERAL", "RIGHT LATERAL", "ML", "LM"})
OBLIQUE = frozenset({"LLO", "RLO", "LAO", "RAO", "LPO", "RPO", "OBLIQUE"})
PARTS = frozenset(
    "ABDOMEN ABDOMENPELVIS ADRENAL ANKLE AORTA ARM AXILLA BACK BLADDER BRAIN BREAST BUTTOCK CALCANEUS CALF CAROTID "
    "CEREBELLUM CERVIX CHEEK COLON CSPINE CTSPINE ELBOW ESOPHAGUS EXTREMITY EYE EYELID FACE FEMUR FINGER FOOT "
    "FOREARM GALLBLADDER HAND HEAD HEADNECK HIP HUMERUS ILEUM ILIUM JAW KIDNEY KNEE LEG LIVER LSPINE LSSPINE MANDIBLE "
    "MAXILLA MOUTH NECK NOSE ORBIT PANCREAS PELVIS PENIS PROSTATE RADIUS RECTUM SCALP SCROTUM SHOULDER SKULL SPINE "
    "SPLEEN SSPINE STOMACH TESTIS THIGH THUMB THYROID TLSPINE TOE TONGUE TSPINE ULNA UTERUS VAGINA VULVA WRIST "
    "WHOLEBODY".split()
)
"""Defined terms of PS3.16, annex L, that may be quoted; any other text might be anything."""


def doubts_of_header(dataset: Dataset) -> tuple[FilmWarning, ...]:
    """Warnings of the header alone; a report on what is no frontal chest film is withheld."""
    warnings = []
    modality = term(dataset, "Modality")
    if modality not in PROJECTION:
        told = f"This is no radiograph: Modality (0008,0060) is {modality[:4]}."
        warnings.append(FilmWarning("modality", told, withholds=True))
    part = term(dataset, "BodyPartExamined")
    if part and not any(name in part for name in CHEST):
        named = part if part in PARTS else "another part"
        told = f"This is no chest film: BodyPartExamined (0018,0015) is {named}."
        warnings.append(FilmWarning("body-part", told, withholds=True))
    view = term(dataset, "ViewPosition")
    planes = {direction[:1] for direction in terms(dataset, "PatientOrientation")}
    if view in LATERAL or (planes & {"A", "P"}):
        told = "This is a lateral film by its header (ViewPosition, PatientOrientation); frontal ones are read."
        warnings.append(FilmWarning("lateral", told, withholds=True))
    elif view in OBLIQUE:
        told = f"This is an oblique film: ViewPosition (0018,5101) is {view}; frontal ones are read."
        warnings.append(FilmWarning("oblique", told, withholds=True))
    if term(dataset, "PresentationIntentType") == "FOR PROCESSING":
        told = "This is a detector's raw picture (FOR PROCESSING): its gray values are not those of a film."
        warnings.append(FilmWarning("for-processing", told))
    return tuple(warnings)
