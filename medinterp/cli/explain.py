"""`medinterp explain`."""

from __future__ import annotations

import argparse
from pathlib import Path

from medinterp.cli.arguments import Commands, by_method, method_option, positive
from medinterp.errors import SelectionError


def add(commands: Commands) -> None:
    """Add the command."""
    explain = commands.add_parser("explain", help="read films; write report, maps, overlays and one HTML page each")
    explain.add_argument("films", nargs="+", type=Path, metavar="FILM")
    explain.add_argument("--out", type=Path, required=True, metavar="DIR")
    explain.add_argument("--model", default="phantom", help="phantom, a directory or a hub id (default: phantom)")
    explain.add_argument("--calibration", default="auto", metavar="FILE", help="what `medinterp calibrate` wrote")
    explain.add_argument("--prompt", default=None)
    explain.add_argument("--method", action="append", dest="methods", help='may be given again; "all" for all')
    explain.add_argument(
        "--option", action="append", dest="method_options", type=method_option, default=[], metavar="METHOD.NAME=VALUE",
        help="of a method, such as occlusion.coarse_to_fine=true or raw.layer=3; may be given again",
    )  # fmt: skip
    explain.add_argument("--max-new-tokens", type=positive, default=512)
    explain.set_defaults(run=_explain)


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
            path,
            prompt=options.prompt,
            methods=methods,
            options=by_method(options.method_options),
            max_new_tokens=options.max_new_tokens,
        )
        folder = options.out / path.stem if len(options.films) > 1 else options.out
        for written in write_folder(explanation, folder):
            print(written)
    return 0
