"""Names of chest findings, and the words for side and zone."""

from __future__ import annotations

import re

_HEART = (
    r"(?:(?:heart|cardiac|cardiomediastinal|cardiopericardial)"
    r"(?:[ ](?:size|shadow|silhouette|contour))?)"
)
_DEGREE = (
    r"(?:not|no[ ]longer|now|again|still|also|mildly|moderately|severely|markedly|slightly|minimally|grossly|"
    r"significantly|somewhat|borderline|definitely|clearly|normal[ ]and|stably|and)"
)
_BE = r"(?:is|are|was|were|appears|appear|looks|seems|remains)"
_GAP = r"(?:[\w'-]+[ ]){0,6}?"

# Canonical name -> patterns. At one place the longest match wins, then the earlier entry.
_TERMS: dict[str, tuple[str, ...]] = {
    "nodule": (
        r"(?:(?:lung|pulmonary)[ ])?(?:nodules?|mass(?:es)?(?![ ]effect))",
        r"coin[ ]lesions?",
        r"(?:nodular|rounded|round)[ ](?:opacit(?:y|ies)|densit(?:y|ies)|lesions?|shadows?)",
    ),
    "consolidation": (
        r"consolidations?",
        r"consolidated",
        r"(?:air[ -]?space[ ])?(?:opacit(?:y|ies)|opacifications?)",
        r"air[ -]?space[ ]disease",
        r"infiltrat(?:es?|ions?)",
    ),
    "pleural effusion": (
        r"(?:pleural[ ])?effusions?",
        r"pleural[ ]fluid",
        r"(?:hydro|ha?emo)thorax",
        r"blunt(?:ing[ ]of|ed)[ ](?:the[ ])?(?:(?:left|right)[ ])?(?:lateral[ ])?"
        + r"costophrenic[ ](?:angles?|sulc(?:us|i))",
        r"costophrenic[ ](?:angle|sulcus)[ ]blunting",
    ),
    "pericardial effusion": (r"pericardial[ ]effusions?",),
    "pneumothorax": (r"pneumothora(?:x|xes|ces)",),
    "hydropneumothorax": (r"hydropneumothora(?:x|ces)",),
    "atelectasis": (r"atelecta(?:sis|ses|tic)(?:[ ](?:bands?|changes?))?",),
    "cardiomegaly": (
        r"cardiomegaly",
        r"(?:enlarged|large)[ ](?:heart|cardiac[ ](?:silhouette|shadow)|cardiomediastinal[ ]silhouette)",
        rf"enlargement[ ]of[ ](?:the[ ])?{_HEART}",
        rf"{_HEART}[ ]enlargement",
        rf"{_HEART}(?:[ ]{_BE})?(?:[ ]{_DEGREE})*[ ](?:enlarged|increased)(?:[ ]in[ ]size)?",
        r"(?:increased|enlarged)[ ]cardio-?thoracic[ ](?:ratio|index)",
        rf"cardio-?thoracic[ ](?:ratio|index)(?:[ ]{_BE})?(?:[ ]{_DEGREE})*[ ](?:increased|enlarged)",
    ),
    "rib fracture": (
        r"ribs?[ ]fractures?",
        rf"fractures?[ ](?:of|in|through|involving|at)[ ]{_GAP}ribs?",
        rf"(?:fractured|broken)[ ]{_GAP}ribs?",
        rf"ribs?[ ]{_BE}(?:[ ](?:not|no[ ]longer))?[ ](?:fractured|broken)",
    ),
    "fracture": (r"fractures?",),
    "tube": (r"(?:(?:endotracheal|tracheal|et|breathing)[ ])?tubes?", r"ett"),
    "nasogastric tube": (
        r"(?:nasogastric|orogastric|nasoenteric|enteric|enteral|feeding|gastric|ng|og|dobb?hoff)[ ]tubes?",
    ),
    "chest tube": (
        r"(?:chest|pleural|thoracostomy|intercostal)[ ](?:tubes?|drains?|catheters?)",
        r"pigtail[ ]catheters?",
    ),
    "tracheostomy": (r"tracheostomy(?:[ ](?:tube|cannula))?",),
    "pacemaker": (
        r"(?:cardiac[ ])?pace-?makers?(?:[ ](?:leads?|generators?|devices?|box(?:es)?))?",
        r"pacers?",
        r"pacing[ ](?:devices?|leads?|wires?|systems?)",
        r"(?:cardiac[ ])?pulse[ ]generators?",
        r"icd",
        r"implantable[ ]cardioverter[ -]defibrillators?",
    ),
    "central venous catheter": (
        r"central[ ](?:venous[ ])?(?:catheters?|lines?)",
        r"picc(?:[ ]lines?)?",
        r"port-?a-?cath",
        r"(?:jugular|subclavian)[ ](?:venous[ ])?(?:catheters?|lines?)",
        r"swan-?ganz(?:[ ]catheters?)?",
    ),
    "sternotomy wires": (r"(?:median[ ])?sternotomy(?:[ ]wires?)?", r"sternal[ ]wires?"),
    "edema": (r"(?:(?:pulmonary|interstitial|alveolar)[ ])*o?edema",),
    "vascular congestion": (r"(?:pulmonary[ ])?(?:vascular|venous)[ ]congestion",),
    "pneumonia": (r"(?:broncho)?pneumonia",),
    "emphysema": (r"emphysema(?:tous[ ]changes?)?",),
    "subcutaneous emphysema": (r"subcutaneous[ ](?:emphysema|air|gas)",),
    "hyperinflation": (r"hyperinflat(?:ion|ed)", r"hyperexpan(?:sion|ded)"),
    "pneumomediastinum": (r"pneumomediastinum",),
    "pneumoperitoneum": (r"pneumoperitoneum", r"free[ ](?:intraperitoneal[ ]|subdiaphragmatic[ ])?air"),
    "granuloma": (r"(?:calcified[ ])?granulom(?:as?|ata)",),
    "hiatal hernia": (r"hiat(?:al|us)[ ]hernia",),
    "scoliosis": (r"scoliosis",),
    "pleural thickening": (r"pleural[ ]thickening",),
    "mediastinal widening": (
        r"mediastinal[ ]widening",
        r"widened[ ](?:superior[ ]|upper[ ])?mediastinum",
        r"widening[ ]of[ ](?:the[ ])?(?:superior[ ]|upper[ ])?mediastinum",
        rf"mediastinum[ ]{_BE}(?:[ ]{_DEGREE})*[ ]widened",
    ),
    "mediastinal shift": (
        r"mediastinal[ ]shift",
        r"shift[ ]of[ ]the[ ](?:mediastinum|trachea)",
        r"tracheal[ ]deviation",
    ),
    "lymphadenopathy": (r"(?:lymph)?adenopathy", r"enlarged[ ]lymph[ ]nodes?"),
    "cavity": (r"cavit(?:y|ies|ation|ary[ ]lesions?)",),
    "fibrosis": (r"fibro(?:sis|tic[ ]changes?)",),
    "interstitial opacity": (
        r"interstitial[ ](?:opacit(?:y|ies)|markings|thickening|changes|disease)",
        r"reticular[ ](?:opacit(?:y|ies)|markings)",
    ),
}
_BLANK = r"[ \t]*[ \t\n][ \t]*"  # words of a name may stand on two lines


