"""What is wanted of texts against what is read in them: the file, the pairs, the numbers, and the command."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

import medinterp.report
from medinterp.cli import main
from medinterp.errors import DatasetError
from medinterp.evaluation.language import JudgedText, WantedFinding, WantedText, judge, read_wanted, score
from medinterp.evaluation.language.assignment import best_pairs
from medinterp.evaluation.language.table import error_list, score_table
from medinterp.types import Finding, Mention, Report, Sentence


def found(name: str, status: Any = "present", side: str | None = None, *zones: str, change: Any = None) -> Finding:
    return Finding(0, name, status, side, zones, 0, 1, (), change=change)


def report(text: str, *findings: Finding, mentions: tuple[Mention, ...] = (), sentences: str = "read") -> Report:
    """Only what is compared; sentences: what became of each, a word for each."""
    spans = tuple(Sentence(at, at + 1, reading) for at, reading in enumerate(sentences.split()))  # type: ignore[arg-type]
    return Report(text, (), (), (), findings, True, mentions, spans)


def judged(wanted: list[Mapping[str, Any]], read: list[Finding], tmp_path: Path) -> JudgedText:
    """One text."""
    path = tmp_path / "one.jsonl"
    path.write_text(json.dumps({"text": "T.", "findings": wanted}))
    (one,) = judge(read_wanted(path), lambda text: report(text, *read))
    return one


# ---- the file ----


def test_a_file_is_texts_with_what_is_asked_of_them(tmp_path: Path) -> None:
    path = tmp_path / "texts.jsonl"
    nodule = {"name": "nodule", "status": "uncertain", "side": None, "zones": ["upper", "mid"]}
    other = {"name": "edema", "status": "absent", "change": "resolved"}
    lines = [
        "# of two people",
        "",
        json.dumps({"id": "a", "text": "One\u2028text.", "findings": [nodule, other]}, ensure_ascii=False),
        '  {"id": 7, "text": "Two.", "findings": [], "mentions": [{"name": "nodule", "role": "history"}]}  ',
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8-sig")
    first, second = read_wanted(path)
    assert (first.line, first.id, first.text) == (3, "a", "One\u2028text.")
    assert first.findings == (
        WantedFinding("nodule", "uncertain", None, ("upper", "mid"), None, frozenset({"side", "zones"})),
        WantedFinding("edema", "absent", None, (), "resolved", frozenset({"change"})),
    )
    assert (second.line, second.id) == (4, "7")
    assert [(one.name, one.role) for one in second.mentions] == [("nodule", "history")]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('{"text": "A."', r"no JSON: .*column 14"),
        ("[]", r"the line is an object, not \[\]"),
        ('{"text": "A."}', "the line has no findings"),
        ('{"findings": []}', "the line has no text"),
        ('{"text": " ", "findings": []}', 'text is text that says something, not " "'),
        ('{"text": "A.", "findings": {}}', "findings is a list, not {}"),
        ('{"text": "A.", "findings": [], "finding": 1}', 'the line has "finding"; there are text, findings'),
        ('{"text": "A.", "findings": [], "id": [7]}', r"id is text or a number, not \[7\]"),
        ('{"text": "A.", "findings": [{"name": "nodule"}]}', "finding 1 has no status"),
        ('{"text": "A.", "findings": ["nodule"]}', 'finding 1 is an object, not "nodule"'),
        (
            '{"text": "A.", "findings": [{"name": "edema", "status": "absent"}, {"name": "edema", "status": "maybe"}]}',
            'finding 2: status is one of present, uncertain, absent, not "maybe"',
        ),
        (
            '{"text": "A.", "findings": [{"name": "nodule", "status": "absent", "side": "both"}]}',
            'finding 1: side is one of null, left, right, bilateral, not "both"',
        ),
        (
            '{"text": "A.", "findings": [{"name": "nodule", "status": "absent", "side": ["left"]}]}',
            r'finding 1: side is one of null, left, right, bilateral, not \["left"\]',
        ),
        (
            '{"text": "A.", "findings": [{"name": "nodule", "status": "absent", "zones": "upper"}]}',
            'finding 1: zones is a list, not "upper"',
        ),
        (
            '{"text": "A.", "findings": [{"name": "nodule", "status": "absent", "zone": "upper"}]}',
            'finding 1 has "zone"; there are name, status, side, zones, change',
        ),
        (
            '{"text": "A.", "findings": [{"name": "nodule", "status": "present", "change": "bigger"}]}',
            'finding 1: change is one of null, new, .*, not "bigger"',
        ),
        (
            '{"text": "A.", "findings": [], "mentions": [{"name": "nodule", "role": "gossip"}]}',
            'mention 1: role is one of history, .*, not "gossip"',
        ),
    ],
)
def test_a_bad_line_is_named_with_what_is_wrong(tmp_path: Path, line: str, says: str) -> None:
    path = tmp_path / "texts.jsonl"
    path.write_text(f'# a comment\n{{"text": "A.", "findings": []}}\n\n{line}\n')
    with pytest.raises(DatasetError, match=f"line 4: {says}"):
        read_wanted(path)


def test_a_file_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="cannot read"):
        read_wanted(tmp_path / "missing")
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    with pytest.raises(DatasetError, match="UTF-8"):
        read_wanted(tmp_path / "bytes")
    (tmp_path / "empty").write_text("# nothing\n\n")
    with pytest.raises(DatasetError, match="has no text"):
        read_wanted(tmp_path / "empty")


# ---- the pairs ----


def test_pairs_sum_to_the_most() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        rows, columns = (int(count) for count in rng.integers(1, 7, size=2))
        scores = rng.integers(0, 5, size=(rows, columns))
        pairs = best_pairs(scores.tolist())
        assert len(pairs) == min(rows, columns) == len({row for row, _ in pairs}) == len({other for _, other in pairs})
        expected = scores[linear_sum_assignment(scores, maximize=True)].sum()
        assert sum(scores[row, column] for row, column in pairs) == expected
    assert best_pairs([]) == best_pairs([[]]) == []
    assert len(best_pairs([[1] * 150] * 150)) == 150, "a model that repeats itself"


def test_findings_of_one_name_are_paired_by_what_agrees(tmp_path: Path) -> None:
    wanted = [
        {"name": "nodule", "status": "present", "side": "left", "zones": ["upper"]},
        {"name": "nodule", "status": "uncertain", "side": "right", "zones": ["lower", "mid"]},
        {"name": "nodule", "status": "absent"},
        {"name": "edema", "status": "present"},
    ]
    right = found("nodule", "uncertain", "right", "mid", "lower")
    left, none, effusion = found("nodule", "present", "left"), found("nodule", "absent"), found("pleural effusion")
    one = judged(wanted, [none, right, effusion, left], tmp_path)
    assert [got for _, got in one.findings] == [left, right, none, None, effusion]
    assert one.findings[-1][0] is None
    assert list(one.errors()) == [("nodule", "zones"), ("edema", "missed"), ("pleural effusion", "invented")]


def test_what_agrees_most_goes_together_whatever_stands_first(tmp_path: Path) -> None:
    """Paired as they come, the first would take what the second needs."""
    wanted = [{"name": "nodule", "status": "present"}, {"name": "nodule", "status": "present", "side": "left"}]
    left, none = found("nodule", "present", "left"), found("nodule", "uncertain")
    one = judged(wanted, [left, none], tmp_path)
    assert [got for _, got in one.findings] == [none, left]
    # Nothing else agrees: affirmed goes with hedged rather than with denied.
    denied, hedged = found("nodule", "absent"), found("nodule", "uncertain")
    assert judged(wanted[:1], [denied, hedged], tmp_path).findings[0][1] is hedged


def test_what_is_left_out_is_not_asked_for_and_null_asks_for_none(tmp_path: Path) -> None:
    read = [found("nodule", "present", "left", "upper", change="new")]
    assert list(judged([{"name": "nodule", "status": "present"}], read, tmp_path).errors()) == []
    asked = {"name": "nodule", "status": "present", "side": None, "zones": [], "change": None}
    errors = list(judged([asked], read, tmp_path).errors())
    assert errors == [("nodule", "side"), ("nodule", "zones"), ("nodule", "change")]


def test_absences_that_nobody_asked_for_are_no_errors(tmp_path: Path) -> None:
    read = [found("nodule", "absent"), found("edema", "absent")]
    assert list(judged([{"name": "nodule", "status": "absent"}], read, tmp_path).errors()) == []


# ---- the numbers ----


def mention(name: str, role: Any) -> Mention:
    return Mention(0, name, role, 0, 1, ())


LINES: list[dict[str, Any]] = [
    {
        "id": "first",
        "text": "First.\nIt goes on.",
        "findings": [
            {"name": "nodule", "status": "uncertain", "side": "left", "zones": ["upper"]},
            {"name": "edema", "status": "present", "side": None, "change": "larger"},
            {"name": "pneumothorax", "status": "absent"},
            {"name": "fracture", "status": "absent"},
        ],
        "mentions": [{"name": "nodule", "role": "history"}, {"name": "edema", "role": "advice"}],
    },
    {"text": "Second.", "findings": [{"name": "nodule", "status": "present", "side": "left"}]},
    {"text": "Third.", "findings": [{"name": "nodule", "status": "absent"}]},
    {"text": "Fourth.", "findings": []},
]
READ = {
    "First.\nIt goes on.": report(
        "",
        found("nodule", "present", "left", "lower"),
        found("edema", "present", change="larger"),
        found("pneumothorax", "uncertain"),
        mentions=(mention("nodule", "indication"), mention("fracture", "history")),
        sentences="read read other unread",
    ),
    "Second.": report("", found("nodule", "present", "right")),
    "Third.": report("", found("nodule", "absent"), found("edema", "absent"), sentences="read other"),
    "Fourth.": report("", found("edema", "uncertain"), found("tube"), sentences="unread"),
}


def write_lines(path: Path) -> Path:
    path.write_text("\n".join(map(json.dumps, LINES)))
    return path


def test_the_numbers_are_those_that_are_counted_by_hand(tmp_path: Path) -> None:
    result = score(judge(read_wanted(write_lines(tmp_path / "texts.jsonl")), READ.__getitem__))
    assert (result["texts"], result["texts_wrong"], result["findings"]) == (4, 3, 6)

    def share(name: str) -> tuple[float, int]:
        return result[name]["value"], result[name]["of"]

    # Read as present or uncertain: nodule, edema, pneumothorax (denied), nodule, edema and tube (invented).
    assert share("precision") == (0.5, 6)
    # Wanted as such: nodule, edema, nodule. Of all: pneumothorax is affirmed, the fracture missed, one nodule denied.
    assert share("recall") == (1.0, 3)
    assert share("recall_with_absent") == (round(4 / 6, 4), 6)
    assert share("status_right") == (round(3 / 5, 4), 5)
    assert share("side_right") == (round(2 / 3, 4), 3)
    assert share("zones_right") == (0.0, 1)
    assert share("change_right") == (1.0, 1)
    assert share("mentions_found") == (0.5, 2)
    assert share("roles_right") == (0.0, 1)
    assert result["texts_without_findings"] == 2
    assert share("false_findings") == (100.0, 2)
    assert (result["false_findings"]["low"], result["false_findings"]["high"]) == (0.0, 200.0)
    assert result["sentences"] == {"read": 4, "other": 2, "unread": 2}
    assert list(result["names"]) == ["nodule", "edema", "fracture", "pneumothorax", "tube"]
    assert result["names"]["nodule"] == {"wanted": 3, "missed": 0, "invented": 0, "status": 1, "side": 1}
    assert result["names"]["edema"] == {"wanted": 1, "missed": 0, "invented": 1, "status": 0, "side": 0}
    assert result["names"]["pneumothorax"] == {"wanted": 1, "missed": 0, "invented": 0, "status": 1, "side": 0}
    assert result["names"]["fracture"]["missed"] == 1


def test_intervals_are_of_texts_and_the_same_every_time() -> None:
    wanted = WantedFinding("nodule", "present", asked=frozenset())
    texts = [WantedText(line, "text" if line % 2 else "other", (wanted,) * 10) for line in range(1, 41)]
    reports = {"text": report("", *[found("nodule")] * 10), "other": report("", *[found("nodule", "absent")] * 10)}
    result = score(judge(texts, reports.__getitem__))
    recall = result["recall"]
    assert recall["value"] == 0.5 and recall["of"] == 400
    # Of 40 texts that agree within themselves, not of 400 findings: half of them, give or take two standard deviations.
    assert recall["low"] == pytest.approx(0.5 - 1.96 * np.sqrt(0.25 / 40), abs=0.03)
    assert recall["high"] == pytest.approx(0.5 + 1.96 * np.sqrt(0.25 / 40), abs=0.03)
    assert result == score(judge(texts, reports.__getitem__))
    assert result["precision"] == {
        "value": 1.0,
        "low": pytest.approx(0.025 ** (1 / 20), abs=1e-4),
        "high": 1.0,
        "of": 200,
    }
    assert result["side_right"] == {"value": None, "low": None, "high": None, "of": 0}
    assert result["false_findings"] == {"value": None, "low": None, "high": None, "of": 0}
    alone = score(judge(texts[:1], reports.__getitem__))["recall"]
    assert alone == {"value": 1.0, "low": None, "high": None, "of": 10}
    free = [WantedText(line, "other", ()) for line in range(1, 21)]
    none = score(judge(free, reports.__getitem__))["false_findings"]
    assert none == {"value": 0.0, "low": 0.0, "high": pytest.approx(100 * (1 - 0.025 ** (1 / 20)), abs=0.01), "of": 20}


def test_the_table_shows_the_numbers_and_the_names_with_errors(tmp_path: Path) -> None:
    one = judge(read_wanted(write_lines(tmp_path / "texts.jsonl")), READ.__getitem__)
    lines = score_table(score(one)).splitlines()
    assert lines[0] == "4 text(s), 3 with an error; 6 finding(s) wanted"

    def cells(start: str) -> list[str]:
        (line,) = [line for line in lines if line.startswith(start)]
        return line.removeprefix(start).split()

    assert cells("precision, present or uncertain")[:2] == ["50.0", "%"]
    assert cells("precision, present or uncertain")[-1] == "6"
    assert cells("recall, with absent")[0] == "66.7"
    assert cells("zones right") == ["0.0", "%", "1"]  # of one text: no interval
    assert cells("false findings in 100 texts") == "100.0 0.0 to 200.0 2 text(s) that want none".split()
    assert "sentences: 4 read, 2 not about findings, 2 unread" in lines
    assert cells("nodule") == ["3", "0", "0", "1", "1"]
    nothing = score_table(score(judge([WantedText(1, "Third.", ())], READ.__getitem__)))
    assert "missed" not in nothing and "1 text(s), 0 with an error" in nothing


def test_texts_that_went_wrong_are_shown_with_what_is_wrong(tmp_path: Path) -> None:
    one = judge(read_wanted(write_lines(tmp_path / "texts.jsonl")), READ.__getitem__)
    first, second = error_list(one, 2).split("\n\n")
    assert first.splitlines() == [
        "line 1 (first)",
        "  text:   First.",
        "          It goes on.",
        "  wanted: uncertain nodule, left, upper; present edema, no side, larger; absent pneumothorax; "
        "absent fracture; nodule (history); edema (advice)",
        "  read:   present nodule, left, lower; present edema, larger; uncertain pneumothorax; nodule (indication); "
        "fracture (history)",
        "  wrong:  nodule: status; nodule: zones; pneumothorax: status; fracture: missed; nodule: role; "
        "edema: mention missed",
    ]
    assert second.splitlines()[0] == "line 2"
    assert error_list(one, 9).split("\n\n")[-1].splitlines()[-1] == "  wrong:  edema: invented; tube: invented"
    assert error_list(one[2:3], 9) == ""


# ---- the command ----


@pytest.fixture
def readable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(medinterp.report, "read_report", READ.__getitem__)


@pytest.mark.usefixtures("readable")
def test_the_command_prints_a_table_and_writes_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = write_lines(tmp_path / "texts.jsonl"), tmp_path / "out.json"
    assert main(["evaluate", "--language", str(path), "--json", str(out)]) == 0
    printed = capsys.readouterr().out
    result = json.loads(out.read_text())
    assert printed.rstrip("\n") == score_table(result)
    assert result["precision"]["value"] == 0.5
    for text in READ:
        assert text not in printed and text not in out.read_text(), "no report text unless it is asked for"
    assert main(["evaluate", "--language", str(path), "--errors", "1"]) == 0
    shown = capsys.readouterr().out
    assert "First." in shown and "Second." not in shown


@pytest.mark.usefixtures("readable")
def test_the_command_says_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "texts.jsonl"
    path.write_text('{"text": "Third.", "findings": []}\n{"text": 3}\n')
    assert main(["evaluate", "--language", str(path)]) == 2
    assert "line 2: the line has no findings" in capsys.readouterr().err
    path.write_text('{"text": "Third.", "findings": []}\n')
    assert main(["evaluate", "--language", str(path), "--errors", "3"]) == 0
    assert "no text was read wrong" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["evaluate", "--language", str(path), "--gate"])
    with pytest.raises(SystemExit):
        main(["evaluate", "--help"])
    assert '"name": "nodule", "status": "uncertain"' in capsys.readouterr().out


def test_texts_are_read_as_reports_are(tmp_path: Path) -> None:
    """By the parser itself."""
    lines = [
        {"text": "LUNGS: Small left nodule. No edema.", "findings": [
            {"name": "nodule", "status": "present", "side": "left", "zones": []},
            {"name": "edema", "status": "absent"},
        ]},
        {"text": "LUNGS: A possible right nodule.", "findings": [
            {"name": "nodule", "status": "uncertain", "side": "right"},
        ]},
    ]  # fmt: skip
    path = tmp_path / "texts.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    one = judge(read_wanted(path), medinterp.report.read_report)
    assert [list(text.errors()) for text in one] == [[], []]
