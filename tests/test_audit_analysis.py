"""What is read out of an audit's tables, against tables whose answers are known."""

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import false_discovery_control

from medinterp.audit.analysis.atlas import FRAME, LUNGS, registered
from medinterp.audit.analysis.draws import Draws, benjamini_hochberg
from medinterp.audit.analysis.drift import drift
from medinterp.audit.analysis.evidence import ZONES, read_evidence, sentence_starts, zone_of, zone_shares, zones_of
from medinterp.audit.analysis.films import groups_of, read_films
from medinterp.audit.analysis.result import Analysis, analyse
from medinterp.audit.schema import NO_FINDING
from medinterp.errors import SelectionError
from tests.audit_tables import MARKER_CELL, OneFilm, Told, made_audit, map_at


def nodules(share: float, films: int, site: str, rng: np.random.Generator) -> list[OneFilm]:
    """Films of a site, each with a marker, a nodule whose words have about this share there, and an effusion."""
    made = []
    for _ in range(films):
        on_marker = float(np.clip(rng.normal(share, 0.1), 0.0, 1.0)) if share else 0.0
        nodule = Told("nodule", map_at({MARKER_CELL: on_marker}))
        made.append(OneFilm([nodule, Told("pleural effusion")], site=site, marker=True))
    return made


def test_a_planted_shortcut_is_named_first_with_its_share(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    films = nodules(0.0, 60, "A", rng) + nodules(0.62, 40, "B", rng) + nodules(0.0, 50, "C", rng)
    found = analyse(made_audit(tmp_path, films)).found
    assert len(found) == 1
    look = found[0]
    assert (look.finding, look.place, look.column, look.group) == ("nodule", "marker", "site", "B")
    assert look.value.value == pytest.approx(0.62, abs=0.05)
    assert look.value.low < look.value.value < look.value.high < look.value.low + 0.12
    assert look.elsewhere is not None and look.elsewhere.value == pytest.approx(0.0, abs=1e-6)
    assert set(look.films) == set(range(60, 100))


def test_without_a_shortcut_none_stands(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    films = []
    for _ in range(120):
        maps = {name: map_at({MARKER_CELL: float(rng.random() * 0.3)}) for name in ("nodule", "tube")}
        films.append(OneFilm([Told(name, map_) for name, map_ in maps.items()], marker=True))
    for k, film in enumerate(films):
        film.site = "ABC"[k % 3]
    found = analyse(made_audit(tmp_path, films))
    assert not found.found
    assert not [look for look in found.differences if look.stands]


def test_evidence_at_the_border_and_outside_of_the_body_is_counted_once(tmp_path: Path) -> None:
    films = [OneFilm([Told("nodule", map_at({MARKER_CELL: 0.3, (0, 3): 0.2}))], marker=k < 6) for k in range(12)]
    audit = made_audit(tmp_path, films)
    places = read_evidence(audit, read_films(audit)).mentions.places
    np.testing.assert_allclose(places[:6], [[0.3, 0.0, 0.2]] * 6, atol=1e-6)
    np.testing.assert_allclose(places[6:], [[0.0, 0.0, 0.5]] * 6, atol=1e-6)


def zone_films(missed: int, counts: dict[tuple[str, str], int]) -> list[OneFilm]:
    """Films with one nodule each, so many in each zone; in the right mid zone `missed` are hardly likely."""
    films = []
    for (side, zone), count in counts.items():
        for k in range(count):
            row = {"upper": 1, "mid": 3, "lower": 6}[zone]
            own = (row, 2 if side == "right" else 5)
            hidden = (side, zone) == ("right", "mid") and k < missed
            map_ = map_at({(1, 5): 0.9}) if hidden else map_at({own: 0.8})
            films.append(OneFilm([Told("nodule", map_, -9.0 if hidden else -0.2, side=side, zones=(zone,))]))
    return films


def test_a_zone_where_given_findings_are_missed_is_a_blind_spot(tmp_path: Path) -> None:
    films = zone_films(16, dict.fromkeys(ZONES_OF, 20))
    found = analyse(made_audit(tmp_path, films)).blind
    assert [(zone.side, zone.zone) for zone in found] == [("right", "mid")]
    zone = found[0]
    assert zone.missed is not None and zone.missed_else is not None and zone.looked is not None
    assert (zone.missed.value, zone.missed_else.value) == (pytest.approx(0.8), 0.0)
    assert zone.not_found and zone.not_looked_at
    assert set(zone.films[:16]) == {k for k, film in enumerate(films) if film.told[0].logprob < -5}


def test_a_zone_where_the_model_finds_nothing_is_a_blind_spot_against_the_other_side(tmp_path: Path) -> None:
    counts = dict.fromkeys(ZONES_OF, 30) | {("right", "mid"): 3}
    found = analyse(made_audit(tmp_path, zone_films(0, counts), given=False)).blind
    assert [(zone.side, zone.zone, zone.mentions, zone.mirrored) for zone in found] == [("right", "mid", 3, 30)]


def test_no_zone_is_blind_where_all_are_alike(tmp_path: Path) -> None:
    for given in (True, False):
        films = zone_films(0, dict.fromkeys(ZONES_OF, 20))
        assert not analyse(made_audit(tmp_path / str(given), films, given=given)).blind


ZONES_OF = tuple(ZONES)


def reports(rng: np.random.Generator) -> list[OneFilm]:
    """200 reports: ten of other films, ten that say something of a zone where the model is blind."""
    films = []
    for k in range(200):
        told = [Told("tube", logprob=-float(rng.exponential(0.3))) for _ in range(8)]
        side, zone = ZONES_OF[k % 6]
        told.append(Told("nodule", map_at({}), -0.2, side=side, zones=(zone,)))
        if k < 10:
            told += [Told(NO_FINDING, logprob=-9.0) for _ in range(3)]
        films.append(OneFilm(told))
    for film in [one for one in films if one.told[8].side == "right" and one.told[8].zones == ("mid",)]:
        film.told[8].logprob = -9.5
    return films


def test_reports_that_do_not_fit_are_found_and_blind_zones_are_no_misfit(tmp_path: Path) -> None:
    found = analyse(made_audit(tmp_path, reports(np.random.default_rng(2))))
    assert [(zone.side, zone.zone) for zone in found.blind] == [("right", "mid")]
    assert found.misfits is not None
    assert set(found.misfits.films) == set(range(10))
    assert set(found.misfits.worst) == {"None."}


def test_labels_tell_right_from_wrong(tmp_path: Path) -> None:
    films = [OneFilm([Told("nodule")], labels=["nodule"])] * 6 + [OneFilm([Told("nodule")], labels=[])] * 2
    films += [OneFilm([Told("nodule", status="absent")], labels=["nodule"])] * 3 + [OneFilm([Told("nodule")])]
    result = analyse(made_audit(tmp_path, films))
    one = result.summaries[0]
    assert (one.films, one.denied, one.true, one.false, one.missed) == (9, 3, 6, 2, 3)
    atlases = result.evidence.atlases["nodule"]
    assert {kind: atlas.films for kind, atlas in atlases.items()} == {"all": 9, "true": 6, "false": 2}


def test_words_that_the_picture_did_not_drive(tmp_path: Path) -> None:
    films = [OneFilm([Told("nodule", reliance=5.0 if k % 4 else 0.1)]) for k in range(40)]
    one = analyse(made_audit(tmp_path, films)).summaries[0]
    assert one.text is not None and one.text.value == pytest.approx(0.25)
    films = [OneFilm([Told("nodule")]) for _ in range(8)]
    assert analyse(made_audit(tmp_path / "unasked", films)).summaries[0].text is None


def test_intervals_hold_what_they_promise() -> None:
    """Patients with one to six mentions that are alike: 95 % intervals of the mean hold it about as often."""
    rng, inside, trials = np.random.default_rng(3), 0, 300
    for trial in range(trials):
        counts = rng.integers(1, 7, 40)
        patient = np.repeat(np.arange(40), counts)
        own = rng.beta(2, 3, 40)  # of each patient; the mean over mentions is 0.4
        estimate = Draws(40, seed=trial, draws=400).ratio(patient, own[patient])
        inside += estimate.low <= 0.4 <= estimate.high
    assert 0.90 <= inside / trials <= 0.985


def test_differences_keep_what_the_same_patients_share() -> None:
    rng = np.random.default_rng(4)
    own, patient = rng.normal(0, 10, 50), np.arange(50)
    draws = Draws(50)
    one, other = draws.ratio(patient, own + 1.0), draws.ratio(patient, own)
    difference = one.less(other)
    assert difference.low == pytest.approx(1.0, abs=1e-3) and difference.high == pytest.approx(1.0, abs=1e-3)
    assert one.error > 0.5


def test_q_values_are_those_of_scipy() -> None:
    p = np.random.default_rng(5).random(60) ** 3
    np.testing.assert_allclose(benjamini_hochberg(p), false_discovery_control(p))


def test_drift_stands_only_where_something_changed(tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    before = nodules(0.1, 60, "A", rng)
    audits = [
        made_audit(tmp_path / name, films)
        for name, films in {"a": before, "b": before, "c": nodules(0.5, 60, "A", rng)}.items()
    ]
    one, same, other = (read_evidence(audit, read_films(audit)) for audit in audits)
    assert not [row for row in drift(one, same) if row.stands]
    standing = [(row.finding, row.what) for row in drift(one, other) if row.stands]
    assert standing == [("nodule", "evidence: marker")]


def test_maps_are_laid_over_one_another_by_their_lungs() -> None:
    """Of two films whose lungs lie elsewhere, the same corner of the lungs comes to the same place of the frame."""
    lungs = np.array([[0.1, 0.1, 0.6, 0.6], [0.4, 0.2, 0.9, 0.9]])
    maps = np.zeros((2, 40, 40), dtype=np.float32)
    for k, (left, top, right, bottom) in enumerate(lungs):
        maps[k, round(40 * (top + 0.25 * (bottom - top))), round(40 * (left + 0.75 * (right - left)))] = 1.0
    laid = registered(maps, lungs)
    wanted = (LUNGS[1] + 0.25 * (LUNGS[3] - LUNGS[1])) * FRAME, (LUNGS[0] + 0.75 * (LUNGS[2] - LUNGS[0])) * FRAME
    for one in laid:
        row, column = np.unravel_index(one.argmax(), one.shape)
        assert abs(row + 0.5 - wanted[0]) <= 1.5 and abs(column + 0.5 - wanted[1]) <= 1.5
    even = registered(np.full((1, 8, 8), 1 / 64, dtype=np.float32), np.array([[0.0, 0.0, 1.0, 1.0]]))
    assert even[0, FRAME // 2, FRAME // 2] == pytest.approx(1.0)


def test_zones_are_the_patients_sides() -> None:
    maps = np.zeros((6, 6, 4), dtype=np.float32)
    for k in range(6):
        maps[k, (k // 2) * 2, 0 if k % 2 == 0 else 3] = 1.0
    shares = zone_shares(maps, np.tile([0.0, 0.0, 1.0, 1.0], (6, 1)))
    np.testing.assert_allclose(shares, np.eye(6), atol=1e-6)
    assert ZONES[0] == ("right", "upper")  # on the film's left


@pytest.mark.parametrize(
    ("side", "zones", "zone"),
    [
        ("right", ["mid"], ("right", "mid")),
        ("left", ["apical"], ("left", "upper")),
        ("left", ["upper", "lower"], None),
        ("bilateral", ["lower"], None),
        (None, ["lower"], None),
        ("left", [], None),
    ],
)
def test_the_zone_of_a_mention(side: str | None, zones: list[str], zone: tuple[str, str] | None) -> None:
    assert zone_of(side, zones) == (-1 if zone is None else ZONES.index(zone))
    if side == "bilateral":
        assert [ZONES[k] for k in zones_of(side, zones)] == [("right", "lower"), ("left", "lower")]


def test_sentences_of_many_reports() -> None:
    starts, first = sentence_starts(["One. Two is 2.5 cm.\nThree", "", "Four."])
    assert (starts.tolist(), first.tolist()) == ([0, 5, 20, 26, 27], [0, 26, 27])


def test_columns_become_groups() -> None:
    assert groups_of(["B", "A", None, "A"]).tolist() == ["B", "A", "", "A"]  # type: ignore[union-attr]
    thirds = groups_of(list(range(30)))
    assert thirds is not None and {name: int((thirds == name).sum()) for name in set(thirds.tolist())} == {
        "up to 9.66667": 10,
        "9.66667 to 19.3333": 10,
        "over 19.3333": 10,
    }
    assert groups_of([f"id {k}" for k in range(30)]) is None
    assert groups_of(["one", "one"]) is None


def test_what_cannot_be_analysed_is_refused(tmp_path: Path) -> None:
    audit = made_audit(tmp_path, [OneFilm([Told("nodule")])])
    with pytest.raises(SelectionError, match=r"no maps by 'occlusion'; there are: raw"):
        analyse(audit, "occlusion")
    nothing = made_audit(tmp_path / "nothing", [OneFilm([Told(NO_FINDING)])])
    with pytest.raises(SelectionError, match="no word of the audit names a finding"):
        analyse(nothing)
    few: Analysis = analyse(audit)
    assert not few.found and not few.blind
