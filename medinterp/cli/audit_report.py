"""`medinterp audit report DIR`, and `medinterp audit film DIR FILM_ID`."""

from __future__ import annotations

import argparse
import sys

from medinterp.cli.arguments import Commands, not_negative
from medinterp.errors import MethodError


def add(commands: Commands) -> None:
    """Add the commands."""
    report = commands.add_parser("report", help="build the page of an audit: report.html, analysis.json, plots/")
    report.add_argument("audit", metavar="DIR", help="what `medinterp audit SOURCE --out DIR` wrote")
    report.add_argument("--method", default=None, help="whose maps are the evidence (default: the audit's first)")
    report.add_argument("--service", default=None, metavar="URL", help="a reading room that the page links to")
    report.add_argument("--rooms", type=not_negative, default=0, metavar="N", help="write pages of N films behind it")
    _from(report, required=False)
    report.set_defaults(run=_report)
    film = commands.add_parser("film", help="write the reading room's page of films of an audit")
    film.add_argument("audit", metavar="DIR")
    film.add_argument("film", nargs="+", metavar="FILM_ID")
    _from(film, required=True)
    film.set_defaults(run=_film)


def _from(parser: argparse.ArgumentParser, *, required: bool) -> None:
    parser.add_argument("--source", required=required, default=None, help="what was audited: the folder or the table")
    parser.add_argument("--model", default=None, help="where the audit's model is (default: as the audit names it)")


def _report(options: argparse.Namespace) -> int:
    from medinterp.audit.page import write_page
    from medinterp.audit.page.words import blind, shortcut
    from medinterp.audit.rooms import write_rooms
    from medinterp.audit.tables import open_audit

    if options.rooms and options.source is None:
        raise MethodError("--rooms writes pages of films: give --source, what was audited")
    audit = open_audit(options.audit)
    analysis = write_page(audit, options.method, service=options.service)
    if options.rooms:
        ids = [analysis.evidence.films.ids[film] for film in analysis.shown[: options.rooms]]
        write_rooms(audit, ids, options.source, options.model, told=lambda path: print(path, file=sys.stderr))
        write_page(audit, options.method, service=options.service)  # once more, with links to them
    for look in analysis.found:
        print(shortcut(look))
    for zone in analysis.blind:
        print(blind(zone))
    if analysis.misfits is not None:
        print(f"{len(analysis.misfits.films)} of {len(analysis.evidence.films)} reports do not fit their film.")
    print(f"{len(analysis.failures)} films have no report.")
    print(audit.place.below("report.html"))
    return 0


def _film(options: argparse.Namespace) -> int:
    from medinterp.audit.rooms import write_rooms
    from medinterp.audit.tables import open_audit

    write_rooms(open_audit(options.audit), options.film, options.source, options.model, told=print)
    return 0
