"""The parts of the page, each as HTML."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape

import numpy as np
from pyarrow import fs

from medinterp.audit.analysis.blind import Zone
from medinterp.audit.analysis.draws import Estimate
from medinterp.audit.analysis.evidence import PLACES, ZONES
from medinterp.audit.analysis.result import Analysis
from medinterp.audit.analysis.shortcuts import Look
from medinterp.audit.page import charts, words
from medinterp.audit.page.pictures import (
    Thumbnails,
    atlas_png,
    atlas_top,
    data_url,
    film_jpeg,
    films_of_mean,
    maps_of,
    mean_film,
    scale_png,
)
from medinterp.audit.rooms import ROOMS, room_name
from medinterp.audit.tables import Audit
from medinterp.types import Float32Array

CARDS, STORIES, NAMED, ROWS = 8, 4, 1000, 16
"""Films shown behind a number, numbers told of a kind, films named behind one, rows of a table."""


class Pages:
    """What the parts share: the numbers, pictures made once, links to films, and plots that become files."""

    def __init__(self, audit: Audit, analysis: Analysis) -> None:
        self.audit, self.analysis = audit, analysis
        self.films = analysis.evidence.films
        self.plots: dict[str, bytes] = {}
        where = fs.FileSelector(audit.place.below(ROOMS), allow_not_found=True)
        self._rooms = {info.base_name for info in audit.place.filesystem.get_file_info(where)}
        wanted: dict[str, list[int]] = {}
        for look in analysis.found[:STORIES]:
            wanted.setdefault(look.finding, []).extend(look.films[:CARDS])
        for finding, film in (pair for zone in analysis.blind[:STORIES] for pair in self.in_zone(zone)):
            wanted.setdefault(finding, []).append(film)
        misfit = [] if analysis.misfits is None else analysis.misfits.films[: 2 * CARDS]
        shown = {film for films in (*wanted.values(), misfit, films_of_mean(self.films)) for film in films}
        self.thumbnails = Thumbnails(audit, self.films, sorted(shown))
        self.maps = maps_of(audit, self.films, analysis.evidence.method, wanted)

    def in_zone(self, zone: Zone) -> list[tuple[str, int]]:
        """The films shown behind a zone, each with the finding that its report places there."""
        mentions = self.analysis.evidence.mentions
        at = ZONES.index((zone.side, zone.zone))
        pairs = []
        for film in zone.films[:CARDS]:
            mine = (mentions.film == film) & (mentions.zone == at) & mentions.affirmed
            pairs.append((mentions.findings[int(mentions.finding[mine][0])], film))
        return pairs

    def plot(self, name: str, svg: str) -> str:
        """Keep a chart as a file, and return it for the page."""
        self.plots[f"{_slug(name)}.svg"] = svg.encode()
        return f'<div class="ma-chart">{svg}</div>'

    def named(self, film: int) -> str:
        """A film's id, a link where its page is there."""
        name, page = self.films.ids[film], room_name(self.films.ids[film])
        text = f"<span>{escape(name)}</span>"
        return f'<a href="{ROOMS}/{escape(page)}">{escape(name)}</a>' if page in self._rooms else text

    def card(self, film: int, note: str, map_: Float32Array | None = None) -> str:
        """A film with a map over it."""
        picture = data_url(film_jpeg(self.thumbnails.gray(film), map_), "jpeg")
        name, page = self.films.ids[film], room_name(self.films.ids[film])
        image = f'<img src="{picture}" alt="film {escape(name)}" loading="lazy">'
        if page in self._rooms:
            image = f'<a href="{ROOMS}/{escape(page)}">{image}</a>'
        return f"<figure>{image}<figcaption>{self.named(film)}{note}</figcaption></figure>"

    def behind(self, films: Sequence[int], what: str) -> str:
        """All films behind a number, folded away."""
        rest = f" and {len(films) - NAMED:,} more (see analysis.json)" if len(films) > NAMED else ""
        names = ", ".join(self.named(film) for film in films[:NAMED])
        return f"<details><summary>{what}: all {len(films):,} films</summary><p>{names}{rest}</p></details>"


