"""The command line: `medinterp explain | phantom | evaluate | selftest`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medinterp.errors import MedInterpError, SelectionError

RESAMPLES = 50
"""Bootstrap resamples of a calibration."""


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
    explain.add_argument("--calibration", default="auto", metavar="FILE", help="what `medinterp calibrate` wrote")
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
    what.add_argument("--localisation", action="store_true", help="do maps lie on the finding that a word names?")
    evaluate.add_argument("--films", type=_positive, default=1000)
    evaluate.add_argument("--model", default="phantom")
    evaluate.add_argument("--calibration", default="auto", metavar="FILE", help="what `medinterp calibrate` wrote")
    evaluate.add_argument("--json", type=Path, default=None, metavar="FILE")
    evaluate.set_defaults(run=_evaluate)

    calibrate = commands.add_parser("calibrate", help="learn a model's layer weights against occlusion")
    calibrate.add_argument("model")
    calibrate.add_argument("films", nargs="*", type=Path, metavar="FILM", help="chest films; no boxes are needed")
    calibrate.add_argument("--synthetic", type=_positive, default=None, metavar="N", help="N synthetic films instead")
    calibrate.add_argument("--max-new-tokens", type=_positive, default=512)
    calibrate.add_argument("--out", type=Path, required=True, metavar="FILE")
    calibrate.set_defaults(run=_calibrate)

    bench = commands.add_parser("bench", help="what capture and maps cost, as ratios measured in one run")
    bench.add_argument("--model", default="phantom")
    bench.add_argument("--json", type=Path, default=None, metavar="FILE")
    bench.set_defaults(run=_bench)

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
    explainer = Explainer.from_pretrained(options.model, calibration=options.calibration)
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
    return _print(result, options.json)


def _calibrate(options: argparse.Namespace) -> int:
    import hashlib
    import shutil

    import numpy as np
    from tqdm import tqdm

    from medinterp.evaluation.calibration import CalibrationFilm, calibrate, calibration_film
    from medinterp.evaluation.reading import CALIBRATION_SEEDS_START, film_of, unseen_films
    from medinterp.explainer import open_film
    from medinterp.model import Generator, load_model, self_test

    if bool(options.films) == (options.synthetic is not None):
        raise SelectionError("give either films or --synthetic N")
    if options.films:
        films = [open_film(path) for path in options.films]
    else:
        films = [film_of(*one)[0] for one in unseen_films(options.synthetic, CALIBRATION_SEEDS_START)]
    loaded = load_model(options.model, calibration=None)
    self_test(loaded)
    generator = Generator(loaded)
    measured = []
    # What was measured lies beside the file until it is written: a run that was stopped goes on from there.
    work = options.out.with_name(options.out.name + ".partial")
    work.mkdir(parents=True, exist_ok=True)
    with tqdm(total=len(films) * loaded.facts.cells, desc="hiding cells", unit="cell") as bar:
        for film in films:
            key = f"{loaded.revision} {film.sha256} {options.max_new_tokens}"
            path = work / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.npz"
            if not path.exists():
                generation = generator.generate(
                    [film], max_new_tokens=options.max_new_tokens, layer_attention=False
                )
                drops = generator.occlude([film], generation, progress=bar.update)
                one = calibration_film(generation.trace, drops)
                with path.with_suffix(".part").open("wb") as file:
                    np.savez(file, rows=one.rows, target=one.target)
                path.with_suffix(".part").rename(path)
            else:
                bar.update(loaded.facts.cells)
            with np.load(path) as kept:
                measured.append(CalibrationFilm(kept["rows"], kept["target"]))
    with tqdm(total=RESAMPLES, desc="resampling", unit="fit") as bar:
        learned = calibrate(measured, loaded.model_id, loaded.revision, resamples=RESAMPLES, progress=bar.update)
    learned.save(options.out)
    shutil.rmtree(work)
    print(options.out.read_text(encoding="utf-8"), end="")
    return 0


def _bench(options: argparse.Namespace) -> int:
    from dataclasses import asdict

    from medinterp.evaluation.speed import run_bench

    lines = []
    for line in run_bench(options.model):
        lines.append(line)
        print(f"{line.ratio:8.3f}  {line.name}: {line.value:g} / {line.baseline:g} {line.unit}", flush=True)
    if options.json is not None:
        options.json.write_text(json.dumps([asdict(line) for line in lines], indent=2) + "\n", encoding="utf-8")
    return 0


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
