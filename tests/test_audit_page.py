"""The page of an audit: it tells what was planted, asks nothing of any machine, and lets nothing of a table in."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from medinterp.audit.bench_page import page_lines
from medinterp.audit.page import write_page
from medinterp.audit.rooms import room_name
from medinterp.cli.main import main
from tests.audit_tables import OneFilm, Told, made_audit
from tests.test_audit_analysis import ZONES_OF, nodules, reports, zone_films


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where, rng = tmp_path_factory.mktemp("audit"), np.random.default_rng(0)
    films = [*nodules(0.0, 60, "A", rng), *nodules(0.62, 40, "B", rng), *reports(rng)]
    films.append(OneFilm([Told("nodule")], id="<script>alert(1)</script>&film", site="B"))
    (where / "rooms").mkdir()
    (where / "rooms" / room_name("f0060")).write_text("")
    write_page(made_audit(where, films, failed=["broken/<b>.png"]), service="https://room.example")
    return where


def text_of(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", re.sub(r"<style>.*?</style>", "", html, flags=re.DOTALL)))


def test_it_tells_the_story_in_order(planted: Path) -> None:
    text = text_of((planted / "report.html").read_text())
    told = [
        "A model of a test.",
        "Words for NODULE at site B are driven by markers: 0.6",
        "The right mid zone is a blind spot: of the findings that reports place there",
        "reports do not fit their film",
        "1 film has no report",
        "Where evidence lies",
    ]
    places = [text.find(sentence) for sentence in told]
    assert min(places) >= 0, told[places.index(min(places))]
    assert places == sorted(places)


def test_it_asks_nothing_of_any_machine_and_runs_nothing(planted: Path) -> None:
    html = (planted / "report.html").read_text()
    addresses = set(re.findall(r"(?:https?:)?//[\w.-]+", re.sub(r'"data:[^"]*"', '""', html)))
    assert addresses <= {"http://www.w3.org", "https://room.example"}  # SVG's name, and the link that was asked for
    assert "default-src &#x27;none&#x27;; img-src data:; style-src" in html
    assert "<script" not in html and "&lt;script&gt;" in html
    assert "broken/&lt;b&gt;.png" in html
    assert "/somewhere/" not in html


def test_a_film_is_one_click_away_where_its_page_is(planted: Path) -> None:
    html = (planted / "report.html").read_text()
    assert '<a href="rooms/f0060.html">' in html
    assert "rooms/f0061.html" not in html
    assert re.fullmatch(r"[\w.-]+\.html", room_name("../a/b:<c>.png"))
    assert room_name("a/b") != room_name("a_b")


def test_plots_and_numbers_lie_beside_it(planted: Path) -> None:
    plots = {path.name for path in (planted / "plots").iterdir()}
    charts = {"shortcut-1.svg", "blind-spot-1.svg", "reports-that-do-not-fit.svg"}
    assert plots >= {*charts, "atlas-nodule-all.png", "atlas-pleural-effusion-all.png"}
    numbers = json.loads((planted / "analysis.json").read_text())
    assert [(one["finding"], one["group"]) for one in numbers["shortcuts"]] == [("nodule", "B")]
    assert numbers["failures"] == ["broken/<b>.png"]
    assert len(numbers["misfits"]["films"]) == 10


def test_an_audit_in_which_nothing_stands_says_so(tmp_path: Path) -> None:
    films = [OneFilm([Told("nodule", logprob=-0.1)], site="AB"[k % 2]) for k in range(30)]
    write_page(made_audit(tmp_path, films))
    text = text_of((tmp_path / "report.html").read_text())
    for sentence in ("No shortcut stands", "No zone of the lungs is a blind spot", "No film failed"):
        assert sentence in text
    assert "Every one of 30 reports fits its film" in text


def test_reports_of_the_models_own_are_held_against_the_other_side(tmp_path: Path) -> None:
    counts = dict.fromkeys(ZONES_OF, 30) | {("right", "mid"): 3}
    films = zone_films(0, counts)
    for k, film in enumerate(films):
        film.labels = [] if k % 3 == 0 else ["nodule"]
    write_page(made_audit(tmp_path, films, given=False))
    text = text_of((tmp_path / "report.html").read_text())
    assert "The right mid zone is a blind spot: the model places 3 findings there, and 30 in the same zone" in text
    assert "do not fit" not in text and "fits its film" not in text
    plots = {path.name for path in (tmp_path / "plots").iterdir()}
    assert plots >= {"atlas-nodule-all.png", "atlas-nodule-true.png", "atlas-nodule-false.png"}


def test_the_bench_measures_the_page_in_a_process_of_its_own() -> None:
    seconds, memory = page_lines(20)
    assert (seconds.unit, memory.unit) == ("s", "MB")
    assert 0 < seconds.value < 20 and 50 < memory.value < 1024


def test_the_commands(planted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "report", str(planted)]) == 0
    assert "Words for NODULE at site B are driven by markers" in capsys.readouterr().out
    rng = np.random.default_rng(9)
    made_audit(tmp_path / "other", nodules(0.0, 80, "A", rng))
    assert main(["audit", "compare", str(planted), str(tmp_path / "other"), "--json", str(tmp_path / "d.json")]) == 0
    assert "evidence: marker" in capsys.readouterr().out
    rows = json.loads((tmp_path / "d.json").read_text())
    marker = next(row for row in rows if (row["finding"], row["what"]) == ("nodule", "evidence: marker"))
    assert marker["stands"] and marker["change"] < 0
    assert main(["audit", "report", str(planted), "--rooms", "2"]) == 2
    assert "--source" in capsys.readouterr().err
    assert main(["audit", "report", str(tmp_path)]) == 2
    assert "holds no manifest.json" in capsys.readouterr().err
