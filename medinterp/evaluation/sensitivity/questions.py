"""Groups of questions from a text or a CSV file: the first asks, the others ask the same in other words."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from medinterp.errors import PromptError

COLUMNS = ("film", "group", "question")
"""The columns of a CSV file of questions; others are not read."""


@dataclass(frozen=True)
class QuestionGroup:
    """A question and its paraphrases, and the film that they are asked of (None: one that is given elsewhere)."""

    questions: tuple[str, ...]
    film: Path | None = None


def read_prompts(path: Path) -> tuple[QuestionGroup, ...]:
    """Groups of a text file, UTF-8: one question a line, a blank line between groups, "#" begins a comment line.

    Raises PromptError when the file cannot be read, has no question, or asks one twice in a group.
    """
    groups: list[list[str]] = [[]]
    for line in _text(path).splitlines():
        if not line.strip():
            groups.append([])
        elif not line.lstrip().startswith("#"):
            groups[-1].append(line.strip())
    made = tuple(QuestionGroup(_checked(group, path)) for group in groups if group)
    if not made:
        raise PromptError(f"{path} has no question; write one a line, the first of each group and its paraphrases")
    return made


def read_csv(path: Path) -> tuple[QuestionGroup, ...]:
    """Groups of a CSV file, UTF-8, with a header and the columns film, group and question.

    film: a path, from the folder of the CSV file where it is relative; rows with the same film and group belong
    together, the first of them is the question and the others are its paraphrases. Raises PromptError when the file
    cannot be read, lacks a column or a value, or asks one question twice in a group.
    """
    rows = csv.DictReader(_text(path).splitlines())
    missing = [name for name in COLUMNS if name not in (rows.fieldnames or ())]
    if missing:
        raise PromptError(f"{path} has no column {', '.join(missing)}; its first line names film, group and question")
    groups: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        film, group, question = ((row[name] or "").strip() for name in COLUMNS)
        if not (film and group and question):
            raise PromptError(f"{path}, line {rows.line_num}: film, group and question are all needed")
        groups.setdefault((film, group), []).append(question)
    if not groups:
        raise PromptError(f"{path} has no question below its first line")
    return tuple(
        QuestionGroup(_checked(questions, path), path.parent / film) for (film, _), questions in groups.items()
    )


def _checked(questions: Sequence[str], path: Path) -> tuple[str, ...]:
    twice = sorted({question for question in questions if questions.count(question) > 1})
    if twice:
        raise PromptError(f"{path} asks {twice[0]!r} twice in one group; it would agree with itself")
    return tuple(questions)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise PromptError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise PromptError(f"{path} is not UTF-8 text; save it as UTF-8") from error
