"""`medinterp again`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from medinterp.cli.arguments import Commands
from medinterp.errors import ExportError, StoreError

if TYPE_CHECKING:
    from medinterp.evaluation.repeating import Repeated

DIFFERENT = 1
"""Exit status when what was made again is another report, or has other maps."""


def add(commands: Commands) -> None:
    """Add the command."""
    again = commands.add_parser(
        "again", help="make an explanation again from its provenance, and say how far it is from what was kept"
    )
    again.add_argument("source", type=Path, metavar="EXPLANATION", help="explanation.msgpack, or the folder it is in")
    again.add_argument("--model", default=None, help="where the model is now (default: as provenance names it)")
    again.add_argument("--calibration", default="auto", metavar="FILE", help="what `medinterp calibrate` wrote")
    again.add_argument("--device", default="auto")
    again.add_argument("--out", type=Path, default=None, metavar="DIR", help="the report with the maps made again")
    again.set_defaults(run=_again)


def _again(options: argparse.Namespace) -> int:
    from dataclasses import replace

    from medinterp.api.store.record import unpack_record
    from medinterp.cli.export import KEPT
    from medinterp.explainer import Explainer
    from medinterp.export.folder import write_folder

    path = options.source / KEPT if options.source.is_dir() else options.source
    try:
        kept = unpack_record(path.read_bytes())
    except OSError as error:
        told = f"{path} cannot be read ({error.strerror}): `medinterp explain FILM --out DIR` writes it"
        raise ExportError(told) from error
    except StoreError as error:
        told = f"{path} is no {KEPT} of this version; report.json has no film, which is needed to read it again"
        raise ExportError(told) from error
    explainer = Explainer.of(
        kept.provenance, model=options.model, calibration=options.calibration, device=options.device
    )
    repeated = explainer.again(kept)
    print("\n".join(_lines(repeated)))
    if options.out is not None and repeated.text:
        made = replace(kept, packs=repeated.packs, prior_packs=repeated.prior_packs)
        for written in write_folder(made, options.out):
            print(written)
    return 0 if repeated.equal else DIFFERENT


def _lines(repeated: Repeated) -> list[str]:
    lines = [f"{name}: {then} then, {now} now" for name, (then, now) in repeated.versions.items()]
    if not repeated.text:
        return [*lines, "different: another report was written"]
    lines.append(f"log-probabilities: {repeated.logprob:.2g} nats apart at most")
    for where, maps in (("", repeated.maps), (" on the prior film", repeated.prior_maps)):
        lines += [f"{name}{where}: {off:.2g} of its largest value apart at most" for name, off in maps.items()]
    return [*lines, "equal" if repeated.equal else "different: the maps or the log-probabilities are not the same"]
