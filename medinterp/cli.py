"""The command line: `medinterp explain | phantom | evaluate | selftest`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medinterp.errors import MedInterpError, SelectionError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status (2 for an error that says what to do, 130 when stopped)."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except MedInterpError as error:
        print(f"medinterp: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("medinterp: stopped", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="medinterp", description="Why did the model write this word?")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    explain = commands.add_parser("explain", help="read films; write report, maps, overlays and one HTML page each")
    explain.add_argument("films", nargs="+", type=Path, metavar="FILM")
    explain.add_argument("--out", type=Path, required=True, metavar="DIR")
    explain.add_argument("--model", default="phantom", help="phantom, a directory or a hub id (default: phantom)")
    explain.add_argument("--prompt", default=None)
    explain.add_argument("--method", action="append", dest="methods", help='may be given again; "all" for all')
    explain.add_argument("--max-new-tokens", type=_positive, default=512)
    explain.set_defaults(run=_explain)

    phantom = commands.add_parser("phantom", help="the demo model and its synthetic films")
    parts = phantom.add_subparsers(required=True, metavar="PART")
    film = parts.add_parser("film", help="draw a synthetic film with its truth")
    film.add_argument("--seed", type=_not_negative, required=True)
    film.add_argument("--size", type=_size, default=(1024, 1024), metavar="WIDTHxHEIGHT")
    film.add_argument("--out", type=Path, required=True, metavar="DIR")
    film.add_argument("--bits", type=int, choices=(12, 16), default=16, help="bits stored in the DICOM file")
    film.add_argument("--monochrome1", action="store_true", help="store the DICOM file inverted")
    film.add_argument("--without", type=_not_negative, default=0, metavar="K", help="the counterfactual's finding")
    film.set_defaults(run=_film)
    train = parts.add_parser("train", help="train the demo model; goes on where it was stopped")
    train.add_argument("--work", type=Path, default=Path(".cache/phantom"), metavar="DIR")
    train.add_argument("--out", type=Path, required=True, metavar="DIR")
    train.add_argument("--seed", type=_not_negative, default=0)
    train.set_defaults(run=_train)

    evaluate = commands.add_parser("evaluate", help="measure a model on synthetic films with known truth")
    what = evaluate.add_mutually_exclusive_group(required=True)
    what.add_argument("--report", action="store_true", help="does it read what is there?")
    what.add_argument("--pointing", action="store_true", help="do raw maps peak on the finding, layer by layer?")
    evaluate.add_argument("--films", type=_positive, default=1000)
    evaluate.add_argument("--model", default="phantom")
    evaluate.add_argument("--json", type=Path, default=None, metavar="FILE")
    evaluate.set_defaults(run=_evaluate)

    selftest = commands.add_parser("selftest", help="is what is captured from a model what it computed?")
    selftest.add_argument("model")
    selftest.set_defaults(run=_selftest)
    return parser


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not 1 or more")
    return value


def _not_negative(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is not 0 or more")
    return value


def _size(text: str) -> tuple[int, int]:
    width, x, height = text.partition("x")
    if not (x and width.isdecimal() and height.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text!r} is not WIDTHxHEIGHT, such as 1500x1200")
    size = int(width), int(height)
    if not all(64 <= side <= 4096 for side in size):
        raise argparse.ArgumentTypeError(f"{text}: width and height are between 64 and 4096 pixels")
    return size


def _explain(options: argparse.Namespace) -> int:
    from tqdm import tqdm

    from medinterp.explainer import DEFAULT_METHODS, Explainer, open_film
    from medinterp.export.folder import write_folder
    from medinterp.relevancy import METHODS

    methods = tuple(options.methods or DEFAULT_METHODS)
    if "all" in methods:
        methods = tuple(METHODS)
    stems = [path.stem for path in options.films]
    twice = sorted({stem for stem in stems if stems.count(stem) > 1})
    if twice:
        raise SelectionError(f"two films are called {', '.join(twice)}: their results would lie in one folder")
    for path in options.films:
        open_film(path)
    explainer = Explainer.from_pretrained(options.model)
    for path in tqdm(options.films, desc="films", unit="film", disable=len(options.films) == 1):
        explanation = explainer.explain(
            path, prompt=options.prompt, methods=methods, max_new_tokens=options.max_new_tokens
        )
        folder = options.out / path.stem if len(options.films) > 1 else options.out
        for written in write_folder(explanation, folder):
            print(written)
    return 0


def _film(options: argparse.Namespace) -> int:
    from medinterp.phantom.files import write_film
    from medinterp.phantom.films import sample_film

    width, height = options.size
    written = write_film(
        sample_film(options.seed),
        width,
        height,
        options.out,
        bits=options.bits,
        monochrome1=options.monochrome1,
        without=options.without,
    )
    print("\n".join(map(str, written)))
    return 0


def _train(options: argparse.Namespace) -> int:
    from medinterp.phantom.training.train import train

    train(options.work, options.out, seed=options.seed)
    return 0


def _evaluate(options: argparse.Namespace) -> int:
    from tqdm import tqdm

    from medinterp.model import Generator, load_model, self_test

    loaded = load_model(options.model)
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
            from medinterp.evaluation.pointing import evaluate_pointing

            result = evaluate_pointing(
                lambda film: generator.generate([film], layer_attention=False),
                loaded.facts.layers,
                options.films,
                progress=bar.update,
            )
    return _print(result, options.json)


def _selftest(options: argparse.Namespace) -> int:
    from dataclasses import asdict

    from medinterp.model import load_model, self_test

    return _print(asdict(self_test(load_model(options.model))), None)


def _print(result: dict[str, Any], path: Path | None) -> int:
    text = json.dumps(result, indent=2)
    print(text)
    if path is not None:
        path.write_text(text + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