def story(pages: Pages) -> list[str]:
    """What stands out, in the order of its weight: shortcuts, blind spots, reports that do not fit, failures."""
    analysis = pages.analysis
    parts = [_shortcut(pages, look, k) for k, look in enumerate(analysis.found[:STORIES])]
    parts += [_blind(pages, zone, k) for k, zone in enumerate(analysis.blind[:STORIES])]
    if not analysis.found:
        parts.append(_section("No shortcut stands", f"<p>{_looks(pages)}</p>", "ma-good"))
    if not analysis.blind:
        text = f"<p>{len(ZONES)} zones were looked at.</p>"
        parts.append(_section("No zone of the lungs is a blind spot", text, "ma-good"))
    return [*parts, _misfits(pages), _failures(pages)]


def _looks(pages: Pages) -> str:
    places = ", ".join(words.PLACES[place][0] for place in PLACES)
    return (
        f"{len(pages.analysis.shortcuts):,} looks, at {places}, for each finding in each group of films with five "
        "patients; one counts when its false discovery rate over all of them is at most 5 % (Benjamini & Hochberg)."
    )


def _shortcut(pages: Pages, look: Look, number: int) -> str:
    rows: list[tuple[str, Estimate, bool]] = []
    if look.column:
        same = [
            one
            for one in pages.analysis.shortcuts
            if (one.finding, one.place, one.column) == (look.finding, look.place, look.column)
        ]
        rows = [(f"{one.column} {one.group}", one.value, one is look) for one in sorted(same, key=lambda o: o.group)]
    else:
        rows = [(look.finding, look.value, True)]
    rows.append((f"other findings{' there' if look.column else ''}", look.other, False))
    title = f"Share of the evidence for {look.finding} {words.PLACES[look.place][1]}"
    chart = pages.plot(f"shortcut-{number + 1}", charts.bars(rows, title))
    mentions = pages.analysis.evidence.mentions
    share = mentions.places[:, PLACES.index(look.place)]
    mine = mentions.affirmed & (mentions.finding == mentions.findings.index(look.finding))
    cards = ""
    for film in look.films[:CARDS]:
        most = float(np.nanmax(share[mine & (mentions.film == film)]))
        cards += pages.card(film, f"<b>{most:.2f}</b>", pages.maps.get((look.finding, film)))
    body = (
        f'<p class="ma-more">{escape(words.compared(look))} {look.mentions:,} mentions in '
        f"{len(look.films):,} films.</p>"
        f'<div class="ma-two"><div><h3>{escape(title)}</h3>{chart}</div>'
        f'<div><h3>The films behind it, the strongest first</h3><div class="ma-films">{cards}</div></div></div>'
        + pages.behind(look.films, "Behind this number")
    )
    return _section(words.shortcut(look), body, "ma-alarm", "Shortcut")


def _blind(pages: Pages, zone: Zone, number: int) -> str:
    by_place = {(one.side, one.zone): one for one in pages.analysis.zones}
    given = zone.missed is not None
    most = max(one.mentions for one in by_place.values()) or 1
    shares = [
        (
            side,
            name,
            (None if (missed := by_place[side, name].missed) is None else missed.value)
            if given
            else 1.0 - by_place[side, name].mentions / most,
            (side, name) == (zone.side, zone.zone),
        )
        for side, name in ZONES
    ]
    title = (
        "Findings that the model would hardly have written, by zone"
        if given
        else "How many fewer findings than in the zone with most, by zone"
    )
    chart = pages.plot(f"blind-spot-{number + 1}", charts.lungs(shares, title))
    cards = "".join(
        pages.card(film, escape(finding), pages.maps.get((finding, film))) for finding, film in pages.in_zone(zone)
    )
    body = (
        f'<p class="ma-more">{escape(words.looked(zone))}</p>'
        f'<div class="ma-two ma-narrow"><div><h3>{title}</h3>{chart}</div><div><h3>Films whose reports place a finding '
        f'there, with its evidence</h3><div class="ma-films">{cards}</div></div></div>'
        + pages.behind(zone.films, "Findings in this zone")
    )
    return _section(words.blind(zone), body, "ma-alarm", "Blind spot")


