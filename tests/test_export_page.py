"""The exported page: one file, safe whatever the report says, and it draws what the library draws."""

from __future__ import annotations

import dataclasses
import html
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from medinterp import export
from medinterp.errors import SelectionError
from medinterp.relevancy import quantity_of, select_map, word_maps
from medinterp.render import RenderOptions, default_colormap, overlay, report_range
from medinterp.types import (
    Explanation,
    Film,
    FilmWarning,
    MapPack,
    Mention,
    Report,
    ReportToken,
    Section,
    Sentence,
    Thinking,
    WindowChoice,
    Word,
)
from tests.api_samples import given_explanation, sample_explanation, sample_film
from tests.browser import Page, browser, chromium  # noqa: F401 - pytest finds fixtures by name
from tests.report_samples import all_kinds, all_kinds_explained

ATTACK = '</script><img src=x onerror="window.hit=1"><!--<script>window.hit=1</script>&amp;$film'


def with_second_method(explanation: Explanation) -> Explanation:
    """A signed method beside the first."""
    values = np.random.default_rng(6).normal(size=(8, 4, 4)).astype(np.float32)
    signed = MapPack("other", values, signed=True, additive=True, notes=("made by hand",))
    return dataclasses.replace(explanation, packs={**explanation.packs, "other": signed})


def hostile() -> Explanation:
    """Every text that a model, a prompt or a file can set holds markup."""
    sample = sample_explanation()
    report = dataclasses.replace(
        sample.report,
        text=ATTACK + "\nHEART: fine",
        words=(
            Word(0, ATTACK, 0, len(ATTACK), (1, 2), -1.0, 0.5),
            Word(1, "fine", len(ATTACK) + 8, len(ATTACK) + 12, (3,), -1.0, 0.5),
        ),
        sections=(Section(ATTACK, len(ATTACK) + 8, len(ATTACK) + 12, "fine"),),
        findings=(
            dataclasses.replace(
                sample.report.findings[0],
                name=ATTACK,
                status="uncertain",
                side=ATTACK,
                zones=(ATTACK, ATTACK),
                word_indices=(0,),
                hedge=(0, len(ATTACK)),
            ),
        ),
        complete=False,
        mentions=(Mention(0, ATTACK, ATTACK, 0, 1, (0,)),),  # type: ignore[arg-type]
        sentences=(Sentence(0, len(ATTACK), "unread"),),
    )
    provenance = dataclasses.replace(
        sample.provenance,
        model_id=ATTACK,
        model_revision=ATTACK,
        prompt=ATTACK,
        notice=ATTACK,
        library_versions={ATTACK: ATTACK},
    )
    pack = dataclasses.replace(sample.packs["raw"], method=ATTACK, notes=(ATTACK,))
    film = dataclasses.replace(
        sample.film,
        media_type=ATTACK,
        notes=(ATTACK,),
        warnings=(FilmWarning(ATTACK, ATTACK, withholds=True),),
        windows=(WindowChoice(ATTACK, ATTACK),),
        window=ATTACK,
    )
    packs = {ATTACK: pack, "raw": sample.packs["raw"]}
    return dataclasses.replace(sample, film=film, prior=film, report=report, provenance=provenance, packs=packs)


