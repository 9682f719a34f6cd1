"""`medinterp sensitivity`."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medinterp.cli.arguments import Commands, add_loading, loading, not_negative, positive
from medinterp.errors import SelectionError

if TYPE_CHECKING:
    from medinterp.evaluation.sensitivity import Comparison, QuestionGroup
    from medinterp.imaging.perturb import Perturbation
    from medinterp.model import Generator


def add(commands: Commands) -> None:
    """Add the command."""
    sensitivity = commands.add_parser(
        "sensitivity", help="do answers and maps hold for other words, and for a film slightly changed?"
    )
    sensitivity.add_argument("film", nargs="?", type=Path, metavar="FILM")
    sensitivity.add_argument(
        "--prompts",
        type=Path,
        metavar="FILE",
        help="one question a line, its paraphrases below it, a blank line before the next (default: the whole report)",
    )
    sensitivity.add_argument(
        "--csv", type=Path, metavar="FILE", help="many films, in place of FILM: columns film, group, question"
    )
    sensitivity.add_argument("--model", default="phantom", help="phantom, a directory or a hub id (default: phantom)")
    sensitivity.add_argument("--calibration", default="auto", metavar="FILE", help="what `medinterp calibrate` wrote")
    sensitivity.add_argument("--method", action="append", dest="methods", help='may be given again; "all" for all')
    sensitivity.add_argument(
        "--perturbation", action="append", dest="perturbations", metavar="NAME", help="may be given again; default: all"
    )
    sensitivity.add_argument("--seed", type=not_negative, default=0, help="of what is drawn at random (default: 0)")
    sensitivity.add_argument("--max-new-tokens", type=positive, default=None, help="default: 64, of a report 512")
    sensitivity.add_argument("--force", action="store_true", help="films too on which a report means nothing")
    sensitivity.add_argument("--json", type=Path, default=None, metavar="FILE")
    add_loading(sensitivity)
    sensitivity.set_defaults(run=_sensitivity)


def _sensitivity(options: argparse.Namespace) -> int:
    from medinterp.cli.films import tell
    from medinterp.evaluation.sensitivity import read_csv, read_prompts
    from medinterp.explainer import DEFAULT_METHODS
    from medinterp.imaging import open_film
    from medinterp.imaging.perturb import PERTURBATIONS, get_perturbations
    from medinterp.model import Generator, load_model, self_test
    from medinterp.relevancy import METHODS, get_method

    if (options.film is None) == (options.csv is None):
        raise SelectionError("give either a film or --csv FILE")
    if options.csv is not None and options.prompts is not None:
        raise SelectionError("--prompts asks of one film; the questions of --csv are in its file")
    methods = tuple(dict.fromkeys(options.methods or DEFAULT_METHODS))
    if "all" in methods:
        methods = tuple(METHODS)
    for name in methods:
        get_method(name)
    perturbations = get_perturbations(tuple(dict.fromkeys(options.perturbations or PERTURBATIONS)))
    groups: Sequence[QuestionGroup] = ()
    if options.csv is not None:
        groups = read_csv(options.csv)
    elif options.prompts is not None:
        groups = read_prompts(options.prompts)
    films = list(dict.fromkeys(group.film or options.film for group in groups) or [options.film])
    for path in films:
        open_film(path)
    loaded = load_model(options.model, calibration=options.calibration, **loading(options))
    self_test(loaded)
    for path in films:
        tell(path, loaded.admit(open_film(path), force=options.force))
    generator = Generator(loaded)
    if not groups:
        return _report(generator, options, methods, perturbations)
    return _questions(generator, options, groups, methods, perturbations)


def _report(
    generator: Generator, options: argparse.Namespace, methods: Sequence[str], perturbations: Sequence[Perturbation]
) -> int:
    from dataclasses import asdict

    from tqdm import tqdm

    from medinterp.evaluation.sensitivity import compare_reports
    from medinterp.evaluation.sensitivity.table import notes, report_table
    from medinterp.imaging import open_film

    with tqdm(total=1 + len(perturbations), desc="reports", unit="report") as bar:
        result = compare_reports(
            generator,
            open_film(options.film),
            methods=methods,
            perturbations=perturbations,
            seed=options.seed,
            max_new_tokens=options.max_new_tokens or 512,
            progress=bar.update,
        )
    shifts = [shift for one in result.variants for finding in one.findings for shift in finding.shifts]
    print(report_table(result), notes(shifts, margins=False), sep="\n\n")
    _write(options.json, asdict(result))
    return 0


def _questions(
    generator: Generator,
    options: argparse.Namespace,
    groups: Sequence[QuestionGroup],
    methods: Sequence[str],
    perturbations: Sequence[Perturbation],
) -> int:
    import shutil
    from dataclasses import asdict

    from tqdm import tqdm

    from medinterp.evaluation.sensitivity import summarise
    from medinterp.evaluation.sensitivity.table import comparison_table, notes, summary_table

    # What was measured lies beside the file until it is written: a run that was stopped goes on from there.
    work = None if options.json is None else options.json.with_name(options.json.name + ".partial")
    results: list[Comparison] = []
    total = sum(len(group.questions) + len(perturbations) for group in groups)
    with tqdm(total=total, desc="questions", unit="question") as bar:
        for group in groups:
            results.append(_group(generator, options, group, methods, perturbations, work, bar.update))
    summary = summarise(results, seed=options.seed)
    if options.csv is None:
        print("\n\n".join(map(comparison_table, results)), end="\n\n")
    print(summary_table(summary))
    shifts = [shift for one in results for variant in one.variants for shift in variant.shifts]
    print("", notes(shifts, margins=True), sep="\n")
    films = [str(group.film or options.film) for group in groups]
    listed = [{"film": film, **asdict(one)} for film, one in zip(films, results, strict=True)]
    _write(options.json, {"summary": summary, "groups": listed})
    if work is not None and work.exists():
        shutil.rmtree(work)
    return 0


def _group(
    generator: Generator,
    options: argparse.Namespace,
    group: QuestionGroup,
    methods: Sequence[str],
    perturbations: Sequence[Perturbation],
    work: Path | None,
    progress: Callable[[int], None],
) -> Comparison:
    """One group's comparison, from an earlier run that was stopped when it is all there."""
    import hashlib
    import json
    from dataclasses import asdict

    from medinterp.evaluation.sensitivity import compare, comparison_from
    from medinterp.evaluation.sensitivity.asking import ANSWER_TOKENS
    from medinterp.imaging import open_film

    film = open_film(group.film or options.film)
    limit = options.max_new_tokens or ANSWER_TOKENS
    loaded = generator.loaded
    weights = None if loaded.layer_weights is None else loaded.layer_weights.tolist()
    changes = [change.meaning for change in perturbations]
    asked = [loaded.model_id, loaded.revision, str(loaded.dtype), weights, film.sha256, list(group.questions)]
    key = json.dumps([*asked, list(methods), changes, options.seed, limit])
    kept = None if work is None else work / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.json"
    if kept is not None and kept.exists():
        progress(len(group.questions) + len(perturbations))
        return comparison_from(json.loads(kept.read_text(encoding="utf-8")))
    result = compare(
        generator,
        film,
        group.questions,
        methods=methods,
        perturbations=perturbations,
        seed=options.seed,
        max_new_tokens=limit,
        progress=progress,
    )
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        part = kept.with_suffix(".part")
        part.write_text(json.dumps(asdict(result)), encoding="utf-8")
        part.rename(kept)
    return result


def _write(path: Path | None, result: dict[str, Any]) -> None:
    import json

    if path is not None:
        path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