def _misfits(pages: Pages) -> str:
    found = pages.analysis.misfits
    if found is None:
        return ""
    total = len(pages.films)
    if not found.films:
        return _section(f"Every one of {total:,} reports fits its film", "", "ma-good", "Reports")
    title = "Films by the surprise of their reports"
    chart = pages.plot("reports-that-do-not-fit", charts.histogram(found.score, found.fence, title))
    cards = "".join(
        pages.card(film, f"<b>{found.score[film]:.1f}</b><q>{escape(worst)}</q>")
        for film, worst in list(zip(found.films, found.worst, strict=True))[: 2 * CARDS]
    )
    body = (
        '<p class="ma-more">The model would hardly have written them: how much more surprising all words of a report '
        "are than those of this archive's reports on the whole, in standard deviations, without sentences about blind "
        "zones. "
        f"{found.fence:.1f} is where outliers begin.</p>{chart}"
        f'<h3>The worst first, each with the sentence that fits least</h3><div class="ma-films ma-wide">{cards}</div>'
        + pages.behind(found.films, "Reports that do not fit")
    )
    many, whose = ("report does", "its") if len(found.films) == 1 else ("reports do", "their")
    title = f"{len(found.films):,} of {total:,} {many} not fit {whose} film"
    return _section(title, body, "ma-alarm", "Reports")


def _failures(pages: Pages) -> str:
    rows = pages.analysis.failures
    if not rows:
        return _section("No film failed", "", "ma-good", "Failures")
    table = "".join(
        f"<tr><td>{escape(row['film_id'])}</td><td>{escape(row['stage'])}</td><td>{escape(row['reason'])}</td></tr>"
        for row in rows[:NAMED]
    )
    many = "film has" if len(rows) == 1 else "films have"
    body = f'<div class="ma-scroll"><table><tr><th>Film<th>Stage<th>Why</tr>{table}</table></div>'
    return _section(f"{len(rows):,} {many} no report", body, "", "Failures")


def findings(pages: Pages) -> str:
    """A line a finding."""
    labelled = any(one.true is not None for one in pages.analysis.summaries)
    asked = any(one.text is not None for one in pages.analysis.summaries)
    head = "<th>Finding<th>Films<th>Affirmed<th>Denied"
    head += "<th>Right by the labels<th>Wrong<th>Missed" if labelled else ""
    head += "<th>Not driven by the picture" if asked else ""
    head += "<th>Hardly written" + "".join(f"<th>Evidence {words.PLACES[place][1]}" for place in PLACES)
    lines = ""
    for one in pages.analysis.summaries:
        cells = [escape(one.finding), f"{one.films:,}", f"{one.affirmed:,}", f"{one.denied:,}"]
        cells += [f"{number or 0:,}" for number in (one.true, one.false, one.missed)] if labelled else []
        cells += [words.percent(one.text)] if asked else []
        cells += [words.percent(one.unlikely), *(words.percent(one.places[place]) for place in PLACES)]
        lines += "<tr><td>" + "<td>".join(cells) + "</tr>"
    table = f'<div class="ma-scroll"><table class="ma-numbers"><tr>{head}</tr>{lines}</table></div>'
    return _section("Finding by finding", f"{table}<p class='mi-quiet'>With 95 % intervals over patients.</p>")