class Tags(HTMLParser):
    """All start tags with their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def open_export(page: Page, explanation: Explanation, path: Path, method: str | None = None) -> None:
    """Write the page to a file and open that in the browser."""
    path.write_text(export.html(explanation, method=method), encoding="utf-8")
    page.logs()
    page.driver.get(path.as_uri())
    page.wait("return base !== null")


def canvas_pixels(page: Page) -> npt.NDArray[np.int64]:
    """RGBA of the canvas as it is now, [height, width, 4]."""
    script = "return [canvas.width, canvas.height, Array.from(context.getImageData(0, 0, width, height).data)]"
    answer = page.run(script)
    assert isinstance(answer, list)
    return np.asarray(answer[2], dtype=np.int64).reshape(answer[1], answer[0], 4)


def click_word(page: Page, text: str) -> None:
    buttons = page.driver.find_elements(By.CSS_SELECTOR, "#report button")
    next(button for button in buttons if button.text == text).click()


def assert_drawn(
    page: Page,
    explanation: Explanation,
    method: str,
    tokens: tuple[int, ...],
    opacity: float,
    scale: Literal["report", "map"] = "report",
) -> None:
    """The canvas shows what render.overlay draws, to a level of gray."""
    pack = explanation.packs[method]
    options = RenderOptions(opacity=opacity, colormap=default_colormap(pack.signed))
    if max(explanation.film.pixels.shape) > 1024:
        options = dataclasses.replace(options, size=1024)
    value_range = report_range(word_maps(pack, explanation.report.words), pack.signed) if scale == "report" else None
    expected = overlay(explanation.film, select_map(pack, tokens), options, value_range=value_range)
    drawn = canvas_pixels(page)
    assert drawn.shape[:2] == expected.shape[:2]
    assert (drawn[..., 3] == 255).all()
    difference = np.abs(drawn[..., :3] - expected)
    # A colour's index may be rounded to its neighbour; neighbours differ by a few levels.
    assert difference.max() <= 4 and difference.mean() < 0.2


def test_nothing_outside_the_file_is_named() -> None:
    text = export.html(with_second_method(sample_explanation()))
    for tag, attributes in Tags(text).tags:
        assert tag not in ("link", "iframe", "object", "embed", "base")
        for name, value in attributes.items():
            assert not name.startswith("on")
            if name in ("src", "href", "srcset"):
                assert value is not None and value.startswith("data:image/png;base64,")
    assert "://" not in text and "url(" not in text and "@import" not in text
    assert "default-src &#x27;none&#x27;" in text


def test_the_banner_and_the_makers_notice_are_there() -> None:
    sample = sample_explanation()
    assert "Research use only, not for diagnosis." in export.html(sample)
    assert "Of one mind" not in export.html(sample)
    notice = dataclasses.replace(sample.provenance, notice="Of one mind < two.")
    assert "Of one mind &lt; two." in export.html(dataclasses.replace(sample, provenance=notice))


def test_what_is_doubtful_about_the_films_stands_above_all_else() -> None:
    sample = sample_explanation()
    assert '<aside class="warnings' not in export.html(sample)
    faint, inverted = FilmWarning("faint", "Low contrast < 41."), FilmWarning("inverted", "Inverted.", withholds=True)
    film = dataclasses.replace(sample.film, warnings=(faint,))
    page = export.html(dataclasses.replace(sample, film=film))
    assert '<aside class="warnings doubt"' in page and "<strong>Warning about this film</strong>" in page
    assert page.index("Low contrast &lt; 41.") < page.index("<main>")
    prior = dataclasses.replace(sample.film, warnings=(faint, inverted))
    both = export.html(dataclasses.replace(sample, film=film, prior=prior))
    told = re.findall(r"<li( class=\"withholds\")?>([^<]*)</li>", both)
    assert told == [
        (' class="withholds"', "Prior film: Inverted."),
        ("", "Low contrast &lt; 41."),
        ("", "Prior film: Low contrast &lt; 41."),
    ]
    assert '<aside class="warnings withholds"' in both
    assert "<strong>Read all the same: a report on this film means nothing</strong>" in both


def test_the_provenance_says_what_was_done_to_the_film_and_by_which_window() -> None:
    sample = sample_explanation()
    assert "window</dt>" not in export.html(sample)
    choices = (WindowChoice("window-1", "center 40, width 400"), WindowChoice("full", "no window"))
    shown = dataclasses.replace(sample.film, notes=("inverted", "turned"), windows=choices, window="window-1")
    page = export.html(dataclasses.replace(sample, film=shown))
    assert "<dt>Film was</dt><dd>inverted; turned</dd>" in page
    assert "<dt>Film&#x27;s window</dt><dd>window-1: center 40, width 400</dd>" in page
    asked = dataclasses.replace(shown, window="50,300")
    page = export.html(dataclasses.replace(sample, prior=asked))
    assert "<dt>Prior film&#x27;s window</dt><dd>50,300</dd>" in page


def test_markup_in_any_text_stays_text() -> None:
    tags = Tags(export.html(hostile())).tags
    safe = Tags(export.html(sample_explanation())).tags
    assert sum(tag == "script" for tag, _ in tags) == sum(tag == "script" for tag, _ in safe) == 2
    assert sum(tag == "img" for tag, _ in tags) == 1
    block = re.search(r'<script type="application/json" id="data">(.*?)</script>', export.html(hostile()), re.S)
    assert block is not None and "<" not in block[1]
    data = json.loads(block[1])
    assert data["selections"][0]["label"] == ATTACK
    assert data["methods"][0]["notes"] == [ATTACK]


def test_words_that_no_token_wrote_are_no_buttons() -> None:
    sample = sample_explanation()
    words = (
        dataclasses.replace(sample.report.words[0], token_indices=(), image_mass=float("nan")),
        *sample.report.words[1:],
    )
    text = export.html(dataclasses.replace(sample, report=dataclasses.replace(sample.report, words=words)))
    assert 'data-selection="0"' not in text and 'data-selection="1"' in text
    assert ">effusion</button>." in text and "<p>No <button" in text


def test_the_whole_text_is_there_in_its_order_with_markdown_headings() -> None:
    text = "Preamble.\n\n**Lungs:** **Clear** lungs.\n## Heart\nBig.\n"
    lungs, heart = text.index(" **Clear"), text.index("Big")
    sections = (
        Section("Lungs", lungs, text.index("\n##"), text[lungs : text.index("\n##")]),
        Section("Heart", heart, heart + 4, "Big."),
    )
    tokens = (ReportToken(0, 1, 0, len(text), -1.0),)
    words = tuple(
        Word(k, match.group(), match.start(), match.end(), (0,), -1.0, 0.1)
        for k, match in enumerate(re.finditer(r"\w+", text))
    )
    sample = sample_explanation()
    page = export.html(dataclasses.replace(sample, report=Report(text, tokens, words, sections, (), True)))
    body = page[page.index('<div id="report">') : page.index("</main>")]
    assert re.findall(r"data-selection=\"(\d+)\"", body) == [str(word.index) for word in words]
    assert re.findall(r"<h3><button[^>]*>(\w+)</button></h3>", body) == ["Lungs", "Heart"]
    plain = re.sub(r"<[^>]*>", "", body)
    assert plain.split()[:4] == ["Preamble.", "Lungs", "**Clear**", "lungs."]
    assert plain.split()[4:6] == ["Heart", "Big."]


def test_a_report_without_maps_or_an_unknown_method_is_refused() -> None:
    sample = sample_explanation()
    with pytest.raises(SelectionError, match="no maps"):
        export.html(dataclasses.replace(sample, packs={}))
    with pytest.raises(SelectionError, match=r"crystal.*raw"):
        export.html(sample, method="crystal")


def test_a_cut_off_report_says_so() -> None:
    assert "Cut off at the limit of 8 tokens." in export.html(hostile())
    assert "Cut off" not in export.html(sample_explanation())


def test_a_given_report_says_that_no_model_wrote_it() -> None:
    page = export.html(given_explanation("HEART: A <b>zebra</b>."))
    assert "<title>Chest film report explained by sample</title>" in page
    assert "A given report, explained by sample" in page
    made = page[page.index("How this report was made") :]
    assert "<dt>Report</dt><dd>was given, and not written by the model:" in made
    assert "<dt>Seed</dt>" not in made and "<dt>Token limit</dt>" not in made and "<dt>Prompt</dt>" in made
    written = export.html(sample_explanation())
    assert "<title>Chest film report by sample</title>" in written and "given" not in written
    assert "<dt>Seed</dt><dd>none</dd>" in written and "<dt>Token limit</dt><dd>64</dd>" in written


@pytest.mark.parametrize(
    ("told", "sentence"),
    [
        ({"tokens_compared": True}, "its tokens are those explained here"),
        ({"tokens_compared": True, "retokenised_at": 0}, "from character 0 on its tokens are cut otherwise than here"),
        ({}, "which did not tell its tokens: those explained here may be cut otherwise"),
    ],
)
def test_an_engines_report_says_who_wrote_it_and_whether_its_tokens_are_these(
    told: dict[str, Any], sentence: str
) -> None:
    sample = sample_explanation()
    provenance = dataclasses.replace(sample.provenance, writer="big/<model>", **told)
    page = export.html(dataclasses.replace(sample, provenance=provenance))
    assert "<title>Chest film report by big/&lt;model&gt; at an engine, explained by sample</title>" in page
    (said,) = re.findall("<dt>Report</dt><dd>(.*?)</dd>", page)
    assert said.startswith("was written by big/&lt;model&gt; at an engine") and said.endswith(sentence)
    assert "<dt>Token limit</dt><dd>64</dd>" in page and "given" not in page


def test_words_that_the_model_would_hardly_write_have_a_wave_beside_their_other_line(
    browser: Page,  # noqa: F811
    tmp_path: Path,
) -> None:
    sample = given_explanation("ZEBRA: A zebra. No zebra nodule.")
    finding = dataclasses.replace(sample_explanation().report.findings[0], word_indices=(4, 5))
    report = dataclasses.replace(sample.report, findings=(finding,))
    open_export(browser, dataclasses.replace(sample, report=report), tmp_path / "given.html")
    script = "return [...document.querySelectorAll('.unlikely')].map(e => [e.textContent, e.title !== '', "
    script += "getComputedStyle(e).textDecorationLine, getComputedStyle(e).textDecorationStyle])"
    assert browser.run(script) == [
        ["3 words", False, "underline", "wavy"],
        *[[word, True, "underline", "wavy"] for word in ("ZEBRA", "zebra", "zebra")],
    ]
    legend = browser.driver.find_element(By.CSS_SELECTOR, ".unlikelies").text
    assert legend.endswith("(wavy: the model gave this word, or a part of it, less than 1 in 1,000).")
    lines = "return [...document.querySelectorAll('.absent:not(.chip)')].map(e => "
    lines += "[e.textContent, getComputedStyle(e).textDecorationStyle])"
    assert browser.run(lines) == [["zebra", "solid"], ["nodule", "solid"]]
    click_word(browser, "zebra")
    told = browser.driver.find_element(By.ID, "subject").text
    assert told.startswith("“zebra”") and told.endswith("the model would hardly have written it")
    click_word(browser, "nodule")
    assert "hardly" not in browser.driver.find_element(By.ID, "subject").text
    assert 'class="unlikely"' not in export.html(sample_explanation())


def test_a_clicked_word_is_drawn_as_the_library_draws_it(browser: Page, tmp_path: Path) -> None:  # noqa: F811
    explanation = sample_explanation(sample_film(131, 97))
    open_export(browser, explanation, tmp_path / "report.html")
    assert not canvas_pixels(browser).any()
    click_word(browser, "effusion")
    assert_drawn(browser, explanation, "raw", (2, 3), 0.5)
    first = canvas_pixels(browser)
    click_word(browser, "Größe")
    assert_drawn(browser, explanation, "raw", (6,), 0.5)
    assert (canvas_pixels(browser) != first).any()
    pressed = browser.driver.find_elements(By.CSS_SELECTOR, '[aria-pressed="true"]')
    assert [button.text for button in pressed] == ["Größe"]
    browser.run("const o = byId('opacity'); o.value = 1; o.dispatchEvent(new Event('input'))")
    assert_drawn(browser, explanation, "raw", (6,), 1.0)
    click_word(browser, "Größe")
    assert not canvas_pixels(browser).any()
    browser.driver.find_element(By.CSS_SELECTOR, ".findings button").click()
    assert_drawn(browser, explanation, "raw", (2, 3), 1.0)
    console, requests = browser.logs()
    assert console == []
    assert [url for url in requests if not url.startswith("data:")] == [(tmp_path / "report.html").as_uri()]


def test_methods_can_be_changed_and_signed_maps_keep_both_signs(browser: Page, tmp_path: Path) -> None:  # noqa: F811
    explanation = with_second_method(sample_explanation())
    open_export(browser, explanation, tmp_path / "report.html", method="other")
    click_word(browser, "effusion")
    assert_drawn(browser, explanation, "other", (2, 3), 0.5)
    assert "made by hand" in browser.driver.find_element(By.ID, "meaning").text
    browser.run("const m = byId('method'); m.value = '0'; m.dispatchEvent(new Event('input'))")
    assert_drawn(browser, explanation, "raw", (2, 3), 0.5)
    assert "last layer" in browser.driver.find_element(By.ID, "meaning").text


def test_where_the_members_of_a_consensus_disagree_is_a_view_of_its_own(browser: Page, tmp_path: Path) -> None:  # noqa: F811
    sample = sample_explanation()
    agreed, apart = np.random.default_rng(8).random((2, 8, 4, 4)).astype(np.float32)
    members = ("raw", "edge_gradient")
    pack = MapPack("consensus", agreed, signed=False, additive=False, members=members, disagreement=apart)
    explanation = dataclasses.replace(sample, packs={"consensus": pack, **sample.packs})
    open_export(browser, explanation, tmp_path / "report.html", method="raw")
    names = [option.text for option in browser.driver.find_elements(By.CSS_SELECTOR, "#method option")]
    assert names == ["Consensus", "Consensus, disagreement", "Raw attention"]
    click_word(browser, "effusion")
    assert_drawn(browser, explanation, "raw", (2, 3), 0.5)
    browser.run("const m = byId('method'); m.value = '1'; m.dispatchEvent(new Event('input'))")
    spread = dataclasses.replace(explanation, packs={"consensus": quantity_of(pack, "disagreement")})
    assert_drawn(browser, spread, "consensus", (2, 3), 0.5)
    said = browser.driver.find_element(By.ID, "meaning").text
    assert said.startswith("Bright where Raw attention and Edge gradient rank a cell far apart.")


def test_equal_findings_say_which_section_they_stand_in() -> None:
    sample = sample_explanation()
    first = sample.report.findings[0]
    again = dataclasses.replace(first, index=1, section="HEART", start=28, end=33, word_indices=(2,))
    twice = dataclasses.replace(sample.report, findings=(first, again))
    page = export.html(dataclasses.replace(sample, report=twice))
    assert "no pleural effusion (PLEURA)</button>" in page and "no pleural effusion (HEART)</button>" in page
    assert "no pleural effusion</button>" in export.html(sample)


# ---- what is sure, hedged, denied, only named, unread, or thought ----


def chips_in(page: str) -> list[tuple[str, str]]:
    """Kind and text of each chip."""
    found = re.findall(r'<(?:button type="button"|span) class="chip (\w+)"[^>]*>([^<]*)<', page)
    return [(kind, html.unescape(text)) for kind, text in found]


def test_chips_say_how_sure_the_report_is_and_one_statement_is_one_chip() -> None:
    page = export.html(all_kinds_explained())
    assert chips_in(page) == [
        ("present", "consolidation, right mid and lower"),
        ("present", "pleural effusion, right (larger)"),
        ("uncertain", "nodule?, left upper"),
        ("absent", "no pneumothorax, left"),
        ("absent", "CT ratio is normal: no cardiomegaly, no mediastinal widening"),
        (
            "absent",
            "the heart and mediastinum are normal: no cardiomegaly, no mediastinal widening, no mediastinal shift",
        ),
    ]
    assert re.findall(r'<button[^>]* title="([^"]*)"', page) == ["hedged: may represent"]
    places = all_kinds()
    sided = [dataclasses.replace(one, side="right") if one.index == 7 else one for one in places.findings]
    page = export.html(
        dataclasses.replace(all_kinds_explained(), report=dataclasses.replace(places, findings=tuple(sided)))
    )
    grouped = "no cardiomegaly, no mediastinal widening, no mediastinal shift"
    assert ("absent", f"the heart and mediastinum are normal: {grouped}") in chips_in(page)


def test_a_chip_selects_the_words_of_its_statement(browser: Page, tmp_path: Path) -> None:  # noqa: F811
    explanation = all_kinds_explained(sample_film(131, 97))
    open_export(browser, explanation, tmp_path / "report.html")
    chips = browser.driver.find_elements(By.CSS_SELECTOR, ".findings .chip")
    for chip, index in ((chips[2], 0), (chips[5], 8)):
        chip.click()
        words = [explanation.report.words[word] for word in explanation.report.findings[index].word_indices]
        assert_drawn(browser, explanation, "raw", tuple(token for word in words for token in word.token_indices), 0.5)
    chips[2].click()
    assert browser.driver.find_element(By.ID, "subject").text == "“nodule?, left upper” finding, hedged: may represent"


def test_words_of_findings_are_marked_apart_and_the_surest_counts() -> None:
    report = all_kinds()
    first = report.findings[0]
    denied = dataclasses.replace(first, index=9, status="absent", hedge=None)
    report = dataclasses.replace(report, findings=(*report.findings, denied))
    page = export.html(dataclasses.replace(all_kinds_explained(), report=report))
    body = page[page.index('<div id="report">') :]
    marked = re.findall(r'class="word (\w+)"[^>]*>([^<]*)<', body)
    assert [(kind, text) for kind, text in marked if kind != "absent"] == [
        ("hedge", "may"),
        ("hedge", "represent"),
        ("uncertain", "nodule"),
        ("present", "Consolidation"),
        ("present", "pleural"),
        ("present", "effusion"),
    ]
    assert [text for kind, text in marked if kind == "absent"][:5] == ["pneumothorax", "CT", "ratio", "is", "normal"]


def test_kinds_are_not_told_apart_by_colour_alone(browser: Page, tmp_path: Path) -> None:  # noqa: F811
    open_export(browser, all_kinds_explained(), tmp_path / "report.html")
    lines = browser.run(
        "return ['present', 'uncertain', 'absent'].map((kind) => [`.word.${kind}`, `.chip.${kind}`].map((name) => {"
        "const s = getComputedStyle(document.querySelector(name));"
        "return [s.textDecorationStyle, s.textDecorationThickness, s.borderTopStyle].join(' ')}))"
    )
    assert isinstance(lines, list)
    assert [word.split()[:2] for word, _ in lines] == [["solid", "2px"], ["dashed", "2px"], ["solid", "1px"]]
    assert [chip.split()[2] for _, chip in lines] == ["solid", "dashed", "solid"]


def test_what_is_only_named_is_listed_with_its_role() -> None:
    sample = all_kinds_explained()
    assert '<p class="quiet mentions">Also named: pneumothorax (history)</p>' in export.html(sample)
    one = sample.report.mentions[0]
    more = (one, one, dataclasses.replace(one, name="rib < fracture", role="elsewhere"))
    page = export.html(dataclasses.replace(sample, report=dataclasses.replace(sample.report, mentions=more)))
    assert "Also named: pneumothorax (history), rib &lt; fracture (elsewhere)</p>" in page
    assert "Also named" not in export.html(sample_explanation())


def test_sentences_that_were_not_understood_are_underlined_and_counted() -> None:
    sample = all_kinds_explained()
    page = export.html(sample)
    body = page[page.index('<div id="report">') : page.index("</main>")]
    (unread,) = re.findall(r'<span class="unread" title="not understood[^"]*">(.*?)</span>', body, re.DOTALL)
    assert re.sub(r"<[^>]*>", "", unread) == "The veil is as the veil was."
    assert len(re.findall(r"data-selection", unread)) == 7, "its words can be clicked"
    assert '6 sentences read, 2 not about findings, <span class="unread">1 unread</span>.' in page
    assert "What is underlined with dots was not understood" in page
    understood = tuple(one for one in sample.report.sentences if one.reading == "read")[:1]
    report = dataclasses.replace(sample.report, sentences=understood)
    assert ">1 sentence read, none unread</p>" in export.html(dataclasses.replace(sample, report=report))
    plain = export.html(sample_explanation())
    assert "sentence" not in plain[plain.index("</style>") : plain.index('<div id="report">')]


def test_an_unread_sentence_may_be_cut_by_headings_and_hold_blanks() -> None:
    text = "A:  one two.\nB: three four. \n"
    words = tuple(
        Word(k, match[0], *match.span(), (0,), -1.0, 0.1) for k, match in enumerate(re.finditer(r"\w+", text))
    )
    sections = (Section("A", 3, 12, text[3:12]), Section("B", 16, len(text), text[16:]))
    report = Report(
        text,
        (ReportToken(0, 1, 0, len(text), -1.0),),
        words,
        sections,
        (),
        True,
        (),
        (Sentence(2, len(text), "unread"),),
    )
    page = export.html(dataclasses.replace(sample_explanation(), report=report))
    body = page[page.index('<div id="report">') : page.index("</main>")]
    spans = re.findall(r'<span class="unread"[^>]*>(.*?)</span>', body, re.DOTALL)
    assert [re.sub(r"<[^>]*>", "", span) for span in spans] == ["one two.", "three four."]
    plain = re.sub(r"<[^>]*>", "", body)
    assert plain.split()[:7] == ["A", "one", "two.", "B", "three", "four.", "How"]


def test_thinking_is_folded_away_and_stands_there_alone() -> None:
    page = export.html(all_kinds_explained())
    body = page[page.index('<div id="report">') : page.index("</main>")]
    (folded,) = re.findall(r'<details class="thinking">(.*?)</details>', body, re.DOTALL)
    told = re.sub(r"<[^>]*>", " ", folded)
    assert told.split()[:9] == "What the model thought before it answered, 10 words".split()
    assert " ".join(told.split()[9:]).replace(" .", ".").replace(" ?", "?").endswith("I should say so.")
    rest = re.sub(r"<[^>]*>", "", body.replace(folded, ""))
    assert "base" not in rest and "Effusion" not in rest and "unused94" not in body
    assert "<h3>" in body and rest.split()[:4] == ["TECHNIQUE", "Portable", "AP", "film."]
    numbers = re.findall(r'data-selection="(\d+)"', body)
    assert len(numbers) == len(set(numbers)), "no word is there twice"


@pytest.mark.parametrize("cut", ["<unused94>thought\nThe base is", "<unused94>", "Clear. <unused94>thought\nHm"])
def test_thinking_that_was_cut_off_is_no_report(cut: str) -> None:
    report = all_kinds()
    start = cut.index("<")
    words = tuple(Word(k, match[0], *match.span(), (0,), -1.0, 0.1) for k, match in enumerate(re.finditer(r"\w+", cut)))
    report = Report(cut, report.tokens[:1], words, (), (), False, thinking=(Thinking(start, len(cut), (0,)),))
    page = export.html(dataclasses.replace(all_kinds_explained(), report=report))
    body = page[page.index('<div id="report">') : page.index("</main>")]
    outside = re.sub(r"<[^>]*>", "", re.sub(r'<details class="thinking">.*?</details>', "", body, flags=re.DOTALL))
    assert outside[: outside.index("Cut off")].strip() == cut[:start].strip()
    assert ('<details class="thinking">' in body) == (cut != "<unused94>")


def test_words_of_the_thinking_are_clicked_once_it_is_unfolded(browser: Page, tmp_path: Path) -> None:  # noqa: F811
    explanation = all_kinds_explained(sample_film(131, 97))
    open_export(browser, explanation, tmp_path / "report.html")
    details = browser.driver.find_element(By.CSS_SELECTOR, "#report details")
    buttons = details.find_elements(By.TAG_NAME, "button")
    assert not any(button.is_displayed() for button in buttons)
    reached = "return document.activeElement.textContent"
    browser.run("shown()[0].focus()")
    assert browser.run(reached) == "TECHNIQUE", "what is folded away cannot be reached"
    browser.driver.switch_to.active_element.send_keys(Keys.ARROW_LEFT)
    assert browser.run(reached) == "TECHNIQUE"
    details.find_element(By.TAG_NAME, "summary").click()
    browser.wait("return shown()[0].textContent === 'The'")
    browser.driver.switch_to.active_element.send_keys(Keys.TAB)
    buttons[3].click()
    word = next(word for word in explanation.report.words if word.text == "is")
    assert buttons[3].text == "is"
    assert_drawn(browser, explanation, "raw", word.token_indices, 0.5)
    buttons[3].send_keys(Keys.END)
    assert browser.run(reached) == "normal"
    browser.run("words[0].focus()")
    details.find_element(By.TAG_NAME, "summary").click()
    browser.wait("return words.filter((word) => word.tabIndex === 0)[0].textContent === 'TECHNIQUE'")
    console, _ = browser.logs()
    assert console == []


def test_a_faint_map_is_stretched_only_on_request_and_then_says_so(browser: Page, tmp_path: Path) -> None:  # noqa: F811
    explanation = with_second_method(sample_explanation())
    for pack in explanation.packs.values():
        pack.values[6] *= np.float32(0.01)
    open_export(browser, explanation, tmp_path / "report.html")
    click_word(browser, "Größe")
    assert_drawn(browser, explanation, "raw", (6,), 0.5)
    assert "can be compared" in browser.driver.find_element(By.ID, "scale-note").text
    browser.run("const s = byId('scale'); s.value = 'map'; s.dispatchEvent(new Event('input'))")
    assert "Do not compare" in browser.driver.find_element(By.ID, "scale-note").text
    assert_drawn(browser, explanation, "raw", (6,), 0.5, scale="map")
    browser.run("const m = byId('method'); m.value = '1'; m.dispatchEvent(new Event('input'))")
    assert_drawn(browser, explanation, "other", (6,), 0.5, scale="map")


def test_a_large_film_is_made_smaller(browser: Page, tmp_path: Path) -> None:  # noqa: F811
    noise = np.random.default_rng(7).integers(0, 2**16, size=(1500, 700)).astype(np.uint16)
    film = Film(np.asarray(cv2.GaussianBlur(noise, (0, 0), 9), dtype=np.uint16), "application/dicom", "0")
    explanation = sample_explanation(film)
    open_export(browser, explanation, tmp_path / "report.html")
    click_word(browser, "No")
    assert_drawn(browser, explanation, "raw", (1,), 0.5)


def test_the_keyboard_alone_is_enough(browser: Page, tmp_path: Path) -> None:  # noqa: F811
    open_export(browser, sample_explanation(), tmp_path / "report.html")
    browser.run("words[0].focus()")
    focused = browser.driver.switch_to.active_element
    focused.send_keys(Keys.ARROW_RIGHT)
    focused = browser.driver.switch_to.active_element
    assert focused.text == "effusion"
    focused.send_keys(Keys.ENTER)
    assert canvas_pixels(browser).any()
    assert focused.get_attribute("aria-pressed") == "true"
    assert browser.run("return words.filter((word) => word.tabIndex === 0).length") == 1
    focused.send_keys(Keys.ESCAPE)
    assert not canvas_pixels(browser).any()


def test_markup_in_a_report_runs_nothing_in_a_browser(browser: Page, tmp_path: Path) -> None:  # noqa: F811
    open_export(browser, hostile(), tmp_path / "report.html")
    click_word(browser, ATTACK)
    assert canvas_pixels(browser).any()
    assert browser.run("return window.hit === undefined") is True
    assert ATTACK in browser.driver.find_element(By.ID, "subject").text
    console, _ = browser.logs()
    assert console == []


@pytest.mark.parametrize("size", [(1440, 900), (390, 844)])
def test_the_page_fits_its_window(browser: Page, tmp_path: Path, size: tuple[int, int]) -> None:  # noqa: F811
    browser.resize(*size, phone=size[0] < 600)
    open_export(browser, sample_explanation(sample_film(900, 700)), tmp_path / "report.html")
    assert browser.run("return document.documentElement.scrollWidth <= window.innerWidth") is True
    boxes = browser.run(
        "return [film, canvas].map((node) => { const b = node.getBoundingClientRect();"
        "return [b.left, b.top, b.width, b.height].map(Math.round) })"
    )
    assert isinstance(boxes, list)
    assert boxes[0] == boxes[1]
    assert boxes[0][2] / boxes[0][3] == pytest.approx(700 / 900, abs=0.02)
