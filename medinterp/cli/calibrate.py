"""`medinterp calibrate`."""

from __future__ import annotations

import argparse
from pathlib import Path

from medinterp.cli.arguments import Commands, add_loading, loading, positive
from medinterp.errors import SelectionError

RESAMPLES = 50
"""Bootstrap resamples of a calibration."""


def add(commands: Commands) -> None:
    """Add the command."""
    calibrate = commands.add_parser("calibrate", help="learn a model's layer weights against occlusion")
    calibrate.add_argument("model")
    calibrate.add_argument("films", nargs="*", type=Path, metavar="FILM", help="chest films; no boxes are needed")
    calibrate.add_argument("--synthetic", type=positive, default=None, metavar="N", help="N synthetic films instead")
    calibrate.add_argument("--max-new-tokens", type=positive, default=512)
    calibrate.add_argument("--out", type=Path, required=True, metavar="FILE")
    add_loading(calibrate)
    calibrate.set_defaults(run=_calibrate)


def _calibrate(options: argparse.Namespace) -> int:
    import hashlib
    import shutil

    import numpy as np
    from tqdm import tqdm

    from medinterp.cli.films import tell
    from medinterp.evaluation.calibration import CalibrationFilm, calibrate, calibration_film
    from medinterp.evaluation.reading import CALIBRATION_SEEDS_START, film_of, unseen_films
    from medinterp.imaging import open_film
    from medinterp.model import Generator, load_model, self_test

    if bool(options.films) == (options.synthetic is not None):
        raise SelectionError("give either films or --synthetic N")
    if options.films:
        films = [open_film(path) for path in options.films]
        for path, film in zip(options.films, films, strict=True):
            tell(path, film)
    else:
        films = [film_of(*one)[0] for one in unseen_films(options.synthetic, CALIBRATION_SEEDS_START)]
    loaded = load_model(options.model, calibration=None, **loading(options))
    self_test(loaded)
    generator = Generator(loaded)
    measured = []
    # What was measured lies beside the file until it is written: a run that was stopped goes on from there.
    work = options.out.with_name(options.out.name + ".partial")
    work.mkdir(parents=True, exist_ok=True)
    with tqdm(total=100 * len(films), desc="hiding cells", unit="%") as bar:
        for film in films:
            key = f"{loaded.revision} {film.sha256} {options.max_new_tokens}"
            path = work / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.npz"
            if not path.exists():
                generation = generator.generate(
                    [film], max_new_tokens=options.max_new_tokens, layer_attention=False
                )
                started = bar.n

                def told(_: str, done: int, of: int, started: float = started) -> None:
                    bar.update(started + 100 * done // of - bar.n)

                measured_cells = generator.measure(
                    [film], generation.report, generation.trace.provenance.asked, ["occlusion"], progress=told
                )
                one = calibration_film(generation.trace, measured_cells["occlusion"].values)
                with path.with_suffix(".part").open("wb") as file:
                    np.savez(file, rows=one.rows, target=one.target)
                path.with_suffix(".part").rename(path)
            else:
                bar.update(100)
            with np.load(path) as kept:
                measured.append(CalibrationFilm(kept["rows"], kept["target"]))
    with tqdm(total=RESAMPLES, desc="resampling", unit="fit") as bar:
        learned = calibrate(measured, loaded.model_id, loaded.revision, resamples=RESAMPLES, progress=bar.update)
    learned.save(options.out)
    shutil.rmtree(work)
    print(options.out.read_text(encoding="utf-8"), end="")
    return 0