def _compile(patterns: tuple[str, ...]) -> re.Pattern[str]:
    joined = "|".join(patterns).replace("[ ]", _BLANK)
    return re.compile(rf"(?<![\w-])(?:{joined})(?!\w)", re.IGNORECASE)


TERMS: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (name, _compile(patterns)) for name, patterns in _TERMS.items()
)

# Where a pacemaker's lead ends is not the side that it lies on.
_CHAMBER = r"(?![ ](?:atri|ventric))"
SIDES = re.compile(
    rf"\b(?P<left>left)(?:-sided)?\b{_CHAMBER}|\b(?P<right>right)(?:-sided)?\b{_CHAMBER}|"
    r"\b(?P<bilateral>bilateral(?:ly)?|both|bibasilar|bibasal|bibasally|biapical)\b",
    re.IGNORECASE,
)
# "none on the left" names a side that the finding does not have.
OTHER_SIDE = re.compile(r"\b(?:none|not|nothing)[ ](?:on|in|at)[ ](?:the[ ])?(?:left|right)\b", re.IGNORECASE)

ZONES = re.compile(
    r"\b(?P<apical>(?:bi)?apical|apex|apices|apically)\b|"
    r"\b(?P<upper>upper)\b(?![ ](?:limits?|abdomen))|"
    r"\b(?P<mid>mid(?:dle|zones?|-zones?)?)\b(?!-?(?:line|clavicular|axillary))|"
    r"\b(?P<lower>lower(?![ ]than)|bas(?:al|ilar|e|es|ally)|bibasilar|bibasal|bibasally)\b|"
    r"\b(?P<perihilar>(?:peri)?hilar)\b",
    re.IGNORECASE,
)

_LEVEL = (
    r"(?:(?P<high>high(?:-lying|-riding)?|upper)|(?P<mid>mid(?:dle)?(?:-?trachea)?)|"
    r"(?P<low>low(?:-lying)?|lower|too[ ]deep))"
)
TIP_LEVELS = (
    re.compile(rf"\btips?\b[^.;]*?\b{_LEVEL}\b", re.IGNORECASE),
    re.compile(rf"\b{_LEVEL}[ ](?:tip|position|(?:endotracheal[ ]|et[ ])?tube)\b", re.IGNORECASE),
    re.compile(rf"\btubes?\b[^.;]*?\b{_LEVEL}(?:\b|[ ]trachea)", re.IGNORECASE),
)

# Inside a name ("fracture of a left mid rib", "heart is not enlarged") these do not name the finding.
NOT_NAMING = frozenset(
    """
    a an the of in is are was were appears appear looks seems remains not no longer now again still also
    and or left right upper mid middle lower lateral anterior posterior mildly moderately severely markedly slightly
    minimally grossly significantly somewhat borderline definitely clearly normal stably
    """.split()
)