def atlases(pages: Pages) -> str:
    """The mean map of each finding, and apart where the labels have it and have it not."""
    every = pages.analysis.evidence.atlases
    kinds = {"all": "", "true": "right by the labels", "false": "wrong by the labels"}
    shown = [
        (one.finding, kind, every[one.finding][kind])
        for one in pages.analysis.summaries
        for kind in kinds
        if kind in every.get(one.finding, {})
        and not (kind == "true" and "false" not in every[one.finding])  # the same picture twice
    ]
    top = atlas_top([atlas for _, _, atlas in shown])
    background = mean_film(pages.films, pages.thumbnails)
    cards = ""
    for finding, kind, atlas in shown:
        png = atlas_png(atlas, background, top)
        pages.plots[f"atlas-{_slug(finding)}-{kind}.png"] = png
        note = f"{kinds[kind]}, " if kinds[kind] else ""
        cards += (
            f'<figure><img src="{data_url(png, "png")}" alt="atlas of {escape(finding)}"><figcaption>'
            f"<b>{escape(finding)}</b>{note}{atlas.films:,} films</figcaption></figure>"
        )
    placed = int((pages.films.lungs[:, 0] == pages.films.lungs[:, 0]).sum())
    text = (
        f"The mean map of all words that affirm a finding, {placed:,} of {len(pages.films):,} films laid over one "
        "another by the boxes round their lungs. Colour starts where there is more evidence than chance has."
    )
    colours = data_url(scale_png(top), "png")
    scale = f'<p class="ma-scale">chance <img src="{colours}" alt=""> {top:.1f} times chance</p>'
    return _section("Where evidence lies", f'<p class="ma-more">{text}</p>{scale}<div class="ma-atlases">{cards}</div>')


def groups(pages: Pages) -> str:
    """Where a finding's evidence differs between groups of films."""
    standing = [look for look in pages.analysis.differences if look.stands]
    if not pages.films.groups:
        return ""
    columns = ", ".join(escape(name) for name in pages.films.groups)
    looks = len(pages.analysis.differences)
    text = f"By {columns}: {looks:,} looks, the false discovery rate over all of them at most 5 %."
    lines = "".join(
        f"<tr><td>{escape(look.finding)}<td>{escape(look.column)} {escape(look.group)}<td>{words.PLACES[look.place][1]}"
        f"<td>{words.percent(look.value)}<td>{words.percent(look.other)}<td>{look.mentions:,}</tr>"
        for look in standing[:ROWS]
    )
    table = (
        '<div class="ma-scroll"><table class="ma-numbers"><tr><th>Finding<th>Films<th>Evidence<th>There<th>On all '
        f"other films<th>Mentions</tr>{lines}</table></div>"
    )
    title = "Where evidence differs though the finding does not" if standing else "Evidence is alike in all groups"
    return _section(title, f'<p class="ma-more">{text}</p>{table if standing else ""}')


def model_name(audit: Audit) -> str:
    """The model without the folders that a local one lies in."""
    name = str(audit.manifest["model"]["id"])
    return name.rstrip("/").rpartition("/")[2] if name.startswith(("/", ".")) else name


def made(pages: Pages) -> str:
    """How the numbers were made."""
    audit, evidence = pages.audit, pages.analysis.evidence
    rows = {
        "Evidence": f"positive part of each word's {evidence.method} map, as shares of its sum; a mention's is the "
        "mean of its words'",
        "Intervals": "95 %, percentiles of 1,000 Poisson bootstrap draws over patients (films, where none is told)",
        "Correction": "Benjamini & Hochberg over all looks of a kind",
        "Model": f"{model_name(audit)}, {audit.manifest['model'].get('dtype', '')}",
        "Numbers": "analysis.json beside this page; plots/ holds its pictures; the tables are Parquet",
        "A film's page": "medinterp audit film DIR FILM_ID --source SOURCE writes it, and this page then links to it",
    }
    lines = "".join(f"<dt>{name}</dt><dd>{escape(text)}</dd>" for name, text in rows.items())
    return _section("How this was made", f'<dl class="ma-made">{lines}</dl>')


def _section(title: str, body: str, kind: str = "", label: str = "") -> str:
    tag = f'<p class="ma-label">{label}</p>' if label else ""
    return f'<section class="ma-section {kind}">{tag}<h2>{escape(title)}</h2>{body}</section>'


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
