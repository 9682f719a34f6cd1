"""Codes of findings, sides and verdicts in DICOM objects: SNOMED CT and RadLex where one means the same, else ours."""

from __future__ import annotations

import hashlib

from pydicom.sr.coding import Code

from medinterp.report.lexicon import lexicon
from medinterp.types import Finding

PRIVATE = "99MEDINTERP"
"""The scheme of our own codes (a private one begins with 99, PS3.16, 8.2)."""
ABNORMAL = Code("49755003", "SCT", "Morphologically Abnormal Structure")
DEVICE = Code("260787004", "SCT", "Physical object")
CHEST = Code("816094009", "SCT", "Chest")
SIDES = {
    "left": Code("7771000", "SCT", "Left"),
    "right": Code("24028007", "SCT", "Right"),
    "bilateral": Code("51440002", "SCT", "Bilateral"),
}
STATUSES = {
    "present": Code("52101004", "SCT", "Present"),
    "absent": Code("272519000", "SCT", "Absent"),
    "uncertain": Code("82334004", "SCT", "Indeterminate"),
}
VERDICTS = {
    "region": "Driven by the region that the map shows",
    "picture": "Driven by the picture, map no better than chance",
    "text": "Not driven by the picture",
}
MAX_MEANING = 64


def private(name: str) -> Code:
    """A code of our own: the same for the same name, at most 16 characters (SH)."""
    return Code(f"M{hashlib.sha256(name.encode()).hexdigest()[:12].upper()}", PRIVATE, name[:MAX_MEANING])


def finding_code(finding: Finding) -> Code:
    """The code of a finding's name."""
    term = lexicon().terms.get(finding.name)
    if term is not None and term.snomed is not None:
        return Code(term.snomed, "SCT", finding.name[:MAX_MEANING])
    if term is not None and term.radlex is not None:
        return Code(term.radlex, "RADLEX", finding.name[:MAX_MEANING])
    return private(finding.name)


def finding_category(finding: Finding) -> Code:
    """What kind of thing the finding is: an abnormal structure or a device."""
    term = lexicon().terms.get(finding.name)
    return DEVICE if term is not None and term.device else ABNORMAL
