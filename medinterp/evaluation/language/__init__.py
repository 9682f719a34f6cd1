"""Does the parser understand report language? What it reads in texts against what people said that they state.

`read_wanted` reads the file, `judge` has each text read and pairs the findings, `score` counts, and `table` shows it.
No model is asked.
"""

from __future__ import annotations

from medinterp.evaluation.language.judging import JudgedText, judge
from medinterp.evaluation.language.scores import score
from medinterp.evaluation.language.wanted import WantedFinding, WantedMention, WantedText, read_wanted

__all__ = ["JudgedText", "WantedFinding", "WantedMention", "WantedText", "judge", "read_wanted", "score"]
