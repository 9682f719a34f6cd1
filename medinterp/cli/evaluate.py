"""`medinterp evaluate`: one part a run."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medinterp.cli.arguments import Commands, add_loading, loading, not_negative, positive, print_result
from medinterp.errors import SelectionError

if TYPE_CHECKING:
    from medinterp.model import Generator

Result = dict[str, Any]


_FILE_OF_LANGUAGE = """\
FILE of --language holds JSON lines, each a text and what it states; blank lines and lines that start with # are
skipped:
  {"text": "LUNGS: Possible left upper nodule.",
   "findings": [{"name": "nodule", "status": "uncertain", "side": "left", "zones": ["upper"], "change": null}],
   "mentions": [{"name": "pneumothorax", "role": "history"}], "id": "7"}
(on three lines here, on one in FILE). "mentions" and "id" may be left out, of a finding all but "name" and "status".
What is left out is not asked for; "side": null, "zones": [] and "change": null ask for none.
  status: present, uncertain (hedged) or absent; side: left, right, bilateral
  change: new, unchanged, larger, smaller, resolved, removed
  role: history, indication, comparison, technique, advice, disclaimer, differential, example, elsewhere
"""


def add(commands: Commands) -> None:
    """Add the command."""
    evaluate = commands.add_parser(
        "evaluate",
        help="measure a model and its maps on films with known truth, or how report language is read",
        epilog=_FILE_OF_LANGUAGE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = evaluate.add_mutually_exclusive_group(required=True)
    what.add_argument("--report", action="store_true", help="does it read what is there?")
    what.add_argument("--localisation", action="store_true", help="do maps lie on the finding that a word names?")
    what.add_argument("--maps", action="store_true", help="the benchmark: every method on certified tokens")
    what.add_argument("--verdicts", action="store_true", help="how often is the verdict on a word right?")
    what.add_argument("--shortcut", action="store_true", help="marker-driven or nodule-driven? (of a shortcut model)")
    what.add_argument("--boxes", action="store_true", help="are boxes right, and verdicts on them? (phantom-boxes)")
    what.add_argument("--gate", action="store_true", help="does the film gate stop what is no film, and nothing else?")
    what.add_argument("--domain", action="store_true", help="are films that a model was not made for told, and others?")
    what.add_argument(
        "--language",
        type=Path,
        metavar="FILE",
        help="are reports read right? against texts with what they state (below)",
    )
    what.add_argument("--chexlocalize", type=Path, metavar="DIR", help="against radiologists' segmentations")
    what.add_argument("--ms-cxr", type=Path, metavar="DIR", help="against radiologists' boxes for phrases")
    evaluate.add_argument("--films", type=positive, default=None, help="how many (default: by part, 1000 for --maps)")
    evaluate.add_argument("--model", action="append", dest="models", help="may be given again for --maps")
    evaluate.add_argument("--calibration", default="auto", metavar="FILE", help="what `medinterp calibrate` wrote")
    evaluate.add_argument("--json", type=Path, default=None, metavar="FILE")
    evaluate.add_argument("--method", action="append", dest="methods", help="of radiologists' films; may be repeated")
    evaluate.add_argument("--foreign", type=Path, metavar="DIR", help="of --domain: films that are none of the model's")
    maps = evaluate.add_argument_group("of --maps")
    maps.add_argument("--thorough", type=not_negative, default=200, help="films with occlusion, gradient relevancy too")
    maps.add_argument("--judged", type=not_negative, default=100, help="films with deletion and insertion too")
    maps.add_argument("--controlled", type=not_negative, default=50, help="films with control models' maps too")
    maps.add_argument(
        "--shuffled", default=None, metavar="MODEL", help="control of another film's reports, beside random"
    )
    maps.add_argument("--work", type=Path, default=Path(".cache/benchmark"), metavar="DIR", help="to go on from")
    maps.add_argument("--out", type=Path, default=None, metavar="DIR", help="benchmark.json, .md and .html")
    language = evaluate.add_argument_group("of --language")
    language.add_argument(
        "--errors",
        type=positive,
        default=0,
        metavar="N",
        help="show the first N texts that were read wrong: report text!",
    )
    add_loading(evaluate)
    evaluate.set_defaults(run=_evaluate)


def _evaluate(options: argparse.Namespace) -> int:
    if options.maps:
        return _benchmark(options)
    if options.models and len(options.models) > 1:
        raise SelectionError("only --maps measures several models at once")
    if options.language is not None:
        return _language(options)
    if options.gate:
        return print_result(_gate(options.films or 500), options.json)
    if options.domain:
        return print_result(_domain(options), options.json)
    if options.chexlocalize is not None or options.ms_cxr is not None:
        return print_result(_grounding(options), options.json)
    part = next(name for name in _PARTS if getattr(options, name))
    run, films = _PARTS[part]
    return print_result(_with_bar(options, run, options.films or films), options.json)


def _generator(options: argparse.Namespace) -> Generator:
    from medinterp.model import Generator, load_model, self_test

    loaded = load_model((options.models or ["phantom"])[0], calibration=options.calibration, **loading(options))
    self_test(loaded)
    return Generator(loaded)


def _with_bar(
    options: argparse.Namespace, run: Callable[[Generator, int, Callable[[int], Any]], Result], films: int
) -> Result:
    from tqdm import tqdm

    generator = _generator(options)
    with tqdm(total=films, desc="films", unit="film") as bar:
        return run(generator, films, bar.update)


def _gate(films: int) -> Result:
    from tqdm import tqdm

    from medinterp.evaluation.gate import evaluate_gate

    with tqdm(total=films, desc="films", unit="film") as bar:
        return evaluate_gate(films, progress=bar.update)


def _domain(options: argparse.Namespace) -> Result:
    import tempfile

    from tqdm import tqdm

    from medinterp.cli.films import find_films
    from medinterp.evaluation.foreign import evaluate_domain, gray8
    from medinterp.imaging import open_film
    from medinterp.model.loading import FILMS, load_model

    films = options.films or 500
    model = load_model((options.models or ["phantom"])[0], device="cpu", calibration=None)
    if model.film_domain is None:
        raise SelectionError(f"this model has no description of its films ({FILMS}): `medinterp domain` makes one")
    found = [] if options.foreign is None else find_films([options.foreign], out=None)[0]
    foreign = {"foreign": [gray8(open_film(film.path)) for film in found]} if found else {}
    with tempfile.TemporaryDirectory() as directory, tqdm(total=films, desc="films", unit="film") as bar:
        return evaluate_domain(model.film_domain, films, foreign, directory=Path(directory), progress=bar.update)


def _language(options: argparse.Namespace) -> int:
    from medinterp.evaluation.language import judge, read_wanted, score
    from medinterp.evaluation.language.table import error_list, score_table
    from medinterp.report import read_report

    judged = judge(read_wanted(options.language), read_report)
    result = score(judged)
    print(score_table(result))
    if options.errors:
        print("", error_list(judged, options.errors) or "no text was read wrong", sep="\n")
    return print_result(result, options.json, quiet=True)


def _report(generator: Generator, films: int, progress: Callable[[int], Any]) -> Result:
    from medinterp.evaluation.reading import evaluate_reading
    from medinterp.evaluation.writing import write_reports

    return evaluate_reading(lambda some: write_reports(generator.loaded, some), films, progress=progress)


def _localisation(generator: Generator, films: int, progress: Callable[[int], Any]) -> Result:
    from medinterp.evaluation.localisation import evaluate_localisation

    layers = generator.loaded.facts.layers
    return evaluate_localisation(lambda film: generator.generate([film]), layers, films, progress=progress)


def _verdicts(generator: Generator, films: int, progress: Callable[[int], Any]) -> Result:
    from medinterp.evaluation.verdicts import evaluate_verdicts

    return evaluate_verdicts(generator, films, progress=progress)


def _shortcut(generator: Generator, films: int, progress: Callable[[int], Any]) -> Result:
    from medinterp.evaluation.shortcut import evaluate_shortcut

    return evaluate_shortcut(generator, films, progress=progress)


def _boxes(generator: Generator, films: int, progress: Callable[[int], Any]) -> Result:
    from medinterp.evaluation.box_reading import evaluate_boxes

    return evaluate_boxes(generator, films, progress=progress)


_PARTS = {
    "report": (_report, 1000),
    "localisation": (_localisation, 500),
    "verdicts": (_verdicts, 200),
    "shortcut": (_shortcut, 300),
    "boxes": (_boxes, 300),
}


def _benchmark(options: argparse.Namespace) -> int:
    from tqdm import tqdm

    from medinterp.evaluation.benchmark.page import page
    from medinterp.evaluation.benchmark.run import Extent, run_benchmark
    from medinterp.evaluation.benchmark.summary import markdown, summarise

    models = tuple(options.models or ["phantom"])
    extent = Extent(options.films or 1000, options.thorough, options.judged, options.controlled)
    with tqdm(total=extent.films * len(models), desc="films", unit="film") as bar:
        results = run_benchmark(models, options.work, extent, shuffled=options.shuffled, progress=bar.update)
    summary = summarise(results)
    table = markdown(summary)
    if options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "benchmark.md").write_text(table, encoding="utf-8")
        (options.out / "benchmark.html").write_text(page(summary), encoding="utf-8")
        print_result(summary, options.out / "benchmark.json", quiet=True)
    if options.json is not None:
        print_result(summary, options.json, quiet=True)
    print(table, end="")
    return 0


def _grounding(options: argparse.Namespace) -> Result:
    from tqdm import tqdm

    from medinterp.evaluation.datasets import GroundingItem, read_chexlocalize, read_ms_cxr
    from medinterp.evaluation.grounding import check_films, evaluate_grounding
    from medinterp.relevancy import TRACE_METHODS, get_method
    from medinterp.types import Film, Generation

    tuning: list[GroundingItem] = []
    if options.chexlocalize is not None:
        items = read_chexlocalize(options.chexlocalize, "test")
        tuning = read_chexlocalize(options.chexlocalize, "val")
    else:
        items = read_ms_cxr(options.ms_cxr)
    methods = options.methods or list(TRACE_METHODS)
    on_model = [name for name in methods if get_method(name).on_model]
    check_films([*tuning, *items])
    generator = _generator(options)

    def measured(film: Film, generation: Generation) -> Generation:
        if not on_model:
            return generation
        prompt = generation.trace.provenance.asked
        found = generator.measure([film], generation.report, prompt, on_model)
        return Generation(generation.report, generation.trace, found)

    with tqdm(total=len(items) + len(tuning), desc="findings", unit="finding") as bar:
        return evaluate_grounding(
            lambda film: measured(film, generator.generate([film])),
            items,
            methods,
            force=None if options.ms_cxr is None else lambda film, text: measured(film, generator.force([film], text)),
            tuning=tuning,
            progress=bar.update,
        )
