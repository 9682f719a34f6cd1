"""The sentences and reports of tests/language: how well they are read as a whole."""

from __future__ import annotations

from pathlib import Path

from medinterp.evaluation.language import judge, read_wanted, score
from medinterp.report import read_report
from medinterp.report.lexicon import lexicon

FILE = Path(__file__).parent / "language" / "sentences.jsonl"


def test_six_hundred_texts_are_read_right() -> None:
    wanted = read_wanted(FILE)
    assert len(wanted) >= 600
    result = score(judge(wanted, read_report))
    for rate in ("precision", "recall", "status_right", "side_right", "zones_right", "change_right", "roles_right"):
        assert result[rate]["value"] >= 0.97, rate


def test_every_name_of_the_table_is_in_the_file() -> None:
    said = {finding.name for text in read_wanted(FILE) for finding in text.findings}
    said |= {mention.name for text in read_wanted(FILE) for mention in text.mentions}
    assert said <= set(lexicon().terms)
    assert not set(lexicon().terms) - said
