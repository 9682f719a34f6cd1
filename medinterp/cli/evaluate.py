"""`medinterp evaluate`."""

from __future__ import annotations

import argparse
from pathlib import Path

from medinterp.cli.arguments import Commands, positive, print_result


def add(commands: Commands) -> None:
    """Add the command."""
    evaluate = commands.add_parser("evaluate", help="measure a model on synthetic films with known truth")
    what = evaluate.add_mutually_exclusive_group(required=True)
    what.add_argument("--report", action="store_true", help="does it read what is there?")
    what.add_argument("--localisation", action="store_true", help="do maps lie on the finding that a word names?")
    evaluate.add_argument("--films", type=positive, default=1000)
    evaluate.add_argument("--model", default="phantom")
    evaluate.add_argument("--calibration", default="auto", metavar="FILE", help="what `medinterp calibrate` wrote")
    evaluate.add_argument("--json", type=Path, default=None, metavar="FILE")
    evaluate.set_defaults(run=_evaluate)


def _evaluate(options: argparse.Namespace) -> int:
    from tqdm import tqdm

    from medinterp.model import Generator, load_model, self_test

    loaded = load_model(options.model, calibration=options.calibration)
    self_test(loaded)
    generator = Generator(loaded)
    with tqdm(total=options.films, desc="films", unit="film") as bar:
        if options.report:
            from medinterp.evaluation.reading import evaluate_reading
            from medinterp.evaluation.writing import write_reports

            result = evaluate_reading(
                lambda films: write_reports(loaded, films), options.films, progress=bar.update
            )
        else:
            from medinterp.evaluation.localisation import evaluate_localisation

            result = evaluate_localisation(
                lambda film: generator.generate([film]),
                loaded.facts.layers,
                options.films,
                progress=bar.update,
            )
    return print_result(result, options.json)
