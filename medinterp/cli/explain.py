"""`medinterp explain`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from medinterp.cli.arguments import Commands, add_loading, by_method, loading, method_option, positive
from medinterp.errors import FilmError, FilmWithheldError, ReportTextError, SelectionError

SOME_FAILED, NONE_READ = 1, 2
"""Exit status when some films could not be read, and when none could."""
WITHHELD = "No report was written; --force asks for one all the same."
GIVEN_WITHHELD = "The report was not explained; --force explains it all the same."


def add(commands: Commands) -> None:
    """Add the command."""
    explain = commands.add_parser("explain", help="read films; write report, maps, overlays and one HTML page each")
    explain.add_argument("films", nargs="+", type=Path, metavar="FILM", help="files, or folders of films")
    explain.add_argument("--out", type=Path, required=True, metavar="DIR")
    explain.add_argument("--model", default="phantom", help="phantom, a directory or a hub id (default: phantom)")
    explain.add_argument("--calibration", default="auto", metavar="FILE", help="what `medinterp calibrate` wrote")
    explain.add_argument("--prompt", default=None)
    explain.add_argument("--system", metavar="TEXT", help="the instruction before the prompt; empty for none")
    explain.add_argument("--indication", metavar="TEXT", help="why the film was taken, told to the model")
    explain.add_argument("--method", action="append", dest="methods", help='may be given again; "all" for all')
    explain.add_argument(
        "--option", action="append", dest="method_options", type=method_option, default=[], metavar="METHOD.NAME=VALUE",
        help="of a method, such as occlusion.coarse_to_fine=true or raw.layer=3; may be given again",
    )  # fmt: skip
    explain.add_argument(
        "--report", metavar="FILE", help="explain this report of the film and write none: UTF-8 text, - for stdin"
    )
    explain.add_argument(
        "--prior", type=Path, metavar="FILE", help="an earlier film of the same patient, read beside the film"
    )
    explain.add_argument("--judge-boxes", action="store_true", help="does each box of the answer lie where it looked?")
    explain.add_argument("--max-new-tokens", type=positive, default=None, help="of a report (default: 512)")
    explain.add_argument("--window", default=None, help="of a DICOM: window-1, lut-1, full or CENTER,WIDTH")
    explain.add_argument(
        "--force", action="store_true", help="read films too on which a report means nothing (inverted, no chest, ...)"
    )
    add_loading(explain)
    explain.set_defaults(run=_explain)


def _explain(options: argparse.Namespace) -> int:
    from tqdm import tqdm

    from medinterp.api.store.record import pack_record
    from medinterp.cli.boxes import tell_boxes
    from medinterp.cli.export import KEPT, write_private
    from medinterp.cli.films import find_films, tell
    from medinterp.cli.given import tell_unlikely
    from medinterp.explainer import DEFAULT_METHODS, Explainer
    from medinterp.export.folder import write_folder
    from medinterp.imaging import open_film
    from medinterp.relevancy import METHODS

    methods = tuple(options.methods or DEFAULT_METHODS)
    if "all" in methods:
        methods = tuple(METHODS)
    films, others = find_films(options.films, out=options.out)
    if others:
        print(f"medinterp: {others} other files in these folders are no films", file=sys.stderr)
    report = None if options.report is None else _given(options, len(films))
    if options.prior is not None and len(films) > 1:
        raise SelectionError(f"--prior is the earlier film of one film; these are {len(films)}")
    explainer: Explainer | None = None
    failed: list[tuple[Path, str]] = []
    for film in tqdm(films, desc="films", unit="film", disable=len(films) == 1):
        try:
            try:
                opened = open_film(film.path, window=options.window)
            except SelectionError as error:
                raise FilmError(str(error)) from error  # this film has no such window; the next one may
            if explainer is None:
                explainer = Explainer.from_pretrained(
                    options.model, calibration=options.calibration, **loading(options)
                )
            explanation = explainer.explain(
                opened,
                prior=options.prior,
                force=options.force,
                prompt=options.prompt,
                system=options.system,
                indication=options.indication,
                methods=methods,
                options=by_method(options.method_options),
                report=report,
                max_new_tokens=options.max_new_tokens or 512,
            )
        except FilmWithheldError as error:
            whose = "prior: " if error.film == "prior" else ""
            told = whose + " ".join(warning.text for warning in error.warnings)
            failed.append((film.path, f"{told} {WITHHELD if report is None else GIVEN_WITHHELD}"))
            continue
        except FilmError as error:
            failed.append((film.path, str(error)))
            continue
        tell(film.path, explanation.film)
        unfinished = explanation.report.unfinished
        if unfinished is not None:
            print(f"medinterp: {film.path}: {unfinished} --max-new-tokens allows more.", file=sys.stderr)
        if explanation.prior is not None:
            tell(options.prior, explanation.prior)
        if report is not None:
            tell_unlikely(film.path, explanation.report)
        if options.judge_boxes and explanation.report.boxes:
            explanation = explanation.keeping(explainer.judge_boxes(explanation))
        tell_boxes(film.path, explanation)
        folder = options.out / film.result if len(films) > 1 else options.out
        for written in write_folder(explanation, folder):
            print(written)
        write_private(folder / KEPT, pack_record(explanation))
        print(folder / KEPT)
    for path, reason in failed:
        print(f"medinterp: {path}: {reason}", file=sys.stderr)
    if failed and len(films) > 1:
        print(f"medinterp: {len(failed)} of {len(films)} films were not read", file=sys.stderr)
    return 0 if not failed else NONE_READ if len(failed) == len(films) else SOME_FAILED


def _given(options: argparse.Namespace, films: int) -> str:
    """The report that was given. Raises SelectionError for several films, ReportTextError."""
    from medinterp.cli.given import read_report

    if films > 1:
        raise SelectionError(f"--report is the report of one film; these are {films}")
    if options.max_new_tokens is not None:
        raise ReportTextError("a given report is explained and nothing is written: leave out --max-new-tokens")
    return read_report(options.report)
